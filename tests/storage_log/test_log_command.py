"""`hornbeam log` as a person types it."""

from __future__ import annotations

import argparse
import json
from pathlib import Path

import pytest

from hornbeam.cli import log as log_command
from hornbeam.storage.log import Consumer, Log


def hornbeam(*words: str) -> int:
    parser = argparse.ArgumentParser(prog="hornbeam")
    log_command.add_parser(parser.add_subparsers(required=True))
    args = parser.parse_args(["log", *words])
    return int(args.run(args))


def test_a_tour(tmp_path: Path, capsys: pytest.CaptureFixture[str]) -> None:
    directory, lines = str(tmp_path / "log"), tmp_path / "lines.csv"
    lines.write_text("key,n\n" + "".join(f"k{i % 3},{i}\n" for i in range(30)))
    assert hornbeam("create", directory, "t", "--partitions", "2", "--set", "cleanup=compact") == 0
    assert hornbeam("produce", directory, "t", "--file", str(lines), "--skip", "1", "--key-field", "1") == 0
    capsys.readouterr()
    assert hornbeam("topics", directory, "--json") == 0
    (row,) = json.loads(capsys.readouterr().out)
    assert (row["topic"], row["partitions"], row["records"]) == ("t", 2, 30)
    assert hornbeam("topics", directory) == 0 and hornbeam("describe", directory, "t") == 0
    assert "cleanup=compact" in capsys.readouterr().out
    assert hornbeam("consume", directory, "t", "--group", "g", "-n", "10") == 0
    assert len(capsys.readouterr().out.split()) == 10
    assert hornbeam("offsets", directory, "g", "--json") == 0
    assert sum(row["lag"] for row in json.loads(capsys.readouterr().out)) == 20
    assert hornbeam("offsets", directory, "g", "--reset", "end") == 0
    assert hornbeam("groups", directory) == 0 and "(none)" in capsys.readouterr().out
    assert hornbeam("consume", directory, "t", "--from", "3", "--json") == 0
    records = [json.loads(line) for line in capsys.readouterr().out.splitlines()]
    assert all(record["offset"] >= 3 for record in records)
    for words in (
        ["compact", "t"],
        ["dump", "t", "0", "--records"],
        ["verify"],
        ["verify", "--repair", "--json"],
    ):
        assert hornbeam(words[0], directory, *words[1:]) == 0
    assert '"sound": true' in capsys.readouterr().out


def test_mistakes_are_explained(tmp_path: Path, capsys: pytest.CaptureFixture[str]) -> None:
    directory = str(tmp_path / "log")
    assert hornbeam("topics", directory) == 2
    assert "is not a log" in capsys.readouterr().err
    assert hornbeam("create", directory, "t", "--set", "foo=1") == 2
    assert "no topic setting 'foo'" in capsys.readouterr().err
    hornbeam("create", directory, "t")
    assert hornbeam("consume", directory, "t", "--from", "yesterday") == 2
    assert hornbeam("describe", directory, "u") == 2
    assert "no topic 'u'" in capsys.readouterr().err


def test_offsets_are_not_reset_under_a_running_member(
    tmp_path: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    with Log(tmp_path / "log") as log:
        log.create_topic("t")
        member = Consumer(log, "t", group="g")
        assert hornbeam("offsets", str(tmp_path / "log"), "g", "--reset", "end", "--topic", "t") == 2
        assert "running members" in capsys.readouterr().err
        member.close()
        assert hornbeam("offsets", str(tmp_path / "log"), "g", "--reset", "end", "--topic", "t") == 0


def test_damage_sets_the_exit_status(tmp_path: Path, capsys: pytest.CaptureFixture[str]) -> None:
    directory = tmp_path / "log"
    (tmp_path / "lines").write_text("a\nb\n")
    hornbeam("create", str(directory), "t")
    hornbeam("produce", str(directory), "t", "--file", str(tmp_path / "lines"))
    segment = next((directory / "topics" / "t" / "0").glob("*.log"))
    data = bytearray(segment.read_bytes())
    data[-5] ^= 4
    segment.write_bytes(data)
    assert hornbeam("verify", str(directory)) == 1
    out = capsys.readouterr().out
    assert str(segment) in out and "at byte 64" in out
    assert hornbeam("verify", str(directory), "--repair") == 0


def test_the_guide_runs(tmp_path: Path) -> None:
    text = (Path(__file__).parents[2] / "docs" / "log.md").read_text(encoding="utf-8")
    names: dict[str, object] = {}
    for block in text.split("```python\n")[1:]:
        exec(block.split("```")[0].replace("/var/lib/app/log", str(tmp_path / "log")), names)
    with Log(tmp_path / "log") as log:
        assert len(list(Consumer(log, "invoices").read_available())) == 103
        assert sum(offset for offset in Consumer(log, group="invoicing").committed().values()) == 103
