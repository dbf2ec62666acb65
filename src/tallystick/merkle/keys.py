"""Ed25519 keys for notes and for witness cosignatures, and their one-line text forms.

The only module of the room that needs `cryptography`, and only when a signature is made or checked.
"""

from __future__ import annotations

import re
from dataclasses import dataclass, field
from functools import cached_property, lru_cache
from hashlib import sha256
from typing import TYPE_CHECKING, Final, Self

from tallystick.errors import Misconfigured, Refused
from tallystick.merkle.cosignature import cosigned_message, join_cosignature, split_cosignature
from tallystick.merkle.note import check_key_name, decode_base64, encode_base64

if TYPE_CHECKING:
    from cryptography.hazmat.primitives.asymmetric.ed25519 import Ed25519PrivateKey, Ed25519PublicKey

ED25519: Final = 0x01  # signature types of c2sp.org/signed-note
COSIGNATURE: Final = 0x04
KEY_BYTES: Final = 32
KEY_TEXT_MAX: Final = 1000

_KEY = re.compile(r"(?P<name>[^+]+)\+(?P<id>[0-9a-f]{8})\+(?P<key>[A-Za-z0-9+/=]+)")
_PREFIX = "PRIVATE+KEY+"


@lru_cache(maxsize=1024)
def key_id(name: str, key_type: int, public_key: bytes) -> int:
    """Return the 32-bit id: the first four bytes of SHA-256(name || newline || type || public key)."""
    digest = sha256(name.encode() + b"\n" + bytes([key_type]) + public_key).digest()
    return int.from_bytes(digest[:4], "big")


@dataclass(frozen=True)
class VerifierKey:
    """A public key that checks notes (type ED25519) or witness cosignatures (type COSIGNATURE)."""

    name: str
    public_key: bytes
    key_type: int = ED25519

    def __post_init__(self) -> None:
        check_key_name(self.name)
        if self.key_type not in (ED25519, COSIGNATURE):
            raise Refused(f"a key of type 0x{self.key_type:02x} is not supported: use Ed25519", rule="key")
        if len(self.public_key) != KEY_BYTES:
            raise Refused(f"an Ed25519 key has {KEY_BYTES} bytes, not {len(self.public_key)}", rule="key")

    @classmethod
    def parse(cls, text: str) -> Self:
        """Read `name+id+base64`; raises Refused when it is malformed, of an unknown type, or its id is wrong."""
        name, wanted_id, raw = _parse_key(text, "verifier key")
        key = cls(name, raw[1:], raw[0])
        if key.key_id != wanted_id:
            raise Refused(f"the id in the verifier key of {name[:80]!r} is not that of its key", rule="key")
        return key

    def format(self) -> str:
        """Return the text to hand to verifiers: `name+id+base64`."""
        encoded = encode_base64(bytes([self.key_type]) + self.public_key)
        return f"{self.name}+{self.key_id:08x}+{encoded}"

    @property
    def key_id(self) -> int:
        """The 32-bit id that stands before each of its signatures."""
        return key_id(self.name, self.key_type, self.public_key)

    def verify(self, text: bytes, signature: bytes) -> bool:
        """Tell whether `signature` is this key's over the note text `text`."""
        if self.key_type == ED25519:
            return self._is_signature(text, signature)
        timed = split_cosignature(signature)
        return timed is not None and self._is_signature(cosigned_message(text, timed[0]), timed[1])

    def _is_signature(self, message: bytes, signature: bytes) -> bool:
        from cryptography.exceptions import InvalidSignature

        try:
            self._ed25519.verify(signature, message)
        except InvalidSignature:
            return False
        return True

    @cached_property
    def _ed25519(self) -> Ed25519PublicKey:
        _needs_cryptography()
        from cryptography.hazmat.primitives.asymmetric.ed25519 import Ed25519PublicKey

        return Ed25519PublicKey.from_public_bytes(self.public_key)


