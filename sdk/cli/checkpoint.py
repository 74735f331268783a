"""`hornbeam checkpoint list|describe|verify|dump DIR`: looking into a checkpoint store, also beside its writer."""

from __future__ import annotations

import argparse
import base64
import json
import sys
import time
from itertools import islice
from typing import Any

from hornbeam.cli.tables import print_table, size_text
from hornbeam.storage.checkpoint.catalog import StoreReader
from hornbeam.storage.checkpoint.inspection import describe, list_store
from hornbeam.storage.checkpoint.key import StateKey
from hornbeam.storage.checkpoint.verify import verify
from hornbeam.storage.errors import StorageError


def add_parser(subparsers: argparse._SubParsersAction[argparse.ArgumentParser]) -> None:
    """Add the command to the program's parser."""
    parser = subparsers.add_parser("checkpoint", help="look into a checkpoint store")
    commands = parser.add_subparsers(dest="checkpoint_command", required=True, metavar="COMMAND")

    listing = commands.add_parser("list", help="checkpoints and savepoints, oldest first")
    described = commands.add_parser("describe", help="one checkpoint: figures, states, files, metadata")
    verified = commands.add_parser("verify", help="read every byte and check it")
    dumped = commands.add_parser("dump", help="the entries of one checkpoint")
    for command in (listing, described, verified, dumped):
        command.add_argument("directory", help="the store's directory")
    for command in (listing, described, verified):
        command.add_argument("--json", action="store_true", help="JSON instead of a table")
    for command in (described, dumped):
        command.add_argument(
            "--at", metavar="WHICH", help="a checkpoint's number or a savepoint's name; the newest"
        )
    verified.add_argument(
        "--repair", action="store_true", help="mend what can be mended; set aside what cannot"
    )
    dumped.add_argument("--state", help="only this state")
    dumped.add_argument("--groups", metavar="A-B", help="only key groups A to B, both included")
    dumped.add_argument("--limit", type=int, metavar="N", help="at most N entries")
    parser.set_defaults(run=run)


def run(args: argparse.Namespace) -> int:
    """Carry out a parsed command; the exit status: 1 for damage found, 2 for a command that could not run."""
    try:
        return int(_COMMANDS[args.checkpoint_command](args))
    except (StorageError, ValueError) as error:
        print(f"hornbeam checkpoint: {error}", file=sys.stderr)
        return 2
    except BrokenPipeError:
        sys.stderr.close()
        return 0


def _list(args: argparse.Namespace) -> int:
    listed = list_store(args.directory)
    if args.json:
        print(json.dumps(listed, indent=1))
        return 0
    if not listed:
        print(f"{args.directory} holds no checkpoint yet")
        return 0
    rows = [
        [
            entry["kind"],
            entry["name"],
            _time(entry["created_ms"]),
            "full" if entry["base"] is None else f"+{entry['base']}",
            entry["files"],
            size_text(entry["bytes"]),
            size_text(entry["bytes_added"]),
            entry["entries"],
        ]
        for entry in listed
    ]
    print_table(["KIND", "NAME", "CREATED", "BASE", "FILES", "SIZE", "ADDED", "ENTRIES"], rows)
    return 0


def _describe(args: argparse.Namespace) -> int:
    described = describe(args.directory, _which(args.at))
    if args.json:
        print(json.dumps(described, indent=1))
        return 0
    print(f"{described['kind']} {described['name']}, made {_time(described['created_ms'])}")
    base = "nothing (a full one)" if described["base"] is None else f"checkpoint {described['base']}"
    print(f"adds to {base}; {described['key_groups']} key groups; {size_text(described['bytes'])}")
    print(f"metadata: {json.dumps(described['metadata'], indent=1, ensure_ascii=False)}\n")
    print_table(
        ["STATE", "ENTRIES WRITTEN", "SIZE"],
        [[row["state"], row["entries"], size_text(row["bytes"])] for row in described["states"]],
    )
    print()
    print_table(
        ["FILE", "SIZE", "ENTRIES", "DELETES", "GROUPS", "RUN", "REFERENCES"],
        [
            [
                row["name"],
                size_text(row["size"]),
                row["entries"],
                row["tombstones"],
                f"{row['first_group']}-{row['last_group']}",
                row["run"],
                row["references"],
            ]
            for row in described["state_files"]
        ],
    )
    return 0


def _verify(args: argparse.Namespace) -> int:
    report = verify(args.directory, repair=args.repair)
    if args.json:
        fields = {
            "sound": report.sound,
            "manifests": report.manifests,
            "files": report.files,
            "bytes": report.bytes,
            "problems": [
                {"path": p.path, "offset": p.offset, "reason": p.reason, "remedy": p.remedy}
                for p in report.problems
            ],
            "orphans": report.orphans,
        }
        print(json.dumps(fields, indent=1))
        return 0 if report.sound else 1
    for problem in report.problems:
        print(problem)
    for path in report.orphans:
        print(f"{path}: left unfinished; cleared away when the store is next opened for writing")
    verdict = "sound" if report.sound else f"{len(report.problems)} problems"
    print(f"{report.manifests} manifests, {report.files} state files, {size_text(report.bytes)}: {verdict}")
    return 0 if report.sound else 1


def _dump(args: argparse.Namespace) -> int:
    with StoreReader(args.directory).snapshot(_which(args.at), _groups(args.groups)) as snapshot:
        for key, value in islice(snapshot.scan(state=args.state), args.limit):
            print(json.dumps(_entry(key, value), ensure_ascii=False))
    return 0


_COMMANDS = {"list": _list, "describe": _describe, "verify": _verify, "dump": _dump}


def _entry(key: StateKey, value: bytes) -> dict[str, Any]:
    return {
        "state": key.state,
        "key_group": key.key_group,
        "key": _text(key.key),
        "window": _text(key.window),
        "value": _text(value),
    }


def _text(data: bytes) -> str | dict[str, str]:
    """Printable UTF-8 as a string, anything else as {"base64": ...}."""
    try:
        text = data.decode()
    except UnicodeDecodeError:
        text = "\0"
    return text if text.isprintable() else {"base64": base64.b64encode(data).decode()}


def _which(text: str | None) -> int | str | None:
    return int(text) if text is not None and text.isdigit() else text


def _groups(text: str | None) -> range | None:
    if text is None:
        return None
    first, _, last = text.partition("-")
    if not first.isdigit() or (last and not last.isdigit()):
        raise ValueError(f"--groups {text!r} is not A-B, such as 0-63")
    return range(int(first), int(last or first) + 1)


def _time(created_ms: int) -> str:
    return time.strftime("%Y-%m-%d %H:%M:%S", time.gmtime(created_ms / 1000))
