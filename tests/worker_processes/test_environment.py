"""What user code in a worker process finds: what it would find in the program's, whichever runner it is."""

from __future__ import annotations

import functools
import logging
import os
import random
import subprocess
import sys
import time
from pathlib import Path
from typing import Any

import numpy as np
import pytest

import hornbeam as beam
from hornbeam.options.pipeline_options import PipelineOptions

FLAGS = {
    "MultiProcessRunner": ["--runner=MultiProcessRunner", "--no_progress"],
    "LogRunner": ["--runner=LogRunner", "--no_progress", "--job_name=environment", "--failures_max=1"],
}


@pytest.fixture(params=FLAGS)
def flags(request: pytest.FixtureRequest, tmp_path: Path) -> list[str]:
    place = "--log_dir" if request.param == "LogRunner" else "--temp_dir"
    return [*FLAGS[request.param], "--num_workers=2", f"{place}={tmp_path}"]


def what_is_seen(_: Any) -> str:
    level = logging.getLogger("a.logger.of.the.test").getEffectiveLevel()
    return f"{os.environ.get('HORNBEAM_TEST_VALUE')} {os.getcwd()} {sys.argv[-1]} {level}"


def test_workers_see_the_programs_environment(
    flags: list[str], tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    with beam.Pipeline(options=PipelineOptions(flags)) as p:
        p | beam.Create([0])  # from here on the fork server runs, with the environment of now
    (tmp_path / "here").mkdir()
    monkeypatch.chdir(tmp_path / "here")
    monkeypatch.setenv("HORNBEAM_TEST_VALUE", "set")
    monkeypatch.setattr(sys, "argv", ["program", "an argument"])
    logging.getLogger("a.logger.of.the.test").setLevel(17)
    with beam.Pipeline(options=PipelineOptions([*flags, "--fresh"])) as p:
        p | beam.Create([0]) | beam.Map(what_is_seen) | beam.io.WriteToText("out", shard_name_template="")
    assert Path("out").read_text() == f"set {tmp_path}/here an argument 17\n"


def draw(folder: Path, _: int) -> str:
    """Draws; slowly while one worker of MultiProcessRunner is alone, so that the other one comes to do it too."""
    (folder / f"drawn-{os.getpid()}").touch()
    is_alone = len(list(folder.glob("drawn-*"))) < 2
    time.sleep(0.03 if is_alone and not (folder / "jobs").exists() else 0.001)
    return f"{os.getpid()} {random.random()} {np.random.random()}"


def test_workers_draw_different_random_numbers(flags: list[str], tmp_path: Path) -> None:
    with beam.Pipeline(options=PipelineOptions([*flags, "--bundle_size=10"])) as p:
        (
            p
            | beam.Create(range(400))
            | beam.Reshuffle()
            | beam.Map(functools.partial(draw, tmp_path))
            | beam.io.WriteToText(str(tmp_path / "out"))
        )
    rows = [line.split() for path in tmp_path.glob("out*") for line in path.read_text().splitlines()]
    pids, draws, numpy_draws = (set(column) for column in zip(*rows, strict=True))
    assert len(pids) == 2
    assert len(draws) == len(numpy_draws) == len(rows)


OFF_THE_PATH = """
import importlib.util, sys, types
sys.modules["elsewhere"] = types.ModuleType("elsewhere")  # as pytest's importlib mode does for folders
spec = importlib.util.spec_from_file_location("elsewhere.steps", sys.argv[1])
steps = sys.modules["elsewhere.steps"] = importlib.util.module_from_spec(spec)
spec.loader.exec_module(steps)

import hornbeam as beam
from hornbeam.options.pipeline_options import PipelineOptions

options = PipelineOptions(sys.argv[2:])
with beam.Pipeline(options=options) as p:
    p | beam.Create([steps.Amount(1)]) | beam.Reshuffle() | beam.Map(steps.worth) | beam.Map(print)
options = PipelineOptions([*sys.argv[2:], "--fresh"])
try:
    with beam.Pipeline(options=options) as p:
        p | beam.Create([3]) | beam.Map(steps.refuse)
except steps.Refused as error:
    print("caught", error)
"""

STEPS = """
class Amount:
    def __init__(self, value):
        self.value = value

class Refused(Exception):
    pass

def worth(amount):
    assert type(amount) is Amount
    return f"worth {amount.value}"

def refuse(x):
    if x == 3:
        raise Refused("three")
"""


def test_modules_loaded_from_elsewhere_are_found_by_workers(flags: list[str], tmp_path: Path) -> None:
    steps = tmp_path / "elsewhere" / "steps_of_a_test.py"
    steps.parent.mkdir()
    steps.write_text(STEPS)
    script = tmp_path / "program.py"
    script.write_text(OFF_THE_PATH)
    done = subprocess.run(
        [sys.executable, script, steps, *flags], capture_output=True, text=True, timeout=180, check=False
    )
    assert done.stdout.splitlines() == ["worth 1", "caught three"], done.stderr
