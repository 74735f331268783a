"""A name for what a sink keeps outside of the pipeline until it is committed, so that the same job finds it again."""

from __future__ import annotations

import hashlib
import os
import uuid

from hornbeam.options.pipeline_options import GoogleCloudOptions, PipelineOptions

__all__ = ["job_sinks_folder", "step_identity"]


def step_identity(options: PipelineOptions, label: str) -> str:
    """16 hexadecimal digits that stay when the same job is started again, and that no step of another job has.

    Without a `--job_name` there is nothing to find again, and they are random.
    """
    job = options.view_as(GoogleCloudOptions).job_name
    if not job:
        return uuid.uuid4().hex[:16]
    folder = _folder(options)
    return hashlib.sha256(f"{folder}\n{job}\n{label}".encode()).hexdigest()[:16]


def job_sinks_folder(options: PipelineOptions) -> str | None:
    """Where sinks of a job of LogRunner may keep what only they know: a part of the job's folder, which goes with it. None
    without `--log_dir` and `--job_name`."""
    job = options.view_as(GoogleCloudOptions).job_name
    folder = _folder(options)
    if not job or folder is None:
        return None
    return os.path.join(folder, "jobs", job, "sinks")


def _folder(options: PipelineOptions) -> str | None:
    """`--log_dir`, the same however it is written and wherever the program is started."""
    log_dir = options.get_all_options().get("log_dir")
    return os.path.abspath(log_dir) if log_dir else None
