"""Failed sign-in attempts by address: a token bucket, so that guessing is slow and honest callers are not."""

from __future__ import annotations

from collections import OrderedDict
from collections.abc import Callable

from tallystick.errors import Unauthorized

ADDRESSES_MAX = 10_000


class FailedAttempts:
    """Counts failed attempts for each address; valid credentials are never counted nor refused.

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

    def failed(self, address: str | None) -> None:
        """Note a failure; raise Unauthorized with the rule `attempts` (429) when there were too many.

        Raises:
            Unauthorized: the address has used up its attempts for now.
        """
        name = address or ""
        at = self._monotonic()
        tokens, since = self._buckets.get(name, (float(self._burst), at))
        tokens = min(self._burst, tokens + (at - since) * self._per_second)
        self._buckets[name] = (max(0.0, tokens - 1), at)
        self._buckets.move_to_end(name)
        if len(self._buckets) > ADDRESSES_MAX:
            self._buckets.popitem(last=False)
        if tokens < 1:
            raise Unauthorized(
                "Too many failed attempts from this address. A valid key is still accepted; wait a moment otherwise.",
                rule="attempts",
            )
