"""The general grouping machine: one answer with the fast path under the default trigger, and one however it is fed."""

from __future__ import annotations

from typing import Any

import attrs
import reference_panes
from hypothesis import given, settings
from hypothesis import strategies as st
from transcripts.transcript import AllInOne, Case, Drive, Element, Shifted, ShiftedSessions, Step, repr_bytes

from hornbeam.metrics.execution import MetricsContainer
from hornbeam.runners.engine.assignment import WindowAssigner
from hornbeam.runners.engine.bundle import Bundle, from_entries
from hornbeam.runners.engine.clock import NEVER
from hornbeam.runners.engine.combine_folding import CombineFolding, SumFolding
from hornbeam.runners.engine.folding import Folding, GatherFolding
from hornbeam.runners.engine.grouping import GroupingOperator
from hornbeam.runners.engine.head import END_OF_TIME
from hornbeam.runners.engine.merging import MergingGroupingOperator
from hornbeam.runners.engine.pairs import GroupingSpec
from hornbeam.runners.engine.sessions import SessionGroupingOperator
from hornbeam.runners.engine.spill import TemporarySpace
from hornbeam.runners.engine.triggered_grouping import TriggeredGrouping
from hornbeam.runners.engine.triggered_merging import MergingTriggeredGrouping
from hornbeam.runners.planner.firing import fires_once
from hornbeam.transforms.combinefn import CombineFn
from hornbeam.transforms.window import (
    FixedWindows,
    GlobalWindows,
    Sessions,
    SlidingWindows,
    TimestampCombiner,
    WindowFn,
)
from hornbeam.transforms.windowing import Windowing
from hornbeam.utils.timestamp import Timestamp

SECOND = 1_000_000

WINDOW_FNS = st.one_of(
    st.builds(FixedWindows, st.integers(1, 12), st.integers(0, 5)),
    st.builds(SlidingWindows, st.integers(1, 12), st.integers(1, 6), st.integers(0, 5)),
    st.builds(Sessions, st.integers(1, 8)),
    st.builds(ShiftedSessions, st.integers(1, 8)),
    st.builds(Shifted, st.integers(1, 12)),
    st.just(GlobalWindows()),
    st.just(AllInOne()),
)
#: 1, 1.0 and True are three keys; a float stands in tables by its encoded form.
KEYS = st.sampled_from(["a", "b", 1, 1.0, True, None, ("a", 1), ("a", 1.0)])
BUNDLES = st.lists(
    st.one_of(
        st.lists(st.tuples(KEYS, st.integers(-9, 9), st.integers(0, 40)), min_size=1, max_size=8),
        st.integers(0, 45),
    ),
    max_size=12,
)


class Mean(CombineFn):
    """A pair that is changed in place."""

    def create_accumulator(self) -> list[int]:
        return [0, 0]

    def add_input(self, accumulator: list[int], element: int) -> list[int]:
        accumulator[0] += element
        accumulator[1] += 1
        return accumulator

    def merge_accumulators(self, accumulators: Any) -> list[int]:
        return [sum(part) for part in zip(*accumulators)]

    def extract_output(self, accumulator: list[int]) -> float:
        return accumulator[0] / accumulator[1] if accumulator[1] else 0.0


FOLDINGS = st.sampled_from([GatherFolding, SumFolding, lambda: CombineFolding(Mean())])


def rows(bundles: list[Bundle]) -> list[str]:
    """Everything that came out, in no order."""
    return sorted(
        repr(row)
        for bundle in bundles
        for row in zip(
            [(key, in_no_order(output)) for key, output in bundle.values],
            bundle.timestamp_list(),
            bundle.window_list(),
            bundle.pane_list(),
        )
    )


def in_no_order(output: Any) -> Any:
    """An output with the values of a group, or of each input of a join, sorted."""
    if isinstance(output, list):
        return sorted(output)
    if isinstance(output, tuple):
        return tuple(map(in_no_order, output))
    return {tag: in_no_order(part) for tag, part in output.items()} if isinstance(output, dict) else output


def fast_path(window_fn: WindowFn, spec: GroupingSpec, space: TemporarySpace) -> Any:
    kind: Any = GroupingOperator
    if type(window_fn) is Sessions:
        kind = SessionGroupingOperator
    elif window_fn.is_merging():
        kind = MergingGroupingOperator
    return kind(spec, space, 1 << 30)


