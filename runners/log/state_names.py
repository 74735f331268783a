"""How entries of the state are named in the checkpoint store.

    state      the full label of the stage's head, as an update maps it
    key group  the key's; LOCAL_GROUP for what belongs to a worker and not to a key
    key        for a key's: see `keyed_entries` · for a worker's: worker (2 bytes, big-endian), part, name

A part is one letter: `h` the head, `k` a head whose entries belong to keys, `g` the gate before it, `v` a side input's
view (then its tag), `m` the stage's times, `c` rows under way to the worker (in the state CHANNELS), `r` metrics (in
the state METRICS). A name's bytes are the same in every process and run: each part of it with its type and length;
windows that are not of the usual kinds, and other objects, as a pickle without memo.
"""

from __future__ import annotations

import io
import pickle
import struct
from collections.abc import Callable
from typing import Any

from hornbeam.error import DataError
from hornbeam.runners.engine.keys import EncodedKey
from hornbeam.runners.log.edges import KEY_GROUPS
from hornbeam.storage.checkpoint.key import encode_key
from hornbeam.transforms.bounded_window import GlobalWindow, IntervalWindow

#: The group of what belongs to no key.
LOCAL_GROUP = KEY_GROUPS
#: Groups of the store.
STORE_GROUPS = KEY_GROUPS + 1

#: Names that no label has.
CHANNELS, METRICS, CLOCK = "\x01channels", "\x01metrics", "\x01clock"

HEAD, GATE, VIEW, TIMES = b"h", b"g", b"v", b"m"

_WORKER = struct.Struct(">H")
_LENGTH = struct.Struct(">I")
_INTERVAL = struct.Struct(">qq")


def local_key(state: str, worker: int, part: bytes, name: Any = ()) -> bytes:
    """The byte form of an entry that belongs to a worker."""
    return encode_key(state, LOCAL_GROUP, worker_prefix(worker) + part + name_bytes(name))


def worker_prefix(worker: int) -> bytes:
    """What the key of a worker's entry begins with."""
    return _WORKER.pack(worker)


def worker_of(key: bytes) -> tuple[int, bytes]:
    """The worker of a local entry's key, and the rest of it."""
    return int(_WORKER.unpack_from(key)[0]), key[_WORKER.size :]


def name_bytes(name: Any) -> bytes:
    """The name's byte form; two names have the same one when they are the same."""
    kind = type(name)
    if kind is tuple:
        return b"(" + _LENGTH.pack(len(name)) + b"".join(map(name_bytes, name))
    write = _WRITERS.get(kind)
    if write is not None:
        tag, data = write(name)
        return tag + _LENGTH.pack(len(data)) + data
    data = _pickled(name)
    return b"p" + _LENGTH.pack(len(data)) + data


def name_of(data: bytes) -> Any:
    """The name that has these bytes. Not for one with an EncodedKey, of which bytes are not all."""
    name, end = _name_at(data, 0)
    if end != len(data):
        raise DataError(f"{data[:40]!r} is not a name's bytes: {len(data) - end} bytes are behind it")
    return name


def _name_at(data: bytes, at: int) -> tuple[Any, int]:
    tag, (length,) = data[at : at + 1], _LENGTH.unpack_from(data, at + 1)
    at += 1 + _LENGTH.size
    if tag == b"(":
        parts = []
        for _ in range(length):
            part, at = _name_at(data, at)
            parts.append(part)
        return tuple(parts), at
    read = _READERS.get(tag)
    if read is None:
        raise DataError(f"{data[:40]!r} is not a name's bytes: it has no kind {tag!r}")
    return read(data[at : at + length]), at + length


def _int_bytes(number: int) -> tuple[bytes, bytes]:
    return b"i", str(number).encode()


def _interval_bytes(window: IntervalWindow) -> tuple[bytes, bytes]:
    try:
        return b"w", _INTERVAL.pack(window.start_micros, window.end_micros)
    except struct.error:  # the first and the last windows of time reach past 64 bits
        return b"p", _pickled(window)


_WRITERS: dict[type, Callable[[Any], tuple[bytes, bytes]]] = {
    str: lambda text: (b"s", text.encode("utf-8", "surrogatepass")),
    bytes: lambda data: (b"b", data),
    int: _int_bytes,
    bool: lambda value: (b"t", b"1" if value else b"0"),
    type(None): lambda _: (b"n", b""),
    EncodedKey: lambda key: (b"k", key.data),
    GlobalWindow: lambda _: (b"g", b""),
    IntervalWindow: _interval_bytes,
}

_READERS: dict[bytes, Callable[[bytes], Any]] = {
    b"s": lambda data: data.decode("utf-8", "surrogatepass"),
    b"b": lambda data: data,
    b"i": int,
    b"t": lambda data: data == b"1",
    b"n": lambda _: None,
    b"g": lambda _: GlobalWindow(),
    b"w": lambda data: IntervalWindow.from_micros(*_INTERVAL.unpack(data)),
    b"p": pickle.loads,
}

_known: dict[Any, bytes] = {}
_KNOWN_MAX = 1 << 16


def _pickled(value: Any) -> bytes:
    """A pickle without memo, so that it does not depend on which parts are one object. Windows come again and again."""
    place = (type(value), value)
    try:
        found = _known.get(place)
    except TypeError:
        return _pickle(value)
    if found is None:
        if len(_known) > _KNOWN_MAX:
            _known.clear()
        found = _known[place] = _pickle(value)
    return found


def _pickle(value: Any) -> bytes:
    out = io.BytesIO()
    pickler = pickle.Pickler(out, 5)
    pickler.fast = True
    pickler.dump(value)
    return out.getvalue()
