"""The exchange by itself: blocks in files, partitions of keys, columns of bundles, groups by sorting."""

from __future__ import annotations

import math
import os
import subprocess
import sys

import numpy as np
import pytest
from hypothesis import given
from hypothesis import strategies as st

from hornbeam.error import DataError
from hornbeam.runners.engine.bundle import GLOBAL_WINDOWS, Bundle, Coded, Intervals
from hornbeam.runners.multiprocess.blocks import BUFFER_BYTES_MIN, BlockFile, read_block
from hornbeam.runners.multiprocess.columns import elements_of, gathered, packed, pairs_of, unpacked
from hornbeam.runners.multiprocess.outputs import TaskOutputs
from hornbeam.runners.multiprocess.partition import Partitioner, stable_hash
from hornbeam.runners.multiprocess.sorted_groups import sorted_groups
from hornbeam.transforms.window import IntervalWindow
from hornbeam.utils.windowed_value import PANE_INFO_UNKNOWN, PaneInfo

# Blocks

COLUMNS = {
    "small": ["a", 1, None],
    "a large array": [np.arange(BUFFER_BYTES_MIN), "beside"],
    "two large arrays": [np.ones(20_001), np.zeros(70_003, dtype=np.int8)[:], b"x" * 100_000],
    "not contiguous": [np.arange(200_000).reshape(100, 2000)[:, ::2]],
    "of no module": [type("Local", (), {"__eq__": lambda a, b: vars(a) == vars(b)})()],
}


def same(a, b) -> bool:
    if isinstance(a, np.ndarray):
        return np.array_equal(a, b) and a.dtype == b.dtype
    return type(a).__name__ == type(b).__name__ and (a == b or vars(a) == vars(b))


@pytest.mark.parametrize("compression", ["", "lz4", "zstd"])
@pytest.mark.parametrize("name", COLUMNS)
def test_a_block_gives_what_was_written(tmp_path, name, compression):
    file = BlockFile(str(tmp_path / "blocks"), compression)
    refs = [file.append(COLUMNS[name], 3), file.append("second", 1)]
    file.close()
    for found, written in zip(read_block(refs[0]), COLUMNS[name]):
        assert same(found, written)
        if isinstance(found, np.ndarray):
            found.flat[0] = 7  # a reader may write; nobody else sees it
    assert same(read_block(refs[0])[0], COLUMNS[name][0])
    assert read_block(refs[1]) == "second"


def test_every_damaged_byte_of_a_block_is_found(tmp_path):
    file = BlockFile(str(tmp_path / "blocks"))
    ref = file.append(list(range(20)), 20)
    file.close()
    data = (tmp_path / "blocks").read_bytes()
    unused = {3, *range(20, 24)}  # padding of the header
    for place in sorted(set(range(len(data))) - unused):
        damaged = bytearray(data)
        damaged[place] ^= 0x10
        (tmp_path / "blocks").write_bytes(damaged)
        with pytest.raises(DataError, match="is damaged at offset 0"):
            read_block(ref)


def test_a_torn_or_missing_file_is_a_data_error(tmp_path):
    file = BlockFile(str(tmp_path / "blocks"))
    ref = file.append(list(range(2000)), 2000)
    file.close()
    os.truncate(tmp_path / "blocks", ref.length - 1)
    with pytest.raises(DataError):
        read_block(ref)
    os.unlink(tmp_path / "blocks")
    with pytest.raises(DataError, match="cannot be read"):
        read_block(ref)


def test_a_full_disk_says_what_to_do():
    file = BlockFile("/dev/full")
    with pytest.raises(OSError) as caught:
        file.append(b"x" * (1 << 20), 1)
        file.close()
    assert "--temp_dir" in caught.value.__notes__[0]


# Partitions

KEYS = [0, 1, -1, 2**63, -(2**70), "", "a", "é", b"", b"a", None, (1, "a"), ((), b"x"), 1.0, True, "\ud800"]


def encode(key) -> bytes:
    return repr((type(key).__name__, key)).encode("utf-8", "surrogatepass")


def test_hashes_are_the_same_in_every_process():
    code = (
        "from hornbeam.runners.multiprocess.partition import stable_hash\n"
        "encode = lambda key: repr((type(key).__name__, key)).encode('utf-8', 'surrogatepass')\n"
        f"print([stable_hash(key, encode) for key in {KEYS!r}])"
    )
    environment = {**os.environ, "PYTHONHASHSEED": "77"}
    answer = subprocess.run(
        [sys.executable, "-c", code], capture_output=True, text=True, check=True, env=environment
    )
    assert eval(answer.stdout) == [stable_hash(key, encode) for key in KEYS]


keys = st.one_of(
    st.integers(),
    st.text(st.characters(), max_size=4),
    st.binary(max_size=3),
    st.none(),
    st.floats(),
    st.booleans(),
    st.tuples(st.integers(-2, 2), st.text(max_size=1)),
)


@given(st.lists(keys, min_size=1, max_size=30), st.lists(keys, min_size=1, max_size=30))
def test_a_key_has_one_partition_in_whatever_company_it_comes(some, others):
    partitioner = Partitioner(16, encode)
    together = partitioner.codes([*some, *others]).tolist()
    apart = [*partitioner.codes(some).tolist(), *Partitioner(16, encode).codes(others).tolist()]
    assert together == apart
    assert together == [stable_hash(key, encode) % 16 for key in [*some, *others]]


