"""What each step of a pipeline keeps from one checkpoint to the next, and what that is made of, as far as an update cares.

Only the heads of a stream's stages keep anything: sources where they are, groupings what has not fired, stateful DoFns their
cells and timers, steps with side inputs the views and what waits for them.
"""

from __future__ import annotations

import re
from collections.abc import Mapping
from typing import Any

import attrs
import cloudpickle

from hornbeam.graph import urns
from hornbeam.graph.model import Function, Graph, Transform, WindowingStrategy
from hornbeam.graph.render import coder_text, windowing_text
from hornbeam.runners.planner import STREAM_PASSES, Plan, make_plan
from hornbeam.runners.planner.firing import fires_once
from hornbeam.runners.planner.plan import GROUPING_URNS, ROOT_URNS
from hornbeam.transforms.userstate import CombiningValueStateSpec, MapStateSpec, StateSpec, TimerSpec

_GLOBAL = Function("global")
#: A lambda is labelled by the place where it stands, which moves with each line above it.
_PLACE = re.compile(r"<lambda at [^>]*>")


@attrs.frozen
class Fact:
    """Something that what is kept depends on: compared by `value`, shown as `text`."""

    value: Any
    text: str


@attrs.frozen
class KeptState:
    """What the head of one stage keeps.

    `kind` is source, restrictions, groups, accumulators, cells or views. `facts` are what all of it depends on, by name;
    `parts` are what may be lost one by one (cells, timers, views), each with what it depends on.
    """

    label: str
    kind: str
    facts: Mapping[str, Fact] = attrs.field(factory=dict)
    parts: Mapping[str, Fact] = attrs.field(factory=dict)

    @property
    def shown(self) -> str:
        """What is kept, for people."""
        names = ", ".join(self.parts)
        return {
            "source": "how far it was read",
            "restrictions": "how far each element was worked on",
            "groups": "values of windows that have not fired",
            "accumulators": "accumulators of windows that have not fired",
        }.get(self.kind, names)


def kept_states(graph: Graph) -> dict[str, KeptState]:
    """What the pipeline keeps, by the full label of the step that does, in the order of the plan."""
    plan = make_plan(graph, STREAM_PASSES)
    found = (_of_head(plan, plan.steps[stage.steps[0]]) for stage in plan.stages)
    return {state.label: state for state in found if state is not None}


def _of_head(plan: Plan, step: Transform) -> KeptState | None:
    graph = plan.graph
    views = {f"side input {tag}": _view(graph, step, tag) for tag in step.side_inputs}
    if step.urn in ROOT_URNS:
        return KeptState(step.label, "source", {"source": _source(step), **_input(step)})
    if step.urn in GROUPING_URNS:
        return KeptState(step.label, *_grouping(graph, step), parts=views)
    if step.urn == urns.PARDO and step.spec.get("splittable"):
        facts = {"DoFn": _class(step.spec.get("dofn", "")), "input's coder": _coder(graph, _main(step))}
        return KeptState(step.label, "restrictions", {**facts, **_input(step)}, views)
    if step.urn == urns.PARDO and (step.spec.get("stateful") or step.spec.get("timers")):
        return KeptState(step.label, "cells", _keyed(graph, step), {**_cells(step), **views})
    if views:
        windowing = graph.windowings[graph.pcollections[_main(step)].windowing]
        return KeptState(step.label, "views", {"windows": _windows(windowing)}, views)
    return None


def without_places(label: str) -> str:
    """A label, the same wherever its lambdas stand in the program."""
    return _PLACE.sub("<lambda>", label)


def _main(step: Transform) -> str:
    return next(iter(step.main_inputs().values()))


def _source(step: Transform) -> Fact:
    name = _class(step.spec.get("source") or step.spec.get("type") or step.urn.split(":")[-2])
    return Fact((step.urn, name.value), name.text)


def _class(name: Any) -> Fact:
    """A class by its name alone: a module may be called otherwise when it is the program, or have moved."""
    return Fact(str(name).rpartition(".")[2], str(name))


def _input(step: Transform) -> dict[str, Fact]:
    """What a source, or a DoFn that reads, says that it reads (`reads()`); nothing if it does not, or cannot be loaded."""
    try:
        payload = cloudpickle.loads(step.payload)
        reads = str(getattr(payload, "dofn", payload).reads())
    except Exception:
        return {}
    return {"input": Fact(reads, reads)}


