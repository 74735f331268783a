"""GroupByKey: the values of each key, by window."""

from __future__ import annotations

import logging
from collections.abc import Iterator, Sequence
from typing import Any

from hornbeam.graph import urns
from hornbeam.pvalue import DoOutputsTuple, PCollection, PValue
from hornbeam.transforms.dofn import DoFn
from hornbeam.transforms.ptransform import GraphParts, PTransform, StepContext
from hornbeam.transforms.trigger import DataLossReason, DefaultTrigger
from hornbeam.transforms.window import GlobalWindows
from hornbeam.transforms.windowing import DEFAULT_WINDOWING, Windowing
from hornbeam.translation import coder_of
from hornbeam.type_inference import knows_nothing
from hornbeam.typehints import typehints
from hornbeam.typehints.constraint import hint_name
from hornbeam.typehints.decorators import TypeCheckError
from hornbeam.utils.windowed_value import WindowedValue

_LOG = logging.getLogger(__name__)

__all__ = ["GroupByKey", "check_pairs", "key_and_value_types", "require_deterministic_keys"]


class GroupByKey(PTransform[Any, Any]):
    """From (key, value) pairs to (key, values), one for each key and window that fires.

    The values come in no particular order. Keys are the same when their encoded forms are. With `late_tag` (an option
    of ours) the pairs that are dropped, because their window has expired or its trigger has finished, are given out too:
    `grouped, late = pairs | beam.GroupByKey(late_tag="late")`, or `result.grouped` and `result.late`.

    >>> import hornbeam as beam
    >>> grouped = [("a", 1), ("b", 2), ("a", 3)] | beam.GroupByKey()
    >>> sorted((key, sorted(values)) for key, values in grouped)
    [('a', [1, 3]), ('b', [2])]
    """

    def __init__(self, late_tag: str | None = None) -> None:
        super().__init__()
        self.late_tag = None if late_tag is None else check_late_tag(late_tag, "grouped")

    class ReifyWindows(DoFn):
        """Gives (key, WindowedValue of the value) for each pair, with its time and window."""

        def process(
            self, element: Any, window: Any = DoFn.WindowParam, timestamp: Any = DoFn.TimestampParam
        ) -> Iterator[tuple[Any, WindowedValue[Any]]]:
            """One pair; TypeError for an element that is none."""
            try:
                key, value = element
            except TypeError:
                raise TypeError(f"GroupByKey needs (key, value) pairs; it got {element!r:.80}.") from None
            yield key, WindowedValue(value, timestamp, (window,))

    def expand(self, pcoll: Any) -> PCollection[Any] | OutputsWithLate:
        """A primitive. ValueError when its result would never come, or may lose data."""
        if not isinstance(pcoll, PCollection):
            advice = " Choose one of its outputs." if isinstance(pcoll, DoOutputsTuple) else ""
            raise TypeError(f"{self.label!r} needs one PCollection of pairs; it got {pcoll!r}.{advice}")
        self._check_firing(pcoll)
        require_deterministic_keys(pcoll)
        grouped = PCollection.from_(pcoll)
        if self.late_tag is None:
            return grouped
        late: PCollection[Any] = PCollection(
            pcoll.pipeline, self.late_tag, pcoll.element_type, pcoll.windowing, pcoll.is_bounded
        )
        return OutputsWithLate(self, "grouped", grouped, self.late_tag, late)

    def _check_firing(self, pcoll: PCollection[Any]) -> None:
        label = pcoll.pipeline.current_label
        windowing = pcoll.windowing
        trigger = windowing.triggerfn
        problem = None
        if (
            not pcoll.is_bounded
            and isinstance(windowing.windowfn, GlobalWindows)
            and isinstance(trigger, DefaultTrigger)
        ):
            problem = (
                f"GroupByKey at {label!r} cannot group an unbounded PCollection in the global window with the default "
                "trigger: the window never ends, so no result would ever come. Apply "
                "beam.WindowInto(FixedWindows(60)), or a trigger, before it."
            )
        else:
            reason = trigger.may_lose_data(windowing)
            if reason != DataLossReason.NO_POTENTIAL_LOSS:
                problem = (
                    f"Unsafe trigger: {trigger!r} at {label!r} may lose data. Reason: "
                    f"{str(reason).replace('DataLossReason.', '')}. Wrap it in Repeatedly(...), or pass "
                    "--allow_unsafe_triggers."
                )
        if problem is None:
            return
        if not pcoll.pipeline.allow_unsafe_triggers:
            raise ValueError(problem)
        _LOG.warning("%s", problem)

    def get_windowing(self, inputs: Sequence[PValue]) -> Windowing:
        """The input's, with the trigger that lets results through as they come."""
        pcoll = next((pcoll for pcoll in inputs if isinstance(pcoll, PCollection)), None)
        if pcoll is None:
            return DEFAULT_WINDOWING
        before = pcoll.windowing
        if before.is_default():
            return before
        return before.with_trigger(before.triggerfn.get_continuation_trigger())

    def type_check_inputs(self, pvalueish: Any) -> None:
        """TypeCheckError when the input certainly is not made of pairs."""
        super().type_check_inputs(pvalueish)
        if isinstance(pvalueish, PCollection):
            check_pairs("GroupByKey", pvalueish, pvalueish.pipeline.current_label)

    def infer_output_type(self, input_type: Any) -> Any:
        """(key, iterable of values)."""
        key_type, value_type = key_and_value_types(input_type)
        return typehints.KV[key_type, typehints.Iterable[value_type]]

    def to_graph_parts(self, context: StepContext) -> GraphParts:
        """A GROUP_BY_KEY."""
        return GraphParts(urns.GROUP_BY_KEY, {} if self.late_tag is None else {"late_tag": self.late_tag})


