"""The input of the kill campaign's pipelines, and what each must have committed of it in the end, in plain Python.

Each element gets a random tag where it comes in. The tags that `seen` committed say which of the attempts counted; every
other output must be made of exactly those. Values of a key rise, so they are its sequence numbers.
"""

from __future__ import annotations

import json
import os
import random
from collections import Counter, defaultdict
from collections.abc import Iterator, Mapping, Sequence
from typing import Any

from log_runner.staged_files import committed, left_over

from hornbeam.storage.log import Consumer, Log

PARTITIONS = 3
KEYS = 7

#: How far each partition was read.
Counts = Sequence[int]


def record(partition: int, offset: int) -> tuple[str, int, float]:
    """The input: (key, value, seconds). A key belongs to one partition, so its order is known."""
    chance = random.Random(partition * 1_000_003 + offset)
    key = f"p{partition}k{chance.randrange(KEYS)}"
    return key, offset, offset * 0.5 + 30 * (offset // 50)  # with gaps, so that sessions end


def records(counts: Counts) -> Iterator[tuple[int, str, int, float]]:
    """The first so many records of each partition: (partition, key, value, seconds)."""
    for partition, size in enumerate(counts):
        for offset in range(size):
            key, value, seconds = record(partition, offset)
            yield partition, key, value, seconds


def check(name: str, folder: str, size: int, drained: bool = False, moved: bool = False) -> int:
    """AssertionError where what was committed is not what one undisturbed run would have; how many rows were compared.

    A job that was drained has read a beginning of each partition: which is seen from `seen`, the rest follows from it.
    After a move to other workers `sides`, which has no step with keys, need not keep the order within a key.
    """
    seen = list(committed(os.path.join(folder, "seen")))
    tags = {(key, value): tag for key, (value, tag) in seen}
    counts = [size] * PARTITIONS
    if drained:
        counts = [sum(key.startswith(f"p{partition}k") for key, _ in tags) for partition in range(PARTITIONS)]
    given = Counter((key, value) for key, (value, _) in seen)
    due = Counter((key, value) for _, key, value, _ in records(counts))
    assert given == due, f"seen: {_difference(given, due)}"
    _in_order("seen", ((key, value) for key, (value, _) in seen))
    rows = _rows_of(name, folder)
    shown = {"timers": lambda row: row[:2], "files": sorted}.get(name, lambda row: row)
    given = Counter(repr(shown(row)) for row in rows)
    due = Counter(repr(shown(row)) for row in expected(name, counts, tags))
    assert given == due, f"result: {_difference(given, due)}"
    if name != "files" and not (name == "sides" and moved):  # a row is a file there
        _in_order("result", map(_sequence_of[name], rows))
    for part in ("seen", "result"):
        assert not left_over(os.path.join(folder, part)), f"{part}: staged files are left"
    return len(seen) + len(rows)


def _rows_of(name: str, folder: str) -> list[Any]:
    """What the pipeline committed, in order for each key; for `files` a list of rows for each file."""
    place = os.path.join(folder, "result")
    if name == "log":
        return _rows_of_log(folder)
    if name == "files":
        names = sorted(os.listdir(place)) if os.path.isdir(place) else []
        assert not [n for n in names if not n.startswith("out-")], f"temporary files are left: {names}"
        return [_lines(os.path.join(place, name)) for name in names]
    return list(committed(place))


def _lines(path: str) -> list[Any]:
    with open(path, encoding="utf-8") as file:
        lines = file.readlines()
    assert lines and lines[-1].endswith("\n"), f"{path} is not complete"
    return [tuple(json.loads(line)) for line in lines]


def _rows_of_log(folder: str) -> list[Any]:
    with Log(os.path.join(folder, "log")) as log:
        staging = [name for name in log.topics(internal=True) if name.startswith("__staging")]
        assert not staging, f"staging topics are left: {staging}"
        with Consumer(log, "out") as consumer:  # read_committed; the records of a partition come in order
            rows = []
            while found := consumer.poll(0.0):
                rows += [tuple(json.loads(record.value)) for record in found]
    return rows


#: Of a row of the result its key, and what must rise within that key.
_sequence_of: Mapping[str, Any] = {
    "windowed": lambda row: (row[0], row[1][0][0]),
    "sessions": lambda row: (row[0], row[1][0][0]),
    "timers": lambda row: (row[0], row[1][0][0]),
    "stateful": lambda row: (row[0], row[1]),
    "log": lambda row: (row[0], row[1]),
    "sides": lambda row: (row[0], row[1][0]),
}


def _in_order(part: str, numbered: Any) -> None:
    """Whether the numbers of each key rise."""
    last: dict[Any, int] = {}
    for key, number in numbered:
        assert number > last.get(key, -1), f"{part}: {number} comes after {last[key]} in key {key!r}"
        last[key] = number


def _difference(given: Counter[Any], due: Counter[Any]) -> str:
    lost, doubled = list((due - given).elements()), list((given - due).elements())
    return f"{len(lost)} lost {lost[:5]}, {len(doubled)} too many {doubled[:5]}"


def expected(name: str, counts: Counts, tags: Mapping[tuple[str, int], str]) -> Iterator[Any]:
    """What the pipeline gives, with the tags that counted."""
    groups: dict[Any, list[Any]] = defaultdict(list)
    numbers: Counter[str] = Counter()
    by_key: dict[str, list[tuple[float, int, str]]] = defaultdict(list)
    most: dict[int, int] = defaultdict(int)
    for _, key, value, seconds in records(counts):
        tag = tags[key, value]
        by_key[key].append((seconds, value, tag))
        numbers[key] += 1
        groups[key, int(seconds // 10)].append((value, tag))
        most[int(seconds // 10)] = max(most[int(seconds // 10)], value)
        if name in ("stateful", "log"):
            yield key, numbers[key], value, tag
    if name == "windowed":
        yield from ((key, sorted(values)) for (key, _), values in groups.items())
    elif name == "sessions":
        for key, rows in by_key.items():
            yield from ((key, session) for session in _sessions(rows))
    elif name == "timers":
        for key, rows in by_key.items():
            yield from ((key, sorted(buffer)) for buffer in _buffers(rows))
    elif name == "sides":
        for _, key, value, seconds in records(counts):
            yield key, (value, tags[key, value]), most[int(seconds // 10)]
    elif name == "files":
        windows: dict[int, list[Any]] = defaultdict(list)
        for (key, window), values in groups.items():
            windows[window] += [(key, value, tag) for value, tag in values]
        yield from windows.values()


def _sessions(rows: list[tuple[float, int, str]]) -> Iterator[list[Any]]:
    session: list[Any] = []
    end = None
    for seconds, value, tag in rows:
        if end is not None and seconds >= end:
            yield sorted(session)
            session = []
        session.append((value, tag))
        end = seconds + 5
    yield sorted(session)


def _buffers(rows: list[tuple[float, int, str]]) -> Iterator[list[Any]]:
    buffers: dict[int, list[Any]] = defaultdict(list)
    for seconds, value, tag in rows:
        buffers[int(seconds // 20)].append((value, tag))
    yield from buffers.values()
