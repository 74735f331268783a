"""Decorators that mark functions and classes as deprecated or experimental: using them warns."""

from __future__ import annotations

import functools
import inspect
import warnings
from collections.abc import Callable
from typing import Any, TypeVar

F = TypeVar("F", bound=Callable[..., Any])


class BeamDeprecationWarning(DeprecationWarning):
    """Something is used that a later version will not have."""


# Python hides deprecation warnings outside of __main__; pipelines seldom live there.
warnings.filterwarnings("once", category=BeamDeprecationWarning)


def annotate(
    label: str,
    since: str | None,
    current: str | None,
    extra_message: str | None,
    custom_message: str | None = None,
) -> Callable[[F], F]:
    """A decorator that warns at each use (once, by Python's default) of what it decorates.

    `label` is "deprecated" or "experimental", `since` the version of that, `current` what to use instead. In
    `custom_message` the texts %name%, %since%, %current% and %extra% are replaced.
    """

    def mark(target: F) -> F:
        name = getattr(target, "__name__", repr(target))
        message = _message(name, label, since, current, extra_message, custom_message)
        category = BeamDeprecationWarning if label == "deprecated" else FutureWarning

        def warn() -> None:
            warnings.warn(message, category, stacklevel=3)

        if inspect.isclass(target):
            initialise = target.__init__

            @functools.wraps(initialise)
            def initialise_and_warn(self: Any, *args: Any, **kwargs: Any) -> None:
                warn()
                initialise(self, *args, **kwargs)

            target.__init__ = initialise_and_warn  # type: ignore[method-assign]
            return target

        @functools.wraps(target)
        def call_and_warn(*args: Any, **kwargs: Any) -> Any:
            warn()
            return target(*args, **kwargs)

        return call_and_warn  # type: ignore[return-value]

    return mark


def _message(
    name: str,
    label: str,
    since: str | None,
    current: str | None,
    extra: str | None,
    custom: str | None,
) -> str:
    if custom is not None:
        parts = {"%name%": name, "%since%": since, "%current%": current, "%extra%": extra}
        for mark, value in parts.items():
            custom = custom.replace(mark, value or "")
        return custom
    message = f"{name} is {label}"
    if label == "deprecated" and since:
        message += f" since {since}"
    message += f". Use {current} instead." if current else "."
    return f"{message} {extra}" if extra else message


def deprecated(
    since: str,
    current: str | None = None,
    extra_message: str | None = None,
    custom_message: str | None = None,
) -> Callable[[F], F]:
    """Mark as gone in a later version."""
    return annotate("deprecated", since, current, extra_message, custom_message)


def experimental(
    current: str | None = None,
    extra_message: str | None = None,
    custom_message: str | None = None,
) -> Callable[[F], F]:
    """Mark as likely to change."""
    return annotate("experimental", None, current, extra_message, custom_message)
