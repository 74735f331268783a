"""Committing what sinks prepared: after its checkpoint is published, in the order of checkpoints, and again after a crash.

The tokens lie in the checkpoint's manifest. Whoever dies after the publishing and before the commit leaves it to the
next start, which commits the tokens of the checkpoint that it begins from before anything runs, unless it is
noted as committed (`commit_note`); committing twice is harmless by contract. They are committed by the sinks of the
pipeline that prepared them: those of a changed pipeline may have the same labels and write elsewhere.
"""

from __future__ import annotations

import base64
import logging
import queue
import threading
from collections.abc import Sequence
from typing import Any

import cloudpickle

from hornbeam.runners.log.commit_note import CommitNote
from hornbeam.storage.files import OS_FILES

_log = logging.getLogger(__name__)

#: Checkpoints whose commits may be under way at once.
_OPEN_MAX = 8


class Committer:
    """Commits in a thread of its own. Tokens are handed about as manifests hold them (`encoded`)."""

    def __init__(
        self, sinks: dict[str, Any], note: CommitNote, old_sinks: dict[str, Any] | None = None
    ) -> None:
        """`sinks` are the two-phase sinks by the label of their step; `note` has what was committed before; `old_sinks` are
        those of the pipeline before, if it was another one."""
        self._new = sinks
        self._old = sinks if old_sinks is None else old_sinks
        self._sinks = sinks
        self._note = note
        #: Checkpoints with their tokens; None ends the thread.
        self._queue: queue.Queue[tuple[int, Sequence[str]] | None] = queue.Queue()
        #: By checkpoint, the tokens that are published and not known to be committed.
        self._open: dict[int, Sequence[str]] = {}
        #: What a commit failed with; nothing is committed after it, until `begin_again`.
        self.error: BaseException | None = None
        self._thread: threading.Thread | None = None
        self._is_stopping = False

    def turn_to(self, is_old: bool) -> None:
        """Tokens are those of the old pipeline from now on, or of the new one. Nothing may be under way."""
        sinks = self._old if is_old else self._new
        if sinks is not self._sinks:
            self._queue.join()
            _release(self._sinks)  # both may hold the same things open
            self._sinks = sinks

    @staticmethod
    def encoded(tokens: Sequence[Any]) -> list[str]:
        """Tokens as a manifest holds them."""
        return [base64.b64encode(cloudpickle.dumps(token)).decode() for token in tokens]

    @staticmethod
    def decoded(encoded: Sequence[str]) -> list[Any]:
        """What `encoded` was given."""
        return [cloudpickle.loads(base64.b64decode(text)) for text in encoded]

    def commit(self, checkpoint: int, tokens: Sequence[str]) -> None:
        """Has the tokens of a published checkpoint committed, after those of the ones before."""
        if not tokens:
            return
        self._open[checkpoint] = tokens
        if self._thread is None:
            self._thread = threading.Thread(target=self._run, name="hornbeam-committer", daemon=True)
            self._thread.start()
        self._queue.put((checkpoint, tokens))

    def commit_again(self, checkpoint: int, tokens: Sequence[str]) -> None:
        """At a start: has the tokens of the checkpoint committed that it begins from, unless they are known to be."""
        if checkpoint not in self._note:
            self.commit(checkpoint, tokens)

    def uncommitted(self) -> list[str]:
        """Tokens of earlier checkpoints whose commit is not through. They belong into the next manifest too: whoever goes on
        from that one knows no other."""
        checkpoints = list(self._open)  # the thread takes away while this looks
        return [token for checkpoint in sorted(checkpoints) for token in self._open.get(checkpoint, ())]

    @property
    def is_behind(self) -> bool:
        """Whether so many checkpoints wait that no other one should be begun."""
        return len(self._open) >= _OPEN_MAX

    @property
    def is_through(self) -> bool:
        """Whether all that was published is committed."""
        return not self._open

    def is_idle(self, seconds: float = 0.0) -> bool:
        """Whether nothing is being committed; waits so long for that."""
        with self._queue.all_tasks_done:
            return self._queue.all_tasks_done.wait_for(lambda: not self._queue.unfinished_tasks, seconds)

    def begin_again(self) -> None:
        """Forgets a failure, and what was not committed: it is in the newest manifest, and committed from there. For a time
        when nothing is being committed."""
        self.error = None
        self._open.clear()

    def recover(self, tokens: Sequence[Any]) -> None:
        """Has each sink clear away what is staged and not of these tokens, which are committed."""
        for label, sink in self._sinks.items():
            if hasattr(sink, "recover"):
                sink.recover([token for other, token in tokens if other == label])

    def clear(self) -> None:
        """Has the sinks clear away all that is staged: the job has ended, and everything is committed."""
        self.recover([])
        if self._old is not self._new:
            for label, sink in self._old.items():
                try:
                    if hasattr(sink, "recover"):
                        sink.recover([])
                except Exception:  # the place may have gone with the old pipeline
                    _log.warning("Step %r: what its old sink has staged stays", label, exc_info=True)

    def abort(self, tokens: Sequence[Any]) -> None:
        """Gives up what was prepared for a checkpoint that will not be; best effort."""
        for label, token in tokens:
            try:
                self._sinks[label].abort(token)
            except Exception:
                _log.warning("Step %r: abort of %r failed", label, token, exc_info=True)

    def stop(self, seconds: float) -> None:
        """Commits nothing more than what is at hand, and waits so long for that. The next start commits what is left: it may
        run already when this would come to it."""
        self._is_stopping = True
        if self._thread is not None:
            self._queue.put(None)
            self._thread.join(seconds)
            if self._thread.is_alive():
                _log.warning("A sink has not come back from a commit; the next start commits that again")

    def release(self) -> None:
        """Has sinks let go of what they keep open, once nothing is under way; best effort."""
        if self.is_through:
            _release(self._old)
            _release(self._new)

    def check(self) -> None:
        """Raises what a commit failed with."""
        if self.error is not None:
            raise self.error

    def wait(self) -> None:
        """Returns when all that was published is committed; raises what a commit failed with."""
        self._queue.join()
        self.check()

    def _run(self) -> None:
        while (waiting := self._queue.get()) is not None:
            checkpoint, tokens = waiting
            try:
                if self.error is None and not self._is_stopping:
                    self._commit(tokens)
                    self._note.add(checkpoint)
                    del self._open[checkpoint]
            except BaseException as error:
                self.error = error
            finally:
                self._queue.task_done()

    def _commit(self, tokens: Sequence[str]) -> None:
        for label, token in self.decoded(tokens):
            OS_FILES.fault("sink.commit")
            self._sinks[label].commit(token)
            OS_FILES.fault("sink.committed")


def _release(sinks: dict[str, Any]) -> None:
    for label, sink in sinks.items():
        try:
            if hasattr(sink, "release"):
                sink.release()
        except Exception:
            _log.warning("Step %r: its sink cannot be closed", label, exc_info=True)
