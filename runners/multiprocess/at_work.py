"""A stage at work on a worker: its operators, kept from task to task, and the tasks that are run through them."""

from __future__ import annotations

from collections.abc import Callable, Iterable, Iterator, Mapping
from time import perf_counter
from typing import Any, cast

import cloudpickle

from hornbeam.metrics.execution import MetricsContainer, MetricsRegistry, set_current
from hornbeam.runners.engine.build import Grouping, StageBuilder, late_entry
from hornbeam.runners.engine.bundle import CHUNK, Bundle
from hornbeam.runners.engine.dofn_operator import DoFnOperator
from hornbeam.runners.engine.emission import END_OF_TIME_MICROS
from hornbeam.runners.engine.failures import naming, note_failure
from hornbeam.runners.engine.folding import GatherFolding
from hornbeam.runners.engine.lifecycle import Lifecycle
from hornbeam.runners.engine.operator import Operator, Receiver, fan_out
from hornbeam.runners.engine.spill import Spool, TemporarySpace
from hornbeam.runners.engine.splittable import SplittableOperator
from hornbeam.runners.engine.triggered_grouping import TriggeredGrouping
from hornbeam.runners.multiprocess.blocks import BlockRef, read_block
from hornbeam.runners.multiprocess.careful import Noting
from hornbeam.runners.multiprocess.columns import Columns, elements_of, pairs_of
from hornbeam.runners.multiprocess.created import is_keyed
from hornbeam.runners.multiprocess.feed import (
    BlockPieces,
    Feed,
    GivenPieces,
    Pieces,
    SourcePieces,
    source_of,
)
from hornbeam.runners.multiprocess.hot_keys import HotKeys
from hornbeam.runners.multiprocess.job import Job
from hornbeam.runners.multiprocess.outputs import TaskOutputs
from hornbeam.runners.multiprocess.sorted_groups import are_simple, can_sort, sorted_groups
from hornbeam.runners.multiprocess.task import Blocks, Cut, Group, Impulse, Range, Ranges, Restriction, Work
from hornbeam.runners.planner.plan import Stage

#: Elements after which a bundle ends when no size is given.
BUNDLE_ELEMENTS = 1 << 20
#: A portion of elements should take between these, so that the rest can be given to an idle worker.
_PORTION_SECONDS = (0.02, 0.1)
#: Pairs that a grouping takes at a time.
_FILL = 16 * CHUNK
#: The sizes that a split of a source is asked to be between, in whatever the source counts.
_SPLIT_SIZES = (1 << 20, 64 << 20)


class Stopped(BaseException):
    """The coordinator has told the worker to stop, in the middle of a task."""


class ReadOnlySpool:
    """A pcollection that is looked at: blocks on disk, mapped by every worker of the machine."""

    def __init__(self, refs: Iterable[BlockRef]) -> None:
        self._refs = tuple(refs)
        self.count = sum(ref.count for ref in self._refs)

    def __iter__(self) -> Iterator[Bundle]:
        for ref in self._refs:
            yield elements_of(read_block(ref))


class _KeyedInput:
    """Stands for a grouping where pairs are made: takes them for the exchange."""

    def __init__(self, receivers: Callable[[int], Receiver]) -> None:
        self.input = receivers


class Kept:
    """Stands for a spool: what is written to it goes into the exchange, what is read from it comes from there."""

    def __init__(self, append: Receiver, refs: Iterable[BlockRef]) -> None:
        self.append = append
        self._read = ReadOnlySpool(refs)

    @property
    def count(self) -> int:
        """How many elements it has."""
        return self._read.count

    def __iter__(self) -> Iterator[Bundle]:
        return iter(self._read)


