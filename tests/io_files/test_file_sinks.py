"""Sinks step by step: file-based ones, ones of one's own, finalizing twice, and what Write makes of them."""

from __future__ import annotations

import pickle
from collections.abc import Iterable, Iterator, Sequence
from pathlib import Path
from typing import Any

import pytest

import hornbeam as beam
from hornbeam.coders.coders import BytesCoder, StrUtf8Coder
from hornbeam.error import DataError
from hornbeam.graph import urns
from hornbeam.io.filebasedsink import FileBasedSink
from hornbeam.io.iobase import Sink, Write, Writer
from hornbeam.io.shard_names import shard_suffix
from hornbeam.io.text_sink import TextSink, ToBytesCoder
from hornbeam.testing.util import assert_that, equal_to
from hornbeam.utils.run_end import at_run_end, run_scope


@pytest.mark.parametrize(
    "template, suffix",
    [
        ("-SSSSS-of-NNNNN", "-00007-of-00012"),
        ("", ""),
        (".S.N", ".7.12"),
        ("-SS%d{0}", "-07%d{0}"),
        ("_NNN", "_012"),
    ],
)
def test_shard_names(template: str, suffix: str) -> None:
    assert shard_suffix(template, 7, 12) == suffix


def write_shards(sink: FileBasedSink, shards: Sequence[Sequence[Any]]) -> tuple[str, list[str]]:
    place = sink.initialize_write()
    results = []
    for number, shard in enumerate(shards):
        writer = sink.open_writer(place, f"{number:03d}-x")
        for value in shard:
            writer.write(value)
        results.append(writer.close())
    return place, results


def test_nothing_is_visible_before_finalize(tmp_path: Path) -> None:
    sink = TextSink(str(tmp_path / "part"))
    place, results = write_shards(sink, [["a"], ["b"]])
    assert Path(place).parent == tmp_path, "renames stay within the target's file system"
    assert not list(tmp_path.glob("part*"))
    sink.pre_finalize(place, results)
    names = list(sink.finalize_write(place, results, None))
    assert [Path(name).read_text() for name in names] == ["a\n", "b\n"]
    assert sorted(path.name for path in tmp_path.iterdir()) == ["part-00000-of-00002", "part-00001-of-00002"]


def test_finalize_may_be_repeated(tmp_path: Path) -> None:
    sink = pickle.loads(pickle.dumps(TextSink(str(tmp_path / "part"))))
    place, results = write_shards(sink, [["a"], ["b"]])
    first = list(sink.finalize_write(place, results, None))
    sink.pre_finalize(place, results)
    assert list(sink.finalize_write(place, results, None)) == first
    assert [Path(name).read_text() for name in first] == ["a\n", "b\n"]


def test_finalize_goes_on_where_it_was_interrupted(tmp_path: Path) -> None:
    sink = TextSink(str(tmp_path / "part"))
    place, results = write_shards(sink, [["a"], ["b"]])
    (tmp_path / "part-00001-of-00002").write_text("of an earlier run")
    Path(results[0]).rename(tmp_path / "part-00000-of-00002")
    names = list(sink.finalize_write(place, results, None))
    assert [Path(name).read_text() for name in names] == ["a\n", "b\n"]
    assert not Path(place).exists()


def test_a_lost_shard_is_an_error_before_anything_is_renamed(tmp_path: Path) -> None:
    sink = TextSink(str(tmp_path / "part"))
    place, results = write_shards(sink, [["a"], ["b"]])
    Path(results[1]).unlink()
    with pytest.raises(DataError, match=r"part-00001-of-00002 cannot be finished"):
        list(sink.finalize_write(place, results, None))
    assert not list(tmp_path.glob("part*"))


def test_a_writer_that_is_aborted_leaves_nothing(tmp_path: Path) -> None:
    sink = TextSink(str(tmp_path / "part"))
    place = sink.initialize_write()
    writer = sink.open_writer(place, "x")
    writer.write("a")
    writer.abort()
    assert list(Path(place).iterdir()) == []


