"""A key together with the shard of it that an element belongs to."""

from __future__ import annotations

from typing import Any, Generic, TypeVar

K = TypeVar("K")


class ShardedKey(Generic[K]):
    """A user key and an opaque shard id: elements of one hot key are spread over several of these."""

    __slots__ = ("_key", "_shard_id")

    def __init__(self, key: K, shard_id: bytes) -> None:
        if shard_id is None:
            raise ValueError("ShardedKey needs a shard_id (bytes); found None.")
        self._key = key
        self._shard_id = shard_id

    @property
    def key(self) -> K:
        """The user's key."""
        return self._key

    @property
    def shard_id(self) -> bytes:
        """Which shard of the key; it has no meaning but to be equal or not."""
        return self._shard_id

    def __eq__(self, other: object) -> bool:
        if not isinstance(other, ShardedKey):
            return NotImplemented
        return bool(self._key == other._key and self._shard_id == other._shard_id)

    def __hash__(self) -> int:
        return hash((self._key, self._shard_id))

    def __repr__(self) -> str:
        return f"(key: {self._key!r}, shard_id: {self._shard_id!r})"

    def __reduce__(self) -> tuple[Any, tuple[K, bytes]]:
        return ShardedKey, (self._key, self._shard_id)
