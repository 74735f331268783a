"""What is to be done, what is being done and what has been done: the tasks of all stages, and the blocks they gave.

A task's outputs count from the moment it is marked done here, all at once; what an attempt left that died is never looked
at. Work that was given away from an attempt in a way that cannot be stated (elements at hand) is that attempt's *child*:
when the attempt dies, its children are struck out, whether done or not, and the task does their work again.
"""

from __future__ import annotations

import heapq
from collections.abc import Iterable, Iterator
from itertools import pairwise

import attrs

from hornbeam.graph import urns
from hornbeam.metrics.execution import MetricsSnapshot
from hornbeam.runners.multiprocess import hot_keys
from hornbeam.runners.multiprocess.blocks import BlockRef
from hornbeam.runners.multiprocess.created import created_count, is_created, is_keyed
from hornbeam.runners.multiprocess.outputs import Index
from hornbeam.runners.multiprocess.run_folder import remove_file
from hornbeam.runners.multiprocess.task import (
    Blocks,
    Cut,
    Do,
    Group,
    Impulse,
    Range,
    Ranges,
    Restriction,
    Work,
)
from hornbeam.runners.planner.plan import GROUPING_URNS, Plan, Stage

#: Tasks for each worker that a stage is cut into, if there is enough of it: the last ones then end at about the same time.
TASKS_A_WORKER = 4
#: Bytes of blocks that are not worth a task of their own.
_GROUP_BYTES_MIN = 1 << 20
#: Pickled pairs take about this much more room as objects.
_EXPANSION = 6
#: Elements of a Create that are not worth a task of their own; a slow one is split while it runs.
_CREATED_MIN = 10_000
#: Elements of blocks that are not worth a task of their own.
_BLOCKS_MIN = 10_000


@attrs.define(eq=False)
class Task:
    """A piece of a stage's work, through all its attempts."""

    id: int
    stage: str
    work: Work
    deaths: int = 0
    attempt: int = 0
    is_done: bool = False
    is_struck: bool = False
    index: Index = attrs.field(factory=list)
    metrics: list[MetricsSnapshot] = attrs.field(factory=list)
    children: list[Task] = attrs.field(factory=list)

    @property
    def is_open(self) -> bool:
        return not self.is_done and not self.is_struck

    def next_attempt(self, careful: bool) -> Do:
        """The order to do it, once more."""
        self.attempt += 1
        return Do(self.id, self.attempt, self.stage, self.work, careful)


@attrs.define(eq=False)
class StageState:
    """How far a stage is."""

    stage: Stage
    order: int
    label: str
    tasks: list[Task] = attrs.field(factory=list)
    is_started: bool = False
    is_done: bool = False
    #: Open tasks.
    left: int = 0
    #: Files of elements that running tasks have given away.
    given_files: list[str] = attrs.field(factory=list)
    #: Pairs of each of its groupings, for shares.
    pairs: dict[str, int] = attrs.field(factory=dict)


class Catalog:
    """The blocks that finished stages gave, by where they belong."""

    def __init__(self) -> None:
        self._blocks: dict[str, dict[tuple[int, int], list[BlockRef]]] = {}
        self._targets_of: dict[str, set[str]] = {}
        self.bytes = 0
        self.bytes_written = 0

    def add(self, index: Index) -> None:
        """Adds what a task gave."""
        for address, ref in index:
            places = self._blocks.setdefault(address.target, {})
            places.setdefault((address.input, address.partition), []).append(ref)
            self._targets_of.setdefault(ref.path, set()).add(address.target)
            self.bytes += ref.length
            self.bytes_written += ref.length

    def whole(self, target: str) -> tuple[BlockRef, ...]:
        """All blocks of a pcollection that is kept whole."""
        return tuple(ref for refs in self._blocks.get(target, {}).values() for ref in refs)

    def partitions(self, target: str) -> dict[int, dict[int, list[BlockRef]]]:
        """The blocks of a keyed exchange: partition → input → blocks."""
        found: dict[int, dict[int, list[BlockRef]]] = {}
        for (input_, partition), refs in self._blocks.get(target, {}).items():
            found.setdefault(partition, {})[input_] = refs
        return found

    def release(self, target: str) -> None:
        """Nobody reads these any more; files that nothing is left of are removed."""
        for refs in self._blocks.pop(target, {}).values():
            for ref in refs:
                self.bytes -= ref.length
                targets = self._targets_of.get(ref.path)
                if targets is not None:
                    targets.discard(target)
                    if not targets:
                        del self._targets_of[ref.path]
                        remove_file(ref.path)


