"""Sources in whole pipelines: windows close as they move time, silent ones let go of it, marks are acknowledged."""

from __future__ import annotations

from pathlib import Path
from typing import Any

import pytest
from sources import test_unbounded_head as topics
from sources.streaming import KEPT, RUNNING, Keep, kept, run
from sources.test_splittable_head import Below, Numbers, SetsWatermark

import hornbeam as beam
from hornbeam.error import NotSupportedError
from hornbeam.io.tail import TailText
from hornbeam.io.unbounded_source import ReadFromUnboundedSource
from hornbeam.runners.engine.explain import explain_stages
from hornbeam.transforms.window import FixedWindows
from hornbeam.utils.timestamp import Duration, Timestamp


@pytest.fixture(autouse=True)
def fresh() -> None:
    kept()
    topics.JOURNAL.clear()
    topics.ARRIVED.clear()
    topics.ENDED.clear()


def count_by_ten(values: Any) -> None:
    """Keeps how many there are in each ten seconds."""
    (
        values
        | beam.Map(lambda value: ("n", 1))
        | beam.WindowInto(FixedWindows(10))
        | beam.CombinePerKey(sum)
        | beam.Map(lambda pair: pair[1])
        | beam.ParDo(Keep())
    )


@pytest.mark.parametrize("transform", [beam.io.Read, ReadFromUnboundedSource])
@pytest.mark.parametrize("bundle_size", [0, 1])
def test_windows_of_an_unbounded_source_close_and_marks_are_acknowledged(
    transform: Any, bundle_size: int
) -> None:
    p = beam.Pipeline()
    count_by_ten(p | transform(topics.Topics("a")))
    script = {
        1: lambda: topics.arrive("a", 1, 2, 11),
        20: lambda: topics.arrive("a", 12, 25),
        40: lambda: topics.ENDED.add("a"),
    }
    seen: list[Any] = []
    script[30] = lambda: seen.extend(kept())
    run(p, 1000, script, bundle_size=bundle_size)
    assert [value for value, _ in seen] == [2, 2]  # 25 closed the first two
    assert [value for value, _ in kept()] == [1]
    assert "close a" in topics.JOURNAL
    acknowledged = [line for line in topics.JOURNAL if line.startswith("ack")]
    assert acknowledged[-1] == "ack a 5"


def test_a_source_that_falls_silent_holds_others_back_until_it_is_idle() -> None:
    def counts(idle_timeout: float | None) -> list[Any]:
        topics.ARRIVED.clear()
        p = beam.Pipeline()
        live = p | "Live" >> ReadFromUnboundedSource(topics.Topics("a"))
        silent = p | "Silent" >> ReadFromUnboundedSource(topics.Topics("b"))
        count_by_ten((live, silent) | beam.Flatten())
        script = {1005 + n: (lambda at=1000 + n: topics.arrive("a", at)) for n in range(0, 100, 5)}
        script[1001] = lambda: topics.arrive("b", 1001)
        seen: list[Any] = []
        script[1101] = lambda: seen.extend(kept())
        run(p, 105, script, start=1000, idle_timeout=idle_timeout)
        kept()
        return [value for value, _ in seen]

    assert counts(None) == []
    # At 1101 the silent one is taken to be at 1070 and more.
    assert counts(30) == [3, 2, 2, 2, 2, 2, 2]


def test_a_source_that_is_alone_lets_its_windows_close_when_it_falls_silent() -> None:
    p = beam.Pipeline()
    count_by_ten(p | ReadFromUnboundedSource(topics.Topics("a"), idle_timeout=20))
    seen: list[Any] = []
    script = {
        1001: lambda: topics.arrive("a", 1001, 1002),
        1040: lambda: seen.extend(kept()),
        # Behind the clock less 20 seconds: late, and gone.
        1050: lambda: topics.arrive("a", 1003, 1049),
    }
    run(p, 100, script, start=1000)
    assert [value for value, _ in seen] == [2]
    assert [value for value, _ in kept()] == [1]


