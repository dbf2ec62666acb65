"""The viewer within somebody else's page: a page of another origin, in a real browser, with cookies of third parties blocked."""

from __future__ import annotations

import importlib.util
import json
import os
import threading
from collections.abc import Iterator
from functools import partial
from http.server import BaseHTTPRequestHandler, ThreadingHTTPServer
from pathlib import Path
from typing import Any

import httpx2
import pytest

from own_events import end, own_events
from server import Server, event
from viewer.conftest import CHROMIUM, Visit
from viewer.test_look import SMALL, axe

TENANT, OTHER = "embed-one", "embed-two"
EXAMPLE = Path(__file__).parents[2] / "examples" / "embed" / "app.py"
HOST = """<!doctype html><html lang="en"><meta charset="utf-8"><title>A product</title>
<style>{style}</style><h1>Our product</h1><script src="{server}/static/tallystick-viewer.js"></script>
<tallystick-viewer token="{token}" theme="{theme}" query="{query}" label="What happened"></tallystick-viewer>"""


class Product:
    """A SaaS's own server on a port of its own: it asks for a token with its key and writes it into its page."""

    def __init__(self, server: Server) -> None:
        self.server = server
        self.wish: dict[str, Any] = {}
        self.style, self.theme, self.query = "", "light", ""
        self.key = server.key("auditLogs:read", "auditLogs:export")
        self._http = ThreadingHTTPServer(("127.0.0.1", 0), partial(_Page, self))
        self.origin = f"http://127.0.0.1:{self._http.server_port}"
        threading.Thread(target=self._http.serve_forever, daemon=True).start()

    def token(self, **more: Any) -> str:
        """Make a token as the backend."""
        wish = {
            "filters": {"tenant": TENANT},
            "origins": [self.origin],
            "name": "customer one",
            **self.wish,
            **more,
        }
        with self.server.client(self.key) as backend:
            made = backend.post("/v1/viewer-sessions", json=wish)
        assert made.status_code == 201, made.text
        return made.json()["token"]

    def page(self) -> bytes:
        """Return the page with a token made for this visit."""
        return HOST.format(
            server=self.server.url, token=self.token(), style=self.style, theme=self.theme, query=self.query
        ).encode()

    def close(self) -> None:
        self._http.shutdown()
        self._http.server_close()


class _Page(BaseHTTPRequestHandler):
    def __init__(self, product: Product, *arguments: Any) -> None:
        self._product = product
        super().__init__(*arguments)

    def do_GET(self) -> None:
        body = self._product.page() if self.path == "/" else b""
        self.send_response(200 if body else 404)
        self.send_header("Content-Type", "text/html; charset=utf-8")
        self.end_headers()
        self.wfile.write(body)

    def log_message(self, format: str, *arguments: Any) -> None:
        """Say nothing."""


@pytest.fixture(scope="module")
def tenants(seeded: Server) -> Server:
    """Events of two customers of one product, on the seeded server."""
    events = [
        event(action=f"invoice.{verb}", workspace=workspace, actor={"type": "user", "id": f"u{at}", "name": f"Person {at} of {workspace}"},
              targets=[{"type": "invoice", "id": f"inv_{at}"}], before={"total": at}, after={"total": at + 1})
        for workspace in (TENANT, OTHER) for at, verb in enumerate(["create", "update", "send", "pay"] * 4)
    ]  # fmt: skip
    with seeded.client() as client:
        assert client.post("/v1/events:batch", json=events).status_code == 200
    return seeded


@pytest.fixture
def product(tenants: Server) -> Iterator[Product]:
    """A product that shows its customer the log."""
    made = Product(tenants)
    yield made
    made.close()


@pytest.fixture(scope="module")
def strict_browser() -> Iterator[Any]:
    """A Chromium that lets no third party keep a cookie."""
    if CHROMIUM is None:
        pytest.skip("there is no Chromium on this machine: make browser")
    from playwright.sync_api import sync_playwright

    arguments = ["--test-third-party-cookie-phaseout", *(["--no-sandbox"] if os.geteuid() == 0 else [])]
    with sync_playwright() as playwright:
        made = playwright.chromium.launch(executable_path=CHROMIUM, args=arguments)
        yield made
        made.close()


