"""Takes the pictures of the viewer in the docs: python docs/images/viewer.py URL COOKIE, of a server with the demo week."""

from __future__ import annotations

import shutil
import sys
from pathlib import Path

from playwright.sync_api import sync_playwright

HERE = Path(__file__).parent
PICTURES = {
    "viewer-light": ("/events?q=-type:read%20-stream:tallystick", "light", ""),
    "viewer-dark": ("/events?outcome=denied&outcome=failure&range=7d&view=failed", "dark", ""),
    "viewer-drawer": ("/events?ip=203.0.113.77", "light", "#rows tr:nth-child(2) a.open"),
    "viewer-diff": ("/events?action=^update_dataset$&outcome=success", "dark", "#rows tr:first-child a.open"),
    "viewer-verify": ("/verify", "light", ""),
}


def main(url: str, cookie: str) -> None:
    """Take them all."""
    with sync_playwright() as playwright:
        browser = playwright.chromium.launch(executable_path=shutil.which("chromium"), args=["--no-sandbox"])
        for name, (path, scheme, click) in PICTURES.items():
            context = browser.new_context(color_scheme=scheme, viewport={"width": 1360, "height": 850})
            context.add_cookies([{"name": "tallystick", "value": cookie, "url": url}])
            page = context.new_page()
            page.goto(url + path)
            if path.startswith("/events"):
                page.wait_for_selector("#chart")  # a busy machine sends it after the page
            if click:
                page.click(click)
                page.wait_for_selector("#drawer .d-sentence")
            page.wait_for_timeout(500)
            page.screenshot(path=HERE / f"{name}.png")
            context.close()


if __name__ == "__main__":
    main(*sys.argv[1:])
