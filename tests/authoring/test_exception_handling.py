"""Dead letters: what becomes of elements that fail, and who takes them."""

from __future__ import annotations

import os
import time
from typing import Any

import pytest

import hornbeam as beam
from hornbeam.coders import VarIntCoder
from hornbeam.metrics.metric import Metrics
from hornbeam.testing.util import assert_that, equal_to
from hornbeam.transforms.error_handling import CollectingErrorHandler, ErrorHandler
from hornbeam.transforms.userstate import BagStateSpec
from hornbeam.transforms.window import FixedWindows


def inverse(x: float) -> float:
    return 1 / x


class TwoThenFail(beam.DoFn):
    def process(self, element):
        yield element
        yield 1 / (element - 1)


def test_good_and_bad_come_apart():
    good, bad = [1, 0, 2] | beam.Map(inverse).with_exception_handling()
    assert sorted(good) == [0.5, 1.0]
    ((element, (kind, text, lines)),) = bad
    assert element == 0
    assert kind is ZeroDivisionError
    assert text == "ZeroDivisionError('division by zero')"
    assert lines[0].startswith("Traceback") and any("inverse" in line for line in lines)


def test_the_tags_can_be_chosen_and_asked_for():
    with beam.Pipeline() as p:
        result = p | beam.Create([1, 0]) | beam.Map(inverse).with_exception_handling("ok", "failed")
        assert_that(result.ok, equal_to([1.0]), "Ok")
        assert_that(result["failed"] | beam.Keys(), equal_to([0]), "Failed")


@pytest.mark.parametrize(("partial", "expected"), [(False, []), (True, [1])])
def test_partial_outputs(partial: bool, expected: list[int]):
    good, bad = [1] | beam.ParDo(TwoThenFail()).with_exception_handling(partial=partial)
    assert good == expected
    assert [letter[0] for letter in bad] == [1]


def test_other_exceptions_fail_the_pipeline():
    with pytest.raises(ZeroDivisionError):
        [0] | beam.Map(inverse).with_exception_handling(exc_class=KeyError)


@pytest.mark.parametrize(
    ("make", "values", "expected"),
    [
        (lambda: beam.Filter(lambda x: 1 / x > 0), [1, 0, -1], [1]),
        (lambda: beam.FlatMap(lambda x: [1 / x] * 2), [1, 0], [1.0, 1.0]),
        (lambda: beam.MapTuple(lambda a, b: a / b), [(1, 1), (1, 0)], [1.0]),
        (
            lambda: beam.FlatMapTuple(lambda a, b, times=1: [a / b] * times, times=2),
            [(1, 1), (1, 0)],
            [1.0, 1.0],
        ),
        (lambda: beam.Map(lambda x, y, t=beam.DoFn.TimestampParam: y / x, 4), [2, 0], [2.0]),
        (lambda: beam.ParDo(lambda x: [1 / x]), [1, 0], [1.0]),
    ],
)
def test_every_form_of_pardo(make: Any, values: list[Any], expected: list[Any]):
    good, bad = values | make().with_exception_handling()
    assert good == expected
    assert len(bad) == 1


def test_side_inputs_reach_the_function():
    with beam.Pipeline() as p:
        divisor = p | "Divisor" >> beam.Create([0])
        _, bad = (
            p
            | beam.Create([1, 2])
            | beam.Map(lambda x, d: x / d, beam.pvalue.AsSingleton(divisor)).with_exception_handling()
        )
        assert_that(bad | beam.Keys(), equal_to([1, 2]))


def test_a_result_that_is_no_iterable_is_a_failure_too():
    good, bad = [1] | beam.FlatMap(lambda x: "text").with_exception_handling()
    assert good == []
    assert bad[0][1][0] is TypeError


def test_other_outputs_stay():
    class Split(beam.DoFn):
        def process(self, element):
            if element < 0:
                yield beam.TaggedOutput("negative", element)
            yield 1 / element

    with beam.Pipeline() as p:
        result = (
            p
            | beam.Create([-1, 0, 2])
            | beam.ParDo(Split()).with_outputs("negative").with_exception_handling()
        )
        assert_that(result.good, equal_to([-1.0, 0.5]), "Good")
        assert_that(result.negative, equal_to([-1]), "Negative")
        assert_that(result.bad | beam.Keys(), equal_to([0]), "Bad")


def test_failures_above_the_threshold_fail_the_pipeline():
    numbers = [0, 0, 1, 2]
    numbers | beam.Map(inverse).with_exception_handling(threshold=0.5)
    with pytest.raises(ValueError, match=r"exceeded the threshold: 2 / 4 = 0.5 > 0.25"):
        numbers | beam.Map(inverse).with_exception_handling(threshold=0.25)


def test_the_threshold_may_have_windows_of_its_own():
    events = [0, 1, 2, 3, 10, 0.0]  # The last one is in the first window.
    step = (
        beam.WithTimestamps(lambda x: x)
        | beam.Map(inverse).with_exception_handling(threshold=0.5, threshold_windowing=FixedWindows(5))
        | beam.transforms.ptransform.ptransform_fn(lambda result: result.good)()
    )
    assert len(events | step) == 4


def test_an_element_that_takes_too_long():
    def slow(x):
        time.sleep(x)
        return x

    good, bad = [0, 5, 0] | beam.Map(slow).with_exception_handling(timeout=1)
    assert good == [0, 0]
    assert [(letter[0], letter[1][0]) for letter in bad] == [(5, TimeoutError)]


