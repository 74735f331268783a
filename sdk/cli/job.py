"""`hornbeam job COMMAND DIR [NAME]`: jobs of LogRunner, from outside. Commands are listed in `_COMMANDS`.

What a running job is told goes through its folder (`hornbeam.runners.log.job_folder`), so any terminal of the machine
will do.
"""

from __future__ import annotations

import argparse
import datetime
import json
import os
import shlex
import sys
import time
from collections.abc import Mapping
from typing import Any

import attrs

from hornbeam.cli.tables import print_table, size_text
from hornbeam.error import BeamError
from hornbeam.options.pipeline_options import PipelineOptions
from hornbeam.runners.log.job_folder import DamagedRecordError, JobFolder, jobs_in
from hornbeam.runners.log.job_status import JobStatus, StepStatus
from hornbeam.runners.log.replay import replay
from hornbeam.runners.log.sinks import sinks_of
from hornbeam.runners.log.states import ENDED, FINISHED
from hornbeam.runners.runner import create_runner
from hornbeam.storage.checkpoint.inspection import list_store
from hornbeam.storage.errors import StorageError
from hornbeam.utils.timestamp import MAX_TIMESTAMP_MICROS

#: A coordinator says how it does about once a second.
_SILENT_SECONDS = 10.0


def add_parser(subparsers: argparse._SubParsersAction[argparse.ArgumentParser]) -> None:
    """Add the command to the program's parser."""
    parser = subparsers.add_parser("job", help="jobs of LogRunner")
    commands = parser.add_subparsers(dest="job_command", required=True, metavar="COMMAND")
    for name, (_, summary) in _COMMANDS.items():
        command = commands.add_parser(name, help=summary, description=summary)
        command.add_argument("directory", help="the jobs' --log_dir")
        if name != "list":
            command.add_argument("job", help="the job's name")
        if name not in ("resume", "replay"):
            command.add_argument("--json", action="store_true", help="JSON instead of text")
        if name in ("savepoint", "stop"):
            command.add_argument("--name", help="the savepoint's name; else one that says when it was taken")
        if name in ("savepoint", "stop", "drain", "cancel", "explain"):
            command.add_argument(
                "--timeout", type=_seconds, default=60.0, help="seconds to wait for the job's answer"
            )
        if name == "status":
            command.add_argument(
                "--follow", type=_seconds, metavar="SECONDS", help="again and again, until it ends"
            )
        if name == "explain":
            command.add_argument(
                "--step", default="", help="only what holds this step back, by its full label"
            )
        if name == "delete":
            command.add_argument("--yes", action="store_true", help="do not ask")
        if name in ("resume", "replay"):
            command.add_argument(
                "--from", dest="restore_from", help="a savepoint's name or a checkpoint's number"
            )
        if name == "resume":
            command.add_argument("--num_workers", type=int, help="with so many workers from now on")
        if name == "replay":
            command.add_argument(
                "--step", default="", help="show what goes in and out of it, by its full label"
            )
            command.add_argument(
                "--key", help="give that step this key's elements only, as str or repr shows it"
            )
            command.add_argument(
                "--elements", type=int, default=100_000, help="end when sources gave so many"
            )
    parser.set_defaults(run=run)


def _seconds(text: str) -> float:
    try:
        seconds = float(text)
    except ValueError:
        seconds = 0.0
    if not 0 < seconds < 1e9:
        raise argparse.ArgumentTypeError(f"{text!r} is not a number of seconds above 0")
    return seconds


def run(args: argparse.Namespace) -> int:
    """Carry out a parsed command; the exit status: 1 for what was refused or has failed."""
    try:
        return int(_COMMANDS[args.job_command][0](args) or 0)
    except BrokenPipeError:
        raise
    except (BeamError, StorageError, OSError) as error:
        print(f"hornbeam job {args.job_command}: {error}", file=sys.stderr)
        return 1


# Looking


