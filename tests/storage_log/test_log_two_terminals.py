"""`hornbeam log` in several terminals: two consumers of a group, one of them killed; nothing is lost, the lag goes to 0."""

from __future__ import annotations

import argparse
import json
import os
import signal
import subprocess
import sys
import time
from collections import Counter
from collections.abc import Callable
from pathlib import Path
from typing import Any

import pytest

from hornbeam.cli import log as log_command

PATIENCE_S = 180.0


def hornbeam(*words: str) -> list[str]:
    return [sys.executable, "-c", "from hornbeam.cli.main import main; main()", "log", *words]


def here(*words: str) -> int:
    """The command in this process: only the consumers need processes of their own."""
    parser = argparse.ArgumentParser()
    log_command.add_parser(parser.add_subparsers(required=True))
    args = parser.parse_args(["log", *words])
    return int(args.run(args))


def outcome(capsys: pytest.CaptureFixture[str], *words: str) -> Any:
    capsys.readouterr()
    here(*words, "--json")
    return json.loads(capsys.readouterr().out)


def until(condition: Callable[[], bool], what: str) -> None:
    deadline = time.monotonic() + PATIENCE_S
    while not condition():
        assert time.monotonic() < deadline, f"waited in vain until {what}"
        time.sleep(0.02)


def test_a_killed_member_is_replaced_by_the_other(tmp_path: Path, capsys: pytest.CaptureFixture[str]) -> None:
    directory, lines = str(tmp_path / "log"), tmp_path / "lines.csv"
    lines.write_text("".join(f"k{i % 50},{i}\n" for i in range(4000)))
    produce = ("produce", directory, "t", "--file", str(lines), "--key-field", "1")
    here("create", directory, "t", "--partitions", "4")
    outputs = [tmp_path / "first", tmp_path / "second"]
    consumers = []
    try:
        for output in outputs:
            with output.open("w") as out, output.with_suffix(".said").open("w") as said:
                consume = hornbeam("consume", directory, "t", "--group", "g", "--follow")
                consumers.append(subprocess.Popen(consume, stdout=out, stderr=said))
        said = [output.with_suffix(".said") for output in outputs]
        until(lambda: all("assigned:" in path.read_text() for path in said), "both have partitions")
        assert here(*produce) == 0

        def shown() -> Counter[str]:
            return Counter(line for output in outputs for line in output.read_text().split("\n")[:-1])

        wanted = set(lines.read_text().split())
        until(lambda: set(shown()) == wanted, "both have shown the first file")
        assert all(output.stat().st_size for output in outputs)

        os.kill(consumers[0].pid, signal.SIGKILL)
        before = outputs[1].read_text().count("\n")
        assert here(*produce) == 0
        until(
            lambda: outputs[1].read_text().count("\n") >= before + 4000, "the other has all the second file"
        )
        until(
            lambda: sum(row["lag"] for row in outcome(capsys, "offsets", directory, "g")) == 0,
            "it has committed",
        )
        [member] = outcome(capsys, "groups", directory)
        assert member["alive"] and member["lag"] == 0 and len(member["partitions"].split()) == 4
        assert member["client"] == f"pid {consumers[1].pid}"
        assert set(shown().values()) <= {2, 3}, "lost, or more than the uncommitted second again"
        consumers[1].terminate()
        assert consumers[1].wait(PATIENCE_S) == 0
        assert outcome(capsys, "verify", directory)["sound"]
    finally:
        for consumer in consumers:
            consumer.kill()
            consumer.wait()


def test_lag_counts_partitions_of_which_nothing_was_committed(
    tmp_path: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    directory, lines = str(tmp_path / "log"), tmp_path / "lines"
    lines.write_text("".join(f"k{i},{i}\n" for i in range(100)))
    assert here("create", directory, "t", "--partitions", "3") == 0
    assert here("produce", directory, "t", "--file", str(lines), "--key-field", "1") == 0
    assert here("consume", directory, "t", "--group", "g", "-q", "-n", "5") == 0
    rows = outcome(capsys, "offsets", directory, "g")
    assert len(rows) == 3 and sum(row["lag"] for row in rows) == 95
