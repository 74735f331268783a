"""A store in figures, for people and for `hornbeam checkpoint`: checkpoints, savepoints, files, states."""

from __future__ import annotations

from collections import Counter
from typing import Any

from hornbeam.storage.checkpoint.catalog import Layout, StoreReader, load_manifests
from hornbeam.storage.checkpoint.manifest import Manifest
from hornbeam.storage.checkpoint.snapshot import Snapshot
from hornbeam.storage.files import OS_FILES, Files


def summarize(manifest: Manifest) -> dict[str, Any]:
    """One checkpoint or savepoint in a line's worth of figures."""
    added = [file for file in manifest.files if file.run == manifest.checkpoint]
    return {
        "kind": "savepoint" if manifest.savepoint else "checkpoint",
        "name": manifest.savepoint or str(manifest.checkpoint),
        "checkpoint": manifest.checkpoint,
        "base": manifest.base,
        "created_ms": manifest.created_ms,
        "files": len(manifest.files),
        "bytes": manifest.size,
        "bytes_added": sum(file.size for file in added),
        "entries": sum(file.entries for file in manifest.files),
        "tombstones": sum(file.tombstones for file in manifest.files),
        "key_groups": manifest.key_groups,
    }


def list_store(directory: str, files: Files = OS_FILES) -> list[dict[str, Any]]:
    """All checkpoints, oldest first, then all savepoints."""
    reader = StoreReader(directory, files=files)
    return [summarize(manifest) for manifest in [*reader.checkpoints(), *reader.savepoints()]]


def describe(directory: str, which: int | str | None = None, files: Files = OS_FILES) -> dict[str, Any]:
    """One checkpoint in full: its figures, metadata, states and files with their reference counts.

    Entry counts are of what is written: an entry that a later file overrides counts twice until they are merged.
    """
    reader = StoreReader(directory, files=files)
    with reader.snapshot(which) as snapshot:
        manifest = snapshot.manifest
        references = _reference_counts(files, reader.layout)
        described = summarize(manifest)
        described["metadata"] = dict(manifest.metadata)
        described["states"] = [
            {"state": name, "entries": entries, "bytes": size}
            for name, (entries, size) in sorted(snapshot.states().items())
        ]
        described["state_files"] = [
            {**file.to_json(), "references": references[file.name]} for file in manifest.files
        ]
        return described


def _reference_counts(files: Files, layout: Layout) -> Counter[str]:
    loaded, _ = load_manifests(files, layout)
    return Counter(file.name for manifest in loaded.values() for file in manifest.files)


def live_entries(snapshot: Snapshot) -> Counter[str]:
    """The entries of each state as a reader sees them; reads everything."""
    counted: Counter[str] = Counter()
    for key, _ in snapshot.scan():
        counted[key.state] += 1
    return counted


__all__ = ["describe", "list_store", "live_entries", "summarize"]
