"""Matchers for the result of a run: its state, and the files it wrote."""

from __future__ import annotations

import glob
import time
from typing import Any

from hornbeam.testing.matching import Description, ResultMatcher
from hornbeam.testing.test_utils import compute_hash

__all__ = ["FileChecksumMatcher", "PipelineStateMatcher", "retry_on_io_error_and_server_error"]

#: How often, and at what interval, files that are not there yet are looked for.
_ATTEMPTS = 4
_RETRY_SECS = 0.5


def retry_on_io_error_and_server_error(exception: BaseException) -> bool:
    """Whether a failure to read output is worth another attempt."""
    return isinstance(exception, OSError)


class PipelineStateMatcher(ResultMatcher):
    """Matches a PipelineResult whose state is the expected one, DONE unless given."""

    def __init__(self, expected_state: str = "DONE") -> None:
        self.expected_state = expected_state

    def _matches(self, pipeline_result: Any) -> bool:
        return str(pipeline_result.state) == str(self.expected_state)

    def describe_to(self, description: Description) -> None:
        """Write the state wanted."""
        description.append_text(f"a pipeline in state {self.expected_state}")

    def describe_mismatch(self, pipeline_result: Any, mismatch_description: Description) -> None:
        """Write the state found."""
        mismatch_description.append_text(f"its state was {pipeline_result.state}")


class FileChecksumMatcher(ResultMatcher):
    """Matches any result, when the lines of the files that match a pattern have the expected checksum.

    The checksum is `compute_hash` of all lines, without their newlines, whatever their order.
    `sleep_secs` is how long to wait first.
    """

    def __init__(self, file_path: str, expected_checksum: str, sleep_secs: float | None = None) -> None:
        if sleep_secs is not None and not isinstance(sleep_secs, int | float):
            raise ValueError(f"sleep_secs must be a number of seconds, found {sleep_secs!r}")
        self.file_path = file_path
        self.expected_checksum = expected_checksum
        self.sleep_secs = sleep_secs
        self.checksum: str | None = None

    def _matches(self, pipeline_result: Any) -> bool:
        if self.sleep_secs:
            time.sleep(self.sleep_secs)
        self.checksum = compute_hash(self._read_with_retries())
        return self.checksum == self.expected_checksum

    def describe_to(self, description: Description) -> None:
        """Write the checksum wanted."""
        description.append_text(f"the files {self.file_path} with checksum {self.expected_checksum}")

    def describe_mismatch(self, pipeline_result: Any, mismatch_description: Description) -> None:
        """Write the checksum found."""
        mismatch_description.append_text(f"the checksum was {self.checksum}")

    def _read_with_retries(self) -> list[str]:
        for attempt in range(1, _ATTEMPTS + 1):
            try:
                return _read_lines(self.file_path)
            except Exception as error:
                if attempt == _ATTEMPTS or not retry_on_io_error_and_server_error(error):
                    raise
            time.sleep(_RETRY_SECS)
        raise AssertionError("the last attempt returns or raises")


def _read_lines(pattern: str) -> list[str]:
    paths = sorted(glob.glob(pattern))
    if not paths:
        raise FileNotFoundError(f"no file matches {pattern}")
    lines: list[str] = []
    for path in paths:
        with open(path, encoding="utf-8", newline="\n") as file:
            lines.extend(line.removesuffix("\n") for line in file)
    return lines
