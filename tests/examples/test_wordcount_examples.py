"""The word count examples, against the same counts in plain Python."""

from __future__ import annotations

import gzip
import re
from collections import Counter
from pathlib import Path

import outputs
import pytest
import wordcount
import wordcount_debugging
import wordcount_minimal

VERSE = re.compile(r"\w+?\d+:\d+ (.*)")


def verses() -> list[str]:
    with gzip.open(wordcount.KJV, "rt", encoding="utf-8") as file:
        return file.read().splitlines()


@pytest.fixture(scope="module")
def words() -> Counter[str]:
    """Words of the verses without their references, in lower case."""
    counts: Counter[str] = Counter()
    for verse in verses():
        match = VERSE.fullmatch(verse)
        assert match, verse
        counts.update(re.findall("[a-z']+", match.group(1).lower()))
    return counts


def test_wordcount_gives_the_top_words_and_writes_all_counts(tmp_path: Path, words: Counter[str]) -> None:
    top = wordcount.run(["--output", str(tmp_path / "counts"), "--top", "25"])

    assert top == sorted(words.items(), key=lambda item: (item[1], item[0]), reverse=True)[:25]
    (file,) = tmp_path.glob("counts-*-of-*.txt")
    assert sorted(file.read_text().splitlines()) == sorted(
        f"{word}: {count}" for word, count in words.items()
    )


def test_wordcount_counts_the_same_with_tiny_bundles_and_little_memory(tmp_path: Path) -> None:
    text = tmp_path / "text.txt"
    text.write_text("".join(f"{verse}\n" for verse in verses()[:300]))
    argv = ["--input", str(text), "--output", str(tmp_path / "counts")]

    plain = wordcount.run(argv)

    assert wordcount.run([*argv, "--bundle_size=1", "--memory_limit=64KB", "--no_progress"]) == plain


def test_wordcount_minimal_counts_all_words(tmp_path: Path) -> None:
    wordcount_minimal.run(str(tmp_path / "counts"))

    expected = Counter(re.findall("[A-Za-z']+", "\n".join(verses())))
    written = outputs.lines(str(tmp_path / "counts"))
    assert written == sorted(f"{word}: {count}" for word, count in expected.items())


def test_wordcount_debugging_counts_what_it_keeps_and_drops(words: Counter[str]) -> None:
    expect = f"charity={words['charity']},mercy={words['mercy']}"
    found = wordcount_debugging.run(["--words", "charity|mercy", "--expect", expect])

    assert found == {"kept": 2, "dropped": len(words) - 2, "longest": len("charity")}


def test_wordcount_debugging_fails_when_a_count_is_not_as_expected() -> None:
    with pytest.raises(AssertionError, match="charity"):
        wordcount_debugging.run(["--words", "charity", "--expect", "charity=1"])
