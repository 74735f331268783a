"""--memory_limit is for a whole job: its processes by themselves, what is kept, and copies that write checkpoints."""

from __future__ import annotations

import os
import subprocess
import sys
from pathlib import Path

import pytest
from log_runner.processes import own_bytes

from hornbeam.runners.log.job_folder import JobFolder
from hornbeam.runners.log.memory_budget import (
    COORDINATOR_BYTES,
    COPY_BYTES,
    KEPT_BYTES_MIN,
    WORK_BYTES,
    MemoryBudget,
)
from hornbeam.runners.processes.resident import anonymous_bytes, private_bytes

MB = 1 << 20
LIMIT_MB = 152
KEYS, VALUE_BYTES = 28_000, 3000

PROGRAM = """
import sys

import hornbeam as beam
from hornbeam.options.pipeline_options import PipelineOptions
from hornbeam.transforms.userstate import ReadModifyWriteStateSpec


class Keeping(beam.DoFn):
    KEPT = ReadModifyWriteStateSpec("kept", beam.coders.BytesCoder())

    def process(self, pair, kept=beam.DoFn.StateParam(KEPT)):
        kept.write(b"%8d" % pair[0] * ({size} // 8))


with beam.Pipeline(options=PipelineOptions(sys.argv[1:])) as p:
    (
        p
        | beam.Create(range({keys} // 500))
        | beam.FlatMap(lambda part: ((part * 500 + number, None) for number in range(500)))
        | "keep" >> beam.ParDo(Keeping())
    )
"""


def test_a_job_with_more_state_than_the_limit_fits_in_it(tmp_path: Path) -> None:
    command = [
        sys.executable, "-c", PROGRAM.format(keys=KEYS, size=VALUE_BYTES), "--runner=LogRunner",
        "--job_name=many", f"--log_dir={tmp_path}", "--num_workers=1", "--checkpoint_interval_ms=100",
        f"--memory_limit={LIMIT_MB}MB", "--no_progress",
    ]  # fmt: skip
    most = 0
    with subprocess.Popen(command, stderr=subprocess.PIPE, text=True) as process:
        while process.poll() is None:
            most = max(most, own_bytes(process.pid))
        assert process.stderr is not None
        told = process.stderr.read()
    assert process.returncode == 0, told
    assert "--memory_limit" not in told, told
    status = JobFolder(tmp_path, "many").status()
    assert status is not None and status.state == "DONE"
    # Kept in memory the state alone would be more than what the processes leave.
    assert KEYS * VALUE_BYTES > (LIMIT_MB - 100) * MB
    assert 80 * MB < most < LIMIT_MB * MB, f"{most / MB:.0f} MB"


def budget(limit: int, workers: int = 2) -> MemoryBudget:
    """Of a worker that has 50 MB, 20 of these for itself, beside a coordinator of 40 MB and a server of 30 MB."""
    return MemoryBudget(limit, workers, 40 * MB, 30 * MB, 20 * MB, 50 * MB)


@pytest.mark.parametrize("workers", [1, 2, 4])
def test_all_parts_together_are_the_limit(workers: int) -> None:
    found = budget(512 * MB, workers)
    processes = 40 * MB + COORDINATOR_BYTES + 30 * MB + workers * (20 * MB + WORK_BYTES + COPY_BYTES)
    assert 512 * MB - 2 * workers <= processes + workers * 2 * found.kept_bytes <= 512 * MB
    assert found.limit_min < 512 * MB


def test_what_a_worker_and_its_copy_share_counts_once() -> None:
    found = budget(512 * MB)
    left, kept = found.left, found.kept_bytes
    assert found.look(40 * MB, lambda: 50 * MB)
    assert found.kept_bytes == kept + 20 * MB
    assert 2 * (found.kept_bytes - 40 * MB) + 40 * MB == left
    assert found.look(1000 * MB, lambda: 50 * MB)
    assert found.kept_bytes == left  # there is no room for anything else


def test_a_limit_that_is_too_small_leaves_a_little() -> None:
    found = budget(1)
    assert found.kept_bytes == 0
    assert budget(100 * MB).kept_bytes == KEPT_BYTES_MIN
    smallest = found.limit_min
    assert budget(smallest).kept_bytes == KEPT_BYTES_MIN
    assert budget(smallest + 4 * MB).kept_bytes == KEPT_BYTES_MIN + MB
    assert budget(100 * MB).limit_min == smallest


def test_what_a_worker_grows_by_beyond_its_part_is_taken_off_once() -> None:
    found = budget(512 * MB)
    kept = found.kept_bytes
    planned = 50 * MB + kept + WORK_BYTES
    assert not found.look(0, lambda: planned)
    assert found.look(0, lambda: planned + 10 * MB)
    assert found.kept_bytes == kept - 10 * MB
    assert not found.look(0, lambda: planned + 10 * MB)  # freed memory need not come back
    assert not found.look(0, lambda: planned)
    assert found.look(0, lambda: planned + 11 * MB)
    assert found.kept_bytes == kept - 11 * MB
    assert found.look(0, lambda: planned + 400 * MB)
    assert found.kept_bytes == KEPT_BYTES_MIN
    assert not found.look(0, lambda: planned + 500 * MB)


def test_what_a_process_has_is_measured() -> None:
    before, own = anonymous_bytes(), private_bytes()
    held = os.urandom(20 * MB)
    assert anonymous_bytes(os.getpid()) - before > 19 * MB
    assert private_bytes() - own > 19 * MB
    assert anonymous_bytes(1 << 30) == 0
    assert held
