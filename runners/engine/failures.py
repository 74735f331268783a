"""How a failure in user code reaches the user: its own type and message, the user's frames first, and a note that
names the step, the element, its window and its timestamp.
"""

from __future__ import annotations

import reprlib
from types import TracebackType
from typing import Any

import attrs

from hornbeam.runners.engine.bundle import Bundle
from hornbeam.utils.timestamp import MIN_TIMESTAMP, Timestamp

_repr = reprlib.Repr()
_repr.maxstring = _repr.maxother = 200
_repr.maxlong = 60
_repr.maxlevel = 4


@attrs.frozen
class Failure:
    """Where a user exception arose. Kept on the exception as `hornbeam_failure`."""

    step: str
    element: str | None = None
    timestamp: Timestamp | None = None
    window: str | None = None

    def __str__(self) -> str:
        text = f"while running step {self.step!r}"
        if self.element is not None:
            text += f" on element {self.element}"
        where = []
        if self.timestamp is not None and self.timestamp != MIN_TIMESTAMP:
            where.append(f"timestamp {self.timestamp}")
        if self.window is not None and self.window != "GlobalWindow":
            where.append(f"window {self.window}")
        return text + (f" ({', '.join(where)})" if where else "")


def short_repr(value: Any) -> str:
    """A repr that is never long and never raises."""
    try:
        return _repr.repr(value)
    except Exception:
        return f"<{type(value).__name__} whose repr fails>"


def note_failure(
    error: BaseException, step: str, bundle: Bundle | None = None, index: int | None = None
) -> None:
    """Adds the note to a user exception, once: the innermost step is the one that counts."""
    if getattr(error, "hornbeam_failure", None) is not None or isinstance(
        error, (KeyboardInterrupt, GeneratorExit)
    ):
        return
    if bundle is None or index is None or not 0 <= index < len(bundle.values):
        failure = Failure(step)
    else:
        windows = bundle.window_list()[index]
        failure = Failure(
            step,
            short_repr(bundle.values[index]),
            Timestamp(micros=bundle.timestamp_list()[index]),
            ", ".join(map(str, windows)) if windows else None,
        )
    add_failure(error, failure)


def add_failure(error: BaseException, failure: Failure) -> None:
    if getattr(error, "hornbeam_failure", None) is not None:
        return
    try:
        error.hornbeam_failure = failure  # type: ignore[attr-defined]
        error.add_note(str(failure))
    except Exception:
        # An exception class with slots takes no attributes; its message still reaches the user.
        pass


def user_frames(trace: TracebackType | None) -> TracebackType | None:
    """The traceback from the first frame that is not ours on; None when all frames are ours (a builtin raised)."""
    while trace is not None:
        name = trace.tb_frame.f_globals.get("__name__") or ""
        if not (name == "hornbeam" or name.startswith("hornbeam.")):
            return trace
        trace = trace.tb_next
    return None
