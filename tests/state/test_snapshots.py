"""State against a plain model, under random use, and restored from its snapshots between any two steps (hypothesis)."""

from __future__ import annotations

import itertools
import pickle
from collections import Counter
from collections.abc import Iterator
from typing import Any

import pytest
from hypothesis import settings
from hypothesis import strategies as st
from hypothesis.stateful import RuleBasedStateMachine, initialize, invariant, rule
from state.stage import FIXED, Stage, Store, encode_key

from hornbeam.coders.coders import FastPrimitivesCoder, StrUtf8Coder
from hornbeam.error import DataError
from hornbeam.runners.engine import stateful
from hornbeam.runners.engine.clock import NEVER
from hornbeam.runners.engine.keyed_records import KeyedRecords
from hornbeam.runners.engine.present import Present
from hornbeam.runners.engine.record_contents import RecordContents
from hornbeam.runners.engine.spill import TemporarySpace
from hornbeam.runners.engine.state_cells import CellFamily
from hornbeam.transforms.bounded_window import GlobalWindow
from hornbeam.transforms.dofn import DoFn
from hornbeam.transforms.timeutil import TimeDomain
from hornbeam.transforms.userstate import (
    BagStateSpec,
    CombiningValueStateSpec,
    MapStateSpec,
    MultiMapStateSpec,
    OrderedListStateSpec,
    ReadModifyWriteStateSpec,
    SetStateSpec,
    TimerSpec,
    on_timer,
    on_window_expiration,
)

ANY = FastPrimitivesCoder()
CELLS = ("value", "bag", "set", "sum", "list", "map", "multi", "brief")


class Everything(DoFn):
    """One cell of each kind and a timer in each domain; elements are (key, actions), each (name, method, arguments)."""

    VALUE = ReadModifyWriteStateSpec("value", ANY)
    BAG = BagStateSpec("bag", ANY)
    SET = SetStateSpec("set", ANY)
    SUM = CombiningValueStateSpec("sum", sum)
    LIST = OrderedListStateSpec("list", ANY)
    MAP = MapStateSpec("map", StrUtf8Coder(), ANY)
    MULTI = MultiMapStateSpec("multi", StrUtf8Coder(), ANY)
    BRIEF = BagStateSpec("brief", ANY, ttl=5)
    EVENT = TimerSpec("event", TimeDomain.WATERMARK)
    CLOCK = TimerSpec("clock", TimeDomain.REAL_TIME)

    def process(
        self,
        element: Any,
        value: Any = DoFn.StateParam(VALUE),
        bag: Any = DoFn.StateParam(BAG),
        set_: Any = DoFn.StateParam(SET),
        sum_: Any = DoFn.StateParam(SUM),
        list_: Any = DoFn.StateParam(LIST),
        map_: Any = DoFn.StateParam(MAP),
        multi: Any = DoFn.StateParam(MULTI),
        brief: Any = DoFn.StateParam(BRIEF),
        event: Any = DoFn.TimerParam(EVENT),
        clock: Any = DoFn.TimerParam(CLOCK),
    ) -> Iterator[Any]:
        cells = dict(zip(CELLS, (value, bag, set_, sum_, list_, map_, multi, brief)))
        for name, method, arguments in element[1]:
            getattr({**cells, "event": event, "clock": clock}[name], method)(*arguments)
        yield element[0], contents(cells)

    @on_timer(EVENT)
    def on_event(
        self,
        key: Any = DoFn.KeyParam,
        tag: Any = DoFn.DynamicTimerTagParam,
        at: Any = DoFn.TimestampParam,
        sum_: Any = DoFn.StateParam(SUM),
    ) -> Any:
        sum_.add(1000)
        yield "event", tag, key, at.micros

    @on_timer(CLOCK)
    def on_clock(
        self,
        key: Any = DoFn.KeyParam,
        tag: Any = DoFn.DynamicTimerTagParam,
        at: Any = DoFn.TimestampParam,
        value: Any = DoFn.StateParam(VALUE),
    ) -> Any:
        value.clear()
        yield "clock", tag, key, at.micros

    @on_window_expiration
    def end(
        self,
        key: Any = DoFn.KeyParam,
        bag: Any = DoFn.StateParam(BAG),
        sum_: Any = DoFn.StateParam(SUM),
    ) -> Any:
        yield "end", key, list(bag.read()), sum_.read()


