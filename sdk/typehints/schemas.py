"""Schemas: names and types of fields as a value that is no Python class, and the way to such classes and back.

This is the small part that rows need. Field types are Python's types; logical types and the wire form of
schemas are not here yet.
"""

from __future__ import annotations

from collections.abc import Iterable, Mapping, Sequence
from typing import Any as AnyObject

import attrs

from hornbeam.typehints.constraint import Hint
from hornbeam.typehints.native_type_compatibility import (
    convert_to_beam_type,
    convert_to_python_type,
    hint_name,
)
from hornbeam.typehints.row_type import RowTypeConstraint
from hornbeam.typehints.schema_registry import SCHEMA_REGISTRY, SchemaTypeRegistry
from hornbeam.typehints.unions import make_union

__all__ = [
    "SCHEMA_REGISTRY",
    "Schema",
    "SchemaField",
    "named_fields_from_element_type",
    "named_fields_from_schema",
    "named_fields_to_schema",
    "named_tuple_from_schema",
    "named_tuple_to_schema",
    "schema_field",
    "schema_from_element_type",
    "union_schema_type",
]


@attrs.frozen
class SchemaField:
    """A field: its name, its type as Python writes it, and a description."""

    name: str
    type: AnyObject
    description: str = ""


@attrs.frozen
class Schema:
    """Fields in order; schemas are equal when these are."""

    fields: tuple[SchemaField, ...]
    id: str = attrs.field(default="", eq=False)
    options: tuple[tuple[str, AnyObject], ...] = ()


def schema_field(name: str, field_type: AnyObject, description: str | None = None) -> SchemaField:
    """A field of a schema."""
    return SchemaField(name, field_type, description or "")


def named_fields_to_schema(
    names_and_types: Mapping[str, Hint] | Sequence[tuple[str, Hint]],
    schema_id: str | None = None,
    schema_options: Sequence[tuple[str, AnyObject]] | None = None,
    field_options: Mapping[str, Sequence[tuple[str, AnyObject]]] | None = None,
    schema_registry: SchemaTypeRegistry = SCHEMA_REGISTRY,
    field_descriptions: Mapping[str, str] | None = None,
) -> Schema:
    """The schema with these fields; without an identifier it gets a new one."""
    pairs: Iterable[tuple[str, Hint]] = (
        names_and_types.items() if isinstance(names_and_types, Mapping) else names_and_types
    )
    descriptions = field_descriptions or {}
    fields = tuple(
        schema_field(name, convert_to_python_type(convert_to_beam_type(hint)), descriptions.get(name))
        for name, hint in pairs
    )
    return Schema(fields, schema_id or schema_registry.generate_new_id(), tuple(schema_options or ()))


def named_fields_from_schema(schema: Schema) -> list[tuple[str, AnyObject]]:
    """(name, type) of each field."""
    return [(field.name, field.type) for field in schema.fields]


def named_tuple_from_schema(schema: Schema, schema_registry: SchemaTypeRegistry = SCHEMA_REGISTRY) -> type:
    """The NamedTuple class that stands for a schema: the registered one, or one made here."""
    known = schema_registry.get_typing_by_id(schema.id)
    if known is not None:
        return known  # type: ignore[no-any-return]
    made = RowTypeConstraint.from_fields(named_fields_from_schema(schema), schema.id).user_type
    if schema.id:
        schema_registry.add(made, schema)
    return made


def named_tuple_to_schema(named_tuple: type, schema_registry: SchemaTypeRegistry = SCHEMA_REGISTRY) -> Schema:
    """The schema of a NamedTuple or dataclass; the same one each time."""
    known = schema_registry.get_schema_by_id(schema_registry.get_id_by_typing(named_tuple))
    if known is not None:
        return known  # type: ignore[no-any-return]
    schema = schema_from_element_type(named_tuple)
    schema_registry.add(named_tuple, schema)
    return schema


def schema_from_element_type(element_type: Hint) -> Schema:
    """The schema of a row type, NamedTuple or dataclass; TypeError for any other hint."""
    row = _row_type(element_type)
    descriptions = {name: row.field_description(name) for name, _ in row.fields}
    return named_fields_to_schema(
        row.fields, row.schema_id, row.schema_options, None, SCHEMA_REGISTRY, descriptions
    )


def named_fields_from_element_type(element_type: Hint) -> list[tuple[str, AnyObject]]:
    """(name, type) of each field of a row type, NamedTuple or dataclass; TypeError for any other hint."""
    return [(name, convert_to_python_type(hint)) for name, hint in _row_type(element_type).fields]


def union_schema_type(element_types: Iterable[Hint]) -> type:
    """A class of rows that has each field of the given types in the union of its types there.

    All must have the same fields in the same order; else ValueError.
    """
    rows = [_row_type(element_type) for element_type in element_types]
    names = [tuple(name for name, _ in row.fields) for row in rows]
    if len(set(names)) != 1:
        raise ValueError(f"Rows of one union must have the same fields; found {sorted(set(names))}.")
    fields = [(name, make_union(row.get_type_for(name) for row in rows)) for name in names[0]]
    return RowTypeConstraint.from_fields(fields).user_type


def _row_type(element_type: Hint) -> RowTypeConstraint:
    if isinstance(element_type, RowTypeConstraint):
        return element_type
    row = RowTypeConstraint.from_user_type(element_type)
    if row is None:
        raise TypeError(
            f"{hint_name(element_type)} has no schema. Rows, NamedTuples and dataclasses with annotated"
            " fields have one."
        )
    return row
