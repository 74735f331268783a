"""What users see of a run on processes is what they see of a run in one: errors, prints, logs, metrics, options, files."""

from __future__ import annotations

import logging
import traceback

import attrs
import numpy as np
import pytest

import hornbeam as beam
from hornbeam.error import DataError
from hornbeam.metrics.metric import Metrics
from hornbeam.options.pipeline_options import PipelineOptions


class NeedsTwo(Exception):
    """Cannot be made from its args."""

    def __init__(self, first, second):
        super().__init__(f"{first} and {second}")
        self.first, self.second = first, second


@attrs.frozen
class Frozen(Exception):
    """Refuses to be changed."""

    code: int


class HoldsALock(Exception):
    """Has something that cannot be pickled."""

    def __init__(self, text):
        import threading

        super().__init__(text)
        self.lock = threading.Lock()


def decode(x):
    return b"\xff".decode()


def raise_from(x):
    try:
        {}["missing"]
    except KeyError as error:
        raise ValueError("wrapped") from error


def raises(error):
    def step(x):
        raise error()

    return step


FAILURES = {
    "a plain error": raises(lambda: ValueError("plain", 3)),
    "more arguments than args": raises(lambda: NeedsTwo(1, "x")),
    "frozen": raises(lambda: Frozen(7)),
    "with a lock": raises(lambda: HoldsALock("locked")),
    "of C": decode,
    "of the system": raises(lambda: OSError(28, "No space left", "/x")),
    "of ours": raises(lambda: DataError("bad data")),
    "with a cause": raise_from,
    "exit": raises(lambda: SystemExit(3)),
}


def failure(options, step) -> BaseException:
    with pytest.raises(BaseException) as caught, beam.Pipeline(options=options) as p:
        p | beam.Create([5]) | "bad" >> beam.Map(step)
    return caught.value


@pytest.mark.parametrize("name", FAILURES)
def test_an_error_is_the_same(flags, name):
    there, here = failure(flags(), FAILURES[name]), failure(PipelineOptions([]), FAILURES[name])
    assert type(there) is type(here)
    assert (str(there), there.args) == (str(here), here.args)
    assert there.__notes__[: len(here.__notes__)] == here.__notes__
    assert there.__notes__[-1].startswith("in worker ")
    assert repr(there.__cause__) == repr(here.__cause__)
    assert there.hornbeam_failure == here.hornbeam_failure
    shown = [(f.filename, f.lineno, f.name) for f in traceback.extract_tb(here.__traceback__)]
    last = [(f.filename, f.lineno, f.name) for f in traceback.extract_tb(there.__traceback__)]
    assert last[-1] == shown[-1]


def test_what_is_printed_on_a_worker_is_printed_here(flags, capsys):
    with beam.Pipeline(options=flags()) as p:
        p | beam.Create([1, 2, 3]) | beam.Map(print)
    assert sorted(capsys.readouterr().out.split()) == ["1", "2", "3"]


def test_logs_come_with_their_step(flags, caplog):
    caplog.set_level(logging.INFO)

    def logs(x):
        logging.getLogger("mine").info("seen %d", x)

    def fails_quietly(x):
        try:
            x / 0
        except ZeroDivisionError:
            logging.getLogger("mine").exception("quiet")
        return x

    with beam.Pipeline(options=flags()) as p:
        p | beam.Create([7]) | "quiet" >> beam.Map(fails_quietly) | "logging" >> beam.Map(logs)
    mine = [record for record in caplog.records if record.name == "mine"]
    assert [record.hornbeam_step for record in mine] == ["quiet", "logging"]
    assert "seen 7" in mine[1].getMessage() and "step 'logging'" in mine[1].getMessage()
    assert "ZeroDivisionError" in mine[0].exc_text


def test_levels_below_those_here_are_not_sent(flags, caplog):
    caplog.set_level(logging.WARNING)
    with beam.Pipeline(options=flags()) as p:
        p | beam.Create([7]) | beam.Map(lambda x: logging.getLogger("mine").info("seen"))
    assert [record for record in caplog.records if record.name == "mine"] == []


def test_metrics_count_each_element_once_however_the_work_is_cut(flags):
    def count(x):
        Metrics.counter("test", "n").inc()
        Metrics.distribution("test", "d").update(x)
        return x

    with beam.Pipeline(options=flags()) as p:
        p | beam.Create(range(50_000)) | "a" >> beam.Map(count) | beam.Reshuffle() | "b" >> beam.Map(count)
    query = p.result.metrics().query()
    assert {(c.key.step, c.committed) for c in query["counters"]} == {("a", 50_000), ("b", 50_000)}
    assert {d.committed.sum for d in query["distributions"]} == {sum(range(50_000))}


def test_bundle_finalizers_run_once_outputs_count(flags, tmp_path):
    class Finalizes(beam.DoFn):
        def process(self, element, finalizer=beam.DoFn.BundleFinalizerParam):
            finalizer.register(lambda: (tmp_path / f"final {element}").touch(exist_ok=False))

    with beam.Pipeline(options=flags()) as p:
        p | beam.Create([1, 2, 3]) | beam.ParDo(Finalizes())
    assert sorted(path.name for path in tmp_path.glob("final*")) == ["final 1", "final 2", "final 3"]


def test_a_large_side_input_is_mapped_and_may_be_changed(flags, tmp_path):
    table = np.arange(1_000_000)

    def look(x, array):
        array[0] = x  # a page of this worker's own
        return int(array[x])

    with beam.Pipeline(options=flags()) as p:
        side = p | "table" >> beam.Create([table])
        found = p | beam.Create(range(1, 5)) | beam.Map(look, beam.pvalue.AsSingleton(side))
        found | beam.CombineGlobally(sum) | beam.Map(str) | beam.io.WriteToText(str(tmp_path / "out"))
    assert [path.read_text() for path in tmp_path.glob("out*")] == ["10\n"]


@pytest.mark.parametrize("codec", ["lz4", "zstd"])
def test_exchange_files_may_be_compressed(flags, tmp_path, codec):
    with beam.Pipeline(options=flags(f"--exchange_compression={codec}")) as p:
        pairs = p | beam.Create(range(20_000)) | beam.Map(lambda i: (i % 10, "x" * 50))
        sizes = pairs | beam.GroupByKey() | beam.Map(lambda kv: len(kv[1]))
        sizes | beam.CombineGlobally(sum) | beam.Map(str) | beam.io.WriteToText(str(tmp_path / "out"))
    assert [path.read_text() for path in tmp_path.glob("out*")] == ["20000\n"]
    assert p.result.exchange_bytes < 300_000


def test_elements_that_cannot_be_pickled_name_their_step(flags):
    with pytest.raises(TypeError, match="pickle") as caught, beam.Pipeline(options=flags()) as p:
        import threading

        (
            p
            | beam.Create([1])
            | "locks" >> beam.Map(lambda x: threading.Lock())
            | beam.Reshuffle()
            | beam.Map(print)
        )
    assert "locks" in caught.value.__notes__[0]
