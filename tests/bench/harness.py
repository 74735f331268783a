"""How a case is measured: loop and pipeline in turn, several times, and the median of the paired ratios.

Machines are shared and drift; a pair of neighbours in time drifts together, so the ratio holds where times do not.
"""

from __future__ import annotations

import gc
import statistics
import time
from collections.abc import Callable
from typing import Any

import attrs


@attrs.frozen
class Case:
    """One kind of work. `loop` and `pipeline` return the result, which must be equal."""

    name: str
    elements: int
    limit: float | None
    loop: Callable[[], Any]
    pipeline: Callable[[], Any]


@attrs.frozen
class Figures:
    """What was measured: seconds, and the ratio pipeline / loop."""

    case: Case
    loop_s: float
    pipeline_s: float
    ratio: float
    ratio_min: float
    ratio_max: float


def timed(work: Callable[[], Any]) -> tuple[float, Any]:
    """Processor seconds and result of one call, from a collected heap."""
    gc.collect()
    start = time.process_time()
    result = work()
    return time.process_time() - start, result


def measure(case: Case, rounds: int) -> Figures:
    """Runs a case `rounds` times after a warm-up, in which the results are compared."""
    _, expected = timed(case.loop)
    _, found = timed(case.pipeline)
    if expected != found:
        raise AssertionError(f"{case.name}: the pipeline's result differs from the loop's")
    del expected, found
    loops, pipelines = [], []
    for _ in range(rounds):
        loops.append(timed(case.loop)[0])
        pipelines.append(timed(case.pipeline)[0])
    ratios = [theirs / own for own, theirs in zip(loops, pipelines)]
    return Figures(
        case,
        statistics.median(loops),
        statistics.median(pipelines),
        statistics.median(ratios),
        min(ratios),
        max(ratios),
    )


def table(rows: list[Figures]) -> str:
    """The figures as text."""
    lines = [
        f"{'case':34} {'elements':>10} {'loop s':>8} {'pipe s':>8} {'ratio':>6} {'min':>6} {'max':>6} {'limit':>6}"
    ]
    for row in rows:
        limit = "" if row.case.limit is None else f"{row.case.limit:.1f}"
        mark = "" if row.case.limit is None or row.ratio <= row.case.limit else "  above its limit"
        lines.append(
            f"{row.case.name:34} {row.case.elements:>10,} {row.loop_s:8.3f} {row.pipeline_s:8.3f} {row.ratio:6.2f} "
            f"{row.ratio_min:6.2f} {row.ratio_max:6.2f} {limit:>6}{mark}"
        )
    return "\n".join(lines)
