"""The partitioned log: topics of partitions of checksummed record batches, for one machine and several processes,
embedded, without a server. FORMAT.md gives the bytes; docs/log.md shows the use.

May import `hornbeam.storage.files` and errors, numpy, pyarrow (late), nothing else of hornbeam.

To change how a batch looks on disk, open `record_batch`; the segment files, `segment` and `sparse_index`; appending,
locking and fsync, `partition`; opening after a crash, `recovery`; reading, `partition_reader`; what processes
share, `shared_words`, `bell`; how records become batches, `producer` and `record_buffer`, and reach the log, `batch_sender`
and `delivery`; duplicates and fencing, `producer_state`; transactions, `transaction`; groups, `group`, `assignment`,
`offset_store`; space, `retention`, `compaction`; checking and repair, `verify`.
"""

from hornbeam.storage.log.consumer import Consumer
from hornbeam.storage.log.delivery import Appended, Delivery
from hornbeam.storage.log.errors import (
    ClosedError,
    ForkedError,
    FormatVersionError,
    InvalidSettingError,
    LogError,
    MemberFencedError,
    OffsetOutOfRangeError,
    ProducerFencedError,
    RecordTooLargeError,
    SequenceError,
    TopicDeletedError,
    TopicExistsError,
    TransactionAbortedError,
    TransactionError,
    UnknownPartitionError,
    UnknownTopicError,
)
from hornbeam.storage.log.log import Log
from hornbeam.storage.log.producer import Producer
from hornbeam.storage.log.record import Record
from hornbeam.storage.log.record_batch import RecordBatch
from hornbeam.storage.log.settings import TopicSettings

__all__ = [
    "Appended",
    "ClosedError",
    "Consumer",
    "Delivery",
    "ForkedError",
    "FormatVersionError",
    "InvalidSettingError",
    "Log",
    "LogError",
    "MemberFencedError",
    "OffsetOutOfRangeError",
    "Producer",
    "ProducerFencedError",
    "Record",
    "RecordBatch",
    "RecordTooLargeError",
    "SequenceError",
    "TopicDeletedError",
    "TopicExistsError",
    "TopicSettings",
    "TransactionAbortedError",
    "TransactionError",
    "UnknownPartitionError",
    "UnknownTopicError",
]
