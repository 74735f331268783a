"""What a job is, from start to start: `job.json` in its folder."""

from __future__ import annotations

from collections.abc import Mapping
from typing import Any

import attrs

from hornbeam.runners.log.states import STARTING

#: The version of what lies in a job's folder.
FORMAT = 2


@attrs.frozen(kw_only=True)
class JobRecord:
    """What a job is. Times are microseconds since 1970."""

    job_name: str
    #: Options as given on the command line, in their dictionary form, so that `resume` can start the job again.
    options: Mapping[str, Any] = attrs.field(factory=dict)
    state: str = STARTING
    num_workers: int = 1
    created_micros: int = 0
    #: Told to start over: what earlier starts left goes before anything else, also when that is killed half-way.
    starts_over: bool = False
    #: Times the job was started, this one included.
    starts: int = 1
    #: Attempts so far; exchange logs are named by it.
    attempts: int = 0
    #: Whether it has had a checkpoint: without any, later, it would do again what it has done.
    has_checkpoints: bool = False
    #: A savepoint or checkpoint to begin from; None is the newest checkpoint. It counts until an attempt after
    #: `restore_asked`, the number of attempts when it was asked for, has published a checkpoint.
    restore_from: int | str | None = None
    restore_asked: int = 0
    #: The last `--restore_from` that was done, as given: the same command does it once.
    restored: str | None = None
    #: Whether it was told to drain.
    is_draining: bool = False
    #: Elements to skip: for each step's label, their identities (see `element_identity`) and short reprs.
    poison: Mapping[str, Any] = attrs.field(factory=dict)
    #: How it failed, if `state` is FAILED: {"type", "message", "step", "element", "position", "traceback"}.
    failure: Mapping[str, Any] | None = None
