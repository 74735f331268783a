"""How a failure in user code reaches the user: its own type and message, the user's frames first, and a note that
names the step, the element, its window and its timestamp.
"""

from __future__ import annotations

import contextlib
import reprlib
from types import TracebackType
from typing import Any

import attrs

from hornbeam.runners.engine.bundle import Bundle
from hornbeam.runners.engine.element_identity import element_identity
from hornbeam.transforms.window import GlobalWindow
from hornbeam.utils.timestamp import MIN_TIMESTAMP, Timestamp

#: Timestamps that say nothing: those of data that has none, and of what was grouped in the global window.
_NO_TIMES = frozenset({MIN_TIMESTAMP, GlobalWindow().max_timestamp()})
#: No repr in a message is longer, however deep the element.
_REPR_CHARS_MAX = 600

_repr = reprlib.Repr()
_repr.maxstring = _repr.maxother = 200
_repr.maxlong = 60
_repr.maxlevel = 4


@attrs.frozen
class Failure:
    """Where a user exception arose. Kept on the exception as `hornbeam_failure`."""

    step: str
    element: str | None = None
    key: str | None = None
    timestamp: Timestamp | None = None
    window: str | None = None
    #: What the element, or the call, is known by when it comes again (see `element_identity`).
    identity: str | None = None
    #: Of a timer: its dynamic tag, "" without one; None for what is no call for a key (see `callbacks`).
    tag: str | None = None

    def __str__(self) -> str:
        text = f"while running step {self.step!r}"
        if self.element is not None:
            text += f" on element {self.element}"
        if self.key is not None:
            text += f" for key {self.key}" if self.tag is not None else f" on the values of key {self.key}"
        where = []
        if self.timestamp is not None and self.timestamp not in _NO_TIMES:
            where.append(f"timestamp {self.timestamp}")
        if self.window is not None and self.window != "GlobalWindow":
            where.append(f"window {self.window}")
        return text + (f" ({', '.join(where)})" if where else "")


def note_position(error: BaseException, dofn: Any) -> None:
    """Adds where the source read what a step behind it failed at, if the source's DoFn can tell (`locate_failure`)."""
    locate = getattr(dofn, "locate_failure", None)
    if locate is None or getattr(error, "hornbeam_position", None) is not None:
        return
    failure = getattr(error, "hornbeam_failure", None)
    stamp = None if failure is None or failure.timestamp is None else failure.timestamp.micros
    position = locate(stamp)
    if position is not None:
        add_advice(error, f"read at {position}")
        with contextlib.suppress(Exception):
            BaseException.__setattr__(error, "hornbeam_position", position)


def short_repr(value: Any) -> str:
    """A repr that is never long and never raises."""
    try:
        text = _repr.repr(value)
    except Exception:
        return f"<{type(value).__name__} whose repr fails>"
    return text if len(text) <= _REPR_CHARS_MAX else f"{text[: _REPR_CHARS_MAX - 3]}..."


def note_failure(
    error: BaseException, step: str, bundle: Bundle | None = None, index: int | None = None
) -> None:
    """Adds the note to a user exception, once: the innermost step is the one that counts."""
    if getattr(error, "hornbeam_failure", None) is not None or isinstance(
        error, (KeyboardInterrupt, GeneratorExit)
    ):
        return
    if bundle is None or index is None or not 0 <= index < len(bundle.values):
        failure = Failure(step, key=getattr(error, "hornbeam_key", None))
    else:
        windows = bundle.window_list()[index]
        failure = Failure(
            step,
            short_repr(bundle.values[index]),
            None,
            Timestamp(micros=bundle.timestamp_list()[index]),
            ", ".join(map(str, windows)) if windows else None,
            element_identity(bundle.values[index]),
        )
    add_failure(error, failure)


def add_failure(error: BaseException, failure: Failure) -> None:
    """Puts the failure on the exception, as an attribute and as a note, unless it has one."""
    if getattr(error, "hornbeam_failure", None) is not None:
        return
    with contextlib.suppress(Exception):  # a class may have a `hornbeam_failure` of its own
        # Past the class's own __setattr__: frozen dataclasses are exceptions too.
        BaseException.__setattr__(error, "hornbeam_failure", failure)
        add_advice(error, str(failure))


def add_advice(error: BaseException, note: str) -> None:
    """`error.add_note`, for every class of exceptions."""
    with contextlib.suppress(Exception):
        BaseException.__setattr__(error, "__notes__", [*(getattr(error, "__notes__", None) or ()), note])


class naming:
    """`with naming(step):` gives what the block raises the note of the step, when it has none."""

    # Not a generator: contextlib sets an exception's __traceback__, which a frozen dataclass refuses.

    def __init__(self, step: str) -> None:
        self._step = step

    def __enter__(self) -> None:
        pass

    def __exit__(self, kind: type[BaseException] | None, error: BaseException | None, trace: Any) -> None:
        if error is not None:
            note_failure(error, self._step)


def raised_at_key(error: BaseException, key: Any) -> None:
    """Remembers the key whose values a combine was working on, for the note that is added further out."""
    if key is not None and getattr(error, "hornbeam_key", None) is None:
        with contextlib.suppress(Exception):
            BaseException.__setattr__(error, "hornbeam_key", short_repr(key))


def stopped_iteration(cause: StopIteration | None = None) -> RuntimeError:
    """What stands for a StopIteration out of a user function, as Python has it for generators (PEP 479)."""
    error = RuntimeError("the function raised StopIteration (a next() without a default?)")
    error.__cause__ = cause
    return error


def user_frames(trace: TracebackType | None) -> TracebackType | None:
    """The traceback from the first frame that is not ours on; None when all frames are ours (a builtin raised)."""
    while trace is not None:
        name = trace.tb_frame.f_globals.get("__name__") or ""
        if not (name == "hornbeam" or name.startswith("hornbeam.")):
            return trace
        trace = trace.tb_next
    return None
