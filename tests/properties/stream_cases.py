"""Streaming programs by the name of what they are about: some that must always be tried, and those that found a mistake."""

from __future__ import annotations

from properties.stream_programs import Program, Step
from properties.stream_windowings import Windowing

from hornbeam.transforms.trigger import AfterCount, AfterProcessingTime, AfterWatermark

ONE_TWO = (("e", "a", (("a", 1, 1), ("a", 2, 2), ("b", 3, 3))), ("w", "a", 10), ("e", "a", (("a", 4, 4),)))

CASES: dict[str, Program] = {
    "grouping under the default trigger": Program(ONE_TWO, Windowing(lateness=5), (Step("group"),)),
    "early, on time and late": Program(
        ONE_TWO,
        Windowing(trigger=AfterWatermark(early=AfterCount(2), late=AfterCount(1)), lateness=5),
        (Step("sum"), Step("group")),
    ),
    "a TestStream's last event is taken in before time ends": Program(
        (("e", "a", (("a", 1, 18),)), ("p", 2)),
        Windowing(trigger=AfterProcessingTime(2)),
        (Step("count"),),
    ),
    "a last watermark within the lateness": Program(
        (("e", "a", (("a", 1, 8),)), ("w", "a", 10)), Windowing(lateness=5), (Step("group"),)
    ),
    "elements that come as the clock moves know the new time": Program(
        (("e", "a", (("c", 6, 15),)), ("p", 10)),
        Windowing(trigger=AfterProcessingTime(0.000001)),
        (Step("by_the_clock", (7,)), Step("group")),
    ),
    "elements of one window that wait keep their order though they are in different sets of windows": Program(
        (("e", "a", (("a", 1, 18), ("a", 6, 13))), ("w", "s", "end")),
        Windowing(("sliding", 10, 5), AfterCount(1)),
        (Step("with_side_per_window"), Step("group")),
    ),
    "sorted input: late elements do not wait for those of their bundle": Program(
        (("w", "a", 15), ("e", "a", (("a", 2, 9.999999), ("a", 6, 8)))),
        Windowing(("fixed", 5, 2.5), lateness=5),
        (Step("sorted", ()),),
    ),
    "sorted input: timestamps past the window": Program(
        (("e", "a", (("b", 0, 100),)),), Windowing(), (Step("batched", (100,)), Step("sorted", ()))
    ),
    "a timer that sets itself again ends with its window": Program(
        (("e", "a", (("c", 2, 14.999999),)),), Windowing(), (Step("steps", (20, 2)),)
    ),
    "a side window that has been forgotten": Program(
        (("w", "a", 30), ("e", "a", (("b", 4, 19.999999),)), ("w", "s", "end")),
        Windowing(),
        (Step("with_side_per_window"),),
    ),
    "late elements of a side input are counted": Program(
        (("w", "s", 9999990), ("e", "s", (("a", 6, 28),))), Windowing(), (Step("with_side_per_window"),)
    ),
    "an open session with elements becomes one with a closed one": Program(
        (
            ("e", "a", (("a", 3, 10), ("a", 3, 7))),
            ("e", "a", (("a", 9, 11), ("a", 4, 2), ("a", 7, 7))),
            ("e", "a", (("a", 7, 6.5),)),
        ),
        Windowing(("sessions", 5), AfterCount(4)),
        (Step("sum"),),
    ),
    "a side window is kept for an element whose timestamp lies past its window": Program(
        (
            ("e", "s", (("a", 4, 0),)),
            ("e", "a", (("a", 2, 6),)),
            ("w", "a", 19.999999),
            ("w", "s", "end"),
        ),
        Windowing(),
        (Step("steps", (20, 2)), Step("with_side_per_window")),
    ),
}
