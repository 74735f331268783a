"""RefreshedSideInput: a value that is read again and again, for use as a slowly changing side input. Ours, not Beam's."""

from __future__ import annotations

import logging
from collections.abc import Callable, Iterator
from typing import Any

from hornbeam.metrics.metric import Metrics
from hornbeam.pvalue import PBegin, PCollection
from hornbeam.transforms.core import DoFn, ParDo, WindowInto
from hornbeam.transforms.periodicsequence import PeriodicImpulse, RebaseMode
from hornbeam.transforms.ptransform import PTransform
from hornbeam.transforms.trigger import AccumulationMode, AfterCount, Repeatedly
from hornbeam.transforms.window import GlobalWindows
from hornbeam.utils.timestamp import MAX_TIMESTAMP, TimestampTypes

__all__ = ["RefreshedSideInput"]

_log = logging.getLogger(__name__)


class RefreshedSideInput(PTransform[PBegin, PCollection[Any]]):
    """What `read()` returns, read when the pipeline starts and every `interval` seconds after that.

        rates = p | RefreshedSideInput(load_rates, interval=60)
        prices | beam.Map(convert, rates=beam.pvalue.AsSingleton(rates))

    Elements are processed with the value that was read last; none is processed before the first is there. What `read`
    raises ends the pipeline; with `keep_on_error`, once there has been a value, that is kept, and the error is logged and
    counted (`failed_reads`). Reading ends at `stop_timestamp`; the last value stays.
    """

    def __init__(
        self,
        read: Callable[[], Any],
        interval: float,
        *,
        keep_on_error: bool = False,
        stop_timestamp: TimestampTypes = MAX_TIMESTAMP,
    ) -> None:
        if not callable(read):
            raise TypeError(f"RefreshedSideInput needs a function to read with; found {read!r}.")
        super().__init__()
        self._read = read
        self._interval = interval
        self._keep_on_error = keep_on_error
        self._stop_timestamp = stop_timestamp

    def expand(self, pbegin: PBegin) -> PCollection[Any]:
        """Ticks, a value for each, and a pane for each value."""
        ticks = pbegin | "Ticks" >> PeriodicImpulse(
            stop_timestamp=self._stop_timestamp,
            fire_interval=self._interval,
            rebase=RebaseMode.REBASE_START,
        )
        values: PCollection[Any] = (
            ticks
            | "Read" >> ParDo(_ReadAgain(self._read, self._keep_on_error))
            | "Latest"
            >> WindowInto(
                GlobalWindows(),
                trigger=Repeatedly(AfterCount(1)),
                accumulation_mode=AccumulationMode.DISCARDING,
            )
        )
        return values


class _ReadAgain(DoFn):
    """The value of the function, at each tick."""

    def __init__(self, read: Callable[[], Any], keep_on_error: bool) -> None:
        super().__init__()
        self._read = read
        self._keep_on_error = keep_on_error
        self._has_read = False
        self._failed = Metrics.counter(type(self), "failed_reads")

    def process(self, tick: Any) -> Iterator[Any]:
        """Read."""
        try:
            value = self._read()
        except Exception:
            if not (self._keep_on_error and self._has_read):
                raise
            self._failed.inc()
            _log.warning("A side input could not be read again; the value before is kept.", exc_info=True)
            return
        self._has_read = True
        yield value
