"""What DoFns may ask for, how arguments are laid out, and the mistakes that ParDo refuses."""

from __future__ import annotations

import contextlib
import functools
from typing import Any

import cloudpickle
import pytest

import hornbeam as beam
from hornbeam.coders import VarIntCoder
from hornbeam.io.iobase import RestrictionTracker
from hornbeam.transforms.core import RestrictionProvider, WatermarkEstimatorProvider
from hornbeam.transforms.dofn import CallableDoFn, signature_of
from hornbeam.transforms.signature import Parameter
from hornbeam.transforms.timeutil import TimeDomain
from hornbeam.transforms.userstate import BagStateSpec, ReadModifyWriteStateSpec, TimerSpec, on_timer

DoFn = beam.DoFn


def laid_out(dofn: DoFn, *args: Any, **kwargs: Any) -> tuple[list[Any], dict[str, Any]]:
    """A bound call with context parameters shown as their kinds in angle brackets."""
    bound = signature_of(dofn).process.bind(args, kwargs)

    def show(item: Any) -> Any:
        return f"<{item.kind}>" if isinstance(item, Parameter) else item

    return [show(item) for item in bound.positional], {n: show(v) for n, v in bound.keywords.items()}


T, W, P, K = DoFn.TimestampParam, DoFn.WindowParam, DoFn.PaneInfoParam, DoFn.KeyParam

CALLS = [
    (lambda x: x, (), {}, ["<element>"], {}),
    (lambda x, y: x, ("a",), {}, ["<element>", "a"], {}),
    (lambda x, y: x, (), {"y": "a"}, ["<element>", "a"], {}),
    (lambda x, t=T: x, (), {}, ["<element>", "<timestamp>"], {}),
    (lambda x, y, t=T: x, ("a",), {}, ["<element>", "a", "<timestamp>"], {}),
    (lambda x, t=T, y="b": x, ("a",), {}, ["<element>", "<timestamp>", "a"], {}),
    (lambda x, y="b", t=T: x, (), {}, ["<element>"], {"t": "<timestamp>"}),
    (lambda x, y="b", *, w=W: x, (), {}, ["<element>"], {"w": "<window>"}),
    (
        lambda x, t=T, w=W, p=P, k=K: x,
        (),
        {},
        ["<element>", "<timestamp>", "<window>", "<pane>", "<key>"],
        {},
    ),
    (lambda x, *args: x, (1, 2), {}, ["<element>", 1, 2], {}),
    (lambda x, **kwargs: x, (), {"a": 1}, ["<element>"], {"a": 1}),
    (lambda *args: args, (1,), {}, ["<element>", 1], {}),
    (lambda x, s=DoFn.SideInputParam: x, ("a",), {}, ["<element>", "a"], {}),
    (functools.partial(lambda y, x: x, 5), (), {}, ["<element>"], {}),
    (max, (3,), {}, ["<element>", 3], {}),
    (str, (), {}, ["<element>"], {}),
]


@pytest.mark.parametrize(("fn", "args", "kwargs", "positional", "keywords"), CALLS)
def test_arguments_take_the_places_that_context_leaves(fn, args, kwargs, positional, keywords):
    assert laid_out(CallableDoFn(fn, "map"), *args, **kwargs) == (positional, keywords)


def test_an_explicit_element_param_may_stand_anywhere():
    dofn = CallableDoFn(lambda prefix, x=DoFn.ElementParam, t=T: [f"{prefix}{x}@{t}"], "flat_map")
    assert laid_out(dofn, "a") == (["<element>"], {"prefix": "a", "t": "<timestamp>"})
    assert dofn.process(7, prefix="a", t=1) == ["a7@1"]


def test_arguments_of_tuple_functions_go_by_name():
    dofn = CallableDoFn(lambda k, v, t=T, times=2: (k, v * times, t), "map_tuple")
    assert laid_out(dofn, 5) == (["<element>"], {"t": "<timestamp>", "times": 5})
    assert list(dofn.process(("a", 1), t="now", times=5)) == [("a", 5, "now")]


