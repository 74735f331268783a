"""How `WriteToFiles` names its files: a naming is called for each file and returns its name, without directory.

It gets (window, pane, shard_index, total_shards, compression, destination).
"""

from __future__ import annotations

from collections.abc import Callable
from typing import Any

from hornbeam.io.compression import ending_of
from hornbeam.transforms.window import BoundedWindow, GlobalWindow

__all__ = [
    "FileNaming",
    "default_file_naming",
    "destination_prefix_naming",
    "prefix_naming",
    "single_file_naming",
]

FileNaming = Callable[[BoundedWindow, Any, int | None, int | None, str | None, Any], str]


def _name(
    window: BoundedWindow,
    pane: Any,
    shard_index: int | None,
    total_shards: int | None,
    compression: str | None,
    prefix: str,
    suffix: str | None,
) -> str:
    """`prefix-start-end-00000-of-00001suffix.gz`, without the parts that do not apply; panes but the first say so."""
    parts = [prefix]
    if window != GlobalWindow():
        parts += [window.start.to_utc_datetime().isoformat(), window.end.to_utc_datetime().isoformat()]
    if shard_index is not None and total_shards is not None:
        parts.append(f"{shard_index:05d}-of-{total_shards:05d}")
    if getattr(pane, "index", 0) > 0:
        parts.append(f"pane-{pane.index}")
    return "-".join(parts) + (suffix or "") + ending_of(compression)


def default_file_naming(prefix: Any, suffix: Any = None) -> FileNaming:
    """Names such as `prefix-2024-01-01T00:00:00-2024-01-01T01:00:00-00000-of-00002.txt`; no times in the global window.

    Prefix and suffix may be ValueProviders.
    """

    def naming(
        window: BoundedWindow,
        pane: Any,
        shard_index: int | None,
        total_shards: int | None,
        compression: str | None,
        destination: Any,
    ) -> str:
        return _name(window, pane, shard_index, total_shards, compression, _value(prefix), _value(suffix))

    return naming


def destination_prefix_naming(suffix: Any = None) -> FileNaming:
    """As `default_file_naming`, with the destination as prefix."""

    def naming(
        window: BoundedWindow,
        pane: Any,
        shard_index: int | None,
        total_shards: int | None,
        compression: str | None,
        destination: Any,
    ) -> str:
        return _name(window, pane, shard_index, total_shards, compression, str(destination), _value(suffix))

    return naming


def prefix_naming(prefix: Any) -> FileNaming:
    """As `default_file_naming`, without a suffix."""
    return default_file_naming(prefix)


def single_file_naming(prefix: Any, suffix: Any = None) -> FileNaming:
    """Names without shards, where there is one file for each destination and window; ValueError for more."""

    def naming(
        window: BoundedWindow,
        pane: Any,
        shard_index: int | None,
        total_shards: int | None,
        compression: str | None,
        destination: Any,
    ) -> str:
        if shard_index not in (0, None) or total_shards not in (1, None):
            raise ValueError(
                f"single_file_naming is for one file, and there are {total_shards}. "
                "Pass shards=1 and max_writers_per_bundle=0 to WriteToFiles, or use default_file_naming."
            )
        return _name(window, pane, None, None, compression, _value(prefix), _value(suffix))

    return naming


def _value(given: Any) -> Any:
    return given.get() if hasattr(given, "get") else given