@given(st.lists(st.integers(-(2**63), 2**63 - 1), min_size=1))
def test_a_column_of_ints_is_hashed_as_each_of_them(numbers):
    partitioner = Partitioner(64, encode)
    assert (
        partitioner.codes(np.array(numbers, dtype=np.int64)).tolist() == partitioner.codes(numbers).tolist()
    )


@pytest.mark.parametrize("make", [lambda i: 64 * i, lambda i: f"key{i}", lambda i: (i, "x")])
def test_partitions_are_of_about_one_size(make):
    counts = np.bincount(Partitioner(64, encode).codes(list(map(make, range(10_000)))), minlength=64)
    assert counts.min() > 100 and counts.max() < 220


# Columns

WINDOWS = [IntervalWindow(i, i + 10) for i in range(3)]
PANES = [PANE_INFO_UNKNOWN, PaneInfo(True, False, 0, 0, 0)]


@st.composite
def bundles(draw):
    """Bundles with shared and with separate metadata."""
    count = draw(st.integers(1, 5))
    values = draw(st.lists(st.integers(0, 9), min_size=count, max_size=count))
    codes = np.array(draw(st.lists(st.integers(0, 1), min_size=count, max_size=count)), dtype=np.intp)
    times = draw(st.sampled_from([5, np.arange(count) * 10]))
    sets = [(WINDOWS[0],), (WINDOWS[1], WINDOWS[2])]
    starts = np.arange(count) * 1_000_000
    spans = Intervals(starts, starts + 10_000_000)
    windows = draw(st.sampled_from([GLOBAL_WINDOWS, sets[0], Coded(codes, sets), spans]))
    panes = draw(st.sampled_from([PANES[0], PANES[1], Coded(codes, PANES)]))
    return Bundle(values, times, windows, panes)


def rows(bundle):
    return list(zip(bundle.values, bundle.timestamp_list(), bundle.window_list(), bundle.pane_list()))


@given(st.lists(bundles(), min_size=1, max_size=5))
def test_gathered_bundles_have_the_rows_of_all(some):
    assert rows(gathered(some)) == [row for bundle in some for row in rows(bundle)]


@given(st.lists(bundles(), min_size=1, max_size=4), st.sampled_from([1, 60]))
def test_pairs_come_out_of_their_partitions_as_they_went_in(tmp_path_factory, some, times):
    """Few pairs a bundle, and many."""
    paired = []
    for bundle in some:
        places = np.repeat(np.arange(len(bundle)), times)
        paired.append(bundle.take([(bundle.values[i], str(i)) for i in places.tolist()], places))
    folder = tmp_path_factory.mktemp("out")
    outputs = TaskOutputs(str(folder), 1 << 30)
    channel = outputs.keyed("g", 0, "label", 4, encode)
    outputs.begin(str(folder / "task"))
    for bundle in paired:
        channel.append(bundle)
    found = []
    for address, ref in outputs.finish():
        part = pairs_of(read_block(ref))
        assert {stable_hash(key, encode) % 4 for key, _ in part.values} == {address.partition}
        found += rows(part)
    assert sorted(found, key=repr) == sorted((row for b in paired for row in rows(b)), key=repr)


@pytest.mark.parametrize(
    "values",
    [[1, 2], [1.5, math.inf], [True, 1], [2**70, 1], [1, 1.0], ["a"], [None, 3], [np.int64(1), np.int64(2)]],
)
def test_packed_values_keep_value_and_type(values):
    found = unpacked(packed(values))
    assert found == values and list(map(type, found)) == list(map(type, values))


@pytest.mark.parametrize("last", [(1, 2, 3), 7, (1,)])
def test_what_is_no_pair_is_refused_as_the_grouping_would(tmp_path, last):
    for count in (2, 200):
        outputs = TaskOutputs(str(tmp_path), 1 << 30)
        outputs.begin(str(tmp_path / "task"))
        channel = outputs.keyed("g", 0, "label", 4, encode)
        with pytest.raises(TypeError, match=r"GroupByKey at 'label' needs \(key, value\) pairs; it got"):
            channel.append(Bundle([(1, 2)] * count + [last]))
            outputs.finish()


def test_a_spool_comes_back_in_order(tmp_path):
    outputs = TaskOutputs(str(tmp_path), 2000)  # so little that it is written again and again
    channel = outputs.spool("pc", "label")
    outputs.begin(str(tmp_path / "task"))
    for start in range(0, 1000, 10):
        channel.append(Bundle(list(range(start, start + 10))))
    index = outputs.finish()
    assert len(index) > 10
    assert [v for _, ref in index for v in elements_of(read_block(ref)).values] == list(range(1000))


# Groups by sorting

int_keys = st.one_of(st.integers(-5, 5), st.integers(-(2**63), 2**63 - 1), st.integers(0, 2**40))


@given(st.lists(st.lists(st.tuples(int_keys, st.integers(0, 99)), min_size=1), min_size=1, max_size=4))
def test_sorted_groups_are_the_groups_in_order_of_arrival(parts):
    blocks = [
        ((packed([k for k, _ in part]), packed([v for _, v in part])), 0, GLOBAL_WINDOWS, PANE_INFO_UNKNOWN)
        for part in parts
    ]
    expected: dict[int, list[int]] = {}
    for part in parts:
        for key, value in part:
            expected.setdefault(key, []).append(value)
    found = [pair for bundle in sorted_groups(blocks) for pair in bundle.values]
    assert dict(found) == expected and len(found) == len(expected)
