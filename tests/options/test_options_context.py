"""The options of the pipeline being built."""

from __future__ import annotations

import threading

from hornbeam.options.pipeline_options import PipelineOptions
from hornbeam.options.pipeline_options_context import get_pipeline_options, scoped_pipeline_options


def test_scopes_nest_and_end() -> None:
    outer, inner = PipelineOptions([]), PipelineOptions([])
    assert get_pipeline_options() is None
    with scoped_pipeline_options(outer):
        assert get_pipeline_options() is outer
        try:
            with scoped_pipeline_options(inner):
                assert get_pipeline_options() is inner
                raise RuntimeError
        except RuntimeError:
            pass
        assert get_pipeline_options() is outer
    assert get_pipeline_options() is None


def test_threads_have_their_own() -> None:
    seen = []
    with scoped_pipeline_options(PipelineOptions([])):
        thread = threading.Thread(target=lambda: seen.append(get_pipeline_options()))
        thread.start()
        thread.join()
    assert seen == [None]
