"""Prints the ratios. `python -m tests.bench [--scale 0.1] [--rounds 5] [--only word]`."""

from __future__ import annotations

import argparse
import platform

from tests.bench.cases import all_cases, files
from tests.bench.harness import measure, table
from tests.bench.stream_cases import stream_cases


def main() -> None:
    """Measures the chosen cases."""
    parser = argparse.ArgumentParser(description=__doc__)
    parser.add_argument(
        "--scale", type=float, default=1.0, help="size of the inputs; 1 is the size in the README"
    )
    parser.add_argument("--rounds", type=int, default=5)
    parser.add_argument("--only", default="", help="only cases whose name contains this")
    args = parser.parse_args()
    print(f"CPython {platform.python_version()}, pipeline / hand-written loop, median of {args.rounds} pairs")
    with files(args.scale) as inputs:
        cases = [case for case in [*all_cases(inputs), *stream_cases(inputs)] if args.only in case.name]
        print(table([measure(case, args.rounds) for case in cases]))


if __name__ == "__main__":
    main()
