"""TailText: files that appear, grow, are renamed, truncated, replaced and deleted while they are read."""

from __future__ import annotations

import os
import random
from pathlib import Path
from typing import Any

import pytest
from sources.driving import Driven, splittable
from sources.streaming import Keep, kept, run

import hornbeam as beam
from hornbeam.coders.coders import BytesCoder
from hornbeam.io.tail import LineTooLongError, TailText
from hornbeam.io.text_source import InvalidTextError
from hornbeam.transforms.window import FixedWindows


def tail(pattern: Path, *, elements_max: int = 4096, start: float = 0, **settings: Any) -> Driven:
    """The head of a TailText, with its pattern given."""
    driven = splittable(TailText(str(pattern), **settings)._dofn, start=start, elements_max=elements_max)
    driven.feed(str(pattern))
    driven.run()
    return driven


def append(path: Path, text: str | bytes) -> None:
    with open(path, "ab") as file:
        file.write(text.encode() if isinstance(text, str) else text)


def grown(driven: Driven) -> list[Any]:
    """What the next look gives."""
    driven.pass_time(1)
    return driven.take()


def test_lines_come_when_they_are_finished(tmp_path: Path) -> None:
    log = tmp_path / "a.log"
    append(log, "one\ntwo\nthr")
    driven = tail(log)
    assert driven.take() == ["one", "two"]
    assert grown(driven) == []
    append(log, "ee\r\n\nfo")
    assert grown(driven) == ["three", ""]
    append(log, "ur\n")
    assert grown(driven) == ["four"]


def test_files_that_appear_later_are_read_from_their_beginning(tmp_path: Path) -> None:
    driven = tail(tmp_path / "*.log")
    assert driven.take() == []
    append(tmp_path / "a.log", "1\n")
    append(tmp_path / "b.txt", "no\n")
    assert grown(driven) == ["1"]
    append(tmp_path / "b.log", "2\n")
    append(tmp_path / "a.log", "3\n")
    assert sorted(grown(driven)) == ["2", "3"]


def test_start_at_the_end_passes_over_what_is_there(tmp_path: Path) -> None:
    append(tmp_path / "a.log", "old\n" * 100_000 + "half")
    append(tmp_path / "empty.log", "")
    append(tmp_path / "one.log", "no newline yet")
    driven = tail(tmp_path / "*.log", start_at="end")
    append(tmp_path / "a.log", " done\nnew\n")
    append(tmp_path / "empty.log", "first\n")
    append(tmp_path / "one.log", "\n")
    append(tmp_path / "later.log", "all\nof it\n")
    assert sorted(grown(driven)) == ["all", "first", "half done", "new", "no newline yet", "of it"]


def test_a_file_that_is_rotated_goes_on_under_its_new_name(tmp_path: Path) -> None:
    log, old = tmp_path / "app.log", tmp_path / "app.log.1"
    append(log, "1\n")
    driven = tail(log)  # the pattern does not match the rotated name
    append(log, "2\n")
    os.rename(log, old)
    append(old, "3\n")  # the writer still has it open
    append(log, "4\n")
    assert sorted(driven.take() + grown(driven)) == ["1", "2", "3", "4"]
    append(old, "5\n")
    append(log, "6\n")
    assert sorted(grown(driven)) == ["5", "6"]


def test_a_rotated_file_that_the_pattern_matches_is_not_read_again(tmp_path: Path) -> None:
    append(tmp_path / "app.log", "1\n")
    driven = tail(tmp_path / "app.log*")
    os.rename(tmp_path / "app.log", tmp_path / "app.log.1")
    append(tmp_path / "app.log", "2\n")
    append(tmp_path / "app.log.2.gz", b"\x1f\x8b never read")
    assert driven.take() + grown(driven) == ["1", "2"]


@pytest.mark.parametrize(
    ("how", "lines"),
    [
        ("truncate", ["new"]),
        ("replace", ["new"]),
        ("replace by a longer one", ["quite another beginning", "and more"]),
        ("delete", []),
        ("delete and write anew", ["new"]),
    ],
)
def test_a_file_that_is_written_anew_is_read_from_its_beginning(
    tmp_path: Path, how: str, lines: list[str]
) -> None:
    log = tmp_path / "a.log"
    append(log, "one\ntwo\nthree\n")
    driven = tail(log)
    assert driven.take() == ["one", "two", "three"]
    if how == "truncate":
        log.write_text("new\n")
    elif how == "replace":
        (tmp_path / "b").write_text("new\n")
        os.replace(tmp_path / "b", log)
    elif how == "replace by a longer one":
        log.write_text("quite another beginning\nand more\n")  # the same inode
    elif how == "delete":
        os.unlink(log)
    else:
        os.unlink(log)
        assert grown(driven) == [] and driven.head.entries() == 1
        log.write_text("new\n")
    assert grown(driven) == lines
    append(log, "goes on\n")
    assert grown(driven) == ["goes on"]


