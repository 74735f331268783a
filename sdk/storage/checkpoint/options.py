"""Settings of a checkpoint store; none of them is part of the format, so each opening may choose its own."""

from __future__ import annotations

import attrs

from hornbeam.storage.checkpoint.codec import CODECS


@attrs.frozen(kw_only=True)
class StoreOptions:
    """How a store writes and what it keeps.

    `retain`: checkpoints kept beside savepoints. `codec`: none, lz4 or zstd. A state file is cut at about
    `file_bytes_max`, and a writer sorts about as much in memory. `compact` leaves up to `runs_max` sorted runs.
    """

    retain: int = attrs.field(default=3, validator=attrs.validators.ge(1))
    codec: str = attrs.field(default="none", validator=attrs.validators.in_(CODECS))
    block_bytes: int = attrs.field(default=32 * 1024, validator=attrs.validators.ge(1))
    file_bytes_max: int = attrs.field(default=64 * 1024 * 1024, validator=attrs.validators.ge(1))
    runs_max: int = attrs.field(default=8, validator=attrs.validators.ge(1))
