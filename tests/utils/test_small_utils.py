from __future__ import annotations

import gc
import math
import pickle
import threading
import warnings
from typing import Any

import pytest

from hornbeam.utils.annotations import BeamDeprecationWarning, annotate, deprecated, experimental
from hornbeam.utils.python_callable import PythonCallableWithSource
from hornbeam.utils.retry import (
    FuzzedExponentialIntervals,
    PermanentException,
    no_retries,
    retry_if_valid_input_but_server_error_and_timeout_filter,
    retry_on_beam_io_error_filter,
    retry_on_server_errors_and_notfound_filter,
    retry_on_server_errors_and_timeout_filter,
    retry_on_server_errors_filter,
    retry_on_server_errors_timeout_or_quota_issues_filter,
    with_exponential_backoff,
)
from hornbeam.utils.sharded_key import ShardedKey
from hornbeam.utils.shared import Shared
from hornbeam.utils.stable_hash import stable_hash


class Model:
    pass


# shared


def test_shared_object_is_made_once() -> None:
    shared = Shared()
    made: list[Model] = []

    def make() -> Model:
        made.append(Model())
        return made[-1]

    first = shared.acquire(make)
    assert shared.acquire(make) is first
    assert pickle.loads(pickle.dumps(shared)).acquire(make) is first
    assert len(made) == 1


def test_shared_object_is_made_anew_for_another_tag() -> None:
    shared = Shared()
    first = shared.acquire(Model, tag="a")
    assert shared.acquire(Model, tag="a") is first
    assert shared.acquire(Model) is first
    assert shared.acquire(Model, tag="b") is not first


def test_shared_object_goes_when_nobody_holds_it_but_the_last_stays() -> None:
    shared, other = Shared(), Shared()
    made: list[int] = []

    def make() -> Model:
        made.append(1)
        return Model()

    shared.acquire(make)
    shared.acquire(make)
    assert len(made) == 1
    other.acquire(Model)
    gc.collect()
    shared.acquire(make)
    assert len(made) == 2


def test_two_handles_share_nothing() -> None:
    assert Shared().acquire(Model) is not Shared().acquire(Model)


def test_one_thread_makes_what_all_get() -> None:
    shared = Shared()
    made: list[int] = []
    got: list[Model] = []
    start = threading.Barrier(8)

    def make() -> Model:
        made.append(1)
        return Model()

    def run() -> None:
        start.wait()
        got.append(shared.acquire(make))

    threads = [threading.Thread(target=run) for _ in range(8)]
    for thread in threads:
        thread.start()
    for thread in threads:
        thread.join()
    assert len(made) == 1 and len({id(model) for model in got}) == 1


def test_shared_refuses_what_has_no_weak_references() -> None:
    with pytest.raises(TypeError, match="subclass"):
        Shared().acquire(lambda: [1])


# annotations


def test_deprecated_warns_with_what_to_use() -> None:
    @deprecated(since="2.0", current="new", extra_message="It is faster.")
    def old(x: int) -> int:
        """Doc."""
        return x + 1

    with pytest.warns(
        BeamDeprecationWarning, match="old is deprecated since 2.0. Use new instead. It is faster."
    ):
        assert old(1) == 2
    assert old.__doc__ == "Doc." and old.__name__ == "old"


def test_experimental_class_stays_a_class() -> None:
    @experimental(current="Other")
    class Thing:
        def __init__(self, x: int) -> None:
            self.x = x

    with pytest.warns(FutureWarning, match="Thing is experimental. Use Other instead."):
        thing = Thing(3)
    assert isinstance(thing, Thing) and thing.x == 3


def test_custom_message() -> None:
    mark = annotate(
        "deprecated", "1", "new", "more", custom_message="%name% went in %since%: %current% %extra%"
    )
    with pytest.warns(BeamDeprecationWarning, match="f went in 1: new more"):
        mark(_function_named_f())()


def _function_named_f() -> Any:
    def f() -> None:
        pass

    return f


def test_deprecation_points_at_the_caller() -> None:
    @deprecated(since="1")
    def old() -> None:
        pass

    with warnings.catch_warnings(record=True) as caught:
        warnings.simplefilter("always")
        old()
    assert caught[0].filename == __file__


# python callables


@pytest.mark.parametrize(
    ("source", "argument", "result"),
    [
        ("lambda x: x + 1", 2, 3),
        ("  lambda x: x + 1\n", 2, 3),
        ("str", 2, "2"),
        ("math.sqrt", 4, 2.0),
        ("os.path.basename", "a/b", "b"),
        ("def f(x):\n    return x * 2\n", 3, 6),
        ("\n    import math\n    def f(x):\n        return math.floor(x)\n", 3.7, 3),
        ("def helper(x):\n    return -x\ndef main(x):\n    return helper(x)", 3, -3),
        (
            "class C:\n    def __init__(self, x):\n        self.x = x\n    def __eq__(self, o):\n        return 1",
            1,
            1,
        ),
        ("f = lambda x: x - 1", 3, 2),
    ],
)
def test_callables_from_source(source: str, argument: Any, result: Any) -> None:
    function = PythonCallableWithSource(source)
    assert function(argument) == result
    again = pickle.loads(pickle.dumps(function))
    assert again == function and again(argument) == result
    assert again.get_source() == source


def test_fully_qualified_names() -> None:
    load = PythonCallableWithSource.load_from_fully_qualified_name
    assert load("math.sqrt") is math.sqrt
    with pytest.raises(ModuleNotFoundError):
        load("no_such_module_at_all.thing")
    with pytest.raises(AttributeError):
        load("math.no_such_name")


