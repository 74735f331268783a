"""Why a window has not fired: for each stage how far its time has come, and what holds it back.

    explanation = result.explain("Count/GroupByKey")
    print(explanation)        # for people
    explanation.causes        # the sources, timers, waiting side inputs at the bottom of it

A step's watermark is held either by itself (unfired panes, timers, restrictions) or by one of the steps that it reads; the
chain is followed to where it begins.
"""

from __future__ import annotations

from collections.abc import Iterable, Mapping

import attrs

from hornbeam.runners.engine.clock import NEVER
from hornbeam.runners.engine.head import END_OF_TIME, SourceHead
from hornbeam.runners.engine.stream_stage import Edge, StreamStage
from hornbeam.utils.timestamp import MAX_TIMESTAMP_MICROS, MIN_TIMESTAMP_MICROS, Timestamp

_HOLDS_MAX = 5


@attrs.frozen
class Cause:
    """Something that holds a step's time back."""

    #: The label of the step that it belongs to.
    step: str
    #: "source", "hold" (panes, timers, restrictions), "side input", "step" (one upstream).
    kind: str
    #: The watermark that it allows, in microseconds of event time.
    micros: int
    reason: str

    def __str__(self) -> str:
        return f"{self.step}: {self.reason} (holds at {time_text(self.micros)})"


@attrs.frozen
class StepExplanation:
    """How far the time of a stage has come. `steps` are the labels of its steps, the head first."""

    steps: tuple[str, ...]
    input_watermark: int
    output_watermark: int
    elements: int
    entries: int
    #: The input watermark at which the head next gives out something that it keeps; END_OF_TIME + 1 if none is awaited.
    due_watermark: int
    #: What holds its own output back beyond its input.
    own: tuple[Cause, ...]
    #: The stages that it reads from, by their heads' labels, with their watermarks; the earliest first.
    upstream: tuple[tuple[str, int], ...]
    #: The processing time at which the head next gives out something that it keeps, whatever the watermark is; None if none
    #: is awaited.
    due_clock: int | None = None

    @property
    def label(self) -> str:
        """The head's label."""
        return self.steps[0]


@attrs.frozen
class Explanation:
    """The facts about all stages of a stream at one moment; `str()` of it is for people."""

    stages: tuple[StepExplanation, ...]
    #: The step that was asked about; "" for all.
    step: str = ""
    state: str = "RUNNING"

    @property
    def causes(self) -> tuple[Cause, ...]:
        """What, at the bottom of it all, holds the time of the step (or of any) back."""
        found: dict[Cause, None] = {}
        for stage in self._asked():
            found.update(dict.fromkeys(self._root_causes(stage, set())))
        return tuple(sorted(found, key=lambda cause: cause.micros))

    def of(self, label: str) -> StepExplanation:
        """The stage that a step belongs to; of a composite, that of its last step. KeyError for a label that nobody has."""
        for stage in self.stages:
            if label in stage.steps:
                return stage
        for stage in reversed(self.stages):
            if any(step.startswith(f"{label}/") for step in stage.steps):
                return stage
        known = ", ".join(repr(step) for stage in self.stages for step in stage.steps)
        raise KeyError(f"no step is called {label!r}; there are {known}")

    def _asked(self) -> Iterable[StepExplanation]:
        return (self.of(self.step),) if self.step else self.stages

    def _root_causes(self, stage: StepExplanation, seen: set[str]) -> Iterable[Cause]:
        if stage.label in seen:
            return
        seen.add(stage.label)
        yield from stage.own
        for label, micros in stage.upstream:
            if micros < MAX_TIMESTAMP_MICROS and micros <= stage.input_watermark:
                yield from self._root_causes(self.of(label), seen)

    def __str__(self) -> str:
        lines: list[str] = []
        for stage in self._asked():
            lines.extend(_stage_lines(stage))
        causes = self.causes
        if self.step and causes:
            lines.append("What holds it back, from where it begins:")
            lines.extend(f"  {cause}" for cause in causes[:_HOLDS_MAX])
        elif self.step:
            lines.append("Nothing holds it back.")
        return "\n".join(lines)


