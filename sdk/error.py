"""The error types: whose fault a failure is, and Beam's names for the documented cases.

Three roots say who has to act: `PipelineError` (the pipeline's author), `DataError` (whoever owns the data or
the files) and `InternalError` (us). All of them are `BeamError`, so code written against Beam catches them.
"""

from __future__ import annotations

__all__ = [
    "BeamError",
    "DataError",
    "InternalError",
    "NotSupportedError",
    "OptionError",
    "PValueError",
    "PipelineError",
    "RunnerError",
    "RuntimeValueProviderError",
    "SideInputError",
    "TransformError",
]


class BeamError(Exception):
    """Root of every error that hornbeam raises on purpose."""


class PipelineError(BeamError):
    """The author of the pipeline has to change something: a wrong graph, argument, type or option."""


class DataError(BeamError):
    """The data or a file is at fault: missing, unreadable, corrupt, or not of the promised form."""


class InternalError(BeamError):
    """A broken promise inside hornbeam; never the user's fault. Please report it."""


class NotSupportedError(PipelineError, NotImplementedError):
    """The pipeline asks for a part of the model that the runner, or this version, does not have."""


class PValueError(PipelineError):
    """A PCollection (or another PValue) was used where it cannot be, or its value is not to be had."""


class SideInputError(PipelineError):
    """A side input has not the form that its view needs, such as a singleton view over many elements."""


class TransformError(PipelineError):
    """A transform was built or applied in a way that it does not allow."""


class OptionError(PipelineError, ValueError):
    """A pipeline option has a value that cannot be read, or is missing although it is required."""


class RunnerError(BeamError):
    """A runner could not start, run or finish a pipeline."""


class RuntimeValueProviderError(PipelineError, RuntimeError):
    """A value that is only known at run time was asked for earlier, or has the wrong type."""
