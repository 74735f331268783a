"""Display data: what a step tells people about itself, shown in drawings and monitoring.

A component lists its items in `display_data()`; an item is a plain value, a `DisplayDataItem`, or another
component whose items are taken in. Nothing here changes what a pipeline computes.
"""

from __future__ import annotations

import calendar
import datetime
import inspect
from collections.abc import Mapping
from typing import TYPE_CHECKING, Any

if TYPE_CHECKING:
    from hornbeam.options.pipeline_options import PipelineOptions

__all__ = ["DisplayData", "DisplayDataItem", "HasDisplayData"]


class HasDisplayData:
    """A component that can be described to people."""

    def display_data(self) -> dict[str, Any]:
        """The items by key: a plain value, a `DisplayDataItem`, or another `HasDisplayData`."""
        return {}

    def _get_display_data_namespace(self) -> str:
        """Whose items these are: the class's dotted name."""
        return f"{type(self).__module__}.{type(self).__name__}"

    _namespace = _get_display_data_namespace


class DisplayDataItem:
    """One value with a label, a URL, and rules for when it is not worth showing."""

    #: The display type of each Python type.
    typeDict: dict[type, str] = {
        str: "STRING",
        int: "INTEGER",
        float: "FLOAT",
        bool: "BOOLEAN",
        datetime.timedelta: "DURATION",
        datetime.datetime: "TIMESTAMP",
    }

    def __init__(
        self,
        value: Any,
        url: str | None = None,
        label: str | None = None,
        namespace: str | None = None,
        key: str | None = None,
        shortValue: Any = None,
    ) -> None:
        self.namespace = namespace
        self.key = key
        self.type = self._get_value_type(value)
        self.shortValue = shortValue if shortValue is not None else self._get_short_value(value, self.type)
        self.value = value
        self.url = url
        self.label = label
        self._drop_if_none = False
        self._drop_if_default = False
        self._default: Any = None

    def drop_if_none(self) -> DisplayDataItem:
        """Do not show the item when its value is None."""
        self._drop_if_none = True
        return self

    def drop_if_default(self, default: Any) -> DisplayDataItem:
        """Do not show the item when its value is `default`."""
        self._default = default
        self._drop_if_default = True
        return self

    def should_drop(self) -> bool:
        """Whether the rules say not to show it."""
        if self._drop_if_none and self.value is None:
            return True
        return self._drop_if_default and bool(self.value == self._default)

    def is_valid(self) -> None:
        """Raise ValueError unless the item has a key, a namespace, a value and a known type."""
        if self.key is None:
            raise ValueError(f"The display data item {self.value!r} has no key.")
        if self.namespace is None:
            raise ValueError(f"The display data item {self.key!r} has no namespace.")
        if self.value is None:
            raise ValueError(f"The display data item {self.key!r} has the value None; use drop_if_none().")
        if self.type is None:
            raise ValueError(
                f"The display data item {self.key!r} has a value of type {type(self.value).__name__}; "
                "it must be a str, int, float, bool, datetime, timedelta or class."
            )

    def get_dict(self) -> dict[str, Any]:
        """The item as plain values; ValueError when it is not valid."""
        self.is_valid()
        item: dict[str, Any] = {
            "key": self.key,
            "namespace": self.namespace,
            "type": self.type,
            "value": self._format_value(self.value, self.type),
        }
        if self.url is not None:
            item["url"] = self.url
        if self.shortValue is not None:
            item["shortValue"] = self.shortValue
        if self.label is not None:
            item["label"] = self.label
        return item

    @classmethod
    def _get_value_type(cls, value: Any) -> str | None:
        if type(value) in cls.typeDict:
            return cls.typeDict[type(value)]
        if isinstance(value, type) or inspect.isroutine(value):
            return "CLASS"
        return next((name for kind, name in cls.typeDict.items() if isinstance(value, kind)), None)

    @staticmethod
    def _get_short_value(value: Any, type_: str | None) -> str | None:
        return getattr(value, "__name__", None) if type_ == "CLASS" else None

    @staticmethod
    def _format_value(value: Any, type_: str | None) -> Any:
        if type_ == "CLASS":
            return f"{value.__module__}.{value.__name__}"
        if type_ == "DURATION":
            return value.total_seconds() * 1000
        if type_ == "TIMESTAMP":
            return calendar.timegm(value.timetuple()) * 1000 + value.microsecond // 1000
        if type_ == "STRING":
            return str(value)
        return value

    def __eq__(self, other: object) -> bool:
        return isinstance(other, DisplayDataItem) and self._comparable() == other._comparable()

    def __hash__(self) -> int:
        return hash((self.namespace, self.key, self.type))

    def _comparable(self) -> tuple[Any, ...]:
        return (self.namespace, self.key, self.type, self.value, self.url, self.label, self.shortValue)

    def __repr__(self) -> str:
        return f"DisplayDataItem({self.key}={self.value!r}, namespace={self.namespace})"


class DisplayData:
    """The items of a component and of the components in it."""

    def __init__(self, namespace: str, display_data_dict: Mapping[str, Any]) -> None:
        self.namespace = namespace
        self.items: list[DisplayDataItem] = []
        self._populate_items(display_data_dict)

    def _populate_items(self, display_data_dict: Mapping[str, Any]) -> None:
        for key, element in display_data_dict.items():
            if isinstance(element, HasDisplayData):
                inner = DisplayData(element._namespace(), element.display_data())
                self.items.extend(inner.items)
            elif isinstance(element, DisplayDataItem):
                if element.should_drop():
                    continue
                element.key = key
                element.namespace = element.namespace or self.namespace
                self.items.append(element)
            else:
                self.items.append(DisplayDataItem(element, namespace=self.namespace, key=key))

    def to_proto(self) -> list[dict[str, Any]]:
        """The items as plain values, as a Graph carries them; what cannot be shown is left out."""
        shown = []
        for item in self.items:
            try:
                shown.append(item.get_dict())
            except ValueError:
                continue
        return shown

    @classmethod
    def create_from_options(cls, pipeline_options: PipelineOptions) -> DisplayData:
        """The options that differ from their defaults."""
        items = {
            key: value if DisplayDataItem._get_value_type(value) else str(value)
            for key, value in pipeline_options.display_data().items()
        }
        kind = type(pipeline_options)
        return cls(f"{kind.__module__}.{kind.__name__}", items)

    @classmethod
    def create_from(
        cls, has_display_data: HasDisplayData, extra_items: Mapping[str, Any] | None = None
    ) -> DisplayData:
        """The items of a component; ValueError when it is none."""
        if not isinstance(has_display_data, HasDisplayData):
            raise ValueError(
                f"Display data needs a HasDisplayData; {type(has_display_data).__name__} is none."
            )
        items = {**has_display_data.display_data(), **(extra_items or {})}
        return cls(has_display_data._namespace(), items)
