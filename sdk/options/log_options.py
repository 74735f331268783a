"""Options of LogRunner: the job's name and folder, workers, checkpoints, what happens on failures."""

from __future__ import annotations

import argparse
import re
from collections.abc import Callable

from hornbeam.options.argument_parser import OptionsParser
from hornbeam.options.view import PipelineOptions

__all__ = ["LogOptions"]


class LogOptions(PipelineOptions):
    """How LogRunner works. `--job_name` and `--num_workers` are Beam's (GoogleCloudOptions, WorkerOptions).

    Another number of workers than before moves the job's state over; by default there is one for each core.
    """

    @classmethod
    def _add_argparse_args(cls, parser: OptionsParser) -> None:
        parser.add_argument(
            "--log_dir",
            default=None,
            help="Folder of LogRunner's jobs; the same folder and name resume a job.",
        )
        parser.add_argument(
            "--checkpoint_interval_ms",
            type=_at_least(1),
            default=1000,
            help="From the beginning of a checkpoint to that of the next; results become visible with it.",
        )
        parser.add_argument(
            "--checkpoints_kept", type=_at_least(1), default=3, help="Checkpoints kept beside savepoints."
        )
        parser.add_argument(
            "--restore_from",
            default=None,
            help="Begin from this checkpoint (a number) or savepoint (a name), not from the newest checkpoint. Done once:"
            " the same command goes on from the newest one afterwards.",
        )
        parser.add_argument(
            "--restore_again",
            default=False,
            action="store_true",
            help="Do --restore_from although an earlier start did.",
        )
        parser.add_argument(
            "--map_transforms",
            default=None,
            help="For a changed pipeline: OLD=NEW,OLD=NEW, labels of steps that have another one now.",
        )
        parser.add_argument(
            "--allow_lost_state",
            default=False,
            action="store_true",
            help="Go on with a changed pipeline although some of what the old one keeps would be lost.",
        )
        parser.add_argument(
            "--fresh",
            default=False,
            action="store_true",
            help="Forget what the job did before, and start over.",
        )
        parser.add_argument(
            "--at_least_once",
            default=False,
            action="store_true",
            help="Sinks write at once and not with the checkpoint: quicker, but a failure may write results twice.",
        )
        parser.add_argument(
            "--worker_timeout_ms",
            type=_at_least(100),
            default=60_000,
            help="A worker that says nothing for so long is replaced.",
        )
        parser.add_argument(
            "--bundle_timeout_ms",
            type=_at_least(100),
            default=600_000,
            help="A worker whose user code does not come back for so long is replaced.",
        )
        parser.add_argument(
            "--failures_max",
            type=_at_least(1),
            default=2,
            help="A failure of user code at the same element fails the job when it comes so many times in a row.",
        )
        parser.add_argument(
            "--skip_poison_to",
            type=_topic,
            default=None,
            help="A topic in the log of --log_dir: elements, and timers, at which user code fails again and again go there.",
        )
        parser.add_argument(
            "--crashes_max",
            type=_at_least(1),
            default=12,
            help="So many dead workers in a row, without a checkpoint in between, fail the job.",
        )
        parser.add_argument(
            "--exchange_bytes_max",
            type=_at_least(1024),
            default=16 << 20,
            help="Bytes that wait between two workers before sources pause.",
        )
        parser.add_argument(
            "--metrics_port",
            type=_at_least(0),
            default=None,
            help="Figures for Prometheus at http://127.0.0.1:PORT/metrics; 0 takes a free port and logs it.",
        )
        parser.add_argument(
            "--inject_restarts",
            type=_at_least(1),
            default=None,
            help="For tests: after every so many bundles take a checkpoint, and begin anew from it.",
        )
        parser.add_argument(
            "--inject_restarts_seed",
            type=int,
            default=None,
            help="For tests: after 1 to --inject_restarts bundles, drawn with this seed for each worker and start of it.",
        )


def _topic(text: str) -> str:
    if not re.fullmatch(r"[A-Za-z0-9_][A-Za-z0-9._-]{0,199}", text):
        raise argparse.ArgumentTypeError(
            f"{text!r} cannot name a topic: use up to 200 letters, digits, '.', '_', '-', not beginning with '.' or '-'"
        )
    return text


def _at_least(minimum: int) -> Callable[[str], int]:
    def read(text: str) -> int:
        try:
            number = int(text)
        except ValueError:
            number = minimum - 1
        if number < minimum:
            raise argparse.ArgumentTypeError(f"{text!r} is not a whole number of at least {minimum}")
        return number

    return read
