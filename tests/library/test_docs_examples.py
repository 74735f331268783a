"""The examples in the docstrings of hornbeam.transforms and hornbeam.testing run and give what they say."""

from __future__ import annotations

import doctest
import importlib
import pkgutil

import pytest

import hornbeam.testing
import hornbeam.transforms

MODULES = sorted(
    f"{package.__name__}.{module.name}"
    for package in (hornbeam.transforms, hornbeam.testing)
    for module in pkgutil.iter_modules(package.__path__)
)

#: Transforms every user meets first; each must show an example.
SHOWN = [
    "BatchElements", "CoGroupByKey", "Distinct", "GroupIntoBatches", "Keys", "KvSwap", "LogElements", "Reshuffle",
    "SortAndBatchElements", "Tee", "Values", "WaitOn", "WithKeys",
]  # fmt: skip


@pytest.mark.parametrize("name", MODULES)
def test_examples(name):
    module = importlib.import_module(name)
    failed, _ = doctest.testmod(module, optionflags=doctest.NORMALIZE_WHITESPACE | doctest.ELLIPSIS)
    assert failed == 0


@pytest.mark.parametrize("name", SHOWN)
def test_transform_has_an_example(name):
    assert ">>>" in (getattr(hornbeam, name).__doc__ or "")
