"""The pages of sign-in in a real browser: light and dark, small and wide, with and without scripts, by keyboard."""

from __future__ import annotations

import os
import re
import shutil
import time
from base64 import b32decode
from collections.abc import Iterator
from pathlib import Path
from typing import Any

import pytest

from people import OWNER, PASSWORD, add_member, link_for
from server import Server
from sign_in.conftest import Provider, trust
from tallystick.services.sign_in import second_factor

CHROMIUM = next(
    (path for name in ("chromium", "chromium-browser", "google-chrome") if (path := shutil.which(name))), None
)
pytestmark = pytest.mark.skipif(CHROMIUM is None, reason="there is no Chromium on this machine: make browser")
CONTRAST = (Path(__file__).parents[1] / "web" / "contrast.js").read_text()
SMALL_TARGETS = """() => [...document.querySelectorAll('a, button, input, select, textarea, summary')]
  .filter(one => one.offsetParent && one.type !== 'hidden' && getComputedStyle(one).position !== 'fixed')
  .filter(one => one.tagName !== 'A' || !one.closest('p'))
  .map(one => [one.getBoundingClientRect(), one.outerHTML.slice(0, 80)])
  .filter(([box]) => box.height > 0 && box.height < 24 && !(box.width <= 20)).map(([, text]) => text)"""
UNNAMED = """() => [...document.querySelectorAll('input:not([type=hidden]):not([hidden]), select, textarea')]
  .filter(one => !one.labels?.length && !one.ariaLabel).map(one => one.outerHTML.slice(0, 80))"""


@pytest.fixture(scope="module")
def chromium() -> Iterator[Any]:
    """One Chromium for the module."""
    from playwright.sync_api import sync_playwright

    arguments = ["--no-sandbox"] if os.geteuid() == 0 else []
    with sync_playwright() as playwright:
        made = playwright.chromium.launch(executable_path=CHROMIUM, args=arguments)
        yield made
        made.close()


class Visitor:
    """A browser window, and everything that went wrong in it."""

    def __init__(
        self, chromium: Any, server: Server, *, width: int = 1280, scheme: str = "light", script: bool = False
    ):
        self.server = server
        self.context = chromium.new_context(
            color_scheme=scheme, viewport={"width": width, "height": 800}, java_script_enabled=script
        )
        self.page = self.context.new_page()
        self.wrong: list[str] = []
        self.page.on("console", lambda message: self.wrong.append(message.text))
        self.page.on("pageerror", lambda error: self.wrong.append(str(error)))
        self.page.on("request", self._asked)

    def _asked(self, request: Any) -> None:
        if not request.url.startswith(self.server.url):
            self.wrong.append(f"asked {request.url}")

    def go(self, path: str) -> None:
        """Open a page."""
        self.page.goto(self.server.url + path)

    def sign_in(self, email: str = OWNER) -> None:
        """Sign in by hand."""
        self.go("/sign-in")
        self.page.fill("#email", email)
        self.page.fill("#password", PASSWORD)
        self.page.click("main button.primary")


@pytest.fixture(scope="module")
def places(house: Server, provider: Provider) -> dict[str, str]:
    """Every page of sign-in by a word for it."""
    way = trust(house, provider.url, group_roles={"*": "MEMBER"})
    add_member(house, "shown@example.com", password=None)
    return {
        "sign-in": "/sign-in",
        "forgot": "/sign-in/forgot",
        "link": link_for(house, email="shown@example.com"),
        "gone": "/sign-in/link/tsl_nothing",
        "callback": "/sign-in/callback?error=access_denied",
        "account": "/account",
        "second factor": "/account/second-factor",
        "providers": "/settings/sign-in",
        "provider": f"/settings/sign-in/{way.rpartition('/')[2]}",
        "nothing": "/there/is/nothing",
    }


