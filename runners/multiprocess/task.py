"""What workers are asked to do, and what they answer: frozen values that travel as pickles."""

from __future__ import annotations

from typing import Any

import attrs

from hornbeam.metrics.execution import MetricsSnapshot
from hornbeam.runners.multiprocess.blocks import BlockRef
from hornbeam.runners.multiprocess.outputs import Index

# Work: where the elements of a task come from. `step` is the step of the stage that they are given to.


@attrs.frozen
class Impulse:
    """The one element of an impulse."""

    step: str


@attrs.frozen
class Cut:
    """Not elements yet: the splits of a source, to be made into ranges."""

    step: str


@attrs.frozen
class Range:
    """A part of a source, as pickled; an empty pickle is the source of the step itself."""

    source: bytes
    start: Any
    stop: Any
    weight: float = 1.0


@attrs.frozen
class Ranges:
    """Parts of a source, one after the other."""

    step: str
    ranges: tuple[Range, ...]

    @property
    def weight(self) -> float:
        return sum(part.weight for part in self.ranges)


@attrs.frozen
class Blocks:
    """Elements in blocks. Whole partitions (`together`) are not taken apart, nor cut into several bundles of work."""

    step: str
    refs: tuple[BlockRef, ...]
    together: bool = False
    keyed: bool = False

    @property
    def weight(self) -> float:
        return sum(ref.count for ref in self.refs)


@attrs.frozen
class Group:
    """Partitions of a grouping: the blocks of each of its inputs."""

    step: str
    inputs: tuple[tuple[BlockRef, ...], ...]
    #: Whether to find out which key has the most pairs.
    find_hot_key: bool = False

    @property
    def weight(self) -> float:
        return sum(ref.count for refs in self.inputs for ref in refs)


@attrs.frozen
class Restriction:
    """A part of one element's work in a splittable DoFn: the bundle of that element, and the pickled restriction."""

    step: str
    element: BlockRef
    restriction: bytes
    weight: float = 1.0


Work = Impulse | Cut | Ranges | Blocks | Group | Restriction

# What the coordinator says


@attrs.frozen
class StageInfo:
    """What a worker needs to know of a stage before its first task: the blocks of the pcollections it looks at."""

    stage: str
    sides: dict[str, tuple[BlockRef, ...]]


@attrs.frozen
class Do:
    """Do a task. A careful attempt notes each element before it is worked on."""

    task: int
    attempt: int
    stage: str
    work: Work
    careful: bool = False


@attrs.frozen
class EndStage:
    """No more tasks of the stage will come: tear its steps down."""

    stage: str


@attrs.frozen
class Split:
    """Give away half of what is left of the task."""

    task: int
    attempt: int


@attrs.frozen
class Committed:
    """The task's outputs count: run what waits for that."""

    task: int


@attrs.frozen
class Stop:
    """End: tear down and go."""


# What a worker says


@attrs.frozen
class Ready:
    """The worker takes tasks."""

    pid: int


@attrs.frozen
class Done:
    """A task is done. `has_finalizers`: the worker waits for Committed."""

    task: int
    attempt: int
    index: Index
    metrics: MetricsSnapshot | None
    elements: int
    has_finalizers: bool = False
    ranges: tuple[Range, ...] = ()
    hot_key: tuple[str, float] | None = None


@attrs.frozen
class Failed:
    """User code raised, in a task or in the end of a stage (`task` is -1)."""

    task: int
    attempt: int
    error: bytes
    metrics: MetricsSnapshot | None


@attrs.frozen
class Given:
    """The answer to Split. Either `reduced` is what the task still does, or (when that cannot be said) None: then
    `given` counts only together with this attempt. Nothing could be given when `given` is empty.
    """

    task: int
    attempt: int
    given: tuple[Work, ...] = ()
    reduced: Work | None = None


@attrs.frozen
class StageEnded:
    """The stage is torn down on this worker."""

    stage: str


@attrs.frozen
class Heartbeat:
    """How far the worker is: elements taken from the task's head, portions worked on, share of the task, and where."""

    task: int
    elements: int
    portions: int
    fraction: float
    step: str | None


@attrs.frozen
class Text:
    """What user code printed (`stream` is stdout or stderr)."""

    stream: str
    text: str


@attrs.frozen
class LogRecord:
    """A record of the logging module, as a dict of its attributes."""

    attributes: dict[str, Any]


@attrs.frozen
class AtRunEnd:
    """A pickled callback for the end of the run."""

    callback: bytes
