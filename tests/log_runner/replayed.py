"""The pipeline that the tests of replay run: totals of even and odd numbers in windows of ten."""

from __future__ import annotations

from collections.abc import Callable
from pathlib import Path
from typing import Any

import hornbeam as beam
from hornbeam.io.logio import ReadFromLog, WriteToLog
from hornbeam.storage.log import Log, Producer
from hornbeam.transforms.window import FixedWindows

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


def append(log: Log, *numbers: int) -> None:
    """Number n at second n, spread over partitions."""
    with Producer(log) as producer:
        for number in numbers:
            producer.append("numbers", [b"%d" % number], timestamps=number * SECOND, partition=number % 2)
