"""The docs page in a real browser: nothing from elsewhere, nothing in the console, readable small and in the dark."""

from __future__ import annotations

import itertools
import os
import shutil
from collections.abc import Iterator
from pathlib import Path

import pytest

from server import Server
from tallystick.catalogue.load import catalogue
from tallystick.web.app import OPERATIONS

CHROMIUM = next(
    (path for name in ("chromium", "chromium-browser", "google-chrome") if (path := shutil.which(name))), None
)
pytestmark = pytest.mark.skipif(CHROMIUM is None, reason="there is no Chromium on this machine: make browser")
# WCAG 2.2, 1.4.3: contrast of text; computed by the page itself, so that it needs no third party's script.
CONTRAST = Path(__file__).with_name("contrast.js").read_text()


@pytest.fixture(scope="module")
def browser() -> Iterator[object]:
    """One Chromium for the module."""
    from playwright.sync_api import sync_playwright

    arguments = ["--no-sandbox"] if os.geteuid() == 0 else []
    with sync_playwright() as playwright:
        made = playwright.chromium.launch(executable_path=CHROMIUM, args=arguments)
        yield made
        made.close()


@pytest.mark.parametrize("scheme", ["light", "dark"])
@pytest.mark.parametrize("width", [360, 1280])
@pytest.mark.parametrize("path", ["/docs", "/docs/catalogue?product=mistral"])
def test_docs_page(server: Server, browser, path: str, scheme: str, width: int) -> None:
    """The page would fetch from elsewhere, break its own policy, not fit a phone, or be unreadable at night."""
    context = browser.new_context(color_scheme=scheme, viewport={"width": width, "height": 800})
    page = context.new_page()
    messages: list[str] = []
    requests: list[str] = []
    page.on("console", lambda message: messages.append(message.text))
    page.on("pageerror", lambda error: messages.append(str(error)))
    page.on("request", lambda request: requests.append(request.url))
    page.on("requestfailed", lambda request: messages.append(f"failed: {request.url}"))
    answer = page.goto(f"{server.url}{path}", wait_until="networkidle")
    assert answer.status == 200
    assert messages == []
    assert requests
    assert all(url.startswith(server.url) for url in requests), requests
    assert page.evaluate("document.documentElement.scrollWidth") <= width
    assert page.evaluate(CONTRAST) == []
    dark = page.evaluate("getComputedStyle(document.body).backgroundColor")
    assert _is_dark(dark) == (scheme == "dark"), dark
    text = page.inner_text("body")
    if path == "/docs":
        assert [one.path for one in OPERATIONS if one.path.replace(":path}", "}") not in text] == []
    context.close()


@pytest.mark.parametrize("path", ["/docs", "/docs/catalogue?product=mistral"])
def test_docs_page_without_a_mouse_or_a_screen(server: Server, browser, path: str) -> None:
    """Whoever uses a keyboard or a screen reader could not use the page."""
    page = browser.new_page()
    page.goto(f"{server.url}{path}")
    assert page.evaluate("document.documentElement.lang") == "en"
    assert page.title()
    assert page.locator("h1").count() == 1
    assert page.locator("main").count() == 1
    levels = page.evaluate("[...document.querySelectorAll('h1,h2,h3,h4')].map(one => Number(one.tagName[1]))")
    assert all(after - before <= 1 for before, after in itertools.pairwise(levels)), (
        "a heading level is skipped"
    )
    assert page.evaluate("[...document.querySelectorAll('img')].every(one => one.hasAttribute('alt'))")
    ids = page.evaluate("[...document.querySelectorAll('[id]')].map(one => one.id)")
    assert len(set(ids)) == len(ids)
    targets = page.evaluate(
        "[...document.querySelectorAll('a[href^=\"#\"]')].map(one => one.getAttribute('href').slice(1))"
    )
    assert set(targets) <= set(ids), "a link leads nowhere"
    page.keyboard.press("Tab")
    focused = page.evaluate("document.activeElement.className")
    assert "skip" in focused, "the first stop of the keyboard is the way past the navigation"
    assert page.evaluate("getComputedStyle(document.activeElement).outlineStyle") != "none"
    page.close()


def test_the_catalogue_is_narrowed_by_its_form(server: Server, browser) -> None:
    """Whoever looks for what an action means would have to read 1,600 of them, or be shown the wrong ones."""
    page = browser.new_page(java_script_enabled=False)
    page.goto(f"{server.url}/docs/catalogue")
    total = sum(len(product.actions) for product in catalogue().values())
    assert page.locator("tbody tr").count() == total
    page.get_by_label("Find").fill("API key")
    page.locator("select[name=product]").select_option("openai")
    page.get_by_role("button", name="Show").click()
    shown = page.locator("tbody th").all_inner_texts()
    expected = [
        name
        for name, one in catalogue()["openai"].actions.items()
        if all(word in f"{name} {one.title} {one.target_type}".casefold() for word in ("api", "key"))
    ]
    assert shown == expected
    assert f"{len(shown)} of {total}" in page.inner_text("main")
    page.close()


@pytest.mark.parametrize("query", ["product=nobody", "verb=do", "colour=red", "q=" + "x" * 201])
def test_a_filter_the_catalogue_does_not_know_shows_nothing(server: Server, query: str) -> None:
    """A page that ignores a filter shows more than was asked for."""
    with server.client(None) as client:
        answer = client.get(f"/docs/catalogue?{query}")
    assert answer.status_code == 400
    assert 'role="alert"' in answer.text
    assert "No action fits" in answer.text


def test_docs_page_has_no_script_and_a_strict_policy(server: Server) -> None:
    """A page of an audit log would run whatever someone manages to put into it."""
    with server.client(None) as client:
        answer = client.get("/docs")
        policy = answer.headers["content-security-policy"]
        assert "default-src 'none'" in policy
        assert "unsafe" not in policy
        assert "frame-ancestors 'none'" in policy
        assert answer.headers["x-content-type-options"] == "nosniff"
        assert "<script" not in answer.text
        assert "style=" not in answer.text
        for name in ("docs.css", "tallystick.svg"):
            asset = client.get(f"/static/{name}")
            assert asset.status_code == 200
            again = client.get(f"/static/{name}", headers={"If-None-Match": asset.headers["etag"]})
            assert again.status_code == 304
        assert client.get("/", follow_redirects=False).headers["location"] == "/sign-in"


def _is_dark(colour: str) -> bool:
    numbers = colour.removeprefix("rgba(").removeprefix("rgb(").rstrip(")").split(",")
    return sum(float(number) for number in numbers[:3]) < 384
