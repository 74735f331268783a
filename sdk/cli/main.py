"""`hornbeam`: the command line. Each command is a module that knows its own arguments."""

from __future__ import annotations

import argparse
import importlib
import os
import sys
from collections.abc import Sequence

from hornbeam.uncaught import tell_briefly
from hornbeam.version import __version__

#: The commands, by name: the module that has `add_parser(subparsers)` and `run(args)`, and what it is for.
COMMANDS = {
    "graph": ("hornbeam.cli.graph", "show, check, compare and run saved pipelines"),
    "log": ("hornbeam.cli.log", "topics, records and consumer groups of a log directory"),
    "job": ("hornbeam.cli.job", "jobs of LogRunner: how they do, savepoints, their end and their resumption"),
    "checkpoint": ("hornbeam.cli.checkpoint", "checkpoints and savepoints of a checkpoint store"),
}


def main(argv: Sequence[str] | None = None) -> int:
    """Runs one command and gives the exit status: 0 done, 1 refused or failed, 2 wrong arguments."""
    tell_briefly()
    argv = list(sys.argv[1:] if argv is None else argv)
    parser = argparse.ArgumentParser(prog="hornbeam", description="Tools around hornbeam pipelines.")
    parser.add_argument("--version", action="version", version=f"hornbeam {__version__}")
    subparsers = parser.add_subparsers(dest="command", metavar="command")
    # Only the command that is asked for is loaded: some of them take a while.
    chosen = argv[0] if argv and argv[0] in COMMANDS else None
    for name, (module, summary) in COMMANDS.items():
        if name == chosen:
            importlib.import_module(module).add_parser(subparsers)
        else:
            subparsers.add_parser(name, help=summary, add_help=False)
    args = parser.parse_args(argv)
    if args.command is None:
        parser.print_help()
        return 2
    try:
        return int(importlib.import_module(COMMANDS[args.command][0]).run(args) or 0)
    except BrokenPipeError:
        # Whoever read our output has gone (`hornbeam … | head`); nothing more can be said to them.
        os.dup2(os.open(os.devnull, os.O_WRONLY), sys.stdout.fileno())
        return 1
    except KeyboardInterrupt:
        return 130


if __name__ == "__main__":
    sys.exit(main())
