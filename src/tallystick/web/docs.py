"""The docs page: every operation readable in a browser, without a script and without a third party."""

from __future__ import annotations

import hashlib
from functools import cache
from importlib import resources
from typing import Any

from jinja2 import Environment, PackageLoader, StrictUndefined
from msgspec import json
from starlette.responses import Response

from tallystick import __version__
from tallystick.errors import NotFound
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
STATIC_TYPES = {"css": "text/css", "svg": "image/svg+xml"}


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


async def get_static(call: Call) -> Answer:
    """Return a style sheet or picture of our own pages."""
    content, kind = _static(call.path("file"))
    etag = f'"{hashlib.sha256(content).hexdigest()[:32]}"'
    headers = {"Cache-Control": "public, max-age=300", "ETag": etag, "X-Content-Type-Options": "nosniff"}
    if call.header(b"if-none-match") == etag:
        return Response(None, 304, headers)
    return Response(content, headers=headers, media_type=kind)


@cache
def _static(name: str) -> tuple[bytes, str]:
    # Only names that are there are served: nothing of the request becomes a path.
    for file in resources.files("tallystick.web").joinpath("static").iterdir():
        kind = STATIC_TYPES.get(file.name.rpartition(".")[2])
        if file.name == name and kind is not None:
            return file.read_bytes(), kind
    raise NotFound("There is no such file.")
