"""What WriteToKafka commits with checkpoints is in Kafka once, whatever dies or fails at whichever call."""

from __future__ import annotations

import json
import os
import uuid
from collections.abc import Callable, Iterator
from pathlib import Path
from typing import Any

import cloudpickle
import pytest
from confluent_kafka import KafkaError
from kafka_io import brokers
from kafka_io.fake_kafka import Client, Death, FakeKafka, RealKafka, failure

import hornbeam as beam
from hornbeam.error import DataError, TransformError
from hornbeam.io import disk_space, kafka_config, kafka_publisher, kafka_write
from hornbeam.io.kafka import KafkaWriteError, WriteToKafka
from hornbeam.io.kafka_write import KafkaSink
from hornbeam.io.step_identity import job_sinks_folder
from hornbeam.io.two_phase import TwoPhaseWrite
from hornbeam.options.pipeline_options import PipelineOptions
from hornbeam.runners.log.job_folder import JobFolder
from hornbeam.storage import files
from hornbeam.storage.errors import StorageError
from hornbeam.storage.log import Log


class Scene:
    """Brokers, and a job whose worker and coordinator may be replaced at any time, as a runner drives them."""

    def __init__(self, client: Client, folder: Path, servers: str, topic: str, **config: Any) -> None:
        self.client = client
        self.topic = topic
        self.servers = servers
        write = WriteToKafka({"bootstrap.servers": servers, "delivery.timeout.ms": 20_000, **config}, topic)
        self.sink = write._sink
        self.sink.job, self.sink.folder, self.sink.identity = "j", str(folder), "0123456789abcdef"
        self.coordinator = self.worker = TwoPhaseWrite(self.sink)
        self.new_attempt([])

    def new_attempt(self, tokens: list[Any]) -> None:
        """Everything is dead; a new coordinator commits what the last checkpoint names, then workers begin."""
        self.new_coordinator()
        self.worker = cloudpickle.loads(cloudpickle.dumps(TwoPhaseWrite(self.sink)))
        for token in tokens:
            self.coordinator.commit(token)
        self.coordinator.recover(tokens)
        self.worker.setup()
        self.worker.begin_two_phase()

    def new_coordinator(self) -> None:
        """The coordinator is dead; this one knows what is on the disk."""
        self.coordinator = cloudpickle.loads(cloudpickle.dumps(TwoPhaseWrite(self.sink)))

    def bundle(self, *values: str) -> None:
        self.worker.start_bundle()
        for value in values:
            self.worker.process((b"k", value.encode()))
        self.worker.finish_bundle()

    def checkpoint(self, number: int, *values: str) -> Any:
        """The token of a checkpoint, with these values in it."""
        if values:
            self.bundle(*values)
        token = self.worker.prepare(number)
        return None if token is None else cloudpickle.loads(cloudpickle.dumps(self.worker.settle(token)))

    def seen(self) -> str:
        """All values, in order: they have one key."""
        if isinstance(self.client, FakeKafka):
            return "".join(value.decode() for _, value in self.client.committed[self.topic])
        return "".join(each.value().decode() for each in brokers.records(self.servers, self.topic))

    @property
    def journal(self) -> Path:
        return Path(self.sink._journal_path())

    @property
    def group(self) -> str:
        return f"hornbeam-j.{json.loads(self.journal.read_text())['id']}"


@pytest.fixture
def staged(tmp_path: Path) -> Path:
    return tmp_path / "sinks"


@pytest.fixture
def at(monkeypatch: pytest.MonkeyPatch, staged: Path) -> Iterator[Callable[..., Scene]]:
    """Makes scenes: `at("fake")`, `at("real")`."""
    scenes: list[Scene] = []

    def make(kind: str, **config: Any) -> Scene:
        client: Client = FakeKafka() if kind == "fake" else RealKafka()
        for module in (kafka_publisher, kafka_write):
            monkeypatch.setattr(module, "kafka_client", lambda: client)
        servers, topic = "nowhere:9092", "out"
        if kind == "real":
            servers, topic = brokers.REAL, f"test-{uuid.uuid4().hex}"
            brokers.create_topic(servers, topic, 3)
        scenes.append(Scene(client, staged, servers, topic, **config))
        return scenes[-1]

    yield make
    for scene in scenes:
        scene.worker.teardown()
        scene.coordinator.sink.release()


