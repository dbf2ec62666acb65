"""The second factor: codes that change every 30 seconds (RFC 6238), and codes for the day the phone is gone."""

from __future__ import annotations

import base64
import hashlib
import hmac
from collections.abc import Callable, Sequence
from urllib.parse import quote

from cryptography.hazmat.primitives.hashes import SHA1
from cryptography.hazmat.primitives.twofactor.hotp import HOTP

SECRET_BYTES = 20
STEP_SECONDS = 30
DIGITS = 6
# A phone's clock may be this many steps away from ours.
STEPS_AWAY = 1
RECOVERY_CODES = 10
_ALPHABET = "abcdefghijkmnpqrstuvwxyz23456789"  # 32 characters, none that is taken for another


def code_at(secret: bytes, step: int) -> str:
    """Return the code of a step, which is the number of whole 30 seconds since 1970."""
    return HOTP(secret, DIGITS, SHA1(), enforce_key_length=False).generate(step).decode()  # noqa: S303 - RFC 6238


def matching_step(secret: bytes, code: str, *, at_seconds: float, last_step: int) -> int | None:
    """Return the step that `code` is of, None when it is none of now, or of one used before.

    A code is good once: the caller keeps the step and passes it as `last_step` the next time.
    """
    digits = "".join(code.split())
    now = int(at_seconds // STEP_SECONDS)
    found = None
    # All are compared, so that the time taken tells nothing.
    for step in range(now - STEPS_AWAY, now + STEPS_AWAY + 1):
        if hmac.compare_digest(code_at(secret, step).encode(), digits.encode()) and step > last_step:
            found = step
    return found


def provisioning_uri(secret: bytes, *, email: str, issuer: str) -> str:
    """Return the address an authenticator app reads from the QR code (Key URI Format)."""
    label = f"{quote(issuer, safe='')}:{quote(email, safe='')}"
    return (
        f"otpauth://totp/{label}?secret={text_of(secret)}&issuer={quote(issuer, safe='')}"
        f"&algorithm=SHA1&digits={DIGITS}&period={STEP_SECONDS}"
    )


def text_of(secret: bytes) -> str:
    """Return a secret as people type it into an app: base32 without padding."""
    return base64.b32encode(secret).decode().rstrip("=")


def new_recovery_codes(random: Callable[[int], bytes]) -> tuple[str, ...]:
    """Return ten codes of 50 bits, each good once, written as xxxxx-xxxxx."""
    made = []
    for _ in range(RECOVERY_CODES):
        text = "".join(_ALPHABET[byte % 32] for byte in random(10))
        made.append(f"{text[:5]}-{text[5:]}")
    return tuple(made)


def recovery_digest(member_id: str, code: str) -> str:
    """Return what is kept of a recovery code: SHA-256 bound to its member; 50 random bits need no slow hash here."""
    folded = "".join(character for character in code.casefold() if character.isalnum())
    return hashlib.sha256(f"recovery\0{member_id}\0{folded}".encode()).hexdigest()


def matching_recovery(member_id: str, code: str, kept: Sequence[str]) -> str | None:
    """Return the kept digest that `code` is of, None when there is none."""
    digest = recovery_digest(member_id, code)
    found = None
    for one in kept:
        if hmac.compare_digest(one, digest):
            found = one
    return found
