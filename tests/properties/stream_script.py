"""A line of text for what a TestStream does, and one for each pane that comes of it.

1@3 a2@4 | W 10 | P 5 | W end        1 at 3 s of the key k and 2 at 4 s of the key a, at once; then the watermark is at
                                     10 s; then 5 s of processing time pass; then the watermark is at the end of time
[0, 10) k: 1 2 @end ON_TIME 0/0 last the pane of the window and key, its values, timestamp (`end`: the window's last),
                                     timing, index and nonspeculative index; `last` when it says so
"""

from __future__ import annotations

import re
from collections.abc import Iterable
from typing import Any

from hornbeam.testing.test_stream import TestStream
from hornbeam.transforms.window import GlobalWindow, TimestampedValue
from hornbeam.utils.windowed_value import PaneInfoTiming, WindowedValue

_ELEMENT = re.compile(r"([a-z]?)(-?\d+)@(-?[\d.]+)")


def stream_of(script: str) -> TestStream:
    """The TestStream that the script is of."""
    stream = TestStream()
    for event in filter(None, map(str.strip, script.split("|"))):
        if event == "W end":
            stream.advance_watermark_to_infinity()
        elif event.startswith("W "):
            stream.advance_watermark_to(float(event[2:]))
        elif event.startswith("P "):
            stream.advance_processing_time(float(event[2:]))
        else:
            stream.add_elements(
                [TimestampedValue((key or "k", int(value)), float(at)) for key, value, at in _parsed(event)]
            )
    return stream


def _parsed(event: str) -> Iterable[tuple[str, str, str]]:
    for word in event.split():
        match = _ELEMENT.fullmatch(word)
        if match is None:
            raise ValueError(f"{word!r} is no element; write 1@3 or a1@3.")
        yield match[1], match[2], match[3]


def line_of(element: WindowedValue[Any]) -> str:
    """The line of a pane, or of any other element of (key, value)."""
    (window,) = element.windows
    key, value = element.value
    span = "global" if window == GlobalWindow() else f"[{float(window.start):g}, {float(window.end):g})"
    values = " ".join(map(str, value)) if isinstance(value, list) else str(value)
    at = "end" if element.timestamp == window.max_timestamp() else f"{float(element.timestamp):g}"
    pane = element.pane_info
    text = f"{span} {key}: {values} @{at}"
    if pane.timing == PaneInfoTiming.UNKNOWN:
        return text
    assert pane.is_first == (pane.index == 0)
    timing = PaneInfoTiming.to_string(pane.timing)
    text += f" {timing} {pane.index}/{pane.nonspeculative_index}"
    return text + " last" if pane.is_last else text
