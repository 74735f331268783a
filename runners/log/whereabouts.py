"""Where a thread is that does not come back: the line of the author's code that it works on or waits in."""

from __future__ import annotations

import sys
from collections.abc import Iterator
from types import FrameType


def whereabouts(thread: int) -> str:
    """`line 17 of pipeline.py, in process`, the outermost code that ours has called; empty if there is none."""
    found: FrameType | None = None
    for frame in _frames(sys._current_frames().get(thread)):
        if _is_ours(frame):
            break
        found = frame
    if found is None:
        return ""
    return f"line {found.f_lineno} of {found.f_code.co_filename}, in {found.f_code.co_name}"


def _frames(frame: FrameType | None) -> Iterator[FrameType]:
    while frame is not None:
        yield frame
        frame = frame.f_back


def _is_ours(frame: FrameType) -> bool:
    name = frame.f_globals.get("__name__") or ""
    return name == "hornbeam" or name.startswith("hornbeam.")
