"""Where a browser's request comes from: what changes something must come from our own pages.

SameSite keeps cookies out of most foreign requests; this keeps out the rest (RFC 6454, Fetch Metadata). A request
that says nothing about its origin is not from a browser's page, and a cookie is all it has: it is refused.
"""

from __future__ import annotations

from ipaddress import ip_address
from urllib.parse import urlsplit

from msgspec import Struct

from tallystick.errors import Forbidden, Refused
from tallystick.web.call import Call

SAFE_METHODS = frozenset({"GET", "HEAD", "OPTIONS"})
_OWN_SITES = frozenset({"same-origin", "none"})  # "none": typed or reloaded by the person, not sent by a page


class Address(Struct, frozen=True, kw_only=True):
    """Where browsers reach this server: TALLYSTICK_PUBLIC_URL, or the loopback address without one."""

    public_url: str | None = None

    @property
    def secure(self) -> bool:
        """Whether browsers come over https."""
        return self.public_url is not None and self.public_url.startswith("https://")

    def origin_of(self, host: str | None) -> str:
        """Return our origin, which without a public address is the loopback name the browser used.

        Raises:
            Refused: there is no public address and `host` is not the loopback.
        """
        if self.public_url is not None:
            parts = urlsplit(self.public_url)
            return f"{parts.scheme}://{parts.netloc}"
        if host is None or not is_loopback(host):
            raise Refused(
                "People can sign in here only at the loopback address, because no public address is set. Set "
                "TALLYSTICK_PUBLIC_URL to the https address that browsers use, and restart the server.",
                rule="public_url",
            )
        return f"http://{host.lower()}"


def is_loopback(host: str) -> bool:
    """Tell whether the host of a URL, with or without a port, is this machine's own."""
    try:
        name = urlsplit(f"//{host}").hostname or ""
    except ValueError:
        return False
    if name == "localhost":
        return True
    try:
        return ip_address(name).is_loopback
    except ValueError:
        return False


def require_own_origin(call: Call) -> None:
    """Raise Forbidden when a request that may change something does not come from one of our own pages."""
    if call.scope["method"] in SAFE_METHODS:
        return
    own = call.services.address.origin_of(call.header(b"host"))
    site, origin = call.header(b"sec-fetch-site"), call.header(b"origin")
    if site is not None and site not in _OWN_SITES:
        raise _foreign()
    if origin is not None and origin != own:
        raise _foreign()
    if site is None and origin is None:
        raise _foreign()


def _foreign() -> Forbidden:
    return Forbidden(
        "This request did not come from a page of this server, so nothing was changed. Open the page here and try "
        "again; if there is a proxy in between, TALLYSTICK_PUBLIC_URL must be the address that browsers use.",
        rule="foreign_origin",
    )
