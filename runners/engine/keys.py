"""When two keys are the same: when their encoded forms are (so 1, 1.0 and True are three keys).

Grouping on raw Python keys is far quicker than on bytes, and gives the same answer as long as no two keys of a table
are equal in Python and different in bytes. That holds for str, bytes, int and None, and for tuples of them, together
in one table; every other key stands in the table as an EncodedKey, which equals no raw key. (Of a coder of text, bytes or
whole numbers, or of tuples of such, every key stands as what the coder makes of it: numpy's 1 is 1.)
"""

from __future__ import annotations

from collections.abc import Callable, Iterable
from itertools import chain
from operator import itemgetter
from typing import Any

from hornbeam.coders.coders import BytesCoder, Coder, StrUtf8Coder, TupleCoder, VarIntCoder

_first = itemgetter(0)

#: Keys of exactly these types may be used as they are.
RAW_TYPES = frozenset({str, bytes, int, type(None)})

#: Coders of one of these types whose equal values have equal bytes, and others others.
EXACT_CODERS: dict[type[Coder], type] = {StrUtf8Coder: str, BytesCoder: bytes, VarIntCoder: int}


class EncodedKey:
    """A key that is compared by its encoded form; `key` is what the user gets back."""

    __slots__ = ("data", "key")

    def __init__(self, key: Any, data: bytes) -> None:
        self.key = key
        self.data = data

    def __eq__(self, other: object) -> bool:
        return type(other) is EncodedKey and self.data == other.data

    def __hash__(self) -> int:
        return hash(self.data)

    def __reduce__(self) -> tuple[Any, ...]:
        return EncodedKey, (self.key, self.data)

    def __repr__(self) -> str:
        return f"EncodedKey({self.key!r})"


class KeyEncoder:
    """The bytes of a step's keys. `find` gives their deterministic coder, or refuses, when a key first needs it."""

    def __init__(self, find: Callable[[], Coder]) -> None:
        self._find = find
        self._coder: Coder | None = None
        self._gives_raw = False

    def __call__(self, key: Any) -> bytes:
        if self._coder is None:
            self._coder = coder = self._find()
            parts = coder.coders() if type(coder) is TupleCoder else (coder,)
            self._gives_raw = all(type(part) in EXACT_CODERS for part in parts)
        return self._coder.encode(key)

    def canonical(self, key: Any) -> Any:
        """A key that cannot be used as it is, as tables hold it."""
        data = self(key)
        return self._coder.decode(data) if self._gives_raw else EncodedKey(key, data)  # type: ignore[union-attr]


def are_raw(keys: Iterable[Any]) -> bool:
    """Whether all of the keys can be used as they are. `keys` must not be an iterator: it may be iterated twice."""
    kinds = set(map(type, keys))
    if kinds <= RAW_TYPES:
        return True
    if kinds == {tuple}:
        return set(map(type, chain.from_iterable(keys))) <= RAW_TYPES
    return False


def have_raw_keys(pairs: list[Any]) -> bool:
    """Whether the keys of all pairs can be used as they are."""
    return set(map(type, map(_first, pairs))) <= RAW_TYPES or are_raw(list(map(_first, pairs)))


def canonical_key(key: Any, encode: Callable[[Any], bytes]) -> Any:
    """The key as tables hold it; `encode` is asked only for keys that cannot be used as they are."""
    kind = type(key)
    if kind in RAW_TYPES or (kind is tuple and RAW_TYPES.issuperset(map(type, key))):
        return key
    if type(encode) is KeyEncoder:
        return encode.canonical(key)
    return EncodedKey(key, encode(key))


def user_key(key: Any) -> Any:
    """The key as the user gave it."""
    return key.key if type(key) is EncodedKey else key
