"""Dropping old segments, by age since they were appended and by size. The active segment is never dropped.

Readers that hold a dropped segment open finish it; the next read finds the offset out of range.
"""

from __future__ import annotations

import os
from itertools import pairwise

from hornbeam.storage.errors import MissingFileError
from hornbeam.storage.log import shared_words as words_of
from hornbeam.storage.log.partition import Partition
from hornbeam.storage.log.segment import index_path, segment_path


def apply_retention(partition: Partition) -> int:
    """Drop what the topic's settings no longer keep; how many segments. Nothing above the last stable offset."""
    with partition.section():
        index, keep_ms = partition.view.index, partition.settings.retention_ms
        before = len(partition.view.bases)
        if keep_ms is not None and index.records and _age_ms(partition, index.last_append_time) > keep_ms:
            before += 1
            partition.roll()  # so that it can go too; comes back here
        doomed = _expired(partition)
        for base in doomed:
            drop_first_segment(partition, base)
        return before - len(partition.view.bases)


def drop_first_segment(partition: Partition, base: int) -> None:
    """Remove the oldest segment, which is not the active one. The caller holds the section."""
    words, view, files = partition.words, partition.view, partition.files
    following = view.following(base)
    assert following is not None and view.bases[0] == base
    words[words_of.BUSY] = os.getpid()
    words[words_of.LOG_START_OFFSET] = max(words[words_of.LOG_START_OFFSET], following)
    files.unlink(segment_path(partition.directory, base))
    try:
        files.unlink(index_path(partition.directory, base))
    except MissingFileError:
        pass
    files.sync_dir(partition.directory)
    view.bases.remove(base)
    words[words_of.GENERATION] += 2
    view.generation = words[words_of.GENERATION]
    words[words_of.BUSY] = 0


def _age_ms(partition: Partition, appended: int) -> float:
    return (partition.clock() - appended) / 1000


def _expired(partition: Partition) -> list[int]:
    view, settings, words = partition.view, partition.settings, partition.words
    if (
        settings.retention_ms is None
        and settings.retention_bytes is None
        and not words[words_of.LOG_START_OFFSET]
    ):
        return []
    sizes = {base: partition.files.size(segment_path(partition.directory, base)) for base in view.bases}
    total = sum(sizes.values())
    doomed: list[int] = []
    for base, following in pairwise(view.bases):
        if following > words[words_of.LAST_STABLE_OFFSET]:
            break
        too_much = settings.retention_bytes is not None and total > settings.retention_bytes
        deleted = following <= words[words_of.LOG_START_OFFSET]
        too_old = (
            settings.retention_ms is not None
            and _age_ms(partition, view.sealed(base)[0].last_append_time) > settings.retention_ms
        )
        if not (too_old or too_much or deleted):
            break
        doomed.append(base)
        total -= sizes[base]
    return doomed
