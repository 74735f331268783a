"""A job again from one of its checkpoints, in this process and thread, for debugging; the job is not touched.

All workers' tasks are made here, from the checkpoint, and work in turn over what the sources still have: topics of a log
from the offsets that the checkpoint holds. Two-phase sinks (WriteToLog, files) are left out; what they would have been
given can be seen. User code runs where a debugger can stop it, a step at a time, unfused. When sources have no more, the
clock runs ahead to what timers in processing time wait for.
"""

from __future__ import annotations

import logging
import pickle
from collections.abc import Callable, Iterator, Mapping
from typing import Any

import attrs
import cloudpickle

from hornbeam.error import RunnerError
from hornbeam.graph import urns
from hornbeam.graph.model import Graph
from hornbeam.metrics.execution import MetricsRegistry
from hornbeam.runners.engine.bundle import Bundle
from hornbeam.runners.engine.clock import NEVER, WallClock
from hornbeam.runners.engine.head import SourceHead
from hornbeam.runners.engine.lifecycle import tear_down
from hornbeam.runners.engine.operator import Receiver
from hornbeam.runners.engine.spill import TemporarySpace
from hornbeam.runners.engine.stream_build import StreamBuilder, StreamSurroundings
from hornbeam.runners.engine.stream_stage import StreamStage
from hornbeam.runners.log.job_folder import JobFolder
from hornbeam.runners.log.origin import graph_name
from hornbeam.runners.log.plans import plan_for
from hornbeam.runners.log.restoring import restore_task
from hornbeam.runners.log.sinks import sinks_of
from hornbeam.runners.log.task import Task
from hornbeam.runners.planner.plan import Plan, Stage
from hornbeam.storage.checkpoint import StoreReader
from hornbeam.transforms.dofn import DoFn
from hornbeam.utils.run_end import run_scope
from hornbeam.utils.timestamp import timestamp_at

_log = logging.getLogger(__name__)

#: More than a replay holds.
_MEMORY_BYTES = 1 << 40
_VAIN_TURNS_MAX = 100
#: Moments of processing time that are waited for: a timer may set itself for ever.
_WAKEUPS_MAX = 1000


@attrs.frozen
class Seen:
    """An element on its way into a step, or out of it."""

    #: `in` or `out`.
    way: str
    step: str
    element: Any
    micros: int
    windows: tuple[Any, ...]

    def __str__(self) -> str:
        windows = (
            "" if repr(self.windows) == "(GlobalWindow,)" else f" in {', '.join(map(repr, self.windows))}"
        )
        return f"{self.way:<3} {self.step}: {self.element!r} at {_time(self.micros)}{windows}"


class Discard(DoFn):
    """In the place of a sink."""

    def process(self, element: Any) -> None:
        """Nothing is written."""


@attrs.define
class _Watch:
    """What is watched, told and kept back while tasks work."""

    #: By pcollection, what is said of its elements: (way, label of the step).
    watched: Mapping[str, list[tuple[str, str]]]
    #: Inputs of the step whose other keys are kept back.
    filtered: frozenset[str]
    key: str | None
    tell: Callable[[Seen], None]
    #: What sources give.
    given: frozenset[str]
    elements: int = 0
    #: Elements of the key that came.
    of_key: int = 0

    def through(self, pcollection: str, receive: Receiver) -> Receiver:
        """The receiver of a pcollection, watched."""
        watched = self.watched.get(pcollection, [])
        filters, counts = pcollection in self.filtered, pcollection in self.given

        def watch(bundle: Bundle) -> None:
            if counts:
                self.elements += len(bundle)
            if filters:
                bundle = self._only_key(bundle)
            for way, step in watched:
                for row in zip(bundle.values, bundle.timestamp_list(), bundle.window_list()):
                    self.tell(Seen(way, step, *row))
            if bundle.values:
                receive(bundle)

        return watch if watched or filters or counts else receive

    def _only_key(self, bundle: Bundle) -> Bundle:
        kept = [i for i, (key, _) in enumerate(bundle.values) if self.key in (str(key), repr(key))]
        self.of_key += len(kept)
        return bundle.take([bundle.values[i] for i in kept], kept)


class _WatchingBuilder(StreamBuilder):
    """Builds steps that run one by one, with a look at what goes between them."""

    watch: _Watch

    def _receiver(self, pcollection: str, stage: Stage, entries: Mapping[str, Receiver]) -> Receiver:
        return self.watch.through(pcollection, super()._receiver(pcollection, stage, entries))

    def _plain_runs(self, stage: Stage, built: Mapping[str, Any]) -> Iterator[list[str]]:
        return iter(())


class _WatchedTask(Task):
    """A worker's task whose steps are watched."""

    def __init__(self, watch: _Watch, *arguments: Any, **options: Any) -> None:
        self._watch = watch
        super().__init__(*arguments, **options)

    def make_builder(self, plan: Plan, around: StreamSurroundings) -> StreamBuilder:
        """One that watches."""
        builder = _WatchingBuilder(plan, around)
        builder.watch = self._watch
        return builder


