"""What to say about a job whose state is damaged."""

from __future__ import annotations

import os

from hornbeam.error import DataError
from hornbeam.runners.log.job_folder import JobFolder
from hornbeam.storage.checkpoint import CheckpointStore
from hornbeam.storage.errors import CorruptionError


def damaged_state(error: CorruptionError, folder: JobFolder, store: CheckpointStore | None) -> DataError:
    """Which file it is, and what can be had instead. `store` is None if it could not be opened."""
    return DataError(
        f"job {folder.job_name!r}: its state is damaged ({error}). Nothing was started. {_offer(error, store)}"
        f"`hornbeam checkpoint verify {folder.checkpoints}` says what is damaged."
    )


def _offer(error: CorruptionError, store: CheckpointStore | None) -> str:
    if store is None:
        return (
            "With --repair the next command sets checkpoints aside that cannot be had whole, and the job goes on from the "
            "newest one before them; what came after it is processed again. "
        )
    name = os.path.basename(error.path)
    sound = [
        manifest.checkpoint
        for manifest in store.checkpoints()[:-1]
        if name not in {file.name for file in manifest.files}
    ]
    if not sound:
        return "Every checkpoint that is kept needs that file; savepoints may not, and --fresh starts over. "
    return (
        f"The last one without that file is {sound[-1]}: start the job with --restore_from={sound[-1]} to go on from "
        "there; what came after it is processed again. "
    )
