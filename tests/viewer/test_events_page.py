"""The events page in a real browser: what somebody does there, with and without JavaScript."""

from __future__ import annotations

import re
import time
from contextlib import suppress
from urllib.parse import quote

import pytest


def names(visit, column: str = "user") -> list[str]:
    return visit.page.locator(f"#rows .c-{column}").all_inner_texts()


def test_the_page_opens_on_the_first_view(visit) -> None:
    """Whoever opens the page would see other events than its chips say."""
    one = visit()
    assert one.go("/events").status == 200
    assert one.query() == "?view=all"
    assert one.page.locator(".chip.filter").count() == 0
    assert one.rows() == 50
    assert one.page.inner_text("#views summary").strip().endswith("Everything")
    one.page.click("#views summary")
    one.page.click("#views >> text=All but reads")
    one.page.wait_for_selector(".chip.filter:has-text('Event type is not read')")


def test_without_javascript(visit) -> None:
    """Where scripts are switched off somebody could not search, page, choose columns or read an event."""
    one = visit(java_script_enabled=False)
    one.go("/events")
    one.page.fill("#f-user", "ines")
    one.page.select_option("#f-outcome", "failure")
    one.page.click("button.apply")
    assert "user=ines" in one.page.url
    assert "outcome=failure" in one.page.url
    assert "=&" not in one.page.url
    assert all("Ines Carvalho" in text for text in names(one))
    one.page.click(".chip.filter:has-text('Outcome') a")
    assert "outcome" not in one.page.url
    one.page.click(".pager >> text=Older")
    assert "cursor=" in one.page.url
    second = names(one, "time")
    one.page.click(".pager >> text=Newer")
    assert names(one, "time") != second
    one.page.locator("#rows a.open").first.click()
    assert one.page.locator("#drawer .d-sentence").is_visible()
    one.page.click("#close")
    assert one.page.locator("#drawer").is_hidden()
    one.page.click("#columns summary")
    one.page.uncheck("#columns input[value=ip]")
    one.page.check("#columns input[value=user_agent]")
    one.page.click("#columns button.primary")
    heads = one.page.locator("#table th").all_inner_texts()
    assert "User agent" in heads
    assert "IP address" not in heads
    one.go("/events?view=all")
    assert "User agent" in one.page.locator("#table th").all_inner_texts(), "the choice was not remembered"
    one.go("/events?view=all&cols=time,ip")
    assert one.page.locator("#table th").all_inner_texts() == ["Time", "IP address"]


def test_typing_updates_the_table_and_keeps_the_caret(visit) -> None:
    """Typing would be slow, lose its place, or leave an entry of the history for every letter."""
    one = visit()
    one.go("/events?view=all")
    before = one.page.evaluate("history.length")
    one.page.click("#f-user")
    one.page.keyboard.type("inez", delay=20)
    one.page.keyboard.press("Backspace")
    one.page.keyboard.type("s", delay=20)
    # The rows may all be hers before the last letter is answered, so the address says when it was.
    one.until("location.search.includes('user=ines')")
    one.until(
        "document.querySelectorAll('#rows tr').length && [...document.querySelectorAll('#rows .c-user')].every(c => c.innerText.includes('Ines'))"
    )
    assert one.page.evaluate("document.activeElement.id") == "f-user"
    assert one.page.evaluate("[document.activeElement.selectionStart, document.activeElement.value]") == [
        4,
        "ines",
    ]
    one.page.keyboard.type(" carv", delay=20)
    one.until("location.search.includes('carv')")
    one.page.keyboard.press("Tab")
    # What is chosen next is answered after anything that leaving the field may still have asked for.
    one.page.select_option("#f-outcome", "success")
    one.until("location.search.includes('outcome=success')")
    assert one.page.evaluate("history.length") == before + 2, "one visit to a field is one entry"
    one.page.go_back()
    one.until("!location.search.includes('outcome=') && location.search.includes('carv')")
    one.until("document.querySelector('#f-outcome').value === ''")
    one.page.go_back()
    one.until("!location.search.includes('user=') && document.querySelector('#f-user').value === ''")
    one.until("document.querySelectorAll('.chip.filter').length === 0")
    one.page.go_forward()
    one.until("document.querySelector('#f-user').value === 'ines carv'")
    assert all("Ines" in text for text in names(one))