class OutputsWithLate(DoOutputsTuple):
    """What a grouping gives, and beside it the pairs that it drops: by attribute, by tag, or unpacked in this order."""

    def __init__(
        self,
        transform: PTransform[Any, Any],
        main_tag: str,
        main: PCollection[Any],
        late_tag: str,
        late: PCollection[Any],
    ) -> None:
        super().__init__(main.pipeline, transform, (), main_tag, main, allow_unknown_tags=False)
        self._tags = (late_tag,)
        self._pcolls[late_tag] = late


def check_late_tag(late_tag: object, main_tag: str) -> str:
    """The tag of a grouping's late output; TypeError or ValueError unless it can be one."""
    if not isinstance(late_tag, str):
        raise TypeError(f"The tag of the late output must be a str; it is {late_tag!r}.")
    if late_tag in ("", "out", main_tag):
        raise ValueError(
            f"The tag of the late output must be another one than 'out' and {main_tag!r}, and not empty; "
            f"it is {late_tag!r}."
        )
    return late_tag


def require_deterministic_keys(pcoll: PCollection[Any]) -> None:
    """Have the keys encoded so that equal ones are equal bytes; an error that names the step when they cannot be."""
    if not pcoll.pipeline.allow_non_deterministic_keys:
        pcoll.requires_deterministic_key_coder = pcoll.pipeline.current_label
        coder_of(pcoll)  # The error belongs here, not to the graph.


def check_pairs(name: str, pcoll: PCollection[Any], label: str) -> None:
    """TypeCheckError when the elements of a PCollection certainly are not (key, value) pairs."""
    found = pcoll.element_type
    if knows_nothing(found):
        return
    found = typehints.normalize(found, none_as_type=True)
    if typehints.is_consistent_with(found, typehints.KV[typehints.Any, typehints.Any]):
        return
    raise TypeCheckError(
        f"{name} at {label!r} needs (key, value) pairs; its input is {hint_name(found)}. "
        "Add beam.Map(lambda x: (key, x))."
    )


def key_and_value_types(pair_type: Any) -> tuple[Any, Any]:
    """The types of the two parts of a pair's type; Any where it does not tell."""
    hint = typehints.normalize(pair_type, none_as_type=True)
    parts = getattr(hint, "tuple_types", None)
    if parts is not None and len(parts) == 2:
        return parts[0], parts[1]
    if isinstance(hint, typehints.TupleSequenceConstraint):
        return hint.inner_type, hint.inner_type
    if isinstance(hint, typehints.UnionConstraint):
        pairs = [key_and_value_types(member) for member in hint.args]
        return typehints.make_union(p[0] for p in pairs), typehints.make_union(p[1] for p in pairs)
    return typehints.Any, typehints.Any
