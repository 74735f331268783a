"""Resource hints: what a step asks of the machine that runs it (memory, processors, accelerators).

A hint given to a composite holds for the steps in it; each kind of hint says how an outer and an inner value
are merged. Local runners may ignore them; they are carried in the graph.
"""

from __future__ import annotations

import re
from collections.abc import Mapping
from typing import Any, ClassVar

from hornbeam.options.pipeline_options import PipelineOptions, StandardOptions

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


class ResourceHint:
    """A kind of hint: its URN, how its value is read, and how two values merge (here: the inner one wins)."""

    urn: ClassVar[str] = ""

    _by_name: ClassVar[dict[str, type[ResourceHint]]] = {}
    _by_urn: ClassVar[dict[str, type[ResourceHint]]] = {}

    @classmethod
    def parse(cls, value: str) -> dict[str, bytes]:
        """The hint as URN and bytes."""
        return {cls.urn: str(value).encode("ascii")}

    @classmethod
    def get_merged_value(cls, outer_value: bytes, inner_value: bytes) -> bytes:
        """The value for a step with `inner_value` inside a composite with `outer_value`."""
        return inner_value

    @staticmethod
    def get_by_urn(urn: str) -> type[ResourceHint]:
        """The kind of hint with this URN; KeyError when there is none."""
        return ResourceHint._by_urn[urn]

    @staticmethod
    def get_by_name(name: str) -> type[ResourceHint]:
        """The kind of hint with this name; KeyError when there is none."""
        return ResourceHint._by_name[name]

    @staticmethod
    def is_registered(name: str) -> bool:
        """Whether a kind of hint has this name."""
        return name in ResourceHint._by_name

    @staticmethod
    def register_resource_hint(hint_name: str, hint_class: type[ResourceHint]) -> None:
        """Make a kind of hint known by name and URN; ValueError when either is taken by another kind."""
        for known, key in ((ResourceHint._by_name, hint_name), (ResourceHint._by_urn, hint_class.urn)):
            if known.get(key, hint_class) is not hint_class:
                raise ValueError(
                    f"The resource hint {key!r} is already registered for {known[key].__name__}."
                )
        ResourceHint._by_name[hint_name] = hint_class
        ResourceHint._by_urn[hint_class.urn] = hint_class


class AcceleratorHint(ResourceHint):
    """The accelerators that a step wants, such as `type:nvidia-l4;count:1`."""

    urn = "beam:resources:accelerator:v1"


class MinRamHint(ResourceHint):
    """The memory that a worker should have at least; the largest hint wins."""

    urn = "beam:resources:min_ram_bytes:v1"

    @classmethod
    def parse(cls, value: str) -> dict[str, bytes]:
        """Bytes as a number, or as text with a unit: `16GB`, `1.5 GiB`."""
        return {cls.urn: str(_parse_size(value)).encode("ascii")}

    @classmethod
    def get_merged_value(cls, outer_value: bytes, inner_value: bytes) -> bytes:
        """The larger one."""
        return _larger(outer_value, inner_value)


class CpuCountHint(ResourceHint):
    """The processors that a worker should have at least; the largest hint wins."""

    urn = "beam:resources:cpu_count:v1"

    @classmethod
    def get_merged_value(cls, outer_value: bytes, inner_value: bytes) -> bytes:
        """The larger one."""
        return _larger(outer_value, inner_value)


class MaxActiveBundlesPerWorkerHint(ResourceHint):
    """How many bundles a worker may process at a time; the smallest hint wins."""

    urn = "beam:resources:max_active_bundles_per_worker:v1"

    @classmethod
    def get_merged_value(cls, outer_value: bytes, inner_value: bytes) -> bytes:
        """The smaller one."""
        return str(min(int(outer_value), int(inner_value))).encode("ascii")


for _name, _kind in {
    "accelerator": AcceleratorHint,
    "min_ram": MinRamHint,
    "minRam": MinRamHint,
    "cpu_count": CpuCountHint,
    "cpuCount": CpuCountHint,
    "max_active_bundles_per_worker": MaxActiveBundlesPerWorkerHint,
    "maxActiveBundlesPerWorker": MaxActiveBundlesPerWorkerHint,
}.items():
    ResourceHint.register_resource_hint(_name, _kind)

_UNITS = {
    unit + suffix: factor ** (power + 1)
    for power, unit in enumerate("KMGTP")
    for suffix, factor in (("B", 1000), ("iB", 1024))
} | {"B": 1, "": 1}


def _parse_size(value: str | int) -> int:
    """Bytes out of a number or text such as `16GB`; ValueError for anything else."""
    if isinstance(value, int):
        return value
    match = re.fullmatch(r"\s*(\d+(?:\.\d+)?)\s*([A-Za-z]*)\s*", str(value))
    if match is None or match[2] not in _UNITS:
        raise ValueError(f"min_ram must be a size such as '16GB' or '512 MiB'; it is {value!r}.")
    return int(float(match[1]) * _UNITS[match[2]])


def _larger(outer_value: bytes, inner_value: bytes) -> bytes:
    return str(max(int(outer_value), int(inner_value))).encode("ascii")


def parse_resource_hints(hints: Mapping[str, Any]) -> dict[str, bytes]:
    """Named hints as URNs and bytes; ValueError for a name that is not registered.

    A value of None, an empty string or 0 states no hint.
    """
    parsed: dict[str, bytes] = {}
    for name, value in hints.items():
        if not ResourceHint.is_registered(name):
            known = ", ".join(sorted(ResourceHint._by_name))
            raise ValueError(f"Unknown resource hint {name!r}; there are {known}.")
        if not value:
            continue
        parsed.update(ResourceHint.get_by_name(name).parse(value))
    return parsed


def resource_hints_from_options(options: PipelineOptions | None) -> dict[str, bytes]:
    """The hints given as `--resource_hints name=value` options; ValueError for one without `=`."""
    if options is None:
        return {}
    stated = options.view_as(StandardOptions).resource_hints or ()
    hints: dict[str, str] = {}
    for hint in stated:
        name, equals, value = hint.partition("=")
        if not equals:
            raise ValueError(f"--resource_hints needs name=value; it is {hint!r}.")
        hints[name] = value
    return parse_resource_hints(hints)


def merge_resource_hints(
    outer_hints: Mapping[str, bytes], inner_hints: Mapping[str, bytes]
) -> dict[str, bytes]:
    """The hints of a step inside a composite that has hints of its own."""
    merged = dict(inner_hints)
    for urn, outer_value in outer_hints.items():
        if urn in inner_hints:
            merged[urn] = ResourceHint.get_by_urn(urn).get_merged_value(outer_value, inner_hints[urn])
        else:
            merged[urn] = outer_value
    return merged
