"""The update check on changed pipelines: each with the message that a user reads."""

from __future__ import annotations

import json
import re
import textwrap
from collections.abc import Callable
from typing import Any

import pytest

import hornbeam as beam
from hornbeam import coders
from hornbeam.graph.model import Graph
from hornbeam.graph.serialize import from_json, to_json
from hornbeam.io.fileio import MatchContinuously
from hornbeam.io.kafka import ReadFromKafka
from hornbeam.io.logio import ReadFromLog, WriteToLog
from hornbeam.io.textio import ReadFromText
from hornbeam.runners.log.update_check import UpdateRefusedError, check_update, parse_mapping
from hornbeam.transforms.timeutil import TimeDomain
from hornbeam.transforms.trigger import AccumulationMode, AfterCount, Repeatedly
from hornbeam.transforms.userstate import (
    BagStateSpec,
    CombiningValueStateSpec,
    ReadModifyWriteStateSpec,
    TimerSpec,
    on_timer,
)
from hornbeam.transforms.window import FixedWindows, SlidingWindows


def split(line: bytes) -> tuple[str, int]:
    name, _, amount = line.decode().partition(",")
    return name, int(amount)


class Flush(beam.DoFn):
    """Remembers a total, and says it after a while."""

    TOTAL = CombiningValueStateSpec("total", sum)
    SEEN = BagStateSpec("seen", coders.VarIntCoder())
    FLUSH = TimerSpec("flush", TimeDomain.WATERMARK)

    def process(
        self,
        element: Any,
        total: Any = beam.DoFn.StateParam(TOTAL),
        seen: Any = beam.DoFn.StateParam(SEEN),
        flush: Any = beam.DoFn.TimerParam(FLUSH),
    ) -> None:
        pass

    @on_timer(FLUSH)
    def flush(self, total: Any = beam.DoFn.StateParam(TOTAL)) -> None:
        pass


class FlushWithoutSeen(beam.DoFn):
    """The same without one of its cells, and with another coder for a new one."""

    TOTAL = CombiningValueStateSpec("total", sum)
    LAST = ReadModifyWriteStateSpec("last", coders.StrUtf8Coder())
    FLUSH = TimerSpec("flush", TimeDomain.WATERMARK)

    def process(
        self,
        element: Any,
        total: Any = beam.DoFn.StateParam(TOTAL),
        last: Any = beam.DoFn.StateParam(LAST),
        flush: Any = beam.DoFn.TimerParam(FLUSH),
    ) -> None:
        pass

    @on_timer(FLUSH)
    def flush(self, total: Any = beam.DoFn.StateParam(TOTAL)) -> None:
        pass


def sales(
    *,
    split: Callable[[bytes], Any] = split,
    added: bool = False,
    sums: str = "Sums",
    windows: Any = FixedWindows(60),
    combine: Any = sum,
    dofn: beam.DoFn | None = None,
    source: str = "Sales",
    strategy: dict[str, Any] | None = None,
) -> Graph:
    """Totals of amounts by name and minute, and a stateful step beside it."""
    p = beam.Pipeline()
    pairs = p | source >> ReadFromLog("/log", "sales") | "Split" >> beam.Map(split)
    if added:
        pairs = pairs | "Big" >> beam.Filter(lambda pair: pair[1] > 10)
        counted = pairs | "Minutes" >> beam.WindowInto(FixedWindows(60))
        counted | "Counts" >> beam.combiners.Count.PerKey() | "Show" >> beam.Map(print)
    totals = (
        pairs
        | "Windows" >> beam.WindowInto(windows, **(strategy or {}))
        | sums >> beam.CombinePerKey(combine)
    )
    totals | "Out" >> WriteToLog("/log", "totals", value_coder=repr)
    pairs | "Flush" >> beam.ParDo(dofn or Flush())
    return from_json(to_json(p.to_graph()))  # as the job folder holds it


def golden(text: str) -> str:
    return textwrap.dedent(text).strip()


KEPT = {
    "Sales/Start": "how far it was read",
    "Sales/Partitions": "how far each element was worked on",
    "Sales/Read": "how far each element was worked on",
    "Sums": "accumulators of windows that have not fired",
    "Flush": "state total, state seen, timer flush",
}


