"""Replay: a job's steps from a stored checkpoint, in this process; the job, its sinks and checkpoints stay as they are."""

from __future__ import annotations

import os
import subprocess
import sys
import threading
from pathlib import Path

import pytest
from log_io.topics import Streaming, take
from log_runner import replayed
from log_runner.replayed import append, name_of, reminders, totals

from hornbeam.cli.main import main
from hornbeam.error import RunnerError
from hornbeam.runners.log.job_folder import JobFolder
from hornbeam.runners.log.replay import Seen, replay
from hornbeam.storage.log import Log


def size_of(folder: Path) -> dict[str, int]:
    return {
        os.path.join(place, name): os.path.getsize(os.path.join(place, name))
        for place, _, names in os.walk(folder)
        for name in names
    }


@pytest.fixture(scope="module")
def stopped_job(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """A job of two workers with 0 to 14 read, the first window out, stopped; then 15 to 40 came to the topic."""
    directory = tmp_path_factory.mktemp("replay")
    with Log(directory / "log") as log:
        log.create_topic("numbers", 2)
        log.create_topic("totals")
        append(log, *range(15))
        options = ["--runner=LogRunner", f"--log_dir={directory}", "--job_name=j", "--num_workers=2"]
        with Streaming(totals(directory), *options, "--checkpoint_interval_ms=50") as result:
            take(log, "totals", 2)
            JobFolder(directory, "j").ask("stop", name="half")
            result.wait_until_finish()
        append(log, *range(15, 41))
    return directory


def test_what_sinks_would_have_been_given(stopped_job: Path) -> None:
    before = size_of(stopped_job / "jobs")
    seen: list[Seen] = []
    count = replay(JobFolder(stopped_job, "j"), "half", tell=seen.append)
    assert count == 26
    told = [(each.way, each.step, each.element[1].decode(), repr(each.windows[0])) for each in seen]
    # 10 to 14 were read before the savepoint: what they made is in its state.
    expected = [
        (
            "in",
            "Out/Write/Write",
            repr((name, sum(n for n in range(start, start + 10) if name_of(n) == name))),
            window,
        )
        for start, window in ((10, "[10.0, 20.0)"), (20, "[20.0, 30.0)"))
        for name in ("even", "odd")
    ]
    assert sorted(told) == sorted(expected)
    with Log(stopped_job / "log") as log:
        assert len(take(log, "totals")) == 2
        assert not [name for name in log.topics(internal=True) if name.startswith("__staging")]
    assert size_of(stopped_job / "jobs") == before


def test_one_step_and_one_key(stopped_job: Path) -> None:
    seen: list[Seen] = []
    replay(JobFolder(stopped_job, "j"), "half", "Totals", "odd", tell=seen.append)
    assert sorted(each.element[1] for each in seen if each.way == "in") == list(range(15, 41, 2))
    assert [str(each) for each in seen if each.way == "out" and each.element[0] == "odd"] == [
        "out Totals: ('odd', 75) at 1970-01-01T00:00:19.999999Z in [10.0, 20.0)",
        "out Totals: ('odd', 125) at 1970-01-01T00:00:29.999999Z in [20.0, 30.0)",
    ]


def test_user_code_runs_in_this_thread(stopped_job: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    """Where a debugger's prompt would come."""
    threads = set()

    def note(number: int) -> None:
        threads.add(threading.current_thread())
        if number == 20:
            raise ValueError("a bug at 20")

    monkeypatch.setattr(replayed, "on_number", [note])
    folder = JobFolder(stopped_job, "j")
    with pytest.raises(ValueError, match="a bug at 20"):
        replay(folder, "half", tell=lambda _: None)
    assert threads == {threading.main_thread()}
    monkeypatch.setattr(replayed, "on_number", [])
    assert replay(folder, "half", elements_max=3, tell=lambda _: None) >= 3


def test_what_is_not_there(stopped_job: Path) -> None:
    folder = JobFolder(stopped_job, "j")
    with pytest.raises(
        RunnerError, match=r"the job has no step 'Sums'; it has 'Numbers/Start', 'Numbers/Partitions'"
    ):
        replay(folder, "half", "Sums")
    with pytest.raises(Exception, match="no savepoint 'other'"):
        replay(folder, "other")


def test_the_command(stopped_job: Path, capsys: pytest.CaptureFixture[str]) -> None:
    words = ["job", "replay", str(stopped_job), "j", "--from", "half", "--step", "Totals", "--key", "even"]
    assert main(words) == 0
    lines = capsys.readouterr().out.splitlines()
    assert lines[-1] == "26 elements of sources were taken in; nothing was written"
    assert "in  Totals: ('even', 16) at 1970-01-01T00:00:16Z in [10.0, 20.0)" in lines


@pytest.fixture(scope="module")
def reminded_job(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """A job with state and a timer ten minutes ahead, stopped when 0 to 9 were read; then 10 to 13 came."""
    directory = tmp_path_factory.mktemp("reminders")
    with Log(directory / "log") as log:
        log.create_topic("numbers", 2)
        log.create_topic("reminders")
        append(log, *range(10))
        options = ["--runner=LogRunner", f"--log_dir={directory}", "--job_name=r", "--num_workers=2"]
        with Streaming(reminders(directory), *options, "--checkpoint_interval_ms=50") as result:
            take(log, "reminders", 10)
            JobFolder(directory, "r").ask("stop", name="half")
            result.wait_until_finish()
        append(log, *range(10, 14))
    return directory


def test_timers_are_not_waited_for(reminded_job: Path) -> None:
    """The clock runs ahead to them, with the state of the checkpoint and what has come since."""
    seen: list[Seen] = []
    assert replay(JobFolder(reminded_job, "r"), "half", "Remind", "even", tell=seen.append) == 4
    assert [(each.way, each.element) for each in seen if each.way == "in" or "even" in each.element] == [
        ("in", ("even", 10)),
        ("in", ("even", 12)),
        ("out", "7 even numbers"),
    ]
    assert [each.element for each in seen if "is number" in str(each.element)] == [
        "10 is number 6",
        "12 is number 7",
    ]


def test_a_key_that_does_not_come(reminded_job: Path, caplog: pytest.LogCaptureFixture) -> None:
    replay(JobFolder(reminded_job, "r"), "half", "Remind", "neither", tell=lambda _: None)
    assert "No element of the key neither came." in caplog.text


def test_pdb_stops_in_a_timer_by_file_and_line(reminded_job: Path) -> None:
    """Breakpoints are set from outside: the job holds its code as it was when it was started."""
    line = next(
        number
        for number, text in enumerate(Path(replayed.__file__).read_text().splitlines(), 1)
        if "{key} numbers" in text
    )
    command = [sys.executable, "-m", "pdb", "-m", "hornbeam.cli.main", "job", "replay", str(reminded_job), "r",
               "--from", "half", "--step", "Remind", "--key", "odd"]  # fmt: skip
    orders = f"b {replayed.__file__}:{line}\nc\np key, count.read()\nq\n"
    path = os.pathsep.join([str(Path(replayed.__file__).parent.parent), *sys.path])
    done = subprocess.run(
        command,
        input=orders,
        capture_output=True,
        text=True,
        timeout=180,
        env={**os.environ, "PYTHONPATH": path},
    )
    assert "('odd', 7)" in done.stdout or "('even', 5)" in done.stdout, done.stdout + done.stderr