def test_selects_chips_and_views_are_entries_of_the_history(visit) -> None:
    """Back would skip what somebody chose."""
    one = visit()
    one.go("/events?view=all")
    one.page.select_option("#f-outcome", "denied")
    one.until(
        "location.search.includes('outcome=denied') && document.querySelectorAll('#rows .bad-word').length"
    )
    assert set(names(one, "outcome"))
    assert all("denied" in text for text in names(one, "outcome"))
    one.page.select_option("#f-range", "7d")
    one.page.wait_for_selector(".chip.filter:has-text('Last 7 days')")
    one.page.click(".chip.filter:has-text('Outcome') a")
    one.until("!location.search.includes('outcome') && document.querySelector('#f-outcome').value === ''")
    one.page.go_back()
    one.page.wait_for_selector(".chip.filter:has-text('denied')")
    one.until("document.querySelector('#f-outcome').value === 'denied'")
    one.page.click(".clear")
    one.until("document.querySelectorAll('.chip.filter').length === 0")


def test_a_value_is_filtered_for_excluded_and_copied(visit) -> None:
    """What is seen in a row could not be searched for with the mouse."""
    one = visit()
    one.go("/events?stream=platform&range=7d&actor_type=user")
    action = one.page.locator("#rows .c-action a.v").nth(3).inner_text()
    one.page.locator("#rows .c-action a.v").nth(3).click()
    one.page.click("#menu >> text=Copy")
    assert one.page.evaluate("navigator.clipboard.readText()") == action
    one.page.locator("#rows .c-action a.v").nth(3).click()
    one.page.click("#menu >> text=Filter for this")
    one.until("location.search.includes('action=')")
    one.until(f"[...document.querySelectorAll('#rows .c-action a.v')].every(a => a.innerText === '{action}')")
    person = one.page.locator("#rows .c-user a.v").first.inner_text()
    one.page.locator("#rows .c-user a.v").first.click(modifiers=["Alt"])
    one.until("location.search.includes('q=')")
    one.until(
        f"[...document.querySelectorAll('#rows .c-user')].every(c => !c.innerText.includes({person!r}))"
    )
    assert "is not" in one.page.inner_text(".chips")


def test_the_histogram_zooms_by_mouse_and_by_keyboard(visit) -> None:
    """The night that matters could not be cut out of a week."""
    one = visit()
    one.go("/events?view=all&range=7d")
    box = one.page.locator("#chart .plot").bounding_box()
    one.page.mouse.move(box["x"] + box["width"] * 0.4, box["y"] + 20)
    assert one.page.locator("#chart .tip").is_visible()
    one.page.mouse.down()
    one.page.mouse.move(box["x"] + box["width"] * 0.6, box["y"] + 20, steps=4)
    one.page.mouse.up()
    one.until("/from=/.test(location.search) && /to=/.test(location.search)")
    assert "range" not in one.query()
    assert one.page.locator(".chip.filter:has-text('Time')").count() == 2
    one.page.keyboard.press("z")
    one.until("!/from=/.test(location.search)")
    one.page.focus("#chart")
    for key in ("ArrowLeft", "ArrowLeft", "ArrowLeft", "Shift+ArrowLeft", "Enter"):
        one.page.keyboard.press(key)
    one.until("/from=/.test(location.search)")
    total = int(re.sub(r"\D", "", one.page.inner_text(".count b")))
    assert total == sum(
        one.page.evaluate("[...document.querySelectorAll('#bars tbody td')].map(c => Number(c.textContent))")
    )


def test_columns_density_and_zone_are_remembered_and_shared(visit) -> None:
    """A chosen look would be forgotten, or could not be sent to somebody else."""
    one = visit(timezone_id="Europe/Berlin")
    one.go("/events?view=all")
    one.page.click("text=Compact")
    one.page.wait_for_selector(".events.compact")
    assert "density=compact" in one.query()
    one.page.click("#local")
    one.until("document.querySelector('#view').dataset.zone === 'Europe/Berlin'")
    assert "UTC+0" in names(one, "time")[0]
    one.page.click("#columns summary")
    one.page.click("#columns [data-move='-1'][aria-label='Move Source up']")
    one.page.click("#columns button.primary")
    one.until("document.querySelector('#table th').innerText === 'Source'")
    one.go("/events?view=all")
    assert one.page.locator(".events.compact").count() == 1
    assert one.page.locator("#table th").first.inner_text() == "Source"
    one.go("/events?view=all&cols=time,user&density=comfortable&tz=utc")
    assert one.page.locator("#table th").all_inner_texts() == ["Time", "User"]
    assert one.page.locator(".events.comfortable").count() == 1
    one.go("/events?view=all")
    assert one.page.locator("#table th").first.inner_text() == "Source", (
        "a shared address changed what is remembered"
    )


