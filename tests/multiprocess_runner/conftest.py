"""Options of runs on worker processes, and what must be gone after each."""

from __future__ import annotations

import pytest
from multiprocess_runner.chaos import workers

from hornbeam.options.pipeline_options import PipelineOptions
from hornbeam.runners.multiprocess.workers import server


@pytest.fixture
def flags(tmp_path_factory):
    """A function from further flags to options. In the end no file and no worker process may be left."""
    folder = tmp_path_factory.mktemp("temporary")

    def make(*more: str) -> PipelineOptions:
        return PipelineOptions(
            ["--runner=MultiProcessRunner", "--num_workers=2", "--no_progress", f"--temp_dir={folder}", *more]
        )

    yield make
    assert list(folder.iterdir()) == [], "temporary files were left"
    if server._process is not None:
        assert workers() == [], "worker processes were left"
