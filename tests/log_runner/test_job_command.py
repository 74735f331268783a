"""`hornbeam job` on job folders that are written by hand, with a thread in the coordinator's place."""

from __future__ import annotations

import json
import threading
import time
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from pathlib import Path
from typing import Any

import attrs
import pytest

import hornbeam as beam
from hornbeam.cli.main import main
from hornbeam.runners.log.job_folder import Command, JobFolder
from hornbeam.runners.log.job_record import JobRecord
from hornbeam.runners.log.job_status import CheckpointStatus, JobStatus, StepStatus

SECOND = 1_000_000
STEPS = (
    StepStatus(
        label="Read",
        elements=1_234_567,
        elements_per_s=1000.4,
        output_watermark=1_700_000_000 * SECOND,
        lag_ms=1250,
        backlog_elements=1200,
        backlog_bytes=2_500_000,
        entries=2,
    ),
    StepStatus(
        label="Count",
        elements=9,
        backlog_elements=0,
        output_watermark=None,
        dropped=1200,
        hot_keys=(("'a'", 0.5),),
    ),
    StepStatus(label="Write", output_watermark="end", lag_ms=7_200_000),
)
CHECKPOINT = CheckpointStatus(
    number=5, completed_micros=0, duration_ms=12.3, bytes=2000, total_bytes=3_000_000, pause_ms=1.2
)


def job(directory: Path, name: str, state: str = "RUNNING", **fields: Any) -> JobFolder:
    folder = JobFolder(directory, name)
    folder.create()
    folder.write_record(JobRecord(job_name=name, state=state, attempts=3, num_workers=2, **fields))
    folder.write_graph(beam.Pipeline().to_graph())
    folder.write_status(
        JobStatus(
            job_name=name, state="RUNNING", pid=42, workers=(43, 44), restarts=2, last_failure="worker 44 was killed",
            checkpoint=CHECKPOINT, steps=STEPS,
        )
    )  # fmt: skip
    return folder


@contextmanager
def coordinated(folder: JobFolder, answer: Callable[[Command], dict[str, Any]]) -> Iterator[list[Command]]:
    """Somebody who holds the job's lock and answers commands."""
    done, taken = threading.Event(), []

    def serve() -> None:
        while not done.wait(0.005):
            for command in folder.take_commands():
                taken.append(command)
                folder.reply(command, **answer(command))

    with folder.lock():
        thread = threading.Thread(target=serve)
        thread.start()
        try:
            yield taken
        finally:
            done.set()
            thread.join()


def test_times_are_utc_as_watermarks_are(
    tmp_path: Path, capsys: pytest.CaptureFixture[str], monkeypatch: pytest.MonkeyPatch
) -> None:
    job(tmp_path, "done", "DONE", created_micros=1_700_000_000_000_000)
    shown = set()
    try:
        for zone in ("UTC", "America/New_York"):
            monkeypatch.setenv("TZ", zone)
            time.tzset()
            assert main(["job", "list", str(tmp_path)]) == 0
            shown.add(capsys.readouterr().out)
    finally:
        monkeypatch.undo()
        time.tzset()
    (text,) = shown
    assert "2023-11-14 22:13:20" in text


def test_a_folder_that_is_not_there_has_no_list(tmp_path: Path, capsys: pytest.CaptureFixture[str]) -> None:
    """Rather than no jobs: it is a slip of the fingers."""
    assert main(["job", "list", str(tmp_path / "jbos")]) == 1
    assert capsys.readouterr().err == f"hornbeam job list: there is no folder {tmp_path / 'jbos'}\n"


