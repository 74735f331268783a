"""ColdStore: the records of one window that were not used for a while, on disk.

    put ──► current segment ─ full ─► closed segments ─ mostly gone ─► what is left goes to the current one
    take, take_due, drain ──► records come back, and are in the store no more

A record is in memory or in the store, never in both. Segments are files that only grow:

    header   length and CRC-32 of the body, little-endian
    body     hash, counts of wake-up times and timers · the wake-up times: kind, microseconds · pickle of (key, content), or
             one of the key and one of the content, as the bit _IS_APART of the count says
    padding  to the next 16 bytes, so that a segment's number and a place in it make an address of 32 bits

In memory are 9 bytes a record (`cold_index`) and 16 a wake-up time (`cold_wakes`), more while runs are merged. The
files belong to one run in one process, as all of TemporarySpace.
"""

from __future__ import annotations

import io
import os
import pickle
import struct
import zlib
from collections.abc import Iterable, Iterator, Sequence
from itertools import islice
from typing import IO, Any

import attrs
import numpy as np

from hornbeam.error import DataError
from hornbeam.runners.engine.clock import NEVER
from hornbeam.runners.engine.cold_index import ColdIndex, Refs, addresses_of, hashes_of, refs_of
from hornbeam.runners.engine.cold_wakes import Wakes
from hornbeam.runners.engine.failures import add_advice, raised_at_key
from hornbeam.runners.engine.keys import user_key
from hornbeam.runners.engine.spill import TemporarySpace, pickled

_HEADER = struct.Struct("<II")
_FACTS = struct.Struct("<IHI")
_WAKE = struct.Struct("<bq")
_IS_APART = 1 << 15
#: Stands for the end of time, which is later by one.
_EVER = NEVER - 1
_FIRST_READ = 512
_BODY_BYTES_MAX = (1 << 32) - 1

#: A segment is closed when it has come to this size; 2^18 places of 16 bytes.
SEGMENT_BYTES = 1 << 22
_UNIT_BITS, _PLACE_BITS = 4, 18
#: Numbers that segments can have; 14 bits hold one more.
_SEGMENTS_MAX = (1 << 14) - 1

#: What follows a body of a length, by the lower bits of that.
_LAST = (1 << _UNIT_BITS) - 1
_PADDING = [bytes(-(_HEADER.size + length) & _LAST) for length in range(1 << _UNIT_BITS)]

Entry = tuple[Any, Any]
_Wakes = Sequence[tuple[int, int]]


@attrs.frozen
class ColdRecord:
    """A record on its way to disk: `wakes` are (kind, time) of what brings it back by itself."""

    key: Any
    content: Any
    wakes: _Wakes = ()
    timers: int = 0
    #: The pickle of the content, where there is one.
    pickled: bytes | None = None


def first_of_each_kind(times: Iterable[tuple[int, int]]) -> tuple[tuple[int, int], ...]:
    """The wake-up times of a record: of each kind the earliest of these (kind, time), the end of time at the latest."""
    first: dict[int, int] = {}
    for kind, time in times:
        first[kind] = min(time, first.get(kind, _EVER))
    return tuple(first.items())


@attrs.define
class _Segment:
    path: str
    size: int = 0
    live_bytes: int = 0


@attrs.define
class _Found:
    """A record's bytes, and where they lie."""

    ref: int
    body: bytes
    wakes: list[tuple[int, int]]
    timers: int
    is_apart: bool

    @property
    def room(self) -> int:
        return _padded(_HEADER.size + len(self.body))

    def entry(self) -> Entry:
        data = memoryview(self.body)[_FACTS.size + len(self.wakes) * _WAKE.size :]
        if self.is_apart:
            file = io.BytesIO(data)
            return pickle.load(file), pickle.load(file)
        entry: Entry = pickle.loads(data)
        return entry


