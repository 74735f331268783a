"""GroupByEncryptedKey: a GroupByKey whose keys and values are unreadable wherever they are stored on the way.

Keys are grouped by their HMAC-SHA256; keys and values travel encrypted by Fernet (AES-128-CBC with HMAC), which
the `cryptography` package provides: `pip install 'hornbeam[encryption]'`.
"""

from __future__ import annotations

import abc
import base64
import hmac
import importlib
import importlib.util
import os
from collections.abc import Iterable, Iterator
from typing import Any, TypeVar

from hornbeam import typehints
from hornbeam.coders import Coder, registry
from hornbeam.error import TransformError
from hornbeam.transforms.core import DoFn, ParDo
from hornbeam.transforms.group import GroupByKey, key_and_value_types
from hornbeam.transforms.ptransform import PTransform
from hornbeam.typehints import Tuple

K = TypeVar("K")
V = TypeVar("V")


class Secret(abc.ABC):
    """Something that knows a secret, such as a key, and fetches it only where and when it is used.

    Only what is needed to fetch the secret should be kept in attributes, since they travel with the pipeline.
    """

    _fetched: bytes | None = None

    @abc.abstractmethod
    def get_secret_bytes(self) -> bytes:
        """Fetch the secret."""

    def get_bytes(self, cacheSecret: bool = True) -> bytes:
        """The secret, fetched once for all calls unless told otherwise."""
        if not cacheSecret:
            return self.get_secret_bytes()
        if self._fetched is None:
            self._fetched = self.get_secret_bytes()
        return self._fetched

    def get_str(self, cacheSecret: bool = True) -> str:
        """The secret as UTF-8 text."""
        return self.get_bytes(cacheSecret).decode("utf-8")

    @staticmethod
    def generate_secret_bytes() -> bytes:
        """A new random key that GroupByEncryptedKey can use: 32 bytes in URL-safe base64."""
        return base64.urlsafe_b64encode(os.urandom(32))

    def __getstate__(self) -> dict[str, Any]:
        return {name: value for name, value in self.__dict__.items() if name != "_fetched"}


class GroupByEncryptedKey(PTransform[Any, Any]):
    """As GroupByKey, with keys and values encrypted by a secret between the two sides of the grouping.

    The result is (key, values). Keys need a deterministic coder. `hmac_key` gives 32 bytes in URL-safe base64,
    as `Secret.generate_secret_bytes` makes them; it is fetched where the work is done.

    >>> import hornbeam as beam
    >>> from hornbeam.transforms.util import Secret
    >>> class KeyInEnvironment(Secret):
    ...     def get_secret_bytes(self):
    ...         return os.environb[b"PIPELINE_KEY"]
    >>> group = lambda: beam.GroupByEncryptedKey(KeyInEnvironment())  # needs hornbeam[encryption]
    """

    def __init__(self, hmac_key: Secret) -> None:
        super().__init__()
        if not isinstance(hmac_key, Secret):
            raise TypeError(f"GroupByEncryptedKey needs a Secret, found {type(hmac_key).__name__}")
        if importlib.util.find_spec("cryptography") is None:
            raise TransformError(
                "GroupByEncryptedKey needs the package cryptography: pip install 'hornbeam[encryption]'"
            )
        self._hmac_key = hmac_key

    def expand(self, pcoll: Any) -> Any:
        """Encrypt, group by the keys' HMAC, decrypt."""
        key_type, value_type = key_and_value_types(pcoll.element_type)
        key_coder = registry.get_coder(key_type).as_deterministic_coder(self.label)
        value_coder = registry.get_coder(value_type)
        encrypt = ParDo(_Encrypt(self._hmac_key, key_coder, value_coder)).with_input_types(Tuple[K, V])
        decrypt = ParDo(_Decrypt(self._hmac_key, key_coder, value_coder)).with_output_types(
            Tuple[key_type, typehints.Iterable[value_type]]
        )
        return (
            pcoll
            | "Encrypt" >> encrypt.with_output_types(Tuple[bytes, Tuple[bytes, bytes]])
            | GroupByKey()
            | "Decrypt" >> decrypt
        )


class _Encrypt(DoFn):
    """(key, value) to (HMAC of the key, (encrypted key, encrypted value))."""

    def __init__(self, secret: Secret, key_coder: Coder, value_coder: Coder) -> None:
        super().__init__()
        self._secret = secret
        self._key_coder = key_coder
        self._value_coder = value_coder

    def setup(self) -> None:
        """Fetch the secret."""
        self._key = self._secret.get_bytes()
        self._cipher = _cipher(self._key)

    def process(self, element: tuple[Any, Any]) -> Iterator[tuple[bytes, tuple[bytes, bytes]]]:
        """Encode, then encrypt."""
        key, value = element
        encoded = self._key_coder.encode(key)
        digest = hmac.digest(self._key, encoded, "sha256")
        yield digest, (self._cipher.encrypt(encoded), self._cipher.encrypt(self._value_coder.encode(value)))


class _Decrypt(DoFn):
    """(HMAC, encrypted pairs) to (key, values)."""

    def __init__(self, secret: Secret, key_coder: Coder, value_coder: Coder) -> None:
        super().__init__()
        self._secret = secret
        self._key_coder = key_coder
        self._value_coder = value_coder

    def setup(self) -> None:
        """Fetch the secret."""
        self._cipher = _cipher(self._secret.get_bytes())

    def process(
        self, element: tuple[bytes, Iterable[tuple[bytes, bytes]]]
    ) -> Iterator[tuple[Any, list[Any]]]:
        """Decrypt, then decode."""
        _, pairs = element
        rest = iter(pairs)
        encrypted_key, first = next(rest)
        key = self._key_coder.decode(self._cipher.decrypt(encrypted_key))
        values = [first, *(value for _, value in rest)]
        yield key, [self._value_coder.decode(self._cipher.decrypt(value)) for value in values]


def _cipher(key: bytes) -> Any:
    return importlib.import_module("cryptography.fernet").Fernet(key)
