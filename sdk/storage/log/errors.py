"""What the log raises when it is used wrongly or refuses: roots in LogError. Failures of the disk and damaged
files are `hornbeam.storage.errors.StorageError` and its CorruptionError instead.
"""

from __future__ import annotations


class LogError(Exception):
    """Root of the log's refusals."""


class InvalidSettingError(LogError, ValueError):
    """A topic setting or client argument has no meaning; the message says what would be accepted."""


class UnknownTopicError(LogError, LookupError):
    """No topic of that name."""


class UnknownPartitionError(LogError, LookupError):
    """The topic has no such partition."""


class TopicExistsError(LogError):
    """A topic of that name is there already."""


class TopicDeletedError(LogError):
    """The topic was deleted while it was in use."""


class OffsetOutOfRangeError(LogError):
    """The offset lies before the log start offset or beyond the end."""

    def __init__(self, topic: str, partition: int, offset: int, start: int, end: int) -> None:
        super().__init__(topic, partition, offset, start, end)
        self.topic, self.partition, self.offset, self.start, self.end = topic, partition, offset, start, end

    def __str__(self) -> str:
        return (
            f"offset {self.offset} of {self.topic}-{self.partition} is outside of what it holds: "
            f"{self.start} to {self.end}"
        )


class RecordTooLargeError(LogError, ValueError):
    """A batch would pass the topic's batch_bytes_max."""


class SequenceError(LogError):
    """An idempotent producer's batch is neither the next one nor a repeat of a recent one."""


class ProducerFencedError(LogError):
    """A newer producer with the same transactional id took over; this one must stop."""


class TransactionError(LogError):
    """A transactional call came at the wrong moment, or the transaction cannot go on."""


class TransactionAbortedError(TransactionError):
    """The transaction was aborted (by timeout, or because its producer was taken for dead)."""


class MemberFencedError(LogError):
    """The consumer is no longer a member of its group, or does not hold that partition now."""


class ClosedError(LogError):
    """The object was closed."""


class ForkedError(LogError):
    """The log was opened before a fork; the child must open its own."""


class FormatVersionError(LogError):
    """The files are of a newer format than this version of hornbeam reads."""


class UnsettledError(LogError):
    """A partition's files are being swapped; look again. Only modules of the log see it."""
