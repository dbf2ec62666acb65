"""The events page in a real browser: what somebody does there, with and without JavaScript."""

from __future__ import annotations

import re
import time
from urllib.parse import quote

import pytest

from people import execute
from server import event
from viewer.conftest import SHARED_TARGET

DEBOUNCE_MS, UPDATE_MS = 250, 200


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
    one.until(
        "document.querySelectorAll('#rows tr').length && [...document.querySelectorAll('#rows .c-user')].every(c => c.innerText.includes('Ines'))"
    )
    assert one.page.evaluate("document.activeElement.id") == "f-user"
    assert one.page.evaluate("[document.activeElement.selectionStart, document.activeElement.value]") == [
        4,
        "ines",
    ]
    assert "user=ines" in one.query()
    one.page.keyboard.type(" carv", delay=20)
    one.until("location.search.includes('carv')")
    one.page.keyboard.press("Tab")
    one.page.wait_for_timeout(DEBOUNCE_MS + 100)
    assert one.page.evaluate("history.length") == before + 1, "one visit to a field is one entry"
    one.page.go_back()
    one.until("!location.search.includes('user=') && document.querySelector('#f-user').value === ''")
    one.until("document.querySelectorAll('.chip.filter').length === 0")
    one.page.go_forward()
    one.until("document.querySelector('#f-user').value === 'ines carv'")
    assert all("Ines" in text for text in names(one))


def test_a_keystroke_is_answered_within_the_blink_of_an_eye(visit) -> None:
    """Typing would feel like sending letters; the quickest of some keystrokes counts, since others use the machine."""
    one = visit()
    one.go("/events?view=all")
    one.page.evaluate("""() => { window.times = []; document.addEventListener('htmx:config:request', () => times.push([performance.now()]));
        document.addEventListener('htmx:after:swap', () => times.at(-1).push(performance.now())) }""")
    one.page.click("#f-user")
    for at, letter in enumerate("ines c"):
        one.page.keyboard.type(letter)
        one.until(f"times.length > {at} && times.at(-1).length > 1")
    took = one.page.evaluate("times.map(([asked, shown]) => shown - asked)")
    assert min(took) <= UPDATE_MS, took


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
    one.until("!location.search.includes('outcome')")
    assert one.page.input_value("#f-outcome") == ""
    one.page.go_back()
    one.page.wait_for_selector(".chip.filter:has-text('denied')")
    assert one.page.input_value("#f-outcome") == "denied"
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


def test_an_event_opens_beside_the_table_and_rows_are_walked(visit) -> None:
    """Reading one event after the other would lose the place in the list."""
    one = visit()
    one.go("/events?view=all&range=7d")
    one.page.locator("#rows tr").nth(2).locator(".c-proof").click(position={"x": 3, "y": 20})
    one.page.wait_for_selector("#drawer .d-sentence")
    assert "event=" in one.query()
    assert one.rows() == 50
    first = one.page.evaluate("location.search")
    one.page.keyboard.press("j")
    one.until(f"location.search !== {first!r}")
    assert one.page.locator("#rows tr").nth(3).get_attribute("aria-current") == "true"
    one.page.reload()
    assert one.page.locator("#drawer .d-sentence").is_visible(), "the open event is part of the address"
    one.page.keyboard.press("Escape")
    one.page.wait_for_selector("#drawer", state="hidden")
    assert "event=" not in one.query()
    one.page.locator("#rows a.open").nth(5).focus()
    one.page.keyboard.press("Enter")
    one.page.wait_for_selector("#drawer .d-sentence")
    one.page.keyboard.press("Escape")
    one.page.wait_for_selector("#drawer", state="hidden")
    one.until("document.activeElement.closest('tr') === document.querySelectorAll('#rows tr')[5]")
    one.page.go_back()
    one.page.wait_for_selector("#drawer .d-sentence")


def test_an_event_is_told_proved_and_connected(visit, seeded) -> None:
    """Somebody could not understand an event, check it, or find what happened to the same thing elsewhere."""
    one = visit()
    one.go("/events?target_id=ds_shared&action=tool")
    assert one.rows() == 1
    one.page.locator("#rows .c-time").click()
    one.page.wait_for_selector("#drawer .d-sentence")
    said = one.page.inner_text("#drawer .d-sentence")
    assert "Triage agent" in said
    assert SHARED_TARGET["name"] in said
    assert "✓ verified" in one.page.inner_text("#drawer .d-top")
    related = one.page.locator("#related li")
    assert [text.split()[2] for text in related.all_inner_texts()] == ["platform", "gateway", "platform"]
    assert "tallystick verify" in one.page.inner_text("#proof")
    one.page.click("#drawer >> text=Copy JSON")
    assert SHARED_TARGET["id"] in one.page.evaluate("navigator.clipboard.readText()")
    one.page.click("#drawer >> text=Full page")
    one.page.wait_for_url("**/events/*")
    assert one.page.inner_text("h1") == said


def test_a_change_is_shown_as_a_difference(visit) -> None:
    """What a setting was before could not be told from what it is now."""
    one = visit()
    one.go("/events?action=^update_dataset$&outcome=success")
    one.page.locator("#rows .c-time").first.click()
    one.page.wait_for_selector("#changes table")
    rows = one.page.locator("#changes .diff").first.locator("tbody tr")
    assert "/version" in "".join(rows.all_inner_texts())
    assert one.page.locator("#changes tr.changed .before").first.inner_text()
    assert one.page.locator("#changes .unchanged .diff").is_hidden()
    one.page.click("#changes .unchanged summary")
    assert "/owner" in one.page.inner_text("#changes .unchanged .diff")


