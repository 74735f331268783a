"""How large batches should be, learned from how long batches took.

The model is `time = fixed + n * per_element`, fitted by least squares over recent batches. From it follow the
sizes at which the fixed part is small enough a share, and at which a batch takes as long as wanted.
"""

from __future__ import annotations

import random
import time
from collections import deque
from collections.abc import Callable, Iterator
from contextlib import contextmanager

from hornbeam.metrics import Metrics

#: A batch is at most this many times as large as the last one, so that a wrong guess does little harm.
GROWTH_MAX = 2
#: How many timings are remembered; half of them are dropped, by chance, when there are more.
TIMINGS_MAX = 100
#: So many timings are taken at the sizes aimed for; only then sizes are varied.
TIMINGS_BEFORE_VARYING = 10
_FIXED_MIN = 1e-10
_PER_ELEMENT_MIN = 1e-20


class BatchSizeEstimator:
    """Chooses batch sizes between a least and a greatest one by timing batches.

    `target_batch_overhead` is the share of the fixed cost to aim for; `target_batch_duration_secs` the time a
    batch may take without its fixed cost, `target_batch_duration_secs_including_fixed_cost` with it; None
    switches each off. `variance` is the relative amount by which sizes are varied to learn more.
    """

    def __init__(
        self,
        min_batch_size: int = 1,
        max_batch_size: int = 10000,
        target_batch_overhead: float | None = 0.05,
        target_batch_duration_secs: float | None = 10,
        target_batch_duration_secs_including_fixed_cost: float | None = None,
        variance: float = 0.25,
        clock: Callable[[], float] = time.time,
        ignore_first_n_seen_per_batch_size: int = 0,
        record_metrics: bool = True,
    ) -> None:
        _check_bounds(min_batch_size, max_batch_size)
        _check_target("target_batch_overhead", target_batch_overhead, at_most=1)
        _check_target("target_batch_duration_secs", target_batch_duration_secs)
        _check_target(
            "target_batch_duration_secs_including_fixed_cost", target_batch_duration_secs_including_fixed_cost
        )
        targets = (
            target_batch_overhead,
            target_batch_duration_secs,
            target_batch_duration_secs_including_fixed_cost,
        )
        if not any(targets):
            raise ValueError(
                "BatchElements needs a target: give target_batch_overhead, target_batch_duration_secs or "
                "target_batch_duration_secs_including_fixed_cost."
            )
        if ignore_first_n_seen_per_batch_size < 0:
            raise ValueError(
                f"ignore_first_n_seen_per_batch_size must be 0 or more, found {ignore_first_n_seen_per_batch_size}"
            )
        self._min = min_batch_size
        self._max = max_batch_size
        self._overhead = target_batch_overhead
        self._duration = target_batch_duration_secs
        self._whole_duration = target_batch_duration_secs_including_fixed_cost
        self._variance = variance
        self._clock = clock
        self._ignore_first = ignore_first_n_seen_per_batch_size
        self._seen: dict[int, int] = {}
        self._timings: deque[tuple[int, float]] = deque()
        self._ignore_next = False
        self._last_size: int | None = None
        self._size_metric = Metrics.distribution("BatchElements", "batch_size") if record_metrics else None
        self._msec_metric = (
            Metrics.distribution("BatchElements", "msec_per_batch") if record_metrics else None
        )
        self._unreported_msecs = 0.0

    def ignore_next_timing(self) -> None:
        """Leave the next batch out of the estimate: its size, or what it waits for, is not typical."""
        self._ignore_next = True

    @contextmanager
    def record_time(self, batch_size: int) -> Iterator[None]:
        """Times the body as the processing of a batch."""
        start = self._clock()
        yield
        self.add_timing(batch_size, self._clock() - start)

    def add_timing(self, batch_size: int, elapsed_secs: float) -> None:
        """A batch of that size took that long."""
        self._report(batch_size, elapsed_secs)
        if self._ignore_next:
            self._ignore_next = False
            return
        seen = self._seen.get(batch_size, 0)
        self._seen[batch_size] = seen + 1
        if seen < self._ignore_first:
            return
        self._timings.append((batch_size, elapsed_secs))
        if len(self._timings) > TIMINGS_MAX:
            self._thin_timings()

    def next_batch_size(self) -> int:
        """The size that the next batch should have."""
        if self._min == self._max:
            return self._min
        if not self._timings:
            size: float = self._last_size or self._min
        elif len({size for size, _ in self._timings}) < 2:
            # One size tells nothing of the slope: move away from it, upwards unless that is at the top.
            size = self._varied(GROWTH_MAX * self._timings[-1][0])
        else:
            size = self._varied(self._ideal_size())
        self._last_size = int(min(max(size, self._min), self._max))
        return self._last_size

    def _ideal_size(self) -> float:
        """The greatest size that every target allows, not too far above the last one."""
        fixed, per_element = fit(self._timings)
        fixed, per_element = max(fixed, _FIXED_MIN), max(per_element, _PER_ELEMENT_MIN)
        size = float(min(self._timings[-1][0] * GROWTH_MAX, self._max))
        if self._duration:
            size = min(size, self._duration / per_element)
        if self._whole_duration:
            size = min(size, (self._whole_duration - fixed) / per_element)
        if self._overhead:
            size = min(size, fixed / per_element * (1 / self._overhead - 1))
        return max(size, 1)

    def _varied(self, size: float) -> float:
        """A size near the ideal, so that the line is fitted over a range of sizes."""
        if self._variance and len(self._timings) > TIMINGS_BEFORE_VARYING:
            return size * (1 + self._variance * (2 * random.random() - 1))
        return size

    def _thin_timings(self) -> None:
        """Forget half of the older half: the recent batches say more."""
        half = len(self._timings) // 2
        older = [timing for timing in list(self._timings)[:half] if random.random() < 0.5]
        self._timings = deque([*older, *list(self._timings)[half:]])

    def _report(self, batch_size: int, elapsed_secs: float) -> None:
        if self._size_metric is not None and self._msec_metric is not None:
            self._size_metric.update(batch_size)
            # The metric takes whole numbers; what is cut off here is counted with a later batch.
            self._unreported_msecs += elapsed_secs * 1000
            msecs = int(self._unreported_msecs)
            self._unreported_msecs -= msecs
            self._msec_metric.update(msecs)