@pytest.fixture
def open_page(strict_browser: Any, product: Product) -> Iterator[Any]:
    """Opens the product's page; at the end nothing may stand in the console and no cookie may have been kept."""
    contexts: list[Any] = []
    visits: list[Visit] = []

    def opened(quiet: bool = True, **options: Any) -> Visit:
        context = strict_browser.new_context(
            **{"viewport": {"width": 1360, "height": 1100}, "reduced_motion": "reduce", **options}
        )
        context.set_default_timeout(30_000)
        contexts.append(context)
        one = Visit(context.new_page(), product.origin)
        if quiet:
            visits.append(one)
        one.page.on("console", lambda message: one.messages.append(f"{message.type}: {message.text}"))
        one.page.on("pageerror", lambda error: one.messages.append(f"error: {error}"))
        one.page.on("request", lambda request: one.requests.append(request.url))
        one.page.add_init_script(
            "window.heard = []; for (const name of ['tallystick-ready', 'tallystick-ended']) addEventListener(name, () => heard.push(name));"
            "addEventListener('message', event => heard.push(event.data?.type))"
        )
        one.go("/")
        return one

    yield opened
    for context in contexts:
        assert context.cookies() == [], "a session that needs a cookie would not work everywhere"
        context.close()
    for one in visits:
        assert [text for text in one.messages if "favicon" not in text and "404" not in text] == []


def inside(one: Visit) -> Any:
    """Return the frame of the viewer once its rows are there."""
    handle = one.page.locator("tallystick-viewer iframe").element_handle()
    frame = handle.content_frame()
    frame.wait_for_selector("#view, .said")
    return frame


def test_the_events_of_one_customer_in_somebody_s_page(open_page, product: Product, tenants: Server) -> None:
    """A customer would see nothing, or see others' events, or could widen what is locked."""
    before = end(tenants)
    one = open_page()
    frame = inside(one)
    assert frame.locator("#rows tr").count() == 16
    assert OTHER not in frame.content()
    assert frame.locator(".chip.filter").count() == 0, "what is locked is not the visitor's to take away"
    assert frame.locator("#f-project").count() == 0
    assert frame.locator(".rail, .bar, #export, .pass-on, .save").count() == 0
    frame.fill("#f-user", "Person 3")
    frame.wait_for_selector(".chip.filter:has-text('Person 3')")
    assert frame.locator("#rows tr").count() == 1
    frame.locator("#rows a.open").first.click()
    frame.wait_for_selector("#drawer .d-sentence")
    assert "✓ verified" in frame.inner_text("#drawer .d-top")
    assert "Authorization" not in frame.inner_text("#proof")
    frame.click("#proof [data-check-event]")
    frame.wait_for_selector("#proof [role=status]:has-text('Checked by this browser')")
    frame.click("#close")
    frame.wait_for_selector("#drawer", state="hidden")
    for query in (
        f"project={OTHER}",
        f"q=workspace:{OTHER}",
        "view=all",
        f"project={TENANT}&project={OTHER}",
    ):
        frame.evaluate("query => { location.href = location.pathname + '?' + query }", query)
        frame.wait_for_url(f"**{query.partition('=')[0]}=*")
        frame.wait_for_selector("#results")
        assert OTHER not in frame.inner_text("#rows") if frame.locator("#rows").count() else True
        assert frame.locator("#rows tr").count() <= 16
    seen = [one for one in own_events(tenants, before) if one["actor"]["type"] != "system"]
    actions = [one["action"] for one in seen]
    assert "viewer_session.started" in actions
    assert "events.searched" in actions, "the view is not on record"
    assert "event.viewed" in actions
    started = next(one for one in seen if one["action"] == "viewer_session.started")
    assert started["metadata"]["origin"] == product.origin


def test_another_origin_sees_nothing(open_page, product: Product) -> None:
    """A stolen token would open the log in any page."""
    product.wish = {"origins": ["https://somebody-else.example.com"]}
    one = open_page(quiet=False)
    one.page.wait_for_timeout(100)
    one.until("document.querySelector('tallystick-viewer').shadowRoot.querySelector('iframe')")
    for _ in range(300):
        if any("frame" in text.lower() or "refused" in text.lower() for text in one.messages):
            break
        one.page.wait_for_timeout(100)
    assert any(
        "frame-ancestors" in text or "X-Frame-Options" in text or "refused" in text.lower()
        for text in one.messages
    )
    frames = [frame for frame in one.page.frames if frame != one.page.main_frame]
    assert all(frame.locator("#view").count() == 0 for frame in frames)
    assert one.page.evaluate("heard") == []