def test_live_rows_slide_in_and_wait_while_somebody_reads(visit, seeded) -> None:
    """New events would not be seen, or would push away what is being read."""
    one = visit()
    one.go("/events?action=^live.first$")
    one.page.click("#live")
    one.page.wait_for_selector("#live[data-state=live]")
    with seeded.client() as client:
        client.post("/v1/events", json=event(action="live.first"))
        one.page.wait_for_selector("#rows tr")
        one.page.wait_for_selector("#live:not([data-state=live])")
        one.page.click("#live")
        one.page.wait_for_selector("#live[data-state=live]")
        client.post("/v1/events", json=event(action="live.other"))
        client.post(
            "/v1/events",
            json=event(action="live.first", actor={"type": "user", "id": "u2", "name": "Second"}),
        )
        one.until("document.querySelectorAll('#rows tr').length === 2")
        assert "Second" in names(one)[0]
        one.page.locator("#rows .c-time").first.click()
        one.page.wait_for_selector("#drawer .d-sentence")
        client.post("/v1/events", json=event(action="live.first"))
        one.page.wait_for_selector("#new-rows")
        assert one.rows() == 2
        assert one.page.inner_text("#new-rows") == "1 new event"
        one.page.keyboard.press("Escape")
        one.page.wait_for_selector("#drawer", state="hidden")
        one.page.click("#new-rows")
        one.until("document.querySelectorAll('#rows tr').length === 3")
    one.page.keyboard.press("l")
    one.page.wait_for_selector("#live[data-state=off]")


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


def test_a_search_is_saved_opened_changed_and_removed(visit, seeded) -> None:
    """A search worth repeating would have to be typed again."""
    one = visit()
    one.go("/events?outcome=denied&actor_type=agent")
    one.page.click("#views summary")
    one.page.fill("#view-name", "Denied agents")
    one.page.click("#views >> text=Save >> nth=-1")
    one.until("/view=viw_/.test(location.search)")
    assert one.page.inner_text("#views summary").strip().endswith("Denied agents")
    assert one.page.locator("#views .dot").count() == 0
    one.page.select_option("#f-range", "7d")
    one.until("location.search.includes('7d')")
    one.page.reload()
    assert one.page.locator("#views .dot").count() == 1
    with seeded.client() as client:
        found = client.get("/v1/events", params={"action": "saved_view.created"}).json()["events"]
    assert found[0]["after"]["name"] == "Denied agents"
    one.page.click("#views summary")
    one.page.click("#views [aria-label='Remove the view Denied agents']")
    one.until("!/view=viw_/.test(location.search)")
    one.page.click("#views summary")
    assert "Denied agents" not in one.page.inner_text("#views")


def test_a_view_whose_filter_is_gone_refuses_and_says_why(visit, seeded) -> None:
    """A view saved long ago would show everything once a filter of it is no more."""
    execute(
        seeded, "INSERT INTO saved_views (organization_id, id, owner_id, name, address, shared) VALUES (%s, 'viw_old', 'somebody', 'Old times', 'colour=red', true)",
        seeded.organization_id,
    )  # fmt: skip
    one = visit()
    one.go("/events?view=all&limit=10")
    one.page.click("#views summary")
    one.page.click("#views >> text=Old times")
    one.page.wait_for_selector("[role=alert]")
    said = one.page.inner_text("[role=alert]")
    assert "Old times" in said
    assert "colour" in said
    assert one.rows() == 0


def test_a_chosen_view_opens_first(visit) -> None:
    """Whoever always begins with the same search would have to choose it each time."""
    one = visit()
    one.go("/events?outcome=denied&outcome=failure&view=failed&limit=10")
    one.page.click("#views summary")
    one.page.click("#views >> text=Open this view first")
    one.until("location.search.includes('limit=10')")
    one.go("/events")
    assert "view=failed" in one.query()
    one.go("/events?view=changes&q=-type:read&limit=10")
    one.page.click("#views summary")
    one.page.click("#views >> text=Open this view first")
    one.go("/events")
    assert "view=changes" in one.query()


def test_an_event_that_is_not_there_is_said_to_be_missing(visit) -> None:
    """A link to an event of another organization would open an empty panel, or fail."""
    one = visit()
    for wanted in ("01a1ff0c-7dde-7da9-bd3f-b71720e1c028", "nonsense"):
        one.go(f"/events?view=all&limit=10&event={wanted}")
        assert "There is no event with this id" in one.page.inner_text("#drawer [role=alert]")
        assert one.rows() == 10
        one.page.click("#close")
        one.page.wait_for_selector("#drawer", state="hidden")


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
    assert "Review · Team 1" in options
    assert "Review · Team 2" in options
    assert "old" not in options


def test_everything_main_by_keyboard(visit) -> None:
    """Without a mouse somebody could not find, open, read and hand on an event."""
    one = visit()
    one.go("/events?view=all")
    one.page.keyboard.press("/")
    assert one.page.evaluate("document.activeElement.id") == "f-user"
    one.page.keyboard.type("hugo")
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
    before = one.page.locator("#summary").bounding_box()["height"]
    one.page.evaluate(
        """() => htmx.ajax('GET', '/events/summary?range=7d', {target: '#summary', swap: 'outerHTML'})"""
    )
    one.page.wait_for_timeout(400)
    assert abs(one.page.locator("#summary").bounding_box()["height"] - before) <= 1


def test_a_slow_network_leaves_the_old_rows(visit) -> None:
    """While the answer is on its way, or never comes, the page would be empty."""
    one = visit()
    one.go("/events?view=all")
    one.page.route("**/events?*", lambda route: (time.sleep(0.5), route.continue_()))
    one.page.select_option("#f-outcome", "denied")
    one.page.wait_for_timeout(200)
    assert one.rows() == 50
    one.until("location.search.includes('outcome=denied')")
    one.page.unroute("**/events?*")


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
