"""Display data, under Beam's module path; it is defined in `hornbeam.display`, which Pipeline needs too."""

from hornbeam.display import DisplayData, DisplayDataItem, HasDisplayData

__all__ = ["DisplayData", "DisplayDataItem", "HasDisplayData"]