def _found(ref: int, body: bytes) -> _Found:
    _, flagged, timers = _FACTS.unpack_from(body)
    count = flagged & ~_IS_APART
    wakes = [_WAKE.unpack_from(body, _FACTS.size + i * _WAKE.size) for i in range(count)] if count else []
    return _Found(ref, body, wakes, timers, flagged >= _IS_APART)


def _padded(size: int) -> int:
    return -(-size >> _UNIT_BITS) << _UNIT_BITS


class ColdStore:
    """Records by table key, with the times at which they want to come back, by kind."""

    def __init__(self, space: TemporarySpace, name: str, kinds: int) -> None:
        self._space = space
        self._name = name
        self._index = ColdIndex()
        self.wakes = [Wakes(self._index) for _ in range(kinds)]
        self._segments: dict[int, _Segment] = {}
        self._current = -1
        self._last_number = -1
        #: How many timers its records have set.
        self.timers = 0

    def __len__(self) -> int:
        return len(self._index)

    @property
    def memory_bytes(self) -> int:
        """What it takes in memory."""
        return self._index.memory_bytes + sum(wakes.memory_bytes for wakes in self.wakes)

    @property
    def disk_bytes(self) -> int:
        """What its files take."""
        return sum(segment.size for segment in self._segments.values())

    # In

    def put(self, records: list[ColdRecord]) -> None:
        """Adds records whose keys are not in the store. OSError when the disk is full."""
        hashes = hashes_of([record.key for record in records], len(records))
        bodies = [_body(hash_, record) for hash_, record in zip(hashes.tolist(), records)]
        self.timers += sum(record.timers for record in records)
        self._put(hashes, bodies, [record.wakes for record in records])
        self._make_room()

    def put_pickled(self, keys: list[Any], contents: list[bytes]) -> None:
        """As `put`, for pickled contents that nothing brings back but their keys."""
        hashes = hashes_of(keys, len(keys))
        pack = _FACTS.pack
        bodies = [
            b"".join((pack(hash_, _IS_APART, 0), pickled(key), content))
            for hash_, key, content in zip(hashes.tolist(), keys, contents)
        ]
        self._put(hashes, bodies, ())
        self._make_room()

    def _make_room(self) -> None:
        while self.disk_bytes > 2 * self._live_bytes() + 2 * SEGMENT_BYTES:
            self._clean()

    def _live_bytes(self) -> int:
        return sum(segment.live_bytes for segment in self._segments.values())

    def _put(self, hashes: Refs, bodies: list[bytes], wakes: Iterable[_Wakes]) -> None:
        refs = refs_of(hashes, np.array(self._write(bodies), dtype=np.uint64))
        self._index.add(refs)
        times: list[tuple[list[int], list[int]]] = [([], []) for _ in self.wakes]
        for place, own in enumerate(wakes):
            for kind, time in own:
                times[kind][0].append(time)
                times[kind][1].append(place)
        for found, (of_kind, places) in zip(self.wakes, times):
            if of_kind:
                found.add(np.array(of_kind, dtype=np.int64), refs[places])

    def _write(self, bodies: list[bytes]) -> list[int]:
        """The addresses of records, once written."""
        pack, crc32 = _HEADER.pack, zlib.crc32
        addresses: list[int] = []
        done = 0
        while done < len(bodies):
            number, segment = self._open_segment()
            parts: list[bytes] = []
            base, size = number << _PLACE_BITS, segment.size
            for body in islice(bodies, done, None):
                if size >= SEGMENT_BYTES:
                    break
                length = len(body)
                parts += (pack(length, crc32(body)), body, _PADDING[length & _LAST])
                addresses.append(base | size >> _UNIT_BITS)
                size += _HEADER.size + length + len(parts[-1])
            done = len(addresses)
            self._append(segment, b"".join(parts))
        return addresses

    def _append(self, segment: _Segment, data: bytes) -> None:
        try:
            self._space.write(lambda: _write_at(segment.path, segment.size, data))
        except OSError as error:
            add_advice(
                error,
                f"while moving state to {os.path.dirname(segment.path)}: make room there, choose another place with "
                "--temp_dir, or allow more memory with --memory_limit",
            )
            raise
        segment.size += len(data)
        segment.live_bytes += len(data)
        self._space.spilled_bytes += len(data)

    def _open_segment(self) -> tuple[int, _Segment]:
        current = self._segments.get(self._current)
        if current is not None and current.size < SEGMENT_BYTES:
            return self._current, current
        if len(self._segments) >= _SEGMENTS_MAX:
            raise DataError(
                f"more than {_SEGMENTS_MAX * SEGMENT_BYTES >> 30} GB of state in one window do not go to disk: use smaller "
                "windows, let state expire, or spread the job over more workers"
            )
        number = self._last_number
        while (number := (number + 1) % _SEGMENTS_MAX) in self._segments:
            pass
        if number <= self._last_number:  # numbers come again: nothing may remember what had them before
            for wakes in self.wakes:
                wakes.throw_out_stale()
        self._current = self._last_number = number
        self._segments[number] = _Segment(self._space.new_path(self._name))
        return number, self._segments[number]

    # Out

    def take(self, keys: Iterable[Any]) -> list[Entry]:
        """Takes out the records of these keys, as far as they are here."""
        found = self._with_keys(keys)
        self._index.remove_at(np.array([spot for _, spot, _ in found], dtype=np.int64))
        self._let_go([each for each, _, _ in found])
        return [entry for _, _, entry in found]

    def peek(self, keys: Iterable[Any]) -> list[Entry]:
        """The records of these keys, as far as they are here; they stay."""
        return [entry for _, _, entry in self._with_keys(keys)]

    def _with_keys(self, keys: Iterable[Any]) -> list[tuple[_Found, int, Entry]]:
        wanted = set(keys)
        refs, spots = self._index.find(np.unique(hashes_of(wanted, len(wanted))))
        spot_of = dict(zip(refs.tolist(), spots.tolist()))
        entries = ((found, spot_of[found.ref], found.entry()) for found in self._read(refs))
        return [each for each in entries if each[2][0] in wanted]

    def next_time(self, kind: int) -> int | None:
        """The earliest wake-up time of a kind."""
        time = self.wakes[kind].next_time()
        return NEVER if time == _EVER else time

    def take_due(self, kind: int, until: int, count: int) -> list[Entry]:
        """Takes out some of the records that are due, the earliest first; at least one if any is."""
        found = list(self._read(self.wakes[kind].due(until, count)))
        self._remove(found)
        return [each.entry() for each in found]

    def first(self, kind: int, count: int) -> list[Entry]:
        """The records that are due first, whenever that is; they stay."""
        return [found.entry() for found in self._read(self.wakes[kind].due(_EVER, count)[:count])]

    def drain(self, count: int) -> Iterator[list[Entry]]:
        """Takes out everything, up to `count` records at a time."""
        for number in list(self._segments):
            found: list[_Found] = []
            for each in self._scan(number) if number in self._segments else ():
                found.append(each)
                if len(found) >= count:
                    yield self._out(found)
                    found = []
            if found:
                yield self._out(found)

    def _out(self, found: list[_Found]) -> list[Entry]:
        self._remove(found)
        return [each.entry() for each in found]

    def _remove(self, found: list[_Found]) -> None:
        if not found:
            return
        self._index.remove(np.array([each.ref for each in found], dtype=np.uint64))
        self._let_go(found)

    def _let_go(self, found: list[_Found]) -> None:
        """The records are in the index no more."""
        for each in found:
            self.timers -= each.timers
            for kind, _ in each.wakes:
                self.wakes[kind].live -= 1
            segment = self._segments[_number(each.ref)]
            segment.live_bytes -= each.room
        for number in [n for n, segment in self._segments.items() if not segment.live_bytes]:
            if number != self._current or not len(self._index):
                self._delete(number)

    def _read(self, refs: Refs) -> Iterator[_Found]:
        """Records, in the order in which they lie."""
        by_segment: dict[int, list[int]] = {}
        for ref in refs[np.argsort(addresses_of(refs))].tolist():
            by_segment.setdefault(_number(ref), []).append(ref)
        for number, own in by_segment.items():
            path = self._segments[number].path
            with _opened(path) as file:
                for ref in own:
                    yield _found(ref, _body_at(file, _offset(ref), path))

    # Room

    def _clean(self) -> None:
        """Moves what is left of the segment that is emptiest."""
        number = min(
            self._segments, key=lambda n: self._segments[n].live_bytes / max(1, self._segments[n].size)
        )
        if number == self._current:
            self._current = -1
        found = list(self._scan(number))
        bodies = [each.body for each in found]
        refs = np.array([each.ref for each in found], dtype=np.uint64)
        wakes = [each.wakes for each in found]
        self._index.remove(refs)
        for own in wakes:
            for kind, _ in own:
                self.wakes[kind].live -= 1
        self._put(refs >> np.uint64(32), bodies, wakes)
        self._delete(number)

    def _scan(self, number: int) -> Iterator[_Found]:
        """The records of a segment that are in the store."""
        segment = self._segments[number]
        found: list[_Found] = []
        with _opened(segment.path) as file:
            at = 0
            while at < segment.size:
                body = _body_at(file, at, segment.path)
                address = number << _PLACE_BITS | at >> _UNIT_BITS
                found.append(_found(_FACTS.unpack_from(body)[0] << 32 | address, body))
                at += found[-1].room
        there = self._index.are_there(np.array([each.ref for each in found], dtype=np.uint64))
        return (each for each, is_there in zip(found, there.tolist()) if is_there)

    def _delete(self, number: int) -> None:
        self._space.remove(self._segments.pop(number).path)

    def delete(self) -> None:
        """Removes its files; nothing is in it afterwards."""
        for number in list(self._segments):
            self._delete(number)
        self._index = ColdIndex()
        self.wakes = [Wakes(self._index) for _ in self.wakes]
        self.timers = 0


