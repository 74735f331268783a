"""Which coder a type hint gets."""

from __future__ import annotations

import collections.abc
import dataclasses
import decimal
import logging
import typing
from typing import Any

import pytest

from hornbeam import typehints
from hornbeam.coders import DeterminismError, registry
from hornbeam.coders import coders as c
from hornbeam.coders import urns as coder_urns
from hornbeam.graph import urns
from hornbeam.typehints.row_type import RowTypeConstraint
from hornbeam.typehints.sharded_key_type import ShardedKeyTypeConstraint
from hornbeam.utils.sharded_key import ShardedKey
from hornbeam.utils.timestamp import Timestamp
from hornbeam.utils.windowed_value import WindowedValue

INT, STR, ANY = c.VarIntCoder(), c.StrUtf8Coder(), c.FastPrimitivesCoder()


class Unknown:
    pass


@pytest.mark.parametrize(
    ("hint", "coder"),
    [
        (int, INT),
        (str, STR),
        (bytes, c.BytesCoder()),
        (bool, c.BooleanCoder()),
        (float, c.FloatCoder()),
        (decimal.Decimal, c.DecimalCoder()),
        (Timestamp, c.TimestampCoder()),
        (Any, ANY),
        (None, ANY),
        (object, ANY),
        (type(None), ANY),
        (Unknown, ANY),
        (typing.TypeVar("T"), ANY),
        (list, ANY),
        (tuple, ANY),
        (typing.Tuple, ANY),  # noqa: UP006
        (tuple[()], c.TupleCoder([])),
        (tuple[int, str], c.TupleCoder([INT, STR])),
        (typing.Tuple[int, str], c.TupleCoder([INT, STR])),  # noqa: UP006
        (tuple[int, ...], c.TupleSequenceCoder(INT)),
        (tuple[str, tuple[int, Any]], c.TupleCoder([STR, c.TupleCoder([INT, ANY])])),
        (list[int], c.ListCoder(INT)),
        (typing.List[int], c.ListCoder(INT)),  # noqa: UP006
        (typing.Iterable[int], c.IterableCoder(INT)),
        (collections.abc.Iterator[int], c.IterableCoder(INT)),
        (collections.abc.Generator[int, None, None], c.IterableCoder(INT)),
        (dict[str, int], c.MapCoder(STR, INT)),
        (typing.Dict[str, int], c.MapCoder(STR, INT)),  # noqa: UP006
        (typing.Optional[int], c.NullableCoder(INT)),  # noqa: UP045
        (int | None, c.NullableCoder(INT)),
        (int | str, ANY),
        (int | str | None, ANY),
        (set[int], ANY),
        (frozenset[int], ANY),
        (collections.abc.Sequence[int], ANY),
        (typing.Annotated[list[int], "x"], c.ListCoder(INT)),
        (ShardedKey[str], c.ShardedKeyCoder(STR)),
        (WindowedValue[int], c.WindowedValueCoder(INT)),
        (typehints.Any, ANY),
        (typehints.Tuple[int, str], c.TupleCoder([INT, STR])),
        (typehints.Tuple[int, ...], c.TupleSequenceCoder(INT)),
        (typehints.KV[str, int], c.TupleCoder([STR, INT])),
        (typehints.KV[str, typehints.Iterable[int]], c.TupleCoder([STR, c.IterableCoder(INT)])),
        (typehints.List[int], c.ListCoder(INT)),
        (typehints.Iterable[str], c.IterableCoder(STR)),
        (typehints.Iterator[str], c.IterableCoder(STR)),
        (typehints.Generator[str], c.IterableCoder(STR)),
        (typehints.Dict[str, int], c.MapCoder(STR, INT)),
        (typehints.Optional[int], c.NullableCoder(INT)),
        (typehints.Set[int], ANY),
        (typehints.Tuple, ANY),
        (ShardedKeyTypeConstraint(str), c.ShardedKeyCoder(STR)),
    ],
    ids=repr,
)
def test_coder_of(hint: Any, coder: c.Coder) -> None:
    assert registry.get_coder(hint) == coder


class Money:
    def __init__(self, cents: int) -> None:
        self.cents = cents


class MoneyCoder(c.Coder):
    def encode(self, value: Money) -> bytes:
        return str(value.cents).encode()

    def decode(self, encoded: bytes) -> Money:
        return Money(int(encoded))

    def is_deterministic(self) -> bool:
        return True


def test_registered_coder_is_found_alone_and_inside() -> None:
    own = c.CoderRegistry()
    own.register_coder(Money, MoneyCoder)
    assert own.get_coder(Money) == MoneyCoder()
    assert own.get_coder(dict[str, Money]) == c.MapCoder(STR, MoneyCoder())
    assert registry.get_coder(Money) == ANY
    assert own.get_custom_type_coder_tuples([Money, int]) == [(Money, MoneyCoder)]
    assert (
        own.get_coder(tuple[Money, int]).decode(own.get_coder(tuple[Money, int]).encode((Money(5), 1)))[1]
        == 1
    )


def test_registered_coder_instance_and_generic() -> None:
    T = typing.TypeVar("T")

    class Box(typing.Generic[T]):
        pass

    class BoxCoder(MoneyCoder):
        def __init__(self, inner: c.Coder | None = None) -> None:
            self.inner = inner

        @classmethod
        def from_type_hint(cls, typehint: Any, registry: c.CoderRegistry) -> BoxCoder:
            return cls(registry.get_coder(*typing.get_args(typehint)))

    own = c.CoderRegistry()
    own.register_coder(Box, BoxCoder)
    own.register_coder(Money, c.NullableCoder(MoneyCoder()))
    assert own.get_coder(Box[int]) == BoxCoder(INT)
    assert own.get_coder(Money) == c.NullableCoder(MoneyCoder())


