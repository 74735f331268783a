"""The types of sample data: as a hint for elements, and as schemas of rows that are dicts."""

from __future__ import annotations

import array
from collections.abc import Iterable, Mapping
from typing import Any, cast

from hornbeam.typehints import Any as AnyHint
from hornbeam.typehints import Union
from hornbeam.typehints.trivial_inference import instance_to_type

__all__ = ["infer_avro_schema", "infer_element_type", "infer_pyarrow_schema", "infer_typehints_schema"]


def infer_element_type(elements: Iterable[Any]) -> Any:
    """The hint that fits all elements: their types' union; Any when there are none."""
    types = [instance_to_type(element) for element in elements]
    return Union[tuple(types)] if types else AnyHint


def infer_typehints_schema(data: Iterable[Mapping[str, Any]]) -> dict[str, Any]:
    """For each column, in the order in which they first occur, the hint that fits all of its values."""
    columns: dict[str, list[Any]] = {}
    for row in data:
        for name, value in row.items():
            columns.setdefault(name, []).append(value)
    return {name: infer_element_type(values) for name, values in columns.items()}


def infer_pyarrow_schema(data: Iterable[Mapping[str, Any]]) -> Any:
    """The Arrow schema of the rows; a column that lacks in some rows, or is None, is nullable."""
    import pyarrow

    rows = list(data)
    names = list(dict.fromkeys(name for row in rows for name in row))
    columns = {name: [_arrow_value(row.get(name)) for row in rows] for name in names}
    return pyarrow.Table.from_pydict(columns).schema


def infer_avro_schema(data: Iterable[Mapping[str, Any]]) -> dict[str, Any]:
    """The Avro schema, as parsed JSON, of the rows as a record."""
    rows = list(data)
    names = list(dict.fromkeys(name for row in rows for name in row))
    fields = []
    for name in names:
        types: list[Any] = []
        for row in rows:
            avro_type = _avro_type(row.get(name))
            if avro_type not in types:
                types.append(avro_type)
        types.sort(key=lambda avro_type: avro_type != "null")
        fields.append({"name": name, "type": types[0] if len(types) == 1 else types})
    return {"type": "record", "name": "element", "namespace": "hornbeam", "fields": fields}


def _arrow_value(value: Any) -> Any:
    return list(value) if isinstance(value, array.array) else value


def _avro_type(value: Any) -> Any:
    """The Avro type of one value."""
    if value is None:
        return "null"
    for python_type, avro_type in _AVRO_TYPES.items():
        if isinstance(value, python_type):
            return avro_type
    if hasattr(value, "dtype") and hasattr(value, "item") and not getattr(value, "shape", ()):
        return _avro_type(value.item())
    if isinstance(value, Mapping):
        return {"type": "map", "values": _one_avro_type(cast("Mapping[str, Any]", value).values())}
    if isinstance(value, Iterable):
        return {"type": "array", "items": _one_avro_type(value)}
    raise TypeError(f"there is no Avro type for {type(value).__name__}, found {value!r}")


def _one_avro_type(values: Iterable[Any]) -> Any:
    types: list[Any] = []
    for value in values:
        avro_type = _avro_type(value)
        if avro_type not in types:
            types.append(avro_type)
    return types[0] if len(types) == 1 else types or "null"


#: In order: bool is an int too.
_AVRO_TYPES: dict[type, str] = {bool: "boolean", int: "long", float: "double", str: "string", bytes: "bytes"}
