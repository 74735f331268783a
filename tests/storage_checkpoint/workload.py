"""Workloads over a store that keep a model beside it, scripted or random, with errors met on the way."""

from __future__ import annotations

import random
from collections.abc import Callable

import attrs
from storage_checkpoint.model import (
    DIRECTORY,
    KEY_GROUPS,
    SMALL,
    Changes,
    Model,
    apply,
    checksum,
    random_changes,
    write,
)

from hornbeam.storage.checkpoint import CheckpointStore
from hornbeam.storage.files import Files, StorageError

SCRIPT = [
    *("open", "commit", "commit", "savepoint:a", "commit", "abort", "commit", "compact", "commit", "reopen"),
    *("commit", "full", "delete:a", "commit", "savepoint:b", "abandon", "reopen", "commit", "compact"),
    *("gc", "commit"),
]

RANDOM_STEPS = ["commit"] * 6 + ["abort", "abandon", "compact", "compact_full", "reopen", "full", "gc"]


def random_script(seed: int, length: int = 14) -> list[str]:
    """Steps in a random order, savepoints included."""
    rng = random.Random(seed)
    script, names = ["open"], []
    for i in range(length):
        step = rng.choice([*RANDOM_STEPS, "savepoint", "delete"])
        if step == "savepoint":
            names.append(f"s{i}")
            script += ["commit", f"savepoint:s{i}"]
        elif step == "delete":
            script += [f"delete:{names.pop()}"] if names else []
        else:
            script.append(step)
    return script


class Workload:
    """Runs a script. With `patience` above 0 a failed step is tried again or given up, as a job would."""

    def __init__(self, files: Files, model: Model, seed: int, patience: int = 0) -> None:
        self.files = files
        self.model = model
        self.rng = random.Random(seed)
        self.patience = patience
        self.options = attrs.evolve(SMALL, merge="commit" if seed % 2 else "caller")
        self.give_up = bool(seed % 2)
        self.store: CheckpointStore | None = None
        self.errors = 0
        self.on_error: Callable[[StorageError], None] = lambda error: None

    def run(self, script: list[str]) -> None:
        """All the steps."""
        for step in script:
            verb, _, name = step.partition(":")
            self._step(verb, name)

    def _step(self, verb: str, name: str) -> None:
        if verb in ("open", "reopen"):
            if self.store is not None:
                self._retry(self.store.close)
            self._retry(self._open)
        elif verb in ("commit", "full"):
            self._commit(
                random_changes(self.rng, self.model.state, self.rng.randrange(1, 12)), verb == "commit"
            )
        elif verb in ("abort", "abandon"):
            self._half_write(abort=verb == "abort")
        elif verb in ("savepoint", "delete"):
            self._savepoint(name, delete=verb == "delete")
        elif verb == "gc":
            self._retry(lambda: self._opened().gc())
        else:
            self._retry(lambda: self._opened().compact(full=verb == "compact_full"))

    def _open(self) -> None:
        self.store = CheckpointStore(DIRECTORY, self.options, key_groups=KEY_GROUPS, files=self.files)

    def _opened(self) -> CheckpointStore:
        assert self.store is not None
        return self.store

    def _commit(self, changes: Changes, incremental: bool) -> None:
        store, model = self._opened(), self.model
        pending = store.begin(incremental and bool(model.checkpoints))
        state = apply(model.state, changes)
        written = changes if pending.incremental else dict(state)
        model.doubtful_checkpoint = (pending.checkpoint, state)
        done = False

        def commit() -> None:
            nonlocal done
            files = write(pending, self.files, written, workers=1 + len(changes) % 2)
            pending.commit(files, {"sum": checksum(state)})
            done = True

        self._retry(commit, give_up=self.give_up)
        if done:
            model.checkpoints[pending.checkpoint] = state
        else:
            self._retry(pending.abort)
            assert pending.checkpoint not in [m.checkpoint for m in store.checkpoints()]
        model.doubtful_checkpoint = None

    def _half_write(self, abort: bool) -> None:
        pending = self._opened().begin()
        changes = random_changes(self.rng, self.model.state, 5)
        self._retry(lambda: write(pending, self.files, changes, 2), give_up=True)
        if abort:
            self._retry(pending.abort)

    def _savepoint(self, name: str, delete: bool) -> None:
        store, model = self._opened(), self.model
        if delete:
            if name not in model.savepoints:
                return
            model.doubtful_savepoint = (name, None)
            self._retry(lambda: self._delete(store, name))
            del model.savepoints[name]
        elif model.checkpoints:
            model.doubtful_savepoint = (name, model.state)
            self._retry(lambda: store.savepoint(name))
            model.savepoints[name] = model.state
        model.doubtful_savepoint = None

    def _delete(self, store: CheckpointStore, name: str) -> None:
        if name in [m.savepoint for m in store.savepoints()]:
            store.delete_savepoint(name)
        else:
            store.gc()

    def _retry(self, act: Callable[[], object], give_up: bool = False) -> None:
        for attempt in range(self.patience + 1):
            try:
                act()
                return
            except StorageError as error:
                self.errors += 1
                self.on_error(error)
                if attempt == self.patience and not give_up:
                    raise
                if give_up and attempt == 0 and self.patience:
                    return
