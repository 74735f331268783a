"""State under other labels."""

from __future__ import annotations

import pickle
from pathlib import Path

import pytest

import hornbeam as beam
from hornbeam.graph.model import Graph
from hornbeam.runners.engine.head import DELETED, ChangedColumns
from hornbeam.runners.engine.record_contents import ENDS, TIMERS, without
from hornbeam.runners.engine.streaming_views import FORGOTTEN, SideInputGate
from hornbeam.runners.log import log_runner, moving
from hornbeam.runners.log.job_folder import JobFolder
from hornbeam.runners.log.job_record import JobRecord
from hornbeam.runners.log.keyed_entries import KeyedChanges
from hornbeam.runners.log.moving import Relabelling, move
from hornbeam.runners.log.origin import graph_name
from hornbeam.runners.log.plans import plan_signature
from hornbeam.runners.log.state_names import STORE_GROUPS, VIEW, local_key
from hornbeam.storage.checkpoint import CheckpointStore
from hornbeam.storage.checkpoint.key import decode_key


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


def _moved(path: Path, entries: dict[bytes, bytes], graph: Graph, workers: int) -> dict[bytes, bytes]:
    """Entries of workers, after they were dealt out anew."""
    with CheckpointStore(path, key_groups=STORE_GROUPS) as store:
        pending = store.begin()
        writer = pending.writer("w0")
        writer.update(entries)
        origin = pending.commit(writer.finish(), {"workers": 2})
        move(store, origin, workers, graph, Relabelling(), {})
        with store.snapshot() as snapshot:
            return {key.key: value for key, value in snapshot.scan()}


def _enriching() -> Graph:
    """A step with a side input in windows."""
    pipeline = beam.Pipeline()
    windows = beam.WindowInto(beam.window.FixedWindows(10))
    side = pipeline | "Side" >> beam.Create([1]) | "Windows" >> windows
    main = pipeline | "Main" >> beam.Create([1]) | "Windows of main" >> windows
    main | "Enrich" >> beam.Map(lambda x, found: x, beam.pvalue.AsList(side))
    return pipeline.to_graph()


def test_a_side_window_that_one_worker_still_needs_is_kept(tmp_path: Path) -> None:
    """The time of a step that reads locally is another one on each worker. Once only what the first worker had was kept: an
    element of another one would have found its side input empty."""
    part = VIEW + b"side0\0"
    names = [(None, "view", beam.window.IntervalWindow(start, start + 10)) for start in (0, 10)]
    entries = {
        local_key("Enrich", worker, part, name): pickle.dumps((name, ([5], False)))
        for worker, kept in ((0, names[1:]), (1, names))
        for name in kept
    }
    moved = _moved(tmp_path, entries, _enriching(), 3)
    expected = {local_key("Enrich", worker, part, name) for worker in range(3) for name in names}
    assert set(moved) == {decode_key(key).key for key in expected}


def test_side_windows_are_forgotten_as_far_as_all_workers_have(tmp_path: Path) -> None:
    part = VIEW + b"side0\0"
    entries = {
        local_key("Enrich", worker, part, FORGOTTEN): pickle.dumps((FORGOTTEN, before))
        for worker, before in ((0, 50), (1, 20))
    }
    moved = _moved(tmp_path, entries, _enriching(), 3)
    assert [pickle.loads(value) for value in moved.values()] == [(FORGOTTEN, 20)] * 3


def test_what_moves_is_of_the_new_pipeline_and_has_nothing_to_commit(tmp_path: Path) -> None:
    """Killed before the next checkpoint, the next start knew no sink of that name any more, or did the update twice: a label
    under which one step's state was lost had another step's by then."""
    folder = JobFolder(tmp_path, "j")
    folder.create()
    old, new = _enriching(), beam.Pipeline().to_graph()
    with CheckpointStore(folder.checkpoints, key_groups=STORE_GROUPS) as store:
        metadata = {"graph": folder.keep_graph(old), "plan": plan_signature(old), "attempt": 1}
        pending = store.begin()
        pending.commit(pending.writer("w0").finish(), metadata)
        store.savepoint("before")
        pending = store.begin()
        pending.commit(
            pending.writer("w0").finish(), {**metadata, "graph": folder.keep_graph(new), "attempt": 2}
        )
        folder.write_graph(old)  # killed before it was replaced
        for wanted, expected in ((None, new), ("before", old)):
            record = JobRecord(job_name="j", restore_from=wanted, restore_asked=2)
            origin = log_runner._origin(folder, record)
            assert origin is not None and log_runner._old_graph(folder, new, origin) == expected
        folder.forget_graphs({graph_name(kept) for kept in store.checkpoints()[-1:]})
        assert len(list(Path(folder.path, "graphs").iterdir())) == 1 and folder.graph(folder.keep_graph(new))


def test_rows_that_wait_before_a_step_with_keys_belong_to_one_worker_after_a_restart() -> None:
    """Every worker gets all rows in a checkpoint that was moved. One that took none of them left them in its next
    checkpoints too, and when those were moved, they came twice."""
    gate = SideInputGate("step", [], 0, None, lambda index, bundle: None)
    gate.load([((None, "waiting"), [])])
    assert gate.changes() == [((None, "waiting"), DELETED)]
    assert gate.changes() == []
