"""A name for what a sink keeps outside of the pipeline until it is committed, so that the same job finds it again."""

from __future__ import annotations

import hashlib
import uuid

from hornbeam.options.pipeline_options import GoogleCloudOptions, PipelineOptions

__all__ = ["step_identity"]


def step_identity(options: PipelineOptions, label: str) -> str:
    """16 hexadecimal digits that stay when the same job is started again, and that no step of another job has.

    Without a `--job_name` there is nothing to find again, and they are random.
    """
    job = options.view_as(GoogleCloudOptions).job_name
    if not job:
        return uuid.uuid4().hex[:16]
    folder = options.get_all_options().get("log_dir")
    return hashlib.sha256(f"{folder}\n{job}\n{label}".encode()).hexdigest()[:16]
