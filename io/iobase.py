"""Reading and writing in general, under Beam's module path: sources, trackers, sinks, `Read` and `Write`."""

from hornbeam.io.read import Read
from hornbeam.io.restriction import RestrictionProgress, RestrictionTracker, WatermarkEstimator
from hornbeam.io.sink import Sink, Writer
from hornbeam.io.source import BoundedSource, RangeTracker, SourceBase, SourceBundle
from hornbeam.io.write import Write

__all__ = [
    "BoundedSource",
    "RangeTracker",
    "Read",
    "RestrictionProgress",
    "RestrictionTracker",
    "Sink",
    "SourceBase",
    "SourceBundle",
    "WatermarkEstimator",
    "Write",
    "Writer",
]
