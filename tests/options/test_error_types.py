"""The error types stand where Beam's documentation, and our three roots, promise."""

from __future__ import annotations

import pickle

import pytest

from hornbeam import error
from hornbeam.typehints import TypeCheckError


@pytest.mark.parametrize(
    ("kind", "bases"),
    [
        (error.PipelineError, (error.BeamError,)),
        (error.DataError, (error.BeamError,)),
        (error.InternalError, (error.BeamError,)),
        (error.RunnerError, (error.BeamError,)),
        (error.PValueError, (error.PipelineError,)),
        (error.SideInputError, (error.PipelineError,)),
        (error.TransformError, (error.PipelineError,)),
        (error.OptionError, (error.PipelineError, ValueError)),
        (error.RuntimeValueProviderError, (error.PipelineError, RuntimeError)),
        (TypeCheckError, (error.PipelineError, TypeError)),
    ],
)
def test_bases(kind: type[Exception], bases: tuple[type, ...]) -> None:
    assert all(issubclass(kind, base) for base in bases)
    again = pickle.loads(pickle.dumps(kind("what went wrong")))
    assert type(again) is kind and str(again) == "what went wrong"


def test_the_roots_are_apart() -> None:
    roots = (error.PipelineError, error.DataError, error.InternalError)
    for one in roots:
        assert [issubclass(one, other) for other in roots].count(True) == 1


def test_all_names_are_exported() -> None:
    made_here = {
        name
        for name, value in vars(error).items()
        if isinstance(value, type) and value.__module__ == error.__name__
    }
    assert made_here == set(error.__all__)
