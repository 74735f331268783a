"""Groupings whose windows are on disk: they give, hold back and tell what they do in memory, through snapshots and restarts.

In memory they are held to the reference by `test_triggered_grouping` and `test_streams_against_reference`.
"""

from __future__ import annotations

from typing import Any

from hypothesis import given, settings
from hypothesis import strategies as st
from properties.test_triggered_grouping import FACTS, FOLDINGS, STEPS, in_order, rows
from transcripts.transcript import Case, Drive, Step, repr_bytes

from hornbeam.runners.engine.grouping import GroupingOperator, JoinOperator
from hornbeam.runners.engine.head import NEVER
from hornbeam.runners.engine.join_folding import JoinFolding
from hornbeam.runners.engine.pairs import GroupingSpec
from hornbeam.runners.engine.spill import TemporarySpace
from hornbeam.runners.engine.windowed_grouping import WindowedGrouping
from hornbeam.transforms.window import TimestampCombiner

#: What happens behind each step: a checkpoint, from which the work goes on in a new head or not, or nothing.
HAPPENS = st.lists(st.sampled_from(["", "", "cut", "restart"]), min_size=15, max_size=15)
#: Nothing fits; only little does, so that some of it is in memory; everything does.
LIMITS = st.lists(st.sampled_from([1, 1, 3000, 1 << 20]), min_size=15, max_size=15)


def drive_both(memory: Drive, disk: Drive, steps: list[Step], happens: list[str], limits: list[int]) -> None:
    """The same steps for both; each restart is with another limit."""
    for step, happening, limit in zip(in_order(steps), happens, limits):
        memory.do(step)
        disk.do(step)
        given_out = [rows(drive.emitted) for drive in (memory, disk)]
        assert given_out[0] == given_out[1]
        memory.emitted.clear()
        disk.emitted.clear()
        if happening == "cut":
            disk.cut()
        elif happening == "restart":
            disk.memory_bytes_max = limit
            disk.restart()
        asked = [
            (d.head.next_watermark(), d.head.next_wakeup(), bool(d.head.holds())) for d in (memory, disk)
        ]
        assert asked[0] == asked[1]
        assert_holds(memory, disk)
    if happens[len(steps)] != "restart":
        disk.cut()
    assert disk.head.entries() == 0
    assert disk.head.hold() == NEVER
    assert disk.snapshot == {}, "entries of windows that are gone were left"


def assert_holds(memory: Drive, disk: Drive) -> None:
    """The same; where a key has parts, of which the latest counts in the end, the earliest part may hold."""
    if "LATEST" in memory.windowing.to_graph().timestamp_combiner:
        assert disk.head.hold() <= memory.head.hold()
        assert (disk.head.hold() == NEVER) == (memory.head.hold() == NEVER)
    else:
        assert disk.head.hold() == memory.head.hold()


@settings(max_examples=100, deadline=None)
@given(FACTS, FOLDINGS, STEPS, HAPPENS, LIMITS)
def test_under_any_trigger(
    facts: dict[str, str], folding: Any, steps: list[Step], happens: list[str], limits: list[int]
) -> None:
    space = TemporarySpace()
    memory = Drive(Case("", facts, ()), folding(), space, memory_bytes_max=1 << 40)
    disk = Drive(Case("", facts, ()), folding(), space, restarts=True, memory_bytes_max=limits[0])
    drive_both(memory, disk, steps, happens, limits)
    assert [rows(memory.late)] == [rows(disk.late)]
    for name in ("dropped_late", "dropped_closed"):
        assert memory.counter(name) == disk.counter(name)
    assert memory.head.entries() == 0
    space.close()


class OnceDrive(Drive):
    """The fast path: windows fire once. With a join the elements come in turn at its two inputs."""

    counts_entries = False  # values that pend are counted beside what was folded

    def _new_head(self) -> Any:
        strategy = self.windowing.to_graph()
        spec = GroupingSpec(
            "Group", self.windowing.windowfn, strategy.timestamp_combiner, repr_bytes, self._folding
        )
        kind = JoinOperator if isinstance(self._folding, JoinFolding) else GroupingOperator
        inner = kind(spec, self._space, self.memory_bytes_max)
        head = WindowedGrouping(inner, self.container, self._space, self.memory_bytes_max)
        head.emit = self.emitted.append
        if self.snapshot is not None:
            head.track_changes()
        return head

    def _feed(self, elements: Any) -> None:
        if not isinstance(self._folding, JoinFolding):
            super()._feed(elements)
            return
        for element in elements:
            self.head.input(element.value % 2)(self.bundle((element,)))


ONCE = st.fixed_dictionaries(
    {
        "windows": st.sampled_from(
            ["FixedWindows(10)", "SlidingWindows(10, 5)", "SlidingWindows(12, 4)", "GlobalWindows()"]
        ),
        "times": st.sampled_from(list(TimestampCombiner)),
        "trigger": st.just("DefaultTrigger()"),
    }
)
ONCE_FOLDINGS = st.one_of(
    FOLDINGS, st.just(lambda: JoinFolding(2, None)), st.just(lambda: JoinFolding(2, ["left", "right"]))
)


@settings(max_examples=100, deadline=None)
@given(ONCE, ONCE_FOLDINGS, STEPS, HAPPENS, LIMITS)
def test_of_windows_that_fire_once(
    facts: dict[str, str], folding: Any, steps: list[Step], happens: list[str], limits: list[int]
) -> None:
    if not isinstance(folding(), JoinFolding):  # only joins keep timestamps of their inputs
        facts = {**facts, "times": "OUTPUT_AT_EOW"}
    space = TemporarySpace()
    memory = OnceDrive(Case("", facts, ()), folding(), space, memory_bytes_max=1 << 40)
    disk = OnceDrive(Case("", facts, ()), folding(), space, restarts=True, memory_bytes_max=limits[0])
    drive_both(memory, disk, steps, happens, limits)
    assert memory.counter("dropped_late") == disk.counter("dropped_late")
    space.close()
