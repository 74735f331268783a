"""Resource hints, under Beam's module path; they are defined in `hornbeam.resources`, which Pipeline needs."""

from hornbeam.resources import (
    AcceleratorHint,
    CpuCountHint,
    MaxActiveBundlesPerWorkerHint,
    MinRamHint,
    ResourceHint,
    merge_resource_hints,
    parse_resource_hints,
    resource_hints_from_options,
)

__all__ = [
    "AcceleratorHint",
    "CpuCountHint",
    "MaxActiveBundlesPerWorkerHint",
    "MinRamHint",
    "ResourceHint",
    "merge_resource_hints",
    "parse_resource_hints",
    "resource_hints_from_options",
]
