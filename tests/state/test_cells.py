"""Each kind of cell, operation by operation, through a DoFn that does what its elements say."""

from __future__ import annotations

from collections.abc import Callable
from fractions import Fraction
from typing import Any

import numpy as np
import pytest
from state.stage import GLOBAL, Stage, at

from hornbeam.coders.coders import (
    BytesCoder,
    FastPrimitivesCoder,
    FloatCoder,
    PickleCoder,
    StrUtf8Coder,
    VarIntCoder,
)
from hornbeam.runners.engine.present import Present
from hornbeam.runners.engine.state_cells import CellFamily, SumCell
from hornbeam.transforms.combiners import MeanCombineFn
from hornbeam.transforms.dofn import DoFn
from hornbeam.transforms.userstate import (
    BagStateSpec,
    CombiningValueStateSpec,
    MapStateSpec,
    MultiMapStateSpec,
    OrderedListStateSpec,
    ReadModifyWriteStateSpec,
    SetStateSpec,
    StateSpec,
)

ANY = FastPrimitivesCoder()


def worker(spec: StateSpec) -> DoFn:
    """A DoFn whose elements are (key, what to do with the cell)."""

    class Work(DoFn):
        """Gives what the action gives, if anything."""

        def process(self, element: Any, cell: Any = DoFn.StateParam(spec)) -> Any:
            result = element[1](cell)
            if result is not None:
                yield result

    return Work()


def run(spec: StateSpec, *actions: Callable[[Any], Any]) -> list[Any]:
    """What the actions give on one key's cell, each by itself, and all at once on another key's."""
    apart, together = Stage(worker(spec), GLOBAL), Stage(worker(spec), GLOBAL)
    rows = [row for action in actions for row in apart.feed(("k", action))]
    assert together.feed(*[("k", action) for action in actions]) == rows
    return apart.values(rows)


def read(cell: Any) -> Any:
    found = cell.read()
    return found if isinstance(found, (int, float, str, type(None))) else list(found)


def added(*values: Any) -> Callable[[Any], Any]:
    def add(cell: Any) -> None:
        for value in values:
            cell.add(value)

    return add


def clear(cell: Any) -> None:
    cell.clear()


VALUE = ReadModifyWriteStateSpec("cell", ANY)
BAG = BagStateSpec("cell", ANY)
SET = SetStateSpec("cell", ANY)
MEAN = CombiningValueStateSpec("cell", MeanCombineFn())
TOTAL = CombiningValueStateSpec("cell", sum)
LIST = OrderedListStateSpec("cell", ANY)
MAP = MapStateSpec("cell", StrUtf8Coder(), ANY)
MULTI = MultiMapStateSpec("cell", StrUtf8Coder(), ANY)

