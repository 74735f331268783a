"""`hornbeam graph`: look at, check, compare and run pipelines that were saved with `hornbeam.graph.save`."""

from __future__ import annotations

import argparse
import sys
from collections.abc import Callable
from typing import Any

from hornbeam.error import BeamError
from hornbeam.graph.compare import compare
from hornbeam.graph.model import Graph
from hornbeam.graph.render import to_dot, to_mermaid, to_text
from hornbeam.graph.serialize import load
from hornbeam.options.pipeline_options import PipelineOptions, StandardOptions
from hornbeam.runners.planner import make_plan
from hornbeam.runners.planner.render import to_text as plan_to_text
from hornbeam.runners.runner import create_runner


def _to_plan(graph: Graph) -> str:
    return plan_to_text(make_plan(graph))


_DRAWINGS: dict[str, Callable[[Graph], str]] = {
    "text": to_text,
    "mermaid": to_mermaid,
    "dot": to_dot,
    "plan": _to_plan,
}


def add_parser(subparsers: Any) -> None:
    """Adds the command's arguments."""
    parser = subparsers.add_parser("graph", help="show, check, compare and run saved pipelines")
    actions = parser.add_subparsers(dest="action", required=True)
    show = actions.add_parser("show", help="draw a pipeline")
    show.add_argument("file")
    show.add_argument("--as", dest="drawing", choices=sorted(_DRAWINGS), default="text")
    check = actions.add_parser("check", help="say whether a file holds a valid pipeline")
    check.add_argument("file")
    difference = actions.add_parser("compare", help="say how two pipelines differ, step by step")
    difference.add_argument("old")
    difference.add_argument("new")
    run_action = actions.add_parser("run", help="run a pipeline; further arguments are pipeline options")
    run_action.add_argument("file")
    run_action.add_argument("options", nargs=argparse.REMAINDER)


def run(args: argparse.Namespace) -> int:
    """Does what was asked; a file that cannot be used is an error on one line."""
    try:
        return _ACTIONS[args.action](args)
    except BrokenPipeError:
        raise
    except (BeamError, OSError) as error:
        if getattr(error, "hornbeam_failure", None) is not None:
            raise  # the pipeline's own code failed; its traceback is what the author needs
        print(f"hornbeam graph: {error}", file=sys.stderr)
        return 1


def _show(args: argparse.Namespace) -> int:
    print(_DRAWINGS[args.drawing](load(args.file)).rstrip("\n"))
    return 0


def _check(args: argparse.Namespace) -> int:
    graph = load(args.file)
    print(f"{args.file}: {len(graph.transforms)} transforms, {len(graph.pcollections)} pcollections; valid")
    return 0


def _compare(args: argparse.Namespace) -> int:
    print(compare(load(args.old), load(args.new)))
    return 0


def _run(args: argparse.Namespace) -> int:
    options = PipelineOptions([option for option in args.options if option != "--"])
    result = create_runner(options.view_as(StandardOptions).runner).run(load(args.file), options)
    print(result.wait_until_finish())
    return 0


_ACTIONS = {"show": _show, "check": _check, "compare": _compare, "run": _run}
