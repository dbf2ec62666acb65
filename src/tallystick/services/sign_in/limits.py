"""How often one may fail to sign in: for each address and for each e-mail address, in the memory of this server.

A right password is refused too while an e-mail address is locked, else the lock would tell which guess was right; so a
lock is short, and a link from an admin or an identity provider always works.
"""

from __future__ import annotations

from collections import OrderedDict
from collections.abc import Callable

from msgspec import Struct

from tallystick.errors import Unauthorized

NAMES_MAX = 20_000


class Bucket(Struct, frozen=True, kw_only=True):
    """How many failures are forgiven at once, and in how many seconds one is forgotten."""

    burst: int
    seconds_each: float


OF_ADDRESS = Bucket(burst=20, seconds_each=15.0)
OF_EMAIL = Bucket(burst=5, seconds_each=60.0)


class Failures:
    """Counts failures by name in leaky buckets; knows the `NAMES_MAX` names that failed last.

    Args:
        monotonic: a clock in seconds.
    """

    def __init__(self, bucket: Bucket, monotonic: Callable[[], float]) -> None:
        self._bucket = bucket
        self._monotonic = monotonic
        self._levels: OrderedDict[str, tuple[float, float]] = OrderedDict()

    def wait_seconds(self, name: str) -> int:
        """Return in how many seconds `name` may try again, 0 = now."""
        over = self._level(name) + 1 - self._bucket.burst
        return 0 if over <= 0 else int(over * self._bucket.seconds_each) + 1

    def failed(self, name: str) -> bool:
        """Note a failure; tell whether this very one closes the door."""
        level = self._level(name) + 1
        self._levels[name] = (level, self._monotonic())
        self._levels.move_to_end(name)
        if len(self._levels) > NAMES_MAX:
            self._levels.popitem(last=False)
        return level > self._bucket.burst - 1 >= level - 1

    def forget(self, name: str) -> None:
        """Forget the failures of `name`: it has shown who it is."""
        self._levels.pop(name, None)

    def _level(self, name: str) -> float:
        level, since = self._levels.get(name, (0.0, 0.0))
        return max(0.0, level - (self._monotonic() - since) / self._bucket.seconds_each)


class Limits:
    """The limits of one server; `refuse` before any work, `failed` after a failure."""

    def __init__(self, monotonic: Callable[[], float]) -> None:
        self._addresses = Failures(OF_ADDRESS, monotonic)
        self._emails = Failures(OF_EMAIL, monotonic)

    def refuse(self, ip: str | None, email: str) -> None:
        """Raise Unauthorized (rule `attempts`, 429) while too much has failed, saying when to come back."""
        seconds = max(self._addresses.wait_seconds(ip or ""), self._emails.wait_seconds(email))
        if seconds:
            raise Unauthorized(
                f"Too many attempts to sign in have failed. Wait {seconds} seconds, then try again; or ask an admin of "
                "your organization for a link that sets a new password.",
                rule="attempts",
            )

    def failed(self, ip: str | None, email: str) -> bool:
        """Note a failure; tell whether this very one locks the address or the e-mail address."""
        # Both are counted whatever the first says.
        first, second = self._addresses.failed(ip or ""), self._emails.failed(email)
        return first or second

    def forget(self, email: str) -> None:
        """Forget the failures of an e-mail address: its owner has signed in."""
        self._emails.forget(email)