@pytest.mark.parametrize(
    ("query", "said"),
    [
        ("colour=red", "colour"), ("from=2026-02-30", "from"), ("cursor=AAAA", "cursor"), ("view=viw_gone", "viw_gone"),
        ("project=old", "was deleted"), ("cols=time,colour", "colour"), ("tz=Mars/Base", "Mars/Base"), ("limit=0", "limit"),
        ("q=%22", "quote"), ("outcome=maybe", "outcome"), ("range=7d&from=2026-01-01", "contradict"), ("newer=zz", "cursor"),
        ("q=%00", "q"), ("user=" + "x" * 2000, "user"),
    ],
)  # fmt: skip
def test_what_cannot_be_understood_is_said_and_shows_nothing(visit, query: str, said: str) -> None:
    """A broken link would show everything, or a page of errors."""
    one = visit()
    answer = one.go("/events?" + query)
    assert answer.status == 200
    assert said in one.page.inner_text("[role=alert]")
    assert one.rows() == 0
    one.page.click(".note.bad >> text=Clear filters")
    one.until("document.querySelectorAll('#rows tr').length === 50")


def test_links_made_for_other_products_work(visit) -> None:
    """A bookmark of LangWatch's page would open an empty one."""
    one = visit()
    one.go("/settings/audit-log?userSearch=ines&actionFilter=login&period=7d&pageSize=25")
    assert "/events?userSearch=ines" in one.page.url
    assert one.page.input_value("#f-user") == "ines"
    assert all("Ines" in text for text in names(one))
    assert one.rows() == 25


def test_pages_lead_on_and_back(visit) -> None:
    """Whoever pages back would meet other rows."""
    one = visit()
    one.go("/events?stream=platform&limit=10&range=7d")
    ids = "[...document.querySelectorAll('#rows tr')].map(r => r.id)"
    pages = [one.page.evaluate(ids)]
    for _ in range(2):
        one.page.click(".pager [rel=next]")
        one.until(f"document.querySelector('#rows tr').id !== '{pages[-1][0]}'")
        pages.append(one.page.evaluate(ids))
    one.page.click(".pager [rel=prev]")
    one.until(f"document.querySelector('#rows tr').id === '{pages[1][0]}'")
    assert one.page.evaluate(ids) == pages[1]
    one.page.click(".pager [rel=next]")
    one.until(f"document.querySelector('#rows tr').id === '{pages[2][0]}'")
    one.page.click(".pager >> text=Newest")
    one.until(f"document.querySelector('#rows tr').id === '{pages[0][0]}'")


def test_equal_names_of_projects_are_told_apart(visit) -> None:
    """Two projects of one name could not be chosen apart."""
    one = visit()
    one.go("/events?view=all")
    options = one.page.locator("#f-project option").all_inner_texts()
    assert any(one.startswith("Review · Team 1") for one in options)
    assert any(one.startswith("Review · Team 2") for one in options)
    assert not any(one.startswith("old") for one in options)


def test_everything_main_by_keyboard(visit) -> None:
    """Without a mouse somebody could not find, open, read and hand on an event."""
    one = visit()
    one.go("/events?view=all")
    one.page.keyboard.press("/")
    assert one.page.evaluate("document.activeElement.id") == "f-user"
    one.page.keyboard.type("hugo")
    one.until("location.search.includes('user=hugo')")
    one.until("[...document.querySelectorAll('#rows .c-user')].every(c => c.innerText.includes('Hugo'))")
    one.page.keyboard.press("Escape")
    one.page.keyboard.press("j")
    one.page.keyboard.press("j")
    one.page.keyboard.press("Enter")
    one.page.wait_for_selector("#drawer .d-sentence")
    one.page.keyboard.press("y")
    assert "event=" in one.page.evaluate("navigator.clipboard.readText()")
    one.page.keyboard.press("Escape")
    one.page.wait_for_selector("#drawer", state="hidden")
    one.page.keyboard.press("?")
    assert one.page.locator("#help").is_visible()
    one.page.keyboard.press("Escape")
    one.page.keyboard.press("c")
    assert one.page.locator("#columns form").is_visible()
    one.page.keyboard.press("Escape")
    one.page.keyboard.press("f")
    assert one.page.evaluate("document.activeElement.id") == "f-q"
    one.page.keyboard.press("Escape")
    one.page.keyboard.press("Control+k")
    one.page.keyboard.type("failed or")
    one.page.keyboard.press("Enter")
    one.until("location.search.includes('view=failed')")


