"""Options of the MultiProcessRunner: how many workers, how long one may hang, how exchange files are compressed."""

from __future__ import annotations

import argparse
import os
from typing import Any

from hornbeam.options.argument_parser import OptionsParser
from hornbeam.options.view import PipelineOptions

__all__ = ["MultiProcessOptions"]


class MultiProcessOptions(PipelineOptions):
    """How the MultiProcessRunner works. `--num_workers` is one of WorkerOptions; memory and bundles of DirectOptions."""

    @classmethod
    def _add_argparse_args(cls, parser: OptionsParser) -> None:
        parser.add_argument(
            "--min_workers",
            type=_count,
            default=None,
            help="Worker processes to start with, and to keep. By default as many as there may be.",
        )
        parser.add_argument(
            "--max_workers",
            type=_count,
            default=None,
            help="Worker processes that there may be when much work waits. By default --num_workers.",
        )
        parser.add_argument(
            "--worker_timeout",
            type=_seconds,
            default=0.0,
            help="Seconds after which a worker that does not get on is ended, and its work done again; 0 is never."
            " A single element, or a single call of user code, must not take longer.",
        )
        parser.add_argument(
            "--exchange_compression",
            default=None,
            choices=["lz4", "zstd"],
            help="How files between stages are compressed. By default they are not.",
        )

    def worker_bounds(self, num_workers: int | None) -> tuple[int, int]:
        """The least and the most workers, of these options and `--num_workers`; by default the cores at hand."""
        most = self.max_workers or num_workers or max(cores(), self.min_workers or 1)
        least = self.min_workers or num_workers or most
        return min(least, most), most

    def validate(self, validator: Any) -> list[str]:
        """The mistakes in these options."""
        few, many = self.min_workers, self.max_workers
        if few is not None and many is not None and few > many:
            return [f"--min_workers={few} is more than --max_workers={many}."]
        return []


def cores() -> int:
    """The cores that this process may run on."""
    try:
        return len(os.sched_getaffinity(0))
    except AttributeError:  # not on every system
        return os.cpu_count() or 1


def _count(text: str) -> int:
    if not text.isdecimal() or int(text) < 1:
        raise argparse.ArgumentTypeError(f"{text!r} is no number of workers; write 1 or more")
    return int(text)


def _seconds(text: str) -> float:
    try:
        seconds = float(text)
    except ValueError:
        seconds = -1.0
    if not seconds >= 0:
        raise argparse.ArgumentTypeError(f"{text!r} is no number of seconds; write 0 or more")
    return seconds
