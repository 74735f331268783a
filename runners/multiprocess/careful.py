"""A careful attempt: every element is noted before each step that works on it, so that one that kills its worker is known.

The note lies in a small mapped file, which outlives the process that wrote it. It costs much, so it is for tasks whose
workers have died before.
"""

from __future__ import annotations

import mmap
import os
import struct

from hornbeam.runners.engine.build import BuiltStage
from hornbeam.runners.engine.bundle import Bundle
from hornbeam.runners.engine.failures import short_repr
from hornbeam.runners.engine.operator import Operator, Receiver

_SIZE = 4096
_LENGTH = struct.Struct("<I")


class Noting:
    """The note of one worker."""

    def __init__(self, path: str) -> None:
        with open(path, "wb+") as file:
            file.truncate(_SIZE)
            self._mapped = mmap.mmap(file.fileno(), _SIZE)
        self._note = b""

    def note_every_step(self, built: BuiltStage) -> None:
        """Has every step of a stage noted, element by element."""
        for id_, operator in built.operators.items():
            built.entries[id_] = self._noted(operator)  # type: ignore[index]

    def _noted(self, operator: Operator) -> Receiver:
        def process(bundle: Bundle) -> None:
            before = self._note
            for single in bundle.chunks(1):
                self._write(f"step {operator.label!r} on element {short_repr(single.values[0])}".encode())
                operator.process(single)
            self._write(before)

        return process

    def _write(self, note: bytes) -> None:
        self._note = note = note[: _SIZE - _LENGTH.size]
        self._mapped[: _LENGTH.size + len(note)] = _LENGTH.pack(len(note)) + note

    def clear(self) -> None:
        """Nothing is being worked on."""
        self._write(b"")


def last_note(path: str) -> str:
    """What a worker that has died was working on, as `step ... on element ...`, or nothing."""
    try:
        with open(path, "rb") as file:
            data = file.read()
    except OSError:
        return ""
    if len(data) < _LENGTH.size:
        return ""
    (length,) = _LENGTH.unpack_from(data)
    return data[_LENGTH.size : _LENGTH.size + length].decode(errors="replace")


def note_path(folder: str, worker: int) -> str:
    """Where a worker's note lies."""
    return os.path.join(folder, f"worker-{worker}.note")
