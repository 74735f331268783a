"""Sources: what a pipeline can read, in pieces, and the positions that say how far a reader has come.

A `BoundedSource` is a description; it is pickled, split and sent about, and must not change once it is made.
A `RangeTracker` is the living thing beside it: one reader claims positions on it while another thread may
shorten the range, and the two agree because both go through the tracker's lock.
"""

from __future__ import annotations

from collections.abc import Callable, Iterator
from typing import TYPE_CHECKING, Any, NamedTuple

from hornbeam.display import HasDisplayData

if TYPE_CHECKING:
    from hornbeam.coders.coders import Coder


class SourceBundle(NamedTuple):
    """A part of a source: read `source` from `start_position` to `stop_position`. Weights only compare."""

    weight: float
    source: SourceBase
    start_position: Any
    stop_position: Any


class SourceBase(HasDisplayData):
    """What `Read` takes: a bounded or an unbounded source."""

    def is_bounded(self) -> bool:
        """Whether the source comes to an end."""
        raise NotImplementedError(f"{type(self).__name__} does not define is_bounded()")


class BoundedSource(SourceBase):
    """A source with an end, that can be read in parts.

    A subclass defines `estimate_size`, `split`, `get_range_tracker` and `read`. Positions are any values that
    order (`None` for an open end), and the records of adjacent ranges together are the records of the whole.

    A source may also define `read_batches(range_tracker, batch_size)`, an iterator of lists of records. The lists
    joined must be what `read` gives; an engine that finds the method uses it instead of `read`.
    """

    def estimate_size(self) -> int | None:
        """The approximate size in bytes, or None where it cannot be known cheaply."""
        raise NotImplementedError(f"{type(self).__name__} does not define estimate_size()")

    def split(
        self, desired_bundle_size: int, start_position: Any = None, stop_position: Any = None
    ) -> Iterator[SourceBundle]:
        """Parts of about `desired_bundle_size` bytes that together are the range given."""
        raise NotImplementedError(f"{type(self).__name__} does not define split()")

    def get_range_tracker(self, start_position: Any, stop_position: Any) -> RangeTracker:
        """A new tracker for a range; None means the source's own start or end."""
        raise NotImplementedError(f"{type(self).__name__} does not define get_range_tracker()")

    def read(self, range_tracker: RangeTracker) -> Iterator[Any]:
        """The records of the tracker's range, each one claimed before it is returned."""
        raise NotImplementedError(f"{type(self).__name__} does not define read()")

    def default_output_coder(self) -> Coder:
        """The coder of the records unless the pipeline's author gives another."""
        from hornbeam.coders import registry  # coders take long to load; a source is made long before

        return registry.get_coder(object)

    def is_bounded(self) -> bool:
        """True."""
        return True


class RangeTracker:
    """How far a reader has come in the range `[start_position, stop_position)`.

    The reader claims the position of every *split point* before it returns the record there; between two split
    points it only notes positions. `try_split` may come from another thread at any time: it succeeds only behind
    what is claimed, and afterwards claims at or past the new stop fail. All methods are thread-safe.
    """

    #: What `split_points` says of a number that it does not know.
    SPLIT_POINTS_UNKNOWN: Any = object()

    def start_position(self) -> Any:
        """Where the range starts, inclusive."""
        raise NotImplementedError(f"{type(self).__name__} does not define start_position()")

    def stop_position(self) -> Any:
        """Where the range stops, exclusive; it moves when the range is split."""
        raise NotImplementedError(f"{type(self).__name__} does not define stop_position()")

    def try_claim(self, position: Any) -> bool:
        """Claim the split point at `position`; when False, the reader stops without returning its record.

        Positions never go back. The first one claimed may lie after the start, never before it.
        """
        raise NotImplementedError(f"{type(self).__name__} does not define try_claim()")

    def set_current_position(self, position: Any) -> None:
        """Note the position of a record that is no split point: always part of the claimed one before it."""
        raise NotImplementedError(f"{type(self).__name__} does not define set_current_position()")

    def position_at_fraction(self, fraction: float) -> Any:
        """The position at a fraction, 0 to 1, of the range."""
        raise NotImplementedError(f"{type(self).__name__} does not define position_at_fraction()")

    def try_split(self, position: Any) -> tuple[Any, float] | None:
        """Cut the range at `position`; the rest from there is the caller's to read elsewhere.

        Returns the cut and the fraction of the old range that stays here, or None where that is not possible:
        at or before what is claimed, or outside the range.
        """
        raise NotImplementedError(f"{type(self).__name__} does not define try_split()")

    def fraction_consumed(self) -> float:
        """How much of the range is claimed, 0 to 1."""
        raise NotImplementedError(f"{type(self).__name__} does not define fraction_consumed()")

    def split_points(self) -> tuple[Any, Any]:
        """How many split points are wholly read, and how many are left with the one being read."""
        return RangeTracker.SPLIT_POINTS_UNKNOWN, RangeTracker.SPLIT_POINTS_UNKNOWN

    def set_split_points_unclaimed_callback(self, callback: Callable[[Any], Any]) -> None:
        """Set what, given the stop position, counts the split points not claimed yet."""
