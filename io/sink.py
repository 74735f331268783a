"""Sinks: where a pipeline writes to, in three steps that may each be repeated.

`initialize_write` makes a place for the run; each bundle gets a `Writer` of its own and its `close` says what was
written; `finalize_write` makes all of it visible. Only the results given to `finalize_write` count: a writer
whose bundle was tried again has written for nothing, and nobody may see that.
"""

from __future__ import annotations

from collections.abc import Iterable, Iterator, Sequence
from typing import TYPE_CHECKING, Any

from hornbeam.display import HasDisplayData

if TYPE_CHECKING:
    from hornbeam.transforms.window import BoundedWindow


class Writer:
    """Writes the elements of one bundle. Lives in one process and is never pickled."""

    @property
    def batch_size(self) -> int:
        """How many elements the next `write_batch` should best get; `at_capacity` is asked after each batch."""
        return 1

    def write(self, value: Any) -> None:
        """Write one element."""
        raise NotImplementedError(f"{type(self).__name__} does not define write()")

    def write_batch(self, values: Sequence[Any]) -> None:
        """Write some elements in order; a subclass may have a faster way than one by one."""
        for value in values:
            self.write(value)

    def close(self) -> Any:
        """End the bundle; the result goes to `finalize_write`, so it can be pickled."""
        raise NotImplementedError(f"{type(self).__name__} does not define close()")

    def abort(self) -> None:
        """Give the bundle up: let go of everything, keep nothing. Called instead of `close`."""

    def at_capacity(self) -> bool:
        """Whether the bundle's next element should go to a new writer."""
        return False


class Sink(HasDisplayData):
    """What `Write` takes: a description, pickled and sent about; it must not change once it is made."""

    #: How many results the run shall have at least; 0 leaves it to the runner.
    num_shards: int = 0

    @property
    def skip_if_empty(self) -> bool:
        """Whether a run without elements writes nothing at all, rather than one empty result."""
        return False

    @property
    def triggering_frequency(self) -> float | None:
        """Over unbounded data: how often, in seconds, results become visible."""
        return None

    def initialize_write(self) -> Any:
        """Make a place for the run; called once before any writer. The result is given to all other steps."""
        raise NotImplementedError(f"{type(self).__name__} does not define initialize_write()")

    def open_writer(self, init_result: Any, uid: str) -> Writer:
        """A writer for one bundle. `uid` is different for each one ever opened; names sort in opening order."""
        raise NotImplementedError(f"{type(self).__name__} does not define open_writer()")

    def pre_finalize(self, init_result: Any, writer_results: Sequence[Any]) -> Any:
        """Anything to do between the last writer and `finalize_write`, which gets the result."""
        return None

    def pre_finalize_windowed(
        self, init_result: Any, writer_results: Sequence[Any], window: BoundedWindow | None = None
    ) -> Any:
        """`pre_finalize` of one window of unbounded data."""
        raise NotImplementedError(f"{type(self).__name__} does not write unbounded data")

    def finalize_write(
        self, init_result: Any, writer_results: Sequence[Any], pre_finalize_result: Any
    ) -> Iterable[Any] | None:
        """Make the results visible. May be called again with the same arguments, after a success too.

        What it gives are the elements of `Write`'s output.
        """
        raise NotImplementedError(f"{type(self).__name__} does not define finalize_write()")

    def finalize_windowed_write(
        self,
        init_result: Any,
        writer_results: Sequence[Any],
        pre_finalize_result: Any,
        window: BoundedWindow | None = None,
    ) -> Iterator[Any]:
        """`finalize_write` of one window of unbounded data."""
        raise NotImplementedError(f"{type(self).__name__} does not write unbounded data")
