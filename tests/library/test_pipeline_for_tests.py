"""TestPipeline: options from the test command line, waiting, and what a failed run raises."""

from __future__ import annotations

import base64
import subprocess
import sys
import types
import unittest

import cloudpickle
import pytest

import hornbeam as beam
from hornbeam.options.pipeline_options import PipelineOptions, StandardOptions
from hornbeam.testing.test_pipeline import TestPipeline
from hornbeam.testing.util import assert_that, equal_to

FLAGS = "--test-pipeline-options=--runner=DirectRunner --job_name='a b' --flag"


class FakeRunner:
    """Runs nothing; the result's states are given."""

    def __init__(self, states=("DONE",)):
        self.states = list(states)
        self.cancelled = False
        self.durations = []

    def run(self, graph, options):
        return types.SimpleNamespace(
            wait_until_finish=self._wait, cancel=self._cancel, state=self.states[0], metrics=lambda: None
        )

    def _wait(self, duration=None):
        self.durations.append(duration)
        return self.states.pop(0) if len(self.states) > 1 else self.states[0]

    def _cancel(self):
        self.cancelled = True


@pytest.fixture(autouse=True)
def no_flags_from_this_run(monkeypatch):
    monkeypatch.setattr(TestPipeline, "pytest_test_pipeline_options", "")


def test_flags_from_argv():
    p = TestPipeline(argv=[FLAGS, "--other", "x"])
    assert p.options_list == ["--runner=DirectRunner", "--job_name=a b", "--flag"]
    assert p.get_pipeline_options().view_as(StandardOptions).runner == "DirectRunner"
    assert p.get_option("job_name") == "a b"
    assert p.get_option("--job_name") == "a b"
    assert p.get_option("flag", bool_option=True) is True
    assert p.get_option("absent") is None
    assert p.get_option("absent", bool_option=True) is False


def test_without_flags():
    assert TestPipeline(argv=[]).options_list == []
    assert TestPipeline(argv=[], additional_pipeline_args=["--streaming"]).options_list == ["--streaming"]


def test_options_given_win():
    options = PipelineOptions(["--runner=PrismRunner"])
    assert TestPipeline(argv=[FLAGS], options=options).options is options


def test_flags_from_pytest(monkeypatch):
    monkeypatch.setattr(TestPipeline, "pytest_test_pipeline_options", "--runner=FnApiRunner")
    assert TestPipeline(argv=[]).options_list == ["--runner=FnApiRunner"]
    assert TestPipeline(argv=[FLAGS]).get_option("runner") == "DirectRunner"


def test_full_options_as_args():
    p = TestPipeline(argv=["--test-pipeline-options=--a=1"])
    args = p.get_full_options_as_args(b="x y", yes=True, no=False, none=None, on_matcher={"k": 1})
    assert args[:3] == ["--a=1", "--b=x y", "--yes"]
    name, _, pickled = args[3].partition("=")
    assert name == "--on_matcher" and cloudpickle.loads(base64.b64decode(pickled)) == {"k": 1}
    assert len(args) == 4


def test_integration_tests_are_skipped_without_options():
    with pytest.raises(unittest.SkipTest):
        TestPipeline(argv=[], is_integration_test=True)
    assert TestPipeline(argv=[FLAGS], is_integration_test=True).is_integration_test


def test_waits_for_the_end():
    runner = FakeRunner()
    with TestPipeline(runner=runner) as p:
        p | beam.Create([1])
    assert runner.durations and p.result.state == "DONE"


@pytest.mark.parametrize("state", ["FAILED", "UNKNOWN"])
def test_a_run_that_did_not_succeed_fails(state):
    p = TestPipeline(runner=FakeRunner([state]))
    p | beam.Create([1])
    with pytest.raises(AssertionError, match=state):
        p.run()


def test_timeout_cancels():
    runner = FakeRunner(["RUNNING"])
    p = TestPipeline(runner=runner, timeout=1.5)
    p | beam.Create([1])
    with pytest.raises(AssertionError, match=r"did not finish within 1.5 s"):
        p.run()
    assert runner.cancelled and runner.durations == [1500]


def test_non_blocking_does_not_wait():
    runner = FakeRunner(["RUNNING"])
    p = TestPipeline(runner=runner, blocking=False)
    p | beam.Create([1])
    p.run()
    assert runner.durations == []


def test_runs():
    with TestPipeline() as p:
        assert_that(p | beam.Create([1, 2]) | beam.Map(str), equal_to(["1", "2"]))
    assert str(p.result.state) == "DONE"


def test_pytest_takes_the_option(tmp_path):
    test = tmp_path / "test_options_arrive.py"
    test.write_text(
        "from hornbeam.testing.test_pipeline import TestPipeline\n"
        "def test_it():\n"
        "    assert TestPipeline(argv=[]).get_option('bundle_size') == '7'\n"
    )
    plugin = [] if _entry_point_installed() else ["-p", "hornbeam.testing.pytest_plugin"]
    done = subprocess.run(
        [sys.executable, "-m", "pytest", "-q", *plugin, "--test-pipeline-options=--bundle_size=7", str(test)],
        capture_output=True,
        text=True,
        cwd=tmp_path,
        check=False,
    )
    assert done.returncode == 0, done.stdout + done.stderr


def _entry_point_installed():
    from importlib.metadata import entry_points

    return any(point.value == "hornbeam.testing.pytest_plugin" for point in entry_points(group="pytest11"))
