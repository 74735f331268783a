"""The stages of a stream made into operators: heads, gates before side inputs, and the edges between stages."""

from __future__ import annotations

import logging
from collections.abc import Callable, Mapping
from typing import Any, Protocol

import attrs

from hornbeam.error import InternalError
from hornbeam.graph import urns
from hornbeam.graph.model import Transform
from hornbeam.metrics.execution import MetricsContainer
from hornbeam.runners.engine.build import StageBuilder, _relay
from hornbeam.runners.engine.bundle import Bundle
from hornbeam.runners.engine.clock import Clock
from hornbeam.runners.engine.folding import GatherFolding
from hornbeam.runners.engine.grouping import GroupingOperator, JoinOperator
from hornbeam.runners.engine.head import Head
from hornbeam.runners.engine.operator import Operator, Receiver, fan_out
from hornbeam.runners.engine.pairs import GroupingSpec
from hornbeam.runners.engine.root_heads import ReadHead, root_head
from hornbeam.runners.engine.side_inputs import SideInputReader
from hornbeam.runners.engine.spill import TemporarySpace
from hornbeam.runners.engine.splittable_head import SplittableHead
from hornbeam.runners.engine.stream_stage import Edge, StreamStage
from hornbeam.runners.engine.streaming_views import StreamingView
from hornbeam.runners.engine.test_stream_head import TestStreamHead
from hornbeam.runners.engine.triggered_grouping import TriggeredGrouping
from hornbeam.runners.engine.triggered_merging import MergingTriggeredGrouping
from hornbeam.runners.engine.unbounded_head import UnboundedReadHead
from hornbeam.runners.engine.windowed_grouping import WindowedGrouping
from hornbeam.runners.planner.firing import fires_once
from hornbeam.runners.planner.plan import GROUPING_URNS, ROOT_URNS, Plan, Stage
from hornbeam.transforms.window import GlobalWindows, TimestampCombiner

_log = logging.getLogger(__name__)

#: More than any memory limit: panes of side inputs are in memory as the views themselves are.
UNLIMITED = 1 << 62


class StreamSurroundings(Protocol):
    """What the builder asks of the run."""

    space: TemporarySpace
    memory_bytes_max: int
    clock: Clock
    bundle_size: int
    #: How long a source may give nothing before it holds no time back; None for ever.
    idle_timeout_micros: int | None

    def container(self, step_label: str) -> MetricsContainer:
        """The metrics of a step."""

    def move_clock(self, by_micros: int) -> None:
        """A TestStream moves processing time on."""

    def receiver(self, stage: str, pcollection: str, step: str, tag: str) -> Receiver:
        """What takes the elements of a pcollection that the head `step` of another stage reads as its input `tag`."""


@attrs.define
class _NoBatch:
    """What the batch builder asks for; a stream keeps nothing between its stages."""

    space: TemporarySpace
    container: Callable[[str], MetricsContainer]
    memory_bytes_max: int

    def spool(self, pcollection: str) -> Any:
        raise InternalError(f"a stream keeps no pcollection, but {pcollection} was asked for")

    def grouping(self, step: str) -> Any:
        raise InternalError(f"the groupings of a stream are heads, but that of {step} was asked for")