CASES: dict[str, tuple[StateSpec, list[Callable[[Any], Any]], list[Any]]] = {
    "a value that was never written is None": (VALUE, [lambda c: [c.read()]], [[None]]),
    "a value is the last one written": (VALUE, [lambda c: c.write(1), lambda c: c.write(2), read], [2]),
    "a cleared value is None": (VALUE, [lambda c: c.write(1), clear, lambda c: [c.read()]], [[None]]),
    "a bag keeps duplicates": (BAG, [added(1, 1, 2), read], [[1, 1, 2]]),
    "an empty bag": (BAG, [read], [[]]),
    "a cleared bag": (BAG, [added(1), clear, read, added(2), read], [[], [2]]),
    "a set keeps each once": (SET, [added("a", "b", "a"), read], [["a", "b"]]),
    "a set tells 1, 1.0 and True apart": (SET, [added(1, 1.0, True, 1, True), read], [[1, 1.0, True]]),
    "a set of tuples with floats": (SET, [added((1, 2.0), (1, 2.0), (1, 2)), read], [[(1, 2.0), (1, 2)]]),
    "a cleared set": (SET, [added("a"), clear, read, added("a"), read], [[], ["a"]]),
    "a set says what is in it": (SET, [added("a"), lambda c: "a" in c.read(), lambda c: "b" in c.read()], [True, False]),
    "a combined value": (MEAN, [added(1, 2, 3), read], [2.0]),
    "a combined value of nothing": (TOTAL, [read], [0]),
    "a combined value goes on after it was read": (TOTAL, [added(1), read, added(2), read], [1, 3]),
    "a combined value of many": (TOTAL, [added(*range(100)), read], [4950]),
    "a sum is of what `sum` takes": (TOTAL, [added(1, 2.5, Fraction(1, 2)), read], [4.0]),
    "a sum that was read does not change with what was read": (
        TOTAL,
        [added(np.array([1, 2])), lambda c: c.read().fill(9), lambda c: c.read().tolist()],
        [[1, 2]],
    ),
    "a cleared combined value": (TOTAL, [added(1), clear, read], [0]),
    "a list is in the order of its timestamps": (
        LIST,
        [added((3, "c"), (1, "a"), (2, "b")), read],
        [[(at(1), "a"), (at(2), "b"), (at(3), "c")]],
    ),
    "a list keeps what is at one time in the order of adding": (
        LIST,
        [added((1, "x"), (2, "y"), (1, "a")), read],
        [[(at(1), "x"), (at(1), "a"), (at(2), "y")]],
    ),
    "a range of a list has its start and not its end": (
        LIST,
        [added((1, "a"), (2, "b"), (3, "c")), lambda c: list(c.read_range(1, 3))],
        [[(at(1), "a"), (at(2), "b")]],
    ),
    "a range of a list is cleared": (
        LIST,
        [added((1, "a"), (2, "b"), (3, "c")), lambda c: c.clear_range(at(2), 3), read],
        [[(at(1), "a"), (at(3), "c")]],
    ),
    "an empty range": (LIST, [added((1, "a")), lambda c: list(c.read_range(5, 3))], [[]]),
    "a range that ends before it starts clears nothing": (
        LIST,
        [added((1, "a"), (4, "d")), lambda c: c.clear_range(5, 1), read],
        [[(at(1), "a"), (at(4), "d")]],
    ),
    "a map": (
        MAP,
        [lambda c: c.put("a", 1), lambda c: c.put("a", 2), lambda c: [c.get("a"), c.get("b"), c.get("b", 0)]],
        [[2, None, 0]],
    ),
    "a map's keys and items": (
        MAP,
        [lambda c: c.put("a", 1), lambda c: c.put("b", 2), lambda c: [list(c.keys()), list(c.items())]],
        [[["a", "b"], [("a", 1), ("b", 2)]]],
    ),
    "a key is removed from a map": (
        MAP,
        [lambda c: c.put("a", 1), lambda c: c.remove("a"), lambda c: c.remove("z"), lambda c: [c.contains("a")]],
        [[False]],
    ),
    "a multimap": (
        MULTI,
        [
            lambda c: c.add("a", 1),
            lambda c: c.add("a", 1),
            lambda c: c.add("b", 2),
            lambda c: [list(c.get("a")), list(c.get("z")), list(c.keys()), list(c.items())],
        ],
        [[[1, 1], [], ["a", "b"], [("a", 1), ("a", 1), ("b", 2)]]],
    ),
    "a key is removed from a multimap": (
        MULTI,
        [lambda c: c.add("a", 1), lambda c: c.remove("a"), lambda c: c.remove("z"), lambda c: [list(c.items())]],
        [[[]]],
    ),
}  # fmt: skip


@pytest.mark.parametrize("name", CASES)
def test_cell(name: str) -> None:
    spec, actions, expected = CASES[name]
    found = run(spec, *actions)
    assert found == expected
    assert repr(found) == repr(expected)  # 1, 1.0 and True


def test_a_read_does_not_see_what_is_added_while_it_is_looked_at() -> None:
    def doubling(cell: Any) -> list[Any]:
        found = cell.read()
        for value in found:
            cell.add((value, "again"))
        return [len(found), list(found), len(cell.read())]

    for spec in (BAG, SET):
        assert run(spec, added(1, 2), doubling) == [[2, [1, 2], 4]]


def test_a_read_outlives_a_clear() -> None:
    def flush(cell: Any) -> Any:
        found = cell.read()
        cell.clear()
        cell.add("new")
        return list(found)

    for spec in (BAG, SET):
        assert run(spec, added(1, 2), flush, read) == [[1, 2], ["new"]]


def test_a_map_may_change_while_it_is_looked_at() -> None:
    def empty(cell: Any) -> None:
        for key in cell.keys():  # noqa: SIM118 (a cell is no dict)
            cell.remove(key)
            cell.put(key + "'", 0)

    assert run(MAP, lambda c: c.put("a", 1), empty, lambda c: list(c.keys())) == [["a'"]]


@pytest.mark.parametrize(
    ("coder", "values", "kept"),
    [
        (VarIntCoder(), [1, True, 2], [1, 2]),
        (FloatCoder(), [1, 1.0, 2.0], [1, 2.0]),
        (BytesCoder(), [b"a", b"a"], [b"a"]),
        (PickleCoder(), [1, 1.0, True, 1], [1, 1.0, True]),
        (ANY, [(1, "a"), (1, "a"), (1, b"a"), None], [(1, "a"), (1, b"a"), None]),
    ],
)  # fmt: skip
def test_what_is_equal_in_a_set_is_what_its_coder_makes_equal(coder: Any, values: Any, kept: Any) -> None:
    assert repr(run(SetStateSpec("cell", coder), added(*values), read)) == repr([kept])
    spec = MapStateSpec("cell", coder, ANY)

    def put(cell: Any) -> Any:
        for value in values:
            cell.put(value, value)
        return len(list(cell.keys()))

    assert run(spec, put) == [len(kept)]


