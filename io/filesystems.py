"""`FileSystems`: file operations on any path; the scheme decides which file system does them."""

from __future__ import annotations

import re
from collections.abc import Sequence
from typing import Any, BinaryIO

from hornbeam.error import PipelineError
from hornbeam.io.compression import CompressionTypes
from hornbeam.io.filesystem import BeamIOError, FileSystem, MatchResult
from hornbeam.io.localfilesystem import LocalFileSystem

__all__ = ["FileSystems"]

#: Schemes that people will try, and the extra that is to bring each.
_KNOWN_SCHEMES = {
    "gs": "hornbeam[gcp]",
    "s3": "hornbeam[aws]",
    "azfs": "hornbeam[azure]",
    "hdfs": "hornbeam[hadoop]",
    "http": "hornbeam[http]",
    "https": "hornbeam[http]",
}


class UnknownSchemeError(PipelineError, ValueError):
    """No file system has been defined for a path's scheme."""


class FileSystems:
    """File operations, all static. Several paths given to one call must have the same scheme."""

    URI_SCHEMA_PATTERN = re.compile(r"(?P<scheme>[a-zA-Z][-a-zA-Z0-9+.]*)://.*", re.DOTALL)

    _pipeline_options: Any = None

    @classmethod
    def set_options(cls, pipeline_options: Any) -> None:
        """Set the options that file systems are made with from now on, in this process."""
        cls._pipeline_options = pipeline_options

    @staticmethod
    def get_scheme(path: str) -> str | None:
        """The path's scheme, or None."""
        match = FileSystems.URI_SCHEMA_PATTERN.match(path.strip())
        return match.group("scheme") if match else None

    @staticmethod
    def get_filesystem(path: str) -> FileSystem:
        """The file system of the path's scheme; ValueError when there is none, or more than one."""
        scheme = FileSystems.get_scheme(path)
        if scheme is None:
            return LocalFileSystem(FileSystems._pipeline_options)
        found = [kind for kind in FileSystem.get_all_subclasses() if kind.scheme() == scheme]
        if len(found) == 1:
            return found[0](FileSystems._pipeline_options)
        if found:
            names = ", ".join(f"{kind.__module__}.{kind.__qualname__}" for kind in found)
            raise UnknownSchemeError(
                f"Several file systems claim the scheme {scheme!r} of {path!r}: {names}."
            )
        if scheme == "file":
            remedy = "Write local paths without a scheme."
        elif scheme in _KNOWN_SCHEMES:
            remedy = (
                f"It is to come with the extra {_KNOWN_SCHEMES[scheme]}; until then define a subclass of "
                "hornbeam.io.filesystem.FileSystem, or copy the files to a local path."
            )
        else:
            remedy = (
                "Import the module that defines it, or write the path without a scheme if it is a local one."
            )
        raise UnknownSchemeError(f"No file system is known for the scheme {scheme!r} of {path!r}. {remedy}")

    @staticmethod
    def join(basepath: str, *paths: str) -> str:
        """The paths joined with the separator."""
        return FileSystems.get_filesystem(basepath).join(basepath, *paths)

    @staticmethod
    def split(path: str) -> tuple[str, str]:
        """The path's head and its last component, empty when the path ends in a separator."""
        return FileSystems.get_filesystem(path).split(path)

    @staticmethod
    def mkdirs(path: str) -> None:
        """Make a directory and its parents; OSError when it exists."""
        FileSystems.get_filesystem(path).mkdirs(path)

    @staticmethod
    def match(patterns: Sequence[str], limits: Sequence[int | None] | None = None) -> list[MatchResult]:
        """The files that match each pattern, at most as many as its limit (None for all)."""
        if not patterns:
            return []
        return FileSystems.get_filesystem(patterns[0]).match(patterns, limits)

    @staticmethod
    def create(
        path: str,
        mime_type: str = "application/octet-stream",
        compression_type: str = CompressionTypes.AUTO,
    ) -> BinaryIO:
        """Open a file for writing, compressed as asked or as its ending tells; what it held before is gone."""
        return FileSystems.get_filesystem(path).create(path, mime_type, compression_type)

    @staticmethod
    def open(
        path: str,
        mime_type: str = "application/octet-stream",
        compression_type: str = CompressionTypes.AUTO,
    ) -> BinaryIO:
        """Open a file for reading, decompressed as asked or as its ending tells."""
        return FileSystems.get_filesystem(path).open(path, mime_type, compression_type)

    @staticmethod
    def copy(source_file_names: Sequence[str], destination_file_names: Sequence[str]) -> None:
        """Copy each source, a file or a directory, to its destination."""
        if source_file_names:
            filesystem = FileSystems._same(source_file_names[0], destination_file_names)
            filesystem.copy(source_file_names, destination_file_names)

    @staticmethod
    def rename(source_file_names: Sequence[str], destination_file_names: Sequence[str]) -> None:
        """Rename each source to its destination, which it replaces."""
        if source_file_names:
            filesystem = FileSystems._same(source_file_names[0], destination_file_names)
            filesystem.rename(source_file_names, destination_file_names)

    @staticmethod
    def _same(source: str, destinations: Sequence[str]) -> FileSystem:
        """The file system of the source; BeamIOError unless the destinations are on it too."""
        scheme = FileSystems.get_scheme(source)
        for destination in destinations:
            if FileSystems.get_scheme(destination) != scheme:
                raise BeamIOError(f"{source!r} and {destination!r} are on different file systems.")
        return FileSystems.get_filesystem(source)

    @staticmethod
    def exists(path: str) -> bool:
        """Whether there is a file or a directory."""
        return FileSystems.get_filesystem(path).exists(path)

    @staticmethod
    def last_updated(path: str) -> float:
        """When the file changed, in seconds since 1970."""
        return FileSystems.get_filesystem(path).last_updated(path)

    @staticmethod
    def checksum(path: str) -> str:
        """What differs when the content does."""
        return FileSystems.get_filesystem(path).checksum(path)

    @staticmethod
    def delete(paths: Sequence[str]) -> None:
        """Delete files, and directories with all they hold; BeamIOError names those that failed."""
        if paths:
            FileSystems.get_filesystem(paths[0]).delete(paths)

    @staticmethod
    def get_chunk_size(path: str) -> int:
        """How many paths one call should be given at most."""
        return FileSystems.get_filesystem(path).CHUNK_SIZE

    @staticmethod
    def report_source_lineage(path: str) -> None:
        """Let the file system note that the path is read from."""
        FileSystems.get_filesystem(path).report_lineage(path, None)

    @staticmethod
    def report_sink_lineage(path: str) -> None:
        """Let the file system note that the path is written to."""
        FileSystems.get_filesystem(path).report_lineage(path, None)
