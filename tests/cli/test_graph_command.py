"""`hornbeam graph`, run as a user runs it."""

from __future__ import annotations

import subprocess
import sys
from pathlib import Path

import pytest

import hornbeam as beam
from hornbeam.graph.serialize import save


def hornbeam(*args: str) -> subprocess.CompletedProcess[str]:
    command = [sys.executable, "-m", "hornbeam.cli.main", *args]
    return subprocess.run(command, capture_output=True, text=True, timeout=180)


@pytest.fixture
def graph_file(tmp_path: Path) -> str:
    pipeline = beam.Pipeline(argv=[])
    words = pipeline | beam.Create(["a b", "b"]) | beam.FlatMap(str.split)
    words | beam.combiners.Count.PerElement() | beam.Map(print)
    path = tmp_path / "words.json"
    save(pipeline.to_graph(), path)
    return str(path)


def test_run_executes_in_another_process(graph_file: str) -> None:
    answer = hornbeam("graph", "run", graph_file, "--bundle_size=1")
    assert sorted(answer.stdout.splitlines()) == ["('a', 1)", "('b', 2)", "DONE"], answer.stderr


def test_show_draws_the_steps(graph_file: str) -> None:
    assert "FlatMap(split)" in hornbeam("graph", "show", graph_file).stdout
    assert hornbeam("graph", "show", graph_file, "--as", "mermaid").stdout.startswith("flowchart")
    plan = hornbeam("graph", "show", graph_file, "--as", "plan").stdout
    assert plan.startswith("S1\n") and "Precombine" in plan and "PairWithVoid" not in plan


def test_compare_of_a_graph_with_itself(graph_file: str) -> None:
    assert hornbeam("graph", "compare", graph_file, graph_file).stdout.strip() == "no differences"


def test_a_file_that_is_no_graph_is_refused_on_one_line(tmp_path: Path) -> None:
    path = tmp_path / "not.json"
    path.write_text("hello")
    answer = hornbeam("graph", "check", str(path))
    assert answer.returncode == 1
    assert len(answer.stderr.splitlines()) == 1 and "not JSON" in answer.stderr


def test_without_a_command_the_commands_are_listed() -> None:
    answer = hornbeam()
    assert answer.returncode == 2
    assert "graph" in answer.stdout and "log" in answer.stdout
