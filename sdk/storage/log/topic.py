"""A topic: its description on disk, and its partitions as this process has them open."""

from __future__ import annotations

import os
import threading
from typing import TYPE_CHECKING

import attrs

from hornbeam.storage.errors import StorageError
from hornbeam.storage.log import shared_words as words_of
from hornbeam.storage.log.errors import (
    FormatVersionError,
    LogError,
    TopicDeletedError,
    UnknownPartitionError,
)
from hornbeam.storage.log.partition import Partition
from hornbeam.storage.log.sealed_json import seal, unseal
from hornbeam.storage.log.settings import TopicSettings
from hornbeam.storage.log.shared_words import SLOT_BYTES, SlotWords

if TYPE_CHECKING:
    from hornbeam.storage.log.log import Log

TOPIC_FILE = "topic.json"
STATE_FILE = "state"
TOPIC_FORMAT = 1
VERSION_WORD = 0  # of slot 0: counts changes of the description
GONE_WORD = 1  # of slot 0: IS_DELETED once the topic was deleted


@attrs.frozen
class TopicDescription:
    """What topic.json says."""

    name: str
    uid: str
    partitions: int
    settings: TopicSettings
    created: int

    def encode(self) -> bytes:
        """The file's bytes."""
        fields = attrs.asdict(self, recurse=False) | {
            "settings": self.settings.to_json(),
            "format": TOPIC_FORMAT,
        }
        return seal(fields)

    @classmethod
    def decode(cls, path: str, data: bytes) -> TopicDescription:
        """Inverse of `encode`."""
        fields = unseal(path, data)
        if fields.pop("format") != TOPIC_FORMAT:
            raise FormatVersionError(f"{path}: topic format is not {TOPIC_FORMAT}")
        return cls(**(fields | {"settings": TopicSettings.from_json(fields["settings"])}))


class Topic:
    """A topic of an open log. Threads may share it."""

    def __init__(self, log: Log, directory: str) -> None:
        self._log = log
        self.directory = directory
        self._lock = threading.RLock()
        self._partitions: dict[int, Partition] = {}
        self._durable = False
        self._load()

    def __repr__(self) -> str:
        return f"<Topic {self.name!r} with {self.partition_count} partitions>"

    @property
    def name(self) -> str:
        """The topic's name."""
        return self.description.name

    @property
    def settings(self) -> TopicSettings:
        """Its settings."""
        return self.description.settings

    @property
    def partition_count(self) -> int:
        """How many partitions it has."""
        return self.description.partitions

    @property
    def is_deleted(self) -> bool:
        """Whether somebody deleted it."""
        return bool(self._words[GONE_WORD] == words_of.IS_DELETED)

    def partition(self, number: int) -> Partition:
        """One of its partitions; opened when first used."""
        found = self._partitions.get(number)
        if found is not None:
            return found
        if not 0 <= number < self.partition_count:
            self.refresh()
            if not 0 <= number < self.partition_count:
                raise UnknownPartitionError(
                    f"topic {self.name!r} has partitions 0 to {self.partition_count - 1}, not {number}"
                )
        with self._lock:
            found = self._partitions.get(number)
            if found is None:
                found = self._partitions[number] = self._open(number)
            return found

    def partitions(self) -> list[Partition]:
        """All partitions."""
        return [self.partition(number) for number in range(self.partition_count)]

    def refresh(self) -> None:
        """Reread the description if it was changed by anyone."""
        if self.is_deleted:
            raise TopicDeletedError(f"topic {self.name!r} was deleted")
        if self._words[VERSION_WORD] != self._version:
            with self._lock:
                self._load()
                for partition in self._partitions.values():
                    partition.settings = self.settings

    def mark_changed(self) -> None:
        """Tell all processes that the description changed."""
        self._words[VERSION_WORD] += 1

    def mark_deleted(self) -> None:
        """Stop all users in all processes; the caller removes the files after."""
        for partition in self.partitions():
            with partition.section():
                partition.words[words_of.DELETED] = words_of.IS_DELETED
        self._words[GONE_WORD] = words_of.IS_DELETED

    def close(self) -> None:
        """Close the partitions: all of them, even if one cannot be synced. Raises the first error."""
        errors = []
        with self._lock:
            for partition in self._partitions.values():
                try:
                    partition.close()
                except (StorageError, LogError) as error:
                    errors.append(error)
        if errors:
            raise errors[0]

    def _make_durable(self) -> None:
        """Before the first records of a partition: the names on the way to it are on the disk, even if an fsync
        failed when they were made."""
        self._log.files.sync_dir(self.directory)
        if not self._durable:
            above = os.path.dirname(self.directory)
            for directory in (above, os.path.dirname(above)):
                self._log.files.sync_dir(directory)
            self._durable = True

    def _load(self) -> None:
        path = os.path.join(self.directory, TOPIC_FILE)
        files = self._log.files
        self.description = TopicDescription.decode(path, files.read_bytes(path))
        size = (self.description.partitions + 1) * SLOT_BYTES
        self._words = files.map_shared(os.path.join(self.directory, STATE_FILE), size).cast("B").cast("Q")
        self._version = self._words[VERSION_WORD]

    def _open(self, number: int) -> Partition:
        log = self._log
        partition = Partition(
            log.files,
            log.open_files,
            self.name,
            self.description.uid,
            number,
            self.directory,
            self.settings,
            SlotWords(self._words, number + 1),
            log.session,
            log.bell,
            log.sync_bell,
            log.clock,
        )
        partition.after_roll = log.after_roll
        partition.make_durable = self._make_durable
        return partition
