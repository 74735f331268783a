"""All option classes, under the module path that users know from Beam."""

from __future__ import annotations

from hornbeam.options.byte_size import default_memory_limit, parse_bytes
from hornbeam.options.cloud_options import (
    AzureOptions,
    FlinkRunnerOptions,
    GoogleCloudOptions,
    HadoopFileSystemOptions,
    PortableOptions,
    PrismRunnerOptions,
    S3Options,
    SparkRunnerOptions,
)
from hornbeam.options.direct_options import DirectOptions
from hornbeam.options.log_options import LogOptions
from hornbeam.options.multiprocess_options import MultiProcessOptions
from hornbeam.options.standard_options import (
    DebugOptions,
    ProfilingOptions,
    SetupOptions,
    StandardOptions,
    StreamingOptions,
    TestOptions,
    TypeOptions,
    WorkerOptions,
)
from hornbeam.options.view import PipelineOptions

__all__ = [
    "AzureOptions",
    "DebugOptions",
    "DirectOptions",
    "FlinkRunnerOptions",
    "GoogleCloudOptions",
    "HadoopFileSystemOptions",
    "LogOptions",
    "MultiProcessOptions",
    "PipelineOptions",
    "PortableOptions",
    "PrismRunnerOptions",
    "ProfilingOptions",
    "S3Options",
    "SetupOptions",
    "SparkRunnerOptions",
    "StandardOptions",
    "StreamingOptions",
    "TestOptions",
    "TypeOptions",
    "WorkerOptions",
    "default_memory_limit",
    "parse_bytes",
]
