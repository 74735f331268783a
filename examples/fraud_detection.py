"""Fraud detection with state and timers: small payments that try a card out, and soon after them a large one.

    python examples/fraud_detection.py --small 3 --within_secs 600

Terminals send a payment again when they got no answer, so payments are deduplicated first. For each card the
detector keeps the times of small payments; a large one behind at least `--small` of them within `--within_secs` is
an alarm. A timer forgets what has become too old, so that state does not grow with the number of cards ever seen.
Payments of a card are taken in the order of their times, though they arrive in another one. They are made up, the
same ones for the same `--seed`.
"""

from __future__ import annotations

import argparse
import random
from collections.abc import Iterator
from functools import partial
from typing import Any

from outputs import AppendLines, appended, empty, show
from streams import Event, Replay

import hornbeam as beam
from hornbeam.coders import VarIntCoder
from hornbeam.options.pipeline_options import PipelineOptions
from hornbeam.transforms.deduplicate import Deduplicate
from hornbeam.transforms.timeutil import TimeDomain
from hornbeam.transforms.userstate import OrderedListStateSpec, TimerSpec, on_timer
from hornbeam.utils.timestamp import MIN_TIMESTAMP, Duration, Timestamp

SMALL, LARGE = 5, 200

#: (number, card, amount)
Payment = tuple[int, str, int]


def payments(seed: int, count: int) -> Iterator[Event]:
    """Payments with cards; one in ten is sent twice."""
    choose = random.Random(seed)
    for number in range(count):
        time = 1_700_000_000 + number * 4 + choose.randint(0, 3)
        amount = choose.choice((1, 2, 3, 20, 60, 90, 250, 400))
        payment = (number, f"card{choose.randint(1, 60):02}", amount)
        yield Event(time + choose.uniform(0, 60), time, payment)
        if choose.random() < 0.1:
            yield Event(time + choose.uniform(1, 110), time, payment)


class Detect(beam.DoFn):
    """An alarm for a large payment soon after several small ones."""

    #: The numbers of small payments, by time.
    TRIED = OrderedListStateSpec("tried", VarIntCoder())
    FORGET = TimerSpec("forget", TimeDomain.WATERMARK)

    def __init__(self, least: int, within_secs: float) -> None:
        self.least = least
        self.within = Duration(within_secs)

    @beam.DoFn.requires_time_sorted_input
    def process(
        self,
        keyed: tuple[str, Payment],
        time: Timestamp = beam.DoFn.TimestampParam,
        tried: Any = beam.DoFn.StateParam(TRIED),
        forget: Any = beam.DoFn.TimerParam(FORGET),
    ) -> Iterator[str]:
        card, (number, _, amount) = keyed
        if amount <= SMALL:
            tried.add((time, number))
            forget.set(time + self.within)  # moves the timer that was set for an earlier one
        elif amount >= LARGE:
            before = [number for _, number in tried.read_range(time - self.within, time)]
            if len(before) >= self.least:
                yield f"{card}: payment {number} of {amount} after small ones {', '.join(map(str, before))}"

    @on_timer(FORGET)
    def forget_old(
        self, time: Timestamp = beam.DoFn.TimestampParam, tried: Any = beam.DoFn.StateParam(TRIED)
    ) -> None:
        tried.clear_range(MIN_TIMESTAMP, time - self.within + Duration(micros=1))


def run(argv: list[str] | None = None) -> list[str]:
    """Runs the pipeline and gives the alarms in the order in which they were raised."""
    parser = argparse.ArgumentParser(description=__doc__.splitlines()[0])
    parser.add_argument("--seed", type=int, default=1)
    parser.add_argument("--payments", type=int, default=5000)
    parser.add_argument(
        "--small", type=int, default=4, help="how many small payments make a large one suspicious"
    )
    parser.add_argument("--within_secs", type=float, default=600)
    parser.add_argument("--output", default="out/fraud_detection")
    args, pipeline_args = parser.parse_known_args(argv)
    output = empty(args.output)

    with beam.Pipeline(options=PipelineOptions(pipeline_args)) as p:
        (
            p
            | "Payments" >> Replay(partial(payments, args.seed, args.payments), disorder=120, step=10)
            | "Once" >> Deduplicate(event_time_duration=300)
            | "Card" >> beam.Map(lambda payment: (payment[1], payment)).with_output_types(tuple[str, Payment])
            | "Detect" >> beam.ParDo(Detect(args.small, args.within_secs))
            | "Append" >> beam.ParDo(AppendLines(output))
        )
    return appended(output)


if __name__ == "__main__":
    show(run())