def test_what_frames_it_is_in_every_answer(product: Product, tenants: Server) -> None:
    """One page of the viewer would forget whose page may show it."""
    with httpx2.Client(base_url=tenants.url, verify=False) as client:
        entered = client.get(
            "/embed", params={"token": product.token()}, headers={"Referer": product.origin + "/"}
        )
        assert entered.status_code == 303
        path = entered.headers["location"].split("?")[0]
        event_id = client.get(f"{path}?view=all").text.partition('data-open="')[2].partition('"')[0]
        partial_headers = {"HX-Request": "true", "HX-Target": "section#results"}
        for answer in (
            entered, client.get(f"{path}?view=all"), client.get(f"{path}?colour=red"), client.get(f"{path}/summary"),
            client.get(f"{path}/{event_id}"), client.get(f"{path}/nonsense"), client.get(f"{path}?user=ab", headers=partial_headers),
            client.get(f"{path}?event={event_id}", headers={**partial_headers, "HX-Target": "section#drawer"}),
        ):  # fmt: skip
            policy = answer.headers["content-security-policy"]
            assert f"frame-ancestors 'self' {product.origin}" in policy
            assert "x-frame-options" not in answer.headers
            assert answer.headers["referrer-policy"] == "no-referrer"
            assert "set-cookie" not in answer.headers
        assert client.get(path.replace("/events", "/export")).status_code == 403, "its token holds no export"
        foreign = client.get(
            "/embed", params={"token": product.token()}, headers={"Referer": "https://evil.example/x"}
        )
        assert (foreign.status_code, foreign.headers["x-frame-options"]) == (403, "DENY")
        token = product.token()
        assert client.head("/embed", params={"token": token}).status_code == 401
        assert client.get("/embed", params={"token": token}).status_code == 303, (
            "a look at its head used a token up"
        )
        used = client.get("/embed", params={"token": token})
        unknown = client.get("/embed", params={"token": "vwt_" + "A" * 43})
        assert (used.status_code, used.content) == (401, unknown.content)


def test_columns_and_export_are_the_token_s(open_page, product: Product, tenants: Server) -> None:
    """A customer would choose columns that are not meant for customers, or could not take the events along."""
    product.wish = {
        "columns": ["time", "action", "user"],
        "permissions": ["auditLogs:read", "auditLogs:export"],
    }
    one = open_page()
    frame = inside(one)
    assert frame.locator("#table th").all_inner_texts() == ["Time", "Action", "User"]
    assert frame.locator("#columns input[type=checkbox]").count() == 3
    with one.page.expect_download() as download:
        frame.click("#export")
    text = download.value.path().read_text()
    assert TENANT in text
    assert OTHER not in text
    frame.evaluate("location.href = location.pathname + '?view=all&cols=time,ip'")
    frame.wait_for_selector("[role=alert]:has-text('ip')")
    assert frame.locator("#rows tr").count() == 0
    with tenants.client(product.key) as backend:
        refused = backend.post(
            "/v1/viewer-sessions", json={"filters": {"tenant": TENANT}, "columns": ["colour"]}
        )
    assert (refused.status_code, refused.json()["path"]) == (400, "/columns")


def test_its_colours_are_those_of_the_page_around(open_page, product: Product) -> None:
    """The viewer would look like a foreign body, or a value of a style sheet could fetch something."""
    product.style = (
        "tallystick-viewer { --tallystick-accent: rgb(200, 0, 120); --tallystick-paper: #102030;"
        " --tallystick-ink: url(https://evil.example/x); --tallystick-bar: 9rem; --tallystick-max-height: none }"
    )
    product.theme = "dark"
    one = open_page()
    frame = inside(one)
    one.until("heard.includes('tallystick-ready')")
    shown = "name => getComputedStyle(document.documentElement).getPropertyValue(name)"
    assert frame.evaluate(shown, "--accent") == "rgb(200, 0, 120)"
    assert frame.evaluate("getComputedStyle(document.body).backgroundColor") == "rgb(16, 32, 48)"
    assert frame.evaluate("document.documentElement.style.getPropertyValue('--ink')") == ""
    assert frame.evaluate("document.documentElement.style.getPropertyValue('--bar')") == ""
    assert frame.evaluate("document.documentElement.dataset.theme") == "dark"
    height = "document.querySelector('tallystick-viewer').shadowRoot.querySelector('iframe').offsetHeight"
    one.until(f"{height} > 700")
    frame.fill("#f-user", "nobody of this name")
    frame.wait_for_selector(".empty")
    one.until(f"{height} < 700")
    one.page.evaluate("document.querySelector('tallystick-viewer').theme = 'light'")
    frame.wait_for_selector("html[data-theme=light]", state="attached")
    assert not [url for url in one.requests if "evil" in url]


