"""Triggers as values: what they hold, what they say about data loss, what follows them downstream."""

from __future__ import annotations

import json
import pickle
from types import SimpleNamespace
from typing import Any

import pytest

from hornbeam.transforms.trigger import (
    AccumulationMode,
    AfterAll,
    AfterAny,
    AfterCount,
    AfterEach,
    AfterProcessingTime,
    AfterSynchronizedProcessingTime,
    AfterWatermark,
    Always,
    DataLossReason,
    DefaultTrigger,
    Never,
    OrFinally,
    Repeatedly,
    TriggerFn,
    trigger_from_spec,
    trigger_to_spec,
)
from hornbeam.utils.timestamp import Duration

#: trigger, may it finish (without, with allowed lateness), has it an on-time pane, its continuation
FACTS: list[tuple[TriggerFn, bool, bool, bool, TriggerFn]] = [
    (DefaultTrigger(), False, False, True, DefaultTrigger()),
    (Always(), False, False, False, Always()),
    (Never(), False, False, False, Never()),
    (AfterCount(5), True, True, False, AfterCount(1)),
    (AfterProcessingTime(9), True, True, False, AfterSynchronizedProcessingTime()),
    (AfterSynchronizedProcessingTime(), True, True, False, AfterSynchronizedProcessingTime()),
    (AfterWatermark(), False, True, True, AfterWatermark()),
    (AfterWatermark(early=AfterCount(5)), False, True, True, AfterWatermark(early=AfterCount(1))),
    (AfterWatermark(late=AfterCount(5)), False, False, True, AfterWatermark(late=AfterCount(1))),
    (Repeatedly(AfterCount(5)), False, False, False, Repeatedly(AfterCount(1))),
    (Repeatedly(AfterWatermark()), False, False, True, Repeatedly(AfterWatermark())),
    (AfterAny(AfterCount(5), Always()), True, True, False, AfterAny(AfterCount(1), Always())),
    (AfterAny(DefaultTrigger(), Always()), False, False, True, AfterAny(DefaultTrigger(), Always())),
    (AfterAll(AfterCount(5), Always()), False, False, False, AfterAll(AfterCount(1), Always())),
    (AfterAll(AfterCount(5), AfterWatermark()), False, True, True, AfterAll(AfterCount(1), AfterWatermark())),
    (
        AfterEach(AfterCount(5), AfterCount(6)),
        True,
        True,
        False,
        Repeatedly(AfterAny(AfterCount(1), AfterCount(1))),
    ),
    (
        AfterEach(AfterCount(5), Repeatedly(AfterCount(6))),
        False,
        False,
        False,
        Repeatedly(AfterAny(AfterCount(1), Repeatedly(AfterCount(1)))),
    ),
    (
        OrFinally(Repeatedly(AfterCount(5)), AfterWatermark()),
        False,
        True,
        True,
        OrFinally(Repeatedly(AfterCount(1)), AfterWatermark()),
    ),
]


@pytest.mark.parametrize(("trigger", "finishes", "finishes_late", "ontime", "continuation"), FACTS, ids=repr)
def test_facts(
    trigger: TriggerFn, finishes: bool, finishes_late: bool, ontime: bool, continuation: TriggerFn
) -> None:
    def loss(lateness: Any) -> DataLossReason:
        return trigger.may_lose_data(SimpleNamespace(allowed_lateness=lateness))

    def reason(expected: bool) -> DataLossReason:
        return DataLossReason.MAY_FINISH if expected else DataLossReason.NO_POTENTIAL_LOSS

    assert loss(0) == reason(finishes)
    assert loss(Duration(60)) == reason(finishes_late)
    assert trigger.has_ontime_pane() is ontime
    assert trigger.get_continuation_trigger() == continuation


@pytest.mark.parametrize("trigger", [row[0] for row in FACTS], ids=repr)
def test_triggers_are_values(trigger: TriggerFn) -> None:
    copy = pickle.loads(pickle.dumps(trigger))
    assert copy == trigger
    assert hash(copy) == hash(trigger)
    spec = json.loads(json.dumps(trigger_to_spec(trigger)))
    assert trigger_from_spec(spec) == trigger
    assert eval(repr(trigger)) == trigger


def test_different_triggers_are_unequal() -> None:
    triggers = [row[0] for row in FACTS]
    assert len(set(triggers)) == len(triggers)
    assert AfterAny(AfterCount(1), AfterCount(2)) != OrFinally(AfterCount(1), AfterCount(2))


def test_the_graphs_default_is_the_default_trigger() -> None:
    assert trigger_to_spec(DefaultTrigger()) == {"type": "default"}


def test_a_nested_spec_is_readable() -> None:
    trigger = AfterWatermark(early=AfterProcessingTime(1.5), late=AfterAny(AfterCount(2), Always()))
    assert trigger_to_spec(trigger) == {
        "type": "after_watermark",
        "early": {"type": "after_processing_time", "delay_micros": 1_500_000},
        "late": {
            "type": "after_any",
            "triggers": [{"type": "after_count", "count": 2}, {"type": "always"}],
        },
    }


@pytest.mark.parametrize(
    ("make", "error", "message"),
    [
        (lambda: AfterCount(0), ValueError, "positive integer; it is 0"),
        (lambda: AfterCount(1.5), ValueError, "positive integer; it is 1.5"),
        (lambda: AfterCount(True), ValueError, "positive integer; it is True"),
        (lambda: AfterProcessingTime(-1), ValueError, "must not be negative"),
        (lambda: Repeatedly(AfterWatermark), TypeError, r"Call it: AfterWatermark\(\.\.\.\)"),
        (lambda: AfterWatermark(early=3), TypeError, "AfterWatermark: early must be a trigger; it is 3"),
        (lambda: AfterAll(), ValueError, "AfterAll needs at least one"),
        (lambda: AfterEach(AfterCount(1), 2), TypeError, "AfterEach must be a trigger; it is 2"),
        (lambda: OrFinally(AfterCount(1)), ValueError, "it was given 1"),
        (lambda: trigger_from_spec({"type": "sometimes"}), ValueError, "'sometimes'"),
        (lambda: trigger_from_spec({"type": "after_count"}), ValueError, "lacks 'count'"),
        (lambda: AccumulationMode.RETRACTING, AttributeError, "Retractions are not supported"),
        (lambda: AccumulationMode("RETRACTING"), ValueError, "Retractions are not supported"),
        (lambda: AccumulationMode(9), ValueError, "9 is no accumulation mode"),
        (lambda: AccumulationMode.KEEPING, AttributeError, "has no 'KEEPING'"),
    ],
)
def test_mistakes_are_named(make: Any, error: type[Exception], message: str) -> None:
    with pytest.raises(error, match=message):
        make()


class Lunar(TriggerFn):
    """A trigger of a user's own."""

    def may_lose_data(self, windowing: Any) -> DataLossReason:
        return DataLossReason.NO_POTENTIAL_LOSS

    def get_continuation_trigger(self) -> TriggerFn:
        return self

    def has_ontime_pane(self) -> bool:
        return False


def test_a_users_own_trigger_is_refused_by_the_graph() -> None:
    with pytest.raises(TypeError, match="not one of the triggers that runners know"):
        trigger_to_spec(Repeatedly(Lunar()))


def test_accumulation_modes_are_their_names() -> None:
    assert [str(mode) for mode in AccumulationMode] == ["DISCARDING", "ACCUMULATING"]
    assert AccumulationMode("DISCARDING") is AccumulationMode.DISCARDING
    assert AccumulationMode(2) is AccumulationMode.ACCUMULATING
