"""Settings of a checkpoint store; none of them is part of the format, so each opening may choose its own."""

from __future__ import annotations

import attrs

from hornbeam.storage.checkpoint.codec import CODECS
from hornbeam.storage.checkpoint.merger import MERGE_POLICIES


@attrs.frozen(kw_only=True)
class StoreOptions:
    """How a store writes and what it keeps.

    `retain`: checkpoints kept beside savepoints. `codec`: none, lz4 or zstd. A state file is cut at about
    `file_bytes_max`, and a writer sorts about as much in memory.

    Every checkpoint adds a run of files. When there are more than `runs_max` some are merged, by `merge`: in the
    "background" (a thread of the store; `begin` waits for it when there are `runs_limit` runs, so that their number
    stays bounded), by the thread that called "commit", or when the "caller" says (`compact`, `plan_merge`).
    """

    retain: int = attrs.field(default=3, validator=attrs.validators.ge(1))
    codec: str = attrs.field(default="none", validator=attrs.validators.in_(CODECS))
    block_bytes: int = attrs.field(default=32 * 1024, validator=attrs.validators.ge(1))
    file_bytes_max: int = attrs.field(default=64 * 1024 * 1024, validator=attrs.validators.ge(1))
    runs_max: int = attrs.field(default=8, validator=attrs.validators.ge(1))
    runs_limit: int = attrs.field(default=32, validator=attrs.validators.ge(2))
    merge: str = attrs.field(default="background", validator=attrs.validators.in_(MERGE_POLICIES))
