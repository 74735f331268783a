"""Whole programs: how they are started, how they end, and what is left of them."""

from __future__ import annotations

import os
import pathlib
import signal
import subprocess
import sys
import time

import pytest

from hornbeam.runners.multiprocess.run_folder import PREFIX, remove_abandoned

#: Has classes and functions of its own main module in elements, keys and exceptions, and no `if __name__ == "__main__"`.
PROGRAM = """
print("started")
import sys
import hornbeam as beam
from hornbeam.options.pipeline_options import PipelineOptions

FACTOR = 3

class Amount:
    def __init__(self, value):
        self.value = value

class Refused(Exception):
    def __init__(self, value, reason):
        super().__init__(f"{value} is refused: {reason}")
        self.value = value

def scaled(x):
    return x % 2, Amount(x * FACTOR)

def checked(pair):
    if not all(isinstance(amount, Amount) for amount in pair[1]):
        raise Refused(pair, "not of the class")
    return pair[0], sum(amount.value for amount in pair[1])

def refuse(pair):
    raise Refused(pair[1], "on purpose")

def run(*last):
    with beam.Pipeline(options=PipelineOptions(["--runner=MultiProcessRunner", "--num_workers=2"])) as p:
        c = p | beam.Create(range(10)) | beam.Map(scaled) | beam.GroupByKey() | beam.Map(checked)
        for step in last:
            c = c | beam.Map(step)

run(print)
try:
    run(refuse)
except Refused as error:
    print("caught", error, type(error.value).__name__)
"""


def start(kind: str, folder: pathlib.Path, program: str = PROGRAM) -> subprocess.Popen[str]:
    """Starts the program as a script, by `-c`, or from standard input."""
    script = folder / "program.py"
    script.write_text(program)
    arguments = {"script": [str(script)], "-c": ["-c", program], "stdin": ["-"]}[kind]
    process = subprocess.Popen(
        [sys.executable, *arguments],
        stdin=subprocess.PIPE,
        stdout=subprocess.PIPE,
        stderr=subprocess.PIPE,
        text=True,
        env={**os.environ, "TMPDIR": str(folder)},
    )
    if kind == "stdin":
        assert process.stdin is not None
        process.stdin.write(program)
        process.stdin.close()
        process.stdin = None
    return process


@pytest.mark.parametrize("kind", ["script", "-c", "stdin"])
def test_the_main_module_is_not_run_again_and_its_classes_are_the_same_everywhere(kind, tmp_path):
    output, errors = start(kind, tmp_path).communicate(timeout=180)
    lines = output.splitlines()
    assert lines[0] == "started" and lines.count("started") == 1, errors
    assert sorted(lines[1:3]) == ["(0, 60)", "(1, 75)"], errors
    assert lines[3].startswith("caught ") and lines[3].endswith("is refused: on purpose int"), errors


SLOW = """
import os, signal, sys, time
signal.signal(signal.SIGINT, signal.default_int_handler)  # what runs the tests may ignore Ctrl-C
import hornbeam as beam
from hornbeam.options.pipeline_options import PipelineOptions

def slow(x):
    print("pid", os.getpid(), flush=True)
    time.sleep(1000)

with beam.Pipeline(options=PipelineOptions(["--runner=MultiProcessRunner", "--num_workers=2"])) as p:
    p | beam.Create(range(10)) | beam.GroupBy(lambda x: x) | beam.Map(slow)
"""


def is_alive(pid: int) -> bool:
    """Whether the process is there and no zombie."""
    try:
        state = pathlib.Path(f"/proc/{pid}/stat").read_text().rpartition(")")[2].split()[0]
    except OSError:
        return False
    return state != "Z"


def gone(condition, seconds: float = 120.0) -> bool:
    """Whether the condition stops to hold in time."""
    until = time.monotonic() + seconds
    while time.monotonic() < until:
        if not condition():
            return True
        time.sleep(0.02)
    return False


@pytest.mark.parametrize("signal_", [signal.SIGINT, signal.SIGTERM, signal.SIGKILL])
def test_however_the_program_ends_its_workers_go_and_its_files_too(signal_, tmp_path):
    process = start("script", tmp_path, SLOW)
    assert process.stdout is not None
    pids = [int(process.stdout.readline().split()[1])]
    children = pathlib.Path(f"/proc/{process.pid}/task/{process.pid}/children").read_text().split()
    pids += map(int, children)
    assert list(tmp_path.glob(f"{PREFIX}*"))
    process.send_signal(signal_)
    _, errors = process.communicate(timeout=180)
    assert process.returncode != 0
    if signal_ == signal.SIGINT:
        assert errors.strip().endswith("KeyboardInterrupt")
    for pid in pids:
        assert gone(lambda pid=pid: is_alive(pid)), f"process {pid} is still there"
    assert gone(lambda: list(tmp_path.glob(f"{PREFIX}*"))), "files were left"


def test_the_next_start_removes_what_a_run_left_whose_processes_were_all_killed(tmp_path):
    process = start("script", tmp_path, SLOW)
    assert process.stdout is not None
    worker = int(process.stdout.readline().split()[1])
    (server,) = pathlib.Path(f"/proc/{process.pid}/task/{process.pid}/children").read_text().split()
    os.kill(int(server), signal.SIGSTOP)  # so that it cannot tidy up
    process.kill()
    os.kill(int(server), signal.SIGKILL)
    process.communicate(timeout=180)
    assert gone(lambda: is_alive(worker))
    (left,) = tmp_path.glob(f"{PREFIX}*")
    start("script", tmp_path).communicate(timeout=180)
    assert not left.exists()


def test_a_folder_left_half_made_or_half_removed_goes_once_it_is_old(tmp_path):
    young, old = tmp_path / f"{PREFIX}young", tmp_path / f"{PREFIX}old"
    for folder in (young, old):
        folder.mkdir()
        (folder / "task-0-1").touch()
    hour_ago = time.time() - 3600
    os.utime(old, (hour_ago, hour_ago))
    assert remove_abandoned(str(tmp_path)) == [str(old)]
    assert young.exists() and not old.exists()