def contents(cells: dict[str, Any]) -> dict[str, Any]:
    """All that can be read."""
    return {
        "value": cells["value"].read(),
        "bag": list(cells["bag"].read()),
        "set": list(cells["set"].read()),
        "sum": cells["sum"].read(),
        "list": [(stamp.micros, value) for stamp, value in cells["list"].read()],
        "map": list(cells["map"].items()),
        "multi": list(cells["multi"].items()),
        "brief": list(cells["brief"].read()),
    }


class Plain:
    """What one key and window should hold: the obvious thing for each cell."""

    def __init__(self) -> None:
        self.value: Any = None
        self.bag: list[Any] = []
        self.set: list[Any] = []
        self.sum = 0
        self.list: list[tuple[int, Any]] = []
        self.map: dict[str, Any] = {}
        self.multi: dict[str, list[Any]] = {}
        self.brief: list[Any] = []
        self.brief_written = 0.0
        #: (domain, tag): (time, number of the setting)
        self.timers: dict[tuple[str, str], tuple[float, int]] = {}

    def apply(self, name: str, method: str, arguments: Any, clock: float, count: int) -> None:
        """One action."""
        if name in ("event", "clock"):
            tag = arguments[-1] if arguments and isinstance(arguments[-1], str) else ""
            if method == "set":
                self.timers[name, tag] = (arguments[0], count)
            else:
                self.timers.pop((name, tag), None)
        elif method == "clear":
            setattr(self, name, getattr(Plain(), name))
        elif name == "value":
            self.value = arguments[0]
        elif name == "sum":
            self.sum += arguments[0]
        elif name == "set":
            if encode_key(arguments[0]) not in map(encode_key, self.set):
                self.set.append(arguments[0])
        elif name == "list" and method == "add":
            self.list.append((arguments[0][0] * 1_000_000, arguments[0][1]))
            self.list.sort(key=lambda pair: pair[0])
        elif name == "list":
            low, limit = (bound * 1_000_000 for bound in arguments)
            self.list = [pair for pair in self.list if not low <= pair[0] < limit]
        elif name == "map":
            self.map.pop(arguments[0], None) if method == "remove" else self.map.__setitem__(*arguments)
        elif name == "multi":
            if method == "remove":
                self.multi.pop(arguments[0], None)
            else:
                self.multi.setdefault(arguments[0], []).append(arguments[1])
        elif name == "bag":
            self.bag = [*self.bag, arguments[0]]
        else:
            self.brief = [*self.fresh(clock), arguments[0]]
            self.brief_written = clock

    def fresh(self, clock: float) -> list[Any]:
        """What has not outlived its time."""
        return self.brief if clock < self.brief_written + 5 else []

    def contents(self, clock: float) -> dict[str, Any]:
        """As `contents` above."""
        multi = [(key, value) for key, values in self.multi.items() for value in values]
        return {
            "value": self.value,
            "bag": list(self.bag),
            "set": list(self.set),
            "sum": self.sum,
            "list": list(self.list),
            "map": list(self.map.items()),
            "multi": multi,
            "brief": self.fresh(clock),
        }


