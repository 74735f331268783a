"""Sinks of your own that are exactly-once: what is written becomes visible with the checkpoint that covers it.

    write_batch ─► prepare(checkpoint) ─► settle ─► the token is in the checkpoint ─► commit(token)

A runner with checkpoints (LogRunner) prepares in the workers where the checkpoint cuts the stream, and commits in its
coordinator once the checkpoint is durable: each token in the order of checkpoints, and again after a crash, so `commit`
must be idempotent. On other runners, and with `--at_least_once`, each bundle is prepared and committed when it ends; a
bundle that is tried again is then written twice.

    class Table(TwoPhaseSink):
        def open_writer(self): return TableWriter(self.path)          # stages rows where nobody looks
        def commit(self, token): ...                                  # makes them visible, once
        def abort(self, token): ...                                   # throws them away

    rows | WriteTwoPhase(Table("…"))
"""

from __future__ import annotations

import contextlib
from collections.abc import Iterable, Iterator, Sequence
from typing import Any

from hornbeam.display import DisplayDataItem, HasDisplayData
from hornbeam.error import TransformError
from hornbeam.pvalue import PCollection
from hornbeam.transforms.dofn import DoFn
from hornbeam.transforms.pardo import ParDo
from hornbeam.transforms.ptransform import PTransform
from hornbeam.utils.timestamp import Timestamp
from hornbeam.utils.windowed_value import WindowedValue

__all__ = ["TwoPhaseSink", "TwoPhaseWriter", "WriteTwoPhase"]

#: Elements are handed to the writer by so many, unless the sink says otherwise.
BATCH = 8192


class TwoPhaseWriter:
    """Stages what one worker writes. Used by one thread, but for `settle`."""

    def write_batch(self, values: Sequence[Any], timestamps: Sequence[int]) -> None:
        """Stage elements, in order; `timestamps` are their event times in microseconds (empty unless asked for)."""
        raise NotImplementedError(f"{type(self).__name__} does not define write_batch()")

    def prepare(self, checkpoint: int) -> Any:
        """Close what was staged since the last call, and say in a token what it is; None for nothing.

        Quick: no element is processed meanwhile. The token is pickled into the checkpoint; it must be small, and enough
        for `commit` in any process. `checkpoint` rises; it is -1 where there are no checkpoints.
        """
        raise NotImplementedError(f"{type(self).__name__} does not define prepare()")

    def settle(self, token: Any) -> Any:
        """Make what the token stands for durable (fsync); gives the token to keep. In a thread of its own, beside writes."""
        return token

    def outputs(self) -> Iterable[WindowedValue[Any]]:
        """What the step gives for what was written since the last call; asked at the end of each bundle."""
        return ()

    def abort(self) -> None:
        """Throw away what was staged and not prepared: its bundle has failed."""

    def close(self) -> None:
        """Let go of everything. What was not prepared need not be kept."""


class TwoPhaseSink(HasDisplayData):
    """What `WriteTwoPhase` takes: a description, pickled and sent about."""

    #: Whether `write_batch` gets timestamps.
    needs_timestamps: bool = False
    #: By how many elements `write_batch` is called.
    batch_size: int = BATCH

    def start(self) -> None:
        """Called in each worker before anything is written, whether there is anything or not."""

    def open_writer(self) -> TwoPhaseWriter:
        """A new writer, in a worker."""
        raise NotImplementedError(f"{type(self).__name__} does not define open_writer()")

    def open_direct_writer(self) -> TwoPhaseWriter:
        """A writer whose bundles are committed when they end; it may write directly and give no tokens."""
        return self.open_writer()

    def commit(self, token: Any) -> None:
        """Make visible what the token stands for. Called again with the same token, it changes nothing."""
        raise NotImplementedError(f"{type(self).__name__} does not define commit()")

    def abort(self, token: Any) -> None:
        """Throw away what the token stands for: its checkpoint was given up. May be called again, or never."""

    def recover(self, tokens: Sequence[Any]) -> None:
        """Before a run goes on: throw away what earlier runs staged, but for these tokens, which are committed."""

    def release(self) -> None:
        """Let go of what `commit` keeps open between calls."""


