"""Passwords: argon2id (RFC 9106), a few at a time, and the same work for an account that does not exist."""

from __future__ import annotations

import asyncio
from collections.abc import Callable
from typing import TypeVar

from argon2 import PasswordHasher
from argon2.exceptions import InvalidHashError, VerificationError
from argon2.profiles import RFC_9106_LOW_MEMORY

from tallystick.errors import Refused, TryLater

CHARACTERS_MIN = 12
CHARACTERS_MAX = 256
# Each takes 64 MiB and tens of milliseconds of all cores.
AT_ONCE = 2
WAITING_MAX = 32
T = TypeVar("T")


class Passwords:
    """Hashes and checks passwords beside the event loop.

    Args:
        random: gives that many random bytes.
        hasher: the cost; RFC 9106's second recommendation (64 MiB, 3 passes, 4 lanes) unless told otherwise.
    """

    def __init__(self, random: Callable[[int], bytes], *, hasher: PasswordHasher | None = None) -> None:
        self._random = random
        self._hasher = hasher or PasswordHasher.from_parameters(RFC_9106_LOW_MEMORY)
        self._nobody = self._hasher.hash(random(16).hex(), salt=random(16))
        self._free = asyncio.Semaphore(AT_ONCE)
        self._waiting = 0

    async def hash(self, password: str) -> str:
        """Return the hash of a new password, in argon2's own text format."""
        salt = self._random(16)
        return await self._beside(lambda: self._hasher.hash(password, salt=salt))

    async def matches(self, password: str, kept: str | None) -> bool:
        """Tell whether `password` is the one whose hash is kept; without one it takes as long and is false."""
        against = self._nobody if kept is None else kept
        found = await self._beside(lambda: self._verify(password, against))
        return found and kept is not None

    def is_dated(self, kept: str) -> bool:
        """Tell whether a hash was made with another cost than is used now, so that it should be made anew."""
        return self._hasher.check_needs_rehash(kept)

    def _verify(self, password: str, kept: str) -> bool:
        try:
            return self._hasher.verify(kept, password)
        except (VerificationError, InvalidHashError):
            return False

    async def _beside(self, work: Callable[[], T]) -> T:
        if self._waiting >= WAITING_MAX:
            raise TryLater("Too many people are signing in at this moment. Try again in a few seconds.")
        self._waiting += 1
        try:
            async with self._free:
                return await asyncio.to_thread(work)
        finally:
            self._waiting -= 1


def require_password(password: str, *, email: str) -> None:
    """Raise Refused, saying what to choose, unless a person may use this password.

    Length is what counts (NIST SP 800-63B); no rule asks for certain characters.
    """
    if len(password) < CHARACTERS_MIN:
        raise Refused(
            f"A password has at least {CHARACTERS_MIN} characters; a sentence is easy to remember.",
            path="/password",
            rule="password",
        )
    if len(password) > CHARACTERS_MAX or "\x00" in password:
        raise Refused(
            f"A password has at most {CHARACTERS_MAX} characters.", path="/password", rule="password"
        )
    folded = password.casefold()
    if folded == email.casefold() or len(set(folded)) == 1:
        raise Refused(
            "This password is easily guessed: it is your e-mail address or one repeated character. Choose another.",
            path="/password",
            rule="password",
        )