def test_only_coders_can_be_registered() -> None:
    for wrong in (int, "coder", Money):
        with pytest.raises(TypeError, match="needs a subclass of"):
            registry.register_coder(Money, wrong)  # type: ignore[arg-type]


def test_fallback_coder() -> None:
    own = c.CoderRegistry()
    own.register_fallback_coder(c.PickleCoder())
    assert own.get_coder(Unknown) == c.PickleCoder()
    assert own.get_coder(tuple[int, Unknown]) == c.TupleCoder([INT, c.PickleCoder()])


def test_fallback_coder_that_knows_some_types() -> None:
    class Picky(MoneyCoder):
        @classmethod
        def from_type_hint(cls, typehint: Any, registry: c.CoderRegistry) -> Picky:
            if typehint is not Money:
                raise ValueError("unknown")
            return cls()

    own = c.CoderRegistry()
    own.register_fallback_coder(Picky)
    assert own.get_coder(Money) == Picky()
    assert own.get_coder(Unknown) == ANY


def test_verify_deterministic(caplog: pytest.LogCaptureFixture) -> None:
    assert registry.verify_deterministic(INT, "Group") is INT
    with caplog.at_level(logging.WARNING):
        result = registry.verify_deterministic(ANY, "Group", silent=False)
    assert result.is_deterministic() and "Group" in caplog.text
    with pytest.raises(DeterminismError, match="'Group'"):
        registry.verify_deterministic(c.CloudpickleCoder(), "Group")


class Person(typing.NamedTuple):
    name: str
    age: int | None = None
    tags: list[str] = []


@dataclasses.dataclass
class Place:
    name: str
    size: float


PERSON = c.RowCoder(Person)


@pytest.mark.parametrize(
    ("coder", "value", "data"),
    [
        (PERSON, Person("Ann", 5, ["x"]), "030003416e6e05000000010178"),
        (PERSON, Person("Ann", None, []), "03010203416e6e00000000"),
        (c.RowCoder(Place), Place("Ulm", 1.0), "020003556c6d3ff0000000000000"),
    ],
)
def test_rows(coder: c.Coder, value: Any, data: str) -> None:
    assert coder.encode(value).hex() == data
    assert coder.decode(bytes.fromhex(data)) == value
    assert coder.decode_nested(coder.encode_nested(value)) == value
    again = c.coder_from_function(*coder.to_function())
    assert again == coder and again.decode(again.encode(value)) == value


def test_rows_by_registration_and_payload() -> None:
    own = c.CoderRegistry()
    own.register_coder(Person, c.RowCoder)
    assert own.get_coder(Person) == PERSON
    assert c.RowCoder.from_payload(PERSON.payload()) == PERSON
    assert PERSON.to_function()[2] == {
        "fields": ["name", "age", "tags"],
        "type": f"{Person.__module__}.Person",
    }


def test_row_types_of_typehints() -> None:
    typed = RowTypeConstraint.from_user_type(Person)
    assert registry.get_coder(typed) == PERSON
    plain = registry.get_coder(RowTypeConstraint.from_fields([("id", int), ("name", str)]))
    assert repr(plain) == "RowCoder(id=VarIntCoder, name=StrUtf8Coder)"
    assert plain.encode(Person2(7, "x")).hex() == "0200070178"


class Person2(typing.NamedTuple):
    id: int
    name: str


def test_rows_become_beam_rows() -> None:
    Row = pytest.importorskip("hornbeam.pvalue").Row
    coder = c.RowCoder([("id", int), ("name", str | None)])
    assert coder.decode(coder.encode(Row(id=1, name=None))) == Row(id=1, name=None)
    keys = ANY.as_deterministic_coder("step")
    assert keys.decode(keys.encode((Row(a=1),))) == (Row(a=1),)


def test_rows_of_fewer_fields_have_nones() -> None:
    short = c.RowCoder(typing.NamedTuple("P", [("name", str), ("age", int)]))
    assert PERSON.decode(short.encode(Person("Ann", 5))) == Person("Ann", 5, None)  # type: ignore[arg-type]


def test_deterministic_rows() -> None:
    class Loose(typing.NamedTuple):
        key: Any

    assert PERSON.is_deterministic() and not c.RowCoder(Loose).is_deterministic()
    fixed = c.RowCoder(Loose).as_deterministic_coder("step")
    assert fixed.is_deterministic()
    assert c.RowCoder(Loose, force_deterministic=True).is_deterministic()
    with pytest.raises(DeterminismError, match="'step'") as caught:
        fixed.encode(Loose(Unknown()))
    assert caught.value.__notes__ == ["This is field 'key' of a row."]


@pytest.mark.parametrize("wrong", [int, Unknown, "name", [("a",)], 5])
def test_types_that_are_no_rows(wrong: Any) -> None:
    with pytest.raises(TypeError, match="RowCoder needs a NamedTuple"):
        c.RowCoder(wrong)


def test_urns_agree_with_those_of_graphs() -> None:
    for name, urn in vars(urns).items():
        if name.startswith("CODER_"):
            assert getattr(coder_urns, name.removeprefix("CODER_")) == urn
