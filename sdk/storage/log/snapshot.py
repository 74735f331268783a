"""A partition's snapshot: index, producers and aborted transactions of the active segment up to a position that
is on the disk, so that opening need only look at what came after. Losing it costs a scan, nothing else.
"""

from __future__ import annotations

import os
import struct
import zlib

import attrs

from hornbeam.storage.errors import CorruptionError, MissingFileError
from hornbeam.storage.files import Files
from hornbeam.storage.log.errors import FormatVersionError
from hornbeam.storage.log.producer_state import ProducerState, decode_aborted, encode_aborted
from hornbeam.storage.log.sparse_index import SparseIndex

SNAPSHOT_NAME = "snapshot"
SNAPSHOT_MAGIC = b"HBLOGSNP"
SNAPSHOT_VERSION = 1
_HEAD = struct.Struct("<8sII")
_CRC = struct.Struct("<I")


@attrs.frozen
class Snapshot:
    """State of the active segment after the batches up to index.position, all of which are durable."""

    index: SparseIndex
    producers: ProducerState

    def encode(self) -> bytes:
        """The file's bytes."""
        head = _HEAD.pack(SNAPSHOT_MAGIC, SNAPSHOT_VERSION, 0)
        data = head + self.index.encode() + self.producers.encode() + encode_aborted(self.producers.aborted)
        return data + _CRC.pack(zlib.crc32(data))

    @classmethod
    def decode(cls, path: str, data: bytes) -> Snapshot:
        """Inverse of `encode`; CorruptionError when a byte is not as written."""
        if len(data) < _HEAD.size + 4 or zlib.crc32(data[:-4]) != _CRC.unpack_from(data, len(data) - 4)[0]:
            raise CorruptionError(path, 0, "checksum of the snapshot does not match")
        magic, version, _ = _HEAD.unpack_from(data)
        if magic != SNAPSHOT_MAGIC:
            raise CorruptionError(path, 0, "not a snapshot")
        if version != SNAPSHOT_VERSION:
            raise FormatVersionError(
                f"{path}: snapshot format {version}; this version reads {SNAPSHOT_VERSION}"
            )
        index, at = SparseIndex.decode(path, data, _HEAD.size)
        try:
            producers, at = ProducerState.decode(data, at)
            producers.aborted, _ = decode_aborted(data, at)
        except struct.error as error:
            raise CorruptionError(path, at, f"snapshot is cut: {error}") from error
        return cls(index, producers)


def snapshot_path(directory: str) -> str:
    """The snapshot file of a partition."""
    return os.path.join(directory, SNAPSHOT_NAME)


def load_snapshot(files: Files, directory: str) -> Snapshot | None:
    """The partition's snapshot; None when it is missing or damaged (a scan replaces it)."""
    path = snapshot_path(directory)
    try:
        return Snapshot.decode(path, files.read_bytes(path))
    except (MissingFileError, CorruptionError):
        return None
