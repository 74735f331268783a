"""How far time has come, as metrics: gauges of each stage's head, in the namespace `hornbeam`.

`input_watermark_micros` and `output_watermark_micros` are event time in microseconds; `entries` is how many things the step
keeps. They are brought up to date about once a second and when the run ends.
"""

from __future__ import annotations

from collections.abc import Mapping

from hornbeam.metrics.execution import MetricsRegistry
from hornbeam.metrics.metricbase import MetricName
from hornbeam.metrics.results import RUNNER_NAMESPACE
from hornbeam.runners.engine.head import BEGINNING_OF_TIME, END_OF_TIME
from hornbeam.runners.engine.stream_stage import StreamStage

INPUT_WATERMARK = MetricName(RUNNER_NAMESPACE, "input_watermark_micros")
OUTPUT_WATERMARK = MetricName(RUNNER_NAMESPACE, "output_watermark_micros")
ENTRIES = MetricName(RUNNER_NAMESPACE, "entries")

_INTERVAL_MICROS = 1_000_000


class WatermarkMetrics:
    """Writes the gauges of all stages now and then."""

    def __init__(self, stages: Mapping[str, StreamStage], registry: MetricsRegistry) -> None:
        self._stages = stages
        self._registry = registry
        self._next = 0

    def update(self, now: int) -> None:
        """Writes them if the last time is long enough ago, or time has ended everywhere."""
        if now < self._next and any(s.output_watermark < END_OF_TIME for s in self._stages.values()):
            return
        self._next = now + _INTERVAL_MICROS
        for stage in self._stages.values():
            container = self._registry.container(stage.label)
            if stage.input_watermark > BEGINNING_OF_TIME:
                container.get_gauge(INPUT_WATERMARK).set(stage.input_watermark)
            if stage.output_watermark > BEGINNING_OF_TIME:
                container.get_gauge(OUTPUT_WATERMARK).set(stage.output_watermark)
            container.get_gauge(ENTRIES).set(stage.entries())
