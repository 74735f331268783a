from __future__ import annotations

import textwrap
import time
import urllib.error
import urllib.request
from pathlib import Path

import pytest
from log_io.topics import Streaming, take
from log_runner.replayed import append, totals

from hornbeam.error import OptionError
from hornbeam.metrics import Metrics
from hornbeam.metrics.execution import MetricsRegistry, set_current
from hornbeam.runners.log.job_status import CheckpointStatus, JobStatus, StepStatus
from hornbeam.runners.log.prometheus import CONTENT_TYPE, MetricsServer, render
from hornbeam.storage.log import Log

STATUS = JobStatus(
    job_name="daily",
    state="RUNNING",
    pid=7,
    workers=(8, 9),
    updated_micros=1_700_000_000_250_000,
    restarts=3,
    checkpoint=CheckpointStatus(
        number=12,
        completed_micros=1_700_000_000_000_000,
        duration_ms=20.5,
        bytes=1000,
        total_bytes=5000,
        pause_ms=2,
    ),
    steps=(
        StepStatus(
            label="Read",
            elements=10,
            elements_per_s=2.5,
            output_watermark=1_500_000,
            lag_ms=1500,
            backlog_bytes=7,
            dropped=3,
            hot_keys=(("'k'", 0.25),),
        ),
        StepStatus(label='a "b"\\c\nd', output_watermark="end", entries=4, backlog_elements=5),
        StepStatus(label="None yet"),
    ),
)


def test_a_status_as_text() -> None:
    text = render(STATUS)
    assert [line for line in text.splitlines() if not line.startswith("#")] == textwrap.dedent(
        r"""
        hornbeam_up{job_name="daily"} 1
        hornbeam_job_state{job_name="daily",state="STARTING"} 0
        hornbeam_job_state{job_name="daily",state="RUNNING"} 1
        hornbeam_job_state{job_name="daily",state="RECOVERING"} 0
        hornbeam_job_state{job_name="daily",state="PAUSED"} 0
        hornbeam_job_state{job_name="daily",state="DRAINING"} 0
        hornbeam_job_state{job_name="daily",state="STOPPING"} 0
        hornbeam_job_state{job_name="daily",state="CANCELLED"} 0
        hornbeam_job_state{job_name="daily",state="DONE"} 0
        hornbeam_job_state{job_name="daily",state="DRAINED"} 0
        hornbeam_job_state{job_name="daily",state="FAILED"} 0
        hornbeam_job_state{job_name="daily",state="INTERRUPTED"} 0
        hornbeam_job_state{job_name="daily",state="KILLED"} 0
        hornbeam_job_state{job_name="daily",state="STOPPED"} 0
        hornbeam_workers{job_name="daily"} 2
        hornbeam_restarts_total{job_name="daily"} 3
        hornbeam_updated_timestamp_seconds{job_name="daily"} 1700000000.25
        hornbeam_checkpoint_number{job_name="daily"} 12
        hornbeam_checkpoint_completed_timestamp_seconds{job_name="daily"} 1700000000
        hornbeam_checkpoint_duration_seconds{job_name="daily"} 0.0205
        hornbeam_checkpoint_pause_seconds{job_name="daily"} 0.002
        hornbeam_checkpoint_written_bytes{job_name="daily"} 1000
        hornbeam_checkpoint_bytes{job_name="daily"} 5000
        hornbeam_step_elements_total{job_name="daily",step="Read"} 10
        hornbeam_step_elements_total{job_name="daily",step="a \"b\"\\c\nd"} 0
        hornbeam_step_elements_total{job_name="daily",step="None yet"} 0
        hornbeam_step_elements_per_second{job_name="daily",step="Read"} 2.5
        hornbeam_step_elements_per_second{job_name="daily",step="a \"b\"\\c\nd"} 0
        hornbeam_step_elements_per_second{job_name="daily",step="None yet"} 0
        hornbeam_step_watermark_timestamp_seconds{job_name="daily",step="Read"} 1.5
        hornbeam_step_watermark_timestamp_seconds{job_name="daily",step="a \"b\"\\c\nd"} +Inf
        hornbeam_step_lag_seconds{job_name="daily",step="Read"} 1.5
        hornbeam_step_backlog_elements{job_name="daily",step="a \"b\"\\c\nd"} 5
        hornbeam_step_backlog_bytes{job_name="daily",step="Read"} 7
        hornbeam_step_hot_key_share{job_name="daily",step="Read",key="'k'"} 0.25
        hornbeam_step_dropped_total{job_name="daily",step="Read"} 3
        hornbeam_step_dropped_total{job_name="daily",step="a \"b\"\\c\nd"} 0
        hornbeam_step_dropped_total{job_name="daily",step="None yet"} 0
        hornbeam_step_entries{job_name="daily",step="Read"} 0
        hornbeam_step_entries{job_name="daily",step="a \"b\"\\c\nd"} 4
        hornbeam_step_entries{job_name="daily",step="None yet"} 0
        """
    ).strip().splitlines()  # fmt: skip
    names = [line.split()[2] for line in text.splitlines() if line.startswith("# TYPE")]
    assert len(names) == len(set(names)) and text.count("# HELP") == len(names)


