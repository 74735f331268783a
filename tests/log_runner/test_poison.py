"""What `--skip_poison_to` can skip, and what it says of the rest. (Elements: test_jobs.)"""

from __future__ import annotations

import base64
import json
import pickle
from pathlib import Path
from typing import Any

import pytest
from log_runner.staged_files import WriteStaged, committed

import hornbeam as beam
from hornbeam.options.pipeline_options import PipelineOptions
from hornbeam.runners.engine.callbacks import Callback
from hornbeam.runners.engine.failures import Failure, add_failure
from hornbeam.runners.log.attempt import FAILED, Outcome
from hornbeam.runners.log.failures import signature_of
from hornbeam.runners.log.poison import why_not
from hornbeam.storage.log import Consumer, Log
from hornbeam.testing.test_stream import TestStream
from hornbeam.transforms.timeutil import TimeDomain
from hornbeam.transforms.userstate import TimerSpec, on_timer
from hornbeam.transforms.window import GlobalWindow

GLOBAL = GlobalWindow()


class Ticking(beam.DoFn):
    """Its timer fails for the key `bad`, the first time."""

    TICK = TimerSpec("tick", TimeDomain.WATERMARK)

    def process(self, pair: Any, tick: Any = beam.DoFn.TimerParam(TICK)) -> None:
        tick.set(10)

    @on_timer(TICK)
    def ticks(
        self,
        key: Any = beam.DoFn.KeyParam,
        time: Any = beam.DoFn.TimestampParam,
        tick: Any = beam.DoFn.TimerParam(TICK),
    ) -> Any:
        if key == "bad" and time == 10:
            raise ValueError("this one cannot be")
        if time < 20:
            tick.set(20)
        yield key, int(time)


def test_a_timer_that_fails_is_skipped_to_a_topic_and_its_key_lives_on(tmp_path: Path) -> None:
    script = (
        TestStream()
        .add_elements([("good", 1), ("bad", 1)])
        .advance_watermark_to(15)
        .add_elements([("bad", 2)])  # sets the timer again, for a time that is past: 10, as before
        .advance_watermark_to_infinity()
    )
    options = ["--runner=LogRunner", "--job_name=ticking", f"--log_dir={tmp_path}", "--skip_poison_to=dead"]
    with beam.Pipeline(options=PipelineOptions(options)) as p:
        p | script | "tick" >> beam.ParDo(Ticking()) | beam.ParDo(WriteStaged(str(tmp_path / "out")))
    assert sorted(committed(str(tmp_path / "out"))) == [("good", 10), ("good", 20)]
    with Log(tmp_path) as log, Consumer(log, "dead") as consumer:
        letters = [json.loads(record.value) for record in consumer.read_available(timeout_s=1)]
    pickled = {letter.pop("pickled") for letter in letters}
    assert letters[0] == {
        "step": "tick, timer 'tick'",
        "key": "'bad'",
        "window": "GlobalWindow",
        "time_micros": 10_000_000,
        "tag": "",
    }
    assert [pickle.loads(base64.b64decode(each)) for each in pickled] == ["bad"]


def called(**changes: Any) -> Callback:
    fields = {"step": "s", "what": "timer 't'", "tag": "", "key": "k", "time": 5, "window": GLOBAL}
    return Callback(**{**fields, **changes})


def test_a_call_is_known_again_by_key_window_tag_and_time() -> None:
    others = [called(tag="x"), called(key="l"), called(time=6), called(window=None)]
    assert len({call.identity() for call in [called(), called(), *others]}) == 5


def test_a_timer_that_the_clock_sets_anew_fails_alike_whatever_its_time() -> None:
    first, again, other = ValueError(), ValueError(), ValueError()
    for error, call in ((first, called(time=1)), (again, called(time=2)), (other, called(key="l"))):
        add_failure(error, call.failure())
    assert signature_of(first) == signature_of(again) != signature_of(other)


@pytest.mark.parametrize(
    ("failure", "reason"),
    [
        (None, "it is not known which element of which step"),
        (Failure("Parse, finish_bundle"), "finish_bundle is called for no element"),
        (Failure("Parse, setup"), "setup is called for no element"),
        (Failure("Sum", key="'bob'"), "when the values of key 'bob' were put together"),
        (Failure("Parse"), "which element is to blame is not known"),
        (called().failure(), "looks different each time"),
    ],
)
def test_why_something_is_not_skipped(failure: Failure | None, reason: str) -> None:
    error = ValueError()
    if failure is not None:
        add_failure(error, failure)
    assert reason in why_not(error)


def test_a_job_says_why_it_cannot_skip(tmp_path: Path) -> None:
    class Fails(beam.DoFn):
        def process(self, element: Any) -> Any:
            yield element

        def finish_bundle(self) -> None:
            raise ValueError("never")

    options = ["--runner=LogRunner", "--job_name=ends", f"--log_dir={tmp_path}", "--num_workers=1",
               "--skip_poison_to=dead"]  # fmt: skip
    p = beam.Pipeline(options=PipelineOptions(options))
    p | beam.Create([1]) | "Fails" >> beam.ParDo(Fails())
    with pytest.raises(ValueError, match="never") as raised:
        p.run()
    assert raised.value.__notes__[-1] == (
        "--skip_poison_to cannot skip this: finish_bundle is called for no element"
    )


def test_what_a_job_says_of_a_failure_names_type_step_and_element() -> None:
    error = KeyError("b")
    add_failure(error, Failure("Look", "{'a': 1}"))
    assert (
        Outcome(FAILED, "worker 0 has failed", error).text()
        == "worker 0 has failed: KeyError: 'b', while running step 'Look' on element {'a': 1}"
    )
