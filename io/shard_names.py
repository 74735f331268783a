"""Names of output files: prefix, shard template, suffix."""

from __future__ import annotations

import re

#: What WriteToText and its kin use unless told otherwise.
DEFAULT_SHARD_NAME_TEMPLATE = "-SSSSS-of-NNNNN"


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
