"""Assertions on the contents of pcollections, checked while the pipeline runs."""

from __future__ import annotations

import glob
import math
import numbers
import tempfile
from collections.abc import Callable, Iterable, Mapping
from typing import IO, Any, NamedTuple

from hornbeam.pvalue import PCollection
from hornbeam.testing.differences import Equals, differences, plain_equals, shortened, unmatched
from hornbeam.transforms.cogroup import CoGroupByKey
from hornbeam.transforms.core import CombineGlobally, Create, DoFn, Filter, FlatMap, Map, WindowInto
from hornbeam.transforms.counting import CountCombineFn
from hornbeam.transforms.ptransform import PTransform
from hornbeam.transforms.trigger import AccumulationMode, AfterWatermark
from hornbeam.transforms.window import BoundedWindow, GlobalWindows
from hornbeam.utils.timestamp import TimestampTypes
from hornbeam.utils.windowed_value import PANE_INFO_UNKNOWN, PaneInfo

__all__ = [
    "BeamAssertException",
    "TestWindowedValue",
    "assert_that",
    "contains_in_any_order",
    "equal_to",
    "equal_to_approx",
    "equal_to_per_window",
    "has_at_least_one",
    "is_empty",
    "is_not_empty",
    "matches_all",
    "open_shards",
    "row_namedtuple_equals_fn",
]

Matcher = Callable[[Any], Any]


class BeamAssertException(AssertionError):
    """The contents of a pcollection are not as asserted."""


class _WindowedValueFields(NamedTuple):
    value: Any
    timestamp: TimestampTypes
    windows: Iterable[BoundedWindow]
    pane_info: PaneInfo = PANE_INFO_UNKNOWN


class TestWindowedValue(_WindowedValueFields):
    """An element with its timestamp, windows and pane, as `assert_that(..., reify_windows=True)` compares them.

    Two are equal when value, timestamp and windows are, and the panes too unless one of them is not stated.
    """

    __slots__ = ()
    __test__ = False
    # A pane that is not stated equals any: no hash agrees with that.
    __hash__ = None  # type: ignore[assignment]

    def __eq__(self, other: object) -> bool:
        if not isinstance(other, TestWindowedValue):
            return False
        panes = (self.pane_info, other.pane_info)
        return (
            plain_equals(self.value, other.value)
            and self.timestamp == other.timestamp
            and list(self.windows) == list(other.windows)
            and (PANE_INFO_UNKNOWN in panes or panes[0] == panes[1])
        )

    def __ne__(self, other: object) -> bool:
        return not self == other


def assert_that(
    actual: PCollection[Any],
    matcher: Matcher,
    label: str = "assert_that",
    reify_windows: bool = False,
    use_global_window: bool = True,
) -> None:
    """Fails the run unless `matcher`, called with the list of all elements, returns without an exception.

    The matcher is called for an empty pcollection too. With `reify_windows` the elements are
    TestWindowedValues. Without `use_global_window` the matcher is called for each window that has elements, with
    (list of its elements, window). Of an unbounded pcollection it sees all panes, when the stream has ended; a run
    that is cancelled before checks nothing. A label that is taken gets a number.

    >>> from hornbeam.testing.test_pipeline import TestPipeline
    >>> import hornbeam as beam
    >>> with TestPipeline() as p:
    ...     assert_that(p | beam.Create([1, 2]) | beam.Map(lambda n: n * n), equal_to([1, 4]))
    """
    if not isinstance(actual, PCollection):
        raise BeamAssertException(
            f"assert_that needs a PCollection, found {type(actual).__name__}: {actual!r}"
        )
    if isinstance(matcher, _EqualToPerWindow):
        reify_windows, use_global_window = True, True
    step = _AssertThat(matcher, reify_windows, use_global_window)
    actual | _free_label(actual, label) >> step


class _AssertThat(PTransform[Any, Any]):
    """Brings all elements together and calls the matcher with them."""

    def __init__(self, matcher: Matcher, reify_windows: bool, use_global_window: bool) -> None:
        super().__init__()
        self._matcher = matcher
        self._reify_windows = reify_windows
        self._use_global_window = use_global_window

    def expand(self, pcoll: PCollection[Any]) -> None:
        """Group everything under one key, beside a mark that makes sure of a group, then match."""
        elements: Any = pcoll
        if self._reify_windows:
            elements = elements | "Reify windows" >> Map(_reified).with_output_types(Any)
        if not self._use_global_window:
            elements = elements | "With window" >> Map(_with_window).with_output_types(tuple[Any, Any])
        elements = elements | "Into global window" >> _into_global_window(pcoll)
        keyed = elements | "To void key" >> Map(_void_keyed).with_output_types(tuple[None, Any])
        mark = pcoll.pipeline | "Mark" >> Create([(None, None)])
        windowed_mark = mark | "Mark into global window" >> _into_global_window(pcoll)
        gathered: Any = (
            (windowed_mark, keyed) | "Group" >> CoGroupByKey() | "Elements" >> Map(_marked_elements)
        )
        if not self._use_global_window:
            gathered = gathered | "Of each window" >> FlatMap(_by_window)
        gathered | "Match" >> Map(self._matcher)


