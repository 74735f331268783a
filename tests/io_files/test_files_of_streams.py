"""Files written from unbounded data: a window's files appear when it ends, and nothing is lost."""

from __future__ import annotations

import os
from collections.abc import Sequence
from pathlib import Path
from typing import Any

import cloudpickle
import pytest

import hornbeam as beam
from hornbeam.io import fileio, staged_files
from hornbeam.io.filesystem import BeamIOError
from hornbeam.io.sink import Sink
from hornbeam.io.staged_files import PaneOfShard, StagedFiles
from hornbeam.io.text_sink import TextSink
from hornbeam.io.two_phase import TwoPhaseWrite
from hornbeam.io.windowed_files import _SinkFiles
from hornbeam.options.pipeline_options import PipelineOptions
from hornbeam.testing.test_stream import TestStream
from hornbeam.transforms.trigger import AccumulationMode, AfterCount, AfterWatermark
from hornbeam.transforms.window import FixedWindows, IntervalWindow, TimestampedValue
from hornbeam.utils.windowed_value import PaneInfo, PaneInfoTiming


def stream(*steps: int | Sequence[str]) -> TestStream:
    """A list is elements "12:x" at second 12; a number a watermark."""
    made = TestStream()
    for step in steps:
        if isinstance(step, int):
            made = made.advance_watermark_to(step)
        else:
            made = made.add_elements([TimestampedValue(text, int(text.split(":")[0])) for text in step])
    return made.advance_watermark_to_infinity()


def run(source: TestStream, *steps: Any) -> None:
    with beam.Pipeline(options=PipelineOptions(["--streaming"])) as p:
        pcoll: Any = p | source
        for step in steps:
            pcoll = pcoll | step


def files(folder: Path) -> dict[str, list[str]]:
    return {path.name: sorted(path.read_text().split()) for path in sorted(folder.iterdir())}


IN_WINDOWS = stream(["1:a", "2:b", "11:c"], 10, ["12:d"], 20, ["21:e"])


@pytest.mark.parametrize(
    ("steps", "arguments", "expected"),
    [
        (
            [beam.WindowInto(FixedWindows(10))],
            {},
            {
                "-[0.0, 10.0)-00000-of-00001": "1:a 2:b",
                "-[10.0, 20.0)-00000-of-00001": "11:c 12:d",
                "-[20.0, 30.0)-00000-of-00001": "21:e",
            },
        ),
        (
            [],
            {"triggering_frequency": 15, "file_name_suffix": ".txt", "shard_name_template": "-V-SSSSS-of-NNNNN"},
            {
                "-[1970-01-01T00-00-00, 1970-01-01T00-00-15)-00000-of-00001.txt": "1:a 2:b 11:c 12:d",
                "-[1970-01-01T00-00-15, 1970-01-01T00-00-30)-00000-of-00001.txt": "21:e",
            },
        ),
        (
            [beam.WindowInto(FixedWindows(100))],
            {"num_shards": 2, "shard_name_template": "_S_W"},
            {"_0_[0.0, 100.0)": "2:b 12:d", "_1_[0.0, 100.0)": "1:a 11:c 21:e"},
        ),
        (
            [beam.WindowInto(FixedWindows(100))],
            {"max_records_per_shard": 2, "header": "h"},
            {
                "-[0.0, 100.0)-00000-of-00001": "1:a 2:b h",
                "-[0.0, 100.0)-00000-of-00001-part-1": "11:c 12:d h",
                "-[0.0, 100.0)-00000-of-00001-part-2": "21:e h",
            },
        ),
    ],
    ids=["windows", "triggering_frequency", "shards", "bounded files"],
)  # fmt: skip
def test_each_window_has_files_of_its_own(
    tmp_path: Path, steps: list[Any], arguments: dict[str, Any], expected: dict[str, str]
) -> None:
    run(IN_WINDOWS, *steps, beam.io.WriteToText(str(tmp_path / "o"), **arguments))
    assert files(tmp_path) == {f"o{name}": sorted(text.split()) for name, text in expected.items()}


