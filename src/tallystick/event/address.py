"""IP addresses as producers write them, and the one text each address is found under."""

from __future__ import annotations

import re
from functools import lru_cache
from ipaddress import IPv6Address, ip_address
from typing import Final

_TEXT_MAX: Final = 128  # characters; no address with port and zone is longer
_ZONE: Final = re.compile(r"[A-Za-z0-9._~-]{1,32}")
_WITH_PORT: Final = re.compile(
    r"(?:(?P<four>[0-9.]{7,15})|\[(?P<six>[0-9A-Za-z:.%_~-]{2,80})\])(?::(?P<port>[0-9]{1,5}))?"
)


@lru_cache(maxsize=8192)
def read_ip(text: str) -> tuple[str, str]:
    """Return the canonical text of an address, and the port that came with it as `:443` ("" for none).

    `::ffff:192.0.2.1` is 192.0.2.1, IPv6 is written as RFC 5952 says, a zone is kept. `ip:port` and
    `[ip]:port` are taken apart. What is no address, a list of them for instance, gives ("", "").
    """
    text = text.strip()
    if len(text) > _TEXT_MAX:
        return "", ""
    plain = _canonical(text)
    if plain:
        return plain, ""
    match = _WITH_PORT.fullmatch(text)
    if match is None or int(match["port"] or 0) > 65_535:
        return "", ""
    inner = _canonical(match["four"] or match["six"])
    if not inner:
        return "", ""
    return inner, ":" + match["port"] if match["port"] else ""


def indexed_ip(stored: object) -> str:
    """Return what the `ip` column holds for a stored `context.ip`: the text itself if canonical, else ""."""
    return stored if isinstance(stored, str) and read_ip(stored) == (stored, "") else ""


def _canonical(text: str) -> str:
    try:
        address = ip_address(text)
    except ValueError:
        return ""
    if isinstance(address, IPv6Address):
        if address.ipv4_mapped is not None:
            return str(address.ipv4_mapped)
        if address.scope_id and not _ZONE.fullmatch(address.scope_id):
            return ""
    return str(address)
