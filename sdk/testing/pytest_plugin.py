"""The pytest plugin (entry point `pytest11`): `--test-pipeline-options` for every TestPipeline of a test run."""

from __future__ import annotations

from typing import TYPE_CHECKING

if TYPE_CHECKING:
    import pytest


def pytest_addoption(parser: pytest.Parser) -> None:
    """Add the option."""
    parser.getgroup("hornbeam").addoption(
        "--test-pipeline-options",
        default="",
        help="options of all TestPipelines, as one string, such as '--runner=DirectRunner --bundle_size=1'",
    )


def pytest_configure(config: pytest.Config) -> None:
    """Hand the option to TestPipeline."""
    options = config.getoption("--test-pipeline-options", default="")
    if options:
        # Imported only when needed, since pytest loads the plugin for the tests of other projects too.
        from hornbeam.testing.test_pipeline import TestPipeline

        TestPipeline.pytest_test_pipeline_options = options
