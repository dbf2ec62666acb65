"""Secrets that the server must read again, sealed with a key of the data folder (AES-256-GCM).

A copy of the database alone tells none of them; one moved to another row, purpose or organization does not open.
"""

from __future__ import annotations

import base64
from collections.abc import Callable
from typing import TypeVar

import msgspec
from cryptography.exceptions import InvalidTag
from cryptography.hazmat.primitives.ciphers.aead import AESGCM
from cryptography.hazmat.primitives.hashes import SHA256
from cryptography.hazmat.primitives.kdf.hkdf import HKDF

from tallystick.errors import Misconfigured

_NONCE_BYTES = 12
T = TypeVar("T")


class Sealer:
    """Seals and opens; `key` is 32 bytes from which a key for each purpose is derived.

    Args:
        random: gives that many random bytes.
    """

    def __init__(self, key: bytes, *, random: Callable[[int], bytes]) -> None:
        self._key = key
        self._random = random
        self._ciphers: dict[str, AESGCM] = {}

    def seal(self, purpose: str, content: bytes, *, about: str) -> bytes:
        """Return `content` sealed for one purpose and one thing, `about`."""
        nonce = self._random(_NONCE_BYTES)
        return nonce + self._cipher(purpose).encrypt(nonce, content, about.encode())

    def open(self, purpose: str, sealed: bytes, *, about: str) -> bytes:
        """Return what was sealed; raises Misconfigured when the key is another one or the bytes were changed."""
        try:
            return self._cipher(purpose).decrypt(sealed[:_NONCE_BYTES], sealed[_NONCE_BYTES:], about.encode())
        except (InvalidTag, ValueError) as error:
            raise Misconfigured(
                f"A sealed secret ({purpose}) does not open with keys/sealing.key of this data folder. Give this "
                "server the same folder of keys as the one that wrote it, or enter the secret again."
            ) from error

    def seal_text(self, purpose: str, value: msgspec.Struct) -> str:
        """Return a value sealed as text for a cookie."""
        sealed = self.seal(purpose, msgspec.json.encode(value), about=purpose)
        return base64.urlsafe_b64encode(sealed).rstrip(b"=").decode()

    def open_text(self, purpose: str, text: str, type: type[T]) -> T | None:
        """Return the value sealed as text, None for anything else; the caller checks its age."""
        try:
            sealed = base64.urlsafe_b64decode(text + "=" * (-len(text) % 4))
            return msgspec.json.decode(self.open(purpose, sealed, about=purpose), type=type)
        except (ValueError, Misconfigured, msgspec.DecodeError):
            return None

    def _cipher(self, purpose: str) -> AESGCM:
        found = self._ciphers.get(purpose)
        if found is None:
            derive = HKDF(algorithm=SHA256(), length=32, salt=None, info=f"tallystick {purpose}".encode())
            found = self._ciphers[purpose] = AESGCM(derive.derive(self._key))
        return found