@pytest.mark.parametrize("arguments", [["status", "--follow", "-1"], ["savepoint", "--timeout", "soon"]])
def test_seconds_are_above_0(
    arguments: list[str], tmp_path: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    command, *flags = arguments
    with pytest.raises(SystemExit) as raised:
        main(["job", command, str(tmp_path), "j", *flags])
    assert raised.value.code == 2
    assert f"{flags[1]!r} is not a number of seconds above 0" in capsys.readouterr().err


def test_the_list_of_jobs(tmp_path: Path, capsys: pytest.CaptureFixture[str]) -> None:
    assert main(["job", "list", str(tmp_path)]) == 0
    assert capsys.readouterr().out == f"no jobs in {tmp_path}\n"
    job(tmp_path, "killed")
    job(tmp_path, "done", "DONE")
    with coordinated(job(tmp_path, "runs"), lambda _: {}):
        assert main(["job", "list", str(tmp_path)]) == 0
        shown = [line.split() for line in capsys.readouterr().out.splitlines()]
        assert main(["job", "list", str(tmp_path), "--json"]) == 0
    assert shown[0] == [
        "JOB",
        "STATE",
        "WORKERS",
        "CREATED",
        "CHECKPOINT",
        "SAVEPOINTS",
        "EVENTS/S",
        "RESTARTS",
    ]
    assert [(row[0], row[1], row[2], row[-2], row[-1]) for row in shown[1:]] == [
        ("done", "DONE", "2", "0", "2"),
        ("killed", "KILLED", "2", "0", "2"),
        ("runs", "RUNNING", "2", "1,000", "2"),
    ]
    found = json.loads(capsys.readouterr().out)
    assert [(each["job"], each["state"], each["restarts"]) for each in found] == [
        ("done", "DONE", 2),
        ("killed", "KILLED", 2),
        ("runs", "RUNNING", 2),
    ]


def test_the_status_of_a_running_job(tmp_path: Path, capsys: pytest.CaptureFixture[str]) -> None:
    with coordinated(job(tmp_path, "j"), lambda _: {}):
        assert main(["job", "status", str(tmp_path), "j"]) == 0
        lines = capsys.readouterr().out.splitlines()
        assert main(["job", "status", str(tmp_path), "j", "--json"]) == 0
    assert lines[:5] == [
        "job         j",
        "state       RUNNING",
        "process     42; workers 43, 44",
        "attempts    3; 2 restarts since the last start",
        "last failure worker 44 was killed",
    ]
    assert lines[5].startswith("checkpoint  5 at 19") and lines[5].endswith(
        ": 12 ms, pause 1 ms, 2.0 kB of 3.0 MB"
    )
    assert lines[7:] == [
        "STEP    ELEMENTS  PER S  WATERMARK                    LAG        BACKLOG  KEPT  DROPPED  HOT KEYS",
        "Read   1,234,567  1,000  2023-11-14 22:13:20.000  1250 ms  1,200, 2.5 MB     2        0  -",
        "Count          9      0  none yet                       -              0     0    1,200  'a' 50%",
        "Write          0      0  end                            -              -     0        0  -",
    ]
    fields = json.loads(capsys.readouterr().out)
    assert (fields["workers"], fields["worker_pids"]) == (2, [43, 44])
    assert (fields["state"], fields["steps"][0]["elements"], fields["newest_checkpoint"]) == (
        "RUNNING",
        1_234_567,
        None,
    )


def test_a_coordinator_that_hangs_is_seen(tmp_path: Path, capsys: pytest.CaptureFixture[str]) -> None:
    folder = job(tmp_path, "j")
    for seconds, shown in ((3, False), (90, True)):
        updated = (time.time_ns() // 1000) - seconds * SECOND
        folder.write_status(JobStatus(job_name="j", state="RUNNING", pid=42, updated_micros=updated))
        with coordinated(folder, lambda _: {}):
            assert main(["job", "status", str(tmp_path), "j"]) == 0
        assert ("its process 42 has said nothing for 9" in capsys.readouterr().out) is shown


@pytest.mark.parametrize("ends", [True, False])
def test_a_job_that_ends_or_starts_while_it_is_looked_at_was_not_killed(
    ends: bool, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    folder, told = job(tmp_path, "j"), JobFolder.status
    locks = [folder.lock()] if ends else []

    def meanwhile(looked_at: JobFolder) -> JobStatus | None:
        monkeypatch.undo()
        status = told(looked_at)
        if ends:
            folder.write_record(JobRecord(job_name="j", state="DONE"))
            locks.pop().release()
        else:
            locks.append(folder.lock())
        return status

    monkeypatch.setattr(JobFolder, "status", meanwhile)
    assert folder.state() == "RUNNING"
    assert bool(locks) is not ends


def test_the_status_of_a_job_that_failed_or_was_killed(
    tmp_path: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    failure = {
        "type": "ValueError",
        "message": "no 5",
        "step": "Map(f)",
        "element": "5",
        "position": "t-0 offset 7",
    }
    job(tmp_path, "failed", "FAILED", failure=failure)
    assert main(["job", "status", str(tmp_path), "failed", "--follow", "0.01"]) == 0
    assert capsys.readouterr().out.splitlines()[1:8] == [
        "state       FAILED",
        "  type      ValueError",
        "  message   no 5",
        "  step      Map(f)",
        "  element   5",
        "  position  t-0 offset 7",
        "            mend it and start the program again; hornbeam job resume would run the same code again",
    ]
    job(tmp_path, "killed")
    assert main(["job", "status", str(tmp_path), "killed"]) == 0
    assert (
        f"its process has gone; start the same command again, or: hornbeam job resume {tmp_path} killed\n"
        in capsys.readouterr().out
    )
    spaced = tmp_path / "my jobs ü"
    job(spaced, "killed")
    assert main(["job", "status", str(spaced), "killed"]) == 0
    assert f"hornbeam job resume '{spaced}' killed\n" in capsys.readouterr().out  # as a shell takes it


@pytest.mark.parametrize(
    ("command", "answer", "asked", "said"),
    [
        (
            ["savepoint", "--name", "s"],
            {"savepoint": "s", "checkpoint": 4},
            ("savepoint", {"name": "s"}),
            "savepoint s (checkpoint 4)",
        ),
        (
            ["stop"],
            {"savepoint": "t", "checkpoint": 5},
            ("stop", {"name": None}),
            "stopped with savepoint t (checkpoint 5); go on with: hornbeam job resume {dir} j",
        ),
        (["drain"], {"state": "DRAINED"}, ("drain", {}), "j is DRAINED"),
        (["cancel"], {"state": "CANCELLED"}, ("cancel", {}), "j is CANCELLED"),
        (
            ["explain", "--step", "Read"],
            {"text": "all is well"},
            ("explain", {"step": "Read"}),
            "all is well",
        ),
    ],
)
def test_what_a_job_is_told(
    tmp_path: Path,
    capsys: pytest.CaptureFixture[str],
    command: list[str],
    answer: dict[str, Any],
    asked: tuple[str, dict[str, Any]],
    said: str,
) -> None:
    words = [command[0], str(tmp_path), "j", *command[1:]]
    with coordinated(job(tmp_path, "j"), lambda _: answer) as taken:
        assert main(["job", *words]) == 0
        assert capsys.readouterr().out.strip() == said.format(dir=tmp_path)
        assert main(["job", *words, "--json"]) == 0
        assert json.loads(capsys.readouterr().out) == answer
    assert [(each.name, each.arguments) for each in taken] == [asked, asked]
    assert main(["job", *words]) == 1
    assert capsys.readouterr().err == f"hornbeam job {command[0]}: job 'j' is not running; it is KILLED\n"


def test_what_a_job_refuses(tmp_path: Path, capsys: pytest.CaptureFixture[str]) -> None:
    with coordinated(job(tmp_path, "j"), lambda _: {"error": "no step 'x'; there are 'Read'"}):
        assert main(["job", "explain", str(tmp_path), "j", "--step", "x"]) == 1
        assert capsys.readouterr().err == "hornbeam job explain: no step 'x'; there are 'Read'\n"
        assert main(["job", "delete", str(tmp_path), "j", "--yes"]) == 1
        assert "job 'j' in" in capsys.readouterr().err
    assert main(["job", "status", str(tmp_path), "other"]) == 1
    assert capsys.readouterr().err == f"hornbeam job status: there is no job 'other' in {tmp_path}\n"
    assert main(["job", "status", str(tmp_path), "../j"]) == 1
    assert "job name '../j': use up to 100 letters" in capsys.readouterr().err


def test_delete_and_resume_of_a_job_that_has_ended(
    tmp_path: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    folder = job(tmp_path, "j", "DONE")
    assert main(["job", "resume", str(tmp_path), "j"]) == 1
    assert "j is DONE: it has come to its end. Go back with --from SAVEPOINT" in capsys.readouterr().out
    assert main(["job", "delete", str(tmp_path), "j"]) == 2
    assert "give --yes" in capsys.readouterr().err and folder.exists()
    assert main(["job", "delete", str(tmp_path), "j", "--yes"]) == 0
    assert capsys.readouterr().out == "j is deleted\n" and not folder.exists()


def test_a_job_is_deleted_whose_code_is_not_here(tmp_path: Path, capsys: pytest.CaptureFixture[str]) -> None:
    folder = job(tmp_path, "j", "STOPPED")
    pipeline = beam.Pipeline()
    pipeline | beam.Create([1]) | beam.Map(str)
    graph = pipeline.to_graph()
    away = {
        id_: attrs.evolve(step, payload=b"cno_such_module\nName\n.") if step.payload else step
        for id_, step in graph.transforms.items()
    }
    folder.write_graph(attrs.evolve(graph, transforms=away))
    assert main(["job", "delete", str(tmp_path), "j", "--yes"]) == 0
    printed = capsys.readouterr()
    assert printed.out == "j is deleted\n" and not folder.exists()
    assert "its graph cannot be read: No module named 'no_such_module'" in printed.err
