"""RowCoder: values with named, typed fields (named tuples, dataclasses, beam.Row), each by its own coder.

A row is the number of fields as a varint, the null bits (prefixed with their count of bytes, none if nothing
is null; field i is bit i % 8 of byte i // 8), then the fields that are not None, nested. That is Beam's row
format.
"""

from __future__ import annotations

import dataclasses
import importlib
import typing
from collections.abc import Callable, Iterable, Sequence
from typing import TYPE_CHECKING, Any

import cloudpickle

from hornbeam.coders import hints, typecoders, urns
from hornbeam.coders.coder import Coder, FastCoder, known_by
from hornbeam.coders.streams import Reader, write_prefixed, write_varint
from hornbeam.error import DataError, PipelineError
from hornbeam.utils import pickling

if TYPE_CHECKING:
    from hornbeam.coders.typecoders import CoderRegistry


class RowTypeError(PipelineError, TypeError, ValueError):
    """A type that is said to be a row has no named, typed fields."""


@known_by(urns.FIELDS)
class RowCoder(FastCoder):
    """The coder of a row type.

    `schema` is a NamedTuple, dataclass or row type, or its fields as (name, type) pairs, which decode to
    beam.Row. `force_deterministic` is a step's label: the fields get deterministic coders for that step's
    keys.
    """

    def __init__(self, schema: Any, force_deterministic: str | bool = False) -> None:
        self._set(*_fields_of(schema), None, force_deterministic)

    def _set(
        self,
        row_type: type | None,
        fields: Sequence[tuple[str, Any]],
        coders: Sequence[Coder] | None,
        force_deterministic: str | bool,
    ) -> None:
        self._row_type = row_type
        self._names = tuple(name for name, _ in fields)
        if coders is None:
            coders = [typecoders.registry.get_coder(_not_null(field)) for _, field in fields]
        if force_deterministic:
            label = force_deterministic if isinstance(force_deterministic, str) else ""
            coders = [coder.as_deterministic_coder(label) for coder in coders]
        self._coders = tuple(coders)

    def encode_to(self, value: Any, out: bytearray, nested: bool) -> None:
        """Append a row."""
        values = [getattr(value, name) for name in self._names]
        write_varint(len(values), out)
        nulls = sum(1 << index for index, field in enumerate(values) if field is None)
        write_prefixed(nulls.to_bytes((nulls.bit_length() + 7) // 8, "little"), out)
        for name, coder, field in zip(self._names, self._coders, values):
            if field is not None:
                try:
                    coder.encode_to(field, out, True)
                except (TypeError, ValueError, OverflowError) as error:
                    error.add_note(f"This is field {name!r} of a row.")
                    raise

    def decode_from(self, reader: Reader, nested: bool) -> Any:
        """Read a row; one of fewer fields has None in those that are missing."""
        count = reader.count()
        if count > len(self._coders):
            raise DataError(f"A row of {len(self._coders)} fields was expected; found {count}.")
        nulls = int.from_bytes(reader.prefixed(), "little")
        values = [
            None if nulls >> index & 1 else coder.decode_from(reader, True)
            for index, coder in enumerate(self._coders[:count])
        ]
        values += [None] * (len(self._coders) - count)
        return self._make(dict(zip(self._names, values)))

    @property
    def _make(self) -> Callable[[dict[str, Any]], Any]:
        row_type = self._row_type or importlib.import_module("hornbeam.pvalue").Row
        return lambda values: row_type(**values)

    def components(self) -> tuple[Coder, ...]:
        """The coders of the fields."""
        return self._coders

    def spec(self) -> dict[str, Any]:
        """The names of the fields and of the type."""
        spec: dict[str, Any] = {"fields": list(self._names)}
        if self._row_type is not None:
            spec["type"] = f"{self._row_type.__module__}.{self._row_type.__qualname__}"
        return spec

    def payload(self) -> bytes:
        """The type."""
        return pickling.dumps(self._row_type)

    @classmethod
    def from_function(cls, components: tuple[Coder, ...], spec: Any, payload: bytes) -> RowCoder:
        """The coder of those fields."""
        return cls._of(cloudpickle.loads(payload), spec["fields"], components)

    @classmethod
    def _of(cls, row_type: type | None, names: Iterable[str], coders: Sequence[Coder]) -> RowCoder:
        coder = cls.__new__(cls)
        coder._set(row_type, [(name, Any) for name in names], coders, False)
        return coder

    @staticmethod
    def from_payload(payload: bytes) -> RowCoder:
        """The coder of a pickled row type."""
        return RowCoder(cloudpickle.loads(payload))

    @classmethod
    def from_type_hint(cls, type_hint: Any, registry: CoderRegistry) -> RowCoder:
        """The coder of a row type."""
        row_type, fields = _fields_of(type_hint)
        coders = [registry.get_coder(_not_null(field)) for _, field in fields]
        return cls._of(row_type, [name for name, _ in fields], coders)

    def is_deterministic(self) -> bool:
        """Whether the coders of all fields are."""
        return all(coder.is_deterministic() for coder in self._coders)

    def as_deterministic_coder(self, step_label: str, error_message: str | None = None) -> Coder:
        """This coder, with deterministic fields."""
        if self.is_deterministic():
            return self
        coders = [coder.as_deterministic_coder(step_label, error_message) for coder in self._coders]
        return self._of(self._row_type, self._names, coders)

    def to_type_hint(self) -> Any:
        """The row type; beam.Row if it has none of its own."""
        return self._row_type or importlib.import_module("hornbeam.pvalue").Row

    def __hash__(self) -> int:
        return hash((type(self), self._row_type, self._names))

    def __eq__(self, other: object) -> bool:
        return super().__eq__(other)

    def __repr__(self) -> str:
        fields = ", ".join(f"{name}={coder!r}" for name, coder in zip(self._names, self._coders))
        return f"RowCoder({fields})"


def _not_null(hint: Any) -> Any:
    """The hint without its `| None`: nulls have their own bits."""
    parts = hints.take_apart(hint)
    return parts.parameters[0] if parts is not None and parts.kind == hints.NULLABLE else hint


def _fields_of(schema: Any) -> tuple[type | None, list[tuple[str, Any]]]:
    """The class to make rows of (None for beam.Row) and its fields with their types."""
    if isinstance(schema, type):
        names: Sequence[str] | None = getattr(schema, "_fields", None)
        if dataclasses.is_dataclass(schema):
            names = [field.name for field in dataclasses.fields(schema)]
        if names is not None:
            types = typing.get_type_hints(schema)
            return schema, [(name, types.get(name, Any)) for name in names]
    fields = getattr(schema, "_fields", schema)  # the row constraint of hornbeam.typehints, or pairs
    if isinstance(fields, Iterable) and not isinstance(fields, (str, bytes)):
        pairs = [tuple(field) if isinstance(field, (tuple, list)) else () for field in fields]
        if pairs and all(len(pair) == 2 and isinstance(pair[0], str) for pair in pairs):
            generated = type(schema).__name__ == "GeneratedClassRowTypeConstraint"
            user_type = None if generated else getattr(schema, "_user_type", None)
            is_row = user_type is None or user_type.__name__ == "Row"
            return None if is_row else user_type, [(name, hint) for name, hint in pairs]
    raise RowTypeError(
        f"RowCoder needs a NamedTuple, a dataclass, a row type or (name, type) pairs; found {schema!r}. "
        "Derive the class from typing.NamedTuple and annotate its fields."
    )


typecoders.BY_KIND[hints.ROW] = RowCoder
