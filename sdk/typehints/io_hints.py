"""IOTypeHints: the declared types of what a function or transform takes and gives."""

from __future__ import annotations

import inspect
from collections.abc import Callable, Mapping
from typing import Any as AnyObject

import attrs

from hornbeam.typehints.constraint import Any, AnyTypeConstraint, Hint, TypeVariable, hint_name
from hornbeam.typehints.native_type_compatibility import convert_to_beam_type
from hornbeam.typehints.pcoll_hints import inner_of_pcollection
from hornbeam.typehints.rules import yielded_type
from hornbeam.typehints.signatures import get_signature
from hornbeam.typehints.tagged_output import split_tagged_output
from hornbeam.typehints.unions import UnionConstraint, make_union

__all__ = ["IOTypeHints", "Side"]

#: Hints by position and by name: of a function's parameters, or of a transform's outputs (names are tags).
Side = tuple[tuple[Hint, ...], Mapping[str, Hint]]

_switch = {"annotations": True}


def disable_type_annotations() -> None:
    """From now on annotations are no type hints, in this whole process; declared hints still are."""
    _switch["annotations"] = False


@attrs.frozen
class IOTypeHints:
    """Input and output hints; None for a side of which nothing is said."""

    input_types: Side | None = None
    output_types: Side | None = None
    origin: tuple[str, ...] = attrs.field(default=(), eq=False, repr=False)

    @classmethod
    def empty(cls) -> IOTypeHints:
        """Nothing is said."""
        return _EMPTY

    @classmethod
    def from_callable(cls, fn: Callable[..., AnyObject]) -> IOTypeHints | None:
        """The hints that a callable's annotations give; None when it has none (or they are turned off).

        Parameters without annotation are Any; `*args: T` stands for one T, `**kwargs` says nothing. A class is a
        callable that returns itself.
        """
        if not _switch["annotations"] or getattr(fn, "_beam_no_annotations", False):
            return None
        signature = get_signature(fn)
        parameters = signature.parameters.values()
        empty = inspect.Parameter.empty
        if signature.return_annotation is empty and all(each.annotation is empty for each in parameters):
            return None
        positional: list[Hint] = []
        named: dict[str, Hint] = {}
        for each in parameters:
            hint = Any if each.annotation is empty else convert_annotation(each.annotation)
            if each.kind is each.KEYWORD_ONLY:
                named[each.name] = hint
            elif each.kind is not each.VAR_KEYWORD:
                positional.append(hint)
        returned = signature.return_annotation
        output = Any if returned is empty else convert_annotation(returned)
        name = getattr(fn, "__qualname__", None) or repr(fn)
        return cls((tuple(positional), named), ((output,), {}), (f"annotations of {name}",))

    def _replace(self, **changes: AnyObject) -> IOTypeHints:
        """The same with other fields, by the name that named tuples use."""
        return attrs.evolve(self, **changes)

    def with_input_types(self, *args: Hint, **kwargs: Hint) -> IOTypeHints:
        """The same with these inputs."""
        return attrs.evolve(self, input_types=(args, kwargs), origin=(*self.origin, "with_input_types"))

    def with_output_types(self, *args: Hint, **kwargs: Hint) -> IOTypeHints:
        """The same with these outputs."""
        return attrs.evolve(self, output_types=(args, kwargs), origin=(*self.origin, "with_output_types"))

    def with_input_types_from(self, other: IOTypeHints) -> IOTypeHints:
        """The same with the inputs of other hints."""
        return attrs.evolve(self, input_types=other.input_types, origin=(*self.origin, *other.origin))

    def with_output_types_from(self, other: IOTypeHints) -> IOTypeHints:
        """The same with the outputs of other hints."""
        return attrs.evolve(self, output_types=other.output_types, origin=(*self.origin, *other.origin))

    def with_defaults(self, hints: IOTypeHints | None) -> IOTypeHints:
        """The same, and what `hints` says where this says nothing."""
        if not hints:
            return self
        if not self:
            return hints
        input_types = self.input_types if _says_something(self.input_types) else hints.input_types
        output_types = self.output_types if _says_something(self.output_types) else hints.output_types
        return IOTypeHints(input_types, output_types, (*self.origin, *hints.origin))

    def has_simple_output_type(self) -> bool:
        """Whether there is just one hint for the main output; there may be others for tagged outputs."""
        return self.output_types is not None and len(self.output_types[0]) == 1

    def simple_output_type(self, label: str) -> Hint:
        """The hint of the main output, None without one. TypeError, naming the step, for several."""
        if not _says_something(self.output_types):
            return None
        positional, _ = self.output_types or ((), {})
        if len(positional) != 1:
            raise TypeError(
                f"{label!r} needs one output type; found {len(positional)}: {_show(self.output_types)}."
            )
        return positional[0]

    def tagged_output_types(self) -> dict[str, Hint]:
        """The hints of tagged outputs."""
        return dict(self.output_types[1]) if self.output_types else {}

    def strip_iterable(self) -> IOTypeHints:
        """From what a process method (or a FlatMap's function) returns to the hint of its elements.

        Iterable[T], Iterator[T], Generator[T], List[T], Optional of these become T. `TaggedOutput['tag', T]`
        inside becomes a tagged output hint. Raises ValueError for what cannot be iterated over.
        """
        if not self.has_simple_output_type() or self.output_types is None:
            return self
        (output,), tagged = self.output_types
        if output is None:
            return self
        if output is type(None):
            return self._with_outputs(Any, tagged)
        if isinstance(output, UnionConstraint):
            output = make_union(member for member in output.args if member is not type(None))
        if isinstance(output, TypeVariable):
            return self._with_outputs(Any, tagged)
        if output is str or output is bytes:
            raise ValueError(
                f"{hint_name(output)} is not an iterable of elements; return a list: [{output.__name__}(...)]"
            )
        main, found = split_tagged_output(yielded_type(output))
        return self._with_outputs(main, {**found, **tagged})

    def extract_tagged_outputs(self) -> IOTypeHints:
        """For a Map's function: `TaggedOutput['tag', T]` in its result becomes a tagged output hint."""
        if not self.has_simple_output_type() or self.output_types is None:
            return self
        (output,), tagged = self.output_types
        main, found = split_tagged_output(output)
        return self if main is output else self._with_outputs(main, {**found, **tagged})

    def strip_pcoll(self) -> IOTypeHints:
        """From the annotations of `expand` to hints of elements: `PCollection[T]` becomes T.

        A PBegin as input and a PDone or None as output say nothing about elements.
        """
        return IOTypeHints(_strip_side(self.input_types), _strip_side(self.output_types), self.origin)

    def debug_str(self) -> str:
        """Both sides, and where they come from, for a message."""
        return f"{self!r} from {', '.join(self.origin) or 'nowhere'}"

    def __bool__(self) -> bool:
        return self.input_types is not None or self.output_types is not None

    def __repr__(self) -> str:
        return f"IOTypeHints(inputs={_show(self.input_types)}, outputs={_show(self.output_types)})"

    def _with_outputs(self, main: Hint, tagged: Mapping[str, Hint]) -> IOTypeHints:
        return attrs.evolve(self, output_types=((main,), dict(tagged)))


_EMPTY = IOTypeHints()


def convert_annotation(annotation: AnyObject) -> Hint:
    """The hint of an annotation; PCollection and TaggedOutput annotations are kept as they are."""
    if inner_of_pcollection(annotation) is not None:
        return annotation
    if annotation is None:
        return type(None)
    return convert_to_beam_type(annotation)


def _strip_side(side: Side | None) -> Side | None:
    if side is None or not side[0]:
        return side
    first, *rest = side[0]
    stripped = inner_of_pcollection(first)
    if stripped is None:
        return side
    if isinstance(stripped, AnyTypeConstraint) and not isinstance(stripped, TypeVariable):
        return None
    return (stripped, *rest), side[1]


def _says_something(side: Side | None) -> bool:
    return side is not None and bool(side[0] or side[1])


def _show(side: Side | None) -> str:
    if side is None:
        return "?"
    positional, named = side
    shown = [hint_name(hint) for hint in positional]
    shown += [f"{name}={hint_name(hint)}" for name, hint in named.items()]
    return f"({', '.join(shown)})"