def equal_to(expected: Iterable[Any], equals_fn: Equals | None = None) -> Matcher:
    """Matches when the elements are those of `expected`, each as often, in any order.

    `equals_fn(expected element, actual element)` says what is equal; `==` unless given.
    """
    expected = list(expected)

    def matcher(actual: Iterable[Any]) -> None:
        found = list(actual)
        missing, unexpected = differences(expected, found, equals_fn)
        if missing or unexpected:
            raise BeamAssertException(_explained(expected, found, missing, unexpected))

    return matcher


def equal_to_approx(expected: Iterable[Any], rel_tol: float = 1e-9, abs_tol: float = 0.0) -> Matcher:
    """As `equal_to`, where numbers, also inside tuples, lists and dicts, need only be close.

    The tolerances are those of `math.isclose`; NaN is close to NaN.
    """

    def close(left: Any, right: Any) -> bool:
        if isinstance(left, bool) or isinstance(right, bool):
            return plain_equals(left, right)
        if isinstance(left, numbers.Real) and isinstance(right, numbers.Real):
            both_nan = math.isnan(left) and math.isnan(right)
            return both_nan or math.isclose(left, right, rel_tol=rel_tol, abs_tol=abs_tol)
        if isinstance(left, Mapping) and isinstance(right, Mapping):
            return left.keys() == right.keys() and all(
                close(value, right[key]) for key, value in left.items()
            )
        if isinstance(left, list | tuple) and isinstance(right, list | tuple):
            return len(left) == len(right) and all(map(close, left, right))
        return plain_equals(left, right)

    return equal_to(expected, close)


class _EqualToPerWindow:
    """The matcher of `equal_to_per_window`; it is called with TestWindowedValues of all windows."""

    def __init__(self, expected: Mapping[BoundedWindow, Iterable[Any]]) -> None:
        self._expected = {window: list(elements) for window, elements in expected.items()}

    def __call__(self, actual: Iterable[TestWindowedValue]) -> None:
        found: dict[BoundedWindow, list[Any]] = {window: [] for window in self._expected}
        for element in actual:
            for window in element.windows:
                found.setdefault(window, []).append(element)
        problems = []
        for window, reified in sorted(found.items(), key=lambda item: item[0]):
            expected = self._expected.get(window, [])
            as_reified = any(isinstance(element, TestWindowedValue) for element in expected)
            elements = reified if as_reified else [element.value for element in reified]
            missing, unexpected = differences(expected, elements)
            if missing or unexpected:
                title = f"window {window!r}" + (
                    "" if window in self._expected else " is not among the expected"
                )
                problems.append(f"{title}: {_explained(expected, elements, missing, unexpected)}")
        if problems:
            raise BeamAssertException("\n".join(problems))


def equal_to_per_window(expected_window_to_elements: Mapping[BoundedWindow, Iterable[Any]]) -> Matcher:
    """Matches when every window has just the elements expected of it, and no other window has any.

    The expected elements are plain, or TestWindowedValues to compare timestamps and panes too.
    """
    return _EqualToPerWindow(expected_window_to_elements)


class _InAnyOrder:
    """What `contains_in_any_order` makes; equal to any iterable of the same elements."""

    def __init__(self, elements: Iterable[Any]) -> None:
        self.elements = list(elements)

    def __eq__(self, other: object) -> bool:
        if isinstance(other, _InAnyOrder):
            other = other.elements
        if not isinstance(other, Iterable):
            return NotImplemented
        left = list(self.elements)
        for element in other:
            if element not in left:
                return False
            left.remove(element)
        return not left

    __hash__ = None  # type: ignore[assignment]

    def __repr__(self) -> str:
        return f"in any order: {self.elements!r}"


def contains_in_any_order(iterable: Iterable[Any]) -> Any:
    """A value that is equal to every iterable with these elements, each as often, in any order.

    For groups inside the expected elements: `equal_to([("k", contains_in_any_order([1, 2]))])`.
    """
    return _InAnyOrder(iterable)


def is_empty() -> Matcher:
    """Matches when there are no elements."""

    def matcher(actual: Iterable[Any]) -> None:
        found = list(actual)
        if found:
            raise BeamAssertException(
                f"Failed assert: expected no elements, found {len(found)}: {shortened(found)}"
            )

    return matcher


def is_not_empty() -> Matcher:
    """Matches when there is at least one element."""

    def matcher(actual: Iterable[Any]) -> None:
        if not list(actual):
            raise BeamAssertException("Failed assert: expected some elements, but the pcollection is empty")

    return matcher


