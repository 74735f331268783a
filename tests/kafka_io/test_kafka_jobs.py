"""WriteToKafka in jobs of LogRunner: on brokers in memory, where this process commits, and on real ones if there are any."""

from __future__ import annotations

import json
import os
import time
import uuid
from pathlib import Path
from typing import Any

import confluent_kafka as kafka
import pytest
from confluent_kafka import KafkaError
from kafka_io import brokers, kafka_kill_campaign
from kafka_io.fake_kafka import FakeKafka, failure

import hornbeam as beam
from hornbeam.io import kafka_publisher, kafka_write
from hornbeam.io.kafka import KafkaWriteError, ReadFromKafka, WriteToKafka
from hornbeam.options.pipeline_options import PipelineOptions

ROWS = [(b"k%d" % (n % 7), b"%d" % n) for n in range(500)]


def run(folder: Path, servers: str, topic: str, *flags: str, **config: Any) -> None:
    """One job, to its end."""
    options = PipelineOptions(
        [
            "--runner=LogRunner", "--job_name=j", f"--log_dir={folder}", "--num_workers=2", "--no_progress",
            "--checkpoint_interval_ms=50", *flags,
        ]
    )  # fmt: skip
    with beam.Pipeline(options=options) as p:
        rows = p | beam.Create(ROWS, reshuffle=False)
        rows | "Out" >> WriteToKafka({"bootstrap.servers": servers, **config}, topic)


@pytest.fixture
def fake(monkeypatch: pytest.MonkeyPatch) -> FakeKafka:
    """What this process commits to; workers stage, and know the package only."""
    client = FakeKafka()
    for module in (kafka_publisher, kafka_write):
        monkeypatch.setattr(module, "kafka_client", lambda: client)
    return client


def in_order(rows: list[tuple[Any, Any]]) -> bool:
    """Whether all rows are there, once, and those of each key in order."""
    return all(
        [row for row in rows if row[0] == key] == [row for row in ROWS if row[0] == key]
        for key in {key for key, _ in ROWS}
    ) and len(rows) == len(ROWS)


def test_a_job_commits_all_it_writes_and_leaves_nothing_staged(tmp_path: Path, fake: FakeKafka) -> None:
    run(tmp_path, "nowhere:1", "out")
    assert in_order(fake.committed["out"])
    sinks = tmp_path / "jobs" / "j" / "sinks"
    assert not [path.name for path in (sinks / "staged" / "topics").iterdir() if "__staging" in path.name]
    (journal,) = sinks.glob("kafka-*.json")
    state = json.loads(journal.read_text())
    assert state["intent"] is None and state["number"] == max(fake.offsets.values())
    # Over again, from nothing, the same writer's name goes on: it shuts out whoever may still be there.
    run(tmp_path, "nowhere:1", "out", "--fresh")
    assert in_order(fake.committed["out"][len(ROWS) :]) and len(fake.epochs) == 1
    assert json.loads(journal.read_text())["id"] == state["id"]


def test_a_job_fails_when_kafka_refuses_and_goes_on_when_it_does_not(tmp_path: Path, fake: FakeKafka) -> None:
    def forbid(name: str) -> None:
        if name == "produce":
            raise failure(KafkaError.TOPIC_AUTHORIZATION_FAILED)

    fake.at_call = forbid
    with pytest.raises(
        KafkaWriteError, match=r"did not take rows for topic 'out': .*[Tt]opic authorization failed"
    ):
        run(tmp_path, "nowhere:1", "out")
    assert json.loads((tmp_path / "jobs" / "j" / "job.json").read_text())["state"] == "FAILED"
    assert fake.committed["out"] == []
    fake.at_call = lambda name: None
    run(tmp_path, "nowhere:1", "out")
    assert in_order(fake.committed["out"])


def test_at_least_once_workers_write_themselves(tmp_path: Path) -> None:
    with brokers.mock_cluster() as servers:
        run(tmp_path, servers, "out", "--at_least_once")
        found = brokers.records(servers, "out")
    assert in_order([(each.key(), each.value()) for each in found])


def test_partitions_are_read_by_all_workers(tmp_path: Path) -> None:
    with brokers.mock_cluster() as servers:
        producer = kafka.Producer({"bootstrap.servers": servers})
        producer.list_topics("in", 60)
        for key, value in ROWS:
            producer.produce("in", value, key)
        assert producer.flush(120) == 0
        flags = [
            "--runner=LogRunner",
            "--job_name=j",
            f"--log_dir={tmp_path}",
            "--num_workers=2",
            "--at_least_once",
        ]
        p = beam.Pipeline(options=PipelineOptions(flags))
        config = {"bootstrap.servers": servers, "auto.offset.reset": "earliest"}
        pairs = p | ReadFromKafka(config, ["in"])
        rows = pairs | beam.MapTuple(lambda key, value: beam.Row(key=key, value=value, headers=_process()))
        rows | WriteToKafka({"bootstrap.servers": servers}, "out", with_headers=True)
        result = p.run()
        deadline = time.monotonic() + 180
        while len(found := brokers.records(servers, "out")) < len(ROWS):
            assert time.monotonic() < deadline and result.state not in ("FAILED", "DONE")
        result.drain()
        assert result.wait_until_finish(180_000) == "DRAINED"
    assert in_order([(each.key(), each.value()) for each in found])
    assert len({value for each in found for _, value in each.headers()}) == 2


def _process() -> list[tuple[str, bytes]]:
    return [("process", b"%d" % os.getpid())]


@pytest.mark.skipif(not brokers.REAL, reason="HORNBEAM_KAFKA names no broker")
@pytest.mark.parametrize("flags", [(), ("--at_least_once",)])
def test_a_job_on_a_real_broker(tmp_path: Path, flags: tuple[str, ...]) -> None:
    topic = f"test-{uuid.uuid4().hex}"
    brokers.create_topic(brokers.REAL, topic, 3)
    run(tmp_path, brokers.REAL, topic, *flags)
    assert in_order([(each.key(), each.value()) for each in brokers.records(brokers.REAL, topic)])


@pytest.mark.slow
@pytest.mark.skipif(not brokers.REAL, reason="HORNBEAM_KAFKA names no broker")
def test_nothing_is_lost_or_doubled_whatever_is_killed() -> None:
    campaign = kafka_kill_campaign.run(kills=8, seed=4, size=100)
    assert sum(campaign.kills.values()) >= 8
