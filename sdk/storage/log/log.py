"""The log: a directory of topics, open in this process.

<directory>/format.json     what made it
<directory>/open.lock       held shared by every process that has the log open
<directory>/shared          shared words: session, bell
<directory>/topics/<name>/  topic.json, state (shared words), lock files, one directory a partition
<directory>/groups/<name>/  members of a consumer group
"""

from __future__ import annotations

import os
import re
import threading
import uuid
from collections.abc import Callable
from types import TracebackType
from typing import Any, TypeVar

from hornbeam.storage.errors import LockTimeoutError, MissingFileError, StorageError
from hornbeam.storage.files import OS_FILES, Files
from hornbeam.storage.log.bell import EVERY_TOPIC, Bell
from hornbeam.storage.log.compaction import CompactionResult, compact
from hornbeam.storage.log.errors import (
    ClosedError,
    FormatVersionError,
    InvalidSettingError,
    LogError,
    TopicDeletedError,
    TopicExistsError,
    UnknownTopicError,
)
from hornbeam.storage.log.open_files import OpenFiles
from hornbeam.storage.log.partition import Partition, now_micros
from hornbeam.storage.log.retention import apply_retention
from hornbeam.storage.log.sealed_json import seal, unseal
from hornbeam.storage.log.settings import TopicSettings
from hornbeam.storage.log.shared_words import LOG_SESSION, LOG_SYNC_BELL, SHARED_BYTES
from hornbeam.storage.log.topic import TOPIC_FILE, Topic, TopicDescription

LOG_FORMAT = 1
COMPACT_AT_SEGMENTS = 4
T = TypeVar("T")
_NAME = re.compile(r"[A-Za-z0-9_][A-Za-z0-9._-]{0,199}")


