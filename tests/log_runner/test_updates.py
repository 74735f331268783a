"""Five changed pipelines as jobs over a log: each is refused or not, and goes on with what carries over, to right answers.

Half of the input comes before the change, half after it, all in one window; the messages are in test_update_check. After a
`cancel` the old pipeline runs once more, so that what is under way arrives: it must not read on.
"""

from __future__ import annotations

import ast
import os
from collections import Counter
from collections.abc import Callable, Iterable
from pathlib import Path
from typing import Any

import pytest
from log_runner import campaign_jobs, staged_files
from log_runner.running import await_

import hornbeam as beam
from hornbeam.coders import StrUtf8Coder, VarIntCoder
from hornbeam.io.logio import ReadFromLog, WriteToLog
from hornbeam.options.pipeline_options import PipelineOptions
from hornbeam.runners.log.job_folder import JobFolder
from hornbeam.runners.log.update_check import UpdateRefusedError
from hornbeam.storage.log import Consumer, Log, Producer
from hornbeam.transforms.userstate import CombiningValueStateSpec, ReadModifyWriteStateSpec
from hornbeam.transforms.window import FixedWindows

KEYS = "abc"
HALF = 30


def record(number: int) -> tuple[str, int]:
    return KEYS[number % 3], number


class Count(beam.DoFn):
    """Per key: the number of each amount, and the amount before."""

    COUNT = CombiningValueStateSpec("count", VarIntCoder(), sum)
    LAST = ReadModifyWriteStateSpec("last", VarIntCoder())

    def process(
        self, pair: Any, count: Any = beam.DoFn.StateParam(COUNT), last: Any = beam.DoFn.StateParam(LAST)
    ) -> Any:
        key, amount = pair
        count.add(1)
        before = last.read()
        last.write(amount)
        yield key, count.read(), amount, before


class CountWithText(beam.DoFn):
    """The same; the amount before is text now."""

    COUNT = Count.COUNT
    LAST = ReadModifyWriteStateSpec("last", StrUtf8Coder())

    def process(
        self, pair: Any, count: Any = beam.DoFn.StateParam(COUNT), last: Any = beam.DoFn.StateParam(LAST)
    ) -> Any:
        key, amount = pair
        count.add(1)
        before = last.read()
        last.write(str(amount))
        yield key, count.read(), amount, before


class CountAlone(beam.DoFn):
    """The same without the amount before."""

    COUNT = Count.COUNT

    def process(self, pair: Any, count: Any = beam.DoFn.StateParam(COUNT)) -> Any:
        key, amount = pair
        count.add(1)
        yield key, count.read(), amount, None


class Sales:
    """The job."""

    def __init__(self, path: Path) -> None:
        self.path = path
        self.folder = JobFolder(path, "sales")
        with Log(path) as log:
            log.create_topic("in", 2)
            log.create_topic("elsewhere", 2)

    def feed(self, numbers: range, topic: str = "in") -> None:
        with Log(self.path) as log, Producer(log) as producer:
            for number in numbers:
                key, amount = record(number)
                producer.append(topic, [repr((key, amount)).encode()], partition=KEYS.index(key) % 2)

    def start(
        self,
        *flags: str,
        sums: str = "Sums",
        count: str = "Count",
        dofn: beam.DoFn | None = None,
        seconds: int = 60,
        topic: str = "in",
        before: Callable[[Any], Any] | None = None,
        beside: Callable[[Any], Any] | None = None,
    ) -> Any:
        options = ["--runner=LogRunner", "--job_name=sales", f"--log_dir={self.path}", "--checkpoint_interval_ms=40",
                   *flags]  # fmt: skip
        p = beam.Pipeline(options=PipelineOptions(options))
        read = ReadFromLog(
            self.path, topic, value_coder=_decoded, timestamp_fn=lambda pair: 10.0, idle_timeout=None
        )
        pairs = p | "Sales" >> read
        if before is not None:
            pairs = before(pairs)
        if beside is not None:
            beside(pairs)
        numbers = pairs | count >> beam.ParDo(dofn or Count())
        numbers | "Numbers" >> WriteToLog(self.path, "numbers", value_coder=repr, partitions=1)
        windows = pairs | "Windows" >> beam.WindowInto(FixedWindows(seconds))
        totals = windows | sums >> beam.CombinePerKey(sum)
        totals | "Totals" >> WriteToLog(self.path, "totals", value_coder=repr, partitions=1)
        return p.run()

    def rows(self, topic: str) -> list[Any]:
        with Log(self.path) as log, Consumer(log, topic) as consumer:
            return [
                ast.literal_eval(record.value.decode()) for record in consumer.read_available(timeout_s=1)
            ]

    def run_half(self, end: str) -> None:
        """Until all of the first half has come out."""
        self.feed(range(HALF))
        result = self.start("--num_workers=2")
        with Log(self.path) as log:
            await_(lambda: "numbers" in log.topics() and len(self.rows("numbers")) == HALF)
        if end == "stop":
            self.folder.ask("stop", name="before")
            result.wait_until_finish(180_000)
        else:
            result.cancel()
        assert not self.rows("totals")

    def run_rest(self, *flags: str, workers: int = 3, **changes: Any) -> None:
        """With the changed pipeline: the second half, then all that is kept."""
        result = self.start(f"--num_workers={workers}", *flags, **changes)
        self.feed(range(HALF, 2 * HALF))
        await_(lambda: len(self.rows("numbers")) == 2 * HALF)
        assert result.drain() == "DRAINED"