def test_temporaries_go_with_the_run(tmp_path: Path) -> None:
    sink = TextSink(str(tmp_path / "part"))
    with run_scope():
        place, _ = write_shards(sink, [["a"]])
        assert Path(place).exists()
    assert not Path(place).exists()


def test_all_is_tidied_up_though_one_thing_fails(caplog: pytest.LogCaptureFixture) -> None:
    done: list[str] = []

    def fail() -> None:
        raise RuntimeError("cannot")

    with pytest.raises(ValueError, match="the run's own"), run_scope():
        assert at_run_end(lambda: done.append("first"))
        assert at_run_end(fail)
        assert at_run_end(lambda: done.append("last"))
        raise ValueError("the run's own")
    assert done == ["last", "first"]
    assert "could not be tidied up" in caplog.text
    assert not at_run_end(fail)


def test_the_coder_of_anything() -> None:
    coder = ToBytesCoder()
    assert [coder.encode(value) for value in ("é", b"\xff", 3, None)] == [
        "é".encode(),
        b"\xff",
        b"3",
        b"None",
    ]
    assert not coder.is_deterministic()


@pytest.mark.parametrize(
    "coder, values, content",
    [
        (None, ["a", "é"], "a|é|".encode()),
        (None, ["a", 1, b"\xff"], b"a|1|\xff|"),
        (StrUtf8Coder(), ["a", "b"], b"a|b|"),
        (BytesCoder(), [b"a", b"b"], b"a|b|"),
    ],
)
def test_a_batch_is_written_as_its_values_are(
    tmp_path: Path, coder: Any, values: list[Any], content: bytes
) -> None:
    class PipeSink(TextSink):
        def __init__(self) -> None:
            super().__init__(str(tmp_path / "x"), coder=coder)
            self._end = b"|"

    sink = PipeSink()
    for way in ("batch", "single"):
        writer = sink.open_writer(str(tmp_path / "tmp"), way)
        if way == "batch":
            writer.write_batch(values)
        else:
            for value in values:
                writer.write(value)
        assert writer.num_records_written == len(values)
        assert Path(writer.close()).read_bytes() == content


class FramedSink(FileBasedSink):
    """Records with their length before them, between marks."""

    def open(self, temp_path: str) -> Any:
        file = super().open(temp_path)
        file.write(b"<")
        return file

    def write_encoded_record(self, file_handle: Any, encoded_value: bytes) -> None:
        file_handle.write(b"%d:%s" % (len(encoded_value), encoded_value))

    def close(self, file_handle: Any) -> None:
        file_handle.write(b">")
        super().close(file_handle)


@pytest.mark.parametrize(
    "limit, contents", [({}, ["<1:a2:bb1:c>"]), ({"max_bytes_per_shard": 5}, ["<1:a2:bb>", "<1:c>"])]
)
def test_a_file_format_of_ones_own(tmp_path: Path, limit: dict[str, int], contents: list[str]) -> None:
    sink = FramedSink(str(tmp_path / "framed"), StrUtf8Coder(), ".fr", **limit)
    with beam.Pipeline() as p:
        names = p | beam.Create(["a", "bb", "c"], reshuffle=False) | Write(sink)
        assert_that(
            names,
            equal_to([f"{tmp_path}/framed-{n:05d}-of-{len(contents):05d}.fr" for n in range(len(contents))]),
        )
    assert [path.read_text() for path in sorted(tmp_path.iterdir())] == contents


class EncodingTextSink(TextSink):
    """Overrides what a batch is made of."""

    def write_encoded_record(self, file_handle: Any, encoded_value: bytes) -> None:
        super().write_encoded_record(file_handle, encoded_value.upper())


def test_an_override_of_the_single_write_holds_for_batches(tmp_path: Path) -> None:
    with beam.Pipeline() as p:
        (
            p
            | beam.Create(["a", "b"], reshuffle=False)
            | Write(EncodingTextSink(str(tmp_path / "x"), shard_name_template=""))
        )
    assert (tmp_path / "x").read_text() == "A\nB\n"


