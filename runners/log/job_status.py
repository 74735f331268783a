"""How a job does: `status.json` in its folder, which its coordinator writes about once a second."""

from __future__ import annotations

from typing import Any

import attrs


@attrs.frozen(kw_only=True)
class StepStatus:
    """How a stage does, over all workers; named by its head's label."""

    label: str
    steps: tuple[str, ...] = ()
    elements: int = 0
    elements_per_s: float = 0.0
    #: Event time in microseconds; None at the beginning of time, and "end" at the end of it.
    input_watermark: int | str | None = None
    output_watermark: int | str | None = None
    #: Things kept (keys with windows, timers).
    entries: int = 0
    #: Elements (once a window) that came when the window had expired or its trigger had finished, since the job began.
    dropped: int = 0
    #: What waits in front of the step: on its way from other workers, or still to be read by a source; None if unknown.
    backlog_elements: int | None = None
    backlog_bytes: int | None = None
    #: Processing time less output watermark, in milliseconds, where that says something.
    lag_ms: int | None = None
    #: Keys that take far more than their part of the elements lately: their short repr and their share of all.
    hot_keys: tuple[tuple[str, float], ...] = ()


@attrs.frozen(kw_only=True)
class CheckpointStatus:
    """The newest checkpoint."""

    number: int
    completed_micros: int
    duration_ms: float
    #: What this one wrote, and what all of its chain holds.
    bytes: int = 0
    total_bytes: int = 0
    #: The longest time in which a worker processed nothing for it.
    pause_ms: float = 0.0


@attrs.frozen(kw_only=True)
class JobStatus:
    """The live status of a job, as `status.json` holds it (by attrs.asdict)."""

    job_name: str
    state: str
    pid: int = 0
    message: str = ""
    workers: tuple[int, ...] = ()
    started_micros: int = 0
    updated_micros: int = 0
    attempt: int = 0
    restarts: int = 0
    last_failure: str = ""
    checkpoint: CheckpointStatus | None = None
    steps: tuple[StepStatus, ...] = ()


def status_of(fields: dict[str, Any]) -> JobStatus:
    """The status of what `status.json` holds."""
    checkpoint = fields.pop("checkpoint", None)
    steps = [
        StepStatus(**{**step, "steps": tuple(step["steps"]), "hot_keys": tuple(map(tuple, step["hot_keys"]))})
        for step in fields.pop("steps", ())
    ]
    return JobStatus(
        **{**fields, "workers": tuple(fields["workers"])},
        steps=tuple(steps),
        checkpoint=None if checkpoint is None else CheckpointStatus(**checkpoint),
    )
