"""A stage of the plan made into operators: which operator serves a step, and how they are wired.

Steps are built last first, so that every step finds the receivers of its outputs: the operators of the same stage that
read them, the groupings of other stages, and the spools of pcollections that are kept whole.
"""

from __future__ import annotations

from collections.abc import Iterator, Mapping
from typing import Any, Protocol, cast

import attrs
import cloudpickle

from hornbeam.coders.coders import Coder, coder_from_function
from hornbeam.error import PipelineError
from hornbeam.graph import urns
from hornbeam.graph.model import Graph, Transform, WindowingStrategy
from hornbeam.metrics.execution import MetricsContainer
from hornbeam.runners.engine.assignment import WindowAssigner
from hornbeam.runners.engine.batch_operator import BatchOperator
from hornbeam.runners.engine.bundle import Bundle
from hornbeam.runners.engine.calling import bind
from hornbeam.runners.engine.combine_folding import folding_for, merging_for
from hornbeam.runners.engine.combine_operators import CombineFolder, CombineValuesOperator, PrecombineOperator
from hornbeam.runners.engine.dofn_operator import DoFnOperator
from hornbeam.runners.engine.element_operators import (
    CallingOperator,
    FilterOperator,
    FlatMapOperator,
    MapOperator,
    StampOperator,
)
from hornbeam.runners.engine.failures import note_failure
from hornbeam.runners.engine.folding import GatherFolding
from hornbeam.runners.engine.fused import NESTED_MAX, FusedOperator, can_fuse, nests
from hornbeam.runners.engine.grouping import GroupingOperator, JoinOperator
from hornbeam.runners.engine.join_folding import JoinFolding
from hornbeam.runners.engine.keyed_records import KeyedInput
from hornbeam.runners.engine.keys import KeyEncoder
from hornbeam.runners.engine.merging import MergingGroupingOperator
from hornbeam.runners.engine.operator import Operator, Receiver, discard, fan_out
from hornbeam.runners.engine.outputs import Outputs
from hornbeam.runners.engine.pairs import GroupingSpec
from hornbeam.runners.engine.sessions import SessionGroupingOperator
from hornbeam.runners.engine.side_inputs import SideInputReader
from hornbeam.runners.engine.spill import Spool, TemporarySpace
from hornbeam.runners.engine.splittable import SplittableOperator
from hornbeam.runners.engine.stateful import StatefulOperator
from hornbeam.runners.engine.triggered_grouping import TriggeredGrouping
from hornbeam.runners.engine.triggered_merging import MergingTriggeredGrouping
from hornbeam.runners.planner.firing import fires_once
from hornbeam.runners.planner.plan import GROUPING_URNS, ROOT_URNS, Plan, Stage
from hornbeam.transforms.window import GlobalWindows, Sessions, WindowFn, windowfn_from_function

Grouping = GroupingOperator | MergingGroupingOperator | SessionGroupingOperator | TriggeredGrouping

_CALLING: dict[str, type[CallingOperator]] = {
    "map": MapOperator,
    "map_tuple": MapOperator,
    "filter": FilterOperator,
    "flat_map": FlatMapOperator,
    "flat_map_tuple": FlatMapOperator,
    "with_timestamps": StampOperator,
}


class Surroundings(Protocol):
    """What the builder asks of the run: where things are kept that outlive a stage."""

    space: TemporarySpace
    memory_bytes_max: int

    def container(self, step_label: str) -> MetricsContainer:
        """The metrics of a step."""

    def spool(self, pcollection: str) -> Spool:
        """The spool of a pcollection that is kept whole."""

    def grouping(self, step: str) -> Grouping:
        """The grouping of a step, made when first asked for."""


@attrs.frozen
class BuiltStage:
    """A stage at work: its operators by step id, in order, and what takes the elements meant for a step."""

    operators: Mapping[str, Operator]
    entries: Mapping[str, Receiver]


