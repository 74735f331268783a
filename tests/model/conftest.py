"""The runners that the model suite is run on, and the ways of cutting the work. A new runner is added to RUNNERS."""

from __future__ import annotations

import pytest

from hornbeam.options.pipeline_options import PipelineOptions

#: Each runner's flags.
RUNNERS: dict[str, list[str]] = {"DirectRunner": ["--runner=DirectRunner", "--no_progress"]}

MODES: dict[str, list[str]] = {
    "bundles of 1": ["--bundle_size=1"],
    "bundles of 2": ["--bundle_size=2"],
    "bundles of 3": ["--bundle_size=3"],
    "own bundles": ["--bundle_size=0"],
    "groups on disk": ["--memory_limit=1"],
    "groups on disk, bundles of 2": ["--memory_limit=1", "--bundle_size=2"],
    "as a stream": ["--streaming"],
    "as a stream, bundles of 1": ["--streaming", "--bundle_size=1"],
}


@pytest.fixture(params=[(r, m) for r in RUNNERS for m in MODES], ids=lambda p: f"{p[0]}, {p[1]}")
def options(request, tmp_path_factory) -> PipelineOptions:
    """A runner under a bundling mode, with a folder for temporary files that must be empty in the end."""
    runner, mode = request.param
    folder = tmp_path_factory.mktemp("temporary")
    flags = [*RUNNERS[runner], *MODES[mode], f"--temp_dir={folder}"]
    yield PipelineOptions(flags)
    assert list(folder.iterdir()) == [], "temporary files were left"


@pytest.fixture(params=list(RUNNERS))
def runner_options(request) -> PipelineOptions:
    """A runner with bundles of its own choice, for what does not depend on them."""
    return PipelineOptions(RUNNERS[request.param])