def test_the_same_pipeline() -> None:
    found = check_update(sales(), sales())
    assert {step.label: step.keeps for step in found.steps} == KEPT
    assert {step.fate for step in found.steps} == {"carries over"} and found.labels == {
        name: name for name in KEPT
    }
    found.check()
    assert str(found).splitlines()[-1] == "Nothing is lost."


HEAD = """
        STEP              KEEPS                                        BECOMES
        Sales/Start       how far it was read                          carries over
        Sales/Partitions  how far each element was worked on           carries over
        Sales/Read        how far each element was worked on           carries over
"""


def by_number(line: bytes) -> tuple[int, int]:
    name, amount = split(line)
    return len(name), amount


@pytest.mark.parametrize(
    ("changes", "expected"),
    [
        (
            {"sums": "Totals"},
            """
            Sums              accumulators of windows that have not fired  LOST
                the new pipeline has no step of this name that keeps anything
                if it is 'Totals' now, say so: --map_transforms='Sums=Totals'
            Flush             state total, state seen, timer flush         carries over
            Totals            accumulators of windows that have not fired  new, begins empty
            """,
        ),
        (
            {"split": by_number},
            """
            Sums              accumulators of windows that have not fired  LOST
                its keys' coder has changed, from string_utf8 to varint: keys are told apart by their encoded form
            Flush             state total, state seen, timer flush         LOST
                its keys' coder has changed, from string_utf8 to varint: keys are told apart by their encoded form
            """,
        ),
        (
            {"dofn": FlushWithoutSeen()},
            """
            Sums              accumulators of windows that have not fired  carries over
            Flush             state total, state seen, timer flush         carries over, but LOST: state seen
                state seen is there no more
            """,
        ),
        (
            {"windows": FixedWindows(30)},
            """
            Sums              accumulators of windows that have not fired  LOST
                its windows have changed, from fixed_windows(size=60s) to fixed_windows(size=30s): what is kept belongs ¬
            to windows that are no more
            Flush             state total, state seen, timer flush         carries over
            """,
        ),
        (
            {
                "strategy": {
                    "trigger": Repeatedly(AfterCount(5)),
                    "accumulation_mode": AccumulationMode.DISCARDING,
                }
            },
            """
            Sums              accumulators of windows that have not fired  LOST
                its trigger has changed, from default to repeatedly(underlying=after_count(count=5)) discarding: what has ¬
            fired already is noted as the old one needs it
            Flush             state total, state seen, timer flush         carries over
            """,
        ),
        (
            {"strategy": {"allowed_lateness": 60}},
            """
            Sums              accumulators of windows that have not fired  LOST
                its firing has changed, from once, at the end of the window to as its trigger says: groups that fire ¬
            once are kept in another form
            Flush             state total, state seen, timer flush         carries over
            """,
        ),
        (
            {"combine": max},
            """
            Sums              accumulators of windows that have not fired  LOST
                its CombineFn has changed, from sum to max: its accumulators mean nothing to another one
            Flush             state total, state seen, timer flush         carries over
            """,
        ),
    ],
    ids=[
        "renamed step",
        "changed coder",
        "removed state",
        "changed windowing",
        "trigger",
        "lateness",
        "CombineFn",
    ],
)
def test_a_change_that_loses_something(changes: dict[str, Any], expected: str) -> None:
    found = check_update(sales(), sales(**changes))
    lines = str(found).splitlines()
    head = golden(HEAD).splitlines()
    assert lines[: len(head)] == head
    assert [line for line in lines[len(head) : -1] if not line.startswith("Other steps")] == golden(
        expected.replace("¬\n            ", "")
    ).splitlines()
    count = len(found.lost)
    assert lines[-1] == (
        f"{count} step{'s' * (count > 1)} would lose what {'it keeps' if count == 1 else 'they keep'}; nothing was touched. "
        "Give --allow_lost_state to go on without that, or begin anew with --fresh."
    )
    with pytest.raises(UpdateRefusedError) as raised:
        found.check()
    assert (
        str(raised.value) == f"the pipeline has changed, and something of the old one would be lost:\n{found}"
    )
    found.check(allow_lost_state=True)
    assert json.loads(json.dumps(found.to_json()))["steps"][3]["label"] == "Sums"


