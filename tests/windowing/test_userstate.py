"""What a stateful DoFn declares: specs, their mistakes, and how they are found in a DoFn."""

from __future__ import annotations

from typing import Any

import cloudpickle
import pytest

from hornbeam.coders.coders import BytesCoder, StrUtf8Coder, VarIntCoder
from hornbeam.transforms.combine import CombineFn
from hornbeam.transforms.dofn import DoFn
from hornbeam.transforms.timeutil import TimeDomain
from hornbeam.transforms.userstate import (
    BagStateSpec,
    CombiningValueStateSpec,
    MapStateSpec,
    MultiMapStateSpec,
    OrderedListStateSpec,
    ReadModifyWriteStateSpec,
    SetStateSpec,
    StateSpec,
    TimerSpec,
    get_dofn_specs,
    is_stateful_dofn,
    on_timer,
    on_window_expiration,
    validate_stateful_dofn,
)


class Sum(CombineFn):
    """Adds integers."""

    def create_accumulator(self) -> int:
        return 0

    def add_input(self, accumulator: int, element: int) -> int:
        return accumulator + element

    def merge_accumulators(self, accumulators: Any) -> int:
        return sum(accumulators)

    def extract_output(self, accumulator: int) -> int:
        return accumulator


class Plain(DoFn):
    """Without state."""

    def process(self, element: Any, timestamp: Any = DoFn.TimestampParam) -> Any:
        yield element


class Stateful(DoFn):
    """With state in process and in a timer's callback."""

    SEEN = SetStateSpec("seen", StrUtf8Coder())
    BUFFER = BagStateSpec("buffer", BytesCoder())
    FLUSH = TimerSpec("flush", TimeDomain.WATERMARK)

    def process(
        self, element: Any, seen: Any = DoFn.StateParam(SEEN), flush: Any = DoFn.TimerParam(FLUSH)
    ) -> Any:
        yield element

    @on_timer(FLUSH)
    def flush(self, buffer: Any = DoFn.StateParam(BUFFER)) -> Any:
        yield from buffer.read()


class Inheriting(Stateful):
    """Inherits all of it."""


@pytest.mark.parametrize("kind", [ReadModifyWriteStateSpec, BagStateSpec, SetStateSpec, OrderedListStateSpec])
def test_a_spec_has_a_name_and_a_coder(kind: type[StateSpec]) -> None:
    spec = kind("cell", VarIntCoder())
    assert (spec.name, spec.coder) == ("cell", VarIntCoder())
    assert repr(spec) == f"{kind.__name__}('cell')"
    with pytest.raises(TypeError, match="name must be a str; it is 3"):
        kind(3, VarIntCoder())  # type: ignore[arg-type]
    with pytest.raises(TypeError, match="'cell': coder must be a Coder; it is None"):
        kind("cell", None)  # type: ignore[arg-type]
    with pytest.raises(TypeError, match=r"Call it: VarIntCoder\(\)"):
        kind("cell", VarIntCoder)  # type: ignore[arg-type]


@pytest.mark.parametrize("kind", [MapStateSpec, MultiMapStateSpec])
def test_a_map_has_a_coder_for_its_keys_too(kind: type[MapStateSpec]) -> None:
    spec = kind("map", StrUtf8Coder(), VarIntCoder())
    assert (spec.key_coder, spec.coder) == (StrUtf8Coder(), VarIntCoder())
    with pytest.raises(TypeError, match="coder must be a Coder"):
        kind("map", str, VarIntCoder())  # type: ignore[arg-type]


@pytest.mark.parametrize(
    "spec",
    [
        CombiningValueStateSpec("sum", VarIntCoder(), Sum()),
        CombiningValueStateSpec("sum", VarIntCoder(), combine_fn=Sum()),
        CombiningValueStateSpec("sum", combine_fn=Sum()),
        CombiningValueStateSpec("sum", Sum()),
    ],
)
def test_a_combining_spec_takes_its_coder_or_does_without(spec: CombiningValueStateSpec) -> None:
    assert isinstance(spec.combine_fn, Sum)
    assert spec.coder.decode(spec.coder.encode(5)) == 5


def test_a_combining_spec_takes_a_plain_function() -> None:
    assert CombiningValueStateSpec("sum", sum).combine_fn.apply([1, 2]) == 3
    with pytest.raises(ValueError, match="'sum' needs a combine_fn"):
        CombiningValueStateSpec("sum")


def test_timer_specs() -> None:
    spec = TimerSpec("flush", TimeDomain.REAL_TIME)
    assert (spec.name, spec.time_domain) == ("ts-flush", TimeDomain.REAL_TIME)
    assert TimerSpec("flush", "WATERMARK").time_domain is TimeDomain.WATERMARK
    with pytest.raises(ValueError, match="it is 'DEPENDENT_REAL_TIME'"):
        TimerSpec("flush", TimeDomain.DEPENDENT_REAL_TIME)
    with pytest.raises(TypeError, match="name must be a str"):
        TimerSpec(b"flush", TimeDomain.REAL_TIME)  # type: ignore[arg-type]


