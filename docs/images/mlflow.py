"""Takes the picture of MLflow's trail: python docs/images/mlflow.py URL COOKIE, of a server that only MLflow records to."""

from __future__ import annotations

import shutil
import sys
from pathlib import Path

from playwright.sync_api import sync_playwright


def main(url: str, cookie: str, path: str = "/events?q=-stream:tallystick&view=all") -> None:
    """Take it."""
    with sync_playwright() as playwright:
        browser = playwright.chromium.launch(executable_path=shutil.which("chromium"), args=["--no-sandbox"])
        context = browser.new_context(color_scheme="light", viewport={"width": 1360, "height": 1180})
        context.add_cookies([{"name": "tallystick", "value": cookie, "url": url}])
        page = context.new_page()
        page.goto(url + path)
        page.wait_for_selector("#rows tr:nth-child(20)")
        page.wait_for_timeout(500)
        page.screenshot(path=Path(__file__).parent / "mlflow.png")


if __name__ == "__main__":
    main(*sys.argv[1:])