def _decoded(value: bytes) -> Any:
    return ast.literal_eval(value.decode())


def totals(numbers: Iterable[int]) -> dict[str, int]:
    found: Counter[str] = Counter()
    for key, amount in map(record, numbers):
        found[key] += amount
    return dict(found)


def numbers(last: Callable[[int], Any] = lambda number: number - 3 if number >= 3 else None) -> list[Any]:
    """What `Count` gives in the end; `last` says what the cell held by then."""
    return sorted((KEYS[n % 3], n // 3 + 1, n, last(n)) for n in range(2 * HALF))


ALL, SECOND = range(2 * HALF), range(HALF, 2 * HALF)


@pytest.fixture(params=["cancel"])
def sales(request: pytest.FixtureRequest, tmp_path: Path) -> Sales:
    """The job when half of its input has come."""
    job = Sales(tmp_path)
    job.run_half(request.param)
    return job


def refused(sales: Sales, match: str, **changes: Any) -> None:
    """The start is refused and touches nothing."""
    before = sales.folder.record(), sales.folder.graph()
    with pytest.raises(UpdateRefusedError, match=match):
        sales.start("--num_workers=3", **changes)
    assert (sales.folder.record(), sales.folder.graph()) == before
    assert not sales.folder.is_running()


def test_steps_are_added(sales: Sales) -> None:
    """Before the others, and one beside that keeps something itself, which begins empty."""

    def beside(pairs: Any) -> None:
        fresh = pairs | "Fresh" >> beam.ParDo(Count())
        fresh | "Out" >> WriteToLog(sales.path, "fresh", value_coder=repr, partitions=1)

    def before(pairs: Any) -> Any:
        return pairs | "All" >> beam.Filter(lambda pair: True)

    sales.run_rest(before=before, beside=beside)
    assert dict(sales.rows("totals")) == totals(ALL)
    assert sorted(sales.rows("numbers")) == numbers()
    assert {count for _, count, _, _ in sales.rows("fresh")} == set(range(1, HALF // 3 + 1))


@pytest.mark.parametrize("sales", ["stop"], indirect=True)
def test_steps_are_renamed(sales: Sales) -> None:
    changes = {"sums": "By name", "count": "Number"}
    refused(
        sales,
        r"(?s)Sums .* LOST.*--map_transforms='Sums=By name'.*2 steps would lose what they keep",
        **changes,
    )
    sales.run_rest("--map_transforms=Sums=By name,Count=Number", **changes)
    assert dict(sales.rows("totals")) == totals(ALL)
    assert sorted(sales.rows("numbers")) == numbers()
    # The savepoint is of the pipeline before: that one was once compared with the one that ran last, and refused.
    assert sales.start("--num_workers=1", "--restore_from=before").drain() == "DRAINED"
    again = [amount for _, _, amount, _ in sales.rows("numbers")[2 * HALF :]]  # before the drain came
    assert dict(sales.rows("totals")[len(KEYS) :]) == totals([*range(HALF), *again])


def test_a_cell_has_another_coder(sales: Sales) -> None:
    changes = {"dofn": CountWithText()}
    refused(
        sales,
        r"(?s)Count .* carries over, but LOST: state last\n    state last has changed, from .*VarInt.* to .*StrUtf8",
        **changes,
    )
    sales.run_rest("--allow_lost_state", **changes)
    assert dict(sales.rows("totals")) == totals(ALL)
    before = [None] * 3 + list(range(HALF - 3)) + [None] * 3 + [str(n) for n in range(HALF, 2 * HALF - 3)]
    assert sorted(sales.rows("numbers"), key=lambda row: row[2]) == sorted(
        numbers(lambda n: before[n]), key=lambda row: row[2]
    )


def test_a_cell_is_removed(sales: Sales) -> None:
    changes = {"dofn": CountAlone()}
    refused(sales, r"Count .* carries over, but LOST: state last\n    state last is there no more", **changes)
    sales.run_rest("--allow_lost_state", **changes)
    assert dict(sales.rows("totals")) == totals(ALL)
    assert sorted(sales.rows("numbers")) == numbers(lambda n: n - 3 if 3 <= n < HALF else None)


def test_windows_are_others(sales: Sales, caplog: pytest.LogCaptureFixture) -> None:
    changes = {"seconds": 120}
    refused(sales, r"(?s)Sums .* LOST\n    its windows have changed.*1 step would lose", **changes)
    sales.run_rest("--allow_lost_state", **changes)
    assert dict(sales.rows("totals")) == totals(SECOND)  # the first half was in windows that are no more
    assert sorted(sales.rows("numbers")) == numbers()
    assert "1 step loses what it keeps (--allow_lost_state)." in caplog.text


def test_another_topic_is_read(sales: Sales) -> None:
    """From its beginning, as positions in one topic mean nothing in another; what else is kept carries over."""
    sales.feed(SECOND, "elsewhere")
    changes = {"topic": "elsewhere"}
    refused(
        sales,
        r"(?s)Sales/Read .* LOST\n    its input has changed, from topic in to topic elsewhere",
        **changes,
    )
    result = sales.start("--num_workers=1", "--allow_lost_state", **changes)
    await_(lambda: len(sales.rows("numbers")) == 2 * HALF)
    assert result.drain() == "DRAINED"
    assert dict(sales.rows("totals")) == totals(ALL)
    assert sorted(sales.rows("numbers")) == numbers()


def test_what_was_prepared_for_one_place_is_committed_there_though_the_pipeline_writes_elsewhere_now(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    """Seen: killed before a commit and started with another topic, a job stuck; with another log, its rows were lost."""

    def run(folder: str) -> Any:
        options = ["--runner=LogRunner", "--job_name=j", f"--log_dir={tmp_path}", "--num_workers=1",
                   "--checkpoint_interval_ms=20"]  # fmt: skip
        p = beam.Pipeline(options=PipelineOptions(options))
        read = p | beam.Create([0], reshuffle=False) | "Read" >> beam.ParDo(campaign_jobs.reading(100, 0.002))
        read | "Write" >> beam.ParDo(staged_files.WriteStaged(str(tmp_path / folder)))
        return p.run().wait_until_finish()

    def fail(folder: str, token: str) -> None:
        raise OSError("not there just now")

    with monkeypatch.context() as patched:
        patched.setattr(staged_files, "commit", fail)
        with pytest.raises(OSError, match="not there"):
            run("old")
    assert run("new") == "DONE"
    old, new = (list(staged_files.committed(str(tmp_path / name))) for name in ("old", "new"))
    assert old and new
    assert Counter(value for _, (value, _) in [*old, *new]) == Counter(range(100))
    assert not [name for name in os.listdir(tmp_path / "old") if name.startswith(staged_files.STAGED)]