def late_entry(step: str) -> str:
    """The entry of a stage for what the grouping `step` drops."""
    return f"{step}/late"


def _relay(entries: Mapping[str, Receiver], reader: str) -> Receiver:
    """Hands on to a step's entry, which is known only once the whole stage is built."""

    def relay(bundle: Bundle) -> None:
        entries[reader](bundle)

    return relay


class StageBuilder:
    """Builds the operators of one plan's stages."""

    splittable_kind: type[DoFnOperator] = SplittableOperator

    def __init__(self, plan: Plan, surroundings: Surroundings) -> None:
        self.plan = plan
        self.graph: Graph = plan.graph
        self._around = surroundings
        self._consumers = plan.consumers()
        self._stage_of = plan.stage_of()

    # Stages

    def build(self, stage: Stage) -> BuiltStage:
        """The operators of a stage, and where each step takes its elements."""
        built: dict[str, Operator] = {}
        entries: dict[str, Receiver] = {}
        for id_ in reversed(stage.steps):
            step = self.plan.steps[id_]
            receivers = {tag: self._receiver(pc, stage, entries) for tag, pc in step.outputs.items()}
            built[id_] = self.operator(step, receivers)
            entries[id_] = built[id_].process
            if (late_tag := step.spec.get("late_tag")) is not None:
                entries[late_entry(id_)] = receivers.get(late_tag, discard)
        for run in self._plain_runs(stage, built):
            entries[run[0]] = FusedOperator([cast(CallingOperator, built[id_]) for id_ in run]).process
        return BuiltStage({id_: built[id_] for id_ in stage.steps}, entries)

    def _receiver(self, pcollection: str, stage: Stage, entries: Mapping[str, Receiver]) -> Receiver:
        receivers: list[Receiver] = []
        if pcollection in self.plan.spooled:
            receivers.append(self._around.spool(pcollection).append)
        for reader, tag in self._consumers.get(pcollection, ()):
            step = self.plan.steps[reader]
            if step.urn in GROUPING_URNS:
                receivers.append(self._around.grouping(reader).input(list(step.main_inputs()).index(tag)))
            elif self._stage_of[reader].name == stage.name:
                receivers.append(_relay(entries, reader))
        return fan_out(receivers)

    def _plain_runs(self, stage: Stage, built: Mapping[str, Operator]) -> Iterator[list[str]]:
        """Runs of two and more plain steps, each the only reader of the one before."""
        taken: set[str] = set()
        for id_ in stage.steps:
            run: list[str] = []
            following: str | None = id_
            nested = 0
            while following is not None and following not in taken and can_fuse(built[following]):
                nested += nests(built[following])
                if nested > NESTED_MAX:
                    break
                taken.add(following)
                run.append(following)
                following = self._only_reader(following, stage)
            if len(run) > 1:
                yield run

    def _only_reader(self, id_: str, stage: Stage) -> str | None:
        """The step of the same stage that is the only reader of all that a step gives, if there is one."""
        outputs = list(self.plan.steps[id_].outputs.values())
        if len(outputs) != 1 or outputs[0] in self.plan.spooled:
            return None
        readers = [reader for reader, _ in self._consumers.get(outputs[0], [])]
        return readers[0] if len(readers) == 1 and self._stage_of[readers[0]].name == stage.name else None

    # Steps

    def operator(self, step: Transform, receivers: dict[str, Receiver]) -> Operator:
        """The operator of one step."""
        container = self._around.container(step.label)
        if step.urn in ROOT_URNS or step.urn in GROUPING_URNS or step.urn in (urns.FLATTEN, urns.RESHUFFLE):
            return HandOn(step.label, container, receivers)
        if step.urn == urns.WINDOW_INTO:
            return AssignWindows(
                step.label, container, receivers, self.window_fn(next(iter(step.outputs.values())))
            )
        if step.urn == urns.PARDO:
            return self._pardo(step, container, receivers)
        if step.urn == urns.COMBINE_PRECOMBINE:
            payload = cloudpickle.loads(step.payload)
            spec = self.grouping_spec(
                step, folding_for(payload.fn, tuple(payload.args), dict(payload.kwargs))
            )
            return PrecombineOperator(spec, container, receivers, step.spec.get("void"))
        if step.urn == urns.COMBINE_GROUPED_VALUES:
            payload = cloudpickle.loads(step.payload)
            readers = self._side_inputs(step, payload.side_defaults)
            folder = CombineFolder(payload.fn, tuple(payload.args), dict(payload.kwargs), readers)
            return CombineValuesOperator(step.label, container, receivers, folder)
        raise PipelineError(f"step {step.label!r} ({step.urn}) is of a kind that this runner cannot run")

    def _pardo(
        self, step: Transform, container: MetricsContainer, receivers: dict[str, Receiver]
    ) -> Operator:
        payload = cloudpickle.loads(step.payload)
        signature = payload.dofn.signature()
        args, kwargs = tuple(payload.args), dict(payload.kwargs)
        readers = self._side_inputs(step, payload.side_defaults)
        window_fn = self.window_fn(step.outputs["out"]) if "out" in step.outputs else GlobalWindows()
        outputs = Outputs(
            window_fn, receivers, step.spec.get("main"), step.label, step.spec.get("tags") or ()
        )
        if signature.is_stateful:
            stateful = StatefulOperator(step.label, container, receivers)
            stateful.outputs = outputs
            stateful.prepare_state(signature, self._keyed_input(step))
            stateful.limit_memory(self._around.space, self._around.memory_bytes_max)
            stateful.prepare_dofn(signature, args, kwargs, readers)
            return stateful
        if signature.kind in _CALLING:
            operator = _CALLING[signature.kind](step.label, container, receivers)
            operator.prepare(bind(signature.process, args, kwargs, readers, function=signature.fn), outputs)
            return operator
        kind: type[DoFnOperator] = self.splittable_kind if signature.is_splittable else DoFnOperator
        if signature.process_batch is not None:
            kind = BatchOperator
        dofn_operator = kind(step.label, container, receivers)
        dofn_operator.outputs = outputs
        dofn_operator.prepare_dofn(signature, args, kwargs, readers)
        return dofn_operator

    def _keyed_input(self, step: Transform) -> KeyedInput:
        """What a stateful step must know of its input."""
        source = next(iter(step.main_inputs().values()))
        windowing = self.graph.windowings[self.graph.pcollections[source].windowing]
        return KeyedInput(self.key_encoder(step.label, source), windowing.allowed_lateness_micros)

    def _side_inputs(self, step: Transform, defaults: Mapping[str, Any]) -> dict[str, SideInputReader]:
        readers = {}
        for tag, side in step.side_inputs.items():
            pc = step.inputs[tag]
            default = [defaults[tag]] if tag in defaults else []
            readers[tag] = SideInputReader(
                step.label, side, self.window_fn(pc), self._around.spool(pc), default
            )
        return readers

    def grouping_operator(self, step: Transform, bounded: bool = False) -> Grouping:
        """The grouping that a step stands for; `bounded` when time goes from its beginning to its end in one step.

        A TriggeredGrouping keeps what it gives out until `emit` and `receivers` are set.
        """
        if step.urn == urns.GROUP_BY_KEY:
            spec = self.grouping_spec(step, GatherFolding())
        elif step.urn == urns.CO_GROUP_BY_KEY:
            folding = JoinFolding(len(step.main_inputs()), cloudpickle.loads(step.payload))
            return JoinOperator(
                self.grouping_spec(step, folding), self._around.space, self._around.memory_bytes_max
            )
        else:
            payload = cloudpickle.loads(step.payload)
            make = merging_for if step.urn == urns.COMBINE_MERGE else folding_for
            spec = self.grouping_spec(step, make(payload.fn, tuple(payload.args), dict(payload.kwargs)))
        if not fires_once(self._input_windowing(step), bounded, step.spec.get("late_tag") is not None):
            return self.triggered_grouping(step, spec)
        kind: type[GroupingOperator | MergingGroupingOperator | SessionGroupingOperator] = GroupingOperator
        if type(spec.window_fn) is Sessions:
            kind = SessionGroupingOperator
        elif spec.window_fn.is_merging():
            kind = MergingGroupingOperator
        return kind(spec, self._around.space, self._around.memory_bytes_max)

    def triggered_grouping(self, step: Transform, spec: GroupingSpec) -> TriggeredGrouping:
        """The general machine for a step."""
        windowing = self._input_windowing(step)
        kind = MergingTriggeredGrouping if windowing.merging else TriggeredGrouping
        container = self._around.container(step.label)
        space, memory = self._around.space, self._around.memory_bytes_max
        return kind(spec, space, memory, windowing, container, late_tag=step.spec.get("late_tag"))

    def grouping_spec(self, step: Transform, folding: Any) -> GroupingSpec:
        """What a grouping, or a precombine before one, needs to know."""
        source = next(iter(step.main_inputs().values()))
        if step.urn == urns.COMBINE_PRECOMBINE:
            # Its elements may be no pairs (see `drop_voids`); those that it gives have the keys.
            (source,) = step.outputs.values()
        windowing = self._input_windowing(step)
        label = step.label.removesuffix("/Precombine")  # the planner's own step is the author's to the author
        return GroupingSpec(
            label,
            windowfn_from_function(windowing.window_fn),
            windowing.timestamp_combiner,
            self.key_encoder(label, source),
            folding,
        )

    def _input_windowing(self, step: Transform) -> WindowingStrategy:
        source = next(iter(step.main_inputs().values()))
        return self.graph.windowings[self.graph.pcollections[source].windowing]

    def window_fn(self, pcollection: str) -> WindowFn:
        """The window function of a pcollection."""
        windowing = self.graph.windowings[self.graph.pcollections[pcollection].windowing]
        return windowfn_from_function(windowing.window_fn)

    def coder(self, coder_id: str) -> Coder:
        """The coder of that id."""
        spec = self.graph.coders[coder_id]
        parts = tuple(map(self.coder, spec.components))
        return coder_from_function(spec.urn, parts, spec.spec, spec.payload)

    def key_encoder(self, label: str, pcollection: str) -> KeyEncoder:
        """How the keys of a pcollection of pairs are encoded, found when a key first needs it."""

        def find() -> Coder:
            coder = self.coder(self.graph.pcollections[pcollection].coder)
            key_coder = coder.key_coder() if coder.is_kv_coder() else coder
            return key_coder.as_deterministic_coder(label)

        return KeyEncoder(find)


class HandOn(Operator):
    """A step that does nothing to elements: flatten, reshuffle, and what is fed from outside the stage."""

    def __init__(
        self, label: str, container: MetricsContainer | None, receivers: Mapping[str, Receiver]
    ) -> None:
        super().__init__(label, container, receivers)
        self.process = self.emit  # type: ignore[method-assign, assignment]


class AssignWindows(Operator):
    """Puts elements into the windows that a window function assigns."""

    def __init__(
        self,
        label: str,
        container: MetricsContainer | None,
        receivers: Mapping[str, Receiver],
        window_fn: WindowFn,
    ) -> None:
        super().__init__(label, container, receivers)
        self._assign = WindowAssigner(window_fn)

    def process(self, bundle: Bundle) -> None:
        """Assigns each element once for each window that it was in: none, if it was in none."""
        bundle = bundle.exploded()
        if bundle.values:
            try:
                windows = self._assign(bundle)
            except BaseException as error:
                note_failure(error, self.label, bundle, self._assign.failed_at)
                raise
            self.emit(Bundle(bundle.values, bundle.timestamps, windows, bundle.panes))