def test_on_timer_takes_a_spec_a_function_and_no_second_one() -> None:
    spec = TimerSpec("flush", TimeDomain.REAL_TIME)
    with pytest.raises(ValueError, match="needs a TimerSpec"):
        on_timer("flush")  # type: ignore[arg-type]
    with pytest.raises(ValueError, match="decorates a method"):
        on_timer(spec)(5)  # type: ignore[type-var]
    assert on_timer(spec)(test_timer_specs) is test_timer_specs
    with pytest.raises(ValueError, match=r"more than one @on_timer callback: test_timer_specs and"):
        on_timer(spec)(lambda: None)


def test_specs_are_found_in_all_methods() -> None:
    assert get_dofn_specs(Plain()) == (set(), set())
    assert not is_stateful_dofn(Plain())
    for dofn in (Stateful(), Inheriting()):
        assert get_dofn_specs(dofn) == ({Stateful.SEEN, Stateful.BUFFER}, {Stateful.FLUSH})
        assert is_stateful_dofn(dofn)
        validate_stateful_dofn(dofn)


def test_a_pickled_dofn_is_still_whole() -> None:
    class Local(DoFn):
        FLUSH = TimerSpec("flush", TimeDomain.WATERMARK)

        def process(self, element: Any, flush: Any = DoFn.TimerParam(FLUSH)) -> Any:
            yield element

        @on_timer(FLUSH)
        def flushed(self) -> None:
            pass

    restored = cloudpickle.loads(cloudpickle.dumps(Local()))
    validate_stateful_dofn(restored)
    assert {spec.name for spec in get_dofn_specs(restored)[1]} == {"ts-flush"}


class SameName(DoFn):
    """Two cells of one name."""

    A = BagStateSpec("cell", VarIntCoder())
    B = SetStateSpec("cell", VarIntCoder())

    def process(self, element: Any, a: Any = DoFn.StateParam(A), b: Any = DoFn.StateParam(B)) -> Any:
        yield element


class SameNameApart(DoFn):
    """Two cells of one name, in two methods."""

    A = BagStateSpec("cell", VarIntCoder())
    B = SetStateSpec("cell", VarIntCoder())
    FLUSH = TimerSpec("flush", TimeDomain.WATERMARK)

    def process(self, element: Any, a: Any = DoFn.StateParam(A), flush: Any = DoFn.TimerParam(FLUSH)) -> Any:
        yield element

    @on_timer(FLUSH)
    def flushed(self, b: Any = DoFn.StateParam(B)) -> None:
        """Reads the other one."""


class Twice(DoFn):
    """The same context twice."""

    def process(self, element: Any, a: Any = DoFn.TimestampParam, b: Any = DoFn.TimestampParam) -> Any:
        yield element


class NoCallback(DoFn):
    """A timer that calls nothing."""

    FLUSH = TimerSpec("flush", TimeDomain.WATERMARK)

    def process(self, element: Any, flush: Any = DoFn.TimerParam(FLUSH)) -> Any:
        yield element


class Overwritten(Stateful):
    """A timer whose callback is another one here."""

    def flush(self) -> Any:
        """Not the decorated one."""


@pytest.mark.parametrize(
    ("dofn", "message"),
    [
        (SameName(), "duplicate parameters of process"),
        (SameNameApart(), "several StateSpecs with the same name: cell"),
        (Twice(), "duplicate parameters of process: TimestampParam"),
        (NoCallback(), r"without an associated @on_timer callback: TimerSpec\('ts-flush'\)"),
        (Overwritten(), "is not the method flush of"),
    ],
)
def test_mistakes_of_a_stateful_dofn_are_named(dofn: DoFn, message: str) -> None:
    with pytest.raises(ValueError, match=message):
        validate_stateful_dofn(dofn)


def test_time_domains() -> None:
    assert TimeDomain.from_string("REAL_TIME") is TimeDomain.REAL_TIME
    assert TimeDomain.is_event_time("WATERMARK")
    assert not TimeDomain.is_event_time(TimeDomain.DEPENDENT_REAL_TIME)
    with pytest.raises(ValueError, match="Unknown time domain: 'LUNAR'"):
        TimeDomain.from_string("LUNAR")


def test_a_spec_is_the_same_one_when_it_comes_back_by_pickle() -> None:
    """A runner in this process unpickles a local class into the class that is there; a subclass knows its first specs."""

    class Counting(DoFn):
        CELL = BagStateSpec("cell", VarIntCoder())
        FLUSH = TimerSpec("flush", TimeDomain.WATERMARK)

        def process(
            self, element: Any, cell: Any = DoFn.StateParam(CELL), flush: Any = DoFn.TimerParam(FLUSH)
        ) -> Any:
            yield element

        @on_timer(FLUSH)
        def flushed(self, cell: Any = DoFn.StateParam(CELL)) -> None:
            """Reads the cell."""

    class Expiring(Counting):
        @on_window_expiration
        def expired(
            self, cell: Any = DoFn.StateParam(Counting.CELL), flush: Any = DoFn.TimerParam(Counting.FLUSH)
        ) -> None:
            """Reads it too."""

    cell, flush = Counting.CELL, Counting.FLUSH
    assert cloudpickle.loads(cloudpickle.dumps(Counting)) is Counting
    assert (cell, flush) == (Counting.CELL, Counting.FLUSH)
    validate_stateful_dofn(Counting())
    validate_stateful_dofn(Expiring())