def test_it_speaks_to_the_named_origin_only(open_page, product: Product) -> None:
    """A page in between would learn what the viewer shows, or could dress it up."""
    one = open_page()
    frame = inside(one)
    one.until("heard.includes('tallystick:height')")
    # A message whose sender is not the page around, and one that is not understood, change nothing.
    frame.evaluate(
        "window.postMessage({type: 'tallystick:hello', theme: 'dark', colors: {accent: 'red'}}, location.origin)"
    )
    one.page.evaluate(
        "document.querySelector('tallystick-viewer').shadowRoot.querySelector('iframe').contentWindow.postMessage({type: 'other'}, '*')"
    )
    frame.fill("#f-user", "Person 3")
    frame.wait_for_selector(".chip.filter:has-text('Person 3')")
    assert frame.evaluate("document.documentElement.dataset.theme") == "light"


def test_a_session_that_is_over_says_so_inside_and_outside(
    open_page, product: Product, tenants: Server
) -> None:
    """A customer would look at an error, and the page around could not ask for a new token."""
    one = open_page(quiet=False)
    frame = inside(one)
    with tenants.client(product.key) as backend:
        for live in backend.get("/v1/viewer-sessions").json()["viewer_sessions"]:
            assert backend.delete(f"/v1/viewer-sessions/{live['id']}").status_code == 200
    frame.evaluate(
        "document.dispatchEvent(new CustomEvent('go', {detail: {url: location.pathname + '?user=x', target: 'view'}}))"
    )
    for _ in range(100):  # remembered for four seconds
        if frame.locator(".said").count():
            break
        one.page.wait_for_timeout(300)
        if frame.locator("#view").count():
            frame.evaluate(
                "document.dispatchEvent(new CustomEvent('go', {detail: {url: location.pathname + '?user=x', target: 'view'}}))"
            )
    frame.wait_for_selector("h1:has-text('Session ended')")
    assert frame.locator("#rows").count() == 0
    one.until("heard.includes('tallystick-ended')")
    # The page around gives it a new token, and it goes on.
    one.page.evaluate(
        "token => { document.querySelector('tallystick-viewer').token = token }", product.token()
    )
    frame = inside(one)
    frame.wait_for_selector("#rows tr")


def test_without_a_script_inside(open_page, product: Product) -> None:
    """Where scripts are switched off the viewer would be empty."""
    product.query = ""
    one = open_page(java_script_enabled=False)
    token = product.token()
    one.page.set_content("")
    one.page.goto(f"{product.server.url}/embed?token={token}", referer=product.origin + "/")
    assert one.page.locator("#rows tr").count() == 16
    one.page.fill("#f-user", "Person 2")
    one.page.click("button.apply")
    assert "/embed/vws_" in one.page.url
    assert one.page.locator("#rows tr").count() == 1
    one.page.locator("#rows a.open").first.click()
    assert one.page.locator("#drawer .d-sentence").is_visible()
    one.page.click("text=Full page")
    assert one.page.locator("h1").count() == 1


def test_it_is_accessible_and_fits(open_page, product: Product) -> None:
    """Within a narrow page, or for a screen reader, the viewer could not be used."""
    one = open_page()
    frame = inside(one)
    one.page.goto(frame.url)
    assert axe(one.page) == []
    one.page.locator("#rows a.open").first.click()
    one.page.wait_for_selector("#drawer .d-sentence")
    assert axe(one.page) == []
    for width in (360, 768):
        one.page.set_viewport_size({"width": width, "height": 800})
        assert one.page.evaluate("document.documentElement.scrollWidth") <= width
        assert one.page.evaluate(SMALL) == []


def test_names_of_other_customers_are_not_learned(product: Product, tenants: Server) -> None:
    """The list of projects, the suggestions or the views would tell one customer who the others are."""
    with httpx2.Client(base_url=tenants.url, verify=False, follow_redirects=True) as client:
        for filters in ({"tenant": TENANT}, {"actor": "u1"}):
            page = client.get("/embed", params={"token": product.token(filters=filters)})
            assert page.status_code == 200
            assert "code-review" not in page.text, "the organization's other workspaces"
            assert json.dumps("evals") not in page.text
            assert ">Review" not in page.text


def test_the_example_is_a_whole_product(open_page, product: Product, tenants: Server) -> None:
    """What the guide tells a product to copy would not run."""
    spec = importlib.util.spec_from_file_location("embed_app", EXAMPLE)
    assert spec is not None
    assert spec.loader is not None
    module = importlib.util.module_from_spec(spec)
    spec.loader.exec_module(module)
    app = module.make_server(tenants.url, product.key, TENANT, 0)
    threading.Thread(target=app.serve_forever, daemon=True).start()
    try:
        one = open_page(quiet=False)
        one.page.goto(f"http://127.0.0.1:{app.server_port}/")
        frame = inside(one)
        assert frame.locator("#rows tr").count() == 16
        frame.wait_for_selector("html[style*='#7a3db8']", state="attached")
    finally:
        app.shutdown()
        app.server_close()
