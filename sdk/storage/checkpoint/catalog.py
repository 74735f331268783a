"""A store's directory as it lies on the disk, and finding checkpoints in it.

LOCK        held by the process that writes to the store
manifests/  checkpoint-<number>.manifest, savepoint-<name>.manifest; *.tmp: being written; *.corrupt: set aside
state/      <checkpoint>-<token of the opening>-<writer>-<n>.state
"""

from __future__ import annotations

import os
from collections.abc import Iterable, Mapping

import attrs

from hornbeam.storage.checkpoint.manifest import CORRUPT_SUFFIX, Manifest, is_manifest_name
from hornbeam.storage.checkpoint.snapshot import Snapshot
from hornbeam.storage.errors import CorruptionError, MissingFileError, StorageError
from hornbeam.storage.files import OS_FILES, Files

_ATTEMPTS = 10


class NoSuchCheckpointError(StorageError):
    """The store holds no checkpoint or savepoint of that name, or none at all."""


@attrs.frozen
class Layout:
    """Where the parts of a store are."""

    directory: str

    @property
    def lock(self) -> str:
        """The lock file."""
        return os.path.join(self.directory, "LOCK")

    @property
    def manifests(self) -> str:
        """The directory of the manifests."""
        return os.path.join(self.directory, "manifests")

    @property
    def state(self) -> str:
        """The directory of the state files."""
        return os.path.join(self.directory, "state")

    def manifest_path(self, name: str) -> str:
        """Where a manifest lies."""
        return os.path.join(self.manifests, name)

    def state_path(self, name: str) -> str:
        """Where a state file lies."""
        return os.path.join(self.state, name)


def load_manifests(files: Files, layout: Layout) -> tuple[dict[str, Manifest], dict[str, CorruptionError]]:
    """All manifests by file name, and what is wrong with those that cannot be read."""
    if not files.isdir(layout.manifests):
        raise StorageError(layout.directory, "open", "not a checkpoint store: it has no directory manifests/")
    loaded, broken = {}, {}
    for name in filter(is_manifest_name, files.listdir(layout.manifests)):
        path = layout.manifest_path(name)
        try:
            manifest = Manifest.decode(files.read_bytes(path), path)
            if manifest.file_name != name:
                raise CorruptionError(path, 0, f"is the manifest of {manifest.label} under a wrong name")
            loaded[name] = manifest
        except MissingFileError:
            continue
        except CorruptionError as error:
            broken[name] = error
    return loaded, broken


def set_aside(files: Files, layout: Layout, names: Iterable[str]) -> None:
    """Rename manifests so that no one takes them for valid; durable on return."""
    for name in names:
        files.rename(layout.manifest_path(name), layout.manifest_path(name + CORRUPT_SUFFIX))
    files.sync_dir(layout.manifests)


def checkpoints_in(manifests: Mapping[str, Manifest]) -> list[Manifest]:
    """The checkpoints among manifests, oldest first."""
    return sorted((m for m in manifests.values() if m.savepoint is None), key=lambda m: m.checkpoint)


def savepoints_in(manifests: Mapping[str, Manifest]) -> list[Manifest]:
    """The savepoints among manifests, by name."""
    return sorted((m for m in manifests.values() if m.savepoint is not None), key=lambda m: m.file_name)


def find(manifests: Mapping[str, Manifest], which: int | str | None, directory: str) -> Manifest:
    """The checkpoint of a number, the savepoint of a name, or (None) the newest checkpoint."""
    checkpoints = checkpoints_in(manifests)
    if which is None:
        if checkpoints:
            return checkpoints[-1]
        raise NoSuchCheckpointError(directory, "restore", "the store has no checkpoint yet")
    for manifest in manifests.values():
        if manifest.savepoint == which or (manifest.savepoint is None and manifest.checkpoint == which):
            return manifest
    kind = "checkpoint" if isinstance(which, int) else "savepoint"
    there = ", ".join(m.label for m in [*checkpoints, *savepoints_in(manifests)]) or "nothing"
    raise NoSuchCheckpointError(directory, "restore", f"there is no {kind} {which!r}; there is: {there}")


def refuse_broken(broken: Mapping[str, CorruptionError], directory: str) -> None:
    """Raise the first of the errors, with what to do about it."""
    for error in broken.values():
        hint = f"`hornbeam checkpoint verify --repair {directory}` sets it aside"
        raise CorruptionError(error.path, error.offset, f"{error.reason}; {hint}") from error


class StoreReader:
    """A store opened for reading only, beside its writer or offline. Every call looks at the directory anew."""

    def __init__(self, directory: str | os.PathLike[str], *, files: Files | None = None) -> None:
        self.layout = Layout(os.fspath(directory))
        self._files = files or OS_FILES
        self._manifests()

    def checkpoints(self) -> list[Manifest]:
        """The committed checkpoints, oldest first."""
        return checkpoints_in(self._manifests())

    def savepoints(self) -> list[Manifest]:
        """The savepoints, by name."""
        return savepoints_in(self._manifests())

    def snapshot(self, which: int | str | None = None, groups: range | None = None) -> Snapshot:
        """Open a checkpoint (number), savepoint (name) or the newest checkpoint (None)."""
        for _ in range(_ATTEMPTS):
            manifest = find(self._manifests(), which, self.layout.directory)
            try:
                return Snapshot(self._files, self.layout.state, manifest, groups)
            except MissingFileError as error:
                missing = error
                if self._manifests().get(manifest.file_name) == manifest:
                    raise CorruptionError(
                        error.path, 0, f"file is missing, though {manifest.label} needs it"
                    ) from error
        raise missing

    def _manifests(self) -> dict[str, Manifest]:
        loaded, broken = load_manifests(self._files, self.layout)
        refuse_broken(broken, self.layout.directory)
        return loaded
