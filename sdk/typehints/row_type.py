"""The hint of elements with named fields: `beam.Row`, NamedTuples, dataclasses."""

from __future__ import annotations

import dataclasses
import functools
import typing
from collections.abc import Callable, Iterable, Mapping, Sequence
from typing import Any as AnyObject

from hornbeam.typehints.constraint import (
    Any,
    CompositeTypeHintError,
    Hint,
    TypeConstraint,
    TypeVariable,
    bind_type_variables,
    hint_name,
    match_all,
    short,
    type_check,
    visit,
)
from hornbeam.typehints.native_type_compatibility import (
    convert_to_beam_type,
    convert_to_python_type,
    match_dataclass_for_row,
    match_is_named_tuple,
)
from hornbeam.typehints.rules import is_consistent_with, normalize

__all__ = ["GeneratedClassRowTypeConstraint", "RowTypeConstraint"]

Fields = tuple[tuple[str, Hint], ...]
Options = Sequence[tuple[str, AnyObject]]


class RowTypeConstraint(TypeConstraint):
    """Elements with these fields, in this order.

    Two rows are the same type when their fields are; which class stands for them does not matter.
    """

    def __init__(
        self,
        fields: Iterable[tuple[str, Hint]],
        user_type: type | None,
        schema_options: Options | None = None,
        field_options: Mapping[str, Options] | None = None,
        field_descriptions: Mapping[str, str] | None = None,
    ) -> None:
        """`user_type` is the class of the elements, None for one that is generated when asked for.

        For internal use; make rows with `from_fields` and `from_user_type`.
        """
        self._fields: Fields = tuple((name, _as_hint(hint)) for name, hint in fields)
        self._user_type = user_type
        self._schema_id: str | None = getattr(user_type, "_beam_schema_id", None)
        self._schema_options = tuple(schema_options or ())
        self._field_options = dict(field_options or {})
        self._field_descriptions = dict(field_descriptions or {})

    @staticmethod
    def from_user_type(
        user_type: type,
        schema_options: Options | None = None,
        field_options: Mapping[str, Options] | None = None,
    ) -> RowTypeConstraint | None:
        """The row type of a NamedTuple or dataclass with annotated fields; None for any other class."""
        if match_is_named_tuple(user_type):
            hints = _annotations(user_type)
            fields = [(name, hints.get(name, Any)) for name in user_type._fields]  # type: ignore[attr-defined]
        elif match_dataclass_for_row(user_type):
            hints = _annotations(user_type)
            fields = [(each.name, hints.get(each.name, Any)) for each in dataclasses.fields(user_type)]
        else:
            return None
        descriptions = getattr(user_type, "_field_descriptions", None)
        return RowTypeConstraint(fields, user_type, schema_options, field_options, descriptions)

    @staticmethod
    def from_fields(
        fields: Sequence[tuple[str, Hint]],
        schema_id: str | None = None,
        schema_options: Options | None = None,
        field_options: Mapping[str, Options] | None = None,
        schema_registry: AnyObject = None,
        field_descriptions: Mapping[str, str] | None = None,
    ) -> RowTypeConstraint:
        """The type of rows with these (name, type) fields."""
        return GeneratedClassRowTypeConstraint(
            fields, schema_id, schema_options, field_options, schema_registry, field_descriptions
        )

    @property
    def fields(self) -> Fields:
        """(name, hint) of each field."""
        return self._fields

    @property
    def user_type(self) -> type:
        """The class of the elements."""
        if self._user_type is None:
            self._user_type = _generated_class(self._fields)
        return self._user_type

    @property
    def schema_id(self) -> str | None:
        """The identifier of the schema, once it has one."""
        return self._schema_id

    def set_schema_id(self, schema_id: str) -> None:
        """Gives the schema its identifier."""
        self._schema_id = schema_id

    @property
    def schema_options(self) -> Options:
        """(name, value) of options of the whole schema."""
        return self._schema_options

    def field_options(self, field_name: str) -> Options:
        """(name, value) of options of one field."""
        return self._field_options.get(field_name, ())

    def field_description(self, field_name: str) -> str:
        """The description of a field, '' without one."""
        return self._field_descriptions.get(field_name, "")

    def get_type_for(self, name: str) -> Hint:
        """The hint of a field; raises KeyError, with the names there are, for an unknown one."""
        for field, hint in self._fields:
            if field == name:
                return hint
        known = ", ".join(field for field, _ in self._fields)
        raise KeyError(f"The row has no field {name!r}; it has {known or 'none'}.")

    def __call__(self, *args: AnyObject, **kwargs: AnyObject) -> AnyObject:
        """An element of this type."""
        return self.user_type(*args, **kwargs)

    def type_check(self, instance: AnyObject) -> None:
        cls = None if isinstance(self, GeneratedClassRowTypeConstraint) else self._user_type
        if cls is not None and not isinstance(instance, cls):
            raise CompositeTypeHintError(f"expected {cls.__name__}, found {short(instance)}")
        for name, hint in self._fields:
            try:
                value = getattr(instance, name)
            except AttributeError:
                raise CompositeTypeHintError(
                    f"expected {self!r}, found no field {name!r} in {short(instance)}"
                ) from None
            try:
                type_check(hint, value)
            except TypeError as error:
                raise CompositeTypeHintError(f"field {name!r} of {self!r}: {error}") from None

    def python_class(self) -> type:
        return self.user_type

    def yielded_hint(self) -> Hint:
        return Any

    def is_supertype_of(self, sub: Hint) -> bool:
        if isinstance(sub, type):
            if self._user_type is not None and issubclass(sub, self._user_type):
                return True
            converted = RowTypeConstraint.from_user_type(sub)
            # A class without annotated fields, such as Row itself, may have any.
            return _may_be_row(sub) if converted is None else self.is_supertype_of(converted)
        if not isinstance(sub, RowTypeConstraint):
            return False
        theirs = dict(sub._fields)
        return len(theirs) == len(self._fields) and all(
            name in theirs and is_consistent_with(theirs[name], hint) for name, hint in self._fields
        )

    def match_type_variables(self, concrete_type: Hint) -> dict[TypeVariable, Hint]:
        if not isinstance(concrete_type, RowTypeConstraint):
            return {}
        theirs = dict(concrete_type._fields)
        return match_all((hint, theirs[name]) for name, hint in self._fields if name in theirs)

    def bind_type_variables(self, bindings: Mapping[TypeVariable, Hint]) -> Hint:
        bound = tuple((name, bind_type_variables(hint, bindings)) for name, hint in self._fields)
        return self if bound == self._fields else RowTypeConstraint.from_fields(bound)

    def visit(self, visitor: Callable[[Hint, AnyObject], None], visitor_arg: AnyObject) -> None:
        visitor(self, visitor_arg)
        for _, hint in self._fields:
            visit(hint, visitor, visitor_arg)

    def __eq__(self, other: object) -> bool:
        return isinstance(other, RowTypeConstraint) and self._fields == other._fields

    def __hash__(self) -> int:
        return hash(self._fields)

    def __repr__(self) -> str:
        return f"Row({', '.join(f'{name}={hint_name(hint)}' for name, hint in self._fields)})"


