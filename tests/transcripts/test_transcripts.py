"""Every transcript, with each folding, under several bundlings, and with a restart from the snapshot after every step."""

from __future__ import annotations

import re
from collections.abc import Iterator
from itertools import groupby
from pathlib import Path
from typing import Any

import attrs
import pytest
from transcripts.transcript import Case, Drive, Step, dropped_texts, pane_texts, read_cases

from hornbeam.runners.engine.combine_folding import CombineFolding, CountFolding, MergeFolding, SumFolding
from hornbeam.runners.engine.folding import Folding, GatherFolding
from hornbeam.runners.engine.spill import TemporarySpace
from hornbeam.transforms.combinefn import CombineFn

CASES = list(read_cases())


class Listed(CombineFn):
    """Gives its accumulator itself, and changes it in place: what an accumulating pane must not suffer from."""

    def create_accumulator(self) -> list[Any]:
        return []

    def add_input(self, accumulator: list[Any], element: Any) -> list[Any]:
        accumulator.append(element)
        return accumulator

    def merge_accumulators(self, accumulators: Any) -> list[Any]:
        first, *others = accumulators
        for other in others:
            first.extend(other)
        return first

    def extract_output(self, accumulator: list[Any]) -> list[Any]:
        return accumulator


class ListedParts(Listed):
    """The same, fed with single values as accumulators."""

    def merge_accumulators(self, accumulators: Any) -> list[Any]:
        return [x for part in accumulators for x in (part if isinstance(part, list) else [part])]


FOLDINGS: dict[str, Any] = {
    "gather": GatherFolding,
    "sum": SumFolding,
    "count": CountFolding,
    "combine": lambda: CombineFolding(Listed()),
    "merge": lambda: MergeFolding(ListedParts()),
}


def one_by_one(steps: tuple[Step, ...]) -> Iterator[list[Step]]:
    for step in steps:
        if step.action == "elements":
            yield [attrs.evolve(step, operands=(element,)) for element in step.operands]
        else:
            yield [step]


def as_written(steps: tuple[Step, ...]) -> Iterator[list[Step]]:
    for step in steps:
        yield [step]


def joined(steps: tuple[Step, ...]) -> Iterator[list[Step]]:
    """Elements between two moves of time in one bundle, whose expectations are those of all."""
    for action, run in groupby((s for s in steps if s.action != "?"), key=lambda step: step.action):
        group = list(run)
        if action != "elements":
            yield from ([step] for step in group)
            continue
        operands = tuple(element for step in group for element in step.operands)
        panes = tuple(pane for step in group for pane in step.panes)
        dropped = tuple(drop for step in group for drop in step.dropped)
        yield [Step("elements", operands, panes, dropped)]


BUNDLINGS = {"as written": as_written, "one by one": one_by_one, "joined": joined}


def folded(pane: str, folding: str) -> str:
    """The expected text when values are not gathered but summed or counted."""
    if folding not in ("sum", "count"):
        return pane
    key, values, rest = re.fullmatch(r"(.):([\d,]*)( .*)", pane).groups()  # type: ignore[union-attr]
    numbers = [int(value) for value in values.split(",") if value]
    return f"{key}:{sum(numbers) if folding == 'sum' else len(numbers)}{rest}"


@pytest.fixture(scope="module")
def space(tmp_path_factory: pytest.TempPathFactory) -> Iterator[TemporarySpace]:
    yield TemporarySpace(str(tmp_path_factory.mktemp("space")))


def run(case: Case, folding_name: str, bundling: str, space: Any, restarts: bool = False) -> None:
    folding: Folding = FOLDINGS[folding_name]()
    drive = Drive(case, folding, space, restarts)
    expected: list[str] = []
    dropped: list[tuple[str, str]] = []
    ended = False
    for group in BUNDLINGS[bundling](case.steps):
        if group[0].action == "?":
            question, answer = group[0].operands
            assert drive.answer(question) == answer, question
            continue
        before = len(drive.emitted)
        for step in group:
            drive.do(step)
            ended = ended or step.action == "END"
            if restarts:
                drive.restart()
        panes = [folded(pane, folding_name) for pane in group[0].panes]
        assert pane_texts(drive.emitted[before:]) == panes, f"{group[0].action} {group[0].operands}"
        expected.extend(panes)
        dropped.extend(group[0].dropped)
        assert dropped_texts(drive.late) == [text for _, text in dropped]
    if not ended:
        drive.do(Step("END", (), (), ()))
    # What was given out has not changed since.
    assert pane_texts(drive.emitted) == expected
    assert drive.counter("dropped_late") == sum(kind == "late" for kind, _ in dropped)
    closed = sum(kind == "closed" for kind, _ in dropped)
    assert drive.counter("dropped_closed") == int(case.facts.get("drops", closed))
    head = drive.head
    assert head.entries() == 0
    assert (drive.answer("hold"), drive.answer("next"), drive.answer("wakeup")) == ("never",) * 3
    assert head.holds() == []


@pytest.mark.parametrize("folding", FOLDINGS)
@pytest.mark.parametrize("case", CASES, ids=lambda case: case.title)
def test_panes(case: Case, folding: str, space: Any) -> None:
    run(case, folding, "as written", space)


@pytest.mark.parametrize("bundling", ["one by one", "joined"])
@pytest.mark.parametrize("case", CASES, ids=lambda case: case.title)
def test_bundling_changes_nothing(case: Case, bundling: str, space: Any) -> None:
    run(case, "gather", bundling, space)


@pytest.mark.parametrize("folding", ["gather", "combine", "sum"])
@pytest.mark.parametrize("case", CASES, ids=lambda case: case.title)
def test_a_restart_between_any_two_steps_changes_nothing(case: Case, folding: str, space: Any) -> None:
    run(case, folding, "one by one", space, restarts=True)


def test_every_trigger_and_setting_has_its_cases() -> None:
    text = "\n".join(
        Path(__file__).with_name(f"{name.split(':')[0]}.txt").read_text() for name in {c.title for c in CASES}
    )
    for name in (
        "Default",
        "Always",
        "Never",
        "AfterCount",
        "AfterProcessingTime",
        "AfterSynchronizedProcessingTime",
    ):
        assert name in text
    for name in ("AfterWatermark", "Repeatedly", "AfterAny", "AfterAll", "AfterEach", "OrFinally"):
        assert name in text
    assert len(CASES) >= 100
