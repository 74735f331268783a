"""Hints of functions and transforms: decorators, methods, annotations, and what is made of them."""

from __future__ import annotations

import functools
import subprocess
import sys
import typing

import pytest

from hornbeam.pvalue import PBegin, PCollection, PDone, TaggedOutput
from hornbeam.typehints import (
    KV,
    Any,
    Dict,
    Iterable,
    List,
    Optional,
    Tuple,
    TypeVariable,
    Union,
    WithTypeHints,
    no_annotations,
    with_input_types,
    with_output_types,
)
from hornbeam.typehints.decorators import IOTypeHints, get_signature, get_type_hints, getcallargs_forhints
from hornbeam.typehints.tagged_output import TaggedOutputHint
from hornbeam.typehints.typehints import normalize

if typing.TYPE_CHECKING:
    from elsewhere import Unknown


def _annotated(x: int, y: str = "", *rest: float, flag: bool = False, **more: int) -> list[str]:
    return []


class Callable_:
    def __call__(self, x: int) -> str:
        return str(x)

    def method(self, x: int) -> str:
        return str(x)


class Thing:
    def __init__(self, x: int) -> None:
        self.x = x


def test_annotations_of_a_function() -> None:
    hints = get_type_hints(_annotated)
    assert hints.input_types == ((int, str, float), {"flag": bool})
    assert hints.output_types == ((List[str],), {})


@pytest.mark.parametrize(
    ("fn", "inputs", "output"),
    [
        (Callable_(), (int,), str),
        (Callable_().method, (int,), str),
        (Thing, (int,), Thing),
        (functools.partial(_annotated, 1), (str, float), List[str]),
    ],
)
def test_annotations_of_other_callables(fn: typing.Any, inputs: tuple, output: object) -> None:
    hints = get_type_hints(fn)
    assert hints.input_types is not None and hints.output_types is not None
    assert hints.input_types[0] == inputs
    assert hints.output_types[0] == (output,)


@pytest.mark.parametrize("fn", [lambda x: x, len, str.upper, max, functools.partial(max, 1), print])
def test_callables_that_say_nothing(fn: typing.Any) -> None:
    assert get_type_hints(fn) == IOTypeHints.empty()
    assert not get_type_hints(fn)


def test_builtin_classes_return_themselves() -> None:
    for cls in (str, int, float, dict):
        assert get_type_hints(cls).output_types == ((normalize(cls),), {})


def test_names_that_cannot_be_resolved_are_any() -> None:
    def fn(x: Unknown, y: int) -> Unknown:
        return x

    assert get_type_hints(fn).input_types == ((Any, int), {})
    assert get_type_hints(fn).output_types == ((Any,), {})


def test_names_of_the_enclosing_function_are_found() -> None:
    class Local:
        pass

    def fn(x: int) -> Local:
        return Local()

    assert get_type_hints(fn).output_types == ((Local,), {})


def test_none_as_annotation() -> None:
    def fn(x: None) -> None: ...

    assert get_type_hints(fn).input_types == ((type(None),), {})
    assert get_type_hints(fn).output_types == ((type(None),), {})


def test_no_annotations() -> None:
    @no_annotations
    def fn(x: int) -> str:
        return ""

    assert get_type_hints(fn) == IOTypeHints.empty()


def test_disable_type_annotations_holds_for_the_process() -> None:
    program = (
        "from hornbeam.typehints import disable_type_annotations, with_output_types\n"
        "from hornbeam.typehints.decorators import get_type_hints\n"
        "def f(x: int) -> str: ...\n"
        "assert get_type_hints(f)\n"
        "disable_type_annotations()\n"
        "assert not get_type_hints(f)\n"
        "assert get_type_hints(with_output_types(int)(f))\n"
    )
    subprocess.run([sys.executable, "-c", program], check=True, timeout=180)