@pytest.mark.parametrize(
    ("kind", "fn", "element", "outputs"),
    [
        ("map", lambda x: x + 1, 1, [2]),
        ("flat_map", lambda x: [x, x], 1, [1, 1]),
        ("flat_map", lambda x: None, 1, None),
        ("filter", lambda x: x > 0, 1, [1]),
        ("filter", lambda x: x > 1, 1, []),
        ("map_tuple", lambda a, b: a + b, (1, 2), [3]),
        ("flat_map_tuple", lambda a, b: [a, b], (1, 2), [1, 2]),
        ("with_timestamps", lambda x: 5, 1, [beam.window.TimestampedValue(1, 5)]),
    ],
)
def test_a_wrapped_function_is_a_dofn_of_its_own(kind, fn, element, outputs):
    given = CallableDoFn(fn, kind).process(element)
    assert (given if given is None else list(given)) == outputs


@pytest.mark.parametrize(
    ("make", "problem"),
    [
        (lambda: beam.Map(lambda x, y: x), "needs a value for its parameter 'y'"),
        (lambda: beam.Map(lambda x: x, 1), "takes no arguments after the element; 1 positional was given"),
        (lambda: beam.Map(lambda x: x, y=1), "has no parameter called 'y'"),
        (
            lambda: beam.MapTuple(lambda x, y: x, y=1),
            "no parameter called 'y'. Parameters without a default take",
        ),
        (
            lambda: beam.MapTuple(lambda x, y: x, 1),
            "1 positional was given. Parameters without a default take",
        ),
        (lambda: beam.FlatMapTuple(lambda k, v: k, 3), "takes no arguments"),
        (lambda: beam.Map(lambda: 1), "takes no element"),
    ],
)
def test_calls_that_cannot_work_are_refused(make, problem):
    with pytest.raises(TypeError, match=problem):
        make()


def test_a_wrapped_function_may_take_other_arguments_than_it_shows():
    def with_connection(fn):
        @functools.wraps(fn)
        def call(x):
            return fn(x, "connection")

        return call

    @with_connection
    def look_up(x, connection):
        return x

    beam.Map(look_up)


def test_what_is_not_callable_is_refused():
    with pytest.raises(TypeError, match="Map needs a callable; it got 3"):
        beam.Map(3)
    with pytest.raises(TypeError, match="ParDo needs a DoFn or a callable"):
        beam.ParDo([1])


class Everything(DoFn):
    STATE = ReadModifyWriteStateSpec("last", VarIntCoder())
    BAG = BagStateSpec("bag", VarIntCoder())
    TIMER = TimerSpec("flush", TimeDomain.WATERMARK)

    def setup(self):
        self.ready = True

    def process(
        self,
        element,
        prefix,
        t=DoFn.TimestampParam,
        last=DoFn.StateParam(STATE),
        flush=DoFn.TimerParam(TIMER),
        done=DoFn.BundleFinalizerParam,
    ):
        yield element

    @on_timer(TIMER)
    def flush(self, key=DoFn.KeyParam, bag=DoFn.StateParam(BAG), tag=DoFn.DynamicTimerTagParam):
        yield key


def test_the_signature_of_a_stateful_dofn():
    signature = signature_of(Everything())
    assert signature.takes_timestamp and not signature.takes_window
    assert signature.is_stateful and not signature.is_splittable and not signature.is_plain
    assert sorted(signature.state_params) == ["bag", "last"]
    assert list(signature.timer_params) == ["ts-flush"]
    assert [p.kind for p in signature.timer_callbacks["ts-flush"].parameters] == [
        "key",
        "state",
        "dynamic_timer_tag",
    ]
    assert signature.bundle_finalizer
    assert signature.setup.defined and not signature.teardown.defined
    assert [p.name for p in signature.process.of_kind("argument")] == ["prefix"]


