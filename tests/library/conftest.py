"""Runs the pipeline tests of the library under several bundling modes."""

from __future__ import annotations

import pytest

from hornbeam.testing.test_pipeline import TestPipeline


@pytest.fixture(params=["", "--bundle_size=1"], ids=["whole", "ones"])
def bundling(request, monkeypatch):
    """Options for every TestPipeline of the test: bundles as the runner likes, and of one element."""
    options = f"{TestPipeline.pytest_test_pipeline_options} {request.param}".strip()
    monkeypatch.setattr(TestPipeline, "pytest_test_pipeline_options", options)
