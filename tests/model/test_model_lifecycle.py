"""The life of DoFns and CombineFns: which methods are called, in which order, how often, and after a failure."""

from __future__ import annotations

import contextlib

import pytest
from model.journal import Journal, Writes

import hornbeam as beam
from hornbeam.options.pipeline_options import PipelineOptions


@pytest.fixture
def journal(tmp_path) -> Journal:
    return Journal(tmp_path / "journal")


def run(options, *transforms, elements=(1, 2, 3, 4)):
    with beam.Pipeline(options=options) as p:
        stream = p | beam.Create(list(elements))
        for i, transform in enumerate(transforms):
            stream |= f"step {i}" >> transform


def bundles_of(events: list[str]) -> list[list[str]]:
    """What lies between start and finish, after the order was checked."""
    assert events[0] == "setup" and events[-1] == "teardown"
    assert events.count("setup") == events.count("teardown") == 1
    bundles: list[list[str]] = []
    is_open = False
    for event in events[1:-1]:
        if event == "start":
            assert not is_open
            bundles.append([])
            is_open = True
        elif event == "finish":
            assert is_open
            is_open = False
        else:
            assert is_open, f"{event} outside a bundle"
            bundles[-1].append(event)
    assert not is_open
    return bundles


def test_methods_are_called_in_order(options, journal):
    run(options, beam.ParDo(Writes(journal)))
    bundles = [bundle for events in journal.by_process() for bundle in bundles_of(events)]
    assert sorted(event for bundle in bundles for event in bundle) == [f"process {n}" for n in (1, 2, 3, 4)]
    assert all(bundles)


def test_a_bundle_size_of_one_makes_a_bundle_an_element(journal):
    run(PipelineOptions(["--bundle_size=1"]), beam.ParDo(Writes(journal)))
    assert [len(bundle) for bundle in bundles_of(journal.events())] == [1, 1, 1, 1]


def test_a_step_that_gets_no_elements_may_sleep_but_is_torn_down(options, journal):
    run(options, beam.Filter(lambda x: False), beam.ParDo(Writes(journal)))
    assert journal.count("setup") == journal.count("teardown")
    assert journal.count("start") == journal.count("finish")
    assert not [event for event in journal.events() if event.startswith("process")]


@pytest.mark.parametrize("method", ["setup", "start", "process", "finish"])
def test_teardown_follows_a_failure(options, journal, method):
    with pytest.raises(ArithmeticError, match=f"in {method}"):
        run(options, beam.ParDo(Writes(journal, fails_in=method)))
    for events in journal.by_process():
        assert events.count("teardown") == 1 and events[-1] == "teardown"


def test_every_step_is_torn_down_when_one_fails(options, journal):
    steps = [Writes(journal, name="a "), Writes(journal, "process", "b "), Writes(journal, name="c ")]
    with pytest.raises(ArithmeticError):
        run(options, *map(beam.ParDo, steps))
    for name in "abc":
        assert journal.count(f"{name} setup") == journal.count(f"{name} teardown")


def test_a_failing_teardown_fails_the_run(options, journal):
    with pytest.raises(ArithmeticError, match="in teardown"):
        run(options, beam.ParDo(Writes(journal, fails_in="teardown")))


def test_a_failing_teardown_does_not_hide_what_failed_before(options, journal):
    class FailsTwice(Writes):
        def teardown(self):
            raise ValueError("in teardown")

    with pytest.raises(ArithmeticError, match="in process"):
        run(options, beam.ParDo(FailsTwice(journal, fails_in="process")))


def test_the_users_own_dofn_object_is_not_touched(runner_options, journal):
    dofn = Writes(journal)
    run(runner_options, beam.ParDo(dofn), elements=[1])
    assert vars(dofn).keys() == {"journal", "fails_in", "name"}


# Contexts


class Opened:
    """A context manager that writes into the journal; the class of a setup or bundle context."""

    def __init__(self, journal: Journal, name: str) -> None:
        self.journal, self.name = journal, name

    @contextlib.contextmanager
    def __call__(self):
        self.journal.write(f"enter {self.name}")
        yield self.name
        self.journal.write(f"exit {self.name}")