def test_what_user_code_counts_is_there_by_step_namespace_and_name() -> None:
    registry = MetricsRegistry()
    for step in ("Parse", "Sum"):
        previous = set_current(registry.container(step))
        Metrics.counter("my ns", 'nämé "1"').inc(3)
        Metrics.counter("hornbeam", "of_the_runner").inc()
        set_current(previous)
    previous = set_current(registry.container("Parse"))
    for size in (2, 5):
        Metrics.distribution("my", "size").update(size)
    Metrics.gauge("my", "last").set(7)
    set_current(previous)
    registry.commit()
    text = render(STATUS, registry.results())
    of_users = [line for line in text.removeprefix(render(STATUS)).splitlines() if "# HELP" not in line]
    parse = 'job_name="daily",step="Parse",namespace="my"'
    assert of_users == [
        "# TYPE hornbeam_user_counter_total counter",
        r'hornbeam_user_counter_total{job_name="daily",step="Parse",namespace="my ns",name="nämé \"1\""} 3',
        r'hornbeam_user_counter_total{job_name="daily",step="Sum",namespace="my ns",name="nämé \"1\""} 3',
        "# TYPE hornbeam_user_distribution summary",
        f'hornbeam_user_distribution_sum{{{parse},name="size"}} 7',
        f'hornbeam_user_distribution_count{{{parse},name="size"}} 2',
        "# TYPE hornbeam_user_distribution_min gauge",
        f'hornbeam_user_distribution_min{{{parse},name="size"}} 2',
        "# TYPE hornbeam_user_distribution_max gauge",
        f'hornbeam_user_distribution_max{{{parse},name="size"}} 5',
        "# TYPE hornbeam_user_gauge gauge",
        f'hornbeam_user_gauge{{{parse},name="last"}} 7',
    ]


def test_before_there_is_a_status() -> None:
    assert render(None).splitlines()[-1] == "hornbeam_up 0"


def get(port: int, path: str) -> tuple[str, str]:
    with urllib.request.urlopen(f"http://127.0.0.1:{port}{path}", timeout=120) as answer:
        return answer.headers["Content-Type"], answer.read().decode()


def test_the_server_answers_with_the_status_as_it_is() -> None:
    statuses = [STATUS, None]
    with MetricsServer(lambda: statuses.pop(0)) as server:
        assert get(server.port, "/metrics") == (CONTENT_TYPE, render(STATUS))
        assert get(server.port, "/metrics?x") == (CONTENT_TYPE, render(None))
        for path, code, said in (
            ("/", 404, b"the metrics are at /metrics"),
            ("/metrics", 500, b"IndexError: pop"),
        ):
            with pytest.raises(urllib.error.HTTPError) as raised:
                get(server.port, path)
            assert raised.value.code == code and said in raised.value.read()
        with pytest.raises(OSError):
            MetricsServer(lambda: None, server.port)


def test_a_job_answers_while_it_runs(tmp_path: Path, caplog: pytest.LogCaptureFixture) -> None:
    with Log(tmp_path / "log") as log:
        log.create_topic("numbers", 2)
        log.create_topic("totals")
        append(log, *range(15))
        options = ["--runner=LogRunner", f"--log_dir={tmp_path}", "--job_name=j", "--num_workers=1"]
        with Streaming(totals(tmp_path), *options, "--metrics_port=0") as result:
            port = int(caplog.messages[-1].rpartition(":")[2].partition("/")[0])
            take(log, "totals", 2)
            wanted = 'hornbeam_step_elements_total{job_name="j",step="Numbers/Read"}'
            ends = time.monotonic() + 180
            while wanted not in get(port, "/metrics")[1]:  # steps are in the status a moment later
                assert time.monotonic() < ends
                time.sleep(0.05)
            taken = [*options[:1], f"--log_dir={tmp_path}", "--job_name=k", f"--metrics_port={port}"]
            with pytest.raises(OptionError, match=f"--metrics_port={port} cannot be had: .*in use"):
                Streaming(totals(tmp_path), *taken).__enter__()
            result.cancel()
        with pytest.raises(urllib.error.URLError):
            get(port, "/metrics")
