"""WindowInto: gives elements other windows, and says when groupings of them fire."""

from __future__ import annotations

from collections.abc import Iterator, Sequence
from typing import Any

from hornbeam.graph import urns
from hornbeam.pvalue import PCollection, PValue
from hornbeam.transforms.dofn import DoFn
from hornbeam.transforms.ptransform import GraphParts, PTransform, StepContext
from hornbeam.transforms.trigger import AccumulationMode, TriggerFn
from hornbeam.transforms.window import TimestampCombiner, WindowFn
from hornbeam.transforms.windowing import ClosingBehavior, OnTimeBehavior, Windowing
from hornbeam.utils.timestamp import DurationTypes
from hornbeam.utils.windowed_value import WindowedValue


class WindowInto(PTransform[Any, Any]):
    """Puts every element into the windows that `windowfn` assigns, in place of those it was in.

    `trigger`, `accumulation_mode`, `timestamp_combiner`, `allowed_lateness`, and of ours `on_time_behavior` and
    `closing_behavior` (whether a window's end and its expiry give a pane without elements) hold for the groupings that
    follow. A `Windowing` as the first argument is taken over, save what is said besides.

    >>> import hornbeam as beam
    >>> sums = (beam.WithTimestamps(lambda x: x)
    ...         | beam.WindowInto(beam.window.FixedWindows(10))
    ...         | beam.CombineGlobally(sum).without_defaults())
    >>> sorted([1, 2, 11] | sums)
    [3, 11]
    """

    class WindowIntoFn(DoFn):
        """The same as a DoFn, for use inside of others: gives the element in the windows that are assigned to it."""

        def __init__(self, windowing: Windowing) -> None:
            super().__init__()
            self.windowing = windowing

        def process(
            self, element: Any, timestamp: Any = DoFn.TimestampParam, window: Any = DoFn.WindowParam
        ) -> Iterator[WindowedValue[Any]]:
            """The element, at its time."""
            context = WindowFn.AssignContext(timestamp, element=element, window=window)
            yield WindowedValue(element, timestamp, tuple(self.windowing.windowfn.assign(context)))

    def __init__(
        self,
        windowfn: WindowFn | Windowing,
        trigger: TriggerFn | None = None,
        accumulation_mode: AccumulationMode | int | str | None = None,
        timestamp_combiner: TimestampCombiner | str | None = None,
        allowed_lateness: DurationTypes | None = None,
        *,
        on_time_behavior: OnTimeBehavior | str | None = None,
        closing_behavior: ClosingBehavior | str | None = None,
    ) -> None:
        super().__init__()
        if isinstance(windowfn, Windowing):
            base = windowfn
            windowfn = base.windowfn
            trigger = base.triggerfn if trigger is None else trigger
            accumulation_mode = base.accumulation_mode if accumulation_mode is None else accumulation_mode
            timestamp_combiner = timestamp_combiner or base.timestamp_combiner
            allowed_lateness = base.allowed_lateness if allowed_lateness is None else allowed_lateness
            on_time_behavior = on_time_behavior or base.on_time_behavior
            closing_behavior = closing_behavior or base.closing_behavior
        self.windowing = Windowing(
            windowfn,
            trigger,
            accumulation_mode,
            timestamp_combiner,
            0 if allowed_lateness is None else allowed_lateness,
            on_time_behavior=on_time_behavior or OnTimeBehavior.FIRE_ALWAYS,
            closing_behavior=closing_behavior or ClosingBehavior.EMIT_IF_NONEMPTY,
        )

    def get_windowing(self, unused_inputs: Sequence[PValue]) -> Windowing:
        """The one that it was made with."""
        return self.windowing

    def infer_output_type(self, input_type: Any) -> Any:
        """The input's."""
        return input_type

    def expand(self, pcoll: Any) -> PCollection[Any]:
        """A primitive."""
        if not isinstance(pcoll, PCollection):
            raise TypeError(f"{self.label!r} needs one PCollection; it got {pcoll!r}.")
        return PCollection.from_(pcoll)

    def to_graph_parts(self, context: StepContext) -> GraphParts:
        """A WINDOW_INTO; the output's windowing strategy says the rest."""
        return GraphParts(urns.WINDOW_INTO, {"windowing": repr(self.windowing)})

    def display_data(self) -> dict[str, Any]:
        """The window function and what differs from the defaults."""
        return {"windowing": repr(self.windowing)}
