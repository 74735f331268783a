"""What is wrong with a graph, or with a file that should hold one."""

from __future__ import annotations

from hornbeam.error import PipelineError


class GraphError(PipelineError, ValueError):
    """A graph that contradicts itself, or text that is not a graph of a version known here."""