keys = st.sampled_from(["a", "b", 1, 1.0, True, (1, 2.5), None])
values = st.sampled_from([1, 1.0, True, "x", (1, 2.0), None])
names = st.sampled_from(["p", "q"])
tags = st.sampled_from(["", "s", "t"])
actions = st.one_of(
    st.tuples(st.just("value"), st.just("write"), st.tuples(values)),
    st.tuples(st.sampled_from(["bag", "set", "brief"]), st.just("add"), st.tuples(values)),
    st.tuples(st.just("sum"), st.just("add"), st.tuples(st.integers(0, 9))),
    st.tuples(st.just("list"), st.just("add"), st.tuples(st.tuples(st.integers(0, 5), values))),
    st.tuples(st.just("list"), st.just("clear_range"), st.tuples(st.integers(0, 5), st.integers(0, 5))),
    st.tuples(st.just("map"), st.just("put"), st.tuples(names, values)),
    st.tuples(st.just("multi"), st.just("add"), st.tuples(names, values)),
    st.tuples(st.sampled_from(["map", "multi"]), st.just("remove"), st.tuples(names)),
    st.tuples(st.sampled_from(CELLS), st.just("clear"), st.just(())),
    st.tuples(st.just("event"), st.just("set"), st.tuples(st.integers(0, 45), tags)),
    st.tuples(st.just("clock"), st.just("set"), st.tuples(st.integers(1000, 1040), tags)),
    st.tuples(st.sampled_from(["event", "clock"]), st.just("clear"), st.tuples(tags)),
)
elements = st.lists(
    st.tuples(keys, st.integers(0, 39), st.lists(actions, max_size=4)), min_size=1, max_size=6
)


class StateMachine(RuleBasedStateMachine):
    """A stage, its model by window and key, and a store of snapshots."""

    def new_stage(self) -> Stage:
        return Stage(Everything(), FIXED, self.lateness)

    def same(self, found: list[Any], expected: list[Any]) -> None:
        """Whether rows came out as they should."""
        assert repr(found) == repr(expected)

    @initialize(lateness=st.sampled_from([0, 7]))
    def begin(self, lateness: float) -> None:
        self.lateness = lateness
        self.stage = self.new_stage()
        self.stage.advance(-1)
        self.stage.head.track_changes()
        self.store = Store()
        self.model: dict[int, dict[bytes, tuple[Any, Plain]]] = {}
        self.watermark = -1.0
        self.count = 0

    @property
    def clock(self) -> float:
        return self.stage.clock.now_micros() / 1e6

    @rule(given=elements)
    def feed(self, given: Any) -> None:
        found = self.stage.feed(*[((key, todo), stamp) for key, stamp, todo in given])
        expected = []
        for key, stamp, todo in given:
            start = stamp // 10 * 10
            if start + 10 + self.lateness <= self.watermark:
                continue
            cells = self.model.setdefault(start, {}).setdefault(encode_key(key), (key, Plain()))[1]
            for name, method, arguments in todo:
                self.count += 1
                cells.apply(name, method, arguments, self.clock, self.count)
            expected.append(((key, cells.contents(self.clock)), stamp, start))
        assert repr(found) == repr([(v, float(s), float(w)) for v, s, w in expected])

    @rule(by=st.integers(0, 12), clock=st.integers(0, 8))
    def advance(self, by: float, clock: float) -> None:
        self.watermark += by
        now = self.clock + clock
        expected = [*self.fire("event", self.watermark, True), *self.fire("clock", now, False)]
        for start in sorted(self.model):
            if start + 10 + self.lateness <= self.watermark:
                expected += self.expire(start)
        self.same(self.stage.values(self.stage.advance(self.watermark, clock)), expected)

    def fire(self, domain: str, until: float, capped: bool) -> list[Any]:
        """The timers that are due, in order."""
        due = []
        for start, by_key in self.model.items():
            last = start + 10 + self.lateness
            for key, plain in by_key.values():
                for (name, tag), (time, count) in list(plain.timers.items()):
                    when = min(time, last) if capped else time
                    if name == domain and when <= until:
                        due.append((when, count, tag, key, time, plain))
                        del plain.timers[name, tag]
        due.sort(key=lambda row: row[:2])
        return [self.fired(domain, *row[2:]) for row in due]

    def fired(self, domain: str, tag: str, key: Any, time: float, plain: Plain) -> Any:
        if domain == "event":
            plain.sum += 1000
        else:
            plain.value = None
        return domain, tag, key, int(time * 1_000_000)

    def expire(self, start: int) -> list[Any]:
        by_key = self.model.pop(start)
        left = [
            (time, count, tag, key, plain)
            for key, plain in by_key.values()
            for (_, tag), (time, count) in plain.timers.items()
        ]
        left.sort(key=lambda row: row[:2])
        rows = [self.fired("clock", tag, key, time, plain) for time, _, tag, key, plain in left]
        return rows + [("end", key, plain.bag, plain.sum) for key, plain in by_key.values()]

    @rule(restore=st.booleans())
    def snapshot(self, restore: bool) -> None:
        self.store.take(self.stage.head)
        if not restore:
            return
        entries, clock, watermark = self.stage.head.entries(), self.stage.clock, self.stage.watermark
        held = (self.stage.head.hold(), self.stage.head.next_watermark(), self.stage.head.next_wakeup())
        self.stage = self.new_stage()
        self.stage.clock, self.stage.watermark = clock, watermark
        self.store.load_into(self.stage.head)
        head = self.stage.head
        assert head.entries() == entries
        assert (head.hold(), head.next_watermark()) == held[:2]
        assert head.next_wakeup() >= held[2]  # a cell that was written again is looked at later
        head.track_changes()
        self.advance(0, 0)

    @invariant()
    def as_many(self) -> None:
        if not hasattr(self, "stage"):
            return
        records = sum(map(len, self.model.values()))
        timers = sum(len(plain.timers) for by_key in self.model.values() for _, plain in by_key.values())
        assert self.stage.head.entries() == records + timers

    def teardown(self) -> None:
        if hasattr(self, "stage"):
            self.stage.end()
            assert self.stage.head.entries() == 0
            self.store.take(self.stage.head)
            assert not self.store.entries


