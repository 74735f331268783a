"""Streaming programs by the name of what they are about: some that must always be tried, and those that found a mistake."""

from __future__ import annotations

from properties.stream_programs import Program, Step
from properties.stream_windowings import Windowing

from hornbeam.transforms.trigger import AfterCount, AfterWatermark

ONE_TWO = (("e", "a", (("a", 1, 1), ("a", 2, 2), ("b", 3, 3))), ("w", "a", 10), ("e", "a", (("a", 4, 4),)))

CASES: dict[str, Program] = {
    "grouping under the default trigger": Program(ONE_TWO, Windowing(lateness=5), (Step("group"),)),
    "early, on time and late": Program(
        ONE_TWO,
        Windowing(trigger=AfterWatermark(early=AfterCount(2), late=AfterCount(1)), lateness=5),
        (Step("sum"), Step("group")),
    ),
}
