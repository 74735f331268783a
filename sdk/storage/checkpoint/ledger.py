"""The manifests of an open store and the files they need: writing, removing and counting, so that no crash and no
failed call can leave a manifest whose files are gone.

Invariants, held at every moment:

* a state file is removed only when no manifest that could be found after a crash lists it: manifests go first,
  then the directory is synced, then the files go;
* a manifest whose writing failed may be on the disk or not: it is *doubtful*, and holds its files, until it has been
  written again or is known to be gone.
"""

from __future__ import annotations

from collections.abc import Iterable

from hornbeam.storage.checkpoint.catalog import Layout, load_manifests, refuse_broken
from hornbeam.storage.checkpoint.manifest import CORRUPT_SUFFIX, SUFFIX, Manifest
from hornbeam.storage.checkpoint.references import References
from hornbeam.storage.checkpoint.state_file import StateFile
from hornbeam.storage.errors import CorruptionError, MissingFileError
from hornbeam.storage.files import TEMPORARY_SUFFIX, Files


class Ledger:
    """What is committed, what must not be removed, what has to be. Used under the store's mutex."""

    def __init__(self, files: Files, layout: Layout) -> None:
        self.manifests: dict[str, Manifest] = {}
        self._files = files
        self._layout = layout
        self._references = References()
        self._doubtful: dict[str, Manifest] = {}
        self._doomed: list[Manifest] = []
        self._swapping: dict[str, Manifest] = {}
        self._garbage: set[str] = set()

    def load(self) -> None:
        """Find what is committed; CorruptionError if any of it is damaged or a file is missing.

        The directory is synced first: a writer may have been killed between renaming a manifest and that.
        """
        self._files.sync_dir(self._layout.manifests)
        self.manifests, broken = load_manifests(self._files, self._layout)
        refuse_broken(broken, self._layout.directory)
        for manifest in self.manifests.values():
            self._references.hold(manifest)
            for file in manifest.files:
                self._check_present(file, manifest)

    def last_number(self) -> int:
        """The largest number that a checkpoint has or had, as far as one can tell."""
        names = self._files.listdir(self._layout.manifests)
        aside = [name[len("checkpoint-") :][:12] for name in names if name.endswith(SUFFIX + CORRUPT_SUFFIX)]
        committed = [manifest.checkpoint for manifest in self.manifests.values()]
        return max([0, *committed, *(int(number) for number in aside if number.isdigit())])

    def needs(self, file_name: str) -> bool:
        """Whether a manifest, be it a doubtful one, refers to the state file."""
        return file_name in self._references

    def write(self, manifest: Manifest) -> None:
        """Commit a new manifest; durable on return. If it raises, the manifest is doubtful: write it again, or
        `settle_doubts`."""
        name, data = manifest.file_name, manifest.encode()
        self._references.hold(manifest)
        before = self._doubtful.get(name)
        if before is not None:
            self._references.release(before)
        self._doubtful[name] = manifest
        self._files.write_atomic(self._layout.manifest_path(name), data)
        self._files.fault("checkpoint.manifest.written")
        del self._doubtful[name]
        self.manifests[name] = manifest

    def replace(self, old: Manifest, new: Manifest) -> None:
        """Swap a manifest for one of the same content in other files. If it raises, either is on the disk, and the
        files of both are kept until `settle_swaps`, or until the manifest is removed."""
        self.settle_swaps()
        self._references.hold(new)
        self._swapping[new.file_name] = new
        self._files.write_atomic(self._layout.manifest_path(new.file_name), new.encode())
        self._files.fault("checkpoint.manifest.replaced")
        del self._swapping[new.file_name]
        self.manifests[new.file_name] = new
        self.discard(self._references.release(old))

    def settle_swaps(self) -> None:
        """Write manifests again whose replacement failed, so that the files of the replacement can go."""
        for name, new in list(self._swapping.items()):
            self._files.write_atomic(self._layout.manifest_path(name), self.manifests[name].encode())
            del self._swapping[name]
            self.discard(self._references.release(new))

    def settle_doubts(self, keep: str | None = None) -> None:
        """Make sure that doubtful manifests, but for the one that is about to be written again, are gone."""
        for name, manifest in list(self._doubtful.items()):
            if name == keep:
                continue
            for left in (name, name + TEMPORARY_SUFFIX):
                self._unlink_if_there(self._layout.manifest_path(left))
            self._files.sync_dir(self._layout.manifests)
            del self._doubtful[name]
            self._references.release(manifest)

    def remove(self, manifest: Manifest) -> None:
        """Take a manifest away; its files stay until `forget_removed`."""
        self._unlink_if_there(self._layout.manifest_path(manifest.file_name))
        del self.manifests[manifest.file_name]
        self._doomed.append(manifest)
        swapping = self._swapping.pop(manifest.file_name, None)
        if swapping is not None:
            self._doomed.append(swapping)

    def forget_removed(self) -> None:
        """Make removals durable; what only removed manifests needed is garbage then."""
        if not self._doomed:
            return
        self._files.sync_dir(self._layout.manifests)
        self._files.fault("checkpoint.manifests.removed")
        while self._doomed:
            self.discard(self._references.release(self._doomed.pop()))

    def discard(self, names: Iterable[str]) -> None:
        """Note state files for removal."""
        self._garbage.update(names)

    def collect(self) -> list[str]:
        """Remove the state files noted, but for those that a manifest needs; the names removed."""
        removed = []
        for name in sorted(self._garbage):
            if not self.needs(name):
                self._unlink_if_there(self._layout.state_path(name))
                removed.append(name)
            self._garbage.discard(name)
        return removed

    def remove_unfinished(self) -> list[str]:
        """Remove manifests that were being written when their writer died; their names."""
        names = [
            name
            for name in self._files.listdir(self._layout.manifests)
            if name.endswith(SUFFIX + TEMPORARY_SUFFIX)
        ]
        for name in names:
            self._unlink_if_there(self._layout.manifest_path(name))
        return names

    def _unlink_if_there(self, path: str) -> None:
        try:
            self._files.unlink(path)
        except MissingFileError:
            pass

    def _check_present(self, file: StateFile, manifest: Manifest) -> None:
        path = self._layout.state_path(file.name)
        try:
            size = self._files.size(path)
        except MissingFileError as error:
            raise CorruptionError(path, 0, f"file is missing, though {manifest.label} needs it") from error
        if size != file.size:
            at = min(size, file.size)
            raise CorruptionError(path, at, f"file has {size} bytes; {manifest.label} expects {file.size}")