def test_the_element_that_cannot_be_written_is_named(tmp_path: Path) -> None:
    elements = ["a"] * 50 + [17] + ["b"] * 5000
    sink = TextSink(str(tmp_path / "x"), coder=StrUtf8Coder())
    with pytest.raises(Exception) as caught, beam.Pipeline() as p:
        p | beam.Create(elements, reshuffle=False) | Write(sink)
    assert "The element that could not be written is 17" in caught.value.__notes__
    assert list(tmp_path.iterdir()) == []


def test_values_are_converted_first(tmp_path: Path) -> None:
    sink = FramedSink(str(tmp_path / "x"), StrUtf8Coder(), shard_name_template="", convert_fn=str)
    with beam.Pipeline() as p:
        p | beam.Create([10]) | Write(sink)
    assert (tmp_path / "x").read_text() == "<2:10>"


def test_shard_names_that_collide_are_refused(tmp_path: Path) -> None:
    sink = TextSink(str(tmp_path / "x"), shard_name_template="")
    with pytest.raises(ValueError, match="2 files would get 1 names"):
        sink.pre_finalize("place", ["a", "b"])


class LedgerSink(Sink):
    """Writes to a directory and keeps to the contract of Sink and no more."""

    def __init__(self, directory: str, num_shards: int = 0) -> None:
        self.directory = directory
        self.num_shards = num_shards

    def initialize_write(self) -> str:
        return self.directory

    def open_writer(self, init_result: str, uid: str) -> Writer:
        return LedgerWriter(f"{init_result}/{uid}")

    def pre_finalize(self, init_result: str, writer_results: Sequence[tuple[str, int]]) -> int:
        return sum(count for _, count in writer_results)

    def finalize_write(
        self, init_result: str, writer_results: Sequence[tuple[str, int]], pre_finalize_result: int
    ) -> Iterable[Any]:
        return [len(writer_results), pre_finalize_result]


class LedgerWriter(Writer):
    def __init__(self, path: str) -> None:
        self.path = path
        self.count = 0

    def write(self, value: Any) -> None:
        self.count += 1
        Path(self.path).write_text(f"{self.count}")

    def close(self) -> tuple[str, int]:
        return self.path, self.count

    def at_capacity(self) -> bool:
        return self.count >= 3


@pytest.mark.parametrize("num_shards, results", [(0, [3, 7]), (1, [3, 7]), (2, [3, 7]), (10, [10, 7])])
def test_a_sink_of_ones_own(tmp_path: Path, num_shards: int, results: list[int]) -> None:
    with beam.Pipeline() as p:
        output = p | beam.Create(range(7), reshuffle=False) | Write(LedgerSink(str(tmp_path), num_shards))
        assert_that(output, equal_to(results))


def test_write_is_made_of_primitives_in_order() -> None:
    p = beam.Pipeline()
    p | beam.Create([1]) | Write(LedgerSink("x"))
    leaves = [
        (transform.label, transform.urn)
        for _, transform in p.to_graph().leaves()
        if "Write/" in transform.label
    ]
    names = [label.removeprefix("Write/") for label, _ in leaves]
    for step in ("InitializeWrite", "WriteBundles", "PreFinalize", "FinalizeWrite"):
        assert step in names
    assert urns.GROUP_BY_KEY in [urn for _, urn in leaves]


def test_write_takes_a_transform_as_it_is() -> None:
    with beam.Pipeline() as p:
        assert_that(p | beam.Create([1]) | Write(beam.Map(lambda x: x + 1)), equal_to([2]))
    with pytest.raises(TypeError, match="needs a Sink"):
        Write("x")  # type: ignore[arg-type]


class Broken(LedgerSink):
    def finalize_write(self, *args: Any) -> Iterator[Any]:
        raise RuntimeError("on purpose")


def test_a_failing_finalize_fails_the_run(tmp_path: Path) -> None:
    with pytest.raises(RuntimeError, match="on purpose"), beam.Pipeline() as p:
        p | beam.Create([1]) | Write(Broken(str(tmp_path)))
