"""TestPipeline: a Pipeline that takes its options from the test command line and waits for its end."""

from __future__ import annotations

import argparse
import base64
import shlex
from collections.abc import Mapping, Sequence
from typing import Any, ClassVar
from unittest import SkipTest

from hornbeam.options.direct_options import DirectOptions
from hornbeam.options.pipeline_options import PipelineOptions
from hornbeam.pipeline import Pipeline
from hornbeam.testing.clock import FakeClock
from hornbeam.utils import pickling

__all__ = ["TestPipeline"]


class TestPipeline(Pipeline):
    """A Pipeline for tests. Leaving its `with` block runs it, waits, and fails if the run did.

    Unless `options` are given they come from `--test-pipeline-options="..."` on the command line (of pytest,
    or of the test as a program), so that the same tests run on any runner. An integration test is skipped
    without that option. With `blocking=False`, `run` does not wait. `timeout` (seconds) cancels a run that takes
    longer, and fails it. With a `clock` (a FakeClock) the run takes processing time from that.

    >>> import hornbeam as beam
    >>> from hornbeam.testing.util import assert_that, equal_to
    >>> with TestPipeline() as p:
    ...     assert_that(p | beam.Create([1, 2, 3]) | beam.Filter(lambda n: n > 1), equal_to([2, 3]))
    """

    __test__ = False

    #: What pytest was given; `hornbeam.testing.pytest_plugin` sets it.
    pytest_test_pipeline_options: ClassVar[str] = ""

    def __init__(
        self,
        runner: Any = None,
        options: PipelineOptions | None = None,
        argv: Sequence[str] | None = None,
        is_integration_test: bool = False,
        blocking: bool = True,
        additional_pipeline_args: Sequence[str] | None = None,
        display_data: Mapping[str, Any] | None = None,
        timeout: float | None = None,
        clock: FakeClock | None = None,
    ) -> None:
        self.is_integration_test = is_integration_test
        self.blocking = blocking
        self.timeout = timeout
        self.options_list = [*self.get_options_list(argv), *(additional_pipeline_args or ())]
        if options is None:
            options = PipelineOptions(self.options_list)
        if clock is not None:
            options.view_as(DirectOptions).clock = clock
        super().__init__(runner, options, display_data=display_data)

    def run(self, test_runner_api: bool | str = True) -> Any:
        """Run; unless non-blocking wait for the end, and raise AssertionError if the run did not succeed."""
        result = super().run(test_runner_api)
        if self.blocking:
            duration_ms = None if self.timeout is None else int(self.timeout * 1000)
            state = str(result.wait_until_finish(duration=duration_ms))
            if self.timeout is not None and state not in ("DONE", "CANCELLED", "FAILED"):
                result.cancel()
                raise AssertionError(f"the pipeline did not finish within {self.timeout} s; it was {state}")
            if state not in ("DONE", "CANCELLED"):
                raise AssertionError(f"the pipeline did not succeed: it is {state}")
        return result

    def get_pipeline_options(self) -> PipelineOptions:
        """The options that the pipeline was made with."""
        return self.options

    def get_options_list(self, argv: Sequence[str] | None = None) -> list[str]:
        """The flags inside `--test-pipeline-options`, from `argv`, else the command line, else pytest."""
        parser = argparse.ArgumentParser(add_help=False, allow_abbrev=False)
        parser.add_argument("--test-pipeline-options", default="")
        known, _ = parser.parse_known_args(None if argv is None else list(argv))
        given = known.test_pipeline_options or self.pytest_test_pipeline_options
        if self.is_integration_test and not given:
            raise SkipTest("an integration test runs only with --test-pipeline-options")
        return shlex.split(given)

    def get_full_options_as_args(self, **extra_opts: Any) -> list[str]:
        """All flags, and `extra_opts` as flags: true ones alone, false ones and None left out.

        An option whose name holds `matcher` is pickled, in base64.
        """
        options = list(self.options_list)
        for name, value in extra_opts.items():
            if value is True:
                options.append(f"--{name}")
            elif "matcher" in name:
                options.append(f"--{name}={base64.b64encode(pickling.dumps(value)).decode()}")
            elif value:
                options.append(f"--{name}={value}")
        return options

    def get_option(self, opt_name: str, bool_option: bool = False) -> Any:
        """The value of one flag, or None; with `bool_option`, whether the flag is there."""
        parser = argparse.ArgumentParser(add_help=False, allow_abbrev=False)
        opt_name = opt_name.removeprefix("--")
        parser.add_argument(f"--{opt_name}", dest="value", action="store_true" if bool_option else "store")
        known, _ = parser.parse_known_args(self.options_list)
        return known.value
