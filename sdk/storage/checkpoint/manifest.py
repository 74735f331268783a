"""A manifest: what one checkpoint or savepoint consists of. Its presence under its name is the commit.

    hornbeam-checkpoint 1 <bytes of the body> <crc32 of "1" + body, 8 hex digits>\n
    <body: a JSON object>\n

A manifest is text, so that a person can read it. Every byte counts: the first line has one spelling only.
"""

from __future__ import annotations

import json
import re
import time
import zlib
from collections.abc import Mapping
from typing import Any

import attrs

from hornbeam.storage.checkpoint.state_file import StateFile
from hornbeam.storage.errors import CorruptionError, StorageError

VERSION = 1
SUFFIX = ".manifest"
CORRUPT_SUFFIX = ".corrupt"

_FIRST_LINE = re.compile(rb"hornbeam-checkpoint ([1-9][0-9]{0,3}) (0|[1-9][0-9]{0,11}) ([0-9a-f]{8})\n")
_CHECKPOINT_NAME = re.compile(r"checkpoint-(\d{12})\.manifest")
_SAVEPOINT_NAME = re.compile(r"savepoint-([A-Za-z0-9][A-Za-z0-9._-]{0,99})\.manifest")


@attrs.frozen
class Manifest:
    """A committed checkpoint (`savepoint` None) or a savepoint made of one.

    `files` are in the order in which they count: a later one overrides an earlier one. `base` is the
    checkpoint that this one adds to. `metadata` is the caller's JSON object.
    """

    checkpoint: int
    files: tuple[StateFile, ...]
    key_groups: int
    base: int | None = None
    savepoint: str | None = None
    created_ms: int = attrs.field(factory=lambda: time.time_ns() // 1_000_000)
    metadata: Mapping[str, Any] = attrs.field(factory=dict, hash=False)

    @property
    def file_name(self) -> str:
        """The name of the manifest's own file."""
        if self.savepoint is not None:
            return savepoint_file_name(self.savepoint)
        return f"checkpoint-{self.checkpoint:012d}{SUFFIX}"

    @property
    def label(self) -> str:
        """What people call it."""
        return f"savepoint {self.savepoint!r}" if self.savepoint else f"checkpoint {self.checkpoint}"

    @property
    def size(self) -> int:
        """Bytes of all its state files."""
        return sum(file.size for file in self.files)

    def encode(self) -> bytes:
        """The file's content; TypeError or ValueError if the metadata is not JSON."""
        fields = attrs.asdict(self, recurse=False) | {"files": [file.to_json() for file in self.files]}
        body = json.dumps(fields, allow_nan=False, ensure_ascii=False, indent=1).encode()
        crc = zlib.crc32(body, zlib.crc32(b"%d" % VERSION))
        return b"hornbeam-checkpoint %d %d %08x\n" % (VERSION, len(body), crc) + body + b"\n"

    @classmethod
    def decode(cls, data: bytes, path: str) -> Manifest:
        """The manifest in a file's content; CorruptionError, or StorageError for a newer format."""
        first = _FIRST_LINE.match(data)
        if first is None:
            raise CorruptionError(path, 0, "the first line is not that of a manifest")
        version, length, crc = int(first[1]), int(first[2]), int(first[3], 16)
        start, end = first.end(), first.end() + length
        body = data[start:end]
        if data[end:] != b"\n":
            found_length = len(data) - start - 1
            raise CorruptionError(path, 0, f"body has {found_length} bytes, the first line says {length}")
        found = zlib.crc32(body, zlib.crc32(first[1]))
        if found != crc:
            raise CorruptionError(path, 0, f"checksum is {found:08x}, expected {crc:08x}")
        if version > VERSION:
            raise StorageError(
                path, "open", f"format version {version} is newer than this program's ({VERSION})"
            )
        try:
            fields = json.loads(body)
            fields["files"] = tuple(map(StateFile.from_json, fields["files"]))
            return cls(**fields)
        except (ValueError, TypeError, KeyError) as error:
            raise CorruptionError(path, start, f"body has a valid checksum, but {error}") from error


def savepoint_file_name(name: str) -> str:
    """The name of a savepoint's manifest; ValueError if the name cannot be one."""
    file_name = f"savepoint-{name}{SUFFIX}"
    if not _SAVEPOINT_NAME.fullmatch(file_name):
        raise ValueError(
            f"{name!r} cannot name a savepoint: use 1 to 100 letters, digits, '.', '_' or '-', the first"
            " of them a letter or digit"
        )
    return file_name


def check_savepoint_name(name: str) -> None:
    """ValueError if a savepoint cannot have that name."""
    savepoint_file_name(name)


def is_manifest_name(file_name: str) -> bool:
    """Whether a file of this name is a manifest of this store."""
    return bool(_CHECKPOINT_NAME.fullmatch(file_name) or _SAVEPOINT_NAME.fullmatch(file_name))