@dataclass(frozen=True)
class SignerKey:
    """A private Ed25519 key that signs notes; `seed` is 32 secret random bytes and never printed."""

    name: str
    seed: bytes = field(repr=False)

    def __post_init__(self) -> None:
        check_key_name(self.name)
        if len(self.seed) != KEY_BYTES:
            raise Refused(f"an Ed25519 seed has {KEY_BYTES} bytes, not {len(self.seed)}", rule="key")

    @classmethod
    def parse(cls, text: str) -> Self:
        """Read `PRIVATE+KEY+name+id+base64`; raises Refused, without repeating the key, when it is not one."""
        if not text.startswith(_PREFIX):
            raise Refused("this is not a signer key: it must start with PRIVATE+KEY+", rule="key")
        name, wanted_id, raw = _parse_key(text.removeprefix(_PREFIX), "signer key")
        if raw[0] != ED25519:
            raise Refused(f"a signer key of type 0x{raw[0]:02x} is not supported: use Ed25519", rule="key")
        key = cls(name, raw[1:])
        if key.key_id != wanted_id:
            raise Refused(f"the id in the signer key of {name[:80]!r} is not that of its key", rule="key")
        return key

    def format(self) -> str:
        """Return the secret text `PRIVATE+KEY+name+id+base64`, to be kept in a file of mode 0600."""
        encoded = encode_base64(bytes([ED25519]) + self.seed)
        return f"{_PREFIX}{self.name}+{self.key_id:08x}+{encoded}"

    @cached_property
    def verifier(self) -> VerifierKey:
        """The public key that checks what this key signs."""
        return VerifierKey(self.name, self._ed25519.public_key().public_bytes_raw())

    @cached_property
    def cosigning(self) -> VerifierKey:
        """The public key that checks its cosignatures, where it is a witness's; its id is another one."""
        return VerifierKey(self.name, self.verifier.public_key, COSIGNATURE)

    @property
    def key_id(self) -> int:
        """The 32-bit id that stands before each of its signatures."""
        return self.verifier.key_id

    def sign(self, text: bytes) -> bytes:
        """Return the 64-byte Ed25519 signature over `text`."""
        return self._ed25519.sign(text)

    @cached_property
    def _ed25519(self) -> Ed25519PrivateKey:
        _needs_cryptography()
        from cryptography.hazmat.primitives.asymmetric.ed25519 import Ed25519PrivateKey

        return Ed25519PrivateKey.from_private_bytes(self.seed)


@dataclass(frozen=True)
class Cosigner:
    """Signs checkpoints as a witness does, at POSIX time `seconds`; the key must sign nothing else."""

    key: SignerKey
    seconds: int

    @property
    def name(self) -> str:
        """The witness's name."""
        return self.key.name

    @property
    def verifier(self) -> VerifierKey:
        """The public key that checks its cosignatures."""
        return self.key.cosigning

    @property
    def key_id(self) -> int:
        """The 32-bit id, which differs from that of the same key signing notes."""
        return self.verifier.key_id

    def sign(self, text: bytes) -> bytes:
        """Return the time and the Ed25519 signature over it and the checkpoint body `text`."""
        return join_cosignature(self.seconds, self.key.sign(cosigned_message(text, self.seconds)))


def _parse_key(text: str, what: str) -> tuple[str, int, bytes]:
    match = _KEY.fullmatch(text) if len(text) <= KEY_TEXT_MAX else None
    raw = decode_base64(match["key"]) if match else None
    if match is None or not raw:
        raise Refused(f"this is not a {what} (c2sp.org/signed-note)", rule="key")
    return match["name"], int(match["id"], 16), raw


def _needs_cryptography() -> None:
    try:
        import cryptography  # noqa: F401
    except ImportError:
        raise Misconfigured(
            "signatures need the package cryptography: install tallystick[server]", rule="missing_package"
        ) from None
