"""Calling again what has failed, after longer and longer pauses. Which errors are worth it is for a filter to say."""

from __future__ import annotations

import functools
import logging
import random
import time
import traceback
from collections.abc import Callable, Iterator
from typing import Any, TypeVar

_LOGGER = logging.getLogger(__name__)

F = TypeVar("F", bound=Callable[..., Any])

SERVER_ERROR_OR_TIMEOUT_CODES = [408, 500, 502, 503, 504, 598, 599]


class PermanentException(Exception):
    """An error that will not go away by trying again."""


class Clock:
    """Sleeping, so that tests can replace it."""

    def sleep(self, value: float) -> None:
        """Wait that many seconds."""
        time.sleep(value)


class FuzzedExponentialIntervals:
    """The pauses in seconds: each `factor` times the one before, up to `max_delay_secs`.

    `fuzz` is the greatest share by which a pause is made shorter at random, so that many clients do not come
    back together. There are no more than `num_retries`, and none that would take the sum past
    `stop_after_secs`.
    """

    def __init__(
        self,
        initial_delay_secs: float,
        num_retries: int,
        factor: float = 2,
        fuzz: float = 0.5,
        max_delay_secs: float = 60 * 60,
        stop_after_secs: float | None = None,
    ) -> None:
        if num_retries > 10_000:
            raise ValueError(f"num_retries is at most 10000; found {num_retries}.")
        if not 0 <= fuzz <= 1:
            raise ValueError(f"fuzz is between 0 and 1; found {fuzz}.")
        self._initial_delay_secs = initial_delay_secs
        self._num_retries = num_retries
        self._factor = factor
        self._fuzz = fuzz
        self._max_delay_secs = max_delay_secs
        self._stop_after_secs = stop_after_secs

    def __iter__(self) -> Iterator[float]:
        delay = min(self._max_delay_secs, self._initial_delay_secs)
        total = 0.0
        for _ in range(self._num_retries):
            pause = delay * (1 - self._fuzz + random.random() * self._fuzz)
            total += pause
            if self._stop_after_secs is not None and total > self._stop_after_secs:
                return
            yield pause
            delay = min(self._max_delay_secs, delay * self._factor)


def _status(exception: BaseException) -> int | None:
    """The HTTP status of an error of any client library that has one."""
    for holder in (exception, getattr(exception, "response", None)):
        for name in ("status_code", "code", "status"):
            status = getattr(holder, name, None)
            if isinstance(status, int) and not isinstance(status, bool):
                return status
    return None


def retry_on_server_errors_filter(exception: BaseException) -> bool:
    """HTTP errors of the server's making, and any error without a status that is not permanent."""
    status = _status(exception)
    return status >= 500 if status is not None else not isinstance(exception, PermanentException)


def retry_on_server_errors_and_notfound_filter(exception: BaseException) -> bool:
    """Server errors, and 404."""
    return _status(exception) == 404 or retry_on_server_errors_filter(exception)


def retry_on_server_errors_and_timeout_filter(exception: BaseException) -> bool:
    """Server errors, and 408."""
    return _status(exception) == 408 or retry_on_server_errors_filter(exception)


def retry_on_server_errors_timeout_or_quota_issues_filter(exception: BaseException) -> bool:
    """Server errors, 408, 429, and a 403 that speaks of a quota or rate."""
    status = _status(exception)
    if status == 403:
        text = str(exception).lower()
        return "quota" in text or "ratelimit" in text.replace(" ", "")
    return status == 429 or retry_on_server_errors_and_timeout_filter(exception)


def retry_on_beam_io_error_filter(exception: BaseException) -> bool:
    """Errors of file systems."""
    return any(cls.__name__ == "BeamIOError" for cls in type(exception).__mro__)


def retry_if_valid_input_but_server_error_and_timeout_filter(exception: BaseException) -> bool:
    """Server errors and 408, but nothing that is due to wrong input."""
    return not isinstance(exception, ValueError) and retry_on_server_errors_and_timeout_filter(exception)


def with_exponential_backoff(
    num_retries: int = 7,
    initial_delay_secs: float = 5.0,
    logger: Callable[..., None] = _LOGGER.warning,
    retry_filter: Callable[[BaseException], bool] = retry_on_server_errors_filter,
    clock: Clock | None = None,
    fuzz: bool | float = True,
    factor: float = 2,
    max_delay_secs: float = 60 * 60,
    stop_after_secs: float | None = None,
) -> Callable[[F], F]:
    """A decorator: the function is called again while it raises what `retry_filter` takes.

    When no pause is left, or the filter says no, the error is raised as it is. `fuzz=True` stands for 0.5.
    """
    waiting = clock or Clock()

    def decorate(fun: F) -> F:
        @functools.wraps(fun)
        def call(*args: Any, **kwargs: Any) -> Any:
            intervals = FuzzedExponentialIntervals(
                initial_delay_secs,
                num_retries,
                factor,
                0.5 if fuzz is True else float(fuzz),
                max_delay_secs,
                stop_after_secs,
            )
            pauses = iter(intervals)
            while True:
                try:
                    return fun(*args, **kwargs)
                except Exception as error:
                    pause = next(pauses, None) if retry_filter(error) else None
                    if pause is None:
                        raise
                    logger(
                        "Retry with exponential backoff: waiting for %s seconds before retrying %s because we "
                        "caught exception: %s",
                        pause,
                        getattr(fun, "__name__", fun),
                        "".join(traceback.format_exception_only(error)).strip(),
                    )
                    waiting.sleep(pause)

        return call  # type: ignore[return-value]

    return decorate


def no_retries(fun: F) -> F:
    """A decorator that retries nothing, to stand in for `with_exponential_backoff`."""
    return fun
