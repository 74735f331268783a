"""The fork server that MultiProcessRunner's worker processes come from."""

from __future__ import annotations

from hornbeam.runners.processes.fork_server import ForkServer

#: The one of this program.
server = ForkServer("hornbeam.runners.multiprocess.worker")