@settings(max_examples=300, deadline=None)
@given(
    WINDOW_FNS,
    BUNDLES,
    FOLDINGS,
    st.sampled_from(list(TimestampCombiner)),
    st.sampled_from(["stream", "batch"]),
)
def test_under_the_default_trigger_it_gives_what_the_fast_path_gives(
    window_fn: WindowFn, actions: list[Any], folding: Any, combiner: TimestampCombiner, way: str
) -> None:
    space = TemporarySpace()
    strategy = Windowing(window_fn, timestamp_combiner=combiner).to_graph()
    kind = MergingTriggeredGrouping if strategy.merging else TriggeredGrouping

    def spec() -> GroupingSpec:
        made: Folding = folding()
        return GroupingSpec("Group", window_fn, strategy.timestamp_combiner, repr_bytes, made)

    fast = fast_path(window_fn, spec(), space)
    out: list[Bundle] = []
    container = MetricsContainer("Group")
    receivers: Any = {"out": out.append} if way == "stream" else None
    general = kind(spec(), space, 1 << 30, strategy, container, receivers)
    assign = WindowAssigner(window_fn)
    watermark = -END_OF_TIME
    for action in [*actions, END_OF_TIME]:
        if isinstance(action, int):
            if way == "batch" and action < END_OF_TIME:
                continue
            watermark = max(watermark, action if action >= END_OF_TIME else action * SECOND)
            # The fast path has a window pass with its last timestamp; a watermark has passed it when it is greater.
            expected = rows(list(fast.fire(watermark - 1)))
            if way == "stream":
                general.advance(watermark, 0)
                found, out[:] = rows(out), []
            else:
                found = rows(list(general.fire(watermark)))
            assert found == expected
            continue
        bundle = bundle_of(action, assign)
        general.process(bundle)
        kept = [i for i, (w,) in enumerate(bundle.window_list()) if w.max_micros >= watermark]
        if kept:  # dropping what is late is not the fast path's own work
            fast.process(bundle.take([bundle.values[i] for i in kept], kept))
    assert general.entries() == 0
    assert general.hold() == NEVER


def bundle_of(elements: list[tuple[Any, int, int]], assign: WindowAssigner) -> Bundle:
    values = [(key, value) for key, value, _ in elements]
    times = [seconds * SECOND for _, _, seconds in elements]
    plain = from_entries(values, times, [()] * len(values), [None] * len(values))  # type: ignore[list-item]
    bare = Bundle(values, plain.timestamps)
    return Bundle(values, plain.timestamps, assign(bare)).exploded()


# Any trigger

COUNTS = st.integers(1, 4).map(lambda n: f"AfterCount({n})")
LEAVES = st.one_of(
    COUNTS,
    st.integers(0, 12).map(lambda d: f"AfterProcessingTime({d})"),
    st.sampled_from(["DefaultTrigger()", "Always()", "Never()", "AfterWatermark()"]),
)


def composed(parts: st.SearchStrategy[str]) -> st.SearchStrategy[str]:
    several = st.lists(parts, min_size=1, max_size=3).map(", ".join)
    names = st.sampled_from(["AfterAny", "AfterAll", "AfterEach"])
    return st.one_of(
        parts.map(lambda part: f"Repeatedly({part})"),
        st.tuples(names, several).map(lambda both: f"{both[0]}({both[1]})"),
        st.tuples(parts, parts).map(lambda both: f"OrFinally({both[0]}, {both[1]})"),
        st.tuples(parts, parts).map(lambda both: f"AfterWatermark(early={both[0]}, late={both[1]})"),
    )


TRIGGERS = st.recursive(LEAVES, composed, max_leaves=6)
FACTS = st.fixed_dictionaries(
    {
        "windows": st.sampled_from(
            ["FixedWindows(10)", "SlidingWindows(10, 5)", "Sessions(4)", "ShiftedSessions(4)", "AllInOne()"]
        ),
        "trigger": TRIGGERS,
        "mode": st.sampled_from(["DISCARDING", "ACCUMULATING"]),
        "lateness": st.sampled_from(["0", "7", "100", "1e13"]),
        "times": st.sampled_from(list(TimestampCombiner)),
        "on_time": st.sampled_from(["FIRE_ALWAYS", "FIRE_IF_NON_EMPTY"]),
        "closing": st.sampled_from(["EMIT_ALWAYS", "EMIT_IF_NONEMPTY"]),
    }
)
ELEMENT = st.tuples(st.sampled_from("ab"), st.integers(0, 30)).map(
    lambda e: Element(e[0], 0, e[1] * SECOND, "")
)
STEPS = st.lists(
    st.one_of(
        st.lists(ELEMENT, min_size=1, max_size=6).map(lambda e: Step("elements", tuple(e), (), ())),
        st.integers(0, 40).map(lambda s: Step("W", (s * SECOND,), (), ())),
        st.integers(0, 40).map(lambda s: Step("P", (s * SECOND,), (), ())),
    ),
    max_size=14,
)


def in_order(steps: list[Step]) -> list[Step]:
    """Numbered elements, and times that never go back."""
    latest = {"W": 0, "P": 0}
    ordered = []
    number = 0
    for step in steps:
        if step.action in latest:
            latest[step.action] = max(latest[step.action], step.operands[0])
            step = attrs.evolve(step, operands=(latest[step.action],))
        else:
            step = attrs.evolve(
                step, operands=tuple(attrs.evolve(e, value=number + i) for i, e in enumerate(step.operands))
            )
            number += len(step.operands)
        ordered.append(step)
    return [*ordered, Step("END", (), (), ())]


def flat(bundles: list[Bundle]) -> list[str]:
    """What came out, in order."""
    rows = (zip(b.values, b.timestamp_list(), b.window_list(), b.pane_list()) for b in bundles)
    return [repr(row) for columns in rows for row in columns]


