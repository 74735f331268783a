"""`hornbeam checkpoint ...` on the fixture store, and the examples of the documentation."""

from __future__ import annotations

import argparse
import json
import re
import shutil
from pathlib import Path

import pytest

from hornbeam.cli import checkpoint as command
from hornbeam.storage.checkpoint import CheckpointStore

ROOT = Path(__file__).resolve().parents[2]


@pytest.fixture
def store(tmp_path: Path) -> Path:
    return Path(shutil.copytree(Path(__file__).parent / "fixtures" / "v1", tmp_path / "store"))


def run(*arguments: object) -> int:
    parser = argparse.ArgumentParser()
    command.add_parser(parser.add_subparsers())
    args = parser.parse_args(["checkpoint", *map(str, arguments)])
    status: int = args.run(args)
    return status


def test_list_is_a_table_of_checkpoints_then_savepoints(
    store: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    assert run("list", store) == 0
    titles, *rows = capsys.readouterr().out.splitlines()
    assert titles.split() == ["KIND", "NAME", "CREATED", "BASE", "FILES", "SIZE", "ADDED", "ENTRIES"]
    assert [row.split()[:2] for row in rows] == [
        ["checkpoint", "2"],
        ["checkpoint", "3"],
        ["checkpoint", "4"],
        ["savepoint", "early"],
    ]
    assert run("list", "--json", store) == 0
    assert [entry["files"] for entry in json.loads(capsys.readouterr().out)] == [2, 1, 2, 2]


def test_describe_shows_states_files_and_metadata(store: Path, capsys: pytest.CaptureFixture[str]) -> None:
    assert run("describe", store) == 0
    out = capsys.readouterr().out
    assert out.startswith("checkpoint 4, made ") and '"number": 4' in out
    assert re.search(r"count +\d+", out) and re.search(r"merge-0\.state .* 2\n", out)
    assert run("describe", store, "--at", "early", "--json") == 0
    described = json.loads(capsys.readouterr().out)
    assert (described["kind"], described["metadata"]["number"]) == ("savepoint", 2)
    assert [row["references"] for row in described["state_files"]] == [2, 2]


def test_dump_prints_entries_as_json_lines(store: Path, capsys: pytest.CaptureFixture[str]) -> None:
    assert run("dump", store, "--state", "count", "--groups", "2-3", "--limit", "2") == 0
    lines = [json.loads(line) for line in capsys.readouterr().out.splitlines()]
    assert lines == [
        {"state": "count", "key_group": 2, "key": f"key-{i}", "window": "", "value": "4" * 10}
        for i in (18, 34)
    ]
    assert run("dump", store, "--state", "bag α", "--groups", "1", "--limit", "1") == 0
    assert json.loads(capsys.readouterr().out)["window"] == {"base64": "d2luZG93/w=="}


def test_verify_names_file_and_offset_and_repairs(store: Path, capsys: pytest.CaptureFixture[str]) -> None:
    assert run("verify", store) == 0
    assert "4 manifests, 4 state files" in capsys.readouterr().out
    path = store / "manifests" / "checkpoint-000000000004.manifest"
    path.write_bytes(path.read_bytes().replace(b'"number": 4', b'"number": 5'))
    assert run("verify", "--json", store) == 1
    problem = json.loads(capsys.readouterr().out)["problems"][0]
    assert problem["path"] == str(path) and problem["offset"] == 0 and "checksum" in problem["reason"]
    assert run("list", store) == 2
    assert f"verify --repair {store}" in capsys.readouterr().err
    assert run("verify", "--repair", store) == 1
    assert "[set aside]" in capsys.readouterr().out
    assert run("verify", store) == 0
    assert "cleared away when the store is next opened" in capsys.readouterr().out
    CheckpointStore(store).close()
    assert run("verify", store) == 0
    assert "3 manifests, 3 state files" in capsys.readouterr().out


@pytest.mark.parametrize(
    ("arguments", "message"),
    [
        (["list", "nowhere"], "not a checkpoint store"),
        (["describe", "STORE", "--at", "9"], "no checkpoint 9; there is: checkpoint 2"),
        (["dump", "STORE", "--groups", "x"], "--groups 'x' is not A-B"),
    ],
)
def test_mistakes_are_explained(
    store: Path, capsys: pytest.CaptureFixture[str], arguments: list[str], message: str
) -> None:
    assert run(*[store if argument == "STORE" else argument for argument in arguments]) == 2
    assert message in capsys.readouterr().err


def test_an_empty_store_says_so(tmp_path: Path, capsys: pytest.CaptureFixture[str]) -> None:
    CheckpointStore(tmp_path).close()
    assert run("list", tmp_path) == 0
    assert "holds no checkpoint yet" in capsys.readouterr().out


def test_the_examples_of_the_documentation_run(tmp_path: Path, capsys: pytest.CaptureFixture[str]) -> None:
    text = (ROOT / "docs" / "checkpoints.md").read_text(encoding="utf-8")
    examples = re.findall(r"```python\n(.*?)```", text, re.DOTALL)
    assert len(examples) == 3
    for example in examples:
        exec(example.replace("/var/lib/job/checkpoints", str(tmp_path)), {})