def test_an_added_step() -> None:
    assert str(check_update(sales(), sales(added=True))) == golden(
        """
        STEP                                  KEEPS                                        BECOMES
        Sales/Start                           how far it was read                          carries over
        Sales/Partitions                      how far each element was worked on           carries over
        Sales/Read                            how far each element was worked on           carries over
        Sums                                  accumulators of windows that have not fired  carries over
        Flush                                 state total, state seen, timer flush         carries over
        Counts/CombinePerKey(CountCombineFn)  accumulators of windows that have not fired  new, begins empty
        Other steps, which keep nothing: 5 added, 2 changed.
        Nothing is lost.
        """
    )


@pytest.mark.parametrize(
    ("changes", "mapping", "labels"),
    [
        ({"sums": "Totals"}, "Sums=Totals", {"Sums": "Totals"}),
        (
            {"source": "Orders"},
            "Sales=Orders",
            {f"Sales/{name}": f"Orders/{name}" for name in ("Start", "Partitions", "Read")},
        ),
        ({"sums": "a=b, c"}, "Sums=a==b,, c", {"Sums": "a=b, c"}),
    ],
    ids=str,
)
def test_renamed_steps_that_are_mapped_keep_what_they_have(
    changes: dict[str, Any], mapping: str, labels: dict[str, str]
) -> None:
    found = check_update(sales(), sales(**changes), parse_mapping(mapping))
    found.check()
    assert found.labels == {**{name: name for name in KEPT}, **labels}
    (shown,) = {
        step.label: step for step in found.steps if step.new_label == labels[next(iter(labels))]
    }.values()
    assert f"carries over to {shown.new_label}" in str(found)
    # Without the mapping the advice is that mapping.
    assert f"--map_transforms='{mapping}'" in str(check_update(sales(), sales(**changes)))


def test_a_source_under_another_name_begins_from_its_start() -> None:
    text = str(check_update(sales(), sales(source="Orders")))
    assert (
        "; whatever reads the same there begins from the start" in text
        and "3 steps would lose what they keep" in text
    )


@pytest.mark.parametrize(
    ("read", "old", "new"),
    [
        (lambda what: ReadFromText(what, validate=False), "/a*", "/b*"),
        (lambda what: MatchContinuously(what), "/a*", "/b*"),
        (lambda what: ReadFromKafka({"bootstrap.servers": "localhost:1"}, [what]), "a", "b"),
    ],
)
def test_a_source_that_reads_something_else_begins_anew(
    read: Callable[[str], Any], old: str, new: str
) -> None:
    """It went on with what the old pipeline had read, and nobody was told."""
    pytest.importorskip("confluent_kafka")

    def graph(what: str) -> Graph:
        p = beam.Pipeline()
        p | "In" >> read(what) | beam.Map(print)
        return p.to_graph()

    assert not check_update(graph(old), graph(old)).lost
    text = str(check_update(graph(old), graph(new)))
    assert re.search(
        rf"LOST\n    its input has changed, from .*{re.escape(old)} to .*{re.escape(new)}: a position", text
    )


@pytest.mark.parametrize(
    ("mapping", "message"),
    [
        ({"Sum": "Totals"}, "names 'Sum', but the old pipeline has no such step. Did you mean 'Sums'?"),
        ({"Sums": "Total"}, "names 'Total', but the new pipeline has no such step. Did you mean 'Totals'?"),
    ],
)
def test_a_mapping_of_steps_that_are_not_there(mapping: dict[str, str], message: str) -> None:
    with pytest.raises(UpdateRefusedError) as raised:
        check_update(sales(), sales(sums="Totals"), mapping)
    assert message in str(raised.value)


def test_a_mapping_that_was_done_by_an_earlier_start() -> None:
    new = sales(sums="Totals")
    assert {step.fate for step in check_update(new, new, {"Sums": "Totals"}).steps} == {"carries over"}


@pytest.mark.parametrize("text", ["Sums", "Sums=", "=x", "a=b=c"])
def test_a_mapping_that_is_none(text: str) -> None:
    with pytest.raises(
        ValueError, match="--map_transforms is OLD=NEW,OLD=NEW with full labels of steps; found"
    ):
        parse_mapping(text)


