"""What is to be done when a run ends, however it ends: a runner opens the scope, anything in the run adds to it."""

from __future__ import annotations

import logging
from collections.abc import Callable
from contextvars import ContextVar

_log = logging.getLogger(__name__)
_callbacks: ContextVar[list[Callable[[], None]] | None] = ContextVar("hornbeam_run_end", default=None)


class run_scope:
    """`with run_scope():` calls at its end what `at_run_end` was given in it by this thread, the latest first.

    A callback that fails is logged; it neither hides the run's own error nor keeps the others from being called.
    """

    # Not a generator: contextlib sets an exception's __traceback__, which a frozen dataclass refuses.

    def __enter__(self) -> None:
        self._own: list[Callable[[], None]] = []
        self._token = _callbacks.set(self._own)

    def __exit__(self, *raised: object) -> None:
        _callbacks.reset(self._token)
        for callback in reversed(self._own):
            try:
                callback()
            except Exception:
                _log.warning("Something could not be tidied up after a run", exc_info=True)


class forwarding_scope:
    """`with forwarding_scope(send):` hands every callback of this thread on: the run it is for ends in another process."""

    def __init__(self, send: Callable[[Callable[[], None]], None]) -> None:
        self._send = send

    def __enter__(self) -> None:
        self._token = _callbacks.set(_Forwarding(self._send))

    def __exit__(self, *raised: object) -> None:
        _callbacks.reset(self._token)


class _Forwarding(list[Callable[[], None]]):
    def __init__(self, send: Callable[[Callable[[], None]], None]) -> None:
        super().__init__()
        self._send = send

    def append(self, callback: Callable[[], None]) -> None:
        self._send(callback)


def at_run_end(callback: Callable[[], None]) -> bool:
    """Have the callback called when the run ends; False, and never called, where there is no scope."""
    callbacks = _callbacks.get()
    if callbacks is None:
        return False
    callbacks.append(callback)
    return True
