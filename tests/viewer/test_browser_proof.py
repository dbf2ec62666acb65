"""Events checked from the viewer by the visitor's own browser."""

from __future__ import annotations

from typing import Any

from server import Server

from .test_verify_page import chromium, house, pytestmark, visit

__all__ = ["chromium", "house", "pytestmark", "visit"]


def test_a_page_of_results(visit: Any, house: tuple[Server, str]) -> None:
    """A page would be called checked though nobody looked, or the check would never end."""
    page = visit("/events?limit=25")
    page.locator("[data-check-page]").click()
    page.locator("[data-check-page] + [role=status]", has_text="All").wait_for()
    assert page.locator("#rows .proof", has_text="checked here").count() == 25


def test_one_event_and_a_lie(visit: Any, house: tuple[Server, str]) -> None:
    """A server that shows another event than it can prove would not be caught by the page it serves."""
    page = visit("/events?limit=10")
    first = page.locator("#rows tr").first.get_attribute("id")[2:]
    page.goto(f"{house[0].url}/events/{first}", wait_until="networkidle")
    status = page.locator("[data-check-event] + [role=status]")
    page.locator("[data-check-event]").click()
    page.locator("[data-check-event] + [role=status]", has_text="hecked").wait_for()
    assert f"the event {first} is at position" in status.inner_text()
    assert "✓ Checked by this browser" in status.inner_text()

    def lie(route: Any) -> None:
        answer = route.fetch()
        route.fulfill(
            response=answer, body=answer.text().replace('\\"outcome\\":\\"', '\\"outcome\\":\\"un', 1)
        )

    page.route("**/evidence", lie)
    page.locator("[data-check-event]").click()
    page.locator("[data-check-event] + [role=status]", has_text="Violated").wait_for()
