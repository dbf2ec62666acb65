"""Pages on the wire: compressed where the browser can read it. No page holds a secret beside text of a request."""

from __future__ import annotations

import gzip

from starlette.responses import Response

from tallystick.web.call import Call

LEVEL = 5
BYTES_MIN = 1_024


def packed(call: Call, answer: Response) -> Response:
    """Return the answer, compressed with gzip when the browser accepts that and it is worth it."""
    answer.headers["Vary"] = "Accept-Encoding, Cookie, HX-Request, HX-Target"
    body = bytes(answer.body)
    if len(body) < BYTES_MIN or "gzip" not in (call.header(b"accept-encoding") or ""):
        return answer
    answer.body = gzip.compress(body, LEVEL, mtime=0)
    answer.headers["Content-Encoding"] = "gzip"
    answer.headers["Content-Length"] = str(len(answer.body))
    return answer
