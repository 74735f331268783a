"""Files, hashes and random numbers of hornbeam.testing.test_utils, and inferred types of sample data."""

from __future__ import annotations

import os

import pyarrow as pa
import pytest

from hornbeam.testing import test_utils as utils
from hornbeam.testing.datatype_inference import (
    infer_avro_schema,
    infer_element_type,
    infer_pyarrow_schema,
    infer_typehints_schema,
)
from hornbeam.typehints import Any, List, Union


def test_temp_dir_is_removed():
    with utils.TempDir() as temp:
        path = temp.create_temp_file(suffix=".txt", lines=[b"a\n", b"b\n"])
        assert path.startswith(temp.get_path()) and path.endswith(".txt")
        assert open(path).read() == "a\nb\n"
    assert not os.path.exists(temp.get_path())


def test_files(tmp_path):
    first = utils.create_file(str(tmp_path / "deep" / "a-1"), "eins\n")
    second = utils.create_file(str(tmp_path / "deep" / "a-2"), b"zwei\n")
    assert utils.read_files_from_pattern(str(tmp_path / "deep" / "a-*")) == "eins\nzwei\n"
    utils.delete_files([first, second])
    assert not os.path.exists(first)
    with pytest.raises(FileNotFoundError):
        utils.delete_files([first])
    with pytest.raises(RuntimeError):
        utils.delete_files([])


def test_hash_does_not_depend_on_order():
    lines = ["b", "a"]
    assert utils.compute_hash(lines) == utils.compute_hash(["a", "b"]) == utils.compute_hash(iter("ba"))
    assert lines == ["b", "a"]
    assert utils.compute_hash(lines) != utils.compute_hash(["a"])
    assert len(utils.compute_hash(lines, "md5")) == 32


def test_random_numbers_are_those_of_the_jdk():
    generator = utils.LCGenerator()
    generator.seed_jdk(0)
    # new java.util.Random(0): nextInt() twice
    assert [generator.next_int(), generator.next_int()] == [-1155484576, -723955400]
    generator.seed_jdk(0)
    assert generator.next_uint() == -1155484576 + 2**32
    generator.seed_jdk(0)
    assert generator.randbytes(6) == bytes([0x60, 0xB4, 0x20, 0xBB, 0x38, 0x51])
    generator.seed(42)
    assert 0 <= generator.random_sample() < 1
    with pytest.raises(ValueError, match="32 bits"):
        utils.LCGenerator(bits=31)


def test_element_types():
    assert infer_element_type([]) == Any
    assert infer_element_type([1, 2]) is int
    assert infer_element_type([1, "a"]) == Union[int, str]
    assert infer_typehints_schema([{"a": 1, "b": [1.0]}, {"a": None}]) == {
        "a": Union[int, type(None)],
        "b": List[float],
    }


def test_arrow_schema():
    schema = infer_pyarrow_schema([{"a": 1, "b": "x"}, {"a": 2, "c": [1.0]}])
    assert schema.field("a").type == pa.int64()
    assert schema.field("b").type == pa.string()
    assert schema.field("c").type == pa.list_(pa.float64())


def test_avro_schema():
    schema = infer_avro_schema([{"a": 1, "b": "x", "c": [1, None]}, {"a": True, "b": None, "c": []}])
    assert {field["name"]: field["type"] for field in schema["fields"]} == {
        "a": ["long", "boolean"],
        "b": ["null", "string"],
        "c": [{"type": "array", "items": ["long", "null"]}, {"type": "array", "items": "null"}],
    }
    with pytest.raises(TypeError, match="no Avro type for object"):
        infer_avro_schema([{"a": object()}])
