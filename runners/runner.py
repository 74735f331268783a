"""What a runner is, how one is found, and what it answers.

A runner takes a Graph and options, and knows nothing of the objects that the author wrote. It is found by short name,
by dotted path (`my.package.MyRunner`) or through the entry-point group `hornbeam.runners`.
"""

from __future__ import annotations

import difflib
import importlib
import importlib.metadata
from typing import TYPE_CHECKING, Any

from hornbeam.error import OptionError, RunnerError

if TYPE_CHECKING:
    from hornbeam.graph.model import Graph
    from hornbeam.metrics.results import MetricResults
    from hornbeam.options.pipeline_options import PipelineOptions

ENTRY_POINTS = "hornbeam.runners"
_DIRECT = "hornbeam.runners.direct.direct_runner.DirectRunner"

#: Short names, in lower case. Beam's own local runners select DirectRunner, so that pipelines written for them run here.
_LOG = "hornbeam.runners.log.log_runner.LogRunner"

_KNOWN = {
    "logrunner": _LOG,
    "directrunner": _DIRECT,
    "fnapirunner": _DIRECT,
    "bundlebaseddirectrunner": _DIRECT,
    "switchingdirectrunner": _DIRECT,
    "testdirectrunner": _DIRECT,
    "multiprocessrunner": "hornbeam.runners.multiprocess.multiprocess_runner.MultiProcessRunner",
    "prismrunner": _DIRECT,
    "interactiverunner": _DIRECT,
}


#: Beam's runners for engines elsewhere.
_ELSEWHERE = frozenset({"dataflow", "testdataflow", "flink", "portable", "spark", "samza", "dask", "ray"})


class PipelineState:
    """The states of a job, with Beam's names."""

    UNKNOWN = "UNKNOWN"
    STARTING = "STARTING"
    STOPPED = "STOPPED"
    RUNNING = "RUNNING"
    DONE = "DONE"
    FAILED = "FAILED"
    CANCELLED = "CANCELLED"
    UPDATED = "UPDATED"
    DRAINING = "DRAINING"
    DRAINED = "DRAINED"
    PENDING = "PENDING"
    CANCELLING = "CANCELLING"
    RESOURCE_CLEANING_UP = "RESOURCE_CLEANING_UP"
    PAUSING = "PAUSING"
    PAUSED = "PAUSED"
    UNRECOGNIZED = "UNRECOGNIZED"

    @classmethod
    def is_terminal(cls, state: str) -> bool:
        """Whether a job in this state will not change any more."""
        return state in (cls.STOPPED, cls.DONE, cls.FAILED, cls.CANCELLED, cls.UPDATED, cls.DRAINED)


class PipelineResult:
    """A job as its runner sees it."""

    def __init__(self, state: str) -> None:
        self._state = state

    @property
    def state(self) -> str:
        """One of PipelineState's values."""
        return self._state

    def wait_until_finish(self, duration: float | None = None) -> str:
        """Waits for the job to end, at most `duration` milliseconds, and gives its state. Raises what made it fail."""
        raise NotImplementedError(f"{type(self).__name__} does not say how to wait for its job")

    def cancel(self) -> str:
        """Ends the job and gives its state."""
        raise NotImplementedError(f"{type(self).__name__} does not say how to cancel its job")

    def metrics(self) -> MetricResults:
        """The job's metrics, to be queried with a MetricsFilter."""
        raise NotImplementedError(f"{type(self).__name__} keeps no metrics")

    def aggregated_values(self, aggregator_or_name: Any) -> dict[str, Any]:
        """The committed value of the counter of that name, by step."""
        name = getattr(aggregator_or_name, "name", aggregator_or_name)
        counters = self.metrics().query()["counters"]
        return {result.key.step: result.committed for result in counters if result.key.metric.name == name}


class PipelineRunner:
    """Executes a Graph. A subclass defines `run`."""

    def run(self, graph: Graph, options: PipelineOptions) -> PipelineResult:
        """Starts the job. A runner may return before it has ended; `wait_until_finish` waits."""
        raise NotImplementedError(f"{type(self).__name__} does not define run(graph, options)")


def create_runner(runner: str | type | PipelineRunner | None) -> PipelineRunner:
    """The runner of that name, dotted path or class; an instance is given back as it is.

    OptionError, a ValueError, for a name that nobody knows, RunnerError for one that cannot be loaded.
    """
    if runner is None:
        runner = "DirectRunner"
    if not isinstance(runner, (str, type)):
        if not callable(getattr(runner, "run", None)):
            raise TypeError(f"a runner needs a method run(graph, options); {type(runner).__name__} has none")
        return runner
    found = runner if isinstance(runner, type) else _load(runner)
    instance: PipelineRunner = found()
    return instance


def _load(name: str) -> Any:
    plain = name.rpartition(".")[2] if name.startswith(("apache_beam.", "hornbeam.")) else name
    lowered = plain.lower()
    for key in (lowered, lowered + "runner"):
        if key in _KNOWN:
            return _import(_KNOWN[key])
    entries = {entry.name: entry for entry in importlib.metadata.entry_points(group=ENTRY_POINTS)}
    for entry_name, entry in entries.items():
        if entry_name.lower() in (name.lower(), name.lower() + "runner"):
            try:
                return entry.load()
            except Exception as error:
                raise RunnerError(
                    f"runner {entry_name!r} is installed but cannot be loaded: {error}"
                ) from error
    if "." in name:
        return _import(name)
    if lowered.removesuffix("runner") in _ELSEWHERE:
        raise OptionError(
            f"Unknown runner {name!r}: it hands pipelines to another engine, which this version of hornbeam cannot do "
            "yet. Use DirectRunner."
        )
    known = sorted({"DirectRunner", "MultiProcessRunner", *entries})
    close = difflib.get_close_matches(name, known, n=1)
    hint = f" Did you mean {close[0]!r}?" if close else ""
    raise OptionError(
        f"Unknown runner {name!r}.{hint} Known runners: {', '.join(known)}; a dotted path (my.package.MyRunner) "
        f"or an entry point of the group {ENTRY_POINTS!r} works too."
    )


def _import(path: str) -> Any:
    module_name, _, attribute = path.rpartition(".")
    try:
        return getattr(importlib.import_module(module_name), attribute)
    except ImportError as error:
        absent = isinstance(error, ModuleNotFoundError) and f"{path}.".startswith(f"{error.name}.")
        advice = " Check the name, and that its package is installed." if absent else ""
        cause = None if absent else error  # what fails inside the runner's own module is worth its traceback
        raise RunnerError(f"runner {path!r} cannot be loaded: {error}.{advice}") from cause
    except AttributeError:
        raise OptionError(f"Unknown runner {path!r}: module {module_name!r} has no {attribute!r}.") from None
