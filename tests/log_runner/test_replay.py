"""Replay: a job's steps from a stored checkpoint, in this process; the job, its sinks and checkpoints stay as they are."""

from __future__ import annotations

import os
import threading
from pathlib import Path

import pytest
from log_io.topics import Streaming, take
from log_runner import replayed
from log_runner.replayed import append, name_of, totals

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
