"""Reading and writing: sources, sinks, file systems, and the connectors built on them.

May import everything in authoring (coders, options, metrics, pvalue, transforms) and storage; never a runner.

To change what a source or a reader's range is, open `source`, `range_trackers`, `concat_source`; `Read`, `read`; what
splittable DoFns hold, `restriction`, `restriction_trackers`, `step_tracker`, `watermark_estimators`; what has no end,
`unbounded_source`, `watch`, `tail` and the `tailed_files` below it; a sink and the steps of a write,
`sink`, `write`; files of any format, `filebasedsource`, `filebasedsink`, `read_all`, `shard_names`, `temporaries`;
paths and globs, `filesystem`, `filesystems`, `localfilesystem`; compressed files, `compression`; text, `textio` and
the `text_source`, `record_scanner`, `text_sink` behind it; files as elements, `fileio`, with `file_writes` and
`file_naming`. Files of streams, `staged_files` and `windowed_files`; sinks that become visible with a checkpoint,
`two_phase`, and where they stage, `staging_topic`; the log, `logio` with `log_read`, `log_cursor`, `log_partition`,
`log_write` behind it; Kafka, `kafka` with `kafka_read`, `kafka_write`, `kafka_config`, `kafka_serializers`, and for
commits `kafka_publisher` and `commit_journal`. `iobase` is Beam's module path for the general parts.
"""

from hornbeam.io.filebasedsink import FileBasedSink
from hornbeam.io.iobase import Read, Sink, Write, Writer
from hornbeam.io.range_trackers import (
    LexicographicKeyRangeTracker,
    OffsetRangeTracker,
    OrderedPositionRangeTracker,
    UnsplittableRangeTracker,
)
from hornbeam.io.textio import (
    ReadAllFromText,
    ReadAllFromTextContinuously,
    ReadFromText,
    ReadFromTextWithFilename,
    WriteToText,
)

__all__ = [
    "FileBasedSink",
    "LexicographicKeyRangeTracker",
    "OffsetRangeTracker",
    "OrderedPositionRangeTracker",
    "Read",
    "ReadAllFromText",
    "ReadAllFromTextContinuously",
    "ReadFromText",
    "ReadFromTextWithFilename",
    "Sink",
    "UnsplittableRangeTracker",
    "Write",
    "WriteToText",
    "Writer",
]
