"""The docs page: every operation readable in a browser, without a script and without a third party."""

from __future__ import annotations

from functools import cache
from typing import Any

from msgspec import json
from starlette.responses import Response

from tallystick import __version__
from tallystick.web.call import Answer, Call
from tallystick.web.ui.render import SECURITY_HEADERS, templates


def _pretty(value: Any) -> str:
    return json.format(json.encode(value), indent=2).decode()


templates().filters["pretty"] = _pretty


def render_page(template: str, **values: Any) -> str:
    """Render a template of the docs; everything in it is escaped."""
    return templates().get_template(f"docs/{template}").render(values)


@cache
def _page() -> str:
    from tallystick.web.app import OPERATIONS  # the table names this handler, so it cannot be imported above

    tags: dict[str, list[Any]] = {}
    for operation in OPERATIONS:
        tags.setdefault(operation.tag, []).append(operation)
    return render_page("docs.html", title=f"API {__version__}", tags=tags)


async def get_docs(call: Call) -> Answer:
    """Show this API as a page."""
    return Response(_page(), headers=SECURITY_HEADERS, media_type="text/html")
