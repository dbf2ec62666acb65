"""The pages about producers, in a real Chromium: what is missing is seen at a glance, by everybody."""

from __future__ import annotations

import json
import os
import subprocess
import sys
import time
from pathlib import Path
from typing import Any

import pytest

from people import browser
from server import Server

from .test_look import axe
from .test_verify_page import chromium, house, pytestmark, visit

__all__ = ["chromium", "house", "pytestmark", "visit"]


def numbered(id: str, sequence: int, *unsent: tuple[int, int]) -> dict[str, Any]:
    who: dict[str, Any] = {"id": id, "epoch": "4f0c21aa", "sequence": sequence}
    if unsent:
        who["unsent"] = [{"first": first, "last": last} for first, last in unsent]
    return {"action": "budget.update", "actor": {"type": "system"}, "producer": who}


@pytest.fixture(scope="module")
def told(house: tuple[Server, str]) -> Server:
    """A server that knows a producer with gaps, one that lives, and one nobody watches."""
    server, _ = house
    batch = [numbered("billing-api", at) for at in (*range(1, 121), *range(138, 150))]
    batch += [numbered("billing-api", 160, (150, 155)), numbered("nightly-job", 1)]
    with server.client() as client:
        assert client.post("/v1/events:batch", json=batch).status_code == 200
        beat = {"epoch": "e", "sequence": 0, "interval_seconds": 3600}
        assert client.put("/v1/producers/gateway/heartbeat", json=beat).status_code == 200
        deadline = time.monotonic() + 60
        while len(client.get("/v1/producers").json()["producers"]) < 3:
            assert time.monotonic() < deadline
            time.sleep(0.1)
    return server


def test_what_is_missing_is_seen(told: Server, visit: Any) -> None:
    """Whoever opens the page must see which numbers are missing without asking anybody."""
    page = visit("/settings/producers")
    text = page.inner_text("main")
    assert "producer billing-api: 21 events missing between 120 and 138" in text
    assert "active" in text
    page.locator("a", has_text="billing-api").click()
    page.wait_for_selector("h1:has-text('billing-api')")
    rows = page.locator("tbody tr").all_inner_texts()
    assert ["missing" in row for row in rows] == [True, False, True]
    assert rows[0].startswith("121 to 137")
    assert "declared by the producer" in rows[1]


@pytest.mark.parametrize("path", ["/settings/producers", "/settings/producers/billing-api"])
def test_everybody_can_read_it(told: Server, visit: Any, path: str) -> None:
    """A page would scroll sideways on a phone, be unreadable at night, or to a screen reader."""
    contrast = (Path(__file__).parents[1] / "web" / "contrast.js").read_text()
    for scheme, width in (("light", 1280), ("light", 360), ("dark", 1280)):
        page = visit(path, color_scheme=scheme, viewport={"width": width, "height": 800})
        assert page.evaluate("document.documentElement.scrollWidth") <= width, (scheme, width)
        assert page.evaluate(contrast) == []
        assert axe(page) == []
        if folder := os.environ.get("TALLYSTICK_SCREENSHOTS"):
            page.screenshot(path=f"{folder}{path.replace('/', '-')}-{scheme}-{width}.png", full_page=True)


def test_a_name_that_nobody_has(told: Server, house: tuple[Server, str]) -> None:
    """A mistyped name must lead to a page that says so."""
    with browser(told) as client:
        client.cookies.set("tallystick", house[1])
        answer = client.get("/settings/producers/nobody-of-this-name")
    assert answer.status_code == 404
    assert "nobody-of-this-name" in answer.text


def test_the_command_says_the_same(told: Server) -> None:
    """Whoever has only a terminal must read the same numbers."""

    def run(*arguments: str) -> str:
        clean = {name: text for name, text in os.environ.items() if not name.startswith("TALLYSTICK_")}
        done = subprocess.run(
            [sys.executable, "-c", "from tallystick.cli import main; main()", "producers", *arguments],
            env={**clean, "TALLYSTICK_URL": told.url, "TALLYSTICK_API_KEY": told.admin_key}, capture_output=True, text=True, timeout=60,
        )  # fmt: skip
        assert done.returncode == 0, done.stderr
        return done.stdout

    table = run()
    assert "producer billing-api: 21 events missing between 120 and 138" in table
    assert table.splitlines()[0].split()[:4] == ["producer", "state", "sequence", "missing"]
    (one,) = [json.loads(line) for line in run("--json").splitlines() if "billing-api" in line]
    assert (one["missing"], one["declared"]) == (21, 6)
    gaps = run("billing-api")
    assert "121" in gaps
    assert "declared" in gaps
