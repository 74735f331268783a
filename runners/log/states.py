"""The states of a job, as `hornbeam job` and its folder name them."""

from __future__ import annotations

STARTING = "STARTING"
RUNNING = "RUNNING"
#: Going back to the last checkpoint after a failure.
RECOVERING = "RECOVERING"
#: Waits for room on the disk; goes on by itself.
PAUSED = "PAUSED"
DRAINING = "DRAINING"
STOPPING = "STOPPING"
#: Ended: all input was taken in (or the job was drained), and everything is committed.
DONE = "DONE"
DRAINED = "DRAINED"
#: Ended with a savepoint, by `stop`.
STOPPED = "STOPPED"
CANCELLED = "CANCELLED"
#: Ended at once because its program was: by Ctrl-C, SIGTERM, or because it came to its end.
INTERRUPTED = "INTERRUPTED"
#: Ended by a failure that comes again; the last checkpoint is intact.
FAILED = "FAILED"
#: Not in any file: the coordinator has gone without saying so. The same command resumes the job.
KILLED = "KILLED"

#: States that a job is not going to leave by itself.
ENDED = frozenset({DONE, DRAINED, STOPPED, CANCELLED, INTERRUPTED, FAILED, KILLED})
#: States from which the same command does not go on: the job has come to its end.
FINISHED = frozenset({DONE, DRAINED})