def _number(ref: int) -> int:
    return (ref & 0xFFFF_FFFF) >> _PLACE_BITS


def _offset(ref: int) -> int:
    return (ref & ((1 << _PLACE_BITS) - 1)) << _UNIT_BITS


def _body(hash_: int, record: ColdRecord) -> bytes:
    wakes = b"".join([_WAKE.pack(kind, time) for kind, time in record.wakes])
    if record.pickled is not None:
        facts = _FACTS.pack(hash_, len(record.wakes) | _IS_APART, record.timers)
        return b"".join((facts, wakes, pickled(record.key), record.pickled))
    facts = _FACTS.pack(hash_, len(record.wakes), record.timers)
    try:
        body = facts + wakes + pickled((record.key, record.content))
        if len(body) > _BODY_BYTES_MAX:
            raise DataError(
                f"the state of one key takes {len(body):,} bytes; {_BODY_BYTES_MAX:,} are the most that go to disk"
            )
        return body
    except Exception as error:
        raised_at_key(error, user_key(record.key))
        raise


def _write_at(path: str, size: int, data: bytes) -> None:
    with open(path, "r+b" if size else "wb") as file:
        file.seek(size)  # a write before may have stopped halfway
        file.write(data)


def _opened(path: str) -> IO[bytes]:
    try:
        return open(path, "rb", buffering=0)
    except OSError as error:
        add_advice(error, "state that was moved to disk cannot be read; run the pipeline again")
        raise


def _body_at(file: IO[bytes], offset: int, path: str) -> bytes:
    data = os.pread(file.fileno(), _FIRST_READ, offset)
    if len(data) >= _HEADER.size:
        length, checksum = _HEADER.unpack_from(data)
        body = data[_HEADER.size : _HEADER.size + length]
        while len(body) < length:
            more = os.pread(file.fileno(), length - len(body), offset + _HEADER.size + len(body))
            if not more:
                break
            body += more
        if len(body) == length >= _FACTS.size and zlib.crc32(body) == checksum:
            return body
    raise DataError(f"temporary file {path} is damaged at offset {offset}; run the pipeline again")
