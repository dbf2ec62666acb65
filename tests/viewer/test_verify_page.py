"""The page that proves the log, as a visitor uses it: in a real Chromium, with and without scripts."""

from __future__ import annotations

import os
import re
import shutil
from collections.abc import Iterator
from pathlib import Path
from typing import Any

import pytest

from people import COOKIE, sign_in
from postgres import Cluster, fresh_database
from server import Server, event, server_folder, start

CHROMIUM = next(
    (path for name in ("chromium", "chromium-browser", "google-chrome") if (path := shutil.which(name))), None
)
pytestmark = pytest.mark.skipif(CHROMIUM is None, reason="there is no Chromium on this machine: make browser")


@pytest.fixture(scope="module")
def house(postgres_cluster: Cluster, template_database: str) -> Iterator[tuple[Server, str]]:
    """A server with forty events, and the cookie of its owner."""
    databases = fresh_database(postgres_cluster, template_database)
    folder = server_folder()
    running: Server | None = None
    try:
        running = start(folder / "data", database=next(databases).logins.owner)
        with running.client() as client:
            assert client.post("/v1/events:batch", json=[event() for _ in range(40)]).status_code == 200
        yield running, sign_in(running).cookies[COOKIE]
    finally:
        if running is not None:
            running.stop()
        databases.close()
        shutil.rmtree(folder, ignore_errors=True)


@pytest.fixture(scope="module")
def chromium() -> Iterator[Any]:
    from playwright.sync_api import sync_playwright

    arguments = ["--no-sandbox"] if os.geteuid() == 0 else []
    with sync_playwright() as playwright:
        made = playwright.chromium.launch(executable_path=CHROMIUM, args=arguments)
        yield made
        made.close()


@pytest.fixture
def visit(house: tuple[Server, str], chromium: Any) -> Iterator[Any]:
    """Open a path as the owner; at the end nothing may stand in the console, and nothing may come from elsewhere."""
    server, cookie = house
    contexts: list[Any] = []
    messages: list[str] = []

    def opened(path: str, **options: Any) -> Any:
        # A colour on its way to another is nobody's choice of contrast.
        context = chromium.new_context(**{"reduced_motion": "reduce", **options})
        contexts.append(context)
        context.add_cookies([{"name": COOKIE, "value": cookie, "url": server.url}])
        page = context.new_page()
        page.on("console", lambda message: messages.append(message.text))
        page.on("pageerror", lambda error: messages.append(str(error)))
        page.on(
            "request",
            lambda one: None if one.url.startswith(server.url) else messages.append(f"elsewhere: {one.url}"),
        )
        page.goto(server.url + path, wait_until="networkidle")
        return page

    yield opened
    for context in contexts:
        context.close()
    assert messages == []


def test_a_range_is_checked_in_the_browser(visit: Any) -> None:
    """The button would say proven without having looked, or never come to an end."""
    page = visit("/verify")
    page.select_option("#wanted", "all")
    page.locator("[data-check-range]").click()
    page.wait_for_selector("#range-result .verdict")
    found = page.inner_text("#range-result")
    assert "Proven by this browser" in found
    assert re.search(r"positions 0 to \d+: complete, in order, unchanged", found)


def test_this_browser_remembers(visit: Any, house: tuple[Server, str]) -> None:
    """A log that was rewritten between two visits would look as it always did."""
    server, _ = house
    page = visit("/verify")
    assert "remembers this checkpoint from now on" in page.inner_text("#remembered")
    with server.client() as client:
        assert client.post("/v1/events", json=event()).status_code == 201
    page.reload(wait_until="networkidle")
    assert "they are still the beginning of this log" in page.inner_text("#remembered")
    page.evaluate(
        """() => {
          const [name] = Object.keys(localStorage);
          const kept = JSON.parse(localStorage.getItem(name));
          const lines = kept.text.split("\\n");
          lines[2] = "A" + lines[2].slice(1);
          localStorage.setItem(name, JSON.stringify({ ...kept, text: lines.join("\\n") }));
        }"""
    )
    page.reload(wait_until="networkidle")
    assert "it was rewritten" in page.inner_text("#remembered")


def test_a_dropped_file_stays_here(visit: Any, house: tuple[Server, str], tmp_path: Path) -> None:
    """A forged export would be called proven, or the file would be sent to the server."""
    server, _ = house
    with server.client() as client:
        export = client.get("/v1/export").content
        receipt = client.post("/v1/events", json=event()).json()["receipt"]
    at = export.index(b'"action":"') + 11
    contents = {"good.jsonl": export, "bad.jsonl": export[:at] + b"~" + export[at + 1 :], "none.txt": b"hello\n",
                "one.tlog-proof": receipt.encode()}  # fmt: skip
    for name, content in contents.items():
        (tmp_path / name).write_bytes(content)
    page = visit("/verify")
    sent: list[str] = []
    page.on("request", lambda one: sent.append(one.url))
    verdicts = {}
    for name in contents:
        page.set_input_files("#files", tmp_path / name)
        page.wait_for_selector(f"#file-result .verdict:has-text('{name}')")
        verdicts[name] = page.inner_text("#file-result .verdict")
    assert "Proven" in verdicts["good.jsonl"]
    assert "Violated" in verdicts["bad.jsonl"]
    assert "Not checked" in verdicts["none.txt"]
    assert "Proven" not in verdicts["one.tlog-proof"], (
        "a receipt alone proves nothing: it names neither key nor event"
    )
    assert sent == []


def test_on_the_server_without_a_script(visit: Any) -> None:
    """Whoever has no JavaScript could not have anything checked."""
    page = visit("/verify", java_script_enabled=False)
    page.select_option("#wanted", "all")
    page.get_by_role("button", name="Check on this server").click()
    page.wait_for_selector(".verdict")
    assert "Proven" in page.inner_text("#check .verdict")
    assert "complete and in order" in page.inner_text("#check")
    assert "tallystick verify FILE" in page.inner_text("main")


@pytest.mark.parametrize("scheme", ["light", "dark"])
@pytest.mark.parametrize("width", [360, 768, 1360])
def test_the_page_fits(visit: Any, scheme: str, width: int) -> None:
    """The page would scroll sideways on a phone, or be unreadable at night."""
    page = visit("/verify", color_scheme=scheme, viewport={"width": width, "height": 800})
    assert page.evaluate("document.documentElement.scrollWidth") <= width
    contrast = (Path(__file__).parents[1] / "web" / "contrast.js").read_text()
    assert page.evaluate(contrast) == []


def test_a_check_is_its_asker_s(house: tuple[Server, str], visit: Any) -> None:
    """A range that is no range would check everything; a check of somebody else would be shown."""
    server, cookie = house
    with server.client(None) as client:
        client.cookies.set(COOKIE, cookie)
        client.headers["Origin"] = server.url
        answer = client.post("/verify/checks", data={"range": "forever"})
        assert (answer.status_code, "is no range" in answer.text) == (400, True)
        assert client.get("/verify/checks/chk_0000000000000000").status_code == 404
