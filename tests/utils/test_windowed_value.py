from __future__ import annotations

import copy
import pickle

import pytest

from hornbeam.utils.timestamp import MAX_TIMESTAMP, MIN_TIMESTAMP, Timestamp
from hornbeam.utils.windowed_value import (
    PANE_INFO_UNKNOWN,
    HomogeneousWindowedBatch,
    PaneInfo,
    PaneInfoTiming,
    WindowedBatch,
    WindowedValue,
    create,
)


def test_parts() -> None:
    windowed = WindowedValue("a", 1.5, ("w",))
    assert (windowed.value, windowed.timestamp_micros, windowed.windows) == ("a", 1_500_000, ("w",))
    assert windowed.timestamp == Timestamp(1.5)
    assert windowed.pane_info is PANE_INFO_UNKNOWN


def test_timestamp_is_made_when_asked_for() -> None:
    windowed = create("a", 7, ("w",))
    assert windowed.timestamp_object is None
    assert windowed.timestamp == Timestamp(micros=7)
    assert windowed.timestamp is windowed.timestamp_object
    stamp = Timestamp(3)
    assert WindowedValue("a", stamp, ()).timestamp is stamp


def test_with_value_keeps_the_rest() -> None:
    pane = PaneInfo(True, False, PaneInfoTiming.EARLY, 0, -1)
    other = WindowedValue("a", 1, ("w",), pane).with_value("b")
    assert other == WindowedValue("b", 1, ("w",), pane)


def test_equality_and_hash() -> None:
    assert WindowedValue("a", 1, ("w",)) == create("a", 1_000_000, ("w",))
    assert hash(WindowedValue("a", 1, ("w",))) == hash(create("a", 1_000_000, ("w",)))
    same = WindowedValue("a", 1, ("w",))
    for other in (
        WindowedValue("b", 1, ("w",)),
        WindowedValue("a", 2, ("w",)),
        WindowedValue("a", 1, ("v",)),
        WindowedValue("a", 1, ("w",), PaneInfo.from_encoded_byte(5)),
    ):
        assert same != other
    assert same != "a"


def test_no_other_attributes() -> None:
    with pytest.raises(AttributeError):
        WindowedValue("a", 1, ()).extra = 1  # type: ignore[attr-defined]


def test_repr_shows_the_limits_by_name() -> None:
    assert repr(WindowedValue("a", 1.5, ("w",))).startswith("('a', 1.5, ('w',), PaneInfo(")
    assert "MIN_TIMESTAMP" in repr(WindowedValue("a", MIN_TIMESTAMP, ()))
    assert "MAX_TIMESTAMP" in repr(WindowedValue("a", MAX_TIMESTAMP, ()))


@pytest.mark.parametrize("again", [copy.copy, lambda v: pickle.loads(pickle.dumps(v))])
def test_copies(again: object) -> None:
    windowed = WindowedValue([1], 2, ("w",), PaneInfo(False, True, PaneInfoTiming.LATE, 3, 2))
    assert again(windowed) == windowed  # type: ignore[operator]


@pytest.mark.parametrize("byte", range(16))
def test_pane_bytes(byte: int) -> None:
    pane = PaneInfo.from_encoded_byte(byte)
    assert pane.encoded_byte == byte
    assert pane == PaneInfo(pane.is_first, pane.is_last, pane.timing, pane.index, pane.nonspeculative_index)
    assert (pane.is_first, pane.is_last, pane.timing) == (bool(byte & 1), bool(byte & 2), byte >> 2)


def test_pane_byte_out_of_range() -> None:
    with pytest.raises(ValueError, match="0 to 15"):
        PaneInfo.from_encoded_byte(16)


def test_unknown_pane() -> None:
    assert PaneInfo(True, True, PaneInfoTiming.UNKNOWN, 0, 0) == PANE_INFO_UNKNOWN
    assert PANE_INFO_UNKNOWN.encoded_byte == 15
    assert PaneInfo(True, True, PaneInfoTiming.UNKNOWN, 1, 0) != PANE_INFO_UNKNOWN


def test_timing_names() -> None:
    for name in ("EARLY", "ON_TIME", "LATE", "UNKNOWN"):
        timing = PaneInfoTiming.from_string(name)
        assert timing == getattr(PaneInfoTiming, name)
        assert PaneInfoTiming.to_string(timing) == name


def test_batches_of_like_elements() -> None:
    values = [WindowedValue(1, 0, ("w",)), WindowedValue(2, 5, ("w",)), WindowedValue(3, 0, ("w",))]
    batches = list(WindowedBatch.from_windowed_values(values, produce_fn=list))
    assert batches == [
        HomogeneousWindowedBatch.of([1, 3], 0, ("w",)),
        HomogeneousWindowedBatch.of([2], 5, ("w",)),
    ]
    (first, _) = batches
    assert isinstance(first, HomogeneousWindowedBatch)
    assert list(first.as_windowed_values(iter)) == [values[0], values[2]]
    assert first.with_values("xy").values == "xy"
    assert first.as_empty_windowed_value() == WindowedValue(None, 0, ("w",))
    again = HomogeneousWindowedBatch.from_batch_and_windowed_value(batch=[9], windowed_value=values[1])
    assert (again.values, again.timestamp, again.windows, again.pane_info) == (
        [9],
        Timestamp(5),
        ("w",),
        PANE_INFO_UNKNOWN,
    )