def _list(args: argparse.Namespace) -> None:
    if not os.path.isdir(args.directory):
        raise NotADirectoryError(f"there is no folder {os.path.abspath(args.directory)}")
    jobs = [_summary_or_damage(folder) for folder in jobs_in(args.directory)]
    if args.json:
        print(json.dumps(jobs, indent=1))
    elif not jobs:
        print(f"no jobs in {args.directory}")
    else:
        rows = [
            [
                job["job"],
                job["state"],
                job["workers"],
                _time(job["created_micros"]) if job["created_micros"] else "-",
                job["newest_checkpoint"] if job["newest_checkpoint"] is not None else "-",
                ", ".join(job["savepoints"]) or "-",
                f"{job['elements_per_s']:,.0f}",
                job["restarts"],
            ]
            for job in jobs
        ]
        print_table(
            ["JOB", "STATE", "WORKERS", "CREATED", "CHECKPOINT", "SAVEPOINTS", "EVENTS/S", "RESTARTS"], rows
        )


def _summary_or_damage(folder: JobFolder) -> dict[str, Any]:
    """The summary; one job that is damaged does not hide the others."""
    try:
        return _summary(folder)
    except (BeamError, StorageError, OSError) as error:
        print(f"hornbeam job list: {error}", file=sys.stderr)
        known = dict.fromkeys(("newest_checkpoint", "failure"))
        counts = dict.fromkeys(("workers", "created_micros", "elements_per_s", "restarts"), 0)
        return {
            "job": folder.job_name,
            "state": "DAMAGED",
            "savepoints": [],
            "error": str(error),
            **known,
            **counts,
        }


def _summary(folder: JobFolder) -> dict[str, Any]:
    record, status = folder.record(), folder.status()
    # A job that has not come to its first checkpoint has no store yet.
    kept = list_store(folder.checkpoints) if _has_store(folder) else []
    state = folder.state()
    return {
        "job": folder.job_name,
        "state": state,
        "workers": record.num_workers if status is None or not status.workers else len(status.workers),
        "created_micros": record.created_micros,
        "newest_checkpoint": max(
            (int(entry["name"]) for entry in kept if entry["kind"] == "checkpoint"), default=None
        ),
        "savepoints": [entry["name"] for entry in kept if entry["kind"] == "savepoint"],
        "elements_per_s": _rate(status) if state not in ENDED and status is not None else 0.0,
        "restarts": 0 if status is None else status.restarts,
        "failure": None if record.failure is None else dict(record.failure),
    }


def _has_store(folder: JobFolder) -> bool:
    return os.path.isdir(folder.checkpoints) and bool(os.listdir(folder.checkpoints))


def _rate(status: JobStatus) -> float:
    """Elements a second that come in: of the first step that has any."""
    return max((step.elements_per_s for step in status.steps), default=0.0)


def _status(args: argparse.Namespace) -> None:
    folder = JobFolder(args.directory, args.job)
    while True:
        state = folder.state()
        if args.json:
            print(json.dumps(_status_fields(folder, state)), flush=True)
        else:
            _print_status(folder, state)
        if args.follow is None or state in ENDED:
            return
        time.sleep(args.follow)
        if not args.json:
            print(flush=True)


def _status_fields(folder: JobFolder, state: str) -> dict[str, Any]:
    status = folder.status()
    live = {} if status is None else attrs.asdict(status)
    return {**live, **_summary(folder), "state": state, "worker_pids": live.get("workers", ())}


