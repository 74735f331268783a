"""Checking every byte of a store, and repairing what can be repaired without guessing.

Repairs, only when asked: a state file whose blocks are whole gets its header, index, filter, summary and footer back (the
result must have the checksum that the manifests know, so it is byte for byte the old file); manifests that are
damaged, or that need a file which cannot be had, are set aside, so that the store opens with the newest whole
checkpoint. If not one manifest is whole, nothing is set aside.
"""

from __future__ import annotations

import os

import attrs

from hornbeam.storage.checkpoint.block import HEADER_BYTES, read_block, read_header
from hornbeam.storage.checkpoint.catalog import Layout, load_manifests, set_aside
from hornbeam.storage.checkpoint.manifest import Manifest
from hornbeam.storage.checkpoint.state_file import HEADER, StateFile, Tail, bytes_of, encode_header
from hornbeam.storage.checkpoint.writer import parse_file_name
from hornbeam.storage.errors import CorruptionError, MissingFileError, StorageError
from hornbeam.storage.files import OS_FILES, Files, Handle


@attrs.frozen
class Problem:
    """Something wrong at a place. `remedy` says what was done about it, or could be."""

    path: str
    offset: int
    reason: str
    remedy: str = ""

    def __str__(self) -> str:
        return f"{self.path} at byte {self.offset}: {self.reason}" + (
            f" [{self.remedy}]" if self.remedy else ""
        )


@attrs.define
class VerifyReport:
    """What a verification looked at and found."""

    manifests: int = 0
    files: int = 0
    bytes: int = 0
    problems: list[Problem] = attrs.Factory(list)
    orphans: list[str] = attrs.Factory(list)

    @property
    def sound(self) -> bool:
        """Whether nothing is wrong. Orphans (left by a crash, cleared away at the next open) are not wrong."""
        return not self.problems


def verify(directory: str, repair: bool = False, files: Files = OS_FILES) -> VerifyReport:
    """Read and check everything; with `repair` (under the store's lock) mend it as the module says."""
    layout = Layout(os.fspath(directory))
    if not repair:
        return _Verification(files, layout).run(repair=False)
    load_manifests(files, layout)
    with files.lock(layout.lock, timeout=0):
        return _Verification(files, layout).run(repair=True)


class _Verification:
    def __init__(self, files: Files, layout: Layout) -> None:
        self._files = files
        self._layout = layout
        self._report = VerifyReport()

    def run(self, repair: bool) -> VerifyReport:
        manifests, broken = load_manifests(self._files, self._layout)
        self._report.manifests = len(manifests) + len(broken)
        needed = {file.name: file for manifest in manifests.values() for file in manifest.files}
        lost = {name for name, file in sorted(needed.items()) if not self._check_file(file, repair)}
        if lost and not repair:
            manifests, lost = self._without_retired(manifests, lost)
        unusable = {
            name: next(file.name for file in manifest.files if file.name in lost)
            for name, manifest in sorted(manifests.items())
            if any(file.name in lost for file in manifest.files)
        }
        remedy = self._decide(len(manifests) - len(unusable), repair)
        for error in broken.values():
            self._report.problems.append(Problem(error.path, error.offset, error.reason, remedy))
        for name, file_name in unusable.items():
            path, reason = self._layout.manifest_path(name), f"needs the damaged file {file_name}"
            self._report.problems.append(Problem(path, 0, reason, remedy))
        if remedy == "set aside":
            set_aside(self._files, self._layout, [*broken, *unusable])
        self._find_orphans(needed)
        return self._report

    def _decide(self, whole: int, repair: bool) -> str:
        if not repair:
            return "set aside by --repair" if whole else ""
        return "set aside" if whole else "left alone: no other checkpoint is whole"

    def _without_retired(
        self, manifests: dict[str, Manifest], lost: set[str]
    ) -> tuple[dict[str, Manifest], set[str]]:
        """A writer at work may have retired checkpoints meanwhile, with their files: that is no damage."""
        now, _ = load_manifests(self._files, self._layout)
        manifests = {name: manifest for name, manifest in manifests.items() if now.get(name) == manifest}
        needed = {file.name for manifest in now.values() for file in manifest.files}
        retired = {self._layout.state_path(name) for name in lost - needed}
        self._report.problems = [p for p in self._report.problems if p.path not in retired]
        return manifests, lost & needed

    def _check_file(self, file: StateFile, repair: bool) -> bool:
        """Whether the file is whole, perhaps because it was mended."""
        path = self._layout.state_path(file.name)
        self._report.files += 1
        try:
            with self._files.open_read(path) as handle:
                try:
                    self._report.bytes += handle.size()
                    check_state_file(handle, file)
                    return True
                except CorruptionError as error:
                    mended = mend_state_file(handle, file)
                    problem = Problem(path, error.offset, error.reason)
            return self._mend(path, problem, mended, repair)
        except MissingFileError:
            self._report.problems.append(Problem(path, 0, "file is missing"))
        except StorageError as error:
            self._report.problems.append(Problem(path, 0, f"cannot be read: {error.reason}"))
        return False

    def _mend(self, path: str, problem: Problem, mended: bytes | None, repair: bool) -> bool:
        if mended is None:
            self._report.problems.append(problem)
            return False
        remedy = "rebuilt from its blocks" if repair else "--repair rebuilds it from its blocks"
        self._report.problems.append(attrs.evolve(problem, remedy=remedy))
        if repair:
            self._files.write_atomic(path, mended)
        return True

    def _find_orphans(self, needed: dict[str, StateFile]) -> None:
        for name in self._files.listdir(self._layout.state):
            if name not in needed and parse_file_name(name):
                self._report.orphans.append(self._layout.state_path(name))


