"""A seeded server and a browser that is signed in: the demo's week, hostile names, two sources about one target."""

from __future__ import annotations

import os
import shutil
import time
from collections.abc import Callable, Iterator
from dataclasses import dataclass, field
from datetime import UTC, datetime, timedelta
from typing import Any

import pytest

from people import execute, session_of, sign_in
from postgres import Cluster, Database, fresh_database
from server import Server, server_folder, start
from tallystick.cli.demo import week

CHROMIUM = next(
    (path for name in ("chromium", "chromium-browser", "google-chrome") if (path := shutil.which(name))), None
)
BATCH = 500
SHARED_TARGET = {"type": "dataset", "id": "ds_shared", "name": "shared by two sources"}
PAYLOADS = (
    '"><img src=x onerror=alert(1)>', "<svg/onload=alert(1)>", "{{7*7}}${7*7}", "javascript:alert(1)",
    "invoice\u202efdp.exe", "ad\u200bm\u200din\ufeff", "\x1b[2K\rOK user=admin", "x\nCEF:0|Vendor|", "\u3164", "a\u00a0b",
    "Z" + "\u0301" * 60, "' onmouseover=alert(1) x='", '<a hx-get="/v1/keys" hx-trigger="load">x</a>', "-->\u2028<script>alert(1)</script>",
)  # fmt: skip


def hostile(payload: str, at: datetime) -> dict[str, Any]:
    """Return an event with `payload` in every field that a stranger can write."""
    return {
        "action": "prompt.update", "occurred_at": at.isoformat(), "outcome": "failure",
        "actor": {"type": "user", "id": f"u{payload}", "name": payload, "email": f"{payload}@example.org",
                  "on_behalf_of": [{"type": "user", "id": payload, "name": payload}]},
        "targets": [{"type": "prompt", "id": payload, "name": payload}],
        "context": {"ip": payload, "user_agent": payload, "request_id": f"r{payload}", "session_id": payload,
                    "http": {"method": payload, "path": payload}, "location": {"country": payload}},
        "before": {payload: payload, "text": payload * 8}, "after": {payload: payload + "!", "text": payload * 8 + " more"},
        "metadata": {payload: payload, "tags": [payload]}, "error": {"code": payload, "message": payload},
        "workspace": "hostile",
    }  # fmt: skip


@pytest.fixture(scope="session")
def viewer_database(postgres_cluster: Cluster, template_database: str) -> Iterator[Database]:
    """The database of the seeded server."""
    yield from fresh_database(postgres_cluster, template_database)


@pytest.fixture(scope="session")
def seeded(viewer_database: Database) -> Iterator[Server]:
    """A server with a week of events; tests read it, and what they add carries a name of its own."""
    folder = server_folder()
    running = start(folder / "data", database=viewer_database.logins.owner)
    try:
        now = datetime.now(UTC)
        events = week(now)
        events += [
            hostile(payload, now - timedelta(days=6, minutes=at)) for at, payload in enumerate(PAYLOADS)
        ]
        events += [
            {"action": action, "stream": stream, "actor": {"type": "agent", "id": "agent_triage", "name": "Triage agent"},
             "targets": [SHARED_TARGET], "occurred_at": (now - timedelta(days=1, minutes=minute)).isoformat()}
            for minute, (action, stream) in enumerate([("dataset.update", "platform"), ("tool.call", "gateway"), ("dataset.create", "platform")])
        ]  # fmt: skip
        with running.client() as client:
            for first in range(0, len(events), BATCH):
                answer = client.post("/v1/events:batch", json=events[first : first + BATCH])
                assert answer.status_code in (200, 201, 207), answer.text
                assert {one["status"] for one in answer.json()["results"]} <= {"created", "quarantined"}
        for workspace, team, gone in (
            ("evals", None, False),
            ("code-review", "t1", False),
            ("cr_2", "t2", False),
            ("old", None, True),
        ):
            execute(
                running,
                "INSERT INTO workspaces (organization_id, id, team_id, display_name, deleted_at)"
                " VALUES (%s, %s, %s, %s, CASE WHEN %s THEN now() END)",
                running.organization_id, workspace, team, {"cr_2": "Review", "code-review": "Review"}.get(workspace, workspace), gone,
            )  # fmt: skip
        for team in ("t1", "t2"):
            execute(running, "INSERT INTO teams (organization_id, id, display_name) VALUES (%s, %s, %s)",
                    running.organization_id, team, f"Team {team[1]}")  # fmt: skip
        yield running
    finally:
        running.stop()
        shutil.rmtree(folder, ignore_errors=True)


@pytest.fixture(scope="session")
def token(seeded: Server) -> str:
    """The session of the seeded server's owner."""
    found = session_of(sign_in(seeded))
    assert found is not None
    return found


@pytest.fixture(scope="module")
def browser() -> Iterator[Any]:
    """One Chromium for the module; a longer life would hold the event loop other tests need."""
    if CHROMIUM is None:
        pytest.skip("there is no Chromium on this machine: make browser")
    from playwright.sync_api import sync_playwright

    arguments = ["--no-sandbox"] if os.geteuid() == 0 else []
    with sync_playwright() as playwright:
        made = playwright.chromium.launch(executable_path=CHROMIUM, args=arguments)
        yield made
        made.close()


@dataclass
class Visit:
    """A page somebody looks at, and everything the browser had to say about it."""

    page: Any
    url: str
    messages: list[str] = field(default_factory=list)
    requests: list[str] = field(default_factory=list)

    def go(self, path: str) -> Any:
        """Open a path and wait until its scripts have run."""
        return self.page.goto(self.url + path, wait_until="load")

    def until(self, expression: str, seconds: float = 30.0) -> None:
        """Wait until an expression holds; asked from outside, since the page's policy lets nothing evaluate text."""
        deadline = time.monotonic() + seconds
        while not self.page.evaluate(f"Boolean({expression})"):
            assert time.monotonic() < deadline, f"not within {seconds} s: {expression} at {self.page.url}"
            self.page.wait_for_timeout(20)

    def rows(self) -> int:
        """Return how many events the table shows."""
        return self.page.locator("#rows tr").count()

    def query(self) -> str:
        """Return the parameters of the address."""
        return self.page.evaluate("decodeURIComponent(location.search)")


@pytest.fixture
def visit(browser: Any, seeded: Server, token: str) -> Iterator[Callable[..., Visit]]:
    """Makes visits; at the end none may have left a message in the console or asked a third party for anything."""
    contexts, visits = [], []

    def make(server: Server = seeded, cookie: str = token, **options: Any) -> Visit:
        context = browser.new_context(
            **{"viewport": {"width": 1360, "height": 900}, "reduced_motion": "reduce", **options}
        )
        context.set_default_timeout(30_000)
        context.grant_permissions(["clipboard-read", "clipboard-write"], origin=server.url)
        context.add_cookies([{"name": "tallystick", "value": cookie, "url": server.url}])
        page = context.new_page()
        made = Visit(page, server.url)
        page.on("console", lambda message: made.messages.append(f"{message.type}: {message.text}"))
        page.on("pageerror", lambda error: made.messages.append(f"error: {error}"))
        page.on("dialog", lambda dialog: made.messages.append(f"dialog: {dialog.message}"))
        page.on("request", lambda request: made.requests.append(request.url))
        contexts.append(context)
        visits.append(made)
        return made

    yield make
    for context in contexts:
        context.close()
    for one in visits:
        assert one.messages == []
        assert [url for url in one.requests if not url.startswith((one.url, "data:"))] == []
