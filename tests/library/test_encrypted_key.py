"""GroupByEncryptedKey: groups as GroupByKey does, and nothing readable in between; Secret."""

from __future__ import annotations

import importlib.util
import pickle

import pytest

import hornbeam as beam
from hornbeam.error import PipelineError
from hornbeam.testing.test_pipeline import TestPipeline
from hornbeam.testing.util import assert_that, equal_to
from hornbeam.transforms.encrypted_key import _Encrypt

KEY = b"AAECAwQFBgcICQoLDA0ODxAREhMUFRYXGBkaGxwdHh8="
has_cryptography = importlib.util.find_spec("cryptography") is not None


class FixedSecret(beam.Secret):
    fetches = 0

    def get_secret_bytes(self):
        type(self).fetches += 1
        return KEY


def test_secret_is_fetched_once_and_does_not_travel():
    FixedSecret.fetches = 0
    secret = FixedSecret()
    assert secret.get_bytes() == secret.get_bytes() == KEY
    assert secret.get_str() == KEY.decode()
    assert FixedSecret.fetches == 1
    secret.get_bytes(cacheSecret=False)
    assert FixedSecret.fetches == 2
    assert KEY not in pickle.dumps(secret)
    assert KEY.decode() not in repr(vars(pickle.loads(pickle.dumps(secret))))


def test_generated_secrets_differ():
    assert len(beam.Secret.generate_secret_bytes()) == 44
    assert beam.Secret.generate_secret_bytes() != beam.Secret.generate_secret_bytes()


@pytest.mark.skipif(has_cryptography, reason="cryptography is installed")
def test_says_what_to_install():
    with pytest.raises(PipelineError, match=r"pip install 'hornbeam\[encryption\]'"):
        beam.GroupByEncryptedKey(FixedSecret())


def test_needs_a_secret():
    with pytest.raises(TypeError, match="needs a Secret, found bytes"):
        beam.GroupByEncryptedKey(KEY)


@pytest.mark.skipif(not has_cryptography, reason="needs cryptography")
def test_groups():
    with TestPipeline() as p:
        pairs = p | beam.Create([("a", 1), ("b", 2), ("a", 3)])
        grouped = (
            pairs | beam.GroupByEncryptedKey(FixedSecret()) | beam.MapTuple(lambda k, vs: (k, sorted(vs)))
        )
        assert_that(grouped, equal_to([("a", [1, 3]), ("b", [2])]))


@pytest.mark.skipif(not has_cryptography, reason="needs cryptography")
def test_nothing_readable_between():
    fn = _Encrypt(FixedSecret(), beam.coders.StrUtf8Coder(), beam.coders.StrUtf8Coder())
    fn.setup()
    (first,) = fn.process(("the key", "the value"))
    (second,) = fn.process(("the key", "the value"))
    assert first[0] == second[0] and first[1] != second[1]
    assert b"the" not in pickle.dumps(first)
