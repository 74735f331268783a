"""What became of a batch that a producer gathered: a handle that `Producer.send` gives out at once and that is
settled when the batch was written as `acks` asks, or failed.
"""

from __future__ import annotations

from collections.abc import Callable

import attrs


@attrs.frozen
class Appended:
    """Where a batch went."""

    topic: str
    partition: int
    base_offset: int
    last_offset: int


class Delivery:
    """The fate of the batch that a record was gathered into; all records of the batch share it.

    `wait` from any thread. Producers that send many records and then wait for them, and threads that wait at the same
    time, share appends and fsyncs.
    """

    __slots__ = ("_hurry", "_outcome")

    def __init__(self, hurry: Callable[[Delivery], None]) -> None:
        self._hurry = hurry
        self._outcome: Appended | BaseException | None = None

    def __repr__(self) -> str:
        return f"<Delivery {self._outcome or 'pending'}>"

    @property
    def done(self) -> bool:
        """Whether the batch was written or has failed."""
        return self._outcome is not None

    @property
    def error(self) -> BaseException | None:
        """What made it fail, if it did."""
        return self._outcome if isinstance(self._outcome, BaseException) else None

    def wait(self) -> Appended:
        """Return when the record is as safe as `acks` asks (inside a transaction: written, its commit decides), with
        the place of its batch; raises what made the batch fail. Nothing lingers: what is gathered is written now."""
        if self._outcome is None:
            self._hurry(self)
        outcome = self._outcome
        assert outcome is not None, "the producer left a batch undecided"
        if isinstance(outcome, BaseException):
            raise outcome
        return outcome

    def settle(self, outcome: Appended | BaseException) -> None:
        """Decide it; for the producer."""
        self._outcome = outcome
