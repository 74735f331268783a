"""The options of the pipeline that is being built or run in this thread or task."""

from __future__ import annotations

from collections.abc import Iterator
from contextlib import contextmanager
from contextvars import ContextVar

from hornbeam.options.view import PipelineOptions

__all__ = ["get_pipeline_options", "scoped_pipeline_options"]

_options: ContextVar[PipelineOptions | None] = ContextVar("pipeline_options", default=None)


def get_pipeline_options() -> PipelineOptions | None:
    """The options of the innermost `scoped_pipeline_options`; None outside of all."""
    return _options.get()


@contextmanager
def scoped_pipeline_options(options: PipelineOptions | None) -> Iterator[None]:
    """Makes `get_pipeline_options` answer `options` inside the block."""
    token = _options.set(options)
    try:
        yield
    finally:
        _options.reset(token)
