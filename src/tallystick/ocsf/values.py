"""Which text fits which OCSF type: times, addresses, e-mails, methods, and the limit of 1.1.0's strings.

A value that does not fit is never dropped and never sent as it is: it goes to `unmapped.unfit` under the
path it would have had.
"""

from __future__ import annotations

import ipaddress
from datetime import UTC, datetime, timedelta
from functools import lru_cache
from typing import Any

EPOCH = datetime(1970, 1, 1, tzinfo=UTC)
MILLISECOND = timedelta(milliseconds=1)
# Outside these years a claimed time is a mistake or a lie, and SIEMs file the event where nobody looks.
PLAUSIBLE_MIN = 946_684_800_000  # 2000-01-01
PLAUSIBLE_MAX = 4_102_444_800_000  # 2100-01-01
IP_CHARACTERS_MAX = 40  # ip_t, both versions
REMEMBERED_ADDRESSES_MAX = 16_384


def milliseconds(rfc3339: str) -> int:
    """Return the time as milliseconds since 1970 in UTC, rounded down; OCSF's `timestamp_t`."""
    return (datetime.fromisoformat(rfc3339) - EPOCH) // MILLISECOND


@lru_cache(maxsize=REMEMBERED_ADDRESSES_MAX)
def is_address(text: str) -> bool:
    """Tell whether `text` fits `ip_t`; an unparsable address is kept by the log as the sender wrote it."""
    if len(text) > IP_CHARACTERS_MAX:
        return False
    try:
        ipaddress.ip_address(text)
    except ValueError:
        return False
    return True


def unfit(unmapped: dict[str, Any], path: str, value: Any) -> None:
    """Keep `value`, which the type of the attribute at `path` refuses, in `unmapped`."""
    unmapped.setdefault("unfit", {})[path] = value


def fit(text: str, limit: int | None, path: str, unmapped: dict[str, Any]) -> str:
    """Return `text`, cut at `limit` characters; the whole of a cut text stays in `unmapped.unfit`."""
    if limit is None or len(text) <= limit:
        return text
    unfit(unmapped, path, text)
    return text[:limit]


def milliseconds_or_none(value: Any) -> int | None:
    """Return a time that a producer wrote into free data as milliseconds, or None when it is not one."""
    if not isinstance(value, str):
        return None
    try:
        moment = datetime.fromisoformat(value)
        return (moment - EPOCH) // MILLISECOND if moment.tzinfo is not None else None
    except (ValueError, OverflowError):
        return None
