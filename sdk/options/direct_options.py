"""Options of the local runners: memory, bundles, workers, temporary files."""

from __future__ import annotations

import argparse
import json

from hornbeam.options.argument_parser import OptionsParser
from hornbeam.options.byte_size import default_memory_limit, parse_bytes
from hornbeam.options.view import PipelineOptions

__all__ = ["DirectOptions"]


class DirectOptions(PipelineOptions):
    """How the DirectRunner works; the first half are Beam's flags, the second ours."""

    @classmethod
    def _add_argparse_args(cls, parser: OptionsParser) -> None:
        parser.add_argument(
            "--no_direct_runner_use_stacked_bundle",
            dest="direct_runner_use_stacked_bundle",
            action="store_false",
            default=True,
            help="Accepted for Beam's sake; bundles are columns here.",
        )
        parser.add_argument(
            "--direct_runner_bundle_repeat",
            type=int,
            default=0,
            help="Run every bundle this many more times, for profiling.",
        )
        parser.add_argument(
            "--direct_num_workers", type=int, default=1, help="Workers to use; 0 is one for each core."
        )
        parser.add_argument(
            "--direct_running_mode",
            default="in_memory",
            choices=["in_memory", "multi_threading", "multi_processing"],
            help="Where workers run.",
        )
        parser.add_argument("--direct_embed_docker_python", default=False, action="store_true")
        parser.add_argument("--direct_test_splits", type=json.loads, default={}, help="Splits, as JSON.")
        parser.add_argument(
            "--memory_limit",
            type=_memory,
            default=None,
            help="What groups and state may hold in memory before they go to disk, such as 256MB."
            " By default half of the machine's memory, at most 4 GB. For LogRunner, what all processes of the job may take.",
        )
        parser.add_argument(
            "--bundle_size",
            type=_count,
            default=0,
            help="Elements in a bundle; 0 lets the engine choose. Tests use 1.",
        )
        parser.add_argument("--temp_dir", default=None, help="Folder of temporary files.")
        parser.add_argument(
            "--run_for_secs",
            type=float,
            default=None,
            help="Let a stream's sources end after so many seconds, and give out what is open then.",
        )
        parser.add_argument(
            "--idle_timeout_secs",
            type=float,
            default=None,
            help="A part of a source that has given nothing for so many seconds holds event time back no longer;"
            " what it gives later may be late. By default it holds it back for ever.",
        )
        parser.add_argument(
            "--clock",
            default="wall",
            help="Where processing time comes from: 'wall', or 'fake' for one that begins at 0 and jumps to whatever is"
            " waited for. Tests give a hornbeam.testing.clock.FakeClock here.",
        )
        parser.add_argument(
            "--no_progress", default=False, action="store_true", help="Show no progress on the terminal."
        )

    def memory_limit_bytes(self) -> int:
        """The memory limit as a number, whether it was given as text, as a number or not at all."""
        limit = self.memory_limit
        return default_memory_limit() if limit is None else parse_bytes(limit)


def _memory(text: str) -> int:
    try:
        return parse_bytes(text)
    except ValueError as error:
        raise argparse.ArgumentTypeError(str(error)) from None


def _count(text: str) -> int:
    try:
        count = int(text)
    except ValueError:
        count = -1
    if count < 0:
        raise argparse.ArgumentTypeError(f"{text!r} is no number of elements; write 0 or more")
    return count
