"""ReadFromText, ReadAllFromText and WriteToText in whole pipelines."""

from __future__ import annotations

import bz2
import gzip
import lzma
import os
import subprocess
import sys
import textwrap
import zlib
from pathlib import Path
from typing import Any

import pytest
import zstandard

import hornbeam as beam
from hornbeam.coders.coders import BytesCoder, StrUtf8Coder
from hornbeam.error import DataError, PipelineError
from hornbeam.io.fileio import MatchFiles
from hornbeam.io.textio import ReadAllFromText, ReadFromText, ReadFromTextWithFilename, WriteToText
from hornbeam.testing.util import assert_that, equal_to


def everything_under(directory: Path) -> dict[str, bytes]:
    """Every file below the directory, hidden ones and empty directories too."""
    found = {}
    for root, directories, files in os.walk(directory):
        for name in directories:
            if not os.listdir(os.path.join(root, name)):
                found[os.path.relpath(os.path.join(root, name), directory) + "/"] = b""
        for name in files:
            path = os.path.join(root, name)
            found[os.path.relpath(path, directory)] = Path(path).read_bytes()
    return found


def written(
    tmp_path: Path, values: list[Any], prefix: str = "out/part", **parameters: Any
) -> dict[str, bytes]:
    """What WriteToText leaves behind for the values, by name."""
    with beam.Pipeline() as p:
        p | beam.Create(values, reshuffle=False) | WriteToText(str(tmp_path / prefix), **parameters)
    return everything_under(tmp_path / "out")


def test_read(tmp_path: Path) -> None:
    (tmp_path / "a.txt").write_text("one\ntwo\n")
    (tmp_path / "b.txt.gz").write_bytes(gzip.compress(b"three\n") + gzip.compress(b"four"))
    with beam.Pipeline() as p:
        lines = p | ReadFromText(str(tmp_path / "*.txt*"))
        assert lines.element_type is str
        assert_that(lines, equal_to(["one", "two", "three", "four"]))


@pytest.mark.parametrize(
    "ending, kind, compress",
    [
        (".gz", "gzip", gzip.compress),
        (".bz2", "bzip2", bz2.compress),
        (".deflate", "deflate", zlib.compress),
        (".xz", "lzma", lzma.compress),
        (".zst", "zstd", zstandard.ZstdCompressor().compress),
    ],
)
def test_read_compressed(tmp_path: Path, ending: str, kind: str, compress: Any) -> None:
    (tmp_path / f"by_name{ending}").write_bytes(compress(b"one\ntwo\n"))
    (tmp_path / "given").write_bytes(compress(b"three\n"))
    with beam.Pipeline() as p:
        by_name = p | "name" >> ReadFromText(str(tmp_path / "by_name*"))
        given = p | "given" >> ReadFromText(str(tmp_path / "given"), compression_type=kind)
        assert_that(by_name, equal_to(["one", "two"]), label="by name")
        assert_that(given, equal_to(["three"]), label="given")


def test_read_with_options(tmp_path: Path) -> None:
    (tmp_path / "a.txt").write_bytes(b"header;a;b\\;c;d")
    with beam.Pipeline() as p:
        records = p | ReadFromText(
            str(tmp_path / "a.txt"), coder=BytesCoder(), skip_header_lines=1, delimiter=b";", escapechar=b"\\"
        )
        assert records.element_type is bytes
        assert_that(records, equal_to([b"a", b"b\\;c", b"d"]))


def test_read_a_path_object_and_with_filename(tmp_path: Path) -> None:
    path = tmp_path / "a.txt"
    path.write_text("one\ntwo")
    with beam.Pipeline() as p:
        lines = p | ReadFromTextWithFilename(path)
        assert_that(lines, equal_to([(str(path), "one"), (str(path), "two")]))


