"""How the events page looks and what it does to those who look: accessible, calm in both themes, harmless."""

from __future__ import annotations

import hashlib
import importlib.util
import json
from datetime import UTC, datetime
from pathlib import Path

import pytest

from people import session_of, sign_in
from server import event, server_folder, start
from tallystick.web import ui
from viewer.conftest import PAYLOADS, hostile

WIDTHS = (360, 768, 1360)
STATIC = Path(ui.__file__).parent / "static"
# Every state somebody can bring the page into, and how.
STATES = {
    "table": ("/events?view=all&limit=10", ()),
    "compact": ("/events?outcome=denied&outcome=failure&density=compact&limit=10", ()),
    "more": ("/events?ip=203.0.113.77&limit=10", ()),
    "columns": ("/events?view=all&limit=10", ("#columns summary",)),
    "views": ("/events?view=all&limit=10", ("#views summary",)),
    "copy as": ("/events?outcome=denied&limit=10", (".pass-on summary",)),
    "drawer": ("/events?action=^update_dataset$&limit=10", ("#rows tr:first-child a.open",)),
    "value": ("/events?stream=platform&limit=10", ("#rows .c-action a.v",)),
    "wrong": ("/events?colour=red", ()),
    "empty": ("/events?user=nobody-of-this-name&range=7d", ()),
    "all columns": ("/events?view=all&limit=10&cols=sentence,id,actor_type,role,on_behalf_of,credential,user_agent,request_id,"
                    "error_code,country,sensitivity,received,tags", ()),
    "hostile": ("/events?project=hostile&limit=10", ()),
}  # fmt: skip


# Controls that are too small to be hit (WCAG 2.2, 2.5.8).
SMALL = """() => [...document.querySelectorAll('#view :is(button, input, select, summary, .choice a, .chip a)')]
    .filter(one => one.checkVisibility({visibilityProperty: true}) && one.type !== 'checkbox')
    .filter(one => { const box = one.getBoundingClientRect(); return box.height < 24 || box.width < 24 })
    .map(one => one.outerHTML.slice(0, 90))"""


def axe(page, rule: str = "") -> list[str]:
    """Return what axe-core finds wrong with the page, in words; with `rule` only that rule is asked."""
    found = importlib.util.find_spec("axe_playwright_python")
    if found is None or found.origin is None:
        pytest.skip("axe-playwright-python is not installed")
    if not page.evaluate("Boolean(window.axe)"):
        page.evaluate(Path(found.origin).with_name("axe.min.js").read_text())
    only = {"runOnly": [rule]} if rule else {}
    result = page.evaluate(f"axe.run(document, {json.dumps({'resultTypes': ['violations'], **only})})")
    return [
        f"{one['id']}: {node['target']} {node['failureSummary'][:200]}"
        for one in result["violations"]
        for node in one["nodes"][:3]
    ]


@pytest.mark.parametrize("state", STATES)
def test_every_state_is_accessible_and_fits(visit, state: str) -> None:
    """Whoever uses a screen reader, a keyboard, weak eyes or a phone would be locked out of this state."""
    path, clicks = STATES[state]
    one = visit(color_scheme="light")
    one.go(path)
    for selector in clicks:
        one.page.locator(selector).first.click()
        one.page.wait_for_timeout(250)
    assert axe(one.page) == []
    assert one.page.locator("h1").count() == 1
    one.page.emulate_media(color_scheme="dark")
    assert axe(one.page, "color-contrast") == []
    for width in WIDTHS:
        one.page.set_viewport_size({"width": width, "height": 800})
        assert one.page.evaluate("document.documentElement.scrollWidth") <= width
        assert one.page.evaluate(SMALL) == []


@pytest.mark.parametrize("theme", ["light", "dark", "system"])
def test_the_chosen_theme_wins(visit, theme: str) -> None:
    """A chosen theme would be overruled by the system's."""
    one = visit(color_scheme="light")
    one.page.context.add_cookies([{"name": "tallystick-theme", "value": theme, "url": one.url}])
    one.go("/events?user=nobody")
    colour = one.page.evaluate("getComputedStyle(document.body).backgroundColor")
    assert (sum(map(int, colour[4:-1].split(","))) < 200) == (theme == "dark")


