"""Which functions certainly give plain values, and that a generated loop of functions gives what the functions give."""

from __future__ import annotations

import contextlib
from typing import Any

import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

import hornbeam as beam
from hornbeam.pvalue import TaggedOutput
from hornbeam.runners.engine import build
from hornbeam.runners.engine.plain_results import gives_plain, gives_plain_items
from hornbeam.transforms.window import TimestampedValue
from hornbeam.utils.windowed_value import WindowedValue

SOMETHING = TaggedOutput("tag", 1)


@pytest.mark.parametrize(
    "function",
    [
        lambda x: x,
        lambda x: x + 1,
        lambda x: (x, 1),
        lambda x: [x],
        lambda x: f"{x}!",
        lambda x: -x,
        lambda x: x == 1,
        lambda x: {x: 1},
        lambda x: int(x),
        str,
        len,
        str.lower,
    ],
)
def test_functions_that_give_plain_values(function):
    assert gives_plain(function)


@pytest.mark.parametrize("function", [lambda x: [x, x], lambda x: (x,), lambda x: [], str.split])
def test_functions_that_give_plain_items(function):
    assert gives_plain_items(function)


def test_a_callable_that_cannot_be_hashed_is_called_like_any_other():
    class Adds:
        __hash__ = None

        def __call__(self, x):
            return [x + 1]

    assert not gives_plain(Adds())
    assert not gives_plain_items(Adds())


# Functions that give something marked, each in a way that a careless look would miss.


def marked_in_an_except_clause(x):
    try:
        return int(x)
    except ValueError:
        return TaggedOutput("bad", x)


def marked_in_a_finally_clause(x):
    try:
        return str(x)
    finally:
        x = None
        return SOMETHING  # noqa: B012, SIM107


def marked_in_a_with_block_that_swallows(x):
    with contextlib.suppress(ValueError):
        return int(x)
    return SOMETHING


def marked_behind_a_condition(x):
    if x:
        return x
    return TimestampedValue(x, 1)


def marked_through_a_name(x):
    y = TaggedOutput("a", x)
    return y


def marked_from_a_closure():
    value = SOMETHING
    return lambda x: value


def marked_in_a_conditional_expression(x):
    return x if x else SOMETHING


def marked_by_or(x):
    return x or SOMETHING


def marked_by_walrus(x):
    return (y := SOMETHING) and y


def marked_by_a_default(x, y=SOMETHING):
    return y


def marked_by_a_keyword_only_default(x, *, y=SOMETHING):
    return y


def marked_out_of_a_list(x):
    return [SOMETHING][0]


def marked_out_of_a_tuple(x):
    a, _b = SOMETHING, x
    return a


def marked_attribute(x):
    return x.marked


def marked_call(x):
    return WindowedValue(x, 0, ())


def marked_star_args(*x):
    return SOMETHING


def marked_in_a_loop(x):
    for y in (SOMETHING,):
        return y


def marked_in_a_match(x):
    match x:
        case 1:
            return 1
        case _:
            return SOMETHING


def marked_by_a_shadowed_builtin(x):
    int = lambda value: SOMETHING  # noqa: E731
    return int(x)


HIDING = [
    marked_in_an_except_clause,
    marked_in_a_finally_clause,
    marked_in_a_with_block_that_swallows,
    marked_behind_a_condition,
    marked_through_a_name,
    marked_from_a_closure(),
    marked_in_a_conditional_expression,
    marked_by_or,
    marked_by_walrus,
    marked_by_a_default,
    marked_by_a_keyword_only_default,
    marked_out_of_a_list,
    marked_out_of_a_tuple,
    marked_attribute,
    marked_call,
    marked_star_args,
    marked_in_a_loop,
    marked_in_a_match,
    marked_by_a_shadowed_builtin,
    lambda x: marked_call(x),
]


@pytest.mark.parametrize("function", HIDING, ids=lambda f: f.__name__)
def test_functions_that_may_give_something_marked_are_not_known_as_plain(function):
    assert not gives_plain(function)
    assert not gives_plain_items(function)


def append_marked(x):
    found = [x]
    found.append(TaggedOutput("bad", x))
    return found


def set_marked(x):
    found = [x]
    found[0] = SOMETHING
    return found


@pytest.mark.parametrize(
    "function",
    [
        append_marked,
        set_marked,
        lambda x: [SOMETHING],
        lambda x: (x, TaggedOutput("a", x)),
        lambda x: [*x, SOMETHING],
        lambda x: [y for y in (SOMETHING,)],  # noqa: C416
        lambda x: x,
        lambda x: [x] + [SOMETHING],
        lambda x: x.split(),
    ],
)
def test_lists_that_may_hold_something_marked_are_not_known_as_plain(function):
    assert not gives_plain_items(function)


# A run of functions in one loop, against the same functions one by one


def maybe_marked(x: int) -> Any:
    if x % 5 == 0:
        return TimestampedValue(x, x % 7)
    return TaggedOutput("out of sight", x) if x % 11 == 3 else x


def generate(x: int) -> Any:
    yield x
    if x % 2:
        yield x + 100


def sometimes_none(x: int) -> Any:
    return None if x % 3 == 0 else [x, -x]


def marked_in_a_list(x: int) -> Any:
    return [maybe_marked(x), x + 1]


STEPS: dict[str, Any] = {
    "add": lambda: beam.Map(lambda x: x + 1),
    "negate": lambda: beam.Map(lambda x: -x),
    "keep even": lambda: beam.Filter(lambda x: x % 2 == 0),
    "keep few": lambda: beam.Filter(lambda x: x % 4 == 1),
    "twice": lambda: beam.FlatMap(lambda x: [x, x]),
    "generate": lambda: beam.FlatMap(generate),
    "none": lambda: beam.FlatMap(sometimes_none),
    "mark": lambda: beam.Map(maybe_marked),
    "mark in lists": lambda: beam.FlatMap(marked_in_a_list),
    "of parts": lambda: beam.Map(lambda x: (x, 1)) | beam.MapTuple(lambda x, n: x + n),
    "iterator": lambda: beam.FlatMap(lambda x: iter((x, x))),
}
_seen: list[Any] = []


def see(x: Any, t: Any = beam.DoFn.TimestampParam, w: Any = beam.DoFn.WindowParam) -> None:
    _seen.append((x, t.micros, str(w)))


def outcome(names: list[str], elements: list[int], windowed: bool) -> list[Any]:
    _seen.clear()
    with beam.Pipeline() as p:
        stream = p | beam.Create(elements)
        if windowed:
            stream = stream | "times" >> beam.Map(lambda x: TimestampedValue(x, x))
            stream = stream | beam.WindowInto(beam.window.FixedWindows(5))
        for i, name in enumerate(names):
            stream |= f"{i} {name}" >> STEPS[name]()
        stream | "see" >> beam.Map(see)
    return sorted(_seen, key=repr)


@given(
    st.lists(st.sampled_from(sorted(STEPS)), min_size=2, max_size=6),
    st.lists(st.integers(-20, 20), max_size=40),
    st.booleans(),
)
@settings(max_examples=60, deadline=None)
def test_functions_in_one_loop_give_what_they_give_one_by_one(names, elements, windowed):
    fused = outcome(names, elements, windowed)
    with pytest.MonkeyPatch.context() as patch:
        patch.setattr(build, "can_fuse", lambda operator: False)
        apart = outcome(names, elements, windowed)
    assert fused == apart
