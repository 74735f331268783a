"""The key of a state entry: which state, of which key group, key and window; and its sortable byte form.

Byte form: key group (2 bytes, big-endian), state name (UTF-8, no NUL), NUL, length of the key (4 bytes,
big-endian), key, window. Bytewise order is therefore: key group, state name, length of key, key, window. Any
total order would do for merging and lookup; this one keeps a key group together (a restore reads ranges of
them), within it a state, and within that all windows of a key, and needs no escaping.
"""

from __future__ import annotations

import struct
from collections.abc import Iterable
from typing import NamedTuple

KEY_GROUPS_MAX = 1 << 16

_GROUP = struct.Struct(">H")
_LENGTH = struct.Struct(">I")


class StateKey(NamedTuple):
    """Identifies one entry; `key` and `window` are encoded by the caller's coders."""

    state: str
    key_group: int
    key: bytes
    window: bytes = b""


def key_prefix(state: str, key_group: int) -> bytes:
    """What the byte forms of all entries of a state in a key group start with."""
    if "\0" in state:
        raise ValueError(f"state name {state!r} contains a NUL")
    if not 0 <= key_group < KEY_GROUPS_MAX:
        raise ValueError(f"key group {key_group} is not in 0..{KEY_GROUPS_MAX - 1}")
    return _GROUP.pack(key_group) + state.encode() + b"\0"


def encode_key(state: str, key_group: int, key: bytes, window: bytes = b"") -> bytes:
    """The sortable byte form."""
    return b"".join((key_prefix(state, key_group), _LENGTH.pack(len(key)), key, window))


def decode_key(encoded: bytes) -> StateKey:
    """The entry's key from its byte form; ValueError if it is none."""
    end = encoded.find(b"\0", 2)
    start = end + 5
    if end < 0 or len(encoded) < start:
        raise ValueError(f"{encoded[:40]!r} is not an entry key")
    stop = start + int.from_bytes(encoded[end + 1 : start], "big")
    if stop > len(encoded):
        raise ValueError(f"{encoded[:40]!r} is not an entry key: it is shorter than its key's length")
    return StateKey(
        encoded[2:end].decode(), int.from_bytes(encoded[:2], "big"), encoded[start:stop], encoded[stop:]
    )


def decode_keys(encoded: Iterable[bytes]) -> list[StateKey]:
    """As `decode_key` for many, fast where keys of one state and key group follow each other."""
    decoded = []
    prefix, state, group, start = b"", "", 0, 0
    for key in encoded:
        if not prefix or not key.startswith(prefix):
            state, group, _, _ = decode_key(key)
            prefix = key[: key.index(b"\0", 2) + 1]
            start = len(prefix) + 4
        stop = start + int.from_bytes(key[start - 4 : start], "big")
        if stop > len(key):
            raise ValueError(f"{key[:40]!r} is not an entry key: it is shorter than its key's length")
        decoded.append(StateKey(state, group, key[start:stop], key[stop:]))
    return decoded


def key_group_of(encoded: bytes) -> int:
    """The key group of a byte form."""
    return int.from_bytes(encoded[:2], "big")


def group_bounds(groups: range) -> tuple[bytes, bytes | None]:
    """The byte forms of these key groups' entries are >= the first and < the second (None: no bound)."""
    if groups.step != 1 or groups.start < 0 or groups.stop > KEY_GROUPS_MAX:
        raise ValueError(f"key groups are given as range(a, b) within 0..{KEY_GROUPS_MAX}, not {groups}")
    upper = None if groups.stop == KEY_GROUPS_MAX else _GROUP.pack(max(groups.stop, groups.start))
    return _GROUP.pack(min(groups.start, KEY_GROUPS_MAX - 1)), upper


def groups_of_worker(worker: int, workers: int, key_groups: int) -> range:
    """The contiguous key groups that worker number `worker` of `workers` owns; together they cover all."""
    return range(worker * key_groups // workers, (worker + 1) * key_groups // workers)
