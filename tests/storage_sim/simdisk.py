"""A disk in memory that forgets, reorders and tears what was not synced, and fails when told to.

What it keeps apart, for file contents and for directory entries: what processes see now (the page cache), and
what would be there after the machine went down. `SimDisk.after_crash(seed)` makes one of the disks that could
be found then; another seed gives another, so one moment yields many outcomes without a rerun. `on_call` is
called before every operation, so one run of a workload visits every crash point.

The rules, hostile where POSIX allows it:

* a page (`page_size`) that was written since the last sync of its file is found old, new, or torn by sectors;
  a file that grew is found with any size in between, with zeros or garbage where data was lost;
* of the directory operations not yet covered by a `sync_dir`, either a prefix or any subset took effect;
  syncing a file does not make its name durable; a rename is atomic;
* after a failed sync some dirty pages are on the disk and some are dropped, all are clean, and a later sync
  does not write them (Linux); reads may show the new bytes or the old ones;
* a write that fails has written a random part.
"""

from __future__ import annotations

import errno
import random
import threading
from collections.abc import Callable, Iterator

import attrs

READ_ONLY_CALLS = frozenset({"open", "pread", "listdir", "map_read", "lock"})

_ELIGIBLE: dict[int, frozenset[str]] = {
    errno.ENOSPC: frozenset({"create", "write", "sync", "rename", "mkdir", "sync_dir"}),
    errno.EMFILE: frozenset({"open", "create", "listdir", "sync_dir", "map_read", "map_shared", "lock"}),
}


class SimCrash(BaseException):
    """The simulated machine went down in the middle of a call; no code of the process runs on."""


