"""How much a source has left to read, as its parts say: sums of sizes that may be unknown, in elements or bytes.

A DoFn or source says with `backlog_unit = "bytes"` that its sizes are bytes, and with "" that they are no backlog at all;
without it they are elements.
"""

from __future__ import annotations

import math
from collections.abc import Iterable
from typing import Any

from hornbeam.runners.engine.head import Backlog

BYTES, ELEMENTS = "bytes", "elements"


def unit_of(owner: Any) -> str:
    """The unit of the sizes of a DoFn or a source."""
    return str(getattr(owner, "backlog_unit", ELEMENTS))


def backlog_of(unit: str, sizes: Iterable[float | None]) -> Backlog:
    """The sum of the sizes of parts; unknown if one of them is, has no end, or cannot be found out."""
    total = 0.0
    try:
        for size in sizes:
            if size is None or not math.isfinite(size) or size < 0:
                return Backlog()
            total += size
    except Exception:  # the author's: it is for show, and must not harm the run
        return Backlog()
    return Backlog(
        elements=round(total) if unit == ELEMENTS else None, bytes=round(total) if unit == BYTES else None
    )
