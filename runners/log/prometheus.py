"""A job's status, and what its steps count, for Prometheus: text on a local port, made for each request (`--metrics_port`).

The text form is Prometheus's exposition format, version 0.0.4.
"""

from __future__ import annotations

import threading
from collections.abc import Callable, Iterable, Iterator, Mapping
from http.server import BaseHTTPRequestHandler, ThreadingHTTPServer
from typing import Any

import attrs

from hornbeam.metrics.results import RUNNER_NAMESPACE, MetricResult, MetricResults
from hornbeam.runners.log import states
from hornbeam.runners.log.job_status import JobStatus, StepStatus
from hornbeam.utils.timestamp import MAX_TIMESTAMP_MICROS

CONTENT_TYPE = "text/plain; version=0.0.4; charset=utf-8"

#: A sample: labels, a value, and what comes behind the family's name (a summary has `_sum` and `_count`).
Sample = tuple[Mapping[str, str], float] | tuple[Mapping[str, str], float, str]

_STATES = (states.STARTING, states.RUNNING, states.RECOVERING, states.PAUSED, states.DRAINING, states.STOPPING,
           *sorted(states.ENDED))  # fmt: skip


@attrs.frozen
class Family:
    """Samples of one name."""

    name: str
    kind: str
    help: str
    samples: tuple[Sample, ...]


def render(status: JobStatus | None, metrics: MetricResults | None = None) -> str:
    """The status, and what steps have counted, as Prometheus reads it; without a status, just that the job is not up."""
    if status is None:
        return _text([Family("hornbeam_up", "gauge", "Whether the job has said anything.", (({}, 0.0),))])
    text = _text(_families(status))
    return text if metrics is None else text + _text(_users(status.job_name, metrics))


def _families(status: JobStatus) -> Iterator[Family]:
    job = {"job_name": status.job_name}

    def one(name: str, kind: str, help_: str, value: float) -> Family:
        return Family(f"hornbeam_{name}", kind, help_, ((job, value),))

    def by_step(name: str, kind: str, help_: str, value: Callable[[StepStatus], float | None]) -> Family:
        found = ((step.label, value(step)) for step in status.steps)
        samples = tuple(({**job, "step": label}, each) for label, each in found if each is not None)
        return Family(f"hornbeam_step_{name}", kind, help_, samples)

    yield one("up", "gauge", "Whether the job has said anything.", 1.0)
    in_state = tuple(({**job, "state": state}, float(state == status.state)) for state in _STATES)
    yield Family("hornbeam_job_state", "gauge", "1 for the state that the job is in.", in_state)
    yield one("workers", "gauge", "Worker processes.", len(status.workers))
    yield one("restarts_total", "counter", "Times that the job went back to a checkpoint.", status.restarts)
    at = status.updated_micros / 1e6
    yield one("updated_timestamp_seconds", "gauge", "When these figures were taken, since 1970.", at)
    checkpoint = status.checkpoint
    if checkpoint is not None:
        yield one("checkpoint_number", "gauge", "The newest checkpoint.", checkpoint.number)
        at = checkpoint.completed_micros / 1e6
        yield one("checkpoint_completed_timestamp_seconds", "gauge", "When it was published, since 1970.", at)
        yield one("checkpoint_duration_seconds", "gauge", "How long it took.", checkpoint.duration_ms / 1e3)
        pause = checkpoint.pause_ms / 1e3
        yield one("checkpoint_pause_seconds", "gauge", "How long a worker stood still for it.", pause)
        yield one("checkpoint_written_bytes", "gauge", "What it added.", checkpoint.bytes)
        yield one("checkpoint_bytes", "gauge", "All that it stands on.", checkpoint.total_bytes)
    yield by_step("elements_total", "counter", "Elements that came to the step.", lambda s: s.elements)
    yield by_step("elements_per_second", "gauge", "Elements a second, lately.", lambda s: s.elements_per_s)
    yield by_step(
        "watermark_timestamp_seconds",
        "gauge",
        "How far the step's event time has come, since 1970; +Inf at the end.",
        _watermark,
    )
    yield by_step("lag_seconds", "gauge", "The clock less the watermark.", _lag)
    yield by_step(
        "backlog_elements",
        "gauge",
        "Elements that wait in front of the step, or that a source has not read yet.",
        lambda s: s.backlog_elements,
    )
    yield by_step(
        "backlog_bytes", "gauge", "Bytes that a source has not read yet.", lambda s: s.backlog_bytes
    )
    yield Family(
        "hornbeam_step_hot_key_share",
        "gauge",
        "The share of the step's elements that a key takes which takes far too many.",
        tuple(
            ({**job, "step": step.label, "key": key}, share)
            for step in status.steps
            for key, share in step.hot_keys
        ),
    )
    yield by_step(
        "dropped_total", "counter", "Elements dropped: late, or after their trigger.", lambda s: s.dropped
    )
    yield by_step("entries", "gauge", "Things that the step keeps.", lambda s: s.entries)


