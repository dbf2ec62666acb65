"""Failed attempts, by address and by how the credential begins: token buckets make guessing slow, and nobody else."""

from __future__ import annotations

from collections import OrderedDict
from collections.abc import Callable

from tallystick.errors import Unauthorized

ADDRESSES_MAX = 10_000
PREFIX_CHARACTERS = 12  # of a credential; so many are shown to people too


class FailedAttempts:
    """Counts failed attempts; valid credentials are never counted nor refused.

    Args:
        monotonic: a clock in seconds.
        burst: how many failures an address may make at once.
        per_second: how fast it earns new ones.
    """

    def __init__(self, monotonic: Callable[[], float], *, burst: int = 60, per_second: float = 2.0) -> None:
        self._monotonic = monotonic
        self._burst = burst
        self._per_second = per_second
        self._buckets: OrderedDict[str, tuple[float, float]] = OrderedDict()

    def failed(self, address: str | None, credential: str = "") -> None:
        """Note a failure; raise Unauthorized with the rule `attempts` (429) when there were too many.

        Counted by address, and by how the credential begins: who guesses one key from many addresses is slow too.

        Raises:
            Unauthorized: the address, or whoever guesses this key, has used up its attempts for now.
        """
        spent = [self._spend("address " + (address or ""))]
        if len(credential) > PREFIX_CHARACTERS:
            spent.append(self._spend("prefix " + credential[:PREFIX_CHARACTERS]))
        if any(spent):
            raise Unauthorized(
                "Too many failed attempts from this address or for this key. A valid key is still accepted; wait a "
                "moment otherwise.",
                rule="attempts",
            )

    def _spend(self, name: str) -> bool:
        """Take one attempt from a bucket; True when it was empty."""
        at = self._monotonic()
        tokens, since = self._buckets.get(name, (float(self._burst), at))
        tokens = min(self._burst, tokens + (at - since) * self._per_second)
        self._buckets[name] = (max(0.0, tokens - 1), at)
        self._buckets.move_to_end(name)
        if len(self._buckets) > ADDRESSES_MAX:
            self._buckets.popitem(last=False)
        return tokens < 1