class Log:
    """An open log. Threads may share it; a forked child opens its own. Pickles as its directory."""

    def __init__(
        self,
        directory: str | os.PathLike[str],
        *,
        files: Files = OS_FILES,
        max_open_files: int = 256,
        clock: Callable[[], int] = now_micros,
    ) -> None:
        self.directory = os.path.abspath(os.fspath(directory))
        self.files = files
        self.clock = clock
        self.open_files = OpenFiles(files, max_open_files)
        self._topics_directory = os.path.join(self.directory, "topics")
        self._topics: dict[str, Topic] = {}
        self._lock = threading.RLock()
        self._closed = False
        self._companions: dict[Any, Any] = {}
        self._cleaner: threading.Thread | None = None
        self.cleaning_error: Exception | None = None
        files.mkdir(self._topics_directory)
        self._check_format()
        self._words = (
            files.map_shared(os.path.join(self.directory, "shared"), SHARED_BYTES).cast("B").cast("Q")
        )
        self.bell = Bell(self._words)
        self.sync_bell = Bell(self._words, LOG_SYNC_BELL)
        self._join_session()

    def __reduce__(self) -> tuple[Any, ...]:
        return (Log, (self.directory,))

    def __repr__(self) -> str:
        return f"<Log {self.directory!r}>"

    def __enter__(self) -> Log:
        return self

    def __exit__(
        self, kind: type[BaseException] | None, error: BaseException | None, trace: TracebackType | None
    ) -> None:
        self.close()

    # Topics

    def topics(self, internal: bool = False) -> list[str]:
        """Names of the topics, sorted; the log's own (they begin with two underscores) only when asked."""
        names = self.files.listdir(self._topics_directory)
        return [name for name in names if _NAME.fullmatch(name) and (internal or not name.startswith("__"))]

    def create_topic(
        self, name: str, partitions: int = 1, settings: TopicSettings | None = None, **changes: Any
    ) -> Topic:
        """Make a topic. Settings come as a value, or by name; TopicExistsError if the name is taken."""
        if not _NAME.fullmatch(name):
            raise InvalidSettingError(
                f"topic name {name!r}: use up to 200 letters, digits, '.', '_', '-', not beginning with '.' or '-'"
            )
        if not isinstance(partitions, int) or not 1 <= partitions <= 1_000_000:
            raise InvalidSettingError(f"partitions must be a number from 1 to 1000000, not {partitions!r}")
        settings = (settings or TopicSettings()).with_changes(changes)
        path = os.path.join(self._topics_directory, name)
        with self._topics_lock():
            if self.files.exists(path):
                raise TopicExistsError(f"topic {name!r} exists already in {self.directory}")
            uid = uuid.uuid4().hex
            fresh = os.path.join(self._topics_directory, f".new-{uid}")
            self.files.mkdir(fresh)
            description = TopicDescription(name, uid, partitions, settings, self.clock())
            self.files.write_atomic(os.path.join(fresh, TOPIC_FILE), description.encode())
            self.files.rename(fresh, path)
            self.files.sync_dir(self._topics_directory)
        return self.topic(name)

    def ensure_topic(self, name: str, partitions: int = 1, **changes: Any) -> Topic:
        """The topic, made if it does not exist."""
        try:
            return self.topic(name)
        except UnknownTopicError:
            try:
                return self.create_topic(name, partitions, **changes)
            except TopicExistsError:
                return self.topic(name)

    def topic(self, name: str) -> Topic:
        """An existing topic; UnknownTopicError if there is none."""
        if self._closed:
            raise ClosedError(f"{self!r} was closed")
        found = self._topics.get(name)
        if found is not None:
            try:
                found.refresh()
                return found
            except TopicDeletedError:
                self._topics.pop(name, None)
        with self._lock:
            found = self._topics.get(name)
            if found is None:
                path = os.path.join(self._topics_directory, name)
                try:
                    if not _NAME.fullmatch(name):
                        raise MissingFileError(path, "open", "not a topic name")
                    found = Topic(self, path)
                except MissingFileError as error:
                    raise UnknownTopicError(
                        f"no topic {name!r} in {self.directory}; topics: {', '.join(self.topics()) or 'none'}"
                    ) from error
                self._topics[name] = found
            return found

    def partition(self, topic: str, number: int) -> Partition:
        """A partition of a topic."""
        return self.topic(topic).partition(number)

    def alter_topic(self, name: str, partitions: int | None = None, **changes: Any) -> Topic:
        """Change settings, or add partitions (never fewer; keys may then hash to other partitions)."""
        topic = self.topic(name)
        with self._topics_lock():
            topic.refresh()
            old = topic.description
            count = old.partitions if partitions is None else partitions
            if count < old.partitions:
                raise InvalidSettingError(
                    f"topic {name!r} has {old.partitions} partitions; there cannot be fewer"
                )
            new = TopicDescription(name, old.uid, count, old.settings.with_changes(changes), old.created)
            self.files.write_atomic(os.path.join(topic.directory, TOPIC_FILE), new.encode())
            topic.mark_changed()
        return self.topic(name)

    def delete_topic(self, name: str) -> None:
        """Remove a topic with all records. Who uses it gets TopicDeletedError."""
        topic = self.topic(name)
        with self._topics_lock():
            topic.refresh()
            topic.mark_deleted()
            gone = os.path.join(self._topics_directory, f".deleted-{topic.description.uid}")
            self.files.rename(topic.directory, gone)
            self.files.sync_dir(self._topics_directory)
            self._topics.pop(name, None)
            self.open_files.clear()
            self._remove_tree(gone)
        self.bell.ring(EVERY_TOPIC)

    # For the other modules of this package

    def after_roll(self, partition: Partition) -> None:
        """What is done each time a segment is sealed: retention at once, compaction in the background."""
        if partition.settings.deletes:
            apply_retention(partition)
        if partition.settings.compacted and len(partition.view.bases) > COMPACT_AT_SEGMENTS:
            with self._lock:
                if self._cleaner is None or not self._cleaner.is_alive():
                    self._cleaner = threading.Thread(
                        target=self._compact_quietly,
                        args=(partition,),
                        name="hornbeam-compaction",
                        daemon=True,
                    )
                    self._cleaner.start()

    def compact(self, topic: str, number: int | None = None) -> list[CompactionResult]:
        """Compact a topic's partitions (or one) now; what was done."""
        found = self.topic(topic)
        if not found.settings.compacted:
            raise InvalidSettingError(
                f"topic {topic!r} has cleanup={found.settings.cleanup!r}, not 'compact'"
            )
        partitions = found.partitions() if number is None else [found.partition(number)]
        return [result for partition in partitions if (result := compact(partition, wait=True)) is not None]

    def apply_retention(self, topic: str) -> int:
        """Drop what a topic's settings no longer keep, without waiting for the next segment; segments dropped."""
        return sum(apply_retention(partition) for partition in self.topic(topic).partitions())

    def _compact_quietly(self, partition: Partition) -> None:
        """In the background: a failure leaves everything as it is; the next pass tries again."""
        try:
            compact(partition)
        except (StorageError, LogError) as error:
            self.cleaning_error = error

    def companion(self, kind: Callable[[Log], T]) -> T:
        """The one object of that class that belongs to this log in this process."""
        with self._lock:
            found = self._companions.get(kind)
            if found is None:
                found = self._companions[kind] = kind(self)
            return found

    def lock_path(self, name: str) -> str:
        """A lock file of the log's own."""
        return os.path.join(self.directory, f"{name}.lock")

    def close(self) -> None:
        """Sync and close everything; other processes are not disturbed."""
        if self._closed:
            return
        if self._cleaner is not None:
            self._cleaner.join()
        errors = []
        try:
            for topic in list(self._topics.values()):
                try:
                    if not topic.is_deleted:
                        topic.close()
                except (StorageError, LogError) as error:
                    errors.append(error)
        finally:
            self._closed = True
            self.open_files.clear()
            self._open_lock.release()
        if errors:
            raise errors[0]

    def _join_session(self) -> None:
        """Begin a session if nobody has the log open, else join the one that runs."""
        path = os.path.join(self.directory, "open.lock")
        while True:
            try:
                with self.files.lock(path, exclusive=True, timeout=0):
                    self._words[LOG_SESSION] = int.from_bytes(os.urandom(7), "little") | 1
                    self._remove_half_made()
            except LockTimeoutError:
                pass
            self._open_lock = self.files.lock(path, exclusive=False)
            self.session = int(self._words[LOG_SESSION])
            if self.session:
                return
            self._open_lock.release()

    def _check_format(self) -> None:
        path = os.path.join(self.directory, "format.json")
        if not self.files.exists(path):
            with self._topics_lock():
                if not self.files.exists(path):
                    self.files.write_atomic(path, seal({"kind": "hornbeam log", "format": LOG_FORMAT}))
        found = unseal(path, self.files.read_bytes(path))
        if found.get("kind") != "hornbeam log" or found.get("format") != LOG_FORMAT:
            raise FormatVersionError(f"{path}: {found}; this version reads log format {LOG_FORMAT}")

    def _topics_lock(self) -> Any:
        return self.files.lock(os.path.join(self.directory, "topics.lock"))

    def _remove_half_made(self) -> None:
        for name in self.files.listdir(self._topics_directory):
            if name.startswith((".new-", ".deleted-")):
                self._remove_tree(os.path.join(self._topics_directory, name))

    def _remove_tree(self, path: str) -> None:
        for name in self.files.listdir(path):
            inner = os.path.join(path, name)
            if self.files.isdir(inner):
                self._remove_tree(inner)
            else:
                self.files.unlink(inner)
        self.files.rmdir(path)