def test_hostile_values_do_nothing_and_hide_nothing(visit, seeded) -> None:
    """A name could run a script, ask for a page, leave its cell, or hide what it is."""
    one = visit()
    one.go(
        "/events?project=hostile&limit=100&cols=time,sentence,user,action,target,ip,outcome,user_agent,request_id,error_code,country,role,tags"
    )
    assert one.rows() == len(PAYLOADS)
    shown = one.page.inner_text("#rows")
    for mark in (
        "U+202E",
        "U+200B",
        "U+200D",
        "U+FEFF",
        "ESC",
        "LF",
        "CR",
        "U+3164",
        "U+00A0",
        "U+2028",
        "+57 marks",
    ):
        assert mark in shown, mark
    assert not any(one in shown for one in "\u202e\u200b\ufeff\u3164\u2028")
    for row in range(len(PAYLOADS)):
        one.page.locator("#rows a.open").nth(row).click()
        one.until("document.querySelector('#drawer .d-sentence')")
        one.page.wait_for_timeout(60)
    assert (
        one.page.evaluate(
            "document.querySelectorAll('#view img, #view script, #view iframe, #view [onerror], #view [onload], #view [onmouseover], #rows [hx-get], #drawer [hx-get]').length"
        )
        == 0
    )
    assert (
        one.page.evaluate(
            "[...document.querySelectorAll('#view a')].filter(a => !a.href.startsWith(location.origin)).length"
        )
        == 0
    )
    assert not any("/x" in url for url in one.requests)


def test_the_display_groups_of_the_hostile_sample(visit, seeded, shared) -> None:
    """A payload that is known to fool viewers would fool this one."""
    cases = [json.loads(line) for line in (shared / "hostile-sample.jsonl").read_text().splitlines()]
    bodies = [
        case["request"]["body"]
        for case in cases
        if case["group"].startswith(("display", "text")) and "body" in case["request"]
    ]
    now = datetime.now(UTC).isoformat()
    with seeded.client() as client:
        for body in bodies:
            client.post(
                "/v1/events",
                content=json.dumps({**body, "occurred_at": now, "workspace": "sample"}),
                headers={"Content-Type": "application/json"},
            )
    one = visit()
    one.go("/events?project=sample&limit=100&cols=time,sentence,user,action,target,user_agent,outcome,tags")
    assert one.rows() >= 15
    for row in range(one.rows()):
        one.page.locator("#rows a.open").nth(row).click()
        one.page.wait_for_timeout(80)
    assert one.page.evaluate("({}).admin === undefined && Object.prototype.x === undefined")
    assert (
        one.page.evaluate(
            "document.querySelectorAll('#view img, #view script, #view iframe, #view meta, #drawer a[href^=\"javascript\"]').length"
        )
        == 0
    )
    unseen = one.page.evaluate(
        r"/[\u200b-\u200f\u202a-\u202e\u2066-\u2069\ufeff\ufff9-\ufffb]/.test(document.querySelector('#view').innerText)"
    )
    assert unseen is False


def test_nothing_moves_when_rows_change(visit) -> None:
    """The table would jump under the pointer while somebody types."""
    one = visit()
    one.go("/events?user=ines")
    one.page.evaluate(
        """() => { window.shift = 0; new PerformanceObserver(list => { for (const e of list.getEntries()) if (!e.hadRecentInput) shift += e.value }).observe({type: 'layout-shift'}) }"""
    )
    one.page.fill("#f-user", "hugo")
    one.until("[...document.querySelectorAll('#rows .c-user')].every(c => c.innerText.includes('Hugo'))")
    one.page.wait_for_timeout(200)
    assert one.page.evaluate("shift") <= 0.02


def test_a_first_visitor_is_led_to_the_first_event(browser, visit) -> None:
    """Whoever has just installed this would look at an empty table and not know what to do."""
    folder = server_folder()
    running = start(folder / "data")
    try:
        one = visit(running, session_of(sign_in(running)))
        one.go("/events")
        assert "Waiting for the first event" in one.page.inner_text("#first-run")
        assert axe(one.page) == []
        one.page.click("text=Make a key and put it in")
        code = one.page.inner_text("#first-run pre >> nth=0")
        assert "tst_" in code
        assert len(code.splitlines()) == 3
        key = code.split("api_key='")[1].split("'")[0]
        with running.client(key) as client:
            assert client.post("/v1/events", json=event(action="hello.create")).status_code == 201
        one.page.wait_for_selector("#rows >> text=hello.create")
        assert one.page.locator("#first-run").count() == 0
        one.page.close()  # or it would go on asking a server that is gone
    finally:
        running.stop()


def test_the_vendored_script_is_the_one_it_claims_to_be() -> None:
    """A script of strangers could be changed here without anybody noticing."""
    note = (STATIC / "htmx-4.0.1.LICENSE.txt").read_text()
    assert hashlib.sha256((STATIC / "htmx-4.0.1.min.js").read_bytes()).hexdigest() in note


def test_the_hostile_events_are_hostile() -> None:
    """The payloads would never reach the page, and this file would test nothing."""
    assert all(
        payload in json.dumps(hostile(payload, datetime.now(UTC)), ensure_ascii=False)
        or "\\" in json.dumps(payload, ensure_ascii=False)
        for payload in PAYLOADS
    )
