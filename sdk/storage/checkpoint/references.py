"""Counts how many live manifests refer to each state file; a file that none refers to is garbage."""

from __future__ import annotations

from collections import Counter

from hornbeam.storage.checkpoint.manifest import Manifest


class References:
    """Reference counts by state file name."""

    def __init__(self) -> None:
        self._counts: Counter[str] = Counter()

    def hold(self, manifest: Manifest) -> None:
        """Count one manifest's references."""
        self._counts.update(file.name for file in manifest.files)

    def release(self, manifest: Manifest) -> list[str]:
        """Take one manifest's references back; the names that nobody refers to any more."""
        freed = []
        for file in manifest.files:
            self._counts[file.name] -= 1
            if not self._counts[file.name]:
                del self._counts[file.name]
                freed.append(file.name)
        return freed

    def __contains__(self, name: str) -> bool:
        return name in self._counts

    def count(self, name: str) -> int:
        """How many live manifests refer to the file."""
        return self._counts[name]
