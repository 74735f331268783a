"""State under other labels."""

from __future__ import annotations

import pickle
from pathlib import Path

import pytest

import hornbeam as beam
from hornbeam.runners.engine.head import ChangedColumns
from hornbeam.runners.engine.record_contents import ENDS, TIMERS, without
from hornbeam.runners.log import moving
from hornbeam.runners.log.keyed_entries import KeyedChanges
from hornbeam.runners.log.moving import Relabelling, move
from hornbeam.runners.log.state_names import STORE_GROUPS
from hornbeam.storage.checkpoint import CheckpointStore


def test_a_content_loses_cells_and_timers() -> None:
    content = {"a": 1, "b": None, ENDS: {"a": 5, "b": 6}, TIMERS: [(0, "t", "", 1, 1), (1, "u", "", 2, 2)]}
    assert without(content, {"a"}, {"t"}) == {"b": None, ENDS: {"b": 6}, TIMERS: [(1, "u", "", 2, 2)]}
    assert without(content, {"a", "b"}, {"u"}) == {TIMERS: [(0, "t", "", 1, 1)]}
    assert without(content, {"a", "b"}, {"t", "u"}) == {}
    assert content[ENDS] == {"a": 5, "b": 6}


@pytest.mark.parametrize(
    ("labels", "lost", "expected"),
    [
        ({"a": "b", "b": "a"}, set(), {"a": "of b", "b": "of a", "c": "of c"}),
        ({"a": "b", "b": "d"}, set(), {"b": "of a", "d": "of b", "c": "of c"}),
        ({"b": "d", "a": "b"}, {"c"}, {"b": "of a", "d": "of b"}),
        ({"a": "c"}, {"c"}, {"c": "of a", "b": "of b"}),
    ],
)
def test_labels_that_are_old_ones_and_new_ones(
    labels: dict[str, str],
    lost: set[str],
    expected: dict[str, str],
    tmp_path: Path,
    monkeypatch: pytest.MonkeyPatch,
) -> None:
    """A label was once emptied after another step's state had come under it."""
    monkeypatch.setattr(moving, "_PIECE", 4)
    pipeline = beam.Pipeline()
    pipeline | beam.Create([1])
    with CheckpointStore(tmp_path, key_groups=STORE_GROUPS) as store:
        pending = store.begin()
        writer = pending.writer("w0")
        for state in "abc":
            contents = [{"cell": f"of {state}"}] * 10
            writer.update(KeyedChanges.of(state, ChangedColumns(range(10), ("window",), contents)).entries())
        origin = pending.commit(writer.finish(), {"workers": 1})
        move(store, origin, 1, pipeline.to_graph(), Relabelling(labels, frozenset(lost)), {})
        found: dict[str, set[str]] = {}
        with store.snapshot() as snapshot:
            for key, value in snapshot.scan():
                found.setdefault(key.state, set()).add(pickle.loads(value)["cell"])
    assert found == {state: {content} for state, content in expected.items()}