@settings(max_examples=400, deadline=None)
@given(FACTS, STEPS)
def test_any_trigger_gives_the_same_however_it_is_fed_and_keeps_nothing(
    facts: dict[str, str], steps: list[Step]
) -> None:
    space = TemporarySpace()
    steps = in_order(steps)
    whole = Drive(Case("", facts, ()), GatherFolding(), space)
    single = Drive(Case("", facts, ()), GatherFolding(), space, restarts=True)
    for step in steps:
        whole.do(step)
        singles = [step]
        if step.action == "elements":
            singles = [attrs.evolve(step, operands=(element,)) for element in step.operands]
        for part in singles:
            single.do(part)
            single.restart()
        assert flat(whole.emitted) == flat(single.emitted)
        assert flat(whole.late) == flat(single.late)
        head = whole.head
        assert head.next_watermark() > whole.watermark or step.action == "END"
        assert head.next_wakeup() > whole.now
        assert (head.hold() < NEVER) == bool(head.holds())
        assert head.entries() == single.head.entries()
    assert whole.head.entries() == 0
    assert whole.head.next_watermark() > END_OF_TIME
    assert (whole.head.hold(), whole.head.next_wakeup()) == (NEVER, NEVER)
    for name in ("dropped_late", "dropped_closed"):
        assert whole.counter(name) == single.counter(name)
    check_every_element_is_somewhere(whole, facts, steps)


def check_every_element_is_somewhere(drive: Drive, facts: dict[str, str], steps: list[Step]) -> None:
    """Each element comes out once for each of its windows, or is dropped; under ACCUMULATING at least once."""
    given_out: dict[tuple[int, Any], int] = {}
    for bundle in drive.emitted:
        for (_, values), windows in zip(bundle.values, bundle.window_list()):
            for value in values:
                given_out[value, windows[0]] = given_out.get((value, windows[0]), 0) + 1
    assert facts["mode"] == "ACCUMULATING" or set(given_out.values()) <= {1}
    dropped = sum(len(bundle) for bundle in drive.late)
    assert dropped <= drive.counter("dropped_late") + drive.counter("dropped_closed")
    if facts["mode"] == "DISCARDING":
        copies = 2 if facts["windows"].startswith("Sliding") else 1
        came = copies * sum(len(step.operands) for step in steps if step.action == "elements")
        lost = drive.counter("dropped_late") + drive.counter("dropped_closed")
        assert len(given_out) + lost == came


@settings(max_examples=400, deadline=None)
@given(FACTS, STEPS)
def test_any_trigger_gives_the_panes_of_the_oracle(facts: dict[str, str], steps: list[Step]) -> None:
    drive = Drive(Case("", facts, ()), GatherFolding(), TemporarySpace())
    oracle = Oracle(drive)
    for step in in_order(steps):
        before = len(drive.emitted)
        drive.do(step)
        expected = oracle.do(step)
        assert rows(drive.emitted[before:]) == sorted(map(repr, expected))
        hold = min((hold for key in oracle.keys.values() for hold in key.holds()), default=NEVER)
        assert drive.head.hold() == hold
    assert drive.counter("dropped_late") == oracle.drops.get("dropped_late", 0)
    # The oracle does not count what a window held that became one with a closed one.
    closed = oracle.drops.get("dropped_closed", 0)
    assert drive.counter("dropped_closed") == closed or (drive.windowing.windowfn.is_merging() and closed)


class Oracle:
    """The reference interpreter's windows, a key at a time."""

    def __init__(self, drive: Drive) -> None:
        self.windowing = drive.windowing
        self.times = reference_panes.Times()
        self.keys: dict[str, Any] = {}
        self.drops: dict[str, int] = {}

    def do(self, step: Step) -> list[Any]:
        if step.action == "elements":
            return [row for element in step.operands for row in self.element(element)]
        before = self.times.now
        if step.action == "P":
            self.times.now = step.operands[0]
        else:
            self.times.watermark = reference_panes.END_OF_TIME if step.action == "END" else step.operands[0]
        return [
            row
            for key, windows in self.keys.items()
            for window in list(windows.states)
            for row in self.rows(key, windows.advance(window, before))
        ]

    def element(self, element: Element) -> list[Any]:
        if element.key not in self.keys:
            self.keys[element.key] = reference_panes.KeyWindows(self.windowing.to_graph(), self.times)
        windows = self.keys[element.key]
        context = WindowFn.AssignContext(Timestamp(micros=element.micros))
        found: list[Any] = []
        for window in windows.window_fn.assign(context):
            refusal = windows.refusal(window)
            if refusal is None:
                found += self.rows(element.key, windows.add(element.value, element.micros, window))
            else:
                self.drops[refusal] = self.drops.get(refusal, 0) + 1
        return found

    @staticmethod
    def rows(key: str, given: Any) -> list[Any]:
        return [((key, sorted(p.value)), p.timestamp_micros, p.windows, p.pane_info) for p in given]


def test_the_default_trigger_needs_no_general_machine() -> None:
    assert fires_once(Windowing(FixedWindows(10)).to_graph())
    assert not fires_once(Windowing(FixedWindows(10), allowed_lateness=1).to_graph())
