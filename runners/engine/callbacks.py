"""A call of a stateful DoFn that no element causes: a timer that is due, or the end of a window."""

from __future__ import annotations

from typing import Any

import attrs

from hornbeam.runners.engine.element_identity import element_identity
from hornbeam.runners.engine.failures import Failure, short_repr
from hornbeam.utils.timestamp import Timestamp


@attrs.frozen
class Callback:
    """One call, as a failure names it and as it is known again: by what it is, its key, its window and its time."""

    step: str
    #: "timer 'name'" or "on_window_expiration".
    what: str
    #: The dynamic tag of a timer, "" without one.
    tag: str
    key: Any
    #: When it was due, in microseconds of the timer's time domain; the window's last for an expiration.
    time: int
    window: Any

    @property
    def label(self) -> str:
        """The step's label with what is called: failures and what is skipped are known by it."""
        return f"{self.step}, {self.what}"

    def identity(self) -> str:
        """The same text for the same call after a restart; of a timer that is set to another time, another one."""
        return element_identity((self.tag, self.key, str(self.window), self.time))

    def failure(self) -> Failure:
        """What is told of an exception that the call raised."""
        when = Timestamp(micros=self.time)
        return Failure(
            self.label, None, short_repr(self.key), when, str(self.window), self.identity(), self.tag
        )

    def told(self) -> dict[str, Any]:
        """What a dead letter says of it."""
        return {
            "step": self.label,
            "key": short_repr(self.key),
            "window": str(self.window),
            "time_micros": self.time,
            "tag": self.tag,
        }
