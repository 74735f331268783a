"""Names of output files: prefix, shard template, suffix."""

from __future__ import annotations

import re
from collections.abc import Callable
from typing import Any

#: What WriteToText and its kin use unless told otherwise.
DEFAULT_SHARD_NAME_TEMPLATE = "-SSSSS-of-NNNNN"
#: What they use for unbounded data.
DEFAULT_WINDOW_SHARD_NAME_TEMPLATE = "-W-SSSSS-of-NNNNN"

_UTC = "%Y-%m-%dT%H-%M-%S"


def numbers_shards(template: str) -> bool:
    """Whether the template tells shards apart."""
    return "S" in template


def shard_suffix(template: str, shard_num: int, num_shards: int) -> str:
    """The template with each run of S made the shard's number, and each run of N the number of shards.

    Numbers have at least as many digits as the run has letters.
    """

    def number(match: re.Match[str]) -> str:
        run = match.group(0)
        return f"{shard_num if run[0] == 'S' else num_shards:0{len(run)}d}"

    return re.sub("S+|N+", number, template)


def names_windows(template: str) -> bool:
    """Whether the template tells windows apart."""
    return "W" in template or "V" in template


def with_window(template: str, window: Any, number: Callable[[str], str]) -> str:
    """The template with W made the window, `[start, end)` in seconds, or V made it with its times in UTC.

    `number` puts shard numbers into what stands before and behind it.
    """
    before, letter, after = re.split("([WV])", template, maxsplit=1)
    shown = repr(window)
    if letter == "V" and hasattr(window, "start"):
        start, end = (time.to_utc_datetime().strftime(_UTC) for time in (window.start, window.end))
        shown = f"[{start}, {end})"
    return number(before) + shown + number(after)
