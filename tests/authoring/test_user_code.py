"""User code that cannot travel: the error names the step and what is in the way."""

from __future__ import annotations

import threading

import pytest

import hornbeam as beam
from hornbeam.error import PipelineError
from hornbeam.user_code import UserCodeError, pickle_user_code

LOCK = threading.Lock()


class HoldsLock:
    def __init__(self):
        self.inner = {"lock": threading.Lock()}

    def method(self, x):
        return x


class LockedDoFn(beam.DoFn):
    def __init__(self):
        super().__init__()
        self.guard = threading.Lock()

    def process(self, element):
        yield element


def closing_over():
    lock = threading.Lock()
    return lambda x: (lock, x)


def deep_closure():
    holder = HoldsLock()
    inner = lambda x: holder.method(x)  # noqa: E731
    return lambda x: inner(x)


@pytest.mark.parametrize(
    ("transform", "step", "what"),
    [
        (
            lambda: beam.Map(closing_over()),
            "Map(<lambda at test_user_code.py",
            "the variable 'lock' (in <lambda> at ",
        ),
        (lambda: beam.ParDo(LockedDoFn()), "ParDo(LockedDoFn)", "the attribute 'guard' of LockedDoFn"),
        (lambda: beam.Map(HoldsLock().method), "Map(method)", "the item 'lock'"),
        (lambda: beam.Map(deep_closure()), "Map(<lambda at test_user_code.py", "the item 'lock'"),
        (lambda: beam.Map(lambda x, y: x, threading.Lock()), "Map(<lambda", "the item 0"),
        (lambda: beam.CombineGlobally(closing_over()), "CombineGlobally(<lambda", "the variable 'lock'"),
    ],
)
def test_the_error_names_step_and_culprit(transform, step, what):
    numbers = beam.Pipeline() | beam.Create([1])
    with pytest.raises(UserCodeError) as info:
        numbers | transform()
    message = str(info.value)
    assert f"The function of '{step}" in message
    assert what in message
    assert "of type _thread.lock" in message
    assert "DoFn.setup()" in message


def test_the_full_label_is_named():
    numbers = beam.Pipeline() | beam.Create([1])
    step = beam.transforms.ptransform.ptransform_fn(lambda pcoll: pcoll | "Inner" >> beam.Map(closing_over()))
    with pytest.raises(UserCodeError, match="The function of 'Outer/Inner'"):
        numbers | "Outer" >> step()


def test_a_global_of_a_script_is_named():
    source = "import threading\nGLOBAL = threading.Lock()\nfn = lambda x: (GLOBAL, x)\n"
    namespace = {"__name__": "__main__"}
    exec(source, namespace)
    with pytest.raises(UserCodeError, match="the global variable 'GLOBAL'"):
        pickle_user_code(namespace["fn"], "Step")


def test_globals_of_modules_need_not_be_pickled():
    def uses_module_global(x):
        with LOCK:
            return x

    uses_module_global.__module__ = __name__
    pickle_user_code(test_globals_of_modules_need_not_be_pickled, "Step")


def test_the_error_has_the_types_that_beam_users_expect():
    assert issubclass(UserCodeError, PipelineError)
    assert issubclass(UserCodeError, RuntimeError) and issubclass(UserCodeError, TypeError)


def test_the_step_can_be_applied_again_after_the_mistake():
    p = beam.Pipeline()
    numbers = p | beam.Create([1])
    with pytest.raises(UserCodeError):
        numbers | "Step" >> beam.Map(closing_over())
    numbers | "Step" >> beam.Map(str)
    p.to_graph()
