"""What coordinator and workers tell each other, as pickles over a socket."""

from __future__ import annotations

from collections.abc import Mapping
from typing import Any

import attrs

from hornbeam.graph.model import Graph
from hornbeam.metrics.execution import MetricsSnapshot
from hornbeam.runners.engine.explain import StepExplanation
from hornbeam.runners.engine.hot_keys import KeySample
from hornbeam.runners.log.job_status import StepStatus
from hornbeam.runners.log.poison import Poison
from hornbeam.runners.processes.environment import Environment
from hornbeam.storage.checkpoint import WriteTicket

# To a worker


@attrs.frozen(kw_only=True)
class Begin:
    """The first message: what to run."""

    job_name: str
    graph: Graph
    worker: int
    workers: int
    exchange: str
    checkpoints: str
    workers_lock: str
    #: The checkpoint to begin from; None is the very beginning.
    restore_from: int | str | None
    #: For the whole job, and what the coordinator has of it.
    memory_bytes_max: int
    coordinator_bytes: int
    bundle_size: int
    idle_timeout_micros: int | None
    exchange_bytes_max: int
    options: Mapping[str, Any]
    #: The folder of the temporary files of all workers.
    spilled: str
    environment: Environment
    at_least_once: bool = False
    poison: Poison | None = None
    #: Whether sources and the clock stand still from the beginning: only what is under way is to arrive.
    is_quiet: bool = False
    #: Fault points to arm, for tests.
    faults: str | None = None
    #: After so many bundles ask for a restart, for tests.
    restart_after: int | None = None


@attrs.frozen
class TakeSnapshot:
    """Take the cut of a checkpoint."""

    ticket: WriteTicket
    #: Process nothing after it: the attempt is to end with this checkpoint.
    freeze: bool = False
    #: All is done: nothing is left of what belongs to keys, and nothing is told of what went since the last cut.
    is_last: bool = False

    @property
    def checkpoint(self) -> int:
        """Its number."""
        return self.ticket.checkpoint


@attrs.frozen
class Published:
    """The checkpoint, and with it what the bundles before its cut gave, is durable."""

    checkpoint: int


@attrs.frozen
class Quiesce:
    """Let sources and the clock stand still, and take in what is under way; or go on again."""

    on: bool


@attrs.frozen
class Poll:
    """Say how far you are, after a turn in which nothing was to be done, if it comes to that."""

    number: int


@attrs.frozen
class Drain:
    """Sources give nothing new from now on."""


@attrs.frozen
class Explain:
    """Say what holds time back."""

    number: int


@attrs.frozen
class End:
    """Tear down and end."""


# To the coordinator


@attrs.frozen
class Ready:
    """The task is restored and runs."""

    worker: int
    restore_ms: float
    cpu_seconds: float = 0.0


@attrs.frozen
class Done:
    """All that was to be done here is done; or, after all, it is not."""

    is_done: bool
    #: Whether nothing is kept here that belongs to keys.
    is_empty: bool


@attrs.frozen
class Polled:
    """The answer to Poll."""

    number: int
    is_idle: bool
    sent_bytes: int
    taken_bytes: int


@attrs.frozen
class Told:
    """A worker's status, about once a second: also the sign of life."""

    turns: int
    steps: tuple[StepStatus, ...]
    metrics: MetricsSnapshot
    #: Of the keys that come to a step, by its label.
    keys: Mapping[str, KeySample] = attrs.field(factory=dict)


@attrs.frozen
class Alive:
    """A sign of life, while the main thread is busy; `turns` tells whether it comes on, `where` what it is at if not."""

    turns: int
    where: str = ""


@attrs.frozen
class Paused:
    """The disk is full (or, with an empty text, is not any more)."""

    text: str


@attrs.frozen
class Explained:
    """The answer to Explain."""

    number: int
    stages: tuple[StepExplanation, ...]


@attrs.frozen
class Failed:
    """User code, or we, have failed: the exception as `remote_errors` carries it, and how it is known again."""

    error: bytes
    signature: str


@attrs.frozen
class WantRestart:
    """So many bundles as the test mode wants were processed; the worker stands still."""


@attrs.frozen
class Ended:
    """Everything is torn down. `cpu_seconds` is the processor's time since the task began."""

    metrics: MetricsSnapshot
    cpu_seconds: float = 0.0
