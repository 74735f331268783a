"""Utility transforms under Beam's module path; each lives in the module its import names."""

from __future__ import annotations

from hornbeam.transforms.batching import BatchElements, SortAndBatchElements
from hornbeam.transforms.cogroup import CoGroupByKey
from hornbeam.transforms.encrypted_key import GroupByEncryptedKey, Secret
from hornbeam.transforms.group_into_batches import GroupIntoBatches
from hornbeam.transforms.keyed import Distinct, Keys, KvSwap, RemoveDuplicates, Values, WithKeys
from hornbeam.transforms.log_elements import LogElements
from hornbeam.transforms.regex import Regex
from hornbeam.transforms.reify import Reify
from hornbeam.transforms.reshuffle import Reshuffle, ReshufflePerKey
from hornbeam.transforms.tostring import ToString
from hornbeam.transforms.wait import Tee, WaitOn

__all__ = [
    "BatchElements",
    "CoGroupByKey",
    "Distinct",
    "GroupByEncryptedKey",
    "GroupIntoBatches",
    "Keys",
    "KvSwap",
    "LogElements",
    "Regex",
    "Reify",
    "RemoveDuplicates",
    "Reshuffle",
    "ReshufflePerKey",
    "Secret",
    "SortAndBatchElements",
    "Tee",
    "ToString",
    "Values",
    "WaitOn",
    "WithKeys",
]
