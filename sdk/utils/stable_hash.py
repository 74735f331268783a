"""A hash of encoded keys that is the same in every process, on every machine and after every restart."""

from __future__ import annotations

import hashlib


def stable_hash(encoded: bytes) -> int:
    """64 unsigned bits of BLAKE2b over the bytes; partitions of keys depend on it, so it never changes."""
    return int.from_bytes(hashlib.blake2b(encoded, digest_size=8).digest(), "big")
