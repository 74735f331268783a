"""What foldings, and the sum of a state, give by whatever shorter way: what the functions themselves give, types too."""

from __future__ import annotations

import warnings
from collections.abc import Callable
from decimal import Decimal
from fractions import Fraction
from typing import Any

import numpy as np
from hypothesis import example, given, settings
from hypothesis import strategies as st

from hornbeam.runners.engine.combine_folding import (
    CombineFolding,
    CountFolding,
    SumFolding,
    folding_for,
    merging_for,
)
from hornbeam.runners.engine.folding import Cell, Folding, GatherFolding, add_coded
from hornbeam.runners.engine.join_folding import JoinFolding
from hornbeam.runners.engine.present import Present
from hornbeam.runners.engine.state_cells import CellFamily, SumCell
from hornbeam.transforms.combine import CallableWrapperCombineFn
from hornbeam.transforms.combiners import CountCombineFn, MeanCombineFn
from hornbeam.transforms.userstate import CombiningValueStateSpec

KEYS = st.sampled_from(["a", "b", None, 1, ("a", 1)])
_halves = st.integers(-(1 << 20), 1 << 20).map(lambda n: n / 2)  # exact, in whichever order they are added
NUMBERS = st.one_of(
    st.integers(-(1 << 70), 1 << 70),
    st.booleans(),
    _halves,
    st.sampled_from([float("inf"), -0.0]),
    st.integers(-9, 9).map(Decimal),
    st.fractions(-9, 9, max_denominator=4),
    st.builds(complex, _halves, _halves),
    st.builds(lambda kind, n: kind(n), st.sampled_from([np.int8, np.uint16, np.int64]), st.integers(0, 127)),
    st.sampled_from([np.int64((1 << 63) - 1), np.float32(0.5), np.float64(1.5), np.bool_(True)]),
    st.lists(st.integers(-9, 9), min_size=2, max_size=2).map(np.array),
    st.sampled_from(["a", None, [1]]),
)


def outcome(give: Callable[[], Any]) -> tuple[Any, ...]:
    """What is given, with its type, or the type of the error."""
    with warnings.catch_warnings(), np.errstate(all="ignore"):
        warnings.simplefilter("ignore")
        try:
            given_ = give()
        except Exception as error:
            return "raised", type(error)
    return type(given_), getattr(given_, "dtype", None), repr(given_)


def only(folding: Folding, *cells: Cell) -> Any:
    """The output for the one key that the cells have."""
    ((_, output),) = folding.result_items(list(cells))
    return output


def through_a_cell(folding: Folding, values: list[Any]) -> Any:
    cell = folding.new_cell()
    for value in values:
        folding.add(cell, [("k", value)])
    return only(folding, cell)


def through_spread(folding: Folding, values: list[Any]) -> Any:
    cell = folding.new_cell()
    folding.spread([cell] * len(values), [("k", value) for value in values])
    return only(folding, cell)


def as_bare_values(folding: Folding, values: list[Any]) -> Any:
    cell = folding.new_cell()
    folding.add_values(cell, values[:1])
    if len(values) > 1:
        folding.add_values(cell, values[1:])
    return only(folding, cell)


def pane_by_pane(folding: Folding, values: list[Any]) -> Any:
    accumulator = folding.begun()
    for value in values:
        accumulator = folding.extended(accumulator, [value])
    return folding.given(accumulator, keep=False)


def by_slices(folding: Folding, values: list[Any]) -> Any:
    return folding.fold_slices([*values, *values], [len(values)], [2 * len(values)])[0]


WAYS = [
    through_a_cell,
    through_spread,
    as_bare_values,
    pane_by_pane,
    by_slices,
    lambda folding, values: folding.fold(values),
    lambda folding, values: folding.given(folding.extended(folding.begun(), values), keep=True),
]