REAL = pytest.param(
    "real", marks=pytest.mark.skipif(not brokers.REAL, reason="HORNBEAM_KAFKA names no broker")
)
BOTH = pytest.mark.parametrize("kind", ["fake", REAL])


@BOTH
def test_what_is_written_is_seen_with_its_checkpoint_and_once(at: Any, kind: str) -> None:
    scene = at(kind)
    scene.bundle("a", "b")
    first = scene.checkpoint(1, "c")
    scene.bundle("d")
    assert scene.seen() == "" and scene.checkpoint(2) is not None and scene.checkpoint(3) is None
    scene.coordinator.commit(first)
    scene.coordinator.commit(first)
    assert scene.seen() == "abc"
    # The coordinator dies before the second commit; "d" was not in a published checkpoint.
    scene.new_attempt([first])
    assert scene.seen() == "abc"
    second = scene.checkpoint(2, "e")
    scene.new_attempt([second])
    assert scene.seen() == "abce"
    # An old savepoint is begun from: its token was committed long ago, and its staging topic is gone.
    scene.new_attempt([first])
    third = scene.checkpoint(3, "f")
    scene.coordinator.commit(third)
    assert scene.seen() == "abcef"
    scene.worker.teardown()
    scene.coordinator.recover([])
    with Log(scene.sink._staging()) as log:
        assert [name for name in log.topics(internal=True) if name.startswith("__staging")] == []
    assert json.loads(scene.journal.read_text())["positions"] == {}


def _commit_somehow(scene: Scene, tokens: list[Any]) -> None:
    """As the coordinator does: it dies, and another one begins with the same tokens."""
    for _ in range(9):
        try:
            for token in tokens:
                scene.coordinator.commit(token)
            return
        except Death:
            scene.new_coordinator()
    raise AssertionError("it dies at each try")


#: A new coordinator that commits "cd" and "ef", two rows a transaction, then "g", makes 20 calls.
CALLS = range(1, 21)


@pytest.mark.parametrize("happens", [False, True])
@pytest.mark.parametrize("error", ["death", "transient", "fenced"])
@pytest.mark.parametrize("call", CALLS)
def test_any_call_of_a_commit_may_fail(
    at: Any, monkeypatch: pytest.MonkeyPatch, call: int, error: str, happens: bool
) -> None:
    _one_fault(at("fake"), monkeypatch, call, error, happens)


@pytest.mark.skipif(not brokers.REAL, reason="HORNBEAM_KAFKA names no broker")
@pytest.mark.parametrize("happens", [False, True])
@pytest.mark.parametrize("call", CALLS)
def test_any_call_of_a_commit_may_be_the_last_on_a_real_broker(
    at: Any, monkeypatch: pytest.MonkeyPatch, call: int, happens: bool
) -> None:
    _one_fault(at("real"), monkeypatch, call, "death", happens)


def _one_fault(scene: Scene, monkeypatch: pytest.MonkeyPatch, call: int, error: str, happens: bool) -> None:
    monkeypatch.setattr(kafka_write, "_TRANSACTION_ROWS", 2)
    raised: BaseException = {
        "death": Death(),
        "transient": failure(KafkaError._TRANSPORT, retriable=True),
        "fenced": failure(KafkaError._FENCED, fatal=True),
    }[error]
    first = scene.checkpoint(1, "a", "b")
    scene.coordinator.commit(first)
    scene.new_coordinator()
    scene.bundle("c", "d")
    second = scene.checkpoint(2, "e", "f")
    scene.client.faults = {call: (happens, raised)}
    _commit_somehow(scene, [first, second])
    third = scene.checkpoint(3, "g")
    _commit_somehow(scene, [second, third])
    assert scene.client.faults == {}
    assert scene.seen() == "abcdefg"


@pytest.mark.parametrize("seed", range(25))
def test_many_faults_one_after_the_other(at: Any, monkeypatch: pytest.MonkeyPatch, seed: int) -> None:
    import random

    chance = random.Random(seed)
    monkeypatch.setattr(kafka_write, "_TRANSACTION_ROWS", 2)
    scene = at("fake")
    written, committed = "", []
    for number in range(12):
        values = [chr(97 + (number * 5 + n) % 26) for n in range(chance.randrange(1, 6))]
        token = scene.checkpoint(number, *values)
        written += "".join(values)
        scene.client.faults = {
            chance.randrange(1, 40): (
                chance.random() < 0.5,
                chance.choice([Death(), failure(KafkaError._TIMED_OUT, retriable=True)]),
            )
            for _ in range(chance.randrange(3))
        }
        committed = [*committed[-1:], token]
        _commit_somehow(scene, committed)
        scene.client.faults = {}
        if chance.random() < 0.3:
            scene.new_attempt([token])
    assert scene.seen() == written


