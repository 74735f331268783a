"""The time domains in which timers and triggers count."""

from __future__ import annotations

import enum


class TimeDomain(enum.StrEnum):
    """Which clock a timer follows."""

    #: Event time: fires as the watermark passes.
    WATERMARK = "WATERMARK"
    #: The wall clock.
    REAL_TIME = "REAL_TIME"
    #: The wall clock, waiting for the upstream steps' earlier wall-clock timers.
    DEPENDENT_REAL_TIME = "DEPENDENT_REAL_TIME"

    @classmethod
    def from_string(cls, domain: str) -> TimeDomain:
        """The domain of that name; ValueError if there is none."""
        try:
            return cls(domain)
        except ValueError:
            raise ValueError(f"Unknown time domain: {domain!r}. Use one of {', '.join(cls)}.") from None

    @classmethod
    def is_event_time(cls, domain: str) -> bool:
        """Whether the domain of that name follows the watermark."""
        return cls.from_string(domain) is cls.WATERMARK
