"""Which Python type stands for which schema, by the schema's identifier."""

from __future__ import annotations

import uuid
from collections.abc import Mapping
from typing import Any as AnyObject

__all__ = ["SCHEMA_REGISTRY", "SchemaTypeRegistry"]


class SchemaTypeRegistry:
    """Remembers (type, schema) pairs, so that a schema with a known identifier gets its type back."""

    def __init__(self) -> None:
        self._by_id: dict[str, tuple[AnyObject, AnyObject]] = {}
        self._by_typing: dict[AnyObject, str] = {}

    def generate_new_id(self) -> str:
        """An identifier that no schema has yet."""
        while (new_id := str(uuid.uuid4())) in self._by_id:
            pass
        return new_id

    def add(self, typing: AnyObject, schema: AnyObject) -> None:
        """Remembers the type of a schema, which must have an identifier."""
        if not schema.id:
            raise ValueError(f"The schema of {typing!r} has no identifier, so it cannot be registered.")
        self._by_id[schema.id] = (typing, schema)
        self._by_typing[typing] = schema.id

    def get_typing_by_id(self, unique_id: str | None) -> AnyObject:
        """The type of a schema; None for an unknown identifier."""
        found = self._by_id.get(unique_id) if unique_id else None
        return found[0] if found else None

    def get_schema_by_id(self, unique_id: str | None) -> AnyObject:
        """The schema; None for an unknown identifier."""
        found = self._by_id.get(unique_id) if unique_id else None
        return found[1] if found else None

    def get_id_by_typing(self, typing: AnyObject) -> str | None:
        """The identifier of a type's schema; None for an unknown type."""
        return self._by_typing.get(typing)

    def get_registered_typings(self) -> dict[str, tuple[AnyObject, AnyObject]]:
        """(type, schema) by identifier, to be loaded in another process."""
        return dict(self._by_id)

    def load_registered_typings(self, by_id: Mapping[str, tuple[AnyObject, AnyObject]]) -> None:
        """Adds what another process has registered; what is known here stays."""
        for schema_id, (typing, schema) in by_id.items():
            if schema_id not in self._by_id:
                self._by_id[schema_id] = (typing, schema)
                self._by_typing[typing] = schema_id


SCHEMA_REGISTRY = SchemaTypeRegistry()