@pytest.mark.parametrize("scheme", ["light", "dark"])
@pytest.mark.parametrize("width", [360, 768, 1360])
def test_every_page_fits_and_can_be_read(
    house: Server, chromium: Any, places: dict[str, str], scheme: str, width: int
) -> None:
    """A page would not fit a phone, be unreadable at night, ask elsewhere, or break its own policy."""
    visitor = Visitor(chromium, house, width=width, scheme=scheme, script=True)
    visitor.sign_in()
    page = visitor.page
    for word, path in places.items():
        if word == "sign-in":
            continue
        visitor.wrong.clear()
        visitor.go(path)
        expected = {"gone": "404", "nothing": "404", "callback": "403"}.get(word)
        wrong = [one for one in visitor.wrong if expected is None or expected not in one]
        assert wrong == [], (word, wrong)
        assert page.evaluate("document.documentElement.scrollWidth") <= width, word
        assert page.evaluate(CONTRAST) == [], word
        assert page.evaluate(SMALL_TARGETS) == [], word
        assert page.evaluate(UNNAMED) == [], word
        assert page.locator("h1").count() == 1, word
        assert page.evaluate("document.documentElement.lang") == "en"
        ids = page.evaluate("[...document.querySelectorAll('[id]')].map(one => one.id)")
        assert len(ids) == len(set(ids)), (word, ids)
    visitor.context.close()


def test_no_page_breaks_a_rule_of_accessibility(house: Server, chromium: Any, places: dict[str, str]) -> None:
    """Who uses a screen reader could not sign in."""
    axe = pytest.importorskip("axe_playwright_python.sync_playwright", reason="axe is not installed").Axe()
    for scheme in ("light", "dark"):
        visitor = Visitor(chromium, house, scheme=scheme, script=True)
        visitor.go("/sign-in")
        found = {}
        for word, path in places.items():
            if word == "forgot":
                visitor.sign_in()
            visitor.go(path)
            # The page's policy lets no script of ours in but those it names; the browser's own tools are not bound by it.
            results = axe.run(visitor.page)
            if results.violations_count:
                found[word] = results.generate_snapshot()
        assert found == {}
        visitor.context.close()


def test_signing_in_without_a_script_by_keyboard_alone(house: Server, chromium: Any) -> None:
    """Who has no mouse, or allows no scripts, could not sign in, choose colours or sign out."""
    visitor = Visitor(chromium, house)
    page = visitor.page
    visitor.go("/account")
    assert page.url.startswith(f"{house.url}/sign-in?to=")
    page.locator("#email:focus").wait_for()  # nobody had to press anything for that
    page.keyboard.type(OWNER)
    page.keyboard.press("Tab")
    page.locator("#password:focus").wait_for()
    page.keyboard.type(PASSWORD)
    page.keyboard.press("Enter")
    page.wait_for_url(f"{house.url}/account")
    page.locator("summary").focus()
    page.keyboard.press("Enter")
    page.get_by_role("button", name="Dark").focus()
    page.keyboard.press("Enter")
    page.locator("html[data-theme=dark]").wait_for()
    assert page.url == f"{house.url}/account"
    page.locator("summary").focus()
    page.keyboard.press("Enter")
    page.get_by_role("button", name="Sign out").focus()
    page.keyboard.press("Enter")
    page.wait_for_url(f"{house.url}/sign-in")
    assert page.locator("html[data-theme=dark]").count() == 1, "the choice stays with the browser"
    assert visitor.wrong == []
    visitor.go("/account")
    assert "/sign-in" in page.url
    visitor.context.close()


def test_the_chosen_colours_win_over_the_systems(house: Server, chromium: Any) -> None:
    """The toggle would do nothing."""
    visitor = Visitor(chromium, house, scheme="dark", script=True)
    page = visitor.page
    visitor.go("/sign-in")
    colour = "getComputedStyle(document.body).backgroundColor"
    dark = page.evaluate(colour)
    page.get_by_role("button", name="Light").click()
    page.wait_for_selector("html[data-theme=light]")
    light = page.evaluate(colour)
    assert light != dark
    assert page.evaluate(CONTRAST) == []
    page.get_by_role("button", name="Auto").click()
    page.wait_for_selector("html[data-theme=system]")
    assert page.evaluate(colour) == dark
    visitor.context.close()


