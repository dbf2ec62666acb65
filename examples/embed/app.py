"""The three lines a product needs to show a customer its audit log, in a page that runs with nothing but Python.

    TALLYSTICK_URL=http://127.0.0.1:4318 TALLYSTICK_API_KEY=tst_… python examples/embed/app.py ws_7

opens http://127.0.0.1:8000/ with the events of workspace ws_7. The key stays in this process; the browser gets a token for
one visit, which opens that workspace alone and in this page alone.
"""

from __future__ import annotations

import json
import os
import sys
from http.server import BaseHTTPRequestHandler, ThreadingHTTPServer
from urllib.request import Request, urlopen

PAGE = """<!doctype html>
<html lang="en"><meta charset="utf-8"><meta name="viewport" content="width=device-width"><title>Audit log</title>
<style>
  body {{ margin: 2rem auto; max-width: 80rem; padding: 0 1rem; font: 1rem/1.5 system-ui; }}
  tallystick-viewer {{ --tallystick-accent: #7a3db8; --tallystick-accent-soft: #f3ebfb; --tallystick-round: 10px; }}
</style>
<h1>Audit log</h1>
<script src="{url}/static/tallystick-viewer.js"></script>
<tallystick-viewer token="{token}" theme="light" query="range=30d"></tallystick-viewer>
<script>addEventListener("tallystick-ended", event => fetch("/token").then(answer => answer.text()).then(token => {{ event.target.token = token }}))</script>
"""


def make_token(url: str, key: str, workspace: str, origin: str) -> str:
    """Return a token that shows one workspace in pages of one origin, for ten minutes."""
    wish = {"filters": {"workspace": workspace}, "origins": [origin], "name": f"customer {workspace}"}
    asked = Request(  # noqa: S310 - the address is this program's own setting
        f"{url}/v1/viewer-sessions",
        json.dumps(wish).encode(),
        {"Authorization": f"Bearer {key}", "Content-Type": "application/json"},
    )
    with urlopen(asked) as answer:  # noqa: S310
        return json.load(answer)["token"]


def make_server(url: str, key: str, workspace: str, port: int) -> ThreadingHTTPServer:
    """Return the product's server; `/` is the page, `/token` gives the page a new token when a session is over."""

    class Product(BaseHTTPRequestHandler):
        def do_GET(self) -> None:
            # A real product finds out here who is signed in, and which workspace is theirs.
            token = make_token(url, key, workspace, f"http://127.0.0.1:{self.server.server_address[1]}")
            body = token if self.path == "/token" else PAGE.format(url=url, token=token)
            self.send_response(200)
            self.send_header(
                "Content-Type", f"text/{'plain' if self.path == '/token' else 'html'}; charset=utf-8"
            )
            self.end_headers()
            self.wfile.write(body.encode())

    return ThreadingHTTPServer(("127.0.0.1", port), Product)


if __name__ == "__main__":
    server = make_server(os.environ["TALLYSTICK_URL"], os.environ["TALLYSTICK_API_KEY"], sys.argv[1], 8000)
    print("http://127.0.0.1:8000/")
    server.serve_forever()