class StageAtWork:
    """The operators of a stage on this worker. They are set up before the first task and torn down after the last."""

    def __init__(
        self,
        job: Job,
        stage: Stage,
        sides: Mapping[str, tuple[BlockRef, ...]],
        outputs: TaskOutputs,
        registry: MetricsRegistry,
        space: TemporarySpace,
        noting: Noting | None = None,
    ) -> None:
        self.space = space
        self.memory_bytes_max = max(1, job.worker_bytes_max // 2)
        self.stage = stage
        self._job = job
        self._sides = sides
        self._outputs = outputs
        self._registry = registry
        self._producers = job.plan.producers()
        self._consumers = job.plan.consumers()
        self._looked_at = frozenset(job.plan.side_consumers())
        self._builder = StageBuilder(job.plan, self)
        built = self._builder.build(stage)
        self.operators: Mapping[str, Operator] = built.operators
        self._entries = built.entries
        if noting is not None:
            noting.note_every_step(built)
        self._life = Lifecycle(built.operators)
        self._bundle_max = job.bundle_size or BUNDLE_ELEMENTS
        self._chunk = min(CHUNK, job.bundle_size) if job.bundle_size else CHUNK
        self._hot_keys: HotKeys | None = None
        self._on_portion: Callable[[], None] = lambda: None
        #: Elements that a grouping has dropped and that somebody reads.
        self._late: list[Bundle] = []
        self._kept: list[tuple[SplittableOperator, Bundle, Any]] = []
        #: Whether bundles have something to run once their outputs count.
        self.has_finalizers = any(
            isinstance(operator, DoFnOperator) and operator.signature.bundle_finalizer
            for operator in self.operators.values()
        )

    # What the builder asks for

    def container(self, step_label: str) -> MetricsContainer:
        """The metrics of a step."""
        return self._registry.container(step_label)

    def spool(self, pcollection: str) -> Spool:
        """The channel of a pcollection that is kept whole, or its blocks."""
        steps = self._job.plan.steps
        receivers = [
            self._by_key(reader, 0).append
            for reader, _ in self._consumers.get(pcollection, ())
            if is_keyed(steps[reader])
        ]
        if (
            not receivers
            or pcollection in self._looked_at
            or len(self._consumers[pcollection]) > len(receivers)
        ):
            label = steps[self._producers[pcollection]].label
            receivers.append(self._outputs.spool(pcollection, label).append)
        return cast(Spool, Kept(fan_out(receivers), self._sides.get(pcollection, ())))

    def grouping(self, step: str) -> Grouping:
        """What takes the pairs of a grouping step for the exchange."""
        return cast(Grouping, _KeyedInput(lambda index: self._by_key(step, index).append))

    def _by_key(self, step_id: str, index: int) -> Any:
        step = self._job.plan.steps[step_id]
        spec = self._builder.grouping_spec(step, GatherFolding())
        return self._outputs.keyed(step_id, index, step.label, self._job.partitions, spec.encode_key)

    # A task

    def cut(self, work: Cut) -> tuple[Range, ...]:
        """The ranges that a source falls into."""
        step = self._job.plan.steps[work.step]
        container = self.container(step.label)
        previous = set_current(container)
        try:
            source = source_of(step)
            size = source.estimate_size()
            low, high = _SPLIT_SIZES
            wanted = high if size is None else min(high, max(low, size // (4 * self._job.workers_max)))
            return tuple(
                Range(
                    b"" if split.source is source else cloudpickle.dumps(split.source),
                    split.start_position,
                    split.stop_position,
                    float(split.weight or 1),
                )
                for split in source.split(wanted)
            )
        except BaseException as error:
            note_failure(error, step.label)
            raise
        finally:
            set_current(previous)

    def feed(self, work: Work) -> Feed:
        """The elements of a task."""
        step = self._job.plan.steps[work.step]
        pieces: Pieces
        if isinstance(work, Impulse):
            pieces = GivenPieces([Bundle([b""])])
        elif isinstance(work, Ranges):
            pieces = SourcePieces(step, work, self.container(step.label), self._chunk)
        elif isinstance(work, Blocks):
            pieces = BlockPieces(work)
            return Feed(pieces, divisible=not work.together and not self.has_finalizers)
        elif isinstance(work, Group):
            pieces = GivenPieces(self._fired(work))
        else:
            pieces = GivenPieces([])
        # What is given away at hand may be done again with the task; finalizers must not run twice.
        return Feed(pieces, divisible=not self.has_finalizers)

    def _fired(self, work: Group) -> Iterator[Bundle]:
        """What a grouping gives for the pairs of some partitions."""
        grouping = self._builder.grouping_operator(self._job.plan.steps[work.step], bounded=True)
        self._hot_keys = HotKeys() if work.find_hot_key else None
        with naming(f"{grouping.spec.label}, setup"):
            grouping.spec.folding.setup()
        try:
            blocks: list[Columns] = []
            if can_sort(grouping) and sum(ref.length for ref in work.inputs[0]) < self.memory_bytes_max // 4:
                blocks = [self._looked_at_block(ref) for ref in work.inputs[0]]
                if are_simple(blocks):
                    yield from sorted_groups(blocks)
                    return
            for index, refs in enumerate(work.inputs):
                receive = grouping.input(index)
                for columns in blocks or map(self._looked_at_block, refs):
                    for bundle in pairs_of(columns).chunks(_FILL):
                        receive(bundle)
            yield from grouping.fire(END_OF_TIME_MICROS)
            if isinstance(grouping, TriggeredGrouping) and grouping.late_tag is not None:
                self._late = list(grouping.late())
        finally:
            with naming(f"{grouping.spec.label}, teardown"):
                grouping.spec.folding.teardown()

    def _looked_at_block(self, ref: BlockRef) -> Columns:
        self._on_portion()
        columns: Columns = read_block(ref)
        if self._hot_keys is not None:
            self._hot_keys.look(columns)
        return columns

    def hottest_key(self) -> tuple[str, float] | None:
        """The key with the most pairs of the last task, and its share, if it was to be found."""
        return None if self._hot_keys is None else self._hot_keys.hottest()

    def run(self, work: Work, feed: Feed, on_portion: Callable[[], None]) -> None:
        """Runs a task's elements through the stage, then ends its last bundle. `on_portion` may raise Stopped."""
        process = self._entries[work.step]
        self._on_portion = on_portion
        if isinstance(work, Restriction):
            self._resume(work)
        size = 1
        fewest, most = _PORTION_SECONDS
        while True:
            left = self._bundle_max - self._life.in_bundle
            portion = feed.take(min(size, left))
            if portion is None:
                break
            on_portion()
            self._life.begin()
            started = perf_counter()
            process(portion)
            seconds = perf_counter() - started
            self._life.in_bundle += len(portion)
            if self._life.in_bundle >= self._bundle_max:
                self._life.finish_bundle()
            if seconds < fewest:
                size = min(2 * size, self._chunk)
            elif seconds > most:
                size = max(1, int(size * most / seconds))
        late, self._late = self._late, []
        for bundle in late:
            self._life.begin()
            self._entries[late_entry(work.step)](bundle)
        while self._kept:
            operator, element, restriction = self._kept.pop()
            operator.resume(element, restriction)
        self._life.finish_input()
        self._life.finish_bundle()

    def _resume(self, work: Restriction) -> None:
        """Works on a part of an element's restriction that another worker has given away."""
        operator = self.operators[work.step]
        assert isinstance(operator, SplittableOperator)
        element = elements_of(read_block(work.element))
        self._life.begin()
        self._life.in_bundle += 1
        operator.resume(element, cloudpickle.loads(work.restriction))

    def split_restriction(self, outputs: TaskOutputs) -> tuple[Work, ...] | None:
        """Half of the restriction that a splittable step is working on, as work for another task. On any thread."""
        for id_, operator in self.operators.items():
            if not isinstance(operator, SplittableOperator) or self.has_finalizers:
                continue
            split = operator.try_split(0.5)
            if split is None:
                continue
            try:
                return (Restriction(id_, outputs.aside(split[0]), cloudpickle.dumps(split[1])),)
            except Exception:
                self._kept.append((operator, *split))  # what cannot be pickled is done here after all
                return None
        return None

    def finalize(self) -> None:
        """Runs the bundle finalizers: the task's outputs count."""
        self._life.commit()

    def teardown(self, failed: bool) -> None:
        """Tears every operator down; an error of it counts only when nothing else went wrong."""
        self._life.tear_down(failed)