def test_an_ordered_list_says_what_it_wants() -> None:
    with pytest.raises(
        TypeError, match=r"'cell' is an ordered list: add takes a pair \(timestamp, value\); it got 5"
    ):
        run(LIST, added(5))


def test_each_key_has_its_own_and_equal_means_equally_encoded() -> None:
    class Count(DoFn):
        N = ReadModifyWriteStateSpec("n", ANY)

        def process(self, element: Any, n: Any = DoFn.StateParam(N)) -> Any:
            n.write((n.read() or 0) + 1)
            yield element[0], n.read()

    stage = Stage(Count())
    keys = [1, 1.0, True, "1", b"1", None, (1, 1.0), (1, 1), 1.0, True, (1, 1.0)]
    counts = [n for (_, n), _, _ in stage.feed(*[((key, 0), 0) for key in keys])]
    assert counts == [1, 1, 1, 1, 1, 1, 1, 1, 2, 2, 2]
    assert stage.head.entries() == 8


def test_each_window_has_its_own() -> None:
    from hornbeam.transforms.window import SlidingWindows

    class Gather(DoFn):
        B = BagStateSpec("b", ANY)

        def process(self, element: Any, b: Any = DoFn.StateParam(B), window: Any = DoFn.WindowParam) -> Any:
            b.add(element[1])
            yield list(b.read())

    rows = Stage(Gather(), SlidingWindows(10, 5)).feed((("k", 1), 7), (("k", 2), 12))
    assert rows == [([1], 7, 5), ([1], 7, 0), ([2], 12, 10), ([1, 2], 12, 5)]


def test_a_generator_sees_what_the_calls_before_it_left() -> None:
    class Eager(DoFn):
        """Looks at the state when it is called, and changes it only when its outputs are asked for."""

        N = ReadModifyWriteStateSpec("n", ANY)

        def process(self, element: Any, n: Any = DoFn.StateParam(N)) -> Any:
            before = n.read() or 0

            def late() -> Any:
                n.write(before + 1)
                yield n.read()

            return late()

    for elements in ([("k", 0)] * 5, [(("k", 0), t) for t in range(5)]):
        assert [value for value, _, _ in Stage(Eager()).feed(*elements)] == [1, 2, 3, 4, 5]


@pytest.mark.parametrize("given", [[("k", 1), "ab"], [("k", 1, 2)], [["k"]], [7], ["ab"]])
def test_elements_must_be_pairs(given: Any) -> None:
    stage = Stage(worker(VALUE))
    from hornbeam.runners.engine.bundle import Bundle

    with pytest.raises(TypeError, match=r"'Step' has state or timers.*needs \(key, value\) pairs; it got"):
        stage.head.process(Bundle(given))


def test_many_outputs_of_one_element_come_in_parts() -> None:
    class Many(DoFn):
        N = ReadModifyWriteStateSpec("n", ANY)

        def process(self, element: Any, n: Any = DoFn.StateParam(N)) -> Any:
            for i in range(element[1]):
                n.write(i)
                yield element[0], n.read()

    stage = Stage(Many())
    stage.head.process(stage.bundle((("a", 5000), 1), (("b", 3), 2)))
    assert [len(bundle) for bundle in stage.bundles] == [1024] * 4 + [907]
    rows = stage.taken()
    assert [stamp for (key, _), stamp, _ in rows] == [1] * 5000 + [2] * 3
    assert [n for (_, n), _, _ in rows] == [*range(5000), 0, 1, 2]


@pytest.mark.parametrize("values", [[], [1], [1, 2.5, -3], [Fraction(1, 3)] * 12])
def test_a_sum_has_the_accumulator_of_its_combine_fn_in_snapshots(values: list[Any]) -> None:
    cell = CellFamily(TOTAL, Present(), "step").new(None, None)
    assert type(cell) is SumCell
    for value in values:
        cell.add(value)
    fn = TOTAL.combine_fn
    if values:
        assert cell.content() == fn.compact(fn.add_inputs(fn.create_accumulator(), values))
    again = CellFamily(TOTAL, Present(), "step").new(None, None)
    for several in (values, [sum(values)]):  # accumulators may hold some values
        again.restore(several)
        assert again.read() == sum(values)
    with pytest.raises(TypeError):
        cell.add("text")
    assert cell.read() == sum(values)