def test_a_slow_chart_keeps_its_room(visit) -> None:
    """A page would jump when its chart arrives."""
    one = visit()
    one.go("/events?view=all")
    one.page.wait_for_selector("#summary #chart")
    before = one.page.locator("#summary").bounding_box()["height"]
    one.page.evaluate(
        """() => htmx.ajax('GET', '/events/summary?range=7d', {target: '#summary', swap: 'outerHTML'})"""
    )
    one.page.wait_for_selector("#chart[data-zoom='/events']")
    one.page.wait_for_selector("#summary #chart")
    assert abs(one.page.locator("#summary").bounding_box()["height"] - before) <= 1


def test_a_slow_network_leaves_the_old_rows(visit) -> None:
    """While the answer is on its way, or never comes, the page would be empty."""
    one = visit()
    one.go("/events?view=all")
    held = hold(one, "outcome=denied")
    one.page.select_option("#f-outcome", "denied")
    held.arrive(1)
    assert one.rows() == 50
    held.release()
    one.until("location.search.includes('outcome=denied')")


class Held:
    """Requests that are kept from the server until the test lets them go: a slow line without a clock."""

    def __init__(self, one, part: str) -> None:
        self._one, self._part, self._routes, self._open = one, part, [], False
        one.page.route("**/events?*", self._take)

    def _take(self, route) -> None:
        # The list alone: an event that is opened, or a chart that comes later, is another request.
        asks = route.request.headers.get("hx-target", "").partition("#")[2]
        is_held = not self._open and asks in ("view", "results") and self._part in route.request.url
        self._routes.append(route) if is_held else route.continue_()

    def arrive(self, many: int) -> None:
        """Wait until so many requests are held."""
        deadline = time.monotonic() + 30
        while len(self._routes) < many:
            assert time.monotonic() < deadline, f"{len(self._routes)} of {many} requests came"
            self._one.page.wait_for_timeout(20)

    def release(self) -> None:
        """Let all of them go, and those that come."""
        self._open = True
        for route in self._routes:
            with suppress(Exception):  # one that was replaced meanwhile is gone
                route.continue_()


def hold(one, part: str) -> Held:
    return Held(one, part)


def test_an_answer_that_comes_late_takes_nothing_away(visit) -> None:
    """Who opens an event while the list is still being fetched would see nothing open, or see it close again."""
    one = visit()
    one.go("/events?view=all&range=7d")
    held = hold(one, "user=hugo")
    one.page.keyboard.press("/")
    one.page.keyboard.type("hugo")
    held.arrive(1)
    one.page.keyboard.press("Escape")
    for key in ("j", "j", "Enter"):
        one.page.keyboard.press(key)
    one.page.wait_for_selector("#drawer .d-sentence")
    opened = one.page.evaluate("new URLSearchParams(location.search).get('event')")
    said = one.page.inner_text("#drawer .d-sentence")
    held.release()
    one.until("[...document.querySelectorAll('#rows .c-user')].every(c => c.innerText.includes('Hugo'))")
    one.until("location.search.includes('user=hugo')")
    assert f"event={opened}" in one.query(), "the address forgot the open event"
    assert one.page.inner_text("#drawer .d-sentence") == said
    one.page.keyboard.press("Escape")
    one.page.wait_for_selector("#drawer", state="hidden")
    assert "user=hugo" in one.query(), "closing the event brought an older search back"
    assert "event=" not in one.query()
    one.until("document.activeElement.matches('#rows a.open')")


def test_an_open_event_outlives_a_page_that_was_asked_for_before_it(visit) -> None:
    """A chip's answer that comes late would close the event that was opened meanwhile."""
    one = visit()
    one.go("/events?range=7d&stream=platform")
    held = hold(one, "stream=platform")
    one.page.click(".chip.filter:has-text('Time') a")
    held.arrive(1)
    one.page.locator("#rows a.open").nth(1).focus()
    one.page.keyboard.press("Enter")
    one.page.wait_for_selector("#drawer .d-sentence")
    said = one.page.inner_text("#drawer .d-sentence")
    held.release()
    one.until("!location.search.includes('range=') && document.querySelectorAll('.chip.filter').length === 1")
    assert one.page.inner_text("#drawer .d-sentence") == said
    assert "event=" in one.query()
    # What is asked for from within the event closes it, as before.
    one.page.click("#drawer >> text=Same actor")
    one.page.wait_for_selector("#drawer", state="hidden")
    assert "event=" not in one.query()