@settings(max_examples=150)
@given(st.lists(NUMBERS, min_size=1, max_size=5))
@example([np.int64((1 << 63) - 1), np.int64(1)])
@example([1, np.int8(100), np.int8(100)])
@example([Decimal("0.10"), Fraction(1, 2)])
def test_a_sum_is_what_sum_gives(values: list[Any]) -> None:
    expected = outcome(lambda: sum(values))
    folding = folding_for(CallableWrapperCombineFn(sum), (), {})
    assert type(folding) is SumFolding
    for way in WAYS:
        assert outcome(lambda: way(folding, values)) == expected  # noqa: B023 (called at once)
    cell = SumCell(CellFamily(CombiningValueStateSpec("s", sum), Present(), "Step"))

    def read_after_all() -> Any:
        for value in values:
            cell.add(value)
            cell.restore(cell.content())
        return cell.read()

    assert outcome(read_after_all) == expected


@settings(max_examples=100)
@given(st.lists(st.lists(NUMBERS, min_size=1, max_size=3), min_size=1, max_size=3))
def test_partial_sums_merge_to_what_sum_gives_of_them(parts: list[list[Any]]) -> None:
    expected = outcome(lambda: sum([sum(part) for part in parts]))
    folding = merging_for(CallableWrapperCombineFn(sum), (), {})

    def together() -> Any:
        cells = [folding.new_cell() for _ in parts]
        for cell, part in zip(cells, parts):
            folding.add(cell, [("k", value) for value in part])
        return only(folding, *cells)

    def absorbed() -> Any:
        total = folding.new_cell()
        for part in parts:
            cell = folding.new_cell()
            folding.add(cell, [("k", value) for value in part])
            folding.absorb(total, folding.packed(cell))
        return only(folding, total)

    for way in (together, absorbed, lambda: folding.merged([sum(part) for part in parts])):
        assert outcome(way) == expected


@given(st.lists(NUMBERS, min_size=1, max_size=5))
def test_a_count_looks_at_no_value(values: list[Any]) -> None:
    folding = folding_for(CountCombineFn(), (), {})
    assert type(folding) is CountFolding
    assert [way(folding, values) for way in WAYS] == [len(values)] * len(WAYS)
    assert merging_for(CountCombineFn(), (), {}).merged([len(values), 1]) == len(values) + 1


@given(st.lists(st.integers(-99, 99), min_size=1, max_size=9), st.integers(0, 9))
def test_any_combine_fn_gives_one_answer(values: list[int], at: int) -> None:
    fn = MeanCombineFn()
    expected = sum(values) / len(values)
    assert [way(CombineFolding(fn), values) for way in WAYS] == [expected] * len(WAYS)
    parts = [part for part in (values[:at], values[at:]) if part]
    partial = [fn.add_inputs(fn.create_accumulator(), part) for part in parts]
    merging = merging_for(fn, (), {})
    assert [merging.fold(list(partial)), through_a_cell(merging, partial)] == [expected] * 2


@given(
    st.sampled_from([GatherFolding, SumFolding, CountFolding, lambda: CombineFolding(MeanCombineFn())]),
    st.lists(st.tuples(st.integers(0, 2), KEYS, st.integers(0, 9)), max_size=99),
)
def test_pairs_come_to_the_cells_of_their_codes_however_many_there_are(kind: Any, rows: Any) -> None:
    """One cell is None: nothing has its code."""
    ways = []
    for add in (add_coded, _one_by_one):
        folding = kind()
        cells = [folding.new_cell(), None, folding.new_cell()]
        kept = [row for row in rows if row[0] != 1]
        codes = np.array([code for code, _, _ in kept], dtype=np.intp)
        add(folding, cells, codes, [(key, value) for _, key, value in kept])
        ways.append([dict(folding.result_items([cell])) for cell in cells if cell is not None])
    assert ways[0] == ways[1]


def _one_by_one(folding: Folding, cells: Any, codes: Any, pairs: Any) -> None:
    for code, pair in zip(codes.tolist(), pairs):
        folding.add(cells[code], [pair])


@given(st.lists(st.tuples(st.integers(0, 1), KEYS, st.integers(0, 9)), max_size=20), st.booleans())
def test_a_join_gives_the_same_with_tags_and_without(rows: Any, shared: bool) -> None:
    given_ = []
    for tags in (None, ["left", "right"]):
        folding = JoinFolding(2, tags)
        cell = folding.new_cell()
        for place, key, value in rows:
            folding.place = place
            folding.add(cell, [(key, value)])
        given_.append(dict(folding.result_items([cell], shared)))
    plain, tagged = given_
    assert {key: {"left": left, "right": right} for key, (left, right) in plain.items()} == tagged