StateMachine.TestCase.settings = settings(max_examples=150, stateful_step_count=12, deadline=None)
TestStateAgainstAModel = StateMachine.TestCase


class OnDisk(StateMachine):
    """The same where every record goes to disk as soon as it is not in use: keys come in no order then."""

    def __init__(self) -> None:
        super().__init__()
        self.space = TemporarySpace()

    def new_stage(self) -> Stage:
        return Stage(Everything(), FIXED, self.lateness, space=self.space)

    def same(self, found: list[Any], expected: list[Any]) -> None:
        assert sorted(map(repr, found)) == sorted(map(repr, expected))

    def teardown(self) -> None:
        super().teardown()
        self.space.close()


OnDisk.TestCase.settings = settings(max_examples=60, stateful_step_count=12, deadline=None)
TestStateOnDiskAgainstAModel = OnDisk.TestCase


class Sums(DoFn):
    """A sum a key."""

    SUM = CombiningValueStateSpec("sum", sum)

    def process(self, element: Any, sum_: Any = DoFn.StateParam(SUM)) -> None:
        sum_.add(element[1])


class BriefSums(DoFn):
    """As Sums, with a time to live."""

    SUM = CombiningValueStateSpec("sum", sum, ttl=5)

    def process(self, element: Any, sum_: Any = DoFn.StateParam(SUM)) -> None:
        sum_.add(element[1])


def test_a_snapshot_has_what_was_touched_since_the_last_one() -> None:
    stage, store = Stage(Everything(), FIXED), Store()
    stage.feed((("before", [("bag", "add", (1,))]), 1))
    stage.head.track_changes()
    store.take(stage.head)
    assert store.written == 0
    stage.feed(*[((key, [("bag", "add", (1,))]), 1) for key in range(100)])
    store.take(stage.head)
    assert (store.written, len(store.entries)) == (100, 100)
    stage.feed(((7, [("bag", "add", (2,))]), 1))
    store.take(stage.head)
    assert (store.written, len(store.entries)) == (101, 100)
    stage.advance(10)
    store.take(stage.head)
    assert not store.entries


