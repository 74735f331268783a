"""What a job remembers of a failure, and how it is known again when it comes again."""

from __future__ import annotations

from typing import Any

from hornbeam.error import PipelineError
from hornbeam.runners.engine.element_identity import without_addresses
from hornbeam.runners.engine.failures import add_failure
from hornbeam.utils.timestamp import Timestamp

#: More of a message is in no file.
_MESSAGE_CHARS_MAX = 10_000


def signature_of(error: BaseException) -> str:
    """What tells a failure from another one: the type, the step and the element."""
    failure = getattr(error, "hornbeam_failure", None)
    where = ""
    if failure is not None:
        # A timer's identity has its time, which may be another one when it is set again by the clock.
        identity = failure.identity if failure.element is not None else None
        element = identity or without_addresses(failure.element or "")
        where = f"{failure.step}|{element}|{without_addresses(failure.key or '')}"
    return f"{type(error).__module__}.{type(error).__qualname__}|{where}"


def message_of(error: BaseException) -> str:
    """What the exception says; never long, and never raises."""
    try:
        text = str(error)
    except Exception:
        return f"<{type(error).__qualname__} whose str fails>"
    return text if len(text) <= _MESSAGE_CHARS_MAX else f"{text[:_MESSAGE_CHARS_MAX]}..."


def as_failure(error: BaseException) -> BaseException:
    """What the program gets. The exception of `sys.exit()` in user code would end it without a word, even as a success."""
    if not isinstance(error, SystemExit):
        return error
    failure = PipelineError(
        f"user code called sys.exit({error.code!r}), which ends no job; raise what is wrong"
    )
    failure.__cause__ = error
    step = getattr(error, "hornbeam_failure", None)
    if step is not None:
        add_failure(failure, step)
    return failure


def told(error: BaseException) -> dict[str, Any]:
    """The failure as a job's record holds it."""
    failure = getattr(error, "hornbeam_failure", None)
    return {
        "type": type(error).__qualname__,
        "message": message_of(error),
        "step": getattr(failure, "step", None),
        "element": getattr(failure, "element", None),
        "position": getattr(error, "hornbeam_position", None)
        or _event_time(getattr(failure, "timestamp", None)),
        "traceback": "\n".join(getattr(error, "__notes__", None) or ()),
    }


def _event_time(timestamp: Timestamp | None) -> str | None:
    """For an element that has gone through an exchange: where it was read is not known there."""
    if timestamp is None:
        return None
    try:
        return f"event time {timestamp.to_rfc3339()}"
    except (OverflowError, ValueError):
        return None  # the ends of time