def test_later_panes_and_late_elements_are_kept(tmp_path: Path) -> None:
    source = stream(["1:a"], 10, ["2:late"], ["3:late"], 20, ["4:too-late", "5:too-late"], ["15:too-late"])
    windows = beam.WindowInto(
        FixedWindows(10),
        trigger=AfterWatermark(late=AfterCount(1)),
        accumulation_mode=AccumulationMode.DISCARDING,
        allowed_lateness=5,
    )
    run(source, windows, beam.io.WriteToText(str(tmp_path / "o"), file_name_suffix=".txt"))
    found = files(tmp_path)
    late = {name: text for name, text in found.items() if "-late-" in name}
    assert {name: text for name, text in found.items() if name not in late} == {
        "o-[0.0, 10.0)-00000-of-00001.txt": ["1:a"],
        "o-[0.0, 10.0)-00000-of-00001-pane-1.txt": ["2:late"],
        "o-[0.0, 10.0)-00000-of-00001-pane-2.txt": ["3:late"],
        "o-[10.0, 20.0)-00000-of-00001.txt": ["15:too-late"],  # within the allowed lateness of its own window
    }
    assert sorted(text for each in late.values() for text in each) == ["4:too-late", "5:too-late"]


def test_the_names_of_the_files_are_given_in_their_windows(tmp_path: Path) -> None:
    def check(name: str, window: Any = beam.DoFn.WindowParam) -> str:
        assert os.path.exists(name) and repr(window) in name
        return name

    run(
        IN_WINDOWS,
        beam.WindowInto(FixedWindows(10)),
        beam.io.WriteToText(str(tmp_path / "o")),
        beam.Map(check),
        beam.combiners.Count.PerElement(),
        "Counts" >> beam.io.WriteToText(str(tmp_path / "counts")),
    )
    assert sum(len(text) for name, text in files(tmp_path).items() if name.startswith("counts")) == 3 * 3


def test_destinations_windows_and_panes(tmp_path: Path) -> None:
    windows = beam.WindowInto(
        FixedWindows(10),
        trigger=AfterWatermark(early=AfterCount(2)),
        accumulation_mode=AccumulationMode.DISCARDING,
    )
    source = stream(["1:a", "2:b", "3:a"], ["4:a", "5:a"], 10, ["6:a"], ["11:b"])
    run(
        source,
        windows,
        fileio.WriteToFiles(
            str(tmp_path),
            destination=lambda text: text.split(":")[1],
            sink=lambda destination: fileio.TextSink(),
            file_naming=fileio.destination_prefix_naming(".txt"),
            shards=1,
        ),
    )
    found = files(tmp_path)
    (late,) = [name for name in found if "-late-" in name]
    zero, ten = "1970-01-01T00:00:00-1970-01-01T00:00:10", "1970-01-01T00:00:10-1970-01-01T00:00:20"
    assert found.pop(late) == ["6:a"] and late.startswith(f"a-{zero}-00000-of-00001-late-")
    assert found == {
        f"a-{zero}-00000-of-00001.txt": ["1:a", "3:a"],
        f"a-{zero}-00000-of-00001-pane-1.txt": ["4:a", "5:a"],
        f"a-{zero}-00000-of-00001-pane-2.txt": [],
        f"b-{zero}-00000-of-00001.txt": ["2:b"],
        f"b-{ten}-00000-of-00001.txt": ["11:b"],
    }


class Other(Sink):
    """A sink that is none of files."""