def test_script_with_a_named_method() -> None:
    script = "def a(x):\n    return 'a'\ndef b(x):\n    return 'b'\n"
    assert PythonCallableWithSource.load_from_script(script, "a")(0) == "a"
    assert PythonCallableWithSource.load_from_script(script)(0) == "b"
    with pytest.raises(ValueError, match="'c' is not defined"):
        PythonCallableWithSource.load_from_script(script, "c")


def test_source_without_a_callable() -> None:
    with pytest.raises(ValueError, match="cannot be called"):
        PythonCallableWithSource("1 + 1")
    with pytest.raises(ValueError, match="must define"):
        PythonCallableWithSource("def f(x):\n    return x\nprint(f(1))")
    with pytest.raises(SyntaxError):
        PythonCallableWithSource("def f(:")


def test_callable_label_is_short() -> None:
    assert PythonCallableWithSource("lambda x: x").default_label() == "lambda x: x"
    assert len(PythonCallableWithSource("lambda x: " + "x + " * 50 + "1").default_label()) == 40


# retry


class Sleeper:
    def __init__(self) -> None:
        self.pauses: list[float] = []

    def sleep(self, value: float) -> None:
        self.pauses.append(value)


class Flaky:
    def __init__(self, failures: int, error: Exception) -> None:
        self.failures, self.error, self.calls = failures, error, 0

    def __call__(self) -> str:
        self.calls += 1
        if self.calls <= self.failures:
            raise self.error
        return "done"


def retried(function: Any, clock: Sleeper, **kwargs: Any) -> Any:
    return with_exponential_backoff(clock=clock, logger=lambda *args: None, **kwargs)(lambda: function())()  # type: ignore[arg-type]


def test_retries_with_growing_pauses() -> None:
    clock = Sleeper()
    assert retried(Flaky(3, OSError("x")), clock, initial_delay_secs=1.0, fuzz=False) == "done"
    assert clock.pauses == [1.0, 2.0, 4.0]


def test_raises_when_no_pause_is_left() -> None:
    clock, function = Sleeper(), Flaky(99, OSError("x"))
    with pytest.raises(OSError, match="x"):
        retried(function, clock, num_retries=2)
    assert function.calls == 3 and len(clock.pauses) == 2


def test_permanent_errors_are_not_retried() -> None:
    clock = Sleeper()
    with pytest.raises(PermanentException):
        retried(Flaky(1, PermanentException("x")), clock)
    with pytest.raises(ValueError):
        retried(Flaky(1, ValueError("x")), clock, retry_filter=lambda error: False)
    assert clock.pauses == []


def test_pauses_are_bounded() -> None:
    assert list(FuzzedExponentialIntervals(1, 5, fuzz=0, max_delay_secs=3)) == [1, 2, 3, 3, 3]
    assert list(FuzzedExponentialIntervals(1, 5, fuzz=0, stop_after_secs=4)) == [1, 2]
    for pause, whole in zip(FuzzedExponentialIntervals(1, 5, fuzz=0.5), [1, 2, 4, 8, 16]):
        assert whole / 2 <= pause <= whole
    with pytest.raises(ValueError):
        FuzzedExponentialIntervals(1, 5, fuzz=2)


class HttpError(Exception):
    def __init__(self, status_code: int, text: str = "") -> None:
        super().__init__(text)
        self.status_code = status_code


class BeamIOError(Exception):
    pass


@pytest.mark.parametrize(
    ("accepts", "error", "expected"),
    [
        (retry_on_server_errors_filter, HttpError(503), True),
        (retry_on_server_errors_filter, HttpError(404), False),
        (retry_on_server_errors_filter, OSError(), True),
        (retry_on_server_errors_and_notfound_filter, HttpError(404), True),
        (retry_on_server_errors_and_timeout_filter, HttpError(408), True),
        (retry_on_server_errors_and_timeout_filter, HttpError(400), False),
        (retry_on_server_errors_timeout_or_quota_issues_filter, HttpError(403, "quota exceeded"), True),
        (retry_on_server_errors_timeout_or_quota_issues_filter, HttpError(403, "forbidden"), False),
        (retry_on_server_errors_timeout_or_quota_issues_filter, HttpError(429), True),
        (retry_on_beam_io_error_filter, BeamIOError(), True),
        (retry_on_beam_io_error_filter, OSError(), False),
        (retry_if_valid_input_but_server_error_and_timeout_filter, ValueError(), False),
        (retry_if_valid_input_but_server_error_and_timeout_filter, HttpError(500), True),
    ],
)
def test_filters(accepts: Any, error: Exception, expected: bool) -> None:
    assert accepts(error) is expected


def test_no_retries() -> None:
    function = Flaky(0, OSError())
    assert no_retries(function) is function


# keys


def test_stable_hash_never_changes() -> None:
    assert stable_hash(b"") == 0xE4A6A0577479B2B4
    assert stable_hash(b"key") == stable_hash(bytes(bytearray(b"key"))) < 2**64
    assert len({stable_hash(str(i).encode()) % 16 for i in range(1000)}) == 16


def test_sharded_keys() -> None:
    key = ShardedKey("k", b"1")
    assert (key.key, key.shard_id) == ("k", b"1")
    assert key == ShardedKey("k", b"1") != ShardedKey("k", b"2")
    assert len({key, ShardedKey("k", b"1"), ShardedKey("j", b"1")}) == 2
    assert pickle.loads(pickle.dumps(key)) == key
    with pytest.raises(ValueError):
        ShardedKey("k", None)  # type: ignore[arg-type]