class WriteTwoPhase(PTransform[PCollection[Any], PCollection[Any]]):
    """Writes elements to a TwoPhaseSink. Gives what its writer's `outputs` say, most often nothing."""

    def __init__(self, sink: TwoPhaseSink) -> None:
        super().__init__()
        if not isinstance(sink, TwoPhaseSink):
            raise TransformError(f"WriteTwoPhase needs a TwoPhaseSink; found {sink!r}.")
        self.sink = sink

    def display_data(self) -> dict[str, Any]:
        """The sink and its items."""
        return {
            "sink": DisplayDataItem(type(self.sink).__name__, label="Two-phase Sink"),
            "sink_dd": self.sink,
        }

    def expand(self, pcoll: PCollection[Any]) -> PCollection[Any]:
        """One ParDo, which a runner with checkpoints knows by its DoFn's methods."""
        kind = TimedTwoPhaseWrite if self.sink.needs_timestamps else TwoPhaseWrite
        written: PCollection[Any] = pcoll | "Write" >> ParDo(kind(self.sink))
        return written


class TwoPhaseWrite(DoFn):
    """Gathers elements for a sink's writer, and passes on what the runner says about checkpoints.

    A runner that takes checkpoints calls `begin_two_phase` after setup, `prepare` and `settle` in the workers, and
    `commit`, `abort` and `recover` on a copy that is never set up.
    """

    def __init__(self, sink: TwoPhaseSink) -> None:
        super().__init__()
        self.sink = sink
        self._writer: TwoPhaseWriter | None = None
        self._is_two_phase = False
        self._values: list[Any] = []
        self._micros: list[int] = []
        self._batch_size = sink.batch_size

    def display_data(self) -> dict[str, Any]:
        """The sink."""
        return {"sink": type(self.sink).__name__}

    def setup(self) -> None:
        """Starts the sink."""
        self.sink.start()

    def process(self, element: Any) -> Iterable[Any] | None:
        """Keep the element for the next batch."""
        values = self._values
        values.append(element)
        if len(values) >= self._batch_size:
            self._flush()
        return None

    def start_bundle(self) -> None:
        """What is left of an earlier bundle belongs to one that has failed."""
        if self._values or (self._writer is not None and not self._is_two_phase):
            self._values, self._micros = [], []
            if self._writer is not None:
                self._writer.abort()

    def finish_bundle(self) -> Iterator[WindowedValue[Any]] | None:
        """Hand on what was gathered; without checkpoints, commit it."""
        self._flush()
        if self._writer is None:
            return None
        if not self._is_two_phase:
            token = self._writer.prepare(-1)
            if token is not None:
                self.sink.commit(self._writer.settle(token))
        return iter(self._writer.outputs())

    def teardown(self) -> None:
        """Close the writer."""
        writer, self._writer = self._writer, None
        with contextlib.ExitStack() as stack:
            stack.callback(self.sink.release)
            if writer is not None:
                stack.callback(writer.close)
                if not self._is_two_phase:
                    stack.callback(writer.abort)

    def _flush(self) -> None:
        values, self._values = self._values, []
        micros, self._micros = self._micros, []
        if values:
            writer = self._writer
            if writer is None:
                open_writer = self.sink.open_writer if self._is_two_phase else self.sink.open_direct_writer
                writer = self._writer = open_writer()
            writer.write_batch(values, micros)

    # For a runner that takes checkpoints

    def begin_two_phase(self) -> None:
        """From now on nothing is committed but by `commit`."""
        self._is_two_phase = True

    def prepare(self, checkpoint: int) -> Any:
        """The token of what was written since the last call; None for nothing."""
        self._flush()
        return None if self._writer is None else self._writer.prepare(checkpoint)

    def settle(self, token: Any) -> Any:
        """Makes what a token stands for durable."""
        assert self._writer is not None
        return self._writer.settle(token)

    def commit(self, token: Any) -> None:
        """Makes visible what a token stands for."""
        self.sink.commit(token)

    def abort(self, token: Any) -> None:
        """Throws away what a token stands for."""
        self.sink.abort(token)

    def recover(self, tokens: Sequence[Any]) -> None:
        """Throws away what earlier runs staged, but for these tokens."""
        self.sink.recover(tokens)

    def release(self) -> None:
        """Lets go of what commits keep open: the job has ended."""
        self.sink.release()


class TimedTwoPhaseWrite(TwoPhaseWrite):
    """As TwoPhaseWrite, for sinks that want timestamps."""

    def process(self, element: Any, timestamp: Timestamp = DoFn.TimestampParam) -> Iterable[Any] | None:
        """Keep the element and its time for the next batch."""
        self._micros.append(timestamp.micros)
        return super().process(element)