def test_nothing_to_read_is_an_error_at_construction(tmp_path: Path) -> None:
    with pytest.raises(OSError, match="No files found based on the file pattern"):
        ReadFromText(str(tmp_path / "none*.txt"))
    with pytest.raises(TypeError, match="needs a file_pattern"):
        ReadFromText()
    with beam.Pipeline() as p:
        lines = p | ReadFromText(str(tmp_path / "none*.txt"), validate=False)
        assert_that(lines, equal_to([]))


def test_read_all(tmp_path: Path) -> None:
    (tmp_path / "a.txt").write_text("h\none\ntwo\n")
    (tmp_path / "b.txt").write_text("h\nthree")
    (tmp_path / "c.gz").write_bytes(gzip.compress(b"h\nfour\n"))
    (tmp_path / "empty.txt").write_text("")
    patterns = [str(tmp_path / "*.txt"), str(tmp_path / "c.gz"), str(tmp_path / "no*.txt")]
    with beam.Pipeline() as p:
        given = p | beam.Create(patterns)
        lines = given | ReadAllFromText(skip_header_lines=1)
        named = given | "named" >> ReadAllFromText(
            with_filename=True, desired_bundle_size=3, skip_header_lines=1
        )
        metadata = p | MatchFiles(str(tmp_path / "c*")) | "matched" >> ReadAllFromText()
        assert_that(lines, equal_to(["one", "two", "three", "four"]), label="lines")
        expected = [("a.txt", "one"), ("a.txt", "two"), ("b.txt", "three"), ("c.gz", "four")]
        assert_that(named, equal_to([(str(tmp_path / name), line) for name, line in expected]), label="named")
        assert_that(metadata, equal_to(["h", "four"]), label="matched files")


def test_read_all_misses_a_file(tmp_path: Path) -> None:
    def read(**parameters: Any) -> None:
        with beam.Pipeline() as p:
            p | beam.Create([str(tmp_path / "none.txt")]) | ReadAllFromText(**parameters)

    with pytest.raises(OSError, match=r"No files found.*none\.txt"):
        read()
    read(validate=False)
    with pytest.raises(ValueError):
        ReadAllFromText(delimiter=b"aa")


@pytest.mark.parametrize(
    "name, content",
    [
        ("cut.gz", gzip.compress(b"line\n" * 100_000)[:-20]),
        ("bad.gz", b"not gzip at all"),
        ("bad.txt", b"ab\xff\n"),
    ],
)
def test_bad_data_ends_the_run_and_is_named(tmp_path: Path, name: str, content: bytes) -> None:
    (tmp_path / name).write_bytes(content)
    (tmp_path / "out").mkdir()
    with pytest.raises(DataError, match=name) as caught, beam.Pipeline() as p:
        p | ReadFromText(str(tmp_path / name)) | WriteToText(str(tmp_path / "out" / "part"))
    assert "byte" in str(caught.value)
    assert everything_under(tmp_path / "out") == {}


def test_write(tmp_path: Path) -> None:
    assert written(tmp_path, ["one", 2, ("three", 3), b"four", "käse"], file_name_suffix=".txt") == {
        "part-00000-of-00001.txt": "one\n2\n('three', 3)\nfour\nkäse\n".encode()
    }


def test_the_names_written_are_the_output(tmp_path: Path) -> None:
    with beam.Pipeline() as p:
        names = p | beam.Create(["a"]) | WriteToText(str(tmp_path / "x"), num_shards=2)
        assert names.element_type is str
        assert_that(names, equal_to([str(tmp_path / f"x-0000{shard}-of-00002") for shard in range(2)]))


