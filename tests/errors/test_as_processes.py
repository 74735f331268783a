"""What a person at a terminal sees: real processes, what they print, how they end, and what they leave behind."""

from __future__ import annotations

import gzip
import os
import signal
import subprocess
import sys
import threading
from pathlib import Path

import pytest

import hornbeam as beam
from hornbeam.testing.util import assert_that, equal_to


def script(folder: Path, text: str) -> list[str]:
    path = folder / "script.py"
    path.write_text("import sys\nimport hornbeam as beam\n" + text)
    return [sys.executable, str(path)]


def run(folder: Path, text: str, *flags: str) -> subprocess.CompletedProcess[str]:
    command = script(folder, text)
    command[1:1] = flags
    return subprocess.run(command, capture_output=True, text=True, timeout=180, check=False, cwd=folder)


ONE_LINE = """
with beam.Pipeline() as p:
    p | beam.Create([{'a': 1}, {'b': 2}]) | 'Look' >> beam.Map(lambda d: d['a']) | beam.Map(str)
"""


def test_a_key_error_in_a_lambda_is_short(tmp_path: Path) -> None:
    ended = run(tmp_path, ONE_LINE)
    lines = ended.stderr.splitlines()
    assert ended.returncode == 1
    assert len(lines) <= 15, ended.stderr
    assert lines[-2:] == ["KeyError: 'a'", "while running step 'Look' on element {'b': 2}"]
    assert "in <lambda>" in ended.stderr
    assert "d['a']" in ended.stderr
    assert "runners" not in ended.stderr
    assert "<fused" not in ended.stderr


def test_sys_exit_in_user_code_ends_the_process_with_its_code(tmp_path: Path) -> None:
    ended = run(
        tmp_path, "with beam.Pipeline() as p: p | beam.Create([1]) | beam.Map(lambda x: sys.exit(3))\n"
    )
    assert (ended.returncode, ended.stderr) == (3, "")


INTERRUPTED = {
    "in a function": "p | beam.Create([1]) | beam.Map(lambda x: [print('go', flush=True), time.sleep(3600)])",
    "in an endless generator": "p | beam.Create([1]) | beam.FlatMap(lambda x: go(iter(int, 1))) "
    "| beam.combiners.Count.Globally()",
    "while spilling": "p | beam.Create([1]) | beam.FlatMap(lambda x: go((i % 99, 'x' * 99) for i in range(10**12))) "
    "| beam.GroupByKey() | beam.Map(len)",
    "while writing": "p | beam.Create([1]) | beam.FlatMap(lambda x: go('x' * 9 for i in range(10**12))) "
    "| beam.io.WriteToText(sys.argv[1] + '/out')",
}


@pytest.mark.parametrize("step", INTERRUPTED.values(), ids=list(INTERRUPTED))
def test_an_interrupt_ends_the_run_at_once_and_leaves_nothing(step: str, tmp_path: Path) -> None:
    work = tmp_path / "work"
    work.mkdir()
    text = f"""
import signal, time
signal.signal(signal.SIGINT, signal.default_int_handler)
def go(items):
    for number, item in enumerate(items):
        if number == 50_000:
            print('go', flush=True)
        yield item
with beam.Pipeline(argv=['--memory_limit=1MB', '--temp_dir=' + sys.argv[1]]) as p:
    {step}
"""
    process = subprocess.Popen(
        [*script(tmp_path, text), str(work)], stdout=subprocess.PIPE, stderr=subprocess.PIPE, text=True
    )
    assert process.stdout is not None
    assert process.stdout.readline() == "go\n"
    process.send_signal(signal.SIGINT)
    _, shown = process.communicate(timeout=180)  # by itself it ends after an hour, or never
    assert process.returncode == -signal.SIGINT
    assert shown.splitlines()[-1] == "KeyboardInterrupt"
    assert len(shown.splitlines()) <= 20, shown
    assert list(work.iterdir()) == []


