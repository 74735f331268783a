"""Settings of a topic: a frozen value that checks itself and has a JSON form."""

from __future__ import annotations

from collections.abc import Mapping
from typing import Any

import attrs

from hornbeam.storage.log.compression import CODECS
from hornbeam.storage.log.errors import InvalidSettingError

MIB = 1 << 20


def _at_least(minimum: int) -> Any:
    def check(_: Any, attribute: attrs.Attribute[Any], value: Any) -> None:
        if value is not None and (not isinstance(value, int) or isinstance(value, bool) or value < minimum):
            raise InvalidSettingError(f"{attribute.name} must be a whole number >= {minimum}, not {value!r}")

    return check


def _one_of(*names: str) -> Any:
    def check(_: Any, attribute: attrs.Attribute[Any], value: Any) -> None:
        if value not in names:
            raise InvalidSettingError(f"{attribute.name} must be one of {', '.join(names)}, not {value!r}")

    return check


@attrs.frozen(kw_only=True)
class TopicSettings:
    """How a topic keeps its records. None means: no limit.

    `cleanup`: "delete" drops whole segments by retention_ms (since they were appended) and retention_bytes
    (per partition); "compact" keeps the last record of every key; "compact,delete" does both.
    `visibility`: "written" shows a record to consumers once it is in the log, "durable" once it is on the disk
    (every append to such a topic waits for the fsync).
    """

    segment_bytes: int = attrs.field(default=128 * MIB, validator=_at_least(1024))
    segment_ms: int | None = attrs.field(default=7 * 86_400_000, validator=_at_least(1))
    index_interval_bytes: int = attrs.field(default=64 * 1024, validator=_at_least(1))
    batch_bytes_max: int = attrs.field(default=64 * MIB, validator=_at_least(256))
    compression: str = attrs.field(default="none", validator=_one_of(*CODECS))
    cleanup: str = attrs.field(default="delete", validator=_one_of("delete", "compact", "compact,delete"))
    retention_ms: int | None = attrs.field(default=None, validator=_at_least(0))
    retention_bytes: int | None = attrs.field(default=None, validator=_at_least(0))
    delete_retention_ms: int = attrs.field(default=86_400_000, validator=_at_least(0))
    producer_expiry_ms: int = attrs.field(default=7 * 86_400_000, validator=_at_least(1))
    visibility: str = attrs.field(default="written", validator=_one_of("written", "durable"))

    @property
    def compacted(self) -> bool:
        """Whether old values of a key are removed."""
        return self.cleanup.startswith("compact")

    @property
    def deletes(self) -> bool:
        """Whether segments are dropped by age and size."""
        return self.cleanup.endswith("delete")

    def to_json(self) -> dict[str, Any]:
        """All settings by name."""
        return attrs.asdict(self)

    @classmethod
    def from_json(cls, fields: Mapping[str, Any]) -> TopicSettings:
        """From `to_json`, of this or an older version."""
        return cls(**fields)

    def with_changes(self, changes: Mapping[str, Any]) -> TopicSettings:
        """A copy with some settings replaced; InvalidSettingError names one that does not exist."""
        names = {field.name for field in attrs.fields(TopicSettings)}
        for name in changes:
            if name not in names:
                raise InvalidSettingError(f"no topic setting {name!r}; there are {', '.join(sorted(names))}")
        return attrs.evolve(self, **changes)
