"""Small JSON documents with a checksum, for topic and group descriptions.

The file is one JSON object on the first line and `crc32 <8 hex digits>` of that line's bytes on the second.
"""

from __future__ import annotations

import json
import zlib
from collections.abc import Mapping
from typing import Any

from hornbeam.storage.errors import CorruptionError


def seal(document: Mapping[str, Any]) -> bytes:
    """The file's bytes."""
    line = json.dumps(document, sort_keys=True, separators=(",", ":")).encode()
    return b"%s\ncrc32 %08x\n" % (line, zlib.crc32(line))


def unseal(path: str, data: bytes) -> dict[str, Any]:
    """The document; CorruptionError when a byte is not as written."""
    line, _, rest = data.partition(b"\n")
    if rest != b"crc32 %08x\n" % zlib.crc32(line):
        raise CorruptionError(path, 0, "checksum of the document does not match")
    document = json.loads(line)
    if not isinstance(document, dict):
        raise CorruptionError(path, 0, "the document is not a JSON object")
    return document
