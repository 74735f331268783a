"""Mean departure delay per airport and hour, over flights that arrive in their real disorder.

    python examples/streaming_flight_delays.py --disorder_minutes 60 --lateness_minutes 120

A flight is heard of when it takes off, and belongs to the hour in which it should have: its delay is its disorder.
The source takes it that none is more than an hour late. An hour's mean is given early (after every 20 flights), on
time (when all flights should have been heard of) and again for each flight that comes late; each pane holds all
flights so far. Flights later than `--lateness_minutes` on top are dropped by the grouping, which gives them out as
a second output. They are added to the last pane of their hour at the end of the stream, as a correction.
"""

from __future__ import annotations

import argparse
from collections.abc import Iterable, Iterator

from nycflights import FLIGHTS, departed, scheduled_seconds, table
from outputs import AppendLines, appended, empty, show
from streams import Event, Replay

import hornbeam as beam
from hornbeam.options.pipeline_options import PipelineOptions
from hornbeam.transforms.trigger import AccumulationMode, AfterCount, AfterWatermark
from hornbeam.transforms.window import FixedWindows, GlobalWindows, IntervalWindow
from hornbeam.utils.windowed_value import PaneInfo, PaneInfoTiming

#: Flights, and the sum of their delays in minutes.
Delays = tuple[int, int]


def departures(path: str) -> Iterator[Event]:
    """(airport, delay in minutes) of each flight that took off, by the time at which it did."""
    for row in table(path):
        if departed(row):
            delay, scheduled = int(row["dep_delay"]), scheduled_seconds(row)
            yield Event(scheduled + 60 * delay, scheduled, (row["origin"], delay))


class AddDelays(beam.CombineFn):
    """Flights and the sum of their delays."""

    def create_accumulator(self) -> Delays:
        return 0, 0

    def add_input(self, accumulator: Delays, delay: int) -> Delays:
        return accumulator[0] + 1, accumulator[1] + delay

    def merge_accumulators(self, accumulators: Iterable[Delays]) -> Delays:
        flights, minutes = zip(*accumulators)
        return sum(flights), sum(minutes)

    def extract_output(self, accumulator: Delays) -> Delays:
        return accumulator


def describe(
    airport: str,
    delays: Delays,
    window: IntervalWindow = beam.DoFn.WindowParam,
    pane: PaneInfo = beam.DoFn.PaneInfoParam,
) -> tuple[tuple[str, str], tuple[int, str, Delays]]:
    """((hour, airport), (index of the pane, its timing, delays))."""
    return (hour(window), airport), (pane.index, PaneInfoTiming.to_string(pane.timing), delays)


def hour(window: IntervalWindow) -> str:
    """`2013-01-01T10:00:00Z`."""
    return window.start.to_rfc3339()


def pane_line(key: tuple[str, str], pane: tuple[int, str, Delays]) -> str:
    """`2013-01-01T10:00:00Z EWR ON_TIME 4 flights, mean 1.5 min`."""
    _, timing, (flights, minutes) = pane
    return f"{' '.join(key)} {timing} {flights} flights, mean {minutes / flights:.1f} min"


def at_the_end() -> beam.WindowInto:
    """One window that fires when the stream ends, with whatever came, however late."""
    return beam.WindowInto(
        GlobalWindows(), trigger=AfterWatermark(), accumulation_mode=AccumulationMode.DISCARDING
    )


def corrected(key: tuple[str, str], parts: dict[str, list[Delays]]) -> str:
    """The last pane and what was dropped, as one line."""
    flights, minutes = map(sum, zip(*parts["last"], *parts["dropped"]))
    dropped = sum(flights for flights, _ in parts["dropped"])
    return f"{' '.join(key)} {flights} flights ({dropped} dropped), mean {minutes / flights:.2f} min"


def run(argv: list[str] | None = None) -> tuple[list[str], list[str]]:
    """Runs the pipeline and gives the panes in the order in which they were fired, and the corrected means, sorted."""
    parser = argparse.ArgumentParser(description=__doc__.splitlines()[0])
    parser.add_argument("--input", default=FLIGHTS, help="a table of flights")
    parser.add_argument("--output", default="out/streaming_flight_delays")
    parser.add_argument(
        "--disorder_minutes", type=float, default=60, help="how late the source expects flights"
    )
    parser.add_argument(
        "--lateness_minutes", type=float, default=120, help="how late flights are still counted"
    )
    args, pipeline_args = parser.parse_known_args(argv)
    source, panes_path = args.input, empty(f"{args.output}-panes")
    corrected_path = empty(f"{args.output}-corrected")

    with beam.Pipeline(options=PipelineOptions(pipeline_args)) as p:
        delays, dropped = (
            p
            | "Departures"
            >> Replay(lambda: departures(source), disorder=60 * args.disorder_minutes, step=900)
            | "Hours"
            >> beam.WindowInto(
                FixedWindows(3600),
                trigger=AfterWatermark(early=AfterCount(20), late=AfterCount(1)),
                accumulation_mode=AccumulationMode.ACCUMULATING,
                allowed_lateness=60 * args.lateness_minutes,
            )
            | "Delays" >> beam.CombinePerKey(AddDelays()).with_late_output("dropped")
        )
        panes = delays | "Describe" >> beam.MapTuple(describe)
        panes | "PaneLines" >> beam.MapTuple(pane_line) | "Panes" >> beam.ParDo(AppendLines(panes_path))
        last = (
            panes
            | "AllPanes" >> at_the_end()
            | "LastPane" >> beam.CombinePerKey(max)
            | "ItsDelays" >> beam.MapTuple(lambda key, pane: (key, pane[2]))
        )
        too_late = (
            dropped
            | "Hour"
            >> beam.MapTuple(
                lambda airport, delay, window=beam.DoFn.WindowParam: ((hour(window), airport), delay)
            )
            | "AllDropped" >> at_the_end()
            | "AddDropped" >> beam.CombinePerKey(AddDelays())
        )
        (
            {"last": last, "dropped": too_late}
            | "Join" >> beam.CoGroupByKey()
            | "Correct" >> beam.MapTuple(corrected)
            | "Corrected" >> beam.ParDo(AppendLines(corrected_path))
        )
    return appended(panes_path), sorted(appended(corrected_path))


if __name__ == "__main__":
    panes, means = run()
    show(panes)
    print()
    show(means)
