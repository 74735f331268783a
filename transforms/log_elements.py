"""LogElements: prints or logs every element that passes."""

from __future__ import annotations

import logging
from collections.abc import Iterator
from typing import Any, TypeVar

from hornbeam.transforms.core import DoFn, ParDo
from hornbeam.transforms.ptransform import PTransform
from hornbeam.utils.timestamp import Timestamp

T = TypeVar("T")

_LOGGER = logging.getLogger(__name__)


class LogElements(PTransform[Any, Any]):
    """Passes every element on, and prints it, or logs it when `level` (of `logging`) is given.

    A line is the prefix and `str(element)`, then, as asked for, timestamp, window and pane. Times are in
    RFC 3339 form, or with `use_epoch_time` seconds since 1970.

    >>> import hornbeam as beam
    >>> _ = ["fig"] | beam.LogElements(prefix="> ")
    > fig
    """

    def __init__(
        self,
        label: str | None = None,
        prefix: str = "",
        with_timestamp: bool = False,
        with_window: bool = False,
        level: int | None = None,
        with_pane_info: bool = False,
        use_epoch_time: bool = False,
    ) -> None:
        super().__init__(label)
        self._fn = _LogElementsFn(prefix, with_timestamp, with_window, level, with_pane_info, use_epoch_time)

    def expand(self, input: Any) -> Any:
        """One ParDo."""
        return input | ParDo(self._fn).with_input_types(T).with_output_types(T)


class _LogElementsFn(DoFn):
    """Writes one line for each element."""

    def __init__(
        self,
        prefix: str,
        with_timestamp: bool,
        with_window: bool,
        level: int | None,
        with_pane_info: bool,
        use_epoch_time: bool,
    ) -> None:
        super().__init__()
        self.prefix = prefix
        self.with_timestamp = with_timestamp
        self.with_window = with_window
        self.level = level
        self.with_pane_info = with_pane_info
        self.use_epoch_time = use_epoch_time

    def process(
        self,
        element: Any,
        timestamp: Any = DoFn.TimestampParam,
        window: Any = DoFn.WindowParam,
        pane_info: Any = DoFn.PaneInfoParam,
    ) -> Iterator[Any]:
        """Write the line, then pass the element on."""
        parts = [f"{self.prefix}{element}"]
        if self.with_timestamp:
            parts.append(f"timestamp={self._time(timestamp, quoted=True)}")
        if self.with_window:
            parts.append(f"window(start={self._time(window.start)}, end={self._time(window.end)})")
        if self.with_pane_info:
            parts.append(f"pane_info={pane_info!r}")
        line = ", ".join(parts)
        if self.level is None:
            print(line)
        else:
            _LOGGER.log(self.level, "%s", line)
        yield element

    def _time(self, timestamp: Timestamp, quoted: bool = False) -> str:
        if self.use_epoch_time:
            return format(timestamp.micros / 1_000_000, ".6f").rstrip("0").rstrip(".")
        try:
            text = timestamp.to_rfc3339()
        except (ValueError, OverflowError):  # the ends of time lie outside the calendar
            return repr(timestamp)
        return repr(text) if quoted else text
