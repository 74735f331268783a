"""A pipeline built in one process and run in another: the graph is a file between them.

    python examples/saved_graph.py build --graph out/pipeline.json --output out/saved_graph
    python examples/saved_graph.py show --graph out/pipeline.json
    python examples/saved_graph.py run --graph out/pipeline.json --memory_limit=256MB

The file is versioned JSON: what can be read of each step, and the user's functions pickled. `show` draws it as Mermaid.
The runner never sees the classes that built it. Run only files that you trust: a pickle is code. The command
`hornbeam graph` does the last two as well, and checks and compares such files.
"""

from __future__ import annotations

import argparse

from nycflights import FLIGHTS, ReadTable

import hornbeam as beam
from hornbeam.graph.render import to_mermaid
from hornbeam.graph.serialize import load, save
from hornbeam.options.pipeline_options import PipelineOptions
from hornbeam.runners.runner import create_runner


def build(graph_path: str, output: str) -> None:
    """Builds the pipeline (flights a carrier) and saves its graph; nothing runs."""
    pipeline = beam.Pipeline()
    (
        pipeline
        | "Flights" >> ReadTable(FLIGHTS)
        | "Carrier" >> beam.Map(lambda row: row["carrier"])
        | "Count" >> beam.combiners.Count.PerElement()
        | "Format" >> beam.MapTuple(lambda carrier, count: f"{carrier} {count}")
        | "Write" >> beam.io.WriteToText(output)
    )
    save(pipeline.to_graph(), graph_path)


def run_saved(graph_path: str, pipeline_args: list[str]) -> str:
    """Loads the graph and runs it; gives the state in which the job ended."""
    options = PipelineOptions(pipeline_args)
    runner = create_runner(options.view_as(beam.options.pipeline_options.StandardOptions).runner)
    return runner.run(load(graph_path), options).wait_until_finish()


def run(argv: list[str] | None = None) -> str:
    """Does what the command says; gives the path, the drawing or the job's state."""
    parser = argparse.ArgumentParser(description=__doc__.splitlines()[0])
    parser.add_argument("command", choices=["build", "show", "run"])
    parser.add_argument("--graph", default="out/pipeline.json")
    parser.add_argument(
        "--output", default="out/saved_graph", help="where the pipeline will write (for build)"
    )
    args, pipeline_args = parser.parse_known_args(argv)
    if args.command == "build":
        build(args.graph, args.output)
        return args.graph
    if args.command == "show":
        return to_mermaid(load(args.graph))
    return run_saved(args.graph, pipeline_args)


if __name__ == "__main__":
    print(run())