def test_a_directory_that_is_not_there_yet(tmp_path: Path) -> None:
    driven = tail(tmp_path / "later" / "*.log")
    assert grown(driven) == []
    (tmp_path / "later").mkdir()
    append(tmp_path / "later" / "a.log", "1\n")
    assert grown(driven) == ["1"]


@pytest.mark.parametrize("elements_max", [1, 10, 4096])
def test_a_restart_between_any_two_turns_gives_each_line_once(tmp_path: Path, elements_max: int) -> None:
    rng = random.Random(5)
    files = [tmp_path / f"{name}.log" for name in "abc"]
    driven = splittable(TailText(str(tmp_path / "*.log"))._dofn, elements_max=elements_max)
    driven.head.track_changes()
    driven.feed(str(tmp_path / "*.log"))
    written: list[str] = []
    for _ in range(30):
        driven.snapshot()
        driven.restore()
        for _ in range(rng.randrange(4)):
            line = f"line {len(written)}"
            append(rng.choice(files), f"{line}\n")
            written.append(line)
        driven.pass_time(1) if rng.random() < 0.5 else driven.turn()
    driven.pass_time(2)
    assert sorted(driven.values) == sorted(written) and written


def test_a_large_file_comes_in_turns_and_others_meanwhile(tmp_path: Path) -> None:
    append(tmp_path / "large.log", "".join(f"{n:>50}\n" for n in range(50_000)))
    append(tmp_path / "small.log", "small\n")
    driven = splittable(TailText(str(tmp_path / "*.log"))._dofn)
    driven.feed(str(tmp_path / "*.log"))
    driven.turn()
    assert 1000 < len(driven.values) < 20_000 and "small" in driven.values
    driven.run()
    assert [int(v) for v in driven.values if v != "small"] == list(range(50_000))
    assert max(driven.bundles) <= 1024


def test_headers_are_skipped_once_for_each_file(tmp_path: Path) -> None:
    append(tmp_path / "a.csv", "name,")
    driven = tail(tmp_path / "*.csv", skip_header_lines=2)
    append(tmp_path / "a.csv", "n\n")
    append(tmp_path / "b.csv", "name,n\nstr,int\nx,1\n")
    assert grown(driven) == ["x,1"]
    append(tmp_path / "a.csv", "str,int\ny,2\n")
    assert grown(driven) == ["y,2"]


def test_other_delimiters_coders_and_filenames(tmp_path: Path) -> None:
    log = tmp_path / "a.log"
    append(log, b"\xff|;b\n|;c|")
    driven = tail(log, delimiter=b"|;", coder=BytesCoder(), with_filename=True)
    assert driven.take() == [(str(log), b"\xff"), (str(log), b"b\n")]
    append(log, b";")
    assert grown(driven) == [(str(log), b"c")]


# Event time


def seconds(line: str) -> float:
    return float(line.split()[0])


def test_the_watermark_is_the_clock_without_a_timestamp_function(tmp_path: Path) -> None:
    append(tmp_path / "a.log", "x\n")
    driven = tail(tmp_path / "a.log", start=100)
    assert driven.given == [("x", 100)] and driven.hold() == 100
    driven.pass_time(7)
    assert driven.hold() == 107


def test_the_watermark_follows_the_lines_less_the_disorder(tmp_path: Path) -> None:
    log = tmp_path / "a.log"
    driven = tail(log, timestamp_fn=seconds, allowed_disorder=5)
    assert driven.hold() == 0  # the timestamp of the pattern: nothing is known
    append(log, "100 a\n98 b\n")
    grown(driven)
    assert driven.hold() == 95
    append(log, "90 late\n")
    grown(driven)
    assert driven.hold() == 95
    append(log, "110 c\n")
    driven.pass_time(1)
    assert driven.given == [("110 c", 110)] and driven.hold() == 105


