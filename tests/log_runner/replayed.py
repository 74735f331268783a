"""The pipeline that the tests of replay run: totals of even and odd numbers in windows of ten."""

from __future__ import annotations

from collections.abc import Callable
from pathlib import Path
from typing import Any

import hornbeam as beam
from hornbeam.coders import VarIntCoder
from hornbeam.io.logio import ReadFromLog, WriteToLog
from hornbeam.storage.log import Log, Producer
from hornbeam.transforms.timeutil import TimeDomain
from hornbeam.transforms.userstate import CombiningValueStateSpec, TimerSpec, on_timer
from hornbeam.transforms.window import FixedWindows
from hornbeam.utils.timestamp import Timestamp

SECOND = 1_000_000

#: What a test has done for each number.
on_number: list[Callable[[int], object]] = []


def name_of(number: int) -> str:
    """`even` or `odd`."""
    for call in on_number:
        call(number)
    return "even" if number % 2 == 0 else "odd"


def totals(directory: Path) -> Any:
    """Builds it."""

    def build(p: beam.Pipeline) -> Any:
        return (
            p
            | "Numbers" >> ReadFromLog(directory / "log", "numbers", value_coder=int, idle_timeout=None)
            | "Pairs" >> beam.Map(lambda n: (name_of(n), n)).with_output_types(tuple[str, int])
            | "Windows" >> beam.WindowInto(FixedWindows(10))
            | "Totals" >> beam.CombinePerKey(sum)
            | "Out" >> WriteToLog(directory / "log", "totals", value_coder=repr, partitions=1)
        )

    return build


class Remind(beam.DoFn):
    """Counts, and says the count of a key ten minutes after its first number."""

    COUNT = CombiningValueStateSpec("count", VarIntCoder(), sum)
    LATER = TimerSpec("later", TimeDomain.REAL_TIME)

    def process(
        self,
        pair: Any,
        count: Any = beam.DoFn.StateParam(COUNT),
        later: Any = beam.DoFn.TimerParam(LATER),
    ) -> Any:
        count.add(1)
        if count.read() == 1:
            later.set(Timestamp.now() + 600)
        yield f"{pair[1]} is number {count.read()}"

    @on_timer(LATER)
    def remind(self, key: Any = beam.DoFn.KeyParam, count: Any = beam.DoFn.StateParam(COUNT)) -> Any:
        yield f"{count.read()} {key} numbers"


def reminders(directory: Path) -> Any:
    """Builds a pipeline with it."""

    def build(p: beam.Pipeline) -> Any:
        return (
            p
            | "Numbers" >> ReadFromLog(directory / "log", "numbers", value_coder=int, idle_timeout=None)
            | "Pairs" >> beam.Map(lambda n: (name_of(n), n)).with_output_types(tuple[str, int])
            | "Remind" >> beam.ParDo(Remind())
            | "Out" >> WriteToLog(directory / "log", "reminders", value_coder=str.encode, partitions=1)
        )

    return build


def append(log: Log, *numbers: int) -> None:
    """Number n at second n, spread over partitions."""
    with Producer(log) as producer:
        for number in numbers:
            producer.append("numbers", [b"%d" % number], timestamps=number * SECOND, partition=number % 2)