def test_a_dofn_survives_pickling_with_its_signature():
    dofn = cloudpickle.loads(cloudpickle.dumps(Everything()))
    assert sorted(signature_of(dofn).state_params) == ["bag", "last"]

    class Local(DoFn):
        def process(self, element, t=DoFn.TimestampParam, done=DoFn.BundleFinalizerParam):
            yield t

    signature = signature_of(cloudpickle.loads(cloudpickle.dumps(Local())))
    assert signature.takes_timestamp and signature.bundle_finalizer
    local_lambda = cloudpickle.loads(cloudpickle.dumps(CallableDoFn(lambda x, w=W: w, "map")))
    assert signature_of(local_lambda).takes_window


class Tracker(RestrictionTracker):
    pass


class Provider(RestrictionProvider):
    def initial_restriction(self, element):
        return (0, element)

    def restriction_size(self, element, restriction):
        return restriction[1] - restriction[0]

    def split(self, element, restriction):
        yield (restriction[0], 2)
        yield (2, restriction[1])


def test_restriction_provider_defaults():
    assert list(Provider().split_and_size(5, (0, 5))) == [((0, 2), 2), ((2, 5), 3)]
    assert list(RestrictionProvider().split(5, "all")) == ["all"]
    with pytest.raises(NotImplementedError, match="must define create_tracker"):
        RestrictionProvider().create_tracker(1)


def test_a_splittable_dofn_with_a_provider_or_as_one():
    class WithProvider(DoFn):
        def process(self, element, tracker=DoFn.RestrictionParam(Provider())):
            yield element

    class IsProvider(DoFn, Provider):
        def process(self, element, tracker=DoFn.RestrictionParam()):
            yield element

    class Unbounded(WithProvider):
        @DoFn.unbounded_per_element()
        def process(self, element, tracker=DoFn.RestrictionParam(Provider())):
            yield element

    assert isinstance(beam.ParDo(WithProvider()).signature.restriction_provider, Provider)
    own = IsProvider()
    assert beam.ParDo(own).signature.restriction_provider is own
    numbers = beam.Pipeline() | beam.Create([1])
    assert (numbers | beam.ParDo(WithProvider())).is_bounded
    assert not (numbers | beam.ParDo(Unbounded())).is_bounded


def test_estimator_providers():
    class Estimators(WatermarkEstimatorProvider):
        def initial_estimator_state(self, element, restriction):
            return None

        def create_watermark_estimator(self, estimator_state):
            return None

    class Estimated(DoFn):
        def process(
            self,
            element,
            tracker=DoFn.RestrictionParam(Provider()),
            estimator=DoFn.WatermarkEstimatorParam(Estimators()),
        ):
            yield element

    assert isinstance(beam.ParDo(Estimated()).signature.watermark_estimator_provider, Estimators)


def dofn_class(**members: Any) -> type[DoFn]:
    return type("Made", (DoFn,), members)


STATE = BagStateSpec("s", VarIntCoder())
STATE_TOO = BagStateSpec("s", VarIntCoder())
LONELY = TimerSpec("lonely", TimeDomain.WATERMARK)


@pytest.mark.parametrize(
    ("members", "problem"),
    [
        ({}, "must define process"),
        ({"process": lambda self: None}, "process takes no element"),
        ({"process": staticmethod(lambda element: [])}, "must be an ordinary method"),
        ({"process": lambda self, e, a=T, b=T: []}, "asks for TimestampParam more than once"),
        (
            {"process": lambda self, e: [], "start_bundle": lambda self, t=T: None},
            "start_bundle cannot ask for TimestampParam",
        ),
        (
            {"process": lambda self, e: [], "setup": lambda self, s=DoFn.StateParam(STATE): None},
            "setup cannot ask for StateParam",
        ),
        (
            {"process": lambda self, e, s=DoFn.StateParam(STATE), t=DoFn.StateParam(STATE_TOO): []},
            "more than once|same name",
        ),
        ({"process": lambda self, e, t=DoFn.TimerParam(LONELY): []}, "on_timer"),
        ({"process": lambda self, e, r=DoFn.RestrictionParam(): []}, "no provider"),
        ({"process": lambda self, e, r=DoFn.WatermarkEstimatorParam(): []}, "for no restriction"),
        (
            {
                "process": lambda self, e, r=DoFn.RestrictionParam(Provider()), s=DoFn.StateParam(STATE): [],
            },
            "a restriction and state",
        ),
    ],
)
def test_mistakes_in_a_dofn_are_found_at_construction(members: dict[str, Any], problem: str):
    with pytest.raises((ValueError, TypeError), match=problem):
        beam.ParDo(dofn_class(**members)())