def _users(job_name: str, metrics: MetricResults) -> Iterator[Family]:
    """What user code counts: the metric's own name is a label, as it may have characters that a name here may not."""
    found = {
        kind: [result for result in results if result.key.metric.namespace != RUNNER_NAMESPACE]
        for kind, results in metrics.query().items()
    }

    def labels(result: MetricResult) -> dict[str, str]:
        name = result.key.metric
        own = {"namespace": str(name.namespace), "name": str(name.name)}
        return {"job_name": job_name, "step": result.key.step, **own}

    def family(name: str, kind: str, help_: str, samples: Iterable[Sample]) -> Family:
        return Family(f"hornbeam_user_{name}", kind, help_, tuple(samples))

    counters, distributions, gauges = (found[kind] for kind in ("counters", "distributions", "gauges"))
    counted = [(labels(each), float(each.result)) for each in counters]
    yield family("counter_total", "counter", "Metrics.counter of the author's.", counted)
    spread = [(labels(each), each.result) for each in distributions if each.result.count]
    sums: list[Sample] = [(own, float(result.sum), "_sum") for own, result in spread]
    sums += [(own, float(result.count), "_count") for own, result in spread]
    yield family("distribution", "summary", "Metrics.distribution of the author's.", sums)
    yield family(
        "distribution_min", "gauge", "Its smallest value.", [(own, float(r.min)) for own, r in spread]
    )
    yield family(
        "distribution_max", "gauge", "Its largest value.", [(own, float(r.max)) for own, r in spread]
    )
    known = [(labels(each), float(each.result.value)) for each in gauges if each.result.value is not None]
    yield family("gauge", "gauge", "Metrics.gauge of the author's.", known)


def _watermark(step: StepStatus) -> float | None:
    mark = step.output_watermark
    if mark is None:
        return None
    return float("inf") if isinstance(mark, str) or mark >= MAX_TIMESTAMP_MICROS else mark / 1e6


def _lag(step: StepStatus) -> float | None:
    return None if step.lag_ms is None or _watermark(step) == float("inf") else step.lag_ms / 1e3


def _text(families: Iterable[Family]) -> str:
    return "".join(line for family in families if family.samples for line in _lines(family))


def _lines(family: Family) -> Iterator[str]:
    yield f"# HELP {family.name} {family.help}\n"
    yield f"# TYPE {family.name} {family.kind}\n"
    for labels, value, *suffix in family.samples:
        shown = ",".join(f'{name}="{_escaped(text)}"' for name, text in labels.items())
        name = "".join([family.name, *suffix])
        yield f"{name}{{{shown}}} {_number(value)}\n" if shown else f"{name} {_number(value)}\n"


def _escaped(text: str) -> str:
    return text.replace("\\", "\\\\").replace("\n", "\\n").replace('"', '\\"')


def _number(value: float) -> str:
    if value == float("inf"):
        return "+Inf"
    return str(int(value)) if float(value).is_integer() and abs(value) < 1e15 else repr(float(value))


class MetricsServer:
    """Answers `GET /metrics` on a port of this machine alone, in threads of its own, until it is closed."""

    def __init__(
        self, status: Callable[[], JobStatus | None], port: int = 0, host: str = "127.0.0.1"
    ) -> None:
        """`status` is asked at each request, in another thread; port 0 takes a free one. OSError if the port is taken."""
        #: Gives what steps have counted, once there is something that knows; asked as `status` is.
        self.metrics: Callable[[], MetricResults] | None = None
        handler = type(
            "Handler", (_Handler,), {"text": staticmethod(lambda: render(status(), self._counted()))}
        )
        self._server = ThreadingHTTPServer((host, port), handler)
        self._server.daemon_threads = True
        self._thread = threading.Thread(
            target=self._server.serve_forever, args=(0.1,), name="hornbeam metrics", daemon=True
        )
        self._thread.start()

    def _counted(self) -> MetricResults | None:
        return None if self.metrics is None else self.metrics()

    @property
    def port(self) -> int:
        """The port."""
        return int(self._server.server_address[1])

    def close(self) -> None:
        """Ends it."""
        self._server.shutdown()
        self._server.server_close()
        self._thread.join()

    def __enter__(self) -> MetricsServer:
        return self

    def __exit__(self, *error: object) -> None:
        self.close()


class _Handler(BaseHTTPRequestHandler):
    """One request."""

    text: Callable[[], str]

    def do_GET(self) -> None:
        """The metrics at /metrics; a word on where they are elsewhere."""
        if self.path.partition("?")[0] not in ("/metrics", "/metrics/"):
            self._answer(404, "the metrics are at /metrics\n")
            return
        try:
            text = self.text()
        except Exception as error:
            self._answer(500, f"{type(error).__name__}: {error}\n")
        else:
            self._answer(200, text)

    def _answer(self, code: int, text: str) -> None:
        body = text.encode()
        self.send_response(code)
        self.send_header("Content-Type", CONTENT_TYPE if code == 200 else "text/plain; charset=utf-8")
        self.send_header("Content-Length", str(len(body)))
        self.end_headers()
        self.wfile.write(body)

    def log_message(self, format: str, *args: Any) -> None:
        """Requests are not news."""
