"""How a failure is known again when it comes again."""

from __future__ import annotations

from hornbeam.runners.engine.element_identity import without_addresses


def signature_of(error: BaseException) -> str:
    """What tells a failure from another one: the type, the step and the element."""
    failure = getattr(error, "hornbeam_failure", None)
    where = ""
    if failure is not None:
        element = failure.identity or without_addresses(failure.element or "")
        where = f"{failure.step}|{element}|{without_addresses(failure.key or '')}"
    return f"{type(error).__module__}.{type(error).__qualname__}|{where}"
