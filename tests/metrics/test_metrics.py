"""Metrics from user code to the query: delegation, commit, rollback, filters, several workers."""

from __future__ import annotations

import pickle
import threading
from collections.abc import Iterator

import pytest

from hornbeam.metrics import Metrics, MetricsFilter
from hornbeam.metrics.execution import MetricsRegistry, get_current, process_wide, set_current
from hornbeam.metrics.metric import MetricResults
from hornbeam.metrics.metricbase import MetricName


@pytest.fixture
def registry() -> Iterator[MetricsRegistry]:
    previous = set_current(None)
    yield MetricsRegistry()
    set_current(previous)


def _values(registry: MetricsRegistry, filter: MetricsFilter | None = None, kind: str = "counters") -> dict:
    return {
        (found.key.step, found.key.metric.name): (found.committed, found.attempted)
        for found in registry.query(filter)[kind]
    }


def test_updates_outside_of_a_step_go_nowhere(registry: MetricsRegistry) -> None:
    Metrics.counter("ns", "n").inc()
    Metrics.distribution("ns", "d").update(1)
    Metrics.gauge("ns", "g").set(1)
    Metrics.string_set("ns", "s").add("x")
    Metrics.bounded_trie("ns", "b").add(("x",))
    assert not any(registry.query().values())


def test_committed_is_what_finished_bundles_counted(registry: MetricsRegistry) -> None:
    counter = Metrics.counter("ns", "n")
    set_current(registry.container("Step"))
    counter.inc()
    counter.inc(4)
    assert _values(registry) == {("Step", "n"): (None, 5)}
    registry.commit()
    assert _values(registry) == {("Step", "n"): (5, 5)}
    counter.dec(2)
    registry.rollback()
    counter.inc(10)
    assert _values(registry) == {("Step", "n"): (5, 13)}
    registry.commit()
    registry.commit()
    assert _values(registry) == {("Step", "n"): (15, 13)}


def test_each_step_counts_for_itself(registry: MetricsRegistry) -> None:
    counter = Metrics.counter("ns", "n")
    first, second = registry.container("A"), registry.container("B")
    assert set_current(first) is None
    counter.inc(1)
    assert set_current(second) is first
    counter.inc(2)
    set_current(first)
    counter.inc(4)
    registry.commit()
    assert _values(registry) == {("A", "n"): (5, 5), ("B", "n"): (2, 2)}


def test_all_kinds_have_results(registry: MetricsRegistry) -> None:
    set_current(registry.container("S"))
    for value in (5, 1, 9):
        Metrics.distribution("ns", "d").update(value)
        Metrics.gauge("ns", "g").set(value)
        Metrics.string_set("ns", "s").add(f"v{value}")
        Metrics.bounded_trie("ns", "b").add(("root", str(value)))
    registry.commit()
    Metrics.distribution("ns", "d").update(0)
    registry.commit()
    found = {kind: results[0].committed for kind, results in registry.query().items() if results}
    distribution = found["distributions"]
    assert (distribution.sum, distribution.count, distribution.min, distribution.max) == (15, 4, 0, 9)
    assert distribution.mean == 3.75
    assert found["gauges"].value == 9 and found["gauges"].timestamp > 1e9
    assert found["string_sets"] == {"v1", "v5", "v9"}
    assert found["bounded_tries"] == {("root", "1", False), ("root", "5", False), ("root", "9", False)}


def test_query_has_every_kind_and_prefers_committed(registry: MetricsRegistry) -> None:
    set_current(registry.container("S"))
    Metrics.counter("ns", "n").inc()
    answer = registry.results().query()
    assert set(answer) == {
        MetricResults.COUNTERS,
        MetricResults.DISTRIBUTIONS,
        MetricResults.GAUGES,
        MetricResults.STRINGSETS,
        MetricResults.BOUNDED_TRIES,
        MetricResults.HISTOGRAMS,
    }
    assert answer["counters"][0].result == 1
    registry.commit()
    Metrics.counter("ns", "n").inc()
    assert registry.query()["counters"][0].result == 1


@pytest.mark.parametrize(
    ("filter", "expected"),
    [
        (MetricsFilter(), {"a", "b", "c"}),
        (MetricsFilter().with_name("a"), {"a"}),
        (MetricsFilter().with_names(["a", "b"]), {"a", "b"}),
        (MetricsFilter().with_namespace("ns2"), {"c"}),
        (MetricsFilter().with_namespaces(["ns1", "ns2"]), {"a", "b", "c"}),
        (MetricsFilter().with_name("a").with_namespace("ns2"), set()),
        (MetricsFilter().with_metric(Metrics.counter("ns1", "b")), {"b"}),
        (MetricsFilter().with_step("Outer/Inner"), {"a"}),
        (MetricsFilter().with_step("Outer"), {"a", "b"}),
        (MetricsFilter().with_step("Inner"), {"a"}),
        (MetricsFilter().with_step("Inn"), set()),
        (MetricsFilter().with_steps(["Inner", "Other"]), {"a", "c"}),
    ],
)
def test_filters(registry: MetricsRegistry, filter: MetricsFilter, expected: set[str]) -> None:
    for step, namespace, name in (
        ("Outer/Inner", "ns1", "a"),
        ("Outer/Second", "ns1", "b"),
        ("Other", "ns2", "c"),
    ):
        set_current(registry.container(step))
        Metrics.counter(namespace, name).inc()
    assert {result.key.metric.name for result in registry.query(filter)["counters"]} == expected


