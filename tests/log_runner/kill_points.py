"""Where the kill campaign kills: the named fault points of each process of a job, and in which life of a job they are met.

`test_kill` holds the list complete: each point that the runner names is in it.
"""

from __future__ import annotations

import attrs

COORDINATOR, WORKER, COPY = "coordinator", "worker", "copy"

#: What happens to a job besides kills. `run` is nothing; the others are told, and go on or begin anew with other commands.
LIVES = ("run", "savepoint", "rescale", "change", "drain", "fresh")


@attrs.frozen
class Point:
    """A fault point in a role, armed at its 1st to `passes`-th time in a process; `lives` are those that come to it."""

    role: str
    name: str
    passes: int = 1
    lives: tuple[str, ...] = LIVES[:-1]
    #: How often a job is killed at it, if it comes to it so often: twice is a double fault.
    times: int = 2
    #: A job of any pipeline will do, or one of these.
    pipelines: tuple[str, ...] = ()
    #: Whether only jobs come to it whose state is on disk.
    on_disk: bool = False


_SAVED = ("savepoint", "rescale", "change")
_MOVED = ("rescale", "change")

POINTS = (
    # The beginning of the coordinator, and its recovery from what an earlier one left
    Point(COORDINATOR, "job.fresh", lives=("fresh",), times=1),
    Point(COORDINATOR, "job.fresh.removed", lives=("fresh",), times=1),
    Point(COORDINATOR, "job.started"),
    Point(COORDINATOR, "coordinator.begin"),
    Point(COORDINATOR, "coordinator.recover", 2, lives=_MOVED),
    Point(COORDINATOR, "coordinator.recommitted", 2, lives=_MOVED),
    Point(COORDINATOR, "coordinator.recovered", 2, lives=_MOVED),
    Point(COORDINATOR, "coordinator.move", lives=_MOVED),
    Point(COORDINATOR, "coordinator.moved", lives=_MOVED),
    Point(COORDINATOR, "coordinator.attempt", 2),
    Point(COORDINATOR, "coordinator.workers", 2),
    # Checkpoints
    Point(COORDINATOR, "coordinator.checkpoint.begin", 12),
    Point(COORDINATOR, "coordinator.checkpoint.begun", 12),
    Point(COORDINATOR, "coordinator.publish", 12),
    Point(COORDINATOR, "checkpoint.commit.begin", 12),
    Point(COORDINATOR, "checkpoint.manifest.written", 12),
    Point(COORDINATOR, "checkpoint.manifests.removed", 8),
    Point(COORDINATOR, "coordinator.published", 12, times=3),
    Point(COORDINATOR, "sink.commit", 20, times=3),
    Point(COORDINATOR, "sink.committed", 20),
    Point(COORDINATOR, "coordinator.committed", 6),
    Point(COORDINATOR, "coordinator.give_up", times=4),  # and a worker before it
    Point(COORDINATOR, "checkpoint.merge.begin"),
    Point(COORDINATOR, "checkpoint.manifest.replaced"),
    # What it is told, and its end
    Point(COORDINATOR, "coordinator.quiet", lives=_SAVED),
    Point(COORDINATOR, "coordinator.savepoint", lives=_SAVED),
    Point(COORDINATOR, "coordinator.savepointed", lives=_SAVED),
    Point(COORDINATOR, "coordinator.drain", lives=("drain",)),
    Point(COORDINATOR, "coordinator.ending"),
    Point(COORDINATOR, "coordinator.ended", times=1),
    # The disk, whatever is written: job.json, manifests, sinks' commits
    Point(COORDINATOR, "files.write", 40),
    Point(COORDINATOR, "files.sync", 40),
    Point(COORDINATOR, "files.rename", 20),
    Point(COORDINATOR, "files.sync_dir", 40),
    Point(COORDINATOR, "files.unlink", 20),
    Point(COORDINATOR, "files.create", 20),
    Point(COORDINATOR, "files.mkdir", 3, times=1),
    Point(COORDINATOR, "io.rename", 3, ("run", "savepoint", *_MOVED), times=3, pipelines=("files",)),
    Point(COORDINATOR, "files.write", 60, pipelines=("log",)),
    Point(COORDINATOR, "files.sync", 60, pipelines=("log",)),
    # Workers
    Point(WORKER, "worker.begin"),
    Point(WORKER, "worker.restored"),
    Point(WORKER, "worker.bundle", 15),
    Point(WORKER, "worker.cut", 6),
    Point(WORKER, "worker.prepared", 6),
    Point(WORKER, "worker.cut.done", 6),
    Point(WORKER, "worker.settle", 6),
    Point(WORKER, "worker.snapshot.write", 6),
    Point(WORKER, "worker.snapshot.written", 6),
    Point(WORKER, "checkpoint.file.written", 6),
    Point(WORKER, "worker.drain", lives=("drain",)),
    Point(WORKER, "files.write", 20),
    Point(WORKER, "files.sync", 8),
    Point(WORKER, "files.create", 8),
    Point(WORKER, "files.sync_dir", 4, pipelines=("log",)),
    Point(WORKER, "files.write", 40, pipelines=("log",)),
    Point(WORKER, "worker.spill", 20, pipelines=("stateful", "timers", "log"), on_disk=True),
    # The copy of a worker that writes its state
    Point(COPY, "copy.begin", pipelines=("stateful", "timers", "log")),
    Point(COPY, "copy.written", pipelines=("stateful", "timers", "log")),
)
