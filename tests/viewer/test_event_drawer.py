"""Reading, following and keeping: the open event, the live tail and saved views, in a real browser."""

from __future__ import annotations

import os
import subprocess
import sys
from pathlib import Path

from people import execute
from server import event
from viewer.conftest import SHARED_TARGET


def names(visit, column: str = "user") -> list[str]:
    return visit.page.locator(f"#rows .c-{column}").all_inner_texts()


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


def test_the_offline_command_proves_the_event(visit, seeded, tmp_path) -> None:
    """What the page offers to paste would not run, or prove nothing."""
    one = visit()
    one.go("/events?target_id=ds_shared&action=tool")
    one.page.locator("#rows .c-time").click()
    commands = one.page.locator("#proof .snippet code").inner_text()
    path = f"{Path(sys.executable).parent}{os.pathsep}{os.environ['PATH']}"
    done = subprocess.run(
        ["bash", "-e", "-c", commands], cwd=tmp_path, capture_output=True, text=True, timeout=60,
        env={**os.environ, "PATH": path, "TALLYSTICK_API_KEY": seeded.admin_key},
    )  # fmt: skip
    assert done.returncode == 0, done.stdout + done.stderr
    assert "PROVEN" in done.stdout


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
    one.until("location.search.includes('range=7d')")
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
    one.go("/events?view=all&limit=10")
    one.page.click("#views summary")
    one.page.click("#views >> text=Open this view first")
    one.until("location.search.includes('limit=10')")


def test_an_event_that_is_not_there_is_said_to_be_missing(visit) -> None:
    """A link to an event of another organization would open an empty panel, or fail."""
    one = visit()
    for wanted in ("01a1ff0c-7dde-7da9-bd3f-b71720e1c028", "nonsense"):
        one.go(f"/events?view=all&limit=10&event={wanted}")
        assert "There is no event with this id" in one.page.inner_text("#drawer [role=alert]")
        assert one.rows() == 10
        one.page.click("#close")
        one.page.wait_for_selector("#drawer", state="hidden")
