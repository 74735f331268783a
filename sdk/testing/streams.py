"""Hypothesis strategies with which users test their streaming pipelines: the same elements, arriving in every possible way.

Needs the extra `hornbeam[hypothesis]`.

    from hypothesis import given
    from hornbeam.testing.streams import arrivals

    @given(arrivals(CLICKS, max_delay=60, allowed_lateness=300))
    def test_clicks_per_minute(stream):
        with TestPipeline() as p:
            assert_that(p | stream | ClicksPerMinute(), equal_to(CLICKS_PER_MINUTE))
"""

from __future__ import annotations

import math
from collections.abc import Iterable, Sequence
from typing import TYPE_CHECKING, Any

from hornbeam.testing.test_stream import ElementEvent, TestStream
from hornbeam.transforms.window import TimestampedValue
from hornbeam.utils.timestamp import Duration, DurationTypes, duration_of, timestamp_at

try:
    from hypothesis import strategies as st
except ImportError:
    raise ImportError(
        "hornbeam.testing.streams needs the package hypothesis. Install it: pip install 'hornbeam[hypothesis]'."
    ) from None

if TYPE_CHECKING:
    from hypothesis.strategies import DrawFn, SearchStrategy

__all__ = ["arrivals", "elements_of"]

#: How many of the elements arrive at once, at most.
BUNDLE_MAX = 5


def arrivals(
    elements: Iterable[TimestampedValue[Any]] | SearchStrategy[list[TimestampedValue[Any]]],
    *,
    max_delay: DurationTypes | None = 0,
    allowed_lateness: DurationTypes = 0,
    max_bundle: int = BUNDLE_MAX,
    max_pause: DurationTypes = 0,
    tag: str | None = None,
) -> SearchStrategy[TestStream]:
    """TestStreams in which just these elements arrive: in some order, some at once, with watermarks in between.

    A pipeline that allows for the same lateness drops none of them, so what it makes of all its elements is the same for
    every stream. A failing example shrinks towards elements that arrive at once, in the order of their timestamps.

    Args:
      elements: what arrives, or a strategy of it.
      max_delay: how far out of order elements may arrive: an element comes before all those whose timestamps are more
        than this later (seconds). None allows every order.
      allowed_lateness: how far the watermark may be past an element when it arrives (seconds). With 0 no element
        is late.
      max_bundle: how many elements arrive at once, at most.
      max_pause: how much processing time may pass between arrivals (seconds).
      tag: the output of the TestStream.
    """
    delay_micros = None if max_delay is None else _micros(max_delay, "max_delay")
    lateness_micros = _micros(allowed_lateness, "allowed_lateness")
    pause_micros = _micros(max_pause, "max_pause")
    if max_bundle < 1:
        raise ValueError(f"arrivals: max_bundle must be at least 1; it is {max_bundle!r}.")
    given = elements if isinstance(elements, st.SearchStrategy) else st.just(_checked(elements))
    streams: SearchStrategy[TestStream] = _streams(
        given, delay_micros, lateness_micros, max_bundle, pause_micros, tag
    )
    return streams


def elements_of(stream: TestStream, tag: str | None = None) -> list[TimestampedValue[Any]]:
    """The elements of a TestStream's output, in the order of their arrival: what a batch oracle takes."""
    return [
        element
        for event in stream.events
        if isinstance(event, ElementEvent) and event.tag == tag
        for element in event.timestamped_values
    ]


@st.composite
def _streams(
    draw: DrawFn,
    elements: SearchStrategy[list[TimestampedValue[Any]]],
    delay_micros: int | None,
    lateness_micros: int,
    bundle_max: int,
    pause_micros: int,
    tag: str | None,
) -> TestStream:
    arriving = _in_order_of_arrival(draw, _checked(draw(elements)), delay_micros)
    stream = TestStream(output_tags={tag})
    watermark: int | None = None
    while arriving:
        size = draw(st.integers(0, min(bundle_max, len(arriving)) - 1))
        size = min(bundle_max, len(arriving)) - size  # So that it shrinks towards large bundles.
        stream.add_elements(arriving[:size], tag)
        arriving = arriving[size:]
        if pause_micros and draw(st.booleans()):
            stream.advance_processing_time(duration_of(draw(st.integers(1, pause_micros))))
        latest = min((e.timestamp_micros for e in arriving), default=None)
        if latest is not None and draw(st.booleans()):
            to = draw(_watermarks(latest, lateness_micros, watermark))
            if to is not None:
                watermark = to
                stream.advance_watermark_to(timestamp_at(to), tag)
    return stream


def _in_order_of_arrival(
    draw: DrawFn, elements: Sequence[TimestampedValue[Any]], delay_micros: int | None
) -> list[TimestampedValue[Any]]:
    in_time = sorted(elements, key=lambda e: e.timestamp_micros)
    if delay_micros is None:
        return list(draw(st.permutations(in_time)))
    if delay_micros == 0 or len(in_time) < 2:
        return in_time
    delays = st.integers(0, delay_micros)
    arrivals = [(element.timestamp_micros + draw(delays), element) for element in in_time]
    return [element for _, element in sorted(arrivals, key=lambda one: one[0])]


def _watermarks(earliest: int, lateness_micros: int, last: int | None) -> SearchStrategy[int | None]:
    """How far the watermark may move when `earliest` is the first timestamp still to come."""
    most = earliest + lateness_micros
    if last is not None and most < last:
        return st.none()
    least = last if last is not None else earliest - 2 * lateness_micros - 1_000_000
    moments = sorted({moment for moment in (earliest - 1, earliest, most) if moment >= least})
    return st.one_of(st.sampled_from(moments), st.integers(least, most))


def _micros(duration: DurationTypes, name: str) -> int:
    micros = math.inf if duration == math.inf else Duration.of(duration).micros
    if micros == math.inf or micros < 0:
        raise ValueError(
            f"arrivals: {name} must be a finite number of seconds, 0 or more; it is {duration!r}."
        )
    return int(micros)


def _checked(elements: Iterable[TimestampedValue[Any]]) -> list[TimestampedValue[Any]]:
    checked = list(elements)
    for element in checked:
        if not isinstance(element, TimestampedValue):
            raise TypeError(f"arrivals takes TimestampedValues; it was given {element!r}.")
    return checked