def fit(timings: deque[tuple[int, float]]) -> tuple[float, float]:
    """Fixed cost and cost per element: the least-squares line through (size, seconds), each relative to its size.

    Weighting by 1 / size keeps a few large batches from drowning what small ones say of the fixed cost.
    Timings far off the line, such as a pause of the whole machine, are dropped and the rest fitted again.
    """
    fixed, per_element = _fit_line(timings)
    if len(timings) < 20:
        return fixed, per_element
    errors = [abs(secs - fixed - per_element * size) / size for size, secs in timings]
    limit = sorted(errors)[int(len(errors) * 0.8)]
    kept = [timing for timing, error in zip(timings, errors) if error <= limit]
    if len({size for size, _ in kept}) < 2:
        return fixed, per_element
    return _fit_line(kept)


def _fit_line(timings: deque[tuple[int, float]] | list[tuple[int, float]]) -> tuple[float, float]:
    weights = [1 / size for size, _ in timings]
    total = sum(weights)
    mean_size = sum(weight * size for weight, (size, _) in zip(weights, timings)) / total
    mean_secs = sum(weight * secs for weight, (_, secs) in zip(weights, timings)) / total
    spread = sum(weight * (size - mean_size) ** 2 for weight, (size, _) in zip(weights, timings))
    if not spread:
        return 0.0, mean_secs / mean_size
    shared = sum(
        weight * (size - mean_size) * (secs - mean_secs) for weight, (size, secs) in zip(weights, timings)
    )
    per_element = shared / spread
    fixed = mean_secs - per_element * mean_size
    if per_element < 0:  # noise: larger batches took no longer
        return mean_secs, 0.0
    if fixed < 0:
        return 0.0, mean_secs / mean_size
    return fixed, per_element


def _check_bounds(least: int, greatest: int) -> None:
    if least < 1:
        raise ValueError(f"BatchElements needs min_batch_size of 1 or more, found {least}")
    if least > greatest:
        raise ValueError(f"BatchElements needs min_batch_size <= max_batch_size, found {least} > {greatest}")


def _check_target(name: str, target: float | None, at_most: float | None = None) -> None:
    if target and (target < 0 or (at_most is not None and target > at_most)):
        bound = f"between 0 and {at_most}" if at_most else "greater than 0"
        raise ValueError(f"BatchElements needs {name} {bound}, found {target}")
