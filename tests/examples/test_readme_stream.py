"""What README.md says under "A stream that survives" is true: its shell blocks run as they stand, in one shell, in order.
Where a reader takes a moment, the test waits until there is something to see.
"""

from __future__ import annotations

import os
import queue
import re
import signal
import subprocess
import sys
import threading
import time
from collections import Counter
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from pathlib import Path

import pytest

from hornbeam.runners.log.job_folder import JobFolder
from hornbeam.storage.log import Consumer, Log

README = Path(__file__).resolve().parents[2] / "README.md"
FENCE = re.compile(r"^```(sh|text)\n(.*?)^```$", re.MULTILINE | re.DOTALL)
#: No wait takes nearly so long, unless something is wrong.
DEADLINE_SECONDS = 180.0
MARK = "-- the block has ended"


def section(title: str) -> str:
    _, _, rest = README.read_text(encoding="utf-8").partition(f"\n## {title}\n")
    return rest.partition("\n## ")[0]


class Shell:
    """A shell in a folder that is given one block after the other."""

    def __init__(self, folder: Path) -> None:
        path = f"{Path(sys.executable).parent}{os.pathsep}{os.environ['PATH']}"
        self._process = subprocess.Popen(
            ["bash"],
            cwd=folder,
            env={**os.environ, "PATH": path},
            stdin=subprocess.PIPE,
            stdout=subprocess.PIPE,
            stderr=subprocess.STDOUT,
            text=True,
            bufsize=1,
            start_new_session=True,
        )
        self._came: queue.SimpleQueue[str] = queue.SimpleQueue()
        #: All that was printed, also by what goes on in the background.
        self.lines: list[str] = []
        threading.Thread(target=self._read, daemon=True).start()

    def _read(self) -> None:
        assert self._process.stdout is not None
        for line in self._process.stdout:
            self._came.put(line.rstrip("\n"))

    def run(self, block: str) -> None:
        """Runs a block to its end."""
        assert self._process.stdin is not None
        self._process.stdin.write(f"{block}\necho '{MARK}'\n")
        self._process.stdin.flush()
        while (line := self._came.get(timeout=DEADLINE_SECONDS)) != MARK:
            self.lines.append(line)

    def close(self) -> list[str]:
        """Ends it; gives all that was printed."""
        try:
            os.killpg(self._process.pid, signal.SIGKILL)
        except ProcessLookupError:
            pass
        self._process.wait()
        while not self._came.empty():
            self.lines.append(self._came.get())
        return self.lines


@contextmanager
def shell_in(folder: Path) -> Iterator[Shell]:
    shell = Shell(folder)
    try:
        yield shell
    finally:
        shell.close()


class Reader:
    """What somebody at the terminal waits for."""

    def __init__(self, folder: Path, shell: Shell) -> None:
        self._folder = folder
        self._shell = shell
        self.job = JobFolder(folder / "jobs", "visits")
        #: How many counts were given out when it was looked last.
        self.seen = 0

    def until(self, holds: Callable[[], bool], what: str) -> None:
        deadline = time.monotonic() + DEADLINE_SECONDS
        while not holds():
            assert time.monotonic() < deadline, (
                f"{what}: not so after {DEADLINE_SECONDS:.0f} s; {self._shell.lines}"
            )
            time.sleep(0.1)

    def runs(self, workers: int) -> bool:
        status = self.job.status() if self.job.exists() else None
        return status is not None and self.job.state() == "RUNNING" and len(status.workers) == workers

    def topic(self, name: str) -> list[str]:
        with Log(self._folder / "log") as log:
            if name not in log.topics():
                return []
            with Consumer(log, name) as consumer:
                return [(record.value or b"").decode() for record in consumer.read_available()]

    def more_counts(self) -> None:
        before = self.seen

        def came() -> bool:
            self.seen = len(self.topic("counts"))
            return self.seen > before and self.runs(2) and self._all_have_watermarks()

        self.until(came, "more counts come")

    def _all_have_watermarks(self) -> bool:
        """Workers tell their watermarks some tenths of a second after the results that these let go."""
        marks = self._status_steps().values()
        return bool(marks) and None not in marks

    def _status_steps(self) -> dict[str, int | str | None]:
        status = self.job.status()
        return {} if status is None else {step.label: step.output_watermark for step in status.steps}

    def one_worker(self) -> None:
        self.until(lambda: self.runs(1), "it runs with one worker")

    def all_read(self) -> None:
        self._shell.run("wait %1  # for the visitors")
        ended = time.time_ns() // 1000

        def read() -> bool:
            mark = self._status_steps().get("Visits/Read")
            return isinstance(mark, int) and mark > ended

        self.until(read, "all visits are read")


#: The blocks by how they begin, and what is waited for before each.
BLOCKS: list[tuple[str, Callable[[Reader], None]]] = [
    ("hornbeam log create", lambda _: None),
    ("while [ ! -e enough ]", lambda _: None),
    ("hornbeam job status", Reader.more_counts),
    ("kill -9", lambda _: None),
    ("python visits.py", lambda _: None),
    ("hornbeam job stop", Reader.more_counts),
    ("touch enough", Reader.one_worker),
    ("hornbeam job drain", Reader.all_read),
    ("hornbeam log consume", lambda _: None),
]

_UNITS = {"ms", "s", "min", "h", "B", "kB", "MB", "-", "..."}


def words(line: str) -> str:
    """A line without figures, units and paths, which are others each time."""
    found = [word for word in line.split() if not re.search(r"\d|^/", word)]
    return " ".join(word for word in found if word.rstrip(",;") not in _UNITS)


@pytest.mark.slow
def test_the_stream_that_survives(tmp_path: Path) -> None:
    fences = FENCE.findall(section("A stream that survives"))
    blocks = [body for kind, body in fences if kind == "sh"]
    shown = [line for kind, body in fences if kind == "text" for line in body.splitlines()]
    assert [block.startswith(begin) for block, (begin, _) in zip(blocks, BLOCKS, strict=True)] == [
        True
    ] * len(BLOCKS)
    with shell_in(tmp_path) as shell:
        reader = Reader(tmp_path, shell)
        for block, (_, wait) in zip(blocks, BLOCKS):
            wait(reader)
            shell.run(block)
        printed = shell.close()
    missing = {words(line) for line in shown} - {words(line) for line in printed}
    assert not missing, "\n".join(printed)
    counts = [line.split() for line in reader.topic("counts")]
    assert len({(page, window) for page, _, window in counts}) == len(counts) > reader.seen
    given = Counter[str]()
    for page, count, _ in counts:
        given[page] += int(count)
    assert given == Counter(reader.topic("visits"))