class TaskBook:
    """All stages of a plan, cut into tasks as they become ready."""

    def __init__(self, plan: Plan, workers: int, worker_bytes_max: int) -> None:
        self.plan = plan
        self.catalog = Catalog()
        self.workers = workers
        self._worker_bytes_max = worker_bytes_max
        self.stages = {
            stage.name: StageState(stage, order, plan.steps[stage.steps[0]].label)
            for order, stage in enumerate(plan.stages)
        }
        self.tasks: dict[int, Task] = {}
        self._next_id = 0
        self._queue: list[tuple[int, float, int, Task]] = []
        self._last_use = self._last_uses()

    # Stages

    def start_ready(self) -> list[StageState]:
        """Starts every stage that may begin. Gives those that ended at once, for want of elements."""
        ended = []
        for state in self.stages.values():
            if state.is_started or not all(self.stages[name].is_done for name in state.stage.after):
                continue
            state.is_started = True
            for work in self._heads(state):
                self._add(state, work)
            if not state.left:
                ended.append(state)
        return ended

    def finish(self, state: StageState) -> Iterator[MetricsSnapshot]:
        """All tasks of the stage are done: what they gave counts, what they read is removed. Gives their metrics."""
        state.is_done = True
        for task in state.tasks:
            if task.is_done:
                self.catalog.add(task.index)
                yield from task.metrics
            self.tasks.pop(task.id, None)
        state.tasks.clear()
        for path in state.given_files:
            remove_file(path)
        for target in self._last_use.get(state.stage.name, ()):
            if all(self.stages[name].is_done for name in self._readers[target]):
                self.catalog.release(target)

    @property
    def is_finished(self) -> bool:
        return all(state.is_done for state in self.stages.values())

    def sides(self, stage: Stage) -> dict[str, tuple[BlockRef, ...]]:
        """The blocks of the pcollections that a stage looks at whole."""
        steps = (self.plan.steps[id_] for id_ in stage.steps)
        looked_at = {step.inputs[tag] for step in steps for tag in step.side_inputs}
        return {pc: self.catalog.whole(pc) for pc in looked_at}

    def _last_uses(self) -> dict[str, list[str]]:
        """For each stage the targets that it reads; `_readers` has the other way round."""
        self._readers: dict[str, set[str]] = {}
        for stage in self.plan.stages:
            for id_ in stage.steps:
                step = self.plan.steps[id_]
                if step.urn in GROUPING_URNS or is_keyed(step):
                    self._readers.setdefault(id_, set()).add(stage.name)
                for pc in step.inputs.values():
                    if pc in self.plan.spooled:
                        self._readers.setdefault(pc, set()).add(stage.name)
        uses: dict[str, list[str]] = {}
        for target, names in self._readers.items():
            for name in names:
                uses.setdefault(name, []).append(target)
        return uses

    # Cutting

    def _heads(self, state: StageState) -> Iterator[Work]:
        plan, stage = self.plan, state.stage
        own = {pc for id_ in stage.steps for pc in plan.steps[id_].outputs.values()}
        for id_ in stage.steps:
            step = plan.steps[id_]
            if step.urn == urns.IMPULSE:
                yield Impulse(id_)
            elif step.urn == urns.READ:
                yield from self._created(id_, created_count(step)) if is_created(step) else [Cut(id_)]
            elif step.urn in GROUPING_URNS:
                yield from self._groups(state, id_, len(step.main_inputs()))
            elif is_keyed(step):
                for inputs in self._together(id_, 1):
                    yield Blocks(id_, inputs[0], together=True, keyed=True)
            else:
                for pc in step.main_inputs().values():
                    if pc not in own:
                        yield from self._blocks(id_, self.catalog.whole(pc))

    def _created(self, id_: str, count: int) -> Iterator[Work]:
        parts = max(1, min(self.workers * TASKS_A_WORKER, count // _CREATED_MIN))
        bounds = [count * i // parts for i in range(parts + 1)]
        for start, stop in pairwise(bounds):
            yield Ranges(id_, (Range(b"", start, stop, float(stop - start)),))

    def ranges(self, id_: str, ranges: tuple[Range, ...]) -> Iterator[Work]:
        """The tasks of a source that was cut: small ranges go together."""
        total = sum(part.weight for part in ranges)
        share = total / (self.workers * TASKS_A_WORKER)
        held: list[Range] = []
        for part in ranges:
            if held and sum(p.weight for p in held) + part.weight > share:
                yield Ranges(id_, tuple(held))
                held = []
            held.append(part)
        if held:
            yield Ranges(id_, tuple(held))

    def _blocks(self, id_: str, refs: tuple[BlockRef, ...]) -> Iterator[Work]:
        total = sum(ref.count for ref in refs)
        share = max(_BLOCKS_MIN, total / (self.workers * TASKS_A_WORKER))
        held: list[BlockRef] = []
        count = 0
        for ref in refs:
            if held and count + ref.count > share:
                yield Blocks(id_, tuple(held))
                held, count = [], 0
            held.append(ref)
            count += ref.count
        if held:
            yield Blocks(id_, tuple(held))

    def _groups(self, state: StageState, id_: str, inputs: int) -> Iterator[Work]:
        groups = [Group(id_, refs) for refs in self._together(id_, inputs)]
        total = state.pairs[id_] = int(sum(group.weight for group in groups))
        for group in groups:
            suspect = total >= hot_keys.PAIRS_MIN and group.weight >= hot_keys.SHARE_MIN * total
            yield attrs.evolve(group, find_hot_key=suspect)

    def _together(self, id_: str, inputs: int) -> Iterator[tuple[tuple[BlockRef, ...], ...]]:
        """The partitions of a keyed exchange, small ones together, by input."""
        partitions = self.catalog.partitions(id_)
        sizes = {
            partition: sum(ref.length for refs in by_input.values() for ref in refs)
            for partition, by_input in partitions.items()
        }
        share = max(_GROUP_BYTES_MIN, sum(sizes.values()) // (self.workers * TASKS_A_WORKER))
        share = min(share, max(1, self._worker_bytes_max // 2 // _EXPANSION))
        held: list[int] = []
        for partition in sorted(sizes, key=lambda p: -sizes[p]):
            if held and sum(map(sizes.__getitem__, held)) + sizes[partition] > share:
                yield _merged(held, partitions, inputs)
                held = []
            held.append(partition)
        if held:
            yield _merged(held, partitions, inputs)

    # Tasks

    def _add(self, state: StageState, work: Work) -> Task:
        task = Task(self._next_id, state.stage.name, work)
        self._next_id += 1
        self.tasks[task.id] = task
        state.tasks.append(task)
        state.left += 1
        self.enqueue(task)
        return task

    def enqueue(self, task: Task) -> None:
        """The task waits for a worker."""
        weight = getattr(task.work, "weight", 0.0)
        heapq.heappush(self._queue, (self.stages[task.stage].order, -weight, task.id, task))

    def next_task(self) -> Task | None:
        """The task to do next: of the earliest stage, the largest."""
        while self._queue:
            task = heapq.heappop(self._queue)[-1]
            if task.is_open:
                return task
        return None

    @property
    def backlog(self) -> int:
        """How many tasks wait."""
        return len(self._queue)

    def done(self, task: Task, index: Index, metrics: MetricsSnapshot | None) -> bool:
        """The task is done. Says whether its stage has no more to do."""
        task.is_done = True
        task.index = index
        task.children = []  # they count now
        if metrics is not None:
            task.metrics.append(metrics)
        state = self.stages[task.stage]
        state.left -= 1
        return not state.left

    def cut(self, task: Task, ranges: tuple[Range, ...]) -> None:
        """A source has been cut: its ranges become tasks."""
        state = self.stages[task.stage]
        for work in self.ranges(task.work.step, ranges):
            self._add(state, work)

    def given(self, task: Task, works: Iterable[Work], reduced: Work | None) -> None:
        """A running task has given work away."""
        state = self.stages[task.stage]
        if reduced is not None:
            task.work = reduced
        for work in works:
            made = self._add(state, work)
            if reduced is None:
                task.children.append(made)
                state.given_files += _files_of(work)

    def died(self, task: Task) -> bool:
        """The task's worker has died: it is to be done again, with what its attempt gave away. Says whether it is open."""
        task.deaths += 1
        self._strike_children(task)
        return task.is_open

    def _strike_children(self, task: Task) -> None:
        children, task.children = task.children, []
        for child in children:
            self._strike_children(child)
            if child.is_open:
                self.stages[child.stage].left -= 1
            child.is_struck, child.is_done = True, False
            child.index, child.metrics = [], []


def _merged(
    held: list[int], partitions: dict[int, dict[int, list[BlockRef]]], inputs: int
) -> tuple[tuple[BlockRef, ...], ...]:
    return tuple(
        tuple(ref for partition in held for ref in partitions[partition].get(index, ()))
        for index in range(inputs)
    )


def _files_of(work: Work) -> list[str]:
    if isinstance(work, Blocks):
        return [ref.path for ref in work.refs]
    return [work.element.path] if isinstance(work, Restriction) else []