def test_what_holds_time_back_is_explained() -> None:
    topics.arrive("a", 5)
    p = beam.Pipeline()
    count_by_ten(p | "In" >> ReadFromUnboundedSource(topics.Topics("a")))
    texts: list[str] = []
    run(p, 10, {2: lambda: texts.append(str(explain_stages(RUNNING[0]._stages, "", "RUNNING")))})
    assert "reader 0 of Topics('a',), without data for now, watermark 5.0" in texts[0]


@pytest.mark.parametrize("bundle_size", [0, 1, 7])
def test_a_splittable_dofn_without_an_end_is_drained(bundle_size: int) -> None:
    class Endless(Numbers):
        @beam.DoFn.unbounded_per_element()
        def process(self, element, tracker=beam.DoFn.RestrictionParam(Below())):
            position = tracker.current_restriction().start
            while tracker.try_claim(position):
                yield position
                position += 1
                if position % 3 == 0:
                    tracker.defer_remainder(Duration(1))
                    return

    p = beam.Pipeline()
    p | beam.Create(["all"]) | beam.ParDo(Endless()) | beam.ParDo(Keep())
    execution, _ = run(p, 9.5, bundle_size=bundle_size)
    assert [value for value, _ in kept()] == list(range(30))
    assert execution.entries() == 0


def test_watermarks_of_a_splittable_dofn_close_windows_behind_it() -> None:
    p = beam.Pipeline()
    count_by_ten(p | beam.Create([(0, 5)]) | beam.ParDo(SetsWatermark()))
    run(p, 10)
    # All come at the element's timestamp, the beginning of time, in one window.
    assert [value for value, _ in kept()] == [5]


def test_bounded_sources_in_a_stream_give_what_they_give_in_batch(tmp_path: Path) -> None:
    (tmp_path / "a.txt").write_text("".join(f"{n}\n" for n in range(5000)))

    def build() -> beam.Pipeline:
        p = beam.Pipeline()
        (
            p
            | beam.io.ReadFromText(str(tmp_path / "a.txt"))
            | beam.Map(lambda line: (int(line) % 7, 1))
            | beam.CombinePerKey(sum)
            | beam.ParDo(Keep())
        )
        return p

    build().run()
    batch = sorted(kept())
    run(build(), 10)
    assert sorted(kept()) == batch and len(batch) == 7


def test_an_unbounded_restriction_in_batch_is_refused_with_the_remedy() -> None:
    p = beam.Pipeline()
    p | beam.Create(["all"]) | beam.ParDo(Numbers())
    with pytest.raises(NotSupportedError, match="unbounded_per_element"):
        p.run()


def test_direct_runner_tails_a_file_until_it_is_cancelled(tmp_path: Path) -> None:
    log = tmp_path / "a.log"
    log.write_text("1\n2\n")
    p = beam.Pipeline()
    p | TailText(str(log), interval=0.01) | beam.ParDo(Keep())
    result = p.run()
    for expected in (2, 3):
        for _ in range(10_000):
            if len(KEPT) >= expected:
                break
            result.wait_until_finish(duration=2)
        if expected == 2:
            with open(log, "a") as file:
                file.write("3\n")
    assert result.state == "RUNNING"
    result.cancel()
    assert result.state == "CANCELLED"
    assert [value for value, _ in kept()] == ["1", "2", "3"]


def test_a_failing_reader_ends_the_run_and_is_named(tmp_path: Path) -> None:
    (tmp_path / "a.log").write_bytes(b"\xff\n")
    p = beam.Pipeline()
    p | "Log" >> TailText(str(tmp_path / "a.log"), interval=0.01) | beam.ParDo(Keep())
    with pytest.raises(ValueError, match=r"a\.log: not valid utf-8") as caught:
        p.run().wait_until_finish()
    assert caught.value.hornbeam_failure.step == "Log/Tail"


def test_timestamps_are_seconds(tmp_path: Path) -> None:
    (tmp_path / "a.log").write_text("5 x\n")
    p = beam.Pipeline()
    (
        p
        | TailText(str(tmp_path / "a.log"), timestamp_fn=lambda line: Timestamp(float(line.split()[0])))
        | beam.ParDo(Keep())
    )
    run(p, 3)
    assert kept() == [("5 x", 5)]
