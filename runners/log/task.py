"""A worker's task: its instance of every stage of the plan, with the senders and receivers of their edges."""

from __future__ import annotations

from collections.abc import Iterator

from hornbeam.graph import urns
from hornbeam.graph.model import Transform
from hornbeam.metrics.execution import MetricsContainer, MetricsRegistry
from hornbeam.runners.engine.bundle import Bundle
from hornbeam.runners.engine.clock import NEVER, Clock, ManualClock
from hornbeam.runners.engine.head import BEGINNING_OF_TIME, END_OF_TIME, Head, SourceHead
from hornbeam.runners.engine.hot_keys import SampledKeys, has_own_keys
from hornbeam.runners.engine.operator import Receiver
from hornbeam.runners.engine.spill import TemporarySpace
from hornbeam.runners.engine.stream_build import StreamBuilder, StreamSurroundings, keyed_steps
from hornbeam.runners.engine.stream_stage import Edge, StreamStage
from hornbeam.runners.log.edges import BROADCAST, KEYED, LOCAL, SPREAD, ExchangeEdge, edges_of, is_keyed
from hornbeam.runners.log.exchange import Mark, Rows
from hornbeam.runners.log.key_groups import KeyGroups
from hornbeam.runners.log.routing import BroadcastSender, KeyedSender, Outbox, SpreadSender
from hornbeam.runners.planner.plan import Plan


class Input:
    """An edge at work: what takes its rows here, and how far its time has come at each worker that sends on it."""

    def __init__(self, edge: ExchangeEdge, at: Edge, workers: int) -> None:
        self.edge = edge
        self.at = at
        self.receive: Receiver | None = None
        self.marks = [BEGINNING_OF_TIME if self.is_remote else END_OF_TIME] * workers

    @property
    def is_remote(self) -> bool:
        """Whether other workers send on it."""
        return self.edge.kind != LOCAL

    def mark(self, worker: int, watermark: int) -> bool:
        """The time of that worker's instance has come so far; whether that is news."""
        if watermark <= self.marks[worker]:
            return False
        self.marks[worker] = watermark
        self.at.watermark = max(self.at.watermark, min(self.marks))
        return True