def test_batch_decorators_belong_on_process_methods():
    with pytest.raises(ValueError, match="belongs on a DoFn's process"):
        DoFn.yields_batches(lambda x: x)

    class Batched(DoFn):
        @DoFn.yields_elements
        def process_batch(self, batch: list[int]) -> list[str]:
            yield from map(str, batch)

    dofn = Batched()
    assert signature_of(dofn).process_batch is not None
    assert dofn.get_output_batch_type(int) is None
    assert str(dofn.get_input_batch_type(int)) == "List[int]"


def test_get_function_arguments():
    class Asking(DoFn):
        def process(self, element, y, t=DoFn.TimestampParam, z=3):
            yield element

    assert Asking().get_function_arguments("process") == (["self", "element", "y", "t", "z"], [T, 3])


def test_context_params_enter_their_context():
    @contextlib.contextmanager
    def opened(name):
        yield f"open {name}"

    param = DoFn.SetupContextParam(opened, ("db",))
    manager, value = param.create_and_enter()
    assert value == "open db"
    manager.__exit__(None, None, None)
    assert param.kind == "setup_context"
    assert DoFn.BundleContextParam(opened).kind == "bundle_context"


def test_the_bundle_finalizer_calls_all_and_raises_the_first_failure():
    calls = []
    finalizer = DoFn.BundleFinalizerParam()

    def fail():
        raise KeyError("first")

    finalizer.register(fail)
    finalizer.register(lambda: calls.append("second"))
    assert finalizer.has_callbacks()
    with pytest.raises(KeyError, match="first"):
        finalizer.finalize_bundle()
    assert calls == ["second"]
    finalizer.reset()
    assert not finalizer.has_callbacks()


def passing_on(fn):
    @functools.wraps(fn)
    def call(*args, **kwargs):
        return fn(*args, **kwargs)

    return call


def with_a_connection(fn):
    @functools.wraps(fn)
    def call(x):
        return fn(x, "connection")

    return call


def injecting(fn):
    @functools.wraps(fn)
    def call(*args):
        return fn(*args, "injected")

    return call


def test_wrapped_functions_run():
    assert [1] | beam.Map(passing_on(lambda x, w=W: (x, w.end > 0))) == [(1, True)]
    assert [1] | beam.Map(with_a_connection(lambda x, connection: (x, connection))) == [(1, "connection")]
    assert [1] | beam.Map(injecting(lambda x, connection: (x, connection))) == [(1, "injected")]
    assert [1] | beam.Map(passing_on(lambda x, y: (x, y)), 2) == [(1, 2)]


def test_stateful_dofns_and_keys_need_pairs():
    numbers = beam.Pipeline() | beam.Create([1])
    with pytest.raises(
        TypeError, match=r"A DoFn with state or timers at 'ParDo\(Everything\)' needs \(key, value\) pairs"
    ):
        numbers | beam.ParDo(Everything(), "prefix")
    with pytest.raises(
        TypeError, match=r"DoFn.KeyParam at 'Keys' needs \(key, value\) pairs; its input is int"
    ):
        numbers | "Keys" >> beam.Map(lambda x, k=K: k)


def test_the_keys_of_a_stateful_dofn_get_a_deterministic_coder():
    p = beam.Pipeline()
    p | beam.Create([1]) | beam.Map(lambda x: (x, x)) | "Stateful" >> beam.ParDo(Everything(), "prefix")
    graph = p.to_graph()
    step = next(t for t in graph.transforms.values() if t.label == "Stateful")
    assert (
        step.spec["stateful"]
        and step.spec["timers"] == ["ts-flush"]
        and step.spec["state"] == ["bag", "last"]
    )
