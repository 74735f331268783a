"""What to say about a job whose state is damaged."""

from __future__ import annotations

import os

from hornbeam.error import DataError
from hornbeam.runners.log.job_folder import JobFolder
from hornbeam.storage.checkpoint import CheckpointStore
from hornbeam.storage.errors import CorruptionError


def damaged_state(error: CorruptionError, folder: JobFolder, store: CheckpointStore | None) -> DataError:
    """Which file it is, and what can be had instead. `store` is None if it could not be opened."""
    name = os.path.basename(error.path)
    earlier = [] if store is None else store.checkpoints()[:-1]
    sound = [m.checkpoint for m in earlier if name not in {file.name for file in m.files}]
    offer = (
        f"The last one without that file is {sound[-1]}: start the job with --restore_from={sound[-1]} to go on from "
        "there; what came after it is processed again. "
        if sound
        else "Every checkpoint that is kept needs that file; savepoints may not, and --fresh starts over. "
    )
    return DataError(
        f"job {folder.job_name!r}: its state is damaged ({error}). Nothing was started. {offer}"
        f"`hornbeam checkpoint verify {folder.checkpoints}` says what is damaged."
    )