class StreamBuilder(StageBuilder):
    """Builds the stages of one plan that `fuse_streams` made."""

    splittable_kind = SplittableHead

    def __init__(self, plan: Plan, around: StreamSurroundings) -> None:
        self._share = max(1, around.memory_bytes_max // max(1, keyed_steps(plan)))
        self._batch = _NoBatch(around.space, around.container, self._share)
        super().__init__(plan, self._batch)
        self._run = around
        self._side_consumers = plan.side_consumers()
        self._producers = plan.producers()
        self._views: dict[str, StreamingView] = {}
        #: The stage that is being built, once it is there.
        self._built: list[StreamStage] = []

    def stage(self, stage: Stage) -> StreamStage:
        """The stage at work."""
        self._views, self._built = {}, []
        head = self.plan.steps[stage.steps[0]]
        built = self.build(stage)
        first = built.operators[stage.steps[0]]
        entry: Callable[[int], Receiver] = lambda index: built.entries[stage.steps[0]]  # noqa: E731
        if isinstance(first, Head):
            entry = first.input
        result = StreamStage(
            stage.name,
            built.operators,
            entry,
            [self._edge(pc) for pc in head.main_inputs().values()],
            self._views,
            {tag: self._edge(head.inputs[tag]) for tag in head.side_inputs},
            self._lateness(head),
            self._run.bundle_size,
        )
        self._built.append(result)
        return result

    def _edge(self, pcollection: str) -> Edge:
        return Edge(pcollection, self._stage_of[self._producers[pcollection]].name)

    def _lateness(self, head: Transform) -> int:
        inputs = head.main_inputs().values()
        pcs = self.graph.pcollections
        return max(
            (self.graph.windowings[pcs[pc].windowing].allowed_lateness_micros for pc in inputs), default=0
        )

    def _receiver(self, pcollection: str, stage: Stage, entries: Mapping[str, Receiver]) -> Receiver:
        receivers: list[Receiver] = []
        for reader, tag in self._consumers.get(pcollection, ()):
            target = self._stage_of[reader].name
            if target == stage.name:
                receivers.append(_relay(entries, reader))
            else:
                receivers.append(self._run.receiver(target, pcollection, reader, tag))
        for reader in dict.fromkeys(self._side_consumers.get(pcollection, ())):
            step = self.plan.steps[reader]
            for tag in step.side_inputs:
                if step.inputs[tag] == pcollection:
                    receivers.append(
                        self._run.receiver(self._stage_of[reader].name, pcollection, reader, tag)
                    )
        receive = fan_out(receivers)
        if self._producers[pcollection] == stage.steps[0]:
            return self._opening(receive)
        return receive

    def _opening(self, receive: Receiver) -> Receiver:
        """Opens the bundle of the stage that is being built once its head gives something: none is ever empty."""
        of = self._built

        def open_and_receive(bundle: Bundle) -> None:
            of[0].open_bundle()
            receive(bundle)

        return open_and_receive

    # Steps

    def operator(self, step: Transform, receivers: dict[str, Receiver]) -> Operator:
        container = self._run.container(step.label)
        if step.urn == urns.TEST_STREAM:
            return TestStreamHead(step, container, receivers, self._run.move_clock)
        if step.urn in GROUPING_URNS:
            return self._grouping_head(step, container, receivers)
        made = (
            root_head(step, container, receivers)
            if step.urn in ROOT_URNS
            else super().operator(step, receivers)
        )
        if isinstance(made, (SplittableHead, ReadHead, UnboundedReadHead)):
            self._pace(made)
        return made

    def _pace(self, source: SplittableHead | ReadHead | UnboundedReadHead) -> None:
        """Turns of the stated bundle size, and the run's idle timeout."""
        if self._run.bundle_size:
            source.elements_max = self._run.bundle_size
        if not isinstance(source, ReadHead):
            source.idle_timeout_micros = self._run.idle_timeout_micros

    def _grouping_head(
        self, step: Transform, container: MetricsContainer, receivers: dict[str, Receiver]
    ) -> Operator:
        grouping = self.grouping_operator(step)
        head: Head
        if isinstance(grouping, JoinOperator) or (
            type(grouping) is GroupingOperator and not grouping.keeps_stamps
        ):
            head = WindowedGrouping(grouping, container, self._batch.space, self._share)
        elif isinstance(grouping, TriggeredGrouping):
            head = grouping
        else:
            head = self.triggered_grouping(step, grouping.spec)
        head.receivers = receivers
        head.emit = receivers.get("out", head.emit)
        return head

    def _side_inputs(self, step: Transform, defaults: Mapping[str, Any]) -> dict[str, SideInputReader]:
        readers: dict[str, SideInputReader] = {}
        for tag, side in step.side_inputs.items():
            pc = step.inputs[tag]
            default = [defaults[tag]] if tag in defaults else []
            container = self._run.container(step.label)
            self._warn_of_waiting(step.label, pc)
            view = StreamingView(
                step.label, side, self.window_fn(pc), default, self._panes(step.label, pc), container
            )
            self._views[tag] = readers[tag] = view
        return readers

    def _warn_of_waiting(self, label: str, pcollection: str) -> None:
        """A view of the global window of a stream that only its end makes ready is hardly ever meant."""
        found = self.graph.pcollections[pcollection]
        is_whole = type(self.window_fn(pcollection)) is GlobalWindows
        if is_whole and not found.is_bounded and fires_once(self.graph.windowings[found.windowing]):
            _log.warning(
                "The elements of step %r wait for a side input until that has ended: it is unbounded and in the global "
                "window. Put it into windows, or let it fire with a trigger (RefreshedSideInput does that for a value "
                "that is read again and again).",
                label,
            )

    def _panes(self, label: str, pcollection: str) -> Head | None:
        """What fires panes of a side input under a trigger of its own; None under the default one without lateness."""
        windowing = self.graph.windowings[self.graph.pcollections[pcollection].windowing]
        if fires_once(windowing):
            return None
        spec = GroupingSpec(
            label, self.window_fn(pcollection), TimestampCombiner.OUTPUT_AT_EOW, repr_key, GatherFolding()
        )
        kind = MergingTriggeredGrouping if windowing.merging else TriggeredGrouping
        return kind(spec, self._batch.space, UNLIMITED, windowing, None)


def keyed_steps(plan: Plan) -> int:
    """The steps among which the memory limit is divided: those that keep something for each key."""
    return sum(
        1
        for step in plan.steps.values()
        if step.urn in GROUPING_URNS or step.spec.get("stateful") or step.spec.get("timers")
    )


def repr_key(key: Any) -> bytes:
    """The encoding of the one key that a view has, None."""
    return repr(key).encode()
