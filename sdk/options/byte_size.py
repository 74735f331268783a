"""Amounts of memory as text: `256MB`, `1.5 GiB`, `4096`."""

from __future__ import annotations

import os
import re

__all__ = ["default_memory_limit", "format_bytes", "parse_bytes"]

_UNITS = {"": 1, "k": 10, "m": 20, "g": 30, "t": 40, "p": 50}
_PATTERN = re.compile(r"\s*(\d+(?:\.\d*)?|\.\d+)\s*([kmgtp]?)i?b?\s*", re.IGNORECASE)

#: No pipeline takes more than this by default, however large the machine.
MEMORY_LIMIT_MAX = 4 << 30


def parse_bytes(text: str | int) -> int:
    """The number of bytes. Units are powers of 1024: `256MB`, `256MiB` and `256m` mean the same.

    Raises ValueError for anything else, and for zero or less.
    """
    if isinstance(text, int) and not isinstance(text, bool):
        amount = text
    else:
        match = _PATTERN.fullmatch(str(text))
        if match is None:
            raise ValueError(f"{text!r} is no amount of memory; write a number and a unit, as in 256MB")
        unit = match[2].lower()
        amount = int(float(match[1]) * (1 << _UNITS[unit] if unit else 1))
    if amount <= 0:
        raise ValueError(f"{text!r} is no amount of memory; it must be more than zero")
    return amount


def format_bytes(amount: int) -> str:
    """The amount with the largest unit that leaves at least 1, such as `1.5GB`."""
    value, unit = float(amount), "B"
    for larger in ("KB", "MB", "GB", "TB"):
        if abs(value) < 1024:
            break
        value, unit = value / 1024, larger
    return f"{value:.1f}".rstrip("0").rstrip(".") + unit


def default_memory_limit() -> int:
    """Half of the physical memory (or of this process's control group), at most 4 GB."""
    return min(_memory_available_to_process() // 2, MEMORY_LIMIT_MAX)


def _memory_available_to_process() -> int:
    try:
        physical = os.sysconf("SC_PAGE_SIZE") * os.sysconf("SC_PHYS_PAGES")
    except (AttributeError, ValueError, OSError):
        physical = 2 * MEMORY_LIMIT_MAX
    for path in ("/sys/fs/cgroup/memory.max", "/sys/fs/cgroup/memory/memory.limit_in_bytes"):
        try:
            with open(path, encoding="ascii") as file:
                limit = file.read().strip()
        except OSError:
            continue
        if limit.isdigit() and int(limit) > 0:
            physical = min(physical, int(limit))
    return physical