def check_state_file(handle: Handle, expected: StateFile) -> None:
    """Read a state file from end to end; CorruptionError at the first byte range that is not as written."""
    path = handle.path
    if handle.size() != expected.size:
        at = min(handle.size(), expected.size)
        raise CorruptionError(path, at, f"file has {handle.size()} bytes, expected {expected.size}")
    file_id = bytes.fromhex(expected.file_id)
    if handle.pread(HEADER.size, 0) != encode_header(file_id):
        raise CorruptionError(path, 0, "header is not the one that was written")
    tail, end = _walk_blocks(handle, expected)
    crc, data = tail.encode()
    found = handle.pread(expected.size - end, end)
    if found != data:
        at = next((i for i, (a, b) in enumerate(zip(found, data)) if a != b), min(len(found), len(data)))
        raise CorruptionError(
            path, end + at, "index, filter, summary or footer does not agree with the blocks"
        )
    if crc != expected.footer_crc:
        raise CorruptionError(path, end, f"footer checksum is {crc:08x}, expected {expected.footer_crc:08x}")


def mend_state_file(handle: Handle, expected: StateFile) -> bytes | None:
    """The file as it was when written, if its blocks are whole; else None."""
    try:
        tail, end = _walk_blocks(handle, expected)
    except CorruptionError:
        return None
    crc, data = tail.encode()
    if crc != expected.footer_crc or end + len(data) != expected.size:
        return None
    blocks = handle.pread(end - HEADER.size, HEADER.size)
    return encode_header(bytes.fromhex(expected.file_id)) + blocks + data


def _walk_blocks(handle: Handle, expected: StateFile) -> tuple[Tail, int]:
    """Check all blocks, one after the other until the expected entries are there; the tail that they make."""
    path, offset = handle.path, HEADER.size
    file_id = bytes.fromhex(expected.file_id)
    tail = Tail(file_id)
    while tail.entries < expected.entries:
        header = read_header(handle.pread(HEADER_BYTES, offset), path, offset)
        length = HEADER_BYTES + header.stored
        if offset + length > expected.size or not header.entries:
            raise CorruptionError(path, offset, "block header is damaged")
        data = handle.pread(length, offset)
        _, (keys, values) = read_block(memoryview(data), path, offset, file_id)
        tail.add(keys, values, bytes_of(keys, values), length, header.crc)
        offset += length
    return tail, offset
