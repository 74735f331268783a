"""Laws that hold between hints and values, whatever they are."""

from __future__ import annotations

import pickle
import typing

from hypothesis import given, settings
from hypothesis import strategies as st

from hornbeam.typehints import Any, Dict, FrozenSet, Iterable, List, Optional, Set, Tuple, TypeVariable, Union
from hornbeam.typehints.native_type_compatibility import convert_to_beam_type, convert_to_python_type
from hornbeam.typehints.trivial_inference import instance_to_type
from hornbeam.typehints.typehints import (
    bind_type_variables,
    check_constraint,
    is_consistent_with,
    match_type_variables,
    normalize,
)

T = TypeVariable("T")

atoms = st.sampled_from([int, str, float, bool, bytes, type(None)])
hints = st.recursive(
    atoms,
    lambda inner: st.one_of(
        inner.map(lambda a: List[a]),
        inner.map(lambda a: Optional[a]),
        inner.map(lambda a: Iterable[a]),
        inner.map(lambda a: Tuple[a, ...]),
        inner.map(lambda a: Set[a]),
        inner.map(lambda a: FrozenSet[a]),
        st.tuples(inner, inner).map(lambda pair: Dict[pair]),
        st.lists(inner, min_size=1, max_size=3).map(lambda members: Tuple[tuple(members)]),
        st.lists(inner, min_size=1, max_size=3).map(lambda members: Union[tuple(members)]),
    ),
    max_leaves=6,
)

scalars = st.one_of(st.none(), st.booleans(), st.integers(), st.floats(allow_nan=False), st.text(max_size=3))
values = st.recursive(
    scalars,
    lambda inner: st.one_of(
        st.lists(inner, max_size=3),
        st.lists(inner, max_size=3).map(tuple),
        st.dictionaries(scalars, inner, max_size=2),
        st.frozensets(scalars, max_size=3),
    ),
    max_leaves=8,
)


def _fits(hint: object, value: object) -> bool:
    try:
        check_constraint(hint, value)
    except TypeError:
        return False
    return True


def _says_any(hint: object) -> bool:
    return "Any" in repr(hint)


@settings(max_examples=100, deadline=None)
@given(values)
def test_a_value_fits_its_own_type(value: object) -> None:
    assert _fits(instance_to_type(value), value)


@settings(max_examples=200, deadline=None)
@given(values, hints)
def test_a_consistent_type_means_a_fitting_value(value: object, hint: object) -> None:
    kind = instance_to_type(value)
    if is_consistent_with(kind, hint) and not _says_any(kind):
        assert _fits(hint, value)


@settings(max_examples=100, deadline=None)
@given(hints)
def test_hints_are_values(hint: object) -> None:
    assert is_consistent_with(hint, hint)
    assert is_consistent_with(hint, Any) and is_consistent_with(Any, hint)
    assert is_consistent_with(hint, object)
    assert is_consistent_with(hint, Union[hint, bytes])
    assert normalize(normalize(hint)) == normalize(hint)
    twin = pickle.loads(pickle.dumps(hint))
    assert twin == hint and hash(twin) == hash(hint)


@settings(max_examples=100, deadline=None)
@given(hints)
def test_the_way_to_python_and_back(hint: object) -> None:
    python = convert_to_python_type(hint)
    assert normalize(convert_to_beam_type(python), none_as_type=True) == hint


@settings(max_examples=100, deadline=None)
@given(hints)
def test_a_bound_variable_is_what_it_matched(hint: typing.Any) -> None:
    for open_hint in (T, List[T], Tuple[str, T], Dict[str, T]):
        concrete = bind_type_variables(open_hint, {T: hint})
        assert match_type_variables(open_hint, concrete) == {T: hint}
