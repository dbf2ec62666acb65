"""The docs page: every operation readable in a browser, without a script and without a third party."""

from __future__ import annotations

from functools import cache
from typing import Any

from jinja2 import Environment, PackageLoader, StrictUndefined
from msgspec import json
from starlette.responses import Response

from tallystick import __version__
from tallystick.web.call import Answer, Call

SECURITY_HEADERS = {
    "Content-Security-Policy": (
        "default-src 'none'; style-src 'self'; img-src 'self'; form-action 'self'; base-uri 'none'; "
        "frame-ancestors 'none'"
    ),
    "X-Content-Type-Options": "nosniff",
    "X-Frame-Options": "DENY",
    "Referrer-Policy": "no-referrer",
    "Cross-Origin-Opener-Policy": "same-origin",
}


@cache
def _templates() -> Environment:
    found = Environment(
        loader=PackageLoader("tallystick.web", "templates"),
        autoescape=True,
        undefined=StrictUndefined,
        trim_blocks=True,
        lstrip_blocks=True,
    )
    found.filters["pretty"] = _pretty
    return found


def _pretty(value: Any) -> str:
    return json.format(json.encode(value), indent=2).decode()


def render_page(template: str, **values: Any) -> str:
    """Render a template of this folder; everything in it is escaped."""
    return _templates().get_template(template).render(version=__version__, **values)


@cache
def _page() -> str:
    from tallystick.web.app import OPERATIONS  # the table names this handler, so it cannot be imported above

    tags: dict[str, list[Any]] = {}
    for operation in OPERATIONS:
        tags.setdefault(operation.tag, []).append(operation)
    return render_page("docs.html", tags=tags)


async def get_docs(call: Call) -> Answer:
    """Show this API as a page."""
    return Response(_page(), headers=SECURITY_HEADERS, media_type="text/html")