@pytest.mark.parametrize(
    ("write", "message"),
    [
        (beam.io.WriteToText("o"), "in the global window, which never ends. Pass triggering_frequency=60"),
        (beam.io.WriteToText("o", shard_name_template="", triggering_frequency=5), "tell windows and shards apart; ''"),
        (beam.io.WriteToText("o", shard_name_template="-W", triggering_frequency=5), "Use '-W-SSSSS-of-NNNNN'"),
        (beam.io.Write(Other()), "needs bounded data; the input"),
    ],
)  # fmt: skip
def test_what_cannot_be_written(write: Any, message: str) -> None:
    with pytest.raises(ValueError) as raised:
        run(IN_WINDOWS, write)
    assert message in str(raised.value)


# With checkpoints: the calls that a runner makes.


class Job:
    """A worker and a coordinator of one sink."""

    def __init__(self, folder: Path) -> None:
        self.sink = StagedFiles(_SinkFiles(TextSink(str(folder / "o")), 1), "job")
        self.new_attempt([])

    def new_attempt(self, tokens: list[Any]) -> None:
        dofn = TwoPhaseWrite(self.sink)
        self.coordinator, self.worker = (cloudpickle.loads(cloudpickle.dumps(dofn)) for _ in range(2))
        for token in tokens:
            self.coordinator.commit(token)
        self.coordinator.recover(tokens)
        self.worker.setup()
        self.worker.begin_two_phase()

    def bundle(self, start: int, *values: str) -> list[Any]:
        pane = PaneInfo(True, True, PaneInfoTiming.ON_TIME, 0, 0)
        self.worker.start_bundle()
        self.worker.process(PaneOfShard(0, values, IntervalWindow(start, start + 10), pane))
        return [output.value for output in self.worker.finish_bundle()]

    def checkpoint(self, number: int) -> Any:
        return self.worker.settle(self.worker.prepare(number))


def visible(folder: Path) -> dict[str, list[str]]:
    return {path.name: path.read_text().split() for path in sorted(folder.glob("o*"))}


def temporary(folder: Path) -> int:
    return sum(len(names) for _, _, names in os.walk(folder / ".hornbeam-temp-o-job"))


def test_files_get_their_names_with_the_checkpoint_and_once(tmp_path: Path) -> None:
    job = Job(tmp_path)
    names = job.bundle(0, "a", "b")
    assert names == [str(tmp_path / "o-[0.0, 10.0)-00000-of-00001")] and visible(tmp_path) == {}
    first = job.checkpoint(1)
    job.bundle(10, "not in a checkpoint")
    job.coordinator.commit(first)
    job.coordinator.commit(first)
    assert visible(tmp_path) == {"o-[0.0, 10.0)-00000-of-00001": ["a", "b"]}
    # All die. What is staged behind the checkpoint goes, and what comes again may be other.
    assert temporary(tmp_path) == 1
    job.new_attempt([first])
    assert temporary(tmp_path) == 0
    job.bundle(10, "again")
    second = job.checkpoint(2)
    job.new_attempt([second])
    assert visible(tmp_path)["o-[10.0, 20.0)-00000-of-00001"] == ["again"]
    job.bundle(20, "given-up")
    job.coordinator.abort(job.checkpoint(3))
    assert temporary(tmp_path) == 0 and len(visible(tmp_path)) == 2
    job.bundle(30, "gone")
    third = job.checkpoint(4)
    os.unlink(third[0][0])
    with pytest.raises(
        BeamIOError, match=r"o-\[30.0, 40.0\)-00000-of-00001 cannot be finished: the file written for it"
    ):
        job.coordinator.commit(third)
    job.coordinator.recover([])
    assert [path.name for path in tmp_path.iterdir() if path.name.startswith(".")] == []


def test_names_in_the_current_directory_are_synced_too(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    """A name without a directory was taken for one in no directory, so its commit did not survive the machine."""
    monkeypatch.chdir(tmp_path)
    Path("staged").touch()
    synced: list[str] = []
    monkeypatch.setattr(staged_files, "_sync", synced.append)
    Job(tmp_path).coordinator.commit([("staged", "name")])
    assert synced == [os.curdir]
