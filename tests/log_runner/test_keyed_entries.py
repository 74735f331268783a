"""Key groups, and entries of keys in the checkpoint store: names and contents come back, and are the same everywhere."""

from __future__ import annotations

import pickle
import subprocess
import sys
from pathlib import Path
from typing import Any

import pytest

from hornbeam.error import DataError
from hornbeam.runners.engine.head import DELETED, ChangedColumns
from hornbeam.runners.engine.keys import EncodedKey
from hornbeam.runners.log.edges import KEY_GROUPS
from hornbeam.runners.log.key_groups import KeyGroups, group_of, groups_of
from hornbeam.runners.log.keyed_entries import KeyedChanges, loaded_entry, pickled_columns, with_content
from hornbeam.runners.log.state_names import name_bytes, name_of
from hornbeam.storage.checkpoint import CheckpointStore, decode_key
from hornbeam.transforms.bounded_window import GlobalWindow, IntervalWindow

KEYS: list[Any] = [
    "a", "", "ä\ud800", b"c", b"", 3, 0, -1, 2**63 - 1, -(2**63), 2**63, 2**70, None, (), ("a",), ("a", 3), (("b", None),),
    EncodedKey(1.5, b"1.5"), EncodedKey(True, b"t"), EncodedKey(("x", 1.5), b"x1.5"),
]  # fmt: skip
WINDOW = IntervalWindow(-1, 10)
RESTS: list[tuple[Any, ...]] = [
    (GlobalWindow(),),
    (WINDOW,),
    ((WINDOW, IntervalWindow(0, 15)),),
    ("waiting", 7),
    (),
    (tuple(IntervalWindow(n, n + 4000) for n in range(4000)),),  # of an element in sliding windows
]
CONTENTS: list[Any] = [({"count": ([1], 5)}, []), DELETED, None, "", [1, 2], (1, 2)]


def test_groups_of_a_column_are_those_of_each_key() -> None:
    ints = [*range(-50, 50), 2**63 - 1, -(2**63)]
    texts = [f"user-{n}" for n in range(100)]
    for column in (KEYS, ints, [*ints, 2**70], texts, [*ints, *texts]):
        assert groups_of(column).tolist() == [group_of(key) for key in column]
    assert len({group_of("7"), group_of(7), group_of(b"7"), group_of((7,))}) > 1


@pytest.mark.parametrize(
    "make", [int, str, lambda n: n * 64, lambda n: ("user", n), lambda n: f"user-{n:09}"]
)
def test_keys_are_spread_evenly(make: Any) -> None:
    counts = [0] * KEY_GROUPS
    for group in groups_of([make(n) for n in range(64_000)]):
        counts[group] += 1
    assert min(counts) > 800
    assert max(counts) < 1200


def test_groups_and_names_are_the_same_in_every_process() -> None:
    code = (
        "import sys, pickle\n"
        "from hornbeam.runners.log.state_names import name_bytes\n"
        "from hornbeam.runners.log.key_groups import groups_of\n"
        "names = pickle.load(sys.stdin.buffer)\n"
        "print(groups_of(names).tolist(), [name_bytes(name).hex() for name in names])"
    )
    told = subprocess.run(
        [sys.executable, "-c", code], input=pickle.dumps(KEYS), capture_output=True, check=True
    )
    assert told.stdout.decode().strip() == f"{groups_of(KEYS).tolist()} {[name_bytes(n).hex() for n in KEYS]}"
    # These never change: checkpoints that are there depend on them.
    assert groups_of([0, 1, -1, "", "a", b"a", None]).tolist() == [0, 21, 45, 49, 41, 35, 28]


def test_keys_as_authors_gave_them_have_the_group_of_their_coder() -> None:
    groups = KeyGroups(lambda key: repr(key).encode())
    given = ["a", 1.5, True, ("x", 1.5), ("x", 1), None]
    workers = groups.workers_of(given, 5).tolist()
    assert workers == [int(groups.workers_of([key], 5)[0]) for key in given]
    assert groups.of(1.5) == group_of(EncodedKey(1.5, b"1.5"))