def matches_all(expected: Iterable[Any]) -> Matcher:
    """Matches when elements and `expected` can be paired off, in any order.

    An expected item is a value, or a matcher with a method `matches(element)` (such as one of hamcrest's).
    """
    expected = list(expected)

    def item_matches(wanted: Any, element: Any) -> bool:
        matches = getattr(wanted, "matches", None)
        return bool(matches(element)) if callable(matches) else plain_equals(wanted, element)

    def matcher(actual: Iterable[Any]) -> None:
        found = list(actual)
        missing, unexpected = unmatched(expected, found, item_matches)
        if missing or unexpected:
            raise BeamAssertException(_explained(expected, found, missing, unexpected))

    return matcher


def has_at_least_one(
    input: PCollection[Any], criterion: Callable[[Any], bool], label: str = "has_at_least_one"
) -> None:
    """Fails the run unless `criterion` is true of at least one element."""

    def check(counts: list[int]) -> None:
        if not any(counts):
            name = getattr(criterion, "__name__", repr(criterion))
            raise BeamAssertException(f"Failed assert: no element fulfils the criterion {name}")

    steps = (
        _into_global_window(input)
        | Filter(criterion)
        | CombineGlobally(CountCombineFn()).without_defaults()
        | "Check at least one" >> _AssertThat(check, False, True)
    )
    input | _free_label(input, label) >> steps


def open_shards(glob_pattern: str, mode: str = "rt", encoding: str = "utf-8") -> IO[Any]:
    """The contents of all files that match the pattern, in the order of their names, as one open file."""
    if "w" in mode or "a" in mode or "+" in mode:
        raise ValueError(f"open_shards only reads: mode must be 'rt', 'r' or 'rb', found {mode!r}")
    parts = []
    for path in sorted(glob.glob(glob_pattern)):
        with open(path, "rb") as shard:
            parts.append(shard.read())
    whole: IO[Any]
    if "b" in mode:
        whole = tempfile.TemporaryFile("w+b")
        whole.write(b"".join(parts))
    else:
        whole = tempfile.TemporaryFile("w+t", encoding=encoding)
        whole.write(b"".join(parts).decode(encoding))
    whole.seek(0)
    return whole


def row_namedtuple_equals_fn(expected: Any, actual: Any, fallback_equals_fn: Equals | None = None) -> bool:
    """An `equals_fn` under which Rows and named tuples are equal when their fields' names and values are.

    Other values, those of the fields too, are compared by `fallback_equals_fn`, or `==`.
    """
    wanted, found = _fields(expected), _fields(actual)
    if wanted is None or found is None:
        return (fallback_equals_fn or plain_equals)(expected, actual)
    return list(wanted) == list(found) and all(
        row_namedtuple_equals_fn(value, found[name], fallback_equals_fn) for name, value in wanted.items()
    )


def _fields(value: Any) -> dict[str, Any] | None:
    """The fields of a Row or a named tuple, None for anything else."""
    as_dict = getattr(value, "_asdict", None) or getattr(value, "as_dict", None)
    return dict(as_dict()) if callable(as_dict) else None


def _explained(expected: list[Any], actual: list[Any], missing: list[Any], unexpected: list[Any]) -> str:
    lines = ["Failed assert: the elements are not those expected"]
    if missing:
        lines.append(f"  missing elements ({len(missing)}): {shortened(missing)}")
    if unexpected:
        lines.append(f"  unexpected elements ({len(unexpected)}): {shortened(unexpected)}")
    lines.append(f"  expected ({len(expected)}): {shortened(expected)}")
    lines.append(f"  actual ({len(actual)}): {shortened(actual)}")
    return "\n".join(lines)


def _free_label(pcoll: PCollection[Any], label: str) -> str:
    """The label, or the first of label_2, label_3 … that is not taken."""
    taken = pcoll.pipeline.applied_labels
    candidate, number = label, 1
    while candidate in taken:
        number += 1
        candidate = f"{label}_{number}"
    return candidate


def _into_global_window(pcoll: PCollection[Any]) -> WindowInto:
    """One window over everything. Unbounded input never reaches the end of a default trigger's, unless said so."""
    if pcoll.is_bounded:
        return WindowInto(GlobalWindows())
    return WindowInto(
        GlobalWindows(), trigger=AfterWatermark(), accumulation_mode=AccumulationMode.DISCARDING
    )


def _reified(
    element: Any,
    timestamp: Any = DoFn.TimestampParam,
    window: Any = DoFn.WindowParam,
    pane_info: Any = DoFn.PaneInfoParam,
) -> TestWindowedValue:
    return TestWindowedValue(element, timestamp, [window], pane_info)


def _void_keyed(element: Any) -> tuple[None, Any]:
    return None, element


def _marked_elements(group: tuple[None, tuple[list[None], list[Any]]]) -> list[Any]:
    return group[1][1]


def _with_window(element: Any, window: Any = DoFn.WindowParam) -> tuple[Any, Any]:
    return element, window


def _by_window(elements: list[tuple[Any, Any]]) -> list[tuple[list[Any], Any]]:
    """(list of the elements, window) for each window, in the order of their ends."""
    found: dict[Any, list[Any]] = {}
    for element, window in elements:
        found.setdefault(window, []).append(element)
    return [(found[window], window) for window in sorted(found)]
