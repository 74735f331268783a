"""The model suite: every case of the table, on every runner, under every way of cutting the work into bundles."""

from __future__ import annotations

import pytest
from model import (  # noqa: F401 (importing a module of cases adds them to the table)
    cases_calls,
    cases_combining,
    cases_grouping,
    cases_pardo,
    cases_shapes,
    cases_side_inputs,
    cases_sources,
    cases_state,
    cases_state_bounded,
    cases_stream_sides,
    cases_streams,
    cases_triggers,
    cases_windows,
)
from model.table import TABLE, check


@pytest.mark.parametrize("name", TABLE)
def test_model(name, options, tmp_path):
    check(TABLE[name], options, tmp_path)
