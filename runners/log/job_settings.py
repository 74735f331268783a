"""What a run of a job was asked for: its options as the coordinator needs them."""

from __future__ import annotations

from collections.abc import Mapping
from typing import Any

import attrs


@attrs.frozen(kw_only=True)
class JobSettings:
    """What a run of a job was asked for."""

    num_workers: int
    checkpoint_interval_ms: int
    checkpoints_kept: int
    worker_timeout_ms: int
    bundle_timeout_ms: int
    failures_max: int
    crashes_max: int
    memory_bytes_max: int
    bundle_size: int
    exchange_bytes_max: int
    idle_timeout_micros: int | None
    temp_dir: str | None
    at_least_once: bool
    inject_restarts: int | None
    inject_restarts_seed: int | None
    skip_poison_to: str | None
    run_for_seconds: float | None
    options: Mapping[str, Any]
