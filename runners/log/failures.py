"""What a job remembers of a failure, and how it is known again when it comes again."""

from __future__ import annotations

from typing import Any

from hornbeam.runners.engine.element_identity import without_addresses
from hornbeam.utils.timestamp import Timestamp


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


def told(error: BaseException) -> dict[str, Any]:
    """The failure as a job's record holds it."""
    failure = getattr(error, "hornbeam_failure", None)
    return {
        "type": type(error).__qualname__,
        "message": str(error),
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