def _print_status(folder: JobFolder, state: str) -> None:
    record, status = folder.record(), folder.status()
    lives = state not in ENDED
    print(f"job         {record.job_name}")
    print(
        f"state       {state}"
        + (f": {status.message}" if status is not None and status.message and lives else "")
    )
    if record.failure is not None and state == "FAILED":
        for name in ("type", "message", "step", "element", "position"):
            if record.failure.get(name):
                print(f"  {name:<9} {record.failure[name]}")
        print(
            "            mend it and start the program again; hornbeam job resume would run the same code again"
        )
    if state == "KILLED":
        print(
            "            its process has gone; start the same command again, or: "
            f"hornbeam job resume {shlex.quote(folder.log_dir)} {folder.job_name}"
        )
    if status is None:
        return
    silent = time.time() - status.updated_micros / 1e6
    if lives and status.updated_micros and silent > _SILENT_SECONDS:
        print(
            f"            its process {status.pid} has said nothing for {silent:.0f} s; what follows is as old"
        )
    if lives:
        print(f"process     {status.pid}; workers {', '.join(map(str, status.workers)) or '-'}")
    print(f"attempts    {record.attempts}; {status.restarts} restarts since the last start")
    if status.last_failure:
        print(f"last failure {status.last_failure}")
    found = status.checkpoint
    if found is not None:
        print(
            f"checkpoint  {found.number} at {_time(found.completed_micros)}: {found.duration_ms:.0f} ms, pause "
            f"{found.pause_ms:.0f} ms, {size_text(found.bytes)} of {size_text(found.total_bytes)}"
        )
    if status.steps:
        print()
        titles = ["STEP", "ELEMENTS", "PER S", "WATERMARK", "LAG", "BACKLOG", "KEPT", "DROPPED", "HOT KEYS"]
        print_table(titles, [_step_row(step, lives) for step in status.steps])


def _step_row(step: StepStatus, lives: bool) -> list[str]:
    return [
        step.label,
        f"{step.elements:,}",
        f"{step.elements_per_s:,.0f}" if lives else "-",
        _watermark(step.output_watermark),
        "-" if step.lag_ms is None or not lives or _is_end(step.output_watermark) else _duration(step.lag_ms),
        _backlog(step),
        f"{step.entries:,}",
        f"{step.dropped:,}",
        ", ".join(f"{key} {share:.0%}" for key, share in step.hot_keys) or "-",
    ]


def _backlog(step: StepStatus) -> str:
    elements, size = step.backlog_elements, step.backlog_bytes
    shown = [] if elements is None or (size is not None and not elements) else [f"{elements:,}"]
    return ", ".join(shown if size is None else [*shown, size_text(size)]) or "-"


# Telling


def _ask(args: argparse.Namespace, name: str, /, **arguments: Any) -> Mapping[str, Any]:
    folder = JobFolder(args.directory, args.job)
    folder.record()  # says if there is no such job
    return folder.ask(name, args.timeout, **arguments)


def _savepoint(args: argparse.Namespace) -> None:
    answer = _ask(args, args.job_command, name=args.name)
    text = f"savepoint {answer['savepoint']} (checkpoint {answer['checkpoint']})"
    if args.job_command == "stop":
        text = (
            f"stopped with {text}; go on with: hornbeam job resume {shlex.quote(args.directory)} {args.job}"
        )
    _say(args, answer, text)


def _end(args: argparse.Namespace) -> None:
    answer = _ask(args, args.job_command)
    _say(args, answer, f"{args.job} is {answer['state']}")


def _explain(args: argparse.Namespace) -> None:
    answer = _ask(args, "explain", step=args.step)
    _say(args, answer, answer["text"])


def _say(args: argparse.Namespace, answer: Mapping[str, Any], text: str) -> None:
    print(json.dumps(answer) if args.json else text)


# Beginning and ending for good


def _resume(args: argparse.Namespace) -> int:
    """Runs the job in this process, as it was started, until it ends; after Ctrl-C it can be resumed."""
    folder = JobFolder(args.directory, args.job)
    record = folder.record()
    if folder.state() in FINISHED and args.restore_from is None:
        print(
            f"{args.job} is {record.state}: it has come to its end. Go back with --from SAVEPOINT, or start it with --fresh."
        )
        return 1
    given = {name: value for name, value in record.options.items() if value is not None}
    options = {
        **given,
        "runner": "LogRunner",
        "log_dir": folder.log_dir,
        "job_name": folder.job_name,
    }
    options["fresh"] = False
    options.pop("restore_from", None)
    options["restore_again"] = True
    options |= {
        name: value for name in ("restore_from", "num_workers") if (value := getattr(args, name)) is not None
    }
    result = create_runner("LogRunner").run(folder.graph(), PipelineOptions.from_dictionary(options))
    directory = shlex.quote(args.directory)
    print(f"{args.job} runs; hornbeam job status {directory} {args.job} shows it", flush=True)
    print(f"{args.job} is {result.wait_until_finish()}")
    return 0


