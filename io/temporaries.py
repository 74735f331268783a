"""Temporary directories that go when the run ends, whether it was finalised or failed."""

from __future__ import annotations

import functools
import logging

from hornbeam.io.filesystems import FileSystems
from hornbeam.utils.run_end import at_run_end

_log = logging.getLogger(__name__)


def remove_at_run_end(place: str) -> None:
    """Remove the directory at the end of the run; a runner that may resume the run elsewhere sees to that itself."""
    at_run_end(functools.partial(remove, place))


def remove(place: str) -> None:
    """Remove a directory with all it holds, if it is there; a failure is logged only."""
    try:
        if FileSystems.exists(place):
            FileSystems.delete([place])
    except Exception as error:
        _log.warning("The temporary directory %s could not be removed: %s", place, error)
