"""Entries of keys in the checkpoint store: what a keyed head keeps, column by column.

    key of the store    key group · state · KEYED, length of the rest (4 bytes, big-endian), rest, tag, key
    value               pickle of the content; of (user key, content) where the key is an EncodedKey

The rest is the bytes of what follows the table key in an entry's name (a window, as a rule), the same for many entries.
A name is read back from the key of the store, so it is not in the value too.
"""

from __future__ import annotations

import pickle
import struct
from collections.abc import Callable, Iterable, Iterator, Sequence
from functools import lru_cache
from typing import Any

import attrs

from hornbeam.runners.engine.head import DELETED, ChangedColumns, PickledColumns
from hornbeam.runners.engine.keys import EncodedKey
from hornbeam.runners.log.edges import KEY_GROUPS
from hornbeam.runners.log.exchange import dumps
from hornbeam.runners.log.key_groups import groups_of
from hornbeam.runners.log.state_names import name_bytes, name_of
from hornbeam.storage.checkpoint.key import key_prefix

#: The part of these entries (see `state_names`).
KEYED = b"k"

_LENGTH = struct.Struct(">I")
_ENCODED, _INT = b"ki"
#: Entries that are loaded at a time: enough for numpy, and few enough for the processor's caches.
_COLUMN_MIN = 512


@attrs.frozen
class KeyedChanges:
    """Entries of one state and one rest of names; the values are pickled, None for what is gone."""

    state: str
    rest: tuple[Any, ...]
    keys: Sequence[Any]
    values: Sequence[bytes | None]

    @classmethod
    def of(cls, state: str, columns: ChangedColumns) -> KeyedChanges:
        """Pickles the contents, so that work on them can go on."""
        return cls(state, columns.rest, columns.keys, _pickled(columns.keys, columns.contents))

    def entries(self) -> dict[bytes, bytes | None]:
        """The values under the keys of the store."""
        rest = name_bytes(self.rest)
        fixed = KEYED + _LENGTH.pack(len(rest)) + rest
        keys = _tagged(self.keys)
        groups = groups_of(self.keys).tolist()
        prefixes = _prefixes(self.state)
        befores = {size: _LENGTH.pack(len(fixed) + size) + fixed for size in set(map(len, keys))}
        names = [b"".join((prefixes[group], befores[len(key)], key)) for group, key in zip(groups, keys)]
        return dict(zip(names, self.values))


@lru_cache(maxsize=256)
def _prefixes(state: str) -> list[bytes]:
    """What keys of the store begin with, by group."""
    return [key_prefix(state, group) for group in range(KEY_GROUPS)]


def _pickled(keys: Sequence[Any], contents: Sequence[Any]) -> list[bytes | None]:
    if EncodedKey in set(map(type, keys)):
        contents = [
            (key.key, content) if type(key) is EncodedKey and content is not DELETED else content
            for key, content in zip(keys, contents)
        ]
    distinct = {id(content): content for content in contents}
    if 2 * len(distinct) > len(contents):
        return _each_pickled(contents)
    # Equal contents of a step are one object as a rule (see `record_contents`).
    known = dict(zip(distinct, _each_pickled(distinct.values())))
    return [known[id(content)] for content in contents]


def _each_pickled(contents: Iterable[Any]) -> list[bytes | None]:
    write: Callable[..., bytes] = pickle.dumps
    try:
        return [None if content is DELETED else write(content, 5) for content in contents]
    except (pickle.PicklingError, AttributeError, TypeError):
        return [None if content is DELETED else dumps(content) for content in contents]


def _tagged(keys: Sequence[Any]) -> list[bytes]:
    kinds = set(map(type, keys))
    if kinds == {int}:
        return [b"i%d" % key for key in keys]
    if kinds == {str}:
        return [b"s" + key.encode("utf-8", "surrogatepass") for key in keys]
    return [_tag(key) for key in keys]


def _tag(key: Any) -> bytes:
    """The bytes of a name without the length: nothing comes behind."""
    data = name_bytes(key)
    return data if type(key) is tuple else data[:1] + data[1 + _LENGTH.size :]


def pickled_columns(
    chunks: Iterable[tuple[Sequence[bytes], Sequence[Any]]], state: str
) -> Iterator[PickledColumns]:
    """Entries of one state, as `Snapshot.scan_chunks` gives them, in columns of some hundreds."""
    skip = len(key_prefix(state, 0)) + _LENGTH.size
    found: dict[bytes, PickledColumns] = {}
    count = 0
    for names, values in chunks:
        before, start, keys, contents = b"", 0, [], []
        for name, value in zip(names, values):
            key = name[skip:]
            if not before or not key.startswith(before):
                start = _start(key)
                before = key[:start]
                column = found.get(before)
                if column is None:
                    column = found[before] = PickledColumns([], _rest(key, start), [])
                keys, contents = column.keys, column.contents
            if key[start] == _INT:
                keys.append(int(key[start + 1 :]))
            else:
                table_key, value = _key(key[start:], value)
                keys.append(table_key)
            contents.append(value)
        count += len(names)
        if count >= _COLUMN_MIN:
            yield from found.values()
            found, count = {}, 0
    yield from found.values()


def loaded_entry(key: bytes, value: bytes) -> tuple[Any, Any]:
    """(name, content) of an entry; `key` is the one within its state and group."""
    start = _start(key)
    table_key, value = _key(key[start:], value)
    return (table_key, *_rest(key, start)), pickle.loads(value)


def with_content(key: bytes, value: bytes, content: Any) -> bytes:
    """The value of an entry that has another content."""
    if key[_start(key)] != _ENCODED:
        return dumps(content)
    user_key, _ = pickle.loads(value)
    return dumps((user_key, content))


def _start(key: bytes) -> int:
    """Where the tag is."""
    return 1 + _LENGTH.size + int(_LENGTH.unpack_from(key, 1)[0])


def _rest(key: bytes, start: int) -> tuple[Any, ...]:
    rest: tuple[Any, ...] = name_of(key[1 + _LENGTH.size : start])
    return rest


def _key(tagged: bytes, value: bytes) -> tuple[Any, bytes]:
    """The table key, and the pickle of the content."""
    if tagged[0] == _ENCODED:
        user_key, content = pickle.loads(value)
        return EncodedKey(user_key, tagged[1:]), dumps(content)
    if tagged[:1] == b"(":
        return name_of(tagged), value
    return name_of(tagged[:1] + _LENGTH.pack(len(tagged) - 1) + tagged[1:]), value