def test_wrong_words_are_said_where_they_are_heard(house: Server, chromium: Any) -> None:
    """Who cannot see the page would not learn that the password was wrong; or would type the address again."""
    visitor = Visitor(chromium, house)
    page = visitor.page
    visitor.go("/sign-in?to=/account")
    page.fill("#email", "wrong@example.com")
    page.fill("#password", "wrong")
    page.click("main button.primary")
    assert (
        page.locator("[role=alert]").inner_text().startswith("This e-mail address and password do not match")
    )
    assert page.input_value("#email") == "wrong@example.com"
    assert page.input_value("#password") == ""
    assert page.input_value("main input[name=to]") == "/account"
    visitor.context.close()


def test_setting_up_a_second_factor_by_hand(house: Server, chromium: Any) -> None:
    """The page would show a code no app can read, or end without the recovery codes."""
    add_member(house, "careful@example.com", "AUDITOR")
    visitor = Visitor(chromium, house)
    page = visitor.page
    visitor.sign_in("careful@example.com")
    visitor.go("/account/second-factor")
    assert page.locator(".qr svg path").count() >= 1
    secret = b32decode(page.locator("code.break").inner_text())
    page.fill("#code", second_factor.code_at(secret, int(time.time() // 30)))
    page.fill("#password", PASSWORD)
    page.click("main button.primary")
    codes = page.locator(".codes li").all_inner_texts()
    assert len(codes) == 10
    page.click("text=I have kept them")
    assert page.locator(".chip.good", has_text="on").count() >= 1
    visitor.context.clear_cookies()
    visitor.sign_in("careful@example.com")
    assert page.url.endswith("/sign-in/code")
    page.fill("#code", codes[0])
    page.click("main button.primary")
    assert "/sign-in" not in page.url
    assert visitor.wrong == []
    visitor.context.close()


def test_signing_in_through_a_provider_by_hand(
    house: Server, chromium: Any, provider: Provider, places: dict[str, str]
) -> None:
    """The browser's own rules (policy, cookies across sites) would keep people from coming back signed in."""
    provider.knows("hand", email="hand@example.com", email_verified=True, name="Hand Made")
    context = chromium.new_context(java_script_enabled=True)
    page = context.new_page()
    wrong: list[str] = []
    # What the provider's own pages do wrong is not ours.
    page.on("console", lambda one: wrong.append(one.text) if house.url in one.location["url"] else None)
    page.goto(f"{house.url}/account")
    page.click("text=Continue with Example ID")
    assert page.url.startswith(provider.url)
    page.fill("input[name=sub]", "hand")
    page.click("button:not([value=deny])")
    page.wait_for_url(re.compile(re.escape(house.url)))
    assert page.url == f"{house.url}/account", page.content()
    assert "hand@example.com" in page.content()
    assert wrong == []
    context.close()


def test_who_may_not_see_a_page_learns_whom_to_ask(house: Server, chromium: Any) -> None:
    """A member without rights would face a blank page, or learn nothing about how to get in."""
    add_member(house, "outside@example.com")
    visitor = Visitor(chromium, house)
    page = visitor.page
    visitor.sign_in("outside@example.com")
    visitor.go("/settings/sign-in")
    text = page.inner_text("main")
    assert "Access restricted" in text
    assert "organization:manage" in text
    assert "Ada Lovelace" in text
    assert (
        page.locator(f"a[href^='mailto:{OWNER.replace('@', '%40')}'], a[href^='mailto:{OWNER}']").count() == 1
    )
    assert page.locator("nav a", has_text="Single sign-on").count() == 0, "the way there is not shown either"
    visitor.context.close()
