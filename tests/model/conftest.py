"""The runners that the model suite is run on, and the ways of cutting the work. A new runner is added to RUNNERS."""

from __future__ import annotations

import os
from collections import Counter

import pytest

from hornbeam.options.pipeline_options import PipelineOptions

#: Each runner's flags.
RUNNERS: dict[str, list[str]] = {
    "DirectRunner": ["--runner=DirectRunner", "--no_progress"],
    **{
        name: ["--runner=MultiProcessRunner", f"--num_workers={workers}", "--no_progress"]
        for name, workers in {"two-processes": 2, "one-process": 1, "five-processes": 5}.items()
    },
}

MODES: dict[str, list[str]] = {
    "bundles of 1": ["--bundle_size=1"],
    "bundles of 2": ["--bundle_size=2"],
    "bundles of 3": ["--bundle_size=3"],
    "own bundles": ["--bundle_size=0"],
    "groups on disk": ["--memory_limit=1"],
    "groups on disk, bundles of 2": ["--memory_limit=1", "--bundle_size=2"],
    "as a stream": ["--streaming"],
    "as a stream, bundles of 1": ["--streaming", "--bundle_size=1"],
    "as a stream, groups and state on disk": ["--streaming", "--memory_limit=1", "--bundle_size=3"],
}


#: Jobs with a folder each; `--inject_restarts` takes a checkpoint after so many bundles and begins anew from it.
LOG_RUNNER = ["--runner=LogRunner", "--no_progress", "--job_name=model", "--failures_max=1"]
LOG_MODES: dict[str, list[str]] = {
    "one worker": ["--num_workers=1"],
    "two workers, bundles of 1": ["--num_workers=2", "--bundle_size=1"],
    **{
        f"{name}, restarts after each bundle": [
            f"--num_workers={workers}",
            "--bundle_size=2",
            "--inject_restarts=1",
        ]
        for workers, name in enumerate(("one worker", "two workers", "three workers"), 1)
    },
    "on disk, two workers, restarts": [
        "--num_workers=2",
        "--bundle_size=2",
        "--inject_restarts=1",
        "--memory_limit=1",
    ],
    "three workers, restarts at random bundles": [
        "--num_workers=3",
        "--bundle_size=1",
        "--inject_restarts=5",
        f"--inject_restarts_seed={os.environ.get('HORNBEAM_RESTARTS_SEED', '1')}",
    ],
}

#: Processes take longer to start than most cases to run, so only some modes and cases are for them; HORNBEAM_SOAK has all.
_ALL = bool(os.environ.get("HORNBEAM_SOAK"))
_MODES_OF = {
    "DirectRunner": frozenset(MODES),
    "two-processes": frozenset({"own bundles", "groups on disk, bundles of 2"}),
    "one-process": frozenset({"own bundles"}),
    "five-processes": frozenset({"own bundles"}),
}
_EVERY_NTH = {
    "one-process": 7,
    "five-processes": 7,
    "two-processes, groups on disk": 3,
    "LogRunner, one worker, restarts": 29,
    "LogRunner, one worker-": 23,
    "LogRunner, two workers, bundles of 1": 17,
    "LogRunner, two workers, restarts": 11,
    "LogRunner, on disk, two workers, restarts": 19,
    "LogRunner, three workers, restarts after": 23,
    "LogRunner, three workers, restarts at": 19,
}
#: Cases that take seconds to minutes in ways in which others do it as well.
_LONG = {
    "as a stream, groups and state on disk": (
        "the_largest_of_very_many",
        "very_many_outputs_of_a_generator_in_the_middle_of_a_chain",
        "a_flat_map_may_give_very_many_outputs",
        "a_hot_key_may_be_iterated_twice_also_from_disk",
    ),
    "restarts": ("a_hot_key_may_be_iterated_twice_also_from_disk",),
}
_COMBINED = [
    *(
        (f"{r}, {m}", [*RUNNERS[r], *MODES[m]])
        for r in RUNNERS
        for m in MODES
        if m in _MODES_OF[r]
        or (_ALL and not m.startswith("as a stream"))  # processes run bounded pipelines only
    ),
    *((f"LogRunner, {mode}", [*LOG_RUNNER, *flags]) for mode, flags in LOG_MODES.items()),
]


def pytest_collection_modifyitems(items: list[pytest.Item]) -> None:
    """Leaves out most of the cases of runners that are only to be tried, and what only one worker can be asked."""
    seen: Counter[str] = Counter()

    def is_left_out(item: pytest.Item) -> bool:
        way = next((name for name in _EVERY_NTH if f"[{name}" in item.name or f"-{name}" in item.name), "")
        if way.startswith("LogRunner") and "test_model.py" not in item.nodeid:
            return "one worker" not in way or "restarts" in way
        seen[way] += 1
        is_long = any(
            mode in item.name and item.name.endswith(tuple(f"{n}]" for n in _LONG[mode])) for mode in _LONG
        )
        return not _ALL and (is_long or (bool(way) and seen[way] % _EVERY_NTH[way] != 0))

    items[:] = [item for item in items if not is_left_out(item)]


@pytest.fixture(params=_COMBINED, ids=lambda way: way[0])
def options(request, tmp_path_factory) -> PipelineOptions:
    """A runner under a bundling mode, with a folder for temporary files that must be empty in the end."""
    _, flags = request.param
    folder = tmp_path_factory.mktemp("temporary")
    jobs = tmp_path_factory.mktemp("jobs")
    yield PipelineOptions([*flags, f"--temp_dir={folder}", f"--log_dir={jobs}"])
    assert list(folder.iterdir()) == [], "temporary files were left"


@pytest.fixture(params=[*RUNNERS, "LogRunner"])
def runner_options(request, tmp_path) -> PipelineOptions:
    """A runner with bundles of its own choice, for what does not depend on them."""
    if request.param == "LogRunner":
        return PipelineOptions([*LOG_RUNNER, "--num_workers=2", f"--log_dir={tmp_path}/jobs"])
    return PipelineOptions(RUNNERS[request.param])