@pytest.mark.parametrize(
    "parameters, files",
    [
        ({"shard_name_template": ""}, {"part": b"a\nb\nc\n"}),
        ({"shard_name_template": "", "file_name_suffix": ".txt"}, {"part.txt": b"a\nb\nc\n"}),
        ({"shard_name_template": "_SSS_NN"}, {"part_000_01": b"a\nb\nc\n"}),
        ({"append_trailing_newlines": False}, {"part-00000-of-00001": b"abc"}),
        ({"header": "h", "footer": b"f"}, {"part-00000-of-00001": b"h\na\nb\nc\nf\n"}),
        ({"header": "h", "append_trailing_newlines": False}, {"part-00000-of-00001": b"habc"}),
        ({"coder": StrUtf8Coder()}, {"part-00000-of-00001": b"a\nb\nc\n"}),
        (
            {"num_shards": 2, "header": "h"},
            {"part-00000-of-00002": b"h\na\nc\n", "part-00001-of-00002": b"h\nb\n"},
        ),
        (
            {"num_shards": 4},
            {
                "part-00000-of-00004": b"a\n",
                "part-00001-of-00004": b"b\n",
                "part-00002-of-00004": b"c\n",
                "part-00003-of-00004": b"",
            },
        ),
        (
            {"max_records_per_shard": 2, "header": "h"},
            {"part-00000-of-00002": b"h\na\nb\n", "part-00001-of-00002": b"h\nc\n"},
        ),
        (
            {"max_bytes_per_shard": 3},
            {"part-00000-of-00002": b"a\nb\n", "part-00001-of-00002": b"c\n"},
        ),
        (
            {"max_records_per_shard": 1, "num_shards": 1},
            {f"part-0000{n}-of-00003": b"%c\n" % (97 + n) for n in range(3)},
        ),
    ],
)
def test_files_and_their_names(tmp_path: Path, parameters: dict[str, Any], files: dict[str, bytes]) -> None:
    assert written(tmp_path, ["a", "b", "c"], **parameters) == files


@pytest.mark.parametrize(
    "parameters, files",
    [
        ({}, {"part-00000-of-00001": b""}),
        ({"header": "h"}, {"part-00000-of-00001": b"h\n"}),
        ({"num_shards": 2}, {"part-00000-of-00002": b"", "part-00001-of-00002": b""}),
        ({"skip_if_empty": True}, {}),
        ({"skip_if_empty": True, "num_shards": 2, "header": "h"}, {}),
    ],
)
def test_without_elements(tmp_path: Path, parameters: dict[str, Any], files: dict[str, bytes]) -> None:
    (tmp_path / "out").mkdir()
    assert written(tmp_path, [], **parameters) == files


@pytest.mark.parametrize(
    "ending, decompress",
    [
        (".gz", gzip.decompress),
        (".bz2", bz2.decompress),
        (".deflate", zlib.decompress),
        (".xz", lzma.decompress),
        (".zst", lambda data: zstandard.ZstdDecompressor().decompressobj().decompress(data)),
    ],
)
def test_write_compressed(tmp_path: Path, ending: str, decompress: Any) -> None:
    files = written(tmp_path, ["a", "b"], file_name_suffix=f".txt{ending}", footer="f")
    [(name, data)] = files.items()
    assert name == f"part-00000-of-00001.txt{ending}"
    assert decompress(data) == b"a\nb\nf\n"
    files = written(tmp_path, ["a"], prefix="out/given", compression_type="gzip")
    assert gzip.decompress(files["given-00000-of-00001"]) == b"a\n"


def test_a_second_run_replaces_the_first(tmp_path: Path) -> None:
    written(tmp_path, ["old"] * 1000)
    (tmp_path / "out" / "other").write_text("stays")
    assert written(tmp_path, ["new"]) == {"part-00000-of-00001": b"new\n", "other": b"stays"}


def test_what_is_written_is_read_again(tmp_path: Path) -> None:
    lines = [f"line {number} é" for number in range(5000)]
    written(tmp_path, lines, num_shards=3, file_name_suffix=".gz")
    with beam.Pipeline() as p:
        assert_that(p | ReadFromText(str(tmp_path / "out" / "part-*")), equal_to(lines))