def test_metrics_are_counted_with_a_timeout_too():
    counter = Metrics.counter("test", "seen")

    def count(x):
        counter.inc()
        return x

    with beam.Pipeline() as p:
        p | beam.Create([1, 2]) | beam.Map(count).with_exception_handling(timeout=10)
    (found,) = p.result.metrics().query()["counters"]
    assert found.committed == 2


def test_a_crash_in_a_subprocess_costs_one_element():
    def crash(x):
        if x == 1:
            os._exit(3)
        return x, os.getpid()

    good, bad = [0, 1, 2] | beam.Map(crash).with_exception_handling(use_subprocess=True)
    assert [x for x, _ in good] == [0, 2]
    assert all(pid != os.getpid() for _, pid in good)
    assert "ended with code 3" in bad[0][1][1]


def test_a_subprocess_with_a_timeout_and_ordinary_failures():
    class Work(beam.DoFn):
        def setup(self):
            time.sleep(1.2)  # before its time begins

        def process(self, x):
            if x == 1:
                time.sleep(30)
            yield 1 / x

    _, bad = [0, 1] | beam.ParDo(Work()).with_exception_handling(use_subprocess=True, timeout=1)
    assert {letter[0]: letter[1][0] for letter in bad} == {0: ZeroDivisionError, 1: TimeoutError}


def test_the_callback_gets_exception_and_element(tmp_path):
    path = tmp_path / "failures"

    def note(error, element):
        with open(path, "a") as file:
            file.write(f"{element}: {error}\n")
        raise KeyError("a failing callback changes nothing")

    _, bad = [0] | beam.Map(inverse).with_exception_handling(on_failure_callback=note)
    assert path.read_text() == "0: division by zero\n"
    assert len(bad) == 1


def test_life_cycle_methods_are_still_called():
    class Prepared(beam.DoFn):
        def setup(self):
            self.divisor = 0

        def start_bundle(self):
            self.divisor += 2

        def process(self, element):
            yield self.divisor / element

    good, _ = [1, 0] | beam.ParDo(Prepared()).with_exception_handling()
    assert good == [2.0]


def test_state_is_refused_unless_allowed():
    class Stateful(beam.DoFn):
        def process(self, element, bag=beam.DoFn.StateParam(BagStateSpec("b", VarIntCoder()))):
            yield element

    with pytest.raises(ValueError, match="allow_unsafe_userstate_in_process"):
        beam.ParDo(Stateful()).with_exception_handling()
    beam.ParDo(Stateful()).with_exception_handling(allow_unsafe_userstate_in_process=True)
    pcoll = beam.Pipeline() | beam.Create([(1, 1)])
    with pytest.raises(ValueError, match="cannot carry these into another process"):
        pcoll | beam.ParDo(Stateful()).with_exception_handling(
            allow_unsafe_userstate_in_process=True, use_subprocess=True
        )


@pytest.mark.parametrize(
    ("arguments", "problem"),
    [
        ({"main_tag": "x", "dead_letter_tag": "x"}, "must differ"),
        ({"threshold": 2}, "a fraction from 0 to 1"),
    ],
)
def test_arguments_that_make_no_sense(arguments: dict[str, Any], problem: str):
    with pytest.raises(ValueError, match=problem):
        beam.Map(inverse).with_exception_handling(**arguments)


def test_an_error_handler_takes_the_errors_of_several_steps():
    with beam.Pipeline() as p:
        numbers = p | beam.Create([1, 0])
        with ErrorHandler(beam.Map(lambda letter: letter[0])) as errors:
            one = numbers | "One" >> beam.Map(inverse).with_error_handler(errors)
            numbers | "Two" >> beam.Map(lambda x: [][x]).with_error_handler(errors)
        assert_that(one, equal_to([1.0]), "Good")
        assert_that(errors.output(), equal_to([0, 0, 1]), "Errors")


def test_handlers_share_a_pipeline():
    with beam.Pipeline() as p:
        numbers = p | beam.Create([1, 0])
        for name in ("A", "B"):
            with CollectingErrorHandler() as errors:
                numbers | name >> beam.Map(inverse).with_error_handler(errors)
            assert_that(errors.output() | f"Keys{name}" >> beam.Keys(), equal_to([0]), f"Check{name}")


def test_an_open_error_handler_keeps_the_pipeline_from_running():
    p = beam.Pipeline()
    handler = ErrorHandler(beam.Map(print))
    p | beam.Create([1]) | beam.Map(inverse).with_error_handler(handler)
    with pytest.raises(RuntimeError, match=r"Unclosed error handler, made at .*test_exception_handling.py"):
        p.run()
    with pytest.raises(RuntimeError, match="only after it was closed"):
        handler.output()


def test_the_collected_errors_must_be_asked_for():
    p = beam.Pipeline()
    with CollectingErrorHandler() as errors:
        p | beam.Create([1]) | beam.Map(inverse).with_error_handler(errors)
    with pytest.raises(RuntimeError, match="Nobody asked for the output"):
        p.run()


def test_an_unused_handler_has_no_output():
    with ErrorHandler(beam.Map(print)) as handler:
        pass
    assert handler.output() is None


def test_no_handler_changes_nothing():
    step = beam.Map(inverse)
    assert step.with_error_handler(None) is step


def test_select_with_exception_handling():
    good, bad = [1, 0] | beam.Select(inverse=lambda x: 1 / x).with_exception_handling()
    assert good == [beam.Row(inverse=1.0)]
    assert [letter[0] for letter in bad] == [0]