def _stage_lines(stage: StepExplanation) -> list[str]:
    lines = [
        f"{stage.label}: input watermark {time_text(stage.input_watermark)}, "
        f"output watermark {time_text(stage.output_watermark)}, {stage.elements:,} elements, {stage.entries:,} entries kept"
    ]
    if len(stage.steps) > 1:
        lines.append(f"  with it run: {', '.join(stage.steps[1:])}")
    if stage.upstream and stage.entries and stage.input_watermark < stage.due_watermark <= END_OF_TIME:
        lines.append(f"  what it keeps is next due at {time_text(stage.due_watermark)}")
    if stage.upstream and stage.entries and stage.due_clock is not None:
        lines.append(f"  by the clock something of it is due at {time_text(stage.due_clock)}")
    lines.extend(f"  held by {cause.reason} at {time_text(cause.micros)}" for cause in stage.own)
    for label, micros in stage.upstream:
        if micros <= stage.input_watermark < MAX_TIMESTAMP_MICROS:
            lines.append(f"  waits for {label!r}, which has come to {time_text(micros)}")
    return lines


def explain_stages(stages: Mapping[str, StreamStage], step: str = "", state: str = "RUNNING") -> Explanation:
    """The facts about stages at work, by name."""
    return Explanation(tuple(_explain(stage, stages) for stage in stages.values()), step, state)


def _explain(stage: StreamStage, stages: Mapping[str, StreamStage]) -> StepExplanation:
    upstream = sorted(
        ((stages[edge.source].label, edge.watermark) for edge in stage.edges), key=lambda found: found[1]
    )
    return StepExplanation(
        tuple(operator.label for operator in stage.operators.values()),
        stage.input_watermark,
        stage.output_watermark,
        stage.elements,
        stage.entries(),
        END_OF_TIME + 1 if stage.head is None else stage.head.next_watermark(),
        (*_waiting(stage, stages), *_held(stage)),
        tuple(upstream),
        _due_clock(stage),
    )


def _due_clock(stage: StreamStage) -> int | None:
    """When a timer or a trigger on the clock is due; that a source looks again is no news."""
    if stage.head is None or isinstance(stage.head, SourceHead):
        return None
    wakeup = stage.head.next_wakeup()
    return wakeup if wakeup < NEVER else None


def _held(stage: StreamStage) -> Iterable[Cause]:
    if stage.head is None:
        return
    kind = "hold" if stage.edges else "source"
    holds = [hold for hold in stage.head.holds()[:_HOLDS_MAX] if hold.micros < MAX_TIMESTAMP_MICROS]
    # Those of idle sources move with the clock, so the earliest may have gone beyond the watermark that it held.
    holds_back = bool(holds) and stage.output_watermark < stage.input_watermark
    reach = max(stage.output_watermark, holds[0].micros if holds_back else 0)
    for hold in holds:
        if hold.micros <= reach or not stage.edges:
            yield Cause(stage.label, kind, hold.micros, hold.reason)


def _waiting(stage: StreamStage, stages: Mapping[str, StreamStage]) -> Iterable[Cause]:
    gate = stage.gate
    if gate is None or not gate.entries():
        return
    for window, view in gate.waits_for()[:_HOLDS_MAX]:
        tag = next(tag for tag, other in stage.views.items() if other is view)
        edge: Edge = stage.side_edges[tag]
        asked = "the side window" if window is None else f"side window {view.side_window(window)}"
        yield Cause(
            stage.label,
            "side input",
            gate.hold(),
            f"{gate.entries()} elements that wait for {asked} of the side input from {stages[edge.source].label!r}, "
            f"which has come to {time_text(view.watermark)}",
        )


def time_text(micros: int) -> str:
    """A watermark for people: seconds since 1970, with the date where it is one."""
    if micros <= MIN_TIMESTAMP_MICROS:
        return "the beginning of time"
    if micros >= MAX_TIMESTAMP_MICROS:
        return "the end of time"
    return _date(micros)


def _date(micros: int) -> str:
    try:
        return str(Timestamp(micros=micros).to_utc_datetime().isoformat())
    except (ValueError, OverflowError):
        return f"{micros / 1e6:.6f} s"
