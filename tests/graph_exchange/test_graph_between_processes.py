"""A graph built and saved in one process is loaded and run in another, which never saw the script that built it."""

from __future__ import annotations

import pathlib
import subprocess
import sys
import textwrap

BUILD = """
    import dataclasses
    import sys

    import hornbeam as beam
    from hornbeam.graph import serialize
    from hornbeam.pvalue import AsList, TaggedOutput


    @dataclasses.dataclass(frozen=True)
    class Word:
        text: str


    class Scale(beam.DoFn):
        def __init__(self, factor):
            self.factor = factor

        def process(self, element, *, named=1):
            yield element * self.factor * named


    class Longest(beam.CombineFn):
        def create_accumulator(self):
            return Word("")

        def add_input(self, accumulator, word):
            return max(accumulator, word, key=lambda w: (len(w.text), w.text))

        def merge_accumulators(self, accumulators):
            return max(accumulators, key=lambda w: (len(w.text), w.text))

        def extract_output(self, accumulator):
            return accumulator.text


    LIMIT = 2


    def closure(n):
        def add(x):
            return x + n + LIMIT
        return add


    out = sys.argv[2]


    def write(name):
        def append(x):
            with open(f"{out}/{name}", "a") as file:
                file.write(f"{x}\\n")
        return append


    def main():
        pipeline = beam.Pipeline()
        numbers = pipeline | beam.Create([1, 2, 3])
        numbers | "closure" >> beam.Map(closure(10)) | "w1" >> beam.Map(write("closure"))
        numbers | beam.ParDo(Scale(3), named=2) | "w2" >> beam.Map(write("dofn"))
        words = pipeline | "words" >> beam.Create([Word("a"), Word("bcd"), Word("ef"), Word("a")])
        words | beam.CombineGlobally(Longest()) | "w3" >> beam.Map(write("combine"))
        words | beam.combiners.Count.PerElement() | "w4" >> beam.MapTuple(
            lambda word, n: write("keys")(f"{word.text} {n}")
        )
        results = numbers | beam.Map(
            lambda x, side: TaggedOutput("big", x) if x > len(side) else x, AsList(words)
        ).with_outputs("big", main="small")
        results.small | "w5" >> beam.Map(write("small"))
        (
            numbers
            | "time" >> beam.Map(lambda x: beam.window.TimestampedValue(("k", x), x))
            | beam.WindowInto(beam.window.FixedWindows(2))
            | beam.CombinePerKey(sum)
            | "w6" >> beam.Map(lambda kv, w=beam.DoFn.WindowParam: write("windows")(f"{kv[1]} {w}"))
        )
        serialize.save(pipeline.to_graph(), sys.argv[1])


    if __name__ == "__main__":
        main()
"""

RUN = """
    import sys

    from hornbeam.graph import serialize
    from hornbeam.options.pipeline_options import PipelineOptions
    from hornbeam.runners.runner import create_runner

    result = create_runner("DirectRunner").run(serialize.load(sys.argv[1]), PipelineOptions(["--no_progress"]))
    print(result.wait_until_finish())
"""


def python(script: str, name: str, folder: pathlib.Path, *args: object) -> str:
    path = folder / name
    path.write_text(textwrap.dedent(script))
    done = subprocess.run(
        [sys.executable, path, *map(str, args)], capture_output=True, text=True, timeout=120
    )
    assert done.returncode == 0, done.stderr
    return done.stdout.strip()


def test_lambdas_closures_and_classes_of_main_travel_in_a_saved_graph(tmp_path):
    there, here, out = tmp_path / "there", tmp_path / "here", tmp_path / "out"
    for folder in (there, here, out):
        folder.mkdir()
    python(BUILD, "build_it.py", there, tmp_path / "graph.json", out)
    (there / "build_it.py").unlink()
    assert python(RUN, "run_it.py", here, tmp_path / "graph.json") == "DONE"
    assert {path.name: sorted(path.read_text().split("\n")[:-1]) for path in out.iterdir()} == {
        "closure": ["13", "14", "15"],
        "dofn": ["12", "18", "6"],
        "combine": ["bcd"],
        "keys": ["a 2", "bcd 1", "ef 1"],
        "small": ["1", "2", "3"],
        "windows": ["1 [0.0, 2.0)", "5 [2.0, 4.0)"],
    }


def test_a_saved_graph_is_the_same_when_it_is_saved_again(tmp_path):
    python(BUILD, "build_it.py", tmp_path, tmp_path / "graph.json", tmp_path)
    again = """
        import sys
        from hornbeam.graph import serialize
        serialize.save(serialize.load(sys.argv[1]), sys.argv[2])
    """
    python(again, "again.py", tmp_path, tmp_path / "graph.json", tmp_path / "again.json")
    assert (tmp_path / "again.json").read_bytes() == (tmp_path / "graph.json").read_bytes()