@pytest.mark.parametrize("name", [*RESTS, *(key for key in KEYS if type(key) is not EncodedKey)])
def test_names_come_back_from_their_bytes(name: Any) -> None:
    assert name_of(name_bytes(name)) == name
    assert type(name_of(name_bytes(name))) is type(name)


def test_names_of_other_nesting_have_other_bytes() -> None:
    assert name_bytes((("a",), "b")) != name_bytes((("a", "b"),))


@pytest.mark.parametrize("data", [b"?\0\0\0\0", name_bytes(5) + b"!"])
def test_what_is_no_name_is_refused(data: bytes) -> None:
    with pytest.raises(DataError, match="not a name's bytes"):
        name_of(data)


def test_entries_come_back_from_the_store(tmp_path: Path) -> None:
    columns = [
        ChangedColumns(keys, rest, [CONTENTS[(number + place) % len(CONTENTS)] for place in range(len(keys))])
        for number, (rest, keys) in enumerate(
            (rest, keys) for rest in RESTS for keys in (KEYS, [100, 101], ["x", "y"])
        )
    ]
    expected = {
        (key, *each.rest): content for each in columns for key, content in zip(each.keys, each.contents)
    }
    with CheckpointStore(str(tmp_path), key_groups=KEY_GROUPS) as store:
        pending = store.begin()
        writer = pending.writer("w")
        for each in columns:
            writer.update(KeyedChanges.of("A/b", each).entries())
        writer.update(KeyedChanges.of("A", ChangedColumns([1], (), ["of another step"])).entries())
        pending.commit(writer.finish(), {})
        with store.snapshot() as snapshot:
            found = [
                entry
                for part in pickled_columns(snapshot.scan_chunks(state="A/b"), "A/b")
                for entry in part.entries()
            ]
            entries = list(snapshot.scan(state="A/b"))
    assert dict(found) == {name: content for name, content in expected.items() if content is not DELETED}
    assert len(found) == len({name for name, _ in found})
    encoded = {type(name[0].key) for name, _ in found if type(name[0]) is EncodedKey}
    assert encoded == {float, bool, tuple}
    for key, value in entries:
        assert key.key_group == group_of(loaded_entry(key.key, value)[0][0])
        name, _ = loaded_entry(key.key, value)
        assert loaded_entry(key.key, with_content(key.key, value, "another")) == (name, "another")


def test_contents_that_are_one_object_are_told_for_each_key() -> None:
    shared, local = {"count": [1]}, type("Local", (), {})()
    contents = [shared, DELETED, shared, DELETED, local, shared, local, DELETED]
    keys: list[Any] = [*range(len(contents) - 1), EncodedKey(1.5, b"1.5")]
    told = KeyedChanges.of("state", ChangedColumns(keys, (WINDOW,), contents)).values
    one_by_one = [
        KeyedChanges.of("state", ChangedColumns([key], (WINDOW,), [content])).values[0]
        for key, content in zip(keys, contents)
    ]
    assert told == one_by_one
    assert told[0] == pickle.dumps(shared, 5)


def test_contents_of_classes_that_no_module_has_are_kept() -> None:
    class Local:
        def __init__(self, n: int) -> None:
            self.n = n

    (value,) = KeyedChanges.of("s", ChangedColumns(["k"], (), [Local(3)])).entries().values()
    assert value is not None
    assert pickle.loads(value).n == 3


def test_store_keys_begin_with_group_and_state() -> None:
    ((key, value),) = KeyedChanges.of("s", ChangedColumns(["k"], (WINDOW,), [DELETED])).entries().items()
    assert (value, decode_key(key).state, decode_key(key).key_group) == (None, "s", group_of("k"))
