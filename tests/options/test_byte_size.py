"""Amounts of memory as text."""

from __future__ import annotations

import pytest

from hornbeam.options.byte_size import default_memory_limit, format_bytes
from hornbeam.options.pipeline_options import DirectOptions, PipelineOptions, parse_bytes


@pytest.mark.parametrize(
    ("text", "amount"),
    [
        ("4096", 4096),
        ("1b", 1),
        ("1k", 1024),
        ("2KB", 2048),
        ("256MB", 256 << 20),
        ("256MiB", 256 << 20),
        ("256 mb", 256 << 20),
        ("1.5G", 3 << 29),
        (".5gb", 1 << 29),
        ("1TB", 1 << 40),
        (1000, 1000),
    ],
)
def test_parse(text: str | int, amount: int) -> None:
    assert parse_bytes(text) == amount


@pytest.mark.parametrize("text", ["", "MB", "12XB", "1,5GB", "-1MB", "0", 0, "1e3", True])
def test_refused(text: str | int) -> None:
    with pytest.raises(ValueError, match="no amount of memory"):
        parse_bytes(text)


@pytest.mark.parametrize(
    ("amount", "text"), [(10, "10B"), (2048, "2KB"), (3 << 29, "1.5GB"), (1 << 50, "1024TB")]
)
def test_format(amount: int, text: str) -> None:
    assert format_bytes(amount) == text
    assert parse_bytes(text) == amount


def test_the_default_is_a_share_of_the_machine() -> None:
    assert 1 << 20 < default_memory_limit() <= 4 << 30
    assert DirectOptions([]).memory_limit_bytes() == default_memory_limit()


def test_the_option_takes_text_and_numbers() -> None:
    assert DirectOptions(["--memory_limit=256MB"]).memory_limit_bytes() == 256 << 20
    assert PipelineOptions([], memory_limit="1GB").view_as(DirectOptions).memory_limit_bytes() == 1 << 30
    with pytest.raises(ValueError, match="--memory_limit: 'lots' is no amount of memory"):
        DirectOptions(["--memory_limit=lots"])
