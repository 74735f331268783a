"""Rows: their constraints, generated classes, and the small part of schemas."""

from __future__ import annotations

import dataclasses
import pickle
import typing

import pytest

from hornbeam.typehints import Any, List, Optional, TypeVariable, Union
from hornbeam.typehints.row_type import RowTypeConstraint
from hornbeam.typehints.schema_registry import SchemaTypeRegistry
from hornbeam.typehints.schemas import (
    named_fields_from_element_type,
    named_fields_from_schema,
    named_fields_to_schema,
    named_tuple_from_schema,
    named_tuple_to_schema,
    schema_field,
    schema_from_element_type,
    union_schema_type,
)
from hornbeam.typehints.typehints import (
    bind_type_variables,
    check_constraint,
    is_consistent_with,
    match_type_variables,
    normalize,
)

T = TypeVariable("T")


class Word(typing.NamedTuple):
    text: str
    count: int


@dataclasses.dataclass
class Place:
    name: str
    tags: list[str]


def _row(**fields: object) -> RowTypeConstraint:
    return RowTypeConstraint.from_fields(list(fields.items()))


def test_of_named_tuples_and_dataclasses() -> None:
    word = RowTypeConstraint.from_user_type(Word)
    assert word is not None and word.fields == (("text", str), ("count", int)) and word.user_type is Word
    place = RowTypeConstraint.from_user_type(Place)
    assert place is not None and place.fields == (("name", str), ("tags", List[str]))
    assert RowTypeConstraint.from_user_type(int) is None
    assert repr(word) == "Row(text=str, count=int)"
    assert word(text="a", count=1) == Word("a", 1)


def test_fields_whose_type_cannot_be_resolved_may_be_anything() -> None:
    class Odd(typing.NamedTuple):
        known: int
        unknown: "Missing"  # noqa: F821, UP037

    row = RowTypeConstraint.from_user_type(Odd)
    assert row is not None and [name for name, _ in row.fields] == ["known", "unknown"]
    assert row.get_type_for("unknown") == Any


def test_fields_make_the_type() -> None:
    assert _row(text=str, count=int) == RowTypeConstraint.from_user_type(Word)
    assert _row(text=str, count=float) != RowTypeConstraint.from_user_type(Word)
    assert hash(_row(a=int)) == hash(_row(a=int))
    assert _row(a=int | None).get_type_for("a") == Optional[int]
    with pytest.raises(KeyError, match="no field 'b'; it has a"):
        _row(a=int).get_type_for("b")


@pytest.mark.parametrize(
    ("sub", "base", "consistent"),
    [
        (_row(a=int), _row(a=float), True),
        (_row(a=float), _row(a=int), False),
        (_row(a=int), _row(a=int, b=int), False),
        (_row(a=int), _row(b=int), False),
        (_row(a=int), Any, True),
        (_row(a=int), int, False),
        (Word, _row(text=str, count=int), True),
        (Word, _row(text=str, count=str), False),
        (Word, RowTypeConstraint.from_user_type(Word), True),
        (RowTypeConstraint.from_user_type(Word), Word, True),
        (int, _row(a=int), False),
    ],
)
def test_consistency(sub: object, base: object, consistent: bool) -> None:
    assert is_consistent_with(sub, base) is consistent


def test_type_check() -> None:
    check_constraint(_row(text=str), Word("a", 1))
    with pytest.raises(TypeError, match=r"field 'count' of Row\(count=str\): expected str, found 1"):
        check_constraint(_row(count=str), Word("a", 1))
    with pytest.raises(TypeError, match="found no field 'other'"):
        check_constraint(_row(other=str), Word("a", 1))
    with pytest.raises(TypeError, match="expected Word, found"):
        check_constraint(RowTypeConstraint.from_user_type(Word), Place("a", []))


def test_type_variables() -> None:
    assert match_type_variables(_row(a=List[T]), _row(a=List[int])) == {T: int}
    assert bind_type_variables(_row(a=List[T]), {T: int}) == _row(a=List[int])
    assert normalize(_row(a=int)) == _row(a=int)


def test_generated_classes_are_shared_and_pickle() -> None:
    row = _row(a=int, b=Optional[str])
    made = row(a=1, b="x")
    assert (made.a, made.b, made) == (1, "x", (1, "x"))
    again = pickle.loads(pickle.dumps(made))
    assert again == made and type(again) is type(made) is _row(a=int, b=Optional[str]).user_type
    assert pickle.loads(pickle.dumps(row)) == row


def test_schemas_of_types_and_back() -> None:
    registry = SchemaTypeRegistry()
    schema = named_tuple_to_schema(Word, registry)
    assert named_fields_from_schema(schema) == [("text", str), ("count", int)]
    assert named_tuple_to_schema(Word, registry) is schema
    assert named_tuple_from_schema(schema, registry) is Word
    made = named_fields_to_schema([("a", List[int]), ("b", str)], schema_registry=registry)
    cls = named_tuple_from_schema(made, registry)
    assert cls._fields == ("a", "b")
    assert named_tuple_from_schema(made, registry) is cls
    assert named_fields_from_element_type(cls) == [("a", typing.List[int]), ("b", str)]  # noqa: UP006
    assert schema_from_element_type(cls).fields == made.fields
    assert named_fields_to_schema({"a": int}, schema_id="x").id == "x"
    assert schema_field("a", int, "an a").description == "an a"


def test_what_has_no_schema() -> None:
    with pytest.raises(TypeError, match="int has no schema"):
        schema_from_element_type(int)


def test_union_of_rows() -> None:
    cls = union_schema_type([_row(a=int, b=str), _row(a=str, b=str)])
    row = RowTypeConstraint.from_user_type(cls)
    assert row is not None and row.fields == (("a", Union[int, str]), ("b", str))
    with pytest.raises(ValueError, match="same fields"):
        union_schema_type([_row(a=int), _row(b=int)])


def test_registries_load_from_each_other() -> None:
    one, two = SchemaTypeRegistry(), SchemaTypeRegistry()
    schema = named_tuple_to_schema(Word, one)
    two.load_registered_typings(one.get_registered_typings())
    assert two.get_typing_by_id(schema.id) is Word and two.get_schema_by_id(schema.id) is schema
    assert two.get_typing_by_id("unknown") is two.get_typing_by_id(None) is None
    with pytest.raises(ValueError, match="no identifier"):
        one.add(Word, dataclasses.replace(_NoId()))


@dataclasses.dataclass
class _NoId:
    id: str = ""