def test_another_kind_of_step_under_the_old_name() -> None:
    def build(step: Any) -> Graph:
        p = beam.Pipeline()
        (
            p
            | ReadFromLog("/log", "t")
            | beam.Map(lambda v: (v, 1)).with_output_types(tuple[bytes, int])
            | beam.WindowInto(SlidingWindows(60, 30))
            | "Step" >> step
        )
        return p.to_graph()

    found = check_update(build(beam.GroupByKey()), build(beam.CombinePerKey(sum)))
    (lost,) = found.lost
    assert lost.reasons == (
        "it is another kind of step: it keeps accumulators of windows that have not fired now",
    )
    values = check_update(
        build(beam.GroupByKey()),
        build(beam.GroupByKey()),
    )
    assert not values.lost


def test_a_dofn_whose_class_is_gone_is_known_by_its_spec() -> None:
    import attrs

    old = sales()
    broken = {
        id_: attrs.evolve(t, payload=b"not a pickle") if t.label == "Flush" else t
        for id_, t in old.transforms.items()
    }
    found = check_update(attrs.evolve(old, transforms=broken), sales(dofn=FlushWithoutSeen()))
    (flush,) = [step for step in found.steps if step.label == "Flush"]
    assert flush.lost == ("state seen",)


def test_a_class_is_known_by_its_name_wherever_it_lives() -> None:
    """A program that is imported as a module, or a module that has moved, is no other pipeline."""
    old, new = sales(combine=beam.combiners.MeanCombineFn()), sales(combine=beam.combiners.MeanCombineFn())
    text = to_json(new)
    for module in ("hornbeam.io.log_read.", "hornbeam.transforms.counting."):
        assert f'"{module}' in text
        text = text.replace(f'"{module}', '"__main__.')
    assert not check_update(old, from_json(text)).lost


def lambdas(first_line: int, *, fn: Any = sum, twice: bool = False) -> Graph:
    """A program with unlabelled lambdas in it, as it is when so many lines stand above them."""
    p = beam.Pipeline()
    pairs = p | "Sales" >> ReadFromLog("/log", "sales") | "Split" >> beam.Map(split)
    for line in range(first_line, first_line + 1 + twice):
        source = "\n" * line + "add = lambda values: sum(values)"
        scope: dict[str, Any] = {}
        exec(compile(source, "job.py", "exec"), scope)
        (
            pairs
            | f"Windows {line - first_line}" >> beam.WindowInto(FixedWindows(60))
            | beam.CombinePerKey(scope["add"])
        )
    pairs | "Labelled" >> beam.WindowInto(FixedWindows(60)) | "Sums" >> beam.CombinePerKey(scope["add"])
    dofn = type("Adds", (Adds,), {"TOTAL": CombiningValueStateSpec("total", fn)})
    spec = dofn.TOTAL  # type: ignore[attr-defined]
    dofn.process = _process(spec)  # type: ignore[attr-defined]
    pairs | "Adds" >> beam.ParDo(dofn())
    return from_json(to_json(p.to_graph()))


class Adds(beam.DoFn):
    """Has a cell that is given to it."""


def _process(spec: Any) -> Any:
    def process(self: Any, element: Any, total: Any = beam.DoFn.StateParam(spec)) -> None:
        pass

    return process


def test_a_lambda_that_stands_on_another_line_is_the_same() -> None:
    found = check_update(lambdas(10), lambdas(12))
    assert not found.lost
    (moved,) = [step for step in found.steps if step.label != step.new_label]
    assert (moved.label, moved.new_label, moved.fate) == (
        "CombinePerKey(<lambda at job.py:11>)",
        "CombinePerKey(<lambda at job.py:13>)",
        "carries over",
    )


def test_lambdas_that_are_not_told_apart_without_their_lines_are_not_guessed_at() -> None:
    found = check_update(lambdas(10, twice=True), lambdas(14, twice=True))
    assert {step.label for step in found.lost} == {
        "CombinePerKey(<lambda at job.py:11>)",
        "CombinePerKey(<lambda at job.py:12>)",
    }


def test_a_cell_that_combines_by_another_function_is_lost() -> None:
    found = check_update(lambdas(10), lambdas(10, fn=max))
    (step,) = found.lost
    assert (step.label, step.reasons) == (
        "Adds",
        (
            "state total has changed, from CombiningValue(FastPrimitivesCoder, CallableWrapperCombineFn of sum) to "
            "CombiningValue(FastPrimitivesCoder, CallableWrapperCombineFn of max)",
        ),
    )