FULL = """
import resource, signal
signal.signal(signal.SIGXFSZ, signal.SIG_IGN)
resource.setrlimit(resource.RLIMIT_FSIZE, (200_000, 200_000))  # a file that cannot grow: as a full disk
with beam.Pipeline(argv=['--memory_limit=' + sys.argv[1], '--temp_dir=' + sys.argv[2]]) as p:
    lines = p | beam.Create(range(20_000)) | 'line' >> beam.Map(lambda i: (i % 9, 'x' * 100 + str(i)))
    {step}
"""


@pytest.mark.parametrize(
    ("step", "memory", "fragment"),
    [
        ("lines | beam.GroupByKey() | beam.Map(len)", "300KB", "--temp_dir"),
        (
            "p | 'o' >> beam.Create([1]) | beam.Map(lambda x, y: 1, beam.pvalue.AsList(lines))",
            "100KB",
            "--temp_dir",
        ),
        ("lines | beam.io.WriteToText(sys.argv[2] + '/out', num_shards=1)", "256MB", "out"),
    ],
    ids=["grouping", "side input", "output"],
)
def test_a_full_disk(step: str, memory: str, fragment: str, tmp_path: Path) -> None:
    work = tmp_path / "work"
    work.mkdir()
    command = script(tmp_path, FULL.format(step=step))
    ended = subprocess.run(
        [*command, memory, str(work)], capture_output=True, text=True, timeout=180, check=False
    )
    assert ended.returncode == 1, ended.stderr
    assert "File too large" in ended.stderr
    assert fragment in ended.stderr
    assert len(ended.stderr.splitlines()) <= 20, ended.stderr
    assert list(work.iterdir()) == []


def test_a_directory_for_temporary_files_that_does_not_exist(tmp_path: Path) -> None:
    p = beam.Pipeline(argv=["--memory_limit=1KB", f"--temp_dir={tmp_path}/none"])
    p | beam.Create([(i, i) for i in range(100_000)]) | beam.GroupByKey() | beam.Map(len)
    with pytest.raises(FileNotFoundError, match=r"--temp_dir.*none"):
        p.run()


@pytest.mark.parametrize(
    ("content", "fragment"),
    [
        (b"\x1f\x8b\x08\x00junkjunkjunkjunk" * 10, "cannot be decompressed as gzip"),
        (b"plain text\n" * 10, "cannot be decompressed as gzip"),
        (gzip.compress(os.urandom(9000))[:-2000], "it is truncated"),
    ],
    ids=["corrupt", "no gzip", "truncated"],
)
def test_a_damaged_gzip(content: bytes, fragment: str, tmp_path: Path) -> None:
    path = tmp_path / "a.gz"
    path.write_bytes(content)
    p = beam.Pipeline()
    p | "rd" >> beam.io.ReadFromText(str(path), coder=beam.coders.BytesCoder()) | beam.Map(len)
    with pytest.raises(beam.error.DataError) as caught:
        p.run()
    assert fragment in str(caught.value)
    assert str(path) in str(caught.value)
    assert "step 'rd" in caught.value.__notes__[0]


def test_text_that_is_not_utf8(tmp_path: Path) -> None:
    path = tmp_path / "a.txt"
    path.write_bytes(b"ok\n\xff\xfe\n")
    p = beam.Pipeline()
    p | "rd" >> beam.io.ReadFromText(str(path)) | beam.Map(len)
    with pytest.raises(ValueError, match="not valid utf-8 at byte 3") as caught:
        p.run()
    assert str(path) in str(caught.value)


def test_a_folder_read_as_a_file(tmp_path: Path) -> None:
    p = beam.Pipeline()
    p | "rd" >> beam.io.ReadFromText(str(tmp_path)) | beam.Map(len)
    with pytest.raises(IsADirectoryError, match="/\\*"):
        p.run()


@pytest.mark.skipif(
    not hasattr(os, "geteuid") or os.geteuid() == 0, reason="the superuser may read everything"
)
def test_a_file_that_may_not_be_read(tmp_path: Path) -> None:
    path = tmp_path / "a.txt"
    path.write_text("x")
    path.chmod(0)
    p = beam.Pipeline()
    p | beam.io.ReadFromText(str(path)) | beam.Map(len)
    with pytest.raises(PermissionError, match=r"a\.txt"):
        p.run()