def test_setup_and_bundle_contexts_enclose_what_they_are_for(journal):
    class UsesContexts(beam.DoFn):
        def process(
            self,
            element,
            connection=beam.DoFn.SetupContextParam(Opened(journal, "connection")),
            transaction=beam.DoFn.BundleContextParam(Opened(journal, "transaction")),
        ):
            journal.write(f"{element} {connection} {transaction}")

    run(PipelineOptions(["--bundle_size=2"]), beam.ParDo(UsesContexts()))
    bundle = [
        "enter transaction",
        "{} connection transaction",
        "{} connection transaction",
        "exit transaction",
    ]
    expected = ["enter connection"]
    for pair in ((1, 2), (3, 4)):
        numbers = iter(pair)
        expected += [e.format(next(numbers)) if "{}" in e else e for e in bundle]
    assert journal.events() == [*expected, "exit connection"]


def test_contexts_are_left_after_a_failure(options, journal):
    class FailsInside(beam.DoFn):
        def process(self, element, c=beam.DoFn.BundleContextParam(Opened(journal, "bundle"))):
            raise ArithmeticError("inside")

    class Quiet(Opened):
        @contextlib.contextmanager
        def __call__(self):
            try:
                yield
            finally:
                self.journal.write("left")

    FailsInside.process.__defaults__ = (beam.DoFn.BundleContextParam(Quiet(journal, "bundle")),)
    with pytest.raises(ArithmeticError):
        run(options, beam.ParDo(FailsInside()), elements=[1])
    assert journal.count("left") == 1


def test_bundle_finalizers_run_once_the_bundle_is_finished(journal):
    class Finalizes(beam.DoFn):
        def process(self, element, finalizer=beam.DoFn.BundleFinalizerParam):
            finalizer.register(lambda: journal.write(f"finalized {element}"))
            journal.write(f"processed {element}")

        def finish_bundle(self):
            journal.write("finished")

    run(PipelineOptions(["--bundle_size=2"]), beam.ParDo(Finalizes()))
    assert journal.events() == [
        *["processed 1", "processed 2", "finished", "finalized 1", "finalized 2"],
        *["processed 3", "processed 4", "finished", "finalized 3", "finalized 4"],
    ]


def test_a_failed_bundle_is_not_finalized(options, journal):
    class FailsAfterRegistering(beam.DoFn):
        def process(self, element, finalizer=beam.DoFn.BundleFinalizerParam):
            finalizer.register(lambda: journal.write("finalized"))
            raise ArithmeticError

    with pytest.raises(ArithmeticError):
        run(options, beam.ParDo(FailsAfterRegistering()), elements=[1])
    assert journal.events() == []


# CombineFns


class SumsAndWrites(beam.CombineFn):
    def __init__(self, journal: Journal) -> None:
        self.journal = journal

    def setup(self) -> None:
        self.journal.write("setup")

    def create_accumulator(self):
        return 0

    def add_input(self, accumulator, value):
        if value is None:
            raise ArithmeticError("no value")
        return accumulator + value

    def merge_accumulators(self, accumulators):
        return sum(accumulators)

    def extract_output(self, accumulator):
        self.journal.write(f"output {accumulator}")
        return accumulator

    def teardown(self) -> None:
        self.journal.write("teardown")


def test_a_combine_fn_is_torn_down_as_often_as_it_is_set_up(options, journal):
    run(options, beam.CombineGlobally(SumsAndWrites(journal)).without_defaults())
    assert journal.count("setup") == journal.count("teardown") >= 1
    assert journal.count("output 10") == 1
    assert journal.events()[0] == "setup" and journal.events()[-1] == "teardown"


def test_a_combine_fn_is_torn_down_after_a_failure(options, journal):
    with pytest.raises(ArithmeticError):
        run(options, beam.CombineGlobally(SumsAndWrites(journal)).without_defaults(), elements=[1, None])
    assert journal.count("setup") == journal.count("teardown") >= 1