def _grouping(graph: Graph, step: Transform) -> tuple[str, dict[str, Fact]]:
    facts = _keyed(graph, step)
    first = graph.pcollections[_main(step)]
    windowing = graph.windowings[first.windowing]
    is_simple = fires_once(windowing, first.is_bounded, step.spec.get("late_tag") is not None)
    facts["firing"] = Fact(
        is_simple, "once, at the end of the window" if is_simple else "as its trigger says"
    )
    if step.urn in (urns.COMBINE_PER_KEY, urns.COMBINE_MERGE):
        fn = str(step.spec.get("label") or step.spec.get("combine_fn", ""))
        facts["CombineFn"] = Fact((_class(step.spec.get("combine_fn")).value, without_places(fn)), fn)
        return "accumulators", facts
    inputs = step.main_inputs()
    for tag, pcollection in inputs.items():
        name = "values' coder" if len(inputs) == 1 else f"values' coder of input {tag}"
        facts[name] = _coder(graph, pcollection, part=1)
    return "groups", facts


def _keyed(graph: Graph, step: Transform) -> dict[str, Fact]:
    main = _main(step)
    windowing = graph.windowings[graph.pcollections[main].windowing]
    fires = attrs.evolve(
        windowing, window_fn=_GLOBAL, window_coder="", allowed_lateness_micros=0, merging=False
    )
    return {
        "keys' coder": _coder(graph, main, part=0),
        "windows": _windows(windowing),
        "trigger": Fact(fires, windowing_text(fires).partition(" ")[2].removeprefix("trigger ") or "default"),
    }


def _coder(graph: Graph, pcollection: str, part: int | None = None) -> Fact:
    id_ = graph.pcollections[pcollection].coder
    if part is not None and len(graph.coders[id_].components) == 2:
        id_ = graph.coders[id_].components[part]
    return Fact(_coder_value(graph, id_), coder_text(graph, id_))


def _coder_value(graph: Graph, id_: str) -> Any:
    coder = graph.coders[id_]
    # Of a coder in Python the class counts: its pickle may differ from run to run.
    payload = coder.spec.get("type") or coder.payload
    spec = {name: value for name, value in coder.spec.items() if name != "step"}  # for messages only
    return (
        coder.urn,
        str(spec),
        payload,
        tuple(_coder_value(graph, part) for part in coder.components),
    )


def _windows(windowing: WindowingStrategy) -> Fact:
    only = WindowingStrategy(windowing.window_fn)
    return Fact(windowing.window_fn, windowing_text(only))


def _view(graph: Graph, step: Transform, tag: str) -> Fact:
    side, pcollection = step.side_inputs[tag], step.inputs[tag]
    windows = _windows(graph.windowings[graph.pcollections[pcollection].windowing])
    coder = _coder(graph, pcollection)
    return Fact(
        (side.access, side.view, windows.value, coder.value), f"{side.view} of {coder.text} in {windows.text}"
    )


def _cells(step: Transform) -> dict[str, Fact]:
    """State cells and timers; by their names alone where the DoFn's class is not to be had any more."""
    try:
        signature = cloudpickle.loads(step.payload).dofn.signature()
    except Exception:
        names = [f"state {name}" for name in step.spec.get("state", ())]
        names += [f"timer {name.removeprefix(TimerSpec.prefix)}" for name in step.spec.get("timers", ())]
        return {name: Fact(None, "unknown, as its class cannot be loaded") for name in names}
    cells = {f"state {name}": _cell(param.state_spec) for name, param in signature.state_params.items()}
    for param in signature.timer_params.values():
        spec: TimerSpec = param.timer_spec
        name = spec.name.removeprefix(TimerSpec.prefix)
        cells[f"timer {name}"] = Fact(str(spec.time_domain), f"timer in {spec.time_domain}")
    if signature.requires_time_sorted_input:
        cells["elements waiting to be sorted"] = Fact(True, "sorted")
    return cells


def _cell(spec: StateSpec) -> Fact:
    kind = type(spec).__name__.removesuffix("StateSpec")
    parts = [_python_coder(spec.coder)]
    if isinstance(spec, MapStateSpec):
        parts.insert(0, _python_coder(spec.key_coder))
    if isinstance(spec, CombiningValueStateSpec):
        fn, own = str(spec.combine_fn.default_label()), type(spec.combine_fn).__name__
        parts.append(without_places(own if fn == own else f"{own} of {fn}"))
    text = f"{kind}({', '.join(parts)})"
    return Fact(text, text)


def _python_coder(coder: Any) -> str:
    return repr(coder) if " object at 0x" not in repr(coder) else type(coder).__name__
