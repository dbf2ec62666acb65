"""Whose request it is: the address of the peer, or what proxies that are trusted say about it."""

from __future__ import annotations

from collections.abc import Iterable
from ipaddress import IPv4Address, IPv6Address, ip_address, ip_network
from typing import Final

from tallystick.errors import Misconfigured

_REMEMBERED_MAX: Final = 4_096
_HOPS_MAX: Final = 32  # looked at in one header; an attacker can write as many as fit into it


class TrustedProxies:
    """The networks whose `X-Forwarded-For` is believed; from anybody else the header is an attacker's text."""

    def __init__(self, networks: Iterable[str] = ()) -> None:
        try:
            self._networks = [ip_network(text, strict=False) for text in networks]
        except ValueError as error:
            raise Misconfigured(f"trusted_proxies: {error}; write networks, as in 10.0.0.0/8") from None
        self._remembered: dict[str, bool] = {}

    def client_ip(self, peer: str | None, forwarded_for: str | None) -> str | None:
        """Return the nearest address that no trusted proxy has, read from the end of the header.

        What stands before the first untrusted address was written by whoever has that address, and is ignored.
        """
        if not self._networks or not forwarded_for or peer is None or not self._trusts(peer):
            return peer
        nearest = peer
        for hop in reversed(forwarded_for.split(",")[-_HOPS_MAX:]):
            address = _address(hop.strip())
            if address is None:
                return nearest  # somebody wrote nonsense; the last hop that made sense stands
            nearest = str(address)
            if not self._trusts(nearest):
                return nearest
        return nearest

    def _trusts(self, text: str) -> bool:
        known = self._remembered.get(text)
        if known is None:
            address = _address(text)
            known = address is not None and any(address in network for network in self._networks)
            if len(self._remembered) >= _REMEMBERED_MAX:
                self._remembered.clear()
            self._remembered[text] = known
        return known


def _address(text: str) -> IPv4Address | IPv6Address | None:
    if text.startswith("["):  # [2001:db8::1]:443
        text = text[1:].partition("]")[0]
    elif text.count(":") == 1:  # 192.0.2.1:443
        text = text.partition(":")[0]
    try:
        address = ip_address(text)
    except ValueError:
        return None
    # ::ffff:192.0.2.1 is 192.0.2.1 seen through a socket of the other family.
    return getattr(address, "ipv4_mapped", None) or address