@attrs.define(eq=False)
class FileNode:
    """One file's content as seen now and as it is on the disk, and the pages not yet written back."""

    content: bytearray = attrs.Factory(bytearray)
    durable: bytearray = attrs.Factory(bytearray)
    dirty: set[int] = attrs.Factory(set)
    size_low: int = 0
    size_high: int = 0
    shared: bytearray | None = None

    def append(self, data: bytes, page_size: int) -> None:
        start = len(self.content)
        self.content += data
        self.dirty.update(range(start // page_size, (len(self.content) - 1) // page_size + 1))
        self.size_high = max(self.size_high, len(self.content))

    def truncate(self, n: int, page_size: int) -> None:
        old = len(self.content)
        if n > old:
            self.content.extend(bytes(n - old))
        else:
            del self.content[n:]
        self.dirty.update(range(min(n, old) // page_size, max(n, old) // page_size + 1))
        self.size_low, self.size_high = min(self.size_low, n), max(self.size_high, n)

    def write_back(self, pages: set[int], size: int, page_size: int) -> None:
        """Put these pages and this size on the disk."""
        if len(self.durable) > size:
            del self.durable[size:]
        else:
            self.durable.extend(bytes(size - len(self.durable)))
        for page in pages:
            start, end = page * page_size, min((page + 1) * page_size, size)
            if start < end:
                part = self.content[start:end]
                self.durable[start : start + len(part)] = part

    def sync(self, page_size: int) -> None:
        self.write_back(self.dirty, len(self.content), page_size)
        self.dirty.clear()
        self.size_low = self.size_high = len(self.content)

    def fail_sync(self, rng: random.Random, page_size: int) -> None:
        """Write some dirty pages, drop the others, call all of them clean."""
        dropped = {page for page in self.dirty if rng.random() < 0.7}
        size = rng.choice([len(self.durable), len(self.content)])
        self.write_back(self.dirty - dropped, size, page_size)
        if rng.random() < 0.5:
            for page in dropped:
                self._forget(page, page_size)
        self.dirty.clear()

    def after_crash(self, rng: random.Random, mode: str, page_size: int) -> bytearray:
        """One content that the disk may hold after a crash now."""
        if self.shared is not None:
            return self._shared_after_crash(rng, mode, page_size)
        if mode == "lose_all":
            return bytearray(self.durable)
        if mode == "keep_all":
            clone = FileNode(bytearray(self.content), bytearray(self.durable), set(self.dirty))
            clone.sync(page_size)
            return clone.durable
        if not self.dirty and self.size_low == self.size_high:
            return bytearray(self.durable)
        low = min(self.size_low, len(self.durable))
        high = max(self.size_high, len(self.durable))
        size = rng.choice([len(self.durable), len(self.content), rng.randint(low, high)])
        found = bytearray(self.durable[:size])
        grown = size - len(found)
        found += rng.randbytes(grown) if rng.random() < 0.25 else bytes(grown)
        for page in sorted(self.dirty):
            fate = rng.random()
            if fate < 0.4:
                continue
            step = page_size if fate < 0.8 else max(1, page_size // 8)
            for start in range(page * page_size, (page + 1) * page_size, step):
                if step == page_size or rng.random() < 0.5:
                    part = self.content[start : min(start + step, size)]
                    found[start : start + len(part)] = part
        return found[:size]

    def share(self, size: int) -> bytearray:
        """The memory of a writable shared map; nothing in it is ever synced."""
        if self.shared is None:
            self.shared = self.content + bytes(max(0, size - len(self.content)))
        assert size <= len(self.shared), "a simulated shared map cannot grow"
        return self.shared

    def _shared_after_crash(self, rng: random.Random, mode: str, page_size: int) -> bytearray:
        assert self.shared is not None
        size = len(self.shared)
        found = bytearray(self.durable[:size])
        found.extend(bytes(size - len(found)))
        for start in range(0, size, page_size) if mode != "lose_all" else ():
            end = min(start + page_size, size)
            if mode == "keep_all" or rng.random() < 0.5:
                found[start:end] = self.shared[start:end]
            elif rng.random() < 0.2:
                found[start:end] = rng.randbytes(end - start)
        return found

    def _forget(self, page: int, page_size: int) -> None:
        start, end = page * page_size, min((page + 1) * page_size, len(self.content))
        if start < end:
            old = bytes(self.durable[start:end])
            self.content[start:end] = old + bytes(end - start - len(old))


@attrs.define(eq=False)
class DirNode:
    """One directory's entries as seen now and as they are on the disk."""

    entries: dict[str, FileNode | DirNode] = attrs.Factory(dict)
    durable: dict[str, FileNode | DirNode] = attrs.Factory(dict)


@attrs.frozen(eq=False)
class EntryChange:
    """A directory operation that is not durable yet: its (directory, name, node or None) parts are atomic."""

    parts: tuple[tuple[DirNode, str, FileNode | DirNode | None], ...]

    def touches(self, directory: DirNode) -> bool:
        return any(part[0] is directory for part in self.parts)


@attrs.define
class Failure:
    """Fail the `at`-th call (of those that can fail so), or with `sticky` that one and all that follow."""

    number: int
    at: int
    sticky: bool = False
    operations: frozenset[str] | None = None
    seen: int = 0
    fired: int = 0

    def strikes(self, operation: str) -> bool:
        eligible = self.operations or _ELIGIBLE.get(self.number)
        if eligible is not None and operation not in eligible:
            return False
        self.seen += 1
        strikes = self.seen == self.at or (self.sticky and self.seen > self.at)
        self.fired += strikes
        return strikes


class SimDisk:
    """The state of the disk; processes reach it through `SimFiles` (`simfiles.py`)."""

    def __init__(self, seed: int = 0, page_size: int = 4096) -> None:
        self.seed = seed
        self.page_size = page_size
        self.rng = random.Random(seed)
        self.root = DirNode()
        self.journal: list[EntryChange] = []
        self.calls = 0
        self.crash_at: int | None = None
        self.down = False
        self.failure: Failure | None = None
        self.on_call: Callable[[str, str], None] | None = None
        self.mutex = threading.RLock()
        self.lock_released = threading.Condition(self.mutex)
        self.locks: dict[str, list[tuple[object, bool]]] = {}

    def fail(
        self, at: int, number: int, sticky: bool = False, operations: frozenset[str] | None = None
    ) -> Failure:
        """From now, fail the at-th call with this errno: those calls that can (`operations` to say which)."""
        self.failure = Failure(number, at, sticky, operations)
        return self.failure

    def enter(self, operation: str, path: str) -> None:
        """Count a call; crash or raise OSError if it is the one."""
        if self.down:
            raise SimCrash
        self.calls += 1
        if self.on_call is not None:
            observer, self.on_call = self.on_call, None
            try:
                observer(operation, path)
            finally:
                self.on_call = observer
        if self.crash_at is not None and self.calls >= self.crash_at:
            self.down = True
            raise SimCrash(f"at call {self.calls}, {operation} {path}")
        if self.failure is not None and self.failure.strikes(operation):
            raise OSError(self.failure.number, "simulated")

    def change(self, *parts: tuple[DirNode, str, FileNode | DirNode | None]) -> None:
        """Do a directory operation now; it is durable after sync_dir of a directory it touches."""
        _apply(parts, lambda directory: directory.entries)
        self.journal.append(EntryChange(parts))

    def sync_dir(self, directory: DirNode) -> None:
        kept = []
        for change in self.journal:
            if change.touches(directory):
                _apply(change.parts, lambda node: node.durable)
            else:
                kept.append(change)
        self.journal = kept

    def after_crash(self, seed: int, mode: str | None = None) -> SimDisk:
        """A disk that may be found after the machine goes down now.

        `mode` "lose_all": nothing unsynced survived; "keep_all": everything did; "mixed": seeded choices. By
        default the seed picks the mode too. This disk is left as it is.
        """
        rng = random.Random(f"{self.seed}/{self.calls}/{seed}")
        chosen = mode or rng.choice(["lose_all", "keep_all", "mixed", "mixed", "mixed"])
        durable: dict[int, dict[str, FileNode | DirNode]] = {}

        def entries_of(directory: DirNode) -> dict[str, FileNode | DirNode]:
            return durable.setdefault(id(directory), dict(directory.durable))

        for change in self._surviving_changes(rng, chosen):
            _apply(change.parts, entries_of)
        nodes: dict[int, FileNode] = {}

        def found(directory: DirNode) -> DirNode:
            copy = DirNode()
            for name, node in sorted(entries_of(directory).items()):
                if isinstance(node, DirNode):
                    copy.entries[name] = found(node)
                    continue
                if id(node) not in nodes:
                    content = node.after_crash(rng, chosen, self.page_size)
                    nodes[id(node)] = FileNode(content, bytearray(content), set(), len(content), len(content))
                copy.entries[name] = nodes[id(node)]
            copy.durable = dict(copy.entries)
            return copy

        disk = SimDisk(seed=rng.randrange(2**32), page_size=self.page_size)
        disk.root = found(self.root)
        return disk

    def _surviving_changes(self, rng: random.Random, mode: str) -> list[EntryChange]:
        if mode == "lose_all":
            return []
        if mode == "keep_all":
            return self.journal
        if rng.random() < 0.5:
            return self.journal[: rng.randint(0, len(self.journal))]
        return [change for change in self.journal if rng.random() < 0.5]

    def find(self, path: str) -> FileNode | DirNode | None:
        """The node that a path names now."""
        node: FileNode | DirNode | None = self.root
        for name in path.strip("/").split("/"):
            if not name:
                continue
            if not isinstance(node, DirNode):
                return None
            node = node.entries.get(name)
        return node

    def paths(self) -> Iterator[tuple[str, FileNode]]:
        """All files by path, sorted."""

        def walk(prefix: str, directory: DirNode) -> Iterator[tuple[str, FileNode]]:
            for name, node in sorted(directory.entries.items()):
                if isinstance(node, DirNode):
                    yield from walk(f"{prefix}/{name}", node)
                else:
                    yield f"{prefix}/{name}", node

        return walk("", self.root)

    def damage(self, path: str, offset: int, mask: int = 1) -> None:
        """Flip bits of one byte, on the disk and as seen."""
        node = self.find(path)
        assert isinstance(node, FileNode), path
        node.content[offset] ^= mask
        node.durable[offset] ^= mask

    def cut(self, path: str, size: int) -> None:
        """Truncate a file behind everybody's back."""
        node = self.find(path)
        assert isinstance(node, FileNode), path
        del node.content[size:]
        del node.durable[size:]
        node.size_low = node.size_high = size


def _apply(
    parts: tuple[tuple[DirNode, str, FileNode | DirNode | None], ...],
    entries_of: Callable[[DirNode], dict[str, FileNode | DirNode]],
) -> None:
    for directory, name, node in parts:
        if node is None:
            entries_of(directory).pop(name, None)
        else:
            entries_of(directory)[name] = node
