"""What user code on a worker says, on the program's own standard output and error.

Log records know where they come from: attributes `hornbeam_job`, `hornbeam_worker` and `hornbeam_step` (None outside of
steps), for handlers that user code adds; the one that is there writes them at the front of each line. What is printed goes
out line by line, so that lines of several workers do not mix, and what a worker printed before it died is there.
"""

from __future__ import annotations

import io
import logging
import sys

from hornbeam.runners.engine.running import running_step

_FORMAT = "%(asctime)s %(levelname)s %(hornbeam_where)s: %(message)s"


def say_where(job: str, worker: int) -> None:
    """From now on this process says of all it logs that it comes from that worker, and prints whole lines."""
    make = logging.getLogRecordFactory()

    def located(*args: object, **kwargs: object) -> logging.LogRecord:
        record = make(*args, **kwargs)
        step = running_step(sys._getframe(1))
        record.hornbeam_job, record.hornbeam_worker, record.hornbeam_step = job, worker, step
        record.hornbeam_where = f"{job} worker {worker}" + (f", step {step!r}" if step else "")
        return record

    logging.setLogRecordFactory(located)
    logging.basicConfig(format=_FORMAT)
    for stream in (sys.stdout, sys.stderr):
        if isinstance(stream, io.TextIOWrapper):
            stream.reconfigure(line_buffering=True)