def test_decorators_on_functions_win_over_annotations() -> None:
    @with_input_types(float, y=str)
    @with_output_types(KV[str, int])
    def fn(x: int, y: int = 0) -> bytes:
        return b""

    hints = get_type_hints(fn)
    assert hints.input_types == ((float,), {"y": str})
    assert hints.output_types == ((Tuple[str, int],), {})
    assert fn(1) == b""


def test_decorators_take_pythons_hints() -> None:
    @with_input_types(list[int])
    @with_output_types(dict[str, int] | None)
    def fn(x): ...

    assert get_type_hints(fn).input_types == ((List[int],), {})
    assert repr(get_type_hints(fn)) == "IOTypeHints(inputs=(List[int]), outputs=(Optional[Dict[str, int]]))"


@pytest.mark.parametrize(
    ("decorate", "error", "message"),
    [
        (lambda f: with_output_types(int, str)(f), ValueError, r"Tuple\[A, B\] for a pair"),
        (lambda f: with_output_types()(f), ValueError, "takes one type"),
        (lambda f: with_output_types(5)(f), TypeError, "found 5, an instance of int"),
        (lambda f: with_input_types([int])(f), TypeError, r"list\[int\]"),
        (lambda f: with_input_types(int, int)(f), TypeError, "gives 2 types, but .* takes 1"),
        (lambda f: with_input_types(int, z=int)(f), TypeError, "names 'z', but .* it has x"),
    ],
)
def test_mistakes_in_decorators(decorate: typing.Any, error: type, message: str) -> None:
    def fn(x): ...

    with pytest.raises(error, match=message):
        decorate(fn)


@with_input_types(int)
@with_output_types(str)
class Base(WithTypeHints):
    pass


class Derived(Base):
    pass


@with_output_types(bytes)
class Overriding(Base):
    pass


class WithDefaults(WithTypeHints):
    def default_type_hints(self) -> IOTypeHints:
        return IOTypeHints.empty().with_input_types(int).with_output_types(int, tag=str)


def _types(thing: WithTypeHints) -> tuple:
    hints = thing.get_type_hints()
    return (
        hints.input_types[0] if hints.input_types else None,
        hints.output_types[0] if hints.output_types else None,
    )


def test_class_decorators_are_inherited_and_overridden() -> None:
    assert _types(Base()) == _types(Derived()) == ((int,), (str,))
    assert _types(Overriding())[1] == (bytes,)
    assert _types(WithTypeHints()) == (None, None)


def test_methods_declare_on_one_object() -> None:
    thing = Derived()
    assert thing.with_output_types(float) is thing
    assert _types(thing) == ((int,), (float,))
    assert _types(Derived()) == ((int,), (str,))


def test_own_then_class_then_default_hints() -> None:
    assert _types(WithDefaults()) == ((int,), (int,))
    assert _types(WithDefaults().with_input_types(str)) == ((str,), (int,))
    assert WithDefaults().get_type_hints().tagged_output_types() == {"tag": str}

    @with_output_types(bytes)
    class Decorated(WithDefaults):
        pass

    assert _types(Decorated()) == ((int,), (bytes,))
    assert get_type_hints(Decorated).output_types == ((bytes,), {})
    assert get_type_hints(Decorated()) == Decorated().get_type_hints()


def test_keyword_hints_are_side_inputs_and_tags() -> None:
    thing = WithTypeHints().with_input_types(int, str, scale=float).with_output_types(int, errors=str)
    hints = thing.get_type_hints()
    assert hints.input_types == ((int, str), {"scale": float})
    assert hints.simple_output_type("Step") is int
    assert hints.tagged_output_types() == {"errors": str}


def test_simple_output_type() -> None:
    assert IOTypeHints.empty().simple_output_type("Step") is None
    with pytest.raises(TypeError, match="'Step' needs one output type; found 2"):
        IOTypeHints.empty().with_output_types(int, str).simple_output_type("Step")


