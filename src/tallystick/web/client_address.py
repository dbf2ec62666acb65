"""Whose address a call comes from, behind proxies: what those that are trusted say, and nobody else.

A proxy adds the address it was called from to the end of `X-Forwarded-For`, or to `Forwarded` (RFC 7239). Whatever
stands before the first address that no trusted proxy has was written by whoever has that address.
"""

from __future__ import annotations

import re
from collections.abc import Sequence

from starlette.types import ASGIApp, Receive, Scope, Send

from tallystick.client.proxies import TrustedProxies

_ELEMENT = re.compile(r'(?:[^,"]|"(?:[^"\\]|\\.)*")+')
_FOR = re.compile(r'(?:^|;)\s*for\s*=\s*(?:"([^"\\]*)"|([^;\s,"]+))', re.IGNORECASE)
_NOBODY = "unknown"  # RFC 7239's word for an address that is not told


class ClientAddress:
    """Puts the client's address in the place of a trusted proxy's, before anything else looks at a call."""

    def __init__(self, inner: ASGIApp, proxies: TrustedProxies) -> None:
        self._inner = inner
        self._proxies = proxies

    async def __call__(self, scope: Scope, receive: Receive, send: Send) -> None:
        """Answer a call."""
        peer = scope.get("client")
        if scope["type"] == "http" and peer is not None:
            found = self._proxies.client_ip(peer[0], told(scope["headers"]))
            if found != peer[0]:
                scope["client"] = (found, 0)  # the port is one of the proxy's, and nobody's
        await self._inner(scope, receive, send)


def behind(inner: ASGIApp, networks: Sequence[str]) -> ASGIApp:
    """Return `inner` behind proxies of these networks; itself when there are none."""
    return ClientAddress(inner, TrustedProxies(networks)) if networks else inner


def told(headers: Sequence[tuple[bytes, bytes]]) -> str | None:
    """Return the addresses that proxies told, as `X-Forwarded-For` writes them, None when nothing counts.

    A proxy that writes one of the two headers hands on the other as the client wrote it. Where both are there and end
    differently, nobody can say which is the proxy's, and neither counts.
    """
    lists = _of(headers, b"x-forwarded-for"), _of(headers, b"forwarded")
    plain = None if lists[0] is None else lists[0]
    named = None if lists[1] is None else ",".join(map(_named, _ELEMENT.findall(lists[1])))
    if plain is None or named is None:
        return named if plain is None else plain
    return plain if _last(plain) == _last(named) else None


def _of(headers: Sequence[tuple[bytes, bytes]], name: bytes) -> str | None:
    """Return a header; repeated ones are one list, in their order (RFC 9110, 5.3)."""
    found = [value.decode("latin-1") for one, value in headers if one == name]
    return ",".join(found) if found else None


def _named(element: str) -> str:
    match = _FOR.search(element)
    return _NOBODY if match is None else match[1] or match[2] or _NOBODY


def _last(addresses: str) -> str:
    return addresses.rpartition(",")[2].strip().lower()