def test_an_output_directory_that_cannot_be_made(tmp_path: Path) -> None:
    (tmp_path / "file").write_text("x")
    p = beam.Pipeline()
    p | beam.Create(["a"]) | "wr" >> beam.io.WriteToText(str(tmp_path / "file" / "out"))
    with pytest.raises(NotADirectoryError, match="A part of the path is a file") as caught:
        p.run()
    assert "step 'wr" in caught.value.__notes__[0]


KINDS_OF_CALLABLES = """
import functools, operator
from hornbeam.testing.util import assert_that, equal_to
class Plus:
    def __call__(self, x): return x + 1
    def method(self, x): return x + 1
    @staticmethod
    def static(x): return x + 1
    @classmethod
    def of_class(cls, x): return x + 1
class Held:
    def __init__(self, x): self.x = x
names = {}
exec('def f(x): return x + 1\\ng = lambda x: x + 1', names)
for fn in [functools.partial(operator.add, 1), functools.partial(lambda x, y: x + y, y=1), Plus().method, Plus.static,
           Plus.of_class, Plus(), (1).__add__, operator.methodcaller('__add__', 1), names['f'], names['g'],
           eval('lambda x: x + 1')]:
    with beam.Pipeline() as p:
        assert_that(p | beam.Create([1, 2]) | beam.Map(fn), equal_to([2, 3]))
with beam.Pipeline() as p:
    assert_that(p | beam.Create(['1']) | beam.Map(int) | beam.Map(Held) | beam.Map(lambda h: h.x), equal_to([1]))
with beam.Pipeline() as p:
    assert_that(p | beam.Create(['a b']) | beam.FlatMap(str.split) | beam.Map(str.upper), equal_to(['A', 'B']))
with beam.Pipeline() as p:
    keys = p | beam.Create([{'b', 'a'}, {'x', 'y'}, {'a', 'b'}]) | beam.Map(lambda s: (frozenset(s), 1))
    summed = keys | beam.CombinePerKey(sum)
    assert_that(summed, equal_to([(frozenset('ab'), 2), (frozenset('xy'), 1)]))
"""


@pytest.mark.parametrize("flag", ["-W error", "-O", "-OO"])
def test_every_kind_of_callable_under_every_kind_of_interpreter(flag: str, tmp_path: Path) -> None:
    seeds = {"-W error": "0", "-O": "1", "-OO": "42"}
    command = script(tmp_path, KINDS_OF_CALLABLES)
    command[1:1] = flag.split()
    ended = subprocess.run(
        command,
        capture_output=True,
        text=True,
        timeout=180,
        check=False,
        env={**os.environ, "PYTHONHASHSEED": seeds[flag]},
    )
    assert (ended.returncode, ended.stderr) == (0, "")


def test_two_threads_run_pipelines_at_once() -> None:
    committed: dict[int, list[int]] = {1000: [], 2000: []}
    errors: list[BaseException] = []

    def work(n: int) -> None:
        try:
            for _ in range(3):
                counter = beam.metrics.Metrics.counter("threads", "n")

                def keyed(
                    x: int, counter: beam.metrics.Metrics.DelegatingCounter = counter
                ) -> tuple[int, int]:
                    counter.inc()
                    return x % 7, x

                with beam.Pipeline() as p:
                    summed = p | beam.Create(range(n)) | beam.Map(keyed) | beam.CombinePerKey(sum)
                    assert_that(summed | beam.Values() | beam.CombineGlobally(sum), equal_to([sum(range(n))]))
                assert p.result is not None
                committed[n].append(p.result.metrics().query()["counters"][0].committed)
        except BaseException as error:
            errors.append(error)

    threads = [threading.Thread(target=work, args=(n,)) for n in committed]
    for thread in threads:
        thread.start()
    for thread in threads:
        thread.join()
    assert errors == []
    assert committed == {1000: [1000] * 3, 2000: [2000] * 3}
