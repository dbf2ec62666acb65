"""Templates and what every page is sent with: escaping on, nothing inline, nothing from elsewhere, never cached."""

from __future__ import annotations

from functools import cache
from typing import Any
from urllib.parse import quote, urlsplit

from jinja2 import Environment, PackageLoader, StrictUndefined
from starlette.responses import RedirectResponse, Response

from tallystick import __version__
from tallystick.web.assets import static_url
from tallystick.web.call import Call
from tallystick.web.cookies import read_cookie
from tallystick.web.origin import SAFE_METHODS
from tallystick.web.ui.clock import set_clock, told

POLICY = (
    "default-src 'none'; style-src 'self'; script-src 'self'; img-src 'self'; connect-src 'self'; "
    "font-src 'self'; manifest-src 'self'; form-action 'self'; base-uri 'none'; frame-ancestors 'none'"
)
SECURITY_HEADERS = {
    "Content-Security-Policy": POLICY,
    "X-Content-Type-Options": "nosniff",
    "X-Frame-Options": "DENY",
    # Not no-referrer: browsers then send our own forms with the origin `null`.
    "Referrer-Policy": "same-origin",
    "Cross-Origin-Opener-Policy": "same-origin",
    "Cross-Origin-Resource-Policy": "same-origin",
    "Permissions-Policy": "camera=(), geolocation=(), microphone=()",
    "Cache-Control": "no-store",
}
# Those of a page that may stand in a page of others: which others is said by the policy, for each viewer.
_FRAMED = {
    name: value
    for name, value in SECURITY_HEADERS.items()
    if name not in ("X-Frame-Options", "Cross-Origin-Opener-Policy")
}
THEME = "tallystick-theme"
THEMES = ("system", "light", "dark")


@cache
def templates() -> Environment:
    """Return the environment of all templates; pages add filters to it when they are imported."""
    found = Environment(
        loader=PackageLoader("tallystick.web.ui", "templates"),
        autoescape=True,
        undefined=StrictUndefined,
        trim_blocks=True,
        lstrip_blocks=True,
    )
    found.globals.update(static=static_url, version=__version__)
    found.filters["told"] = told
    return found


def framed_by(ancestors: str) -> dict[str, str]:
    """Return the headers of a page that may be framed by `ancestors`, sources as a policy writes them.

    Its address holds the viewer's session, so it is told to nobody, not even to ourselves.
    """
    policy = POLICY.replace("frame-ancestors 'none'", f"frame-ancestors {ancestors}")
    return {**_FRAMED, "Content-Security-Policy": policy, "Referrer-Policy": "no-referrer"}


def security_headers(call: Call) -> dict[str, str]:
    """Return the headers that every page answering this call has."""
    if call.viewer is None:
        return SECURITY_HEADERS
    return framed_by(" ".join(("'self'", *call.viewer.origins)))


def render(
    call: Call, template: str, status: int = 200, *, headers: dict[str, str] | None = None, **values: Any
) -> Response:
    """Return a page from a template that extends base.html; `values` must hold its `title`."""
    from tallystick.web.ui.navigation import (
        navigation,  # it looks at the pages there are, which come from here
    )

    principal = call.principal
    is_framed = call.viewer is not None
    organization = (
        None if principal is None or is_framed else call.services.sessions.organization_of(principal)
    )
    context = {
        "frame": "embed/frame.html" if is_framed else "base.html",
        "viewer": call.viewer,
        "me": principal,
        "organization": organization,
        "navigation": [] if is_framed else navigation(principal, call.scope["path"]),
        "theme": theme_of(call),
        "zone": set_clock(call),
        "here_url": url_of(call),
        "request_id": call.request_id if status >= 500 else None,
        **values,
    }
    text = templates().get_template(template).render(context)
    return Response(text, status, {**security_headers(call), **(headers or {})}, media_type="text/html")


def url_of(call: Call) -> str:
    """Return the path and query of a page that was looked at, `/` for what a form has sent."""
    if call.scope["method"] not in SAFE_METHODS:
        return "/"
    query = call.scope["query_string"].decode("latin-1")
    return local_path(quote(call.scope["path"], safe="/:@-._~!$&'()*+,;=") + (f"?{query}" if query else ""))


def theme_of(call: Call) -> str:
    """Return the theme the visitor chose, `system` without a choice."""
    chosen = read_cookie(call, THEME)
    return chosen if chosen in THEMES else "system"


def see_other(where: str, headers: dict[str, str] = SECURITY_HEADERS) -> Response:
    """Lead the browser to another page of ours after a form was taken."""
    return RedirectResponse(local_path(where), 303, headers)


def local_path(wanted: str | None, default: str = "/") -> str:
    """Return `wanted` when it is a path on this server, else `default`: nobody is led elsewhere by a link to us.

    A browser takes `//host`, `/\\host` and a path with a tab or newline in it for another host's address.
    """
    if wanted is None or len(wanted) > 2048 or not wanted.startswith("/") or wanted.startswith("//"):
        return default
    if "\\" in wanted or any(not 0x21 <= ord(character) <= 0x7E for character in wanted):
        return default
    try:
        parts = urlsplit(wanted)
    except ValueError:
        return default
    return default if parts.scheme or parts.netloc else wanted
