"""Asks every option class for the mistakes in its options."""

from __future__ import annotations

from typing import Any

from hornbeam.options.pipeline_options import (
    AzureOptions,
    DebugOptions,
    GoogleCloudOptions,
    HadoopFileSystemOptions,
    MultiProcessOptions,
    PipelineOptions,
    ProfilingOptions,
    SetupOptions,
    TestOptions,
    TypeOptions,
    WorkerOptions,
)

__all__ = ["PipelineOptionsValidator"]


class PipelineOptionsValidator:
    """Collects what is wrong with the options of a pipeline before it runs."""

    #: The classes that are asked, each by `validate(validator) -> list of messages`.
    OPTIONS: tuple[type[PipelineOptions], ...] = (
        DebugOptions,
        GoogleCloudOptions,
        AzureOptions,
        HadoopFileSystemOptions,
        SetupOptions,
        TypeOptions,
        WorkerOptions,
        MultiProcessOptions,
        ProfilingOptions,
        TestOptions,
    )

    def __init__(self, options: PipelineOptions, runner: Any = None) -> None:
        self.options = options
        self.runner = runner

    def validate(self) -> list[str]:
        """The messages of all classes; empty when all is well. Raises OptionError for unreadable values."""
        errors: list[str] = []
        for cls in self.OPTIONS:
            errors.extend(self.options.view_as(cls).validate(self))
        return errors
