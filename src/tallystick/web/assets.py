"""Our own style sheets, scripts and pictures: named in a folder, never by a path of the request."""

from __future__ import annotations

import gzip
import hashlib
from functools import cache
from importlib import resources

from starlette.responses import Response

from tallystick.errors import NotFound
from tallystick.web.call import Answer, Call

TYPES = {"css": "text/css", "svg": "image/svg+xml", "js": "text/javascript"}
_FOLDERS = ("tallystick.web", "tallystick.web.ui")
_FOREVER = "public, max-age=31536000, immutable"


async def get_static(call: Call) -> Answer:
    """Return a style sheet, script or picture of our own pages."""
    content, packed, kind, version = _file(call.path("file"))
    etag = f'"{version}"'
    lasting = call.scope["query_string"] == f"v={version}".encode()
    headers = {
        "Cache-Control": _FOREVER if lasting else "public, max-age=300",
        "ETag": etag,
        "X-Content-Type-Options": "nosniff",
        "Vary": "Accept-Encoding",
    }
    if call.header(b"if-none-match") == etag:
        return Response(None, 304, headers)
    if "gzip" in (call.header(b"accept-encoding") or ""):
        return Response(packed, headers={**headers, "Content-Encoding": "gzip"}, media_type=kind)
    return Response(content, headers=headers, media_type=kind)


@cache
def static_url(name: str) -> str:
    """Return the address of one of our files; it changes with the content, so that it can be kept for ever."""
    return f"/static/{name}?v={_file(name)[3]}"


@cache
def _file(name: str) -> tuple[bytes, bytes, str, str]:
    for package in _FOLDERS:
        for file in resources.files(package).joinpath("static").iterdir():
            kind = TYPES.get(file.name.rpartition(".")[2])
            if file.name == name and kind is not None:
                content = file.read_bytes()
                version = hashlib.sha256(content).hexdigest()[:16]
                return content, gzip.compress(content, mtime=0), kind, version
    raise NotFound("There is no such file.")