@pytest.mark.parametrize("bundle_size", [1, 3])
def test_every_bundle_is_a_shard_of_its_own(tmp_path: Path, bundle_size: int) -> None:
    options = beam.options.pipeline_options.PipelineOptions([f"--bundle_size={bundle_size}"])
    with beam.Pipeline(options=options) as p:
        p | beam.Create(list(range(7))) | WriteToText(str(tmp_path / "out" / "part"))
    files = everything_under(tmp_path / "out")
    assert all(name.endswith(f"-of-{len(files):05d}") for name in files)
    assert sorted(b"".join(files.values()).split()) == [b"%d" % number for number in range(7)]


def test_windowed_elements_are_written_too(tmp_path: Path) -> None:
    with beam.Pipeline() as p:
        (
            p
            | beam.Create([1, 2, 30])
            | beam.Map(lambda second: beam.transforms.window.TimestampedValue(second, second))
            | beam.WindowInto(beam.transforms.window.FixedWindows(10))
            | WriteToText(str(tmp_path / "out" / "part"))
        )
    assert sorted(everything_under(tmp_path / "out")["part-00000-of-00001"].split()) == [b"1", b"2", b"30"]


@pytest.mark.parametrize(
    "parameters, kind",
    [
        ({"file_path_prefix": 3}, TypeError),
        ({"file_name_suffix": 3}, TypeError),
        ({"compression_type": "rar"}, TypeError),
        ({"coder": StrUtf8Coder}, TypeError),
        ({"num_shards": -1}, ValueError),
        ({"max_records_per_shard": 0}, ValueError),
        ({"max_bytes_per_shard": 1.5}, ValueError),
        ({"shard_name_template": "", "num_shards": 2}, ValueError),
        ({"shard_name_template": "-NN", "max_records_per_shard": 2}, ValueError),
    ],
)
def test_parameters_that_are_refused(parameters: dict[str, Any], kind: type[Exception]) -> None:
    with pytest.raises(kind):
        WriteToText(**{"file_path_prefix": "/tmp/x", **parameters})


def test_unbounded_input_is_refused() -> None:
    p = beam.Pipeline()
    unbounded = beam.PCollection.from_(p | beam.Create([1]), is_bounded=False)
    unbounded.producer = (p | "again" >> beam.Create([1])).producer
    with pytest.raises(PipelineError, match="unbounded"):
        unbounded | WriteToText("/tmp/x")


def failing(element: int) -> int:
    if element == 70_000:
        raise RuntimeError("on purpose")
    return element


@pytest.mark.parametrize("parameters", [{}, {"num_shards": 3}, {"max_records_per_shard": 100}])
def test_a_failed_run_leaves_nothing_and_touches_nothing(tmp_path: Path, parameters: dict[str, Any]) -> None:
    (tmp_path / "out").mkdir()
    (tmp_path / "out" / "part-00000-of-00001").write_text("from before")
    with pytest.raises(RuntimeError, match="on purpose"), beam.Pipeline() as p:
        (
            p
            | beam.Create([0])
            | beam.FlatMap(lambda _: range(100_000))
            | beam.Map(failing)
            | WriteToText(str(tmp_path / "out" / "part"), **parameters)
        )
    assert everything_under(tmp_path / "out") == {"part-00000-of-00001": b"from before"}


def test_a_failure_after_all_is_written_leaves_nothing(tmp_path: Path) -> None:
    (tmp_path / "out").mkdir()
    (tmp_path / "out" / "part-00000-of-00001").mkdir()  # where the file is to go
    (tmp_path / "out" / "part-00000-of-00001" / "keep").write_text("x")
    with pytest.raises(OSError, match="part-00000-of-00001"), beam.Pipeline() as p:
        p | beam.Create(["a"]) | WriteToText(str(tmp_path / "out" / "part"))
    assert everything_under(tmp_path / "out") == {"part-00000-of-00001/keep": b"x"}