class Task:
    """What one worker of an attempt runs. `worker` of `workers`; no thread but the worker's main one uses it."""

    def __init__(
        self,
        plan: Plan,
        worker: int,
        workers: int,
        space: TemporarySpace,
        memory_bytes_max: int,
        bundle_size: int,
        registry: MetricsRegistry,
        clock: Clock,
        idle_timeout_micros: int | None = None,
    ) -> None:
        self.plan = plan
        self.worker = worker
        self.workers = workers
        self.space = space
        self.memory_bytes_max = memory_bytes_max
        self.bundle_size = bundle_size
        self.clock = clock
        self.idle_timeout_micros = idle_timeout_micros
        self.registry = registry
        self.edges = edges_of(plan)
        self._edge_of = {(edge.stage, edge.tag): edge for edge in self.edges}
        self.outboxes = {other: Outbox() for other in range(workers) if other != worker}
        self.stages: dict[str, StreamStage] = {}
        self._builder = self.make_builder(plan, self)
        self._groups: dict[str, KeyGroups] = {}
        for stage in plan.stages:
            self.stages[stage.name] = self._builder.stage(stage)
        self.inputs = [Input(edge, self._engine_edge(edge), workers) for edge in self.edges]
        self._inputs_from: dict[str, list[Input]] = {name: [] for name in self.stages}
        for input_ in self.inputs:
            self._inputs_from[input_.edge.source].append(input_)
        self._sent: dict[int, int] = {}
        #: The keys that come to steps that group by keys of the author's.
        self.sampled_keys = {
            edge.stage: SampledKeys()
            for edge in self.edges
            if edge.kind == KEYED and not has_own_keys(plan.graph, plan.steps[edge.step].label)
        }
        self.sources = [stage for stage in self.stages.values() if isinstance(stage.head, SourceHead)]

    def make_builder(self, plan: Plan, around: StreamSurroundings) -> StreamBuilder:
        """What makes the stages."""
        return StreamBuilder(plan, around)

    # What the builder asks for

    def container(self, step_label: str) -> MetricsContainer:
        """The metrics of a step."""
        return self.registry.container(step_label)

    def move_clock(self, by_micros: int) -> None:
        """A TestStream moves processing time on."""
        assert isinstance(self.clock, ManualClock)
        self.clock.advance(by_micros)

    def receiver(self, stage: str, pcollection: str, step: str, tag: str) -> Receiver:
        """What takes the rows of an edge where they are made: found when they come, when all stages are built."""
        edge = self._edge_of[stage, tag]
        found: list[Receiver] = []

        def receive(bundle: object) -> None:
            if not found:
                found.append(self._sender(edge))
            found[0](bundle)  # type: ignore[arg-type]

        return receive

    def _sender(self, edge: ExchangeEdge) -> Receiver:
        local = self._local_receiver(edge)
        if self.workers == 1 or edge.kind == LOCAL:
            return local
        if edge.kind == KEYED:
            groups = self.key_groups(edge.stage)
            return KeyedSender(edge.number, groups, self.worker, self.workers, local, self.outboxes)
        if edge.kind == SPREAD:
            return SpreadSender(edge.number, self.worker, self.workers, local, self.outboxes)
        assert edge.kind == BROADCAST
        return BroadcastSender(edge.number, local, self.outboxes)

    def _local_receiver(self, edge: ExchangeEdge) -> Receiver:
        target = self.stages[edge.stage]
        if edge.tag in target.views:
            return target.side_receiver(edge.tag)
        receive = target.receiver(list(self.plan.steps[edge.step].main_inputs()).index(edge.tag))
        sampled = self.sampled_keys.get(edge.stage)
        if sampled is None:
            return receive

        def look(bundle: Bundle) -> None:
            sampled.look(bundle.values)
            receive(bundle)

        return look

    def _engine_edge(self, edge: ExchangeEdge) -> Edge:
        target = self.stages[edge.stage]
        if edge.tag in target.side_edges:
            return target.side_edges[edge.tag]
        return target.edges[list(self.plan.steps[edge.step].main_inputs()).index(edge.tag)]

    # What belongs to which key

    def is_keyed(self, stage: str) -> bool:
        """Whether what the stage's head keeps belongs to keys."""
        return is_keyed(self._head_step(stage))

    def key_groups(self, stage: str) -> KeyGroups:
        """How keys of the stage's head become key groups."""
        found = self._groups.get(stage)
        if found is None:
            head = self._head_step(stage)
            first = next(iter(head.main_inputs().values()))
            found = self._groups[stage] = KeyGroups(self._builder.key_encoder(head.label, first))
        return found

    def _head_step(self, stage: str) -> Transform:
        name = next(found for found in self.plan.stages if found.name == stage)
        return self.plan.steps[name.steps[0]]

    # Rows and time

    def deliver(self, message: Rows | Mark, sender: int) -> bool:
        """Takes what another worker sent; False for what was known: a worker that is restored tells its times again."""
        input_ = self.inputs[message.edge]
        if type(message) is Mark:
            return input_.mark(sender, message.watermark)
        if input_.receive is None:
            input_.receive = self._local_receiver(input_.edge)
        input_.receive(message.bundle)  # type: ignore[union-attr]
        return True

    def tell_time(self, now: int) -> None:
        """Processing time has come to `now`: what is delivered, and what sources give, from here on comes then."""
        for stage in self.stages.values():
            stage.tell_time(now)

    def advance(self, now: int) -> None:
        """Moves time on and ends bundles, stage after stage; what other workers are to know is in the outboxes then."""
        self.tell_time(now)  # before any stage hands on what is due
        for name, stage in self.stages.items():
            stage.advance(now)
            stage.finish_bundle()
            for input_ in self._inputs_from[name]:
                self._hand_on_time(stage, input_)
        self.registry.commit()

    def _hand_on_time(self, stage: StreamStage, input_: Input) -> None:
        watermark = stage.watermark_of(input_.edge.pcollection)
        input_.mark(self.worker, watermark) if input_.is_remote else self._mark_local(input_, watermark)
        number = input_.edge.number
        if input_.is_remote and self.outboxes and watermark > self._sent.get(number, BEGINNING_OF_TIME):
            self._sent[number] = watermark
            for outbox in self.outboxes.values():
                outbox.add_mark(number, watermark)

    @staticmethod
    def _mark_local(input_: Input, watermark: int) -> None:
        input_.at.watermark = max(input_.at.watermark, watermark)

    def ready_source(self, now: int) -> StreamStage | None:
        """The next source in turn that can work; one that dictates the clock only when no other one can."""
        dictated: StreamStage | None = None
        for _ in range(len(self.sources)):
            stage = self.sources.pop(0)
            self.sources.append(stage)
            head = stage.head
            assert isinstance(head, SourceHead)
            if not head.is_ready(now):
                continue
            if not self._dictates(stage):
                return stage
            dictated = dictated or stage
        if dictated is not None and self.next_wakeup() <= now:
            return None  # what is due now comes before the next event
        return dictated

    def _dictates(self, stage: StreamStage) -> bool:
        return self._head_step(stage.name).urn == urns.TEST_STREAM

    def is_behind(self) -> bool:
        """Whether `advance` is to be called again before anything else."""
        return any(stage.head is not None and stage.head.is_behind() for stage in self.stages.values())

    def next_wakeup(self) -> int:
        """When a stage next wants to be called, in processing time."""
        return min((stage.next_wakeup() for stage in self.stages.values()), default=NEVER)

    def can_block(self) -> bool:
        """Whether a source may become ready by itself."""
        return any(isinstance(s.head, SourceHead) and s.head.can_block() for s in self.sources)

    def is_done(self) -> bool:
        """Whether all sources have ended, here and at all workers that send to here, and nothing is kept."""
        for stage in self.sources:
            assert isinstance(stage.head, SourceHead)
            if not stage.head.is_done():
                return False
        return all(stage.output_watermark >= END_OF_TIME for stage in self.stages.values())

    def is_empty(self) -> bool:
        """Whether nothing is kept that belongs to keys."""
        return not any(head.entries() for head in self.keyed_heads())

    def keyed_heads(self) -> list[Head]:
        """The heads of which what they keep belongs to keys."""
        heads = (stage.head for name, stage in self.stages.items() if self.is_keyed(name))
        return [head for head in heads if head is not None]

    def drain(self) -> None:
        """Sources give nothing new from now on."""
        for stage in self.sources:
            assert isinstance(stage.head, SourceHead)
            stage.head.drain()

    # Life

    def setup(self) -> Iterator[StreamStage]:
        """Sets the stages up, one by one; gives each before it is set up, to be torn down."""
        for stage in self.stages.values():
            yield stage
            stage.setup()

    def keep_within(self, memory_bytes_max: int) -> None:
        """From now on all that is kept in memory takes about so much at most."""
        share = max(1, memory_bytes_max // max(1, keyed_steps(self.plan)))
        for stage in self.stages.values():
            if stage.head is not None:
                stage.head.keep_within(share)

    def shared_bytes(self) -> int:
        """Of what is kept in memory, what copies of this process have in common with it: nobody writes to it."""
        return sum(stage.head.shared_bytes() for stage in self.stages.values() if stage.head is not None)

    def track_changes(self) -> None:
        """From now on what changes is remembered for snapshots."""
        for stage in self.stages.values():
            if stage.head is not None:
                stage.head.track_changes()
            for view in stage.views.values():
                view.track_changes()