def _replay(args: argparse.Namespace) -> None:
    """Runs user code in this very thread, so that pdb works."""
    folder = JobFolder(args.directory, args.job)
    folder.record()
    given: str | None = args.restore_from
    which = int(given) if given is not None and given.isdigit() else given
    count = replay(folder, which, args.step, args.key, args.elements)
    print(f"{count:,} elements of sources were taken in; nothing was written")


def _delete(args: argparse.Namespace) -> int:
    folder = JobFolder(args.directory, args.job)
    try:
        folder.record()
    except DamagedRecordError as error:
        print(error, file=sys.stderr)  # all the more reason
    if not args.yes:
        if not sys.stdin.isatty():
            print("hornbeam job delete: give --yes to delete without being asked", file=sys.stderr)
            return 2
        kept = ", ".join(_summary_or_damage(folder)["savepoints"]) or "none"
        answer = input(f"Delete {args.job} with all checkpoints and savepoints ({kept})? [y/N] ")
        if answer.strip().lower() not in ("y", "yes"):
            return 1
    try:
        sinks = sinks_of(folder.graph())
    except Exception as error:  # the graph holds the author's code, whose modules may not be here
        print(f"what its sinks have staged stays, as its graph cannot be read: {error}", file=sys.stderr)
        sinks = {}
    folder.delete()
    _clear_sinks(sinks)
    _say(args, {"deleted": args.job}, f"{args.job} is deleted")
    return 0


def _clear_sinks(sinks: Mapping[str, Any]) -> None:
    """Removes what the job's sinks staged and never committed."""
    try:
        for sink in sinks.values():
            if hasattr(sink, "recover"):
                sink.recover([])
    except Exception as error:
        print(
            f"what its sinks have staged could not be removed: {type(error).__name__}: {error}",
            file=sys.stderr,
        )


_COMMANDS = {
    "list": (_list, "all jobs of a log directory"),
    "status": (_status, "how a job does, step by step"),
    "savepoint": (_savepoint, "keep the job's state by name, and go on"),
    "stop": (_savepoint, "take a savepoint, then end; resume goes on from there"),
    "drain": (_end, "end the sources, give out what is kept, and finish"),
    "cancel": (_end, "end at once; what was not committed is not given out"),
    "resume": (_resume, "run a job again from its newest checkpoint, or another one"),
    "delete": (_delete, "remove a job that does not run, with all its checkpoints and savepoints"),
    "explain": (_explain, "what holds event time back"),
    "replay": (_replay, "run the job's steps from a checkpoint in this process, without touching the job"),
}


def _time(micros: int) -> str:
    return time.strftime("%Y-%m-%d %H:%M:%S", time.gmtime(micros / 1e6))


def _watermark(mark: int | str | None) -> str:
    if mark is None:
        return "none yet"
    if _is_end(mark):
        return "end"
    assert isinstance(mark, int)
    try:
        return datetime.datetime.fromtimestamp(mark / 1e6, datetime.UTC).isoformat(" ", "milliseconds")[:-6]
    except (OverflowError, ValueError, OSError):
        return f"{mark / 1e6:.0f} s"


def _is_end(mark: int | str | None) -> bool:
    """Whether the watermark is at the end of time, or as good as there."""
    return isinstance(mark, str) or (mark is not None and mark >= MAX_TIMESTAMP_MICROS)


def _duration(milliseconds: int) -> str:
    if abs(milliseconds) < 10_000:
        return f"{milliseconds} ms"
    seconds = milliseconds / 1000
    for unit, size in (("days", 86_400), ("h", 3600), ("min", 60)):
        if abs(seconds) >= 2 * size:
            return f"{seconds / size:.1f} {unit}"
    return f"{seconds:.1f} s"