def test_an_output_directory_that_cannot_be(tmp_path: Path) -> None:
    (tmp_path / "file").write_text("x")
    with pytest.raises(OSError, match="Cannot make the directory") as caught, beam.Pipeline() as p:
        p | beam.Create(["a"]) | WriteToText(str(tmp_path / "file" / "part"))
    assert isinstance(caught.value, DataError)
    assert everything_under(tmp_path) == {"file": b"x"}


@pytest.mark.skipif(os.geteuid() == 0, reason="root may write everywhere")
def test_an_output_directory_without_the_right_to_write(tmp_path: Path) -> None:
    (tmp_path / "out").mkdir(mode=0o500)
    with pytest.raises(PermissionError, match="Check the rights"), beam.Pipeline() as p:
        p | beam.Create(["a"]) | WriteToText(str(tmp_path / "out" / "part"))


@pytest.mark.skipif(os.geteuid() == 0, reason="root may read everything")
def test_an_unreadable_file(tmp_path: Path) -> None:
    path = tmp_path / "a.txt"
    path.write_text("x")
    path.chmod(0)
    with pytest.raises(PermissionError, match=r"a\.txt"), beam.Pipeline() as p:
        p | ReadFromText(str(path))


def test_a_directory_in_place_of_a_file(tmp_path: Path) -> None:
    (tmp_path / "dir").mkdir()
    with pytest.raises(IsADirectoryError, match=r"dir/\*"), beam.Pipeline() as p:
        p | ReadFromText(str(tmp_path / "dir"))


FULL_DISK = """
    import resource, signal, sys
    import hornbeam as beam

    signal.signal(signal.SIGXFSZ, signal.SIG_IGN)
    resource.setrlimit(resource.RLIMIT_FSIZE, (20_000, 20_000))
    try:
        with beam.Pipeline() as p:
            p | beam.Create(["x" * 100] * 1000) | beam.io.WriteToText(sys.argv[1], file_name_suffix=sys.argv[2])
    except OSError as error:
        print(type(error).__mro__[-4].__name__, error)
    else:
        print("no error")
"""


@pytest.mark.parametrize("suffix", ["", ".bz2"])
def test_a_device_that_takes_no_more(tmp_path: Path, suffix: str) -> None:
    out = tmp_path / "out"
    out.mkdir()
    script = textwrap.dedent(FULL_DISK).replace(
        '"x" * 100', '__import__("os").urandom(50).hex()' if suffix else '"x" * 100'
    )
    if suffix:
        script = script.replace("20_000", "200")
    answer = subprocess.run(
        [sys.executable, "-c", script, str(out / "part"), suffix], capture_output=True, text=True, check=False
    )
    assert "Cannot write" in answer.stdout and "File too large" in answer.stdout, answer.stderr
    assert f"{out}/part" in answer.stdout
    assert everything_under(out) == {}


@pytest.mark.skipif(not os.path.exists("/dev/full"), reason="no /dev/full")
@pytest.mark.parametrize("parameters", [{}, {"num_shards": 1}, {"compression_type": "gzip"}])
def test_a_full_disk(tmp_path: Path, monkeypatch: pytest.MonkeyPatch, parameters: dict[str, Any]) -> None:
    from hornbeam.io.localfilesystem import LocalFileSystem

    create = LocalFileSystem.create

    def on_a_full_disk(self: Any, path: str, *args: Any, **kwargs: Any) -> Any:
        Path(path).symlink_to("/dev/full")
        return create(self, path, *args, **kwargs)

    monkeypatch.setattr(LocalFileSystem, "create", on_a_full_disk)
    (tmp_path / "out").mkdir()
    with (
        pytest.raises(OSError, match=r"Cannot write.*out/part.*No space left.*Make room"),
        beam.Pipeline() as p,
    ):
        p | beam.Create(["x" * 100] * 10_000) | WriteToText(str(tmp_path / "out" / "part"), **parameters)
    assert everything_under(tmp_path / "out") == {}