@pytest.mark.parametrize(
    "spec", [ReadModifyWriteStateSpec("only", ANY), CombiningValueStateSpec("only", sum)]
)
@pytest.mark.parametrize(
    "values", [[1, 2, 1, 0, 2**70], [1, True, 1.0, False, 0.0, -0.0, 0], [1, None, 2], [None]]
)
def test_many_records_hold_together_what_each_of_them_holds(spec: Any, values: list[Any]) -> None:
    """Where it is one cell that holds one value; equal ints share their contents."""
    records = KeyedRecords([CellFamily(spec, Present(), "Step")], 0, False)
    table = records.table(GlobalWindow())
    for key, value in enumerate(values):
        cell = table[key][0]
        if value is not None:
            getattr(cell, cell.writes[0])(value)
    contents = RecordContents(records.families)
    column = [*table.values(), None, table[0]]
    each = [None if record is None else contents.content(record) for record in column]
    for together in (contents.contents(column), contents.contents(column[: len(values)])):
        assert list(map(pickle.dumps, together)) == list(map(pickle.dumps, each[: len(together)]))


@pytest.mark.parametrize("dofn", [Sums, BriefSums])
def test_a_window_that_expires_is_forgotten_whole_or_key_by_key(dofn: Any) -> None:
    """A cell that lasts does not mind its end; one with a time to live does."""
    stage = Stage(dofn(), FIXED)
    stage.feed(*(((key, 1), at) for at in (0, 10) for key in "abc"))
    records = stage.head._records
    assert (records.in_memory, len(records)) == (6, 6)
    stage.advance(10)
    assert (records.in_memory, len(records)) == (3, 3)
    stage.end()
    assert (records.in_memory, len(records), stage.head.entries()) == (0, 0, 0)
    assert stage.head.next_wakeup() == NEVER


@pytest.mark.parametrize("on_disk", [False, True])
def test_much_that_is_due_comes_in_slices_where_snapshots_are_taken(
    on_disk: bool, monkeypatch: pytest.MonkeyPatch
) -> None:
    """Between two calls snapshots can be taken, so that what they tell does not grow with the number of keys."""
    monkeypatch.setattr(stateful, "_SLICE", 256)
    space = TemporarySpace()
    stage, store = Stage(Everything(), FIXED, space=space if on_disk else None), Store()
    stage.head.track_changes()
    actions = [("sum", "add", (1,)), ("event", "set", (5,)), ("clock", "set", (2000,))]
    stage.feed(*[((key, actions), 1) for key in range(1000)])
    store.take(stage.head)
    assert len(store.entries) == 1000
    rows, told = stage.advance(20), [store.written]
    assert len(rows) == 256 and stage.head.is_behind() and stage.head.hold() <= 5_000_000
    while stage.head.is_behind():
        store.take(stage.head)
        told.append(store.written)
        rows += stage.advance(20)
    store.take(stage.head)
    if on_disk:
        assert max(later - before for before, later in itertools.pairwise(told)) <= 600
    assert not store.entries and stage.head.entries() == 0
    found = Counter(value[0] for value in stage.values(rows))
    assert found == {"event": 1000, "clock": 1000, "end": 1000}
    assert {value[3] for value in stage.values(rows) if value[0] == "end"} == {1001}
    stage.feed(("again", [("event", "set", (25,))]))
    stage.end()
    assert not stage.head.is_behind()
    space.close()


def test_without_snapshots_all_that_is_due_comes_at_once(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(stateful, "_SLICE", 256)
    stage = Stage(Everything(), FIXED)
    stage.feed(*[((key, [("event", "set", (5,))]), 1) for key in range(1000)])
    assert len(stage.advance(20)) == 2000
    assert not stage.head.is_behind()


class Fewer(DoFn):
    """Everything, later, without most of it."""

    BAG = BagStateSpec("bag", ANY)

    def process(self, element: Any, bag: Any = DoFn.StateParam(BAG)) -> None:
        pass


@pytest.mark.parametrize(
    ("action", "message"),
    [
        (
            ("sum", "add", (1,)),
            r"a snapshot holds state 'sum', which the DoFn does not have any more \(it has 'bag'\)",
        ),
        (("event", "set", (5,)), "a snapshot holds timer 'event'"),
    ],
)
def test_a_snapshot_of_another_dofn_is_refused(action: Any, message: str) -> None:
    stage, store = Stage(Everything(), FIXED), Store()
    stage.head.track_changes()
    stage.feed((("k", [action]), 1))
    store.take(stage.head)
    with pytest.raises(DataError, match=message):
        store.load_into(Stage(Fewer(), FIXED).head)