def replay(
    folder: JobFolder,
    which: int | str | None = None,
    step: str = "",
    key: str | None = None,
    elements_max: int = 100_000,
    tell: Callable[[Seen], None] = print,
) -> int:
    """Works from the checkpoint until sources have nothing more, or have given about `elements_max`; how many they gave.

    Tells of what goes into `step` (its full label) and comes out of it; without one, of what sinks would be given. With
    `key` (as `str` or `repr` shows it), a step of pairs gets those of that key only. RunnerError for a checkpoint or a
    step that is not there.
    """
    with StoreReader(folder.checkpoints).snapshot(which) as snapshot:
        manifest = snapshot.manifest
    graph, sinks = _without_sinks(folder.graph(graph_name(manifest)))
    workers = int(manifest.metadata["workers"])
    plan = plan_for(graph, workers)
    watch = _watch(plan, step, sinks, key, tell)
    with run_scope():
        space = TemporarySpace(None)
        try:
            which = manifest.savepoint or manifest.checkpoint
            count = _Replay(plan, workers, watch, space).run(folder.checkpoints, which, elements_max)
        finally:
            space.close()
    if key is not None and not watch.of_key:
        _log.warning("No element of the key %s came.", key)
    return count


class _Clock(WallClock):
    """The wall clock, but for the time that was not waited for."""

    def __init__(self) -> None:
        super().__init__()
        self.ahead_micros = 0

    def now_micros(self) -> int:
        """Processing time."""
        return super().now_micros() + self.ahead_micros


class _Replay:
    """The tasks of all workers at work in one thread; rows go from one to the other at once."""

    def __init__(self, plan: Plan, workers: int, watch: _Watch, space: TemporarySpace) -> None:
        self._watch = watch
        #: Turns in a row in which sources worked and gave nothing: they may be looking for what there is.
        self._vain_turns = 0
        self._clock = _Clock()
        self._tasks = [
            _WatchedTask(
                watch, plan, worker, workers, space, _MEMORY_BYTES, 0, MetricsRegistry(), self._clock
            )
            for worker in range(workers)
        ]

    def run(self, checkpoints: str, which: int | str, elements_max: int) -> int:
        """Restores, then works."""
        begun: list[StreamStage] = []
        failed = True
        try:
            for task in self._tasks:
                for stage in task.setup():
                    begun.append(stage)
            under_way = [restore_task(task, checkpoints, which) for task in self._tasks]
            for task, rows in zip(self._tasks, under_way):
                for sender, records in rows.items():
                    for data in records:
                        self._deliver(task, sender, pickle.loads(data))
            while self._watch.elements < elements_max and self._turn():
                pass
            self._run_ahead()
            failed = False
        finally:
            tear_down((operator for stage in begun for operator in stage.operators.values()), failed)
        return self._watch.elements

    def _turn(self) -> bool:
        """A piece of work of each task; whether there may be more."""
        before = self._watch.elements
        worked = False
        for task in self._tasks:
            now = task.clock.now_micros()
            task.tell_time(now)
            source = task.ready_source(now)
            if source is not None:
                source.work(now)
                worked = True
            self._advance(task)
        self._vain_turns = 0 if self._watch.elements > before else self._vain_turns + 1
        return worked and self._vain_turns < _VAIN_TURNS_MAX

    def _run_ahead(self) -> None:
        """Moves the clock to what steps wait for, again and again; sources are not asked any more."""
        for _ in range(_WAKEUPS_MAX):
            stages = [stage for task in self._tasks for stage in task.stages.values()]
            stages = [stage for stage in stages if not isinstance(stage.head, SourceHead)]
            wakeup = min((stage.next_wakeup() for stage in stages), default=NEVER)
            if wakeup >= NEVER:
                return
            self._clock.ahead_micros += max(0, wakeup - self._clock.now_micros())
            for task in self._tasks:
                self._advance(task)

    def _advance(self, task: Task) -> None:
        task.advance(task.clock.now_micros())
        for other, outbox in task.outboxes.items():
            if outbox.messages:
                self._deliver(self._tasks[other], task.worker, outbox.take())

    def _deliver(self, task: Task, sender: int, messages: list[Any]) -> None:
        task.tell_time(task.clock.now_micros())
        for message in messages:
            task.deliver(message, sender)
        self._advance(task)


def _without_sinks(graph: Graph) -> tuple[Graph, list[str]]:
    """The graph with its two-phase sinks made to write nothing, and their labels."""
    labels = list(sinks_of(graph))
    transforms = dict(graph.transforms)
    for id_, transform in graph.transforms.items():
        if transform.urn == urns.PARDO and transform.label in labels:
            payload = attrs.evolve(cloudpickle.loads(transform.payload), dofn=Discard())
            transforms[id_] = attrs.evolve(transform, payload=cloudpickle.dumps(payload))
    return attrs.evolve(graph, transforms=transforms), labels


def _watch(plan: Plan, step: str, sinks: list[str], key: str | None, tell: Callable[[Seen], None]) -> _Watch:
    watched: dict[str, list[tuple[str, str]]] = {}
    filtered: set[str] = set()
    found = [each for each in plan.steps.values() if each.label == step]
    if step and not found:
        known = ", ".join(repr(each.label) for each in plan.steps.values())
        raise RunnerError(f"the job has no step {step!r}; it has {known}")
    for each in found or [each for each in plan.steps.values() if each.label in sinks]:
        for pcollection in each.main_inputs().values():
            watched.setdefault(pcollection, []).append(("in", each.label))
            filtered.add(pcollection)
        for pcollection in each.outputs.values() if found else ():
            watched.setdefault(pcollection, []).append(("out", each.label))
    given = {
        pcollection
        for each in plan.steps.values()
        if each.urn in (urns.READ, urns.IMPULSE) or each.spec.get("splittable")
        for pcollection in each.outputs.values()
    }
    return _Watch(watched, frozenset(filtered if key is not None else ()), key, tell, frozenset(given))


def _time(micros: int) -> str:
    try:
        return timestamp_at(micros).to_rfc3339()
    except (OverflowError, ValueError):
        return f"{micros / 1e6:.0f} s"