def test_the_row_cursor_survives_a_swap(visit) -> None:
    """Whoever walks the rows would be thrown out of them whenever the table is fetched anew."""
    go = "url => document.dispatchEvent(new CustomEvent('go', {detail: {url, target: 'view'}}))"
    here = "document.activeElement.closest('#rows tr')?.id"
    one = visit()
    one.go("/events?stream=platform&range=7d&limit=10")
    for _ in range(3):
        one.page.keyboard.press("j")
    stood = one.page.evaluate(here)
    # A page with the same event at another place, and one that has it no more.
    one.page.evaluate(go, "/events?range=7d&limit=100")
    one.until("!location.search.includes('stream=')")
    one.until(f"({here}) === {stood!r}")
    place = "[...document.querySelectorAll('#rows tr')].indexOf(document.activeElement.closest('tr'))"
    at = one.page.evaluate(place)
    one.page.evaluate(go, "/events?range=7d&limit=100&stream=gateway")
    one.until("location.search.includes('stream=gateway')")
    one.until(f"{place} === Math.min({at}, document.querySelectorAll('#rows tr').length - 1)")
    one.page.keyboard.press("Enter")
    one.page.wait_for_selector("#drawer .d-sentence")


def test_the_first_page_is_small(visit) -> None:
    """Over a bad line the page would take seconds."""
    one = visit()
    one.go("/events?view=all")
    sizes = one.page.evaluate("""() => [performance.getEntriesByType('navigation')[0], ...performance.getEntriesByType('resource')]
        .map(one => [one.name.split('/').pop().split('?')[0], one.transferSize])""")
    assert sum(size for _, size in sizes) <= 60 * 1024, sizes


def test_the_same_search_elsewhere(visit, seeded) -> None:
    """A search could not be taken to the command line."""
    one = visit()
    one.go("/events?" + "user=" + quote("O'Brien; rm -rf /") + "&outcome=denied")
    one.page.click(".pass-on summary")
    one.page.click(".pass-on >> text=curl")
    copied = one.page.evaluate("navigator.clipboard.readText()")
    assert copied.startswith("curl ")
    assert "'" not in copied.split("'")[1]
    assert "o%27brien%3B%20rm" in copied


def test_an_error_says_so_and_can_be_tried_again(visit) -> None:
    """When the server fails the rows would be gone, or the page would look as if it had answered."""
    one = visit()
    one.go("/events?view=all")
    before = names(one, "time")
    one.page.route(
        "**/events?*outcome=denied*",
        lambda route: route.fulfill(status=503, headers={"X-Request-Id": "req_1"}, body="x"),
    )
    one.page.select_option("#f-outcome", "denied")
    one.page.wait_for_selector("#failed")
    said = one.page.inner_text("#failed")
    assert "503" in said
    assert "req_1" in said
    assert names(one, "time") == before
    one.page.unroute_all()
    one.page.click("#failed >> text=Retry")
    one.until(
        "location.search.includes('outcome=denied') && document.querySelectorAll('#rows .bad-word').length"
    )
    assert one.page.locator("#failed").count() == 0
    assert one.page.locator("#results.is-old").count() == 0
    # The browser itself says that an answer was an error; nothing else may.
    one.messages[:] = [text for text in one.messages if "503" not in text]


def test_columns_are_dragged_into_their_order(visit) -> None:
    """Ordering ten columns would take forty clicks."""
    one = visit()
    one.go("/events?view=all&cols=time,user,action,ip")
    one.page.click("#columns summary")
    items = one.page.locator("#columns .picker li")
    items.nth(3).drag_to(items.nth(0), target_position={"x": 20, "y": 2})
    one.page.click("#columns button.primary")
    one.until("document.querySelector('#table th').innerText === 'IP address'")
    assert one.page.locator("#table th").all_inner_texts() == ["IP address", "Time", "User", "Action"]


def test_choices_say_how_many_events_they_have(visit) -> None:
    """Somebody would choose a value and find that nothing has it."""
    one = visit()
    denied, deadline = "", time.monotonic() + 60
    # Where counting takes longer than a page waits, the choices come without.
    while not re.search(r"\d", denied):
        assert time.monotonic() < deadline, "the choices never say it"
        one.go("/events?view=all")
        choices = one.page.locator("#f-outcome option").all_inner_texts()
        denied = next(text for text in choices if "Denied" in text)
    listed = int(re.sub(r"\D", "", denied))
    one.page.select_option("#f-outcome", "denied")
    one.until("location.search.includes('outcome=denied')")
    one.page.wait_for_selector("#summary .count b")
    assert int(re.sub(r"\D", "", one.page.inner_text(".count b"))) >= listed > 0
    assert one.page.locator("#actions option").count() > 5