def test_a_filter_refuses_a_string_for_a_collection() -> None:
    with pytest.raises(ValueError, match="not the string 'abc'"):
        MetricsFilter().with_names("abc")
    with pytest.raises(ValueError, match="collection"):
        MetricsFilter().with_namespaces("abc")


def test_a_class_is_a_namespace(registry: MetricsRegistry) -> None:
    class Fn:
        pass

    name = Metrics.counter(Fn, "n").metric_name
    assert name.namespace == Metrics.get_namespace(Fn)
    assert name.namespace.endswith("Fn") and __name__ in name.namespace
    with pytest.raises(ValueError, match="string or a class"):
        Metrics.counter(3, "n")  # type: ignore[arg-type]
    with pytest.raises(ValueError, match="name that is not empty"):
        Metrics.counter("ns", "")
    with pytest.raises(ValueError, match="namespace"):
        Metrics.counter("", "n")


def test_names_are_identities() -> None:
    assert MetricName("a", "b") == MetricName("a", "b") != MetricName("b", "a")
    assert MetricName("a", "b:c") != MetricName("a:b", "c")
    assert MetricName("a", "b", labels={"x": "1"}) != MetricName("a", "b")
    assert MetricName(None, None, urn="beam:metric:x:v1").fast_name()
    assert len({MetricName("a", "b"), MetricName("a", "b")}) == 1


def test_metrics_pickle_as_names(registry: MetricsRegistry) -> None:
    made = [
        Metrics.counter("ns", "n"),
        Metrics.distribution("ns", "d"),
        Metrics.gauge("ns", "g"),
        Metrics.string_set("ns", "s"),
        Metrics.bounded_trie("ns", "b"),
    ]
    set_current(registry.container("S"))
    made[0].inc()
    counter, *others = pickle.loads(pickle.dumps(made))
    counter.inc()
    assert _values(registry) == {("S", "n"): (None, 2)}
    assert [type(each) for each in others] == [type(each) for each in made[1:]]


def test_the_current_container_belongs_to_the_thread(registry: MetricsRegistry) -> None:
    counter = Metrics.counter("ns", "n")
    set_current(registry.container("Main"))
    seen = []

    def work() -> None:
        seen.append(get_current())
        counter.inc(100)  # no step runs on this thread
        set_current(registry.container("Thread"))
        counter.inc(1)

    thread = threading.Thread(target=work)
    thread.start()
    thread.join()
    counter.inc(2)
    registry.commit()
    assert seen == [None]
    assert _values(registry) == {("Main", "n"): (2, 2), ("Thread", "n"): (1, 1)}


def test_threads_may_share_a_container(registry: MetricsRegistry) -> None:
    counter = Metrics.counter("ns", "n")
    distribution = Metrics.distribution("ns", "d")
    container = registry.container("S")

    def work() -> None:
        set_current(container)
        for value in range(5000):
            counter.inc()
            distribution.update(value)

    threads = [threading.Thread(target=work) for _ in range(4)]
    for thread in threads:
        thread.start()
    for thread in threads:
        thread.join()
    registry.commit()
    assert _values(registry) == {("S", "n"): (20000, 20000)}
    assert registry.query()["distributions"][0].committed.count == 20000


def test_registries_of_workers_are_merged(registry: MetricsRegistry) -> None:
    counter = Metrics.counter("ns", "n")
    strings = Metrics.string_set("ns", "s")
    for worker in range(3):
        theirs = MetricsRegistry()
        set_current(theirs.container("S"))
        counter.inc(worker + 1)
        strings.add(str(worker))
        theirs.commit()
        counter.inc(100)
        theirs.rollback()
        registry.merge(pickle.loads(pickle.dumps(theirs.snapshot())))
    assert _values(registry) == {("S", "n"): (6, 306)}
    assert registry.query()["string_sets"][0].committed == {"0", "1", "2"}


def test_a_snapshot_with_reset_is_a_delta(registry: MetricsRegistry) -> None:
    worker, counter = MetricsRegistry(), Metrics.counter("ns", "n")
    for _ in range(3):
        set_current(worker.container("S"))
        counter.inc(2)
        worker.commit()
        registry.merge(worker.snapshot(reset=True))
    assert _values(registry) == {("S", "n"): (6, 6)}
    assert _values(worker) == {}


def test_snapshots_do_not_change_later(registry: MetricsRegistry) -> None:
    set_current(registry.container("S"))
    Metrics.distribution("ns", "d").update(1)
    registry.commit()
    snapshot = registry.snapshot()
    Metrics.distribution("ns", "d").update(1)
    registry.commit()
    assert next(iter(snapshot.committed["S"].distributions.values())).count == 1


def test_process_wide_metrics_need_no_step() -> None:
    previous = set_current(None)
    try:
        Metrics.distribution("process", "d", process_wide=True).update(7)
        Metrics.gauge("process", "g", process_wide=True).set(3)
        filter = MetricsFilter().with_namespace("process")
        found = MetricsRegistry().query(filter)
        assert found["distributions"][0].attempted.sum == 7
        assert found["gauges"][0].attempted.value == 3
        assert found["gauges"][0].key.step == ""
    finally:
        process_wide.rollback()
        process_wide.failed.clear()
        set_current(previous)