def test_while_files_are_read_up_time_is_that_of_the_one_furthest_behind(tmp_path: Path) -> None:
    append(tmp_path / "old.log", "".join(f"{n} old {'x' * 200}\n" for n in range(20_000)))
    append(tmp_path / "new.log", "".join(f"{n} new {'x' * 200}\n" for n in range(20_000, 21_000)))
    driven = splittable(TailText(str(tmp_path / "*.log"), timestamp_fn=seconds)._dofn, elements_max=500)
    driven.feed(str(tmp_path / "*.log"))
    before = 0.0
    while driven.turn():
        assert all(stamp >= before for _, stamp in driven.given)  # nothing behind what was promised
        before = driven.hold()
        driven.take()
    assert driven.hold() == 20_999


def test_an_idle_tail_goes_on_with_the_clock(tmp_path: Path) -> None:
    append(tmp_path / "a.log", "995 x\n")
    driven = tail(tmp_path / "a.log", start=1000, timestamp_fn=seconds, idle_timeout=60)
    driven.pass_time(59)
    assert driven.hold() == 995
    driven.pass_time(41)
    assert driven.hold() == pytest.approx(1040, abs=2)
    append(tmp_path / "a.log", "1099 y\n")
    driven.pass_time(1)
    assert driven.hold() == 1099


def test_the_tail_ends_at_its_stop(tmp_path: Path) -> None:
    append(tmp_path / "a.log", "1\n")
    driven = tail(tmp_path / "a.log", stop_timestamp=5)
    driven.pass_time(4)
    append(tmp_path / "a.log", "2\n")
    assert not driven.head.is_done()
    driven.pass_time(1)
    assert driven.take() == ["1"] and driven.head.is_done() and driven.hold() is None


def test_draining_ends_it(tmp_path: Path) -> None:
    driven = tail(tmp_path / "a.log")
    driven.head.drain()
    assert driven.head.is_done()


# Failures


def test_bytes_that_are_no_text_are_told_with_the_file(tmp_path: Path) -> None:
    append(tmp_path / "a.log", b"fine\n\xff\xfe\n")
    with pytest.raises(InvalidTextError, match=r"a\.log: not valid utf-8 in a line at or behind byte 0"):
        tail(tmp_path / "a.log")


def test_a_line_without_an_end_is_an_error(tmp_path: Path) -> None:
    append(tmp_path / "a.log", "x" * 300_000)
    with pytest.raises(LineTooLongError, match="more than 100000 bytes"):
        tail(tmp_path / "a.log", line_bytes_max=100_000)


def test_a_timestamp_function_that_fails_is_told_with_the_line(tmp_path: Path) -> None:
    append(tmp_path / "a.log", "1 fine\nno time\n")
    with pytest.raises(ValueError, match="could not convert") as caught:
        tail(tmp_path / "a.log", timestamp_fn=seconds)
    assert any("on the line 'no time'" in note for note in caught.value.__notes__)


@pytest.mark.skipif(os.geteuid() == 0, reason="root may read everything")
def test_a_file_that_may_not_be_read_is_an_error(tmp_path: Path) -> None:
    append(tmp_path / "a.log", "1\n")
    (tmp_path / "a.log").chmod(0)
    with pytest.raises(PermissionError, match=r"a\.log"):
        tail(tmp_path / "a.log")


@pytest.mark.parametrize(
    ("settings", "message"),
    [
        ({"interval": 0}, "interval"),
        ({"allowed_disorder": -1}, "allowed_disorder"),
        ({"start_at": "middle"}, "start_at"),
        ({"skip_header_lines": -1}, "skip_header_lines"),
        ({"delimiter": b""}, "delimiter"),
    ],
)
def test_settings_are_checked(settings: dict[str, Any], message: str) -> None:
    with pytest.raises(ValueError, match=message):
        TailText("x", **settings)


# A pipeline


def test_words_of_a_growing_file_are_counted_by_the_minute(tmp_path: Path) -> None:
    log = tmp_path / "words.log"
    p = beam.Pipeline()
    (
        p
        | TailText(str(log), timestamp_fn=seconds, allowed_disorder=10)
        | beam.FlatMap(lambda line: line.split()[1:])
        | beam.WindowInto(FixedWindows(60))
        | beam.combiners.Count.PerElement()
        | beam.ParDo(Keep())
    )
    script = {
        5: lambda: append(log, "0 a b\n30 a\n"),
        50: lambda: append(log, "65 b b\n59 a\n"),
        90: lambda: append(log, "100 a\n"),  # time is at 90: the first minute is over
        100: lambda: append(log, "20 late\n"),
    }
    kept()
    run(p, 200, script)
    counts = kept()
    assert sorted(counts[:2]) == [(("a", 3), 59.999999), (("b", 1), 59.999999)]
    assert sorted(counts[2:]) == [(("a", 1), 119.999999), (("b", 2), 119.999999)]