@BOTH
def test_a_coordinator_that_wakes_up_late_writes_nothing_again(at: Any, kind: str) -> None:
    """It was stopped in its transaction. Another one commits, and what comes after; then it goes on."""
    scene = at(kind)
    first = scene.checkpoint(1, "a")
    late = scene.coordinator
    scene.client.faults = {10: (False, Death())}  # before the commit of the transaction with "a"
    with pytest.raises(Death):
        late.commit(first)
    assert scene.client.calls[-1] == "commit_transaction"
    scene.new_coordinator()
    second = scene.checkpoint(2, "b")
    for token in (first, second):
        scene.coordinator.commit(token)
    for token in (first, second):
        late.commit(token)
    third = scene.checkpoint(3, "c")
    scene.coordinator.commit(third)
    assert scene.seen() == "abc"


def test_two_that_commit_as_the_same_are_told_so(at: Any, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(kafka_publisher.time, "sleep", lambda seconds: None)
    scene = at("fake")
    token = scene.checkpoint(1, "a")

    def another(name: str) -> None:
        if name == "begin_transaction":
            scene.client.epochs[scene.group] += 1

    scene.client.at_call = another
    with pytest.raises(
        KafkaWriteError, match=r"fenced.*Another process commits as 'hornbeam-j\.[0-9a-f]{32}'"
    ):
        scene.coordinator.commit(token)
    assert scene.client.calls.count("init_transactions") == 3


@BOTH
@pytest.mark.parametrize("was_committed", [False, True])
def test_a_mark_that_is_lost_while_it_matters(at: Any, kind: str, was_committed: bool) -> None:
    """The job died in a commit, and nobody started it again until brokers forgot the group."""
    scene = at(kind)
    first = scene.checkpoint(1, "a")
    scene.coordinator.commit(first)
    second = scene.checkpoint(2, "b")
    scene.client.faults = {4: (was_committed, Death())}
    with pytest.raises(Death):
        scene.coordinator.commit(second)
    assert scene.client.calls[-1] == "commit_transaction"
    _forget_offsets(scene)
    scene.new_coordinator()
    with pytest.raises(KafkaWriteError) as raised:
        scene.coordinator.commit(second)
    for part in (
        "It is not known whether",
        f"group '{scene.group}'",
        '"is_done": true or false',
        str(scene.journal),
    ):
        assert part in str(raised.value)
    journal = json.loads(scene.journal.read_text())
    journal["intent"]["is_done"] = was_committed
    scene.journal.write_text(json.dumps(journal))
    scene.new_coordinator()
    scene.coordinator.commit(second)
    third = scene.checkpoint(3, "c")
    scene.coordinator.commit(third)
    assert scene.seen() == "abc"


def _forget_offsets(scene: Scene) -> None:
    if isinstance(scene.client, FakeKafka):
        scene.client.offsets.clear()
        scene.client.open.clear()
        return
    brokers.forget_group(scene.servers, scene.group)


def test_a_mark_that_is_lost_matters_no_more_when_the_job_begins_anew(at: Any) -> None:
    scene = at("fake")
    first = scene.checkpoint(1, "a")
    scene.client.faults = {10: (True, Death())}
    with pytest.raises(Death):
        scene.coordinator.commit(first)
    _forget_offsets(scene)
    scene.new_attempt([])  # as with --fresh
    scene.coordinator.commit(scene.checkpoint(1, "b"))
    assert scene.seen() == "ab"


@BOTH
def test_a_mark_that_is_lost_while_nothing_is_under_way(at: Any, kind: str) -> None:
    scene = at(kind)
    first = scene.checkpoint(1, "a")
    scene.coordinator.commit(first)
    _forget_offsets(scene)
    scene.new_attempt([first])
    second = scene.checkpoint(2, "b")
    scene.coordinator.commit(second)
    assert scene.seen() == "ab"


def test_the_mark_of_a_job_that_writes_seldom_is_renewed(at: Any, monkeypatch: pytest.MonkeyPatch) -> None:
    """Else it might be forgotten between two transactions, and be missed after a death in the second."""
    now = [0.0]
    monkeypatch.setattr(kafka_publisher.time, "monotonic", lambda: now[0])
    scene = at("fake")
    for number, value in enumerate("ab"):
        scene.coordinator.commit(scene.checkpoint(number, value))
        now[0] += 3000
    assert scene.client.calls.count("commit_transaction") == 3  # the first of a coordinator is a mark, too
    scene.client.offsets.clear()
    now[0] += 2000
    token = scene.checkpoint(3, "c")
    scene.client.faults = {6: (False, Death())}
    _commit_somehow(scene, [token])
    assert scene.seen() == "abc" and scene.client.offsets[scene.group, "out", 0] == 3


def test_a_renamed_topic(at: Any) -> None:
    """What was under way is looked up where it was sent, and the rest goes to the new topic."""
    scene = at("fake")
    first = scene.checkpoint(1, "a")
    scene.client.faults = {10: (True, Death())}
    with pytest.raises(Death):
        scene.coordinator.commit(first)
    scene.client.topics.add("new")
    scene.sink.topic = "new"
    scene.new_attempt([first])
    scene.coordinator.commit(scene.checkpoint(2, "b"))
    assert scene.client.committed == {"out": [(b"k", b"a")], "new": [(b"k", b"b")]}


@pytest.mark.parametrize("call", ["init_transactions", "produce", "commit_transaction"])
def test_what_fails_for_too_long(at: Any, monkeypatch: pytest.MonkeyPatch, call: str) -> None:
    """Brokers are away; or rows alone fail each time, while marks get through: the topic of a row is not there, say."""
    now = [0.0]
    monkeypatch.setattr(kafka_publisher.time, "monotonic", lambda: now[0])
    monkeypatch.setattr(kafka_publisher.time, "sleep", lambda seconds: now.__setitem__(0, now[0] + seconds))

    def away(name: str) -> None:
        if name == call and (call != "commit_transaction" or scene.client.calls[-3] == "produce"):
            raise failure(KafkaError._TRANSPORT, retriable=True)

    scene = at("fake")
    token = scene.checkpoint(1, "a")
    scene.client.at_call = away
    with pytest.raises(
        KafkaWriteError, match=r"nowhere:9092 did not take rows for topic 'out'.*still staged"
    ):
        scene.coordinator.commit(token)
    assert 20 <= now[0] < 30 and 4 <= scene.client.calls.count("init_transactions") < 20
    scene.client.at_call = lambda name: None
    scene.new_attempt([token])
    assert scene.seen() == "a"


def test_a_topic_that_is_not_there_yet(at: Any, monkeypatch: pytest.MonkeyPatch) -> None:
    scene = at("fake")
    scene.client.topics.clear()
    monkeypatch.setattr(kafka_publisher.time, "sleep", lambda seconds: scene.client.topics.add("out"))
    token = scene.checkpoint(1, "a")
    scene.coordinator.commit(token)
    assert scene.seen() == "a"


@BOTH
def test_a_record_that_the_broker_refuses(at: Any, kind: str) -> None:
    """Its limit is below the one that the job knows. Nothing of the transaction is seen, and it is not tried for ever."""
    scene = at(kind)
    if kind == "real":
        scene.topic = scene.sink.topic = f"test-{uuid.uuid4().hex}"
        brokers.create_topic(scene.servers, scene.topic, 1, **{"max.message.bytes": "1000"})
        scene.new_attempt([])
    token = scene.checkpoint(1, "a", "too large" if kind == "fake" else "x" * 2000, "b")
    with pytest.raises(KafkaWriteError, match=r"size too large \(a record with key b'k' for topic '"):
        scene.coordinator.commit(token)
    assert scene.seen() == ""


def test_a_record_of_commits_that_is_gone_or_damaged(at: Any) -> None:
    scene = at("fake")
    token = scene.checkpoint(1, "a")
    content = scene.journal.read_text()
    scene.new_coordinator()
    for damaged in ("", "[]", content[:40], content.replace('"format": 1', '"format": 2')):
        scene.journal.write_text(damaged)
        with pytest.raises(DataError, match=r"0123456789abcdef\.json is damaged: .*Bring it back"):
            scene.coordinator.commit(token)
    os.unlink(scene.journal)
    with pytest.raises(DataError, match=r"0123456789abcdef\.json is gone, and with it what is known"):
        scene.coordinator.commit(token)
    scene.journal.write_text(content)
    scene.coordinator.commit(token)
    assert scene.seen() == "a"


@pytest.fixture
def full_disk(monkeypatch: pytest.MonkeyPatch) -> Iterator[None]:
    """The storage of this process may be armed with faults; waiting for room takes no time."""
    monkeypatch.setattr(disk_space, "PAUSE_SECONDS", 0.0)
    yield
    files.arm(None)


@pytest.mark.parametrize("call", range(1, 41))
def test_a_full_disk_at_any_call_of_a_commit_or_of_staging(at: Any, full_disk: None, call: int) -> None:
    """The n-th write, sync or rename finds no room, once; what is written comes once all the same."""
    scene = at("fake")
    first = scene.checkpoint(1, "a", "b")
    scene.coordinator.commit(first)
    files.arm(f"*:{call}:enospc")
    scene.bundle("c", "d")
    try:
        second = scene.checkpoint(2)
    except StorageError:  # a snapshot that fails is given up, and the attempt with it
        files.arm(None)
        scene.new_attempt([first])
        second = scene.checkpoint(2, "c", "d")
    try:
        scene.coordinator.commit(second)
    except StorageError:  # a fault point beside the transaction: the coordinator pauses, and begins again
        scene.new_attempt([second])
    files.arm(None)
    scene.coordinator.commit(second)
    assert scene.seen() == "abcd"


def test_what_is_committed_is_let_go_of_now_and_then(at: Any, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(kafka_write, "_DELETE_RECORDS", 3)
    scene = at("fake")
    starts = []
    for number in range(5):
        token = scene.checkpoint(number, "a", "b")
        scene.coordinator.commit(token)
        with Log(scene.sink._staging()) as log:
            starts.append(log.partition(token.topic, 0).log_start_offset)
    assert starts == [0, 4, 4, 8, 8] and scene.seen() == "ab" * 5


def test_large_rows_are_staged_and_sent_by_portions(at: Any, monkeypatch: pytest.MonkeyPatch) -> None:
    """However many elements come at once, no more than some of their bytes are read again together."""
    monkeypatch.setattr(kafka_write, "_BATCH_BYTES", 4)
    monkeypatch.setattr(kafka_write, "_TRANSACTION_BYTES", 8)
    scene = at("fake")
    token = scene.checkpoint(1, *"abcdefghijk")  # with a key of one byte each
    rows = [len(list(chunk.rows)) for chunk in scene.coordinator.sink._chunks(token)]
    assert rows == [4, 4, 3]
    scene.coordinator.commit(token)
    assert scene.seen() == "abcdefghijk"
    assert list(kafka_write._portions([], [])) == []


@BOTH
def test_rows_with_headers_are_staged_whole(at: Any, kind: str) -> None:
    scene = at(kind)
    scene.sink.with_headers = True
    scene.new_attempt([])
    row = kafka_write.RowEncoder(1000)(
        beam.Row(key=b"k", value=b"v", headers=[beam.Row(key="h", value=b"1")], timestamp=5)
    )
    scene.worker.start_bundle()
    scene.worker.process(row)
    scene.worker.finish_bundle()
    scene.coordinator.commit(scene.checkpoint(1))
    assert scene.seen() == "v"
    if kind == "real":
        (record,) = brokers.records(scene.servers, scene.topic)
        assert (record.headers(), record.timestamp()[1]) == ([("h", b"1")], 5)


def test_less_than_transactions_need_is_refused_where_they_are_needed(at: Any) -> None:
    with pytest.raises(
        TransformError, match=r"exactly once on this runner, which acks=1 in producer_config forbids"
    ):
        at("fake", acks=1).checkpoint(1, "a")


def test_the_folder_of_a_job(tmp_path: Path) -> None:
    options = PipelineOptions([f"--log_dir={tmp_path}", "--job_name=totals"])
    assert job_sinks_folder(options) == os.path.join(JobFolder(tmp_path, "totals").path, "sinks")
    assert job_sinks_folder(PipelineOptions(["--job_name=totals"])) is None
    sink = KafkaSink(kafka_config.ProducerConfig.of({"bootstrap.servers": "x:1"}), "t", False)
    sink.recover([])
    with pytest.raises(
        TransformError, match=r"needs a folder to stage rows in\. Give --log_dir and --job_name when it"
    ):
        sink.open_writer()