@pytest.mark.parametrize(
    ("returned", "element"),
    [
        (Iterable[int], int),
        (typing.Iterator[int], int),
        (typing.Generator[int, None, None], int),
        (List[Tuple[str, int]], Tuple[str, int]),
        (list[int] | None, int),
        (Optional[Iterable[int]], int),
        (Union[List[int], Tuple[str, ...]], Union[int, str]),
        (list, Any),
        (Any, Any),
        (TypeVariable("T"), Any),
        (type(None), Any),
    ],
)
def test_strip_iterable(returned: object, element: object) -> None:
    hints = IOTypeHints.empty().with_output_types(
        *WithTypeHints().with_output_types(returned).get_type_hints().output_types[0]
    )
    assert hints.strip_iterable().output_types == ((element,), {})


@pytest.mark.parametrize("returned", [int, str, bytes, Optional[str], Optional[int]])
def test_what_is_no_iterable_of_elements_is_refused(returned: object) -> None:
    with pytest.raises(ValueError, match=r"is not (an )?iterable"):
        IOTypeHints.empty().with_output_types(returned).strip_iterable()


def test_strip_iterable_without_outputs_changes_nothing() -> None:
    assert IOTypeHints.empty().strip_iterable() == IOTypeHints.empty()


def test_tagged_outputs_in_annotations() -> None:
    def process(x: int) -> typing.Iterable[int | TaggedOutput[str]]:
        return [x]

    def only_tagged(x: int) -> TaggedOutput:  # type: ignore[type-arg]
        return TaggedOutput("a", x)

    assert get_type_hints(process).strip_iterable().output_types == ((int,), {})
    assert get_type_hints(only_tagged).extract_tagged_outputs().simple_output_type("Step") == Any


def test_tags_that_are_literals_give_tagged_hints() -> None:
    errors, both = TaggedOutputHint(("errors",), str), TaggedOutputHint(("errors", "late"), bytes)
    hints = IOTypeHints.empty().with_output_types(Iterable[Union[int, errors, both]]).strip_iterable()
    assert hints.output_types == ((int,), {"errors": Union[str, bytes], "late": bytes})
    mapped = IOTypeHints.empty().with_output_types(Union[int, errors]).extract_tagged_outputs()
    assert mapped.output_types == ((int,), {"errors": str})


def test_annotations_of_expand_are_about_elements() -> None:
    def expand(pcoll: PCollection[int]) -> PCollection[typing.Tuple[str, int]]: ...  # noqa: UP006

    def source(begin: PBegin) -> PCollection: ...  # type: ignore[type-arg]

    def sink(pcoll: PCollection[str]) -> PDone: ...

    assert get_type_hints(expand).strip_pcoll() == IOTypeHints(((int,), {}), ((Tuple[str, int],), {}))
    assert get_type_hints(source).strip_pcoll() == IOTypeHints.empty()
    assert get_type_hints(sink).strip_pcoll() == IOTypeHints(((str,), {}), None)


def test_replace_and_defaults() -> None:
    hints = IOTypeHints.empty().with_input_types(int)
    assert hints._replace(input_types=None) == IOTypeHints.empty()
    filled = hints.with_defaults(IOTypeHints.empty().with_input_types(str).with_output_types(str))
    assert (filled.input_types, filled.output_types) == (((int,), {}), ((str,), {}))
    assert hints.with_defaults(None) is hints
    assert "with_input_types" in hints.debug_str()


def test_getcallargs_forhints() -> None:
    assert getcallargs_forhints(_annotated, int, str, float) == {
        "x": int,
        "y": str,
        "rest": Tuple[float, ...],
        "flag": bool,
        "more": Dict[str, Any],
    }
    with pytest.raises(TypeError, match=r"too many|unexpected"):
        getcallargs_forhints(lambda x: x, int, int)


def test_signatures() -> None:
    assert get_signature(Thing).return_annotation is Thing
    assert list(get_signature(max).parameters) == ["args", "kwargs"]

    def outer(x: "int") -> "list[str]":  # noqa: UP037
        return []

    @functools.wraps(outer)
    def wrapper(*args: object) -> object:
        return outer(*args)  # type: ignore[arg-type]

    assert get_signature(wrapper).return_annotation == list[str]