class GeneratedClassRowTypeConstraint(RowTypeConstraint):
    """Rows that no class of the user's stands for; a NamedTuple class is generated when asked for."""

    def __init__(
        self,
        fields: Iterable[tuple[str, Hint]],
        schema_id: str | None = None,
        schema_options: Options | None = None,
        field_options: Mapping[str, Options] | None = None,
        schema_registry: AnyObject = None,
        field_descriptions: Mapping[str, str] | None = None,
    ) -> None:
        super().__init__(fields, None, schema_options, field_options, field_descriptions)
        self._schema_id = schema_id

    def __reduce__(self) -> tuple[AnyObject, ...]:
        # Without the generated class, which other processes generate for themselves.
        return GeneratedClassRowTypeConstraint, (
            self._fields,
            self._schema_id,
            self._schema_options,
            self._field_options,
            None,
            self._field_descriptions,
        )


def _as_hint(hint: Hint) -> Hint:
    return normalize(convert_to_beam_type(hint), none_as_type=True)


def _annotations(user_type: type) -> dict[str, AnyObject]:
    """The hints of fields, as far as their names can be resolved; what is missing may be anything."""
    try:
        return typing.get_type_hints(user_type)
    except Exception:
        return {}


def _may_be_row(cls: type) -> bool:
    return cls.__name__ == "Row" or issubclass(cls, tuple)


@functools.lru_cache(maxsize=1000)
def _generated_class(fields: Fields) -> type:
    """One class for all rows of the same fields; its instances pickle by their fields."""
    made = typing.NamedTuple("Row", [(name, convert_to_python_type(hint)) for name, hint in fields])  # type: ignore[misc]
    setattr(made, "__reduce__", lambda self: (_rebuild, (fields, tuple(self))))  # noqa: B010
    return typing.cast(type, made)


def _rebuild(fields: Fields, values: tuple[AnyObject, ...]) -> AnyObject:
    return _generated_class(fields)(*values)
