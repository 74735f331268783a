"""How a failure is known again when it comes again."""

from __future__ import annotations


def signature_of(error: BaseException) -> str:
    """What tells a failure from another one: the type, the step and the element."""
    failure = getattr(error, "hornbeam_failure", None)
    where = "" if failure is None else f"{failure.step}|{failure.element}|{failure.key}"
    return f"{type(error).__module__}.{type(error).__qualname__}|{where}"
