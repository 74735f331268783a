"""What user code on a worker says: in a process of its own, with its output read through a pipe."""

from __future__ import annotations

import subprocess
import sys

PROGRAM = """
import logging, os
from hornbeam.runners.engine.operator import Operator
from hornbeam.runners.log.worker_output import say_where

class Step(Operator):
    def process(self, bundle):
        logging.getLogger("mine").warning("at %s", "work")
        print("a whole", "line")

seen = []
class Structured(logging.Handler):
    def emit(self, record):
        seen.append((record.hornbeam_job, record.hornbeam_worker, record.hornbeam_step))

say_where("sales", 1)
logging.getLogger().addHandler(Structured())
logging.getLogger("mine").warning("between steps")
Step("Parse", None, {}).process(None)
print(seen)
os._exit(1)  # it dies before anything is flushed
"""


def test_log_lines_name_job_worker_and_step_and_printed_lines_outlive_the_worker() -> None:
    ended = subprocess.run(
        [sys.executable, "-c", PROGRAM], capture_output=True, text=True, timeout=180, check=False
    )
    between, at_work = ended.stderr.splitlines()
    assert between.endswith("WARNING sales worker 1: between steps")
    assert at_work.endswith("WARNING sales worker 1, step 'Parse': at work")
    assert ended.stdout.splitlines() == [
        "a whole line",
        "[('sales', 1, None), ('sales', 1, 'Parse')]",
    ]
