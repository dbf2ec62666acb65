"""The browser's own check of a bundle, in a real Chromium: honest ones are proven, and every edit is found."""

from __future__ import annotations

import base64
import random
from importlib import resources
from pathlib import Path
from typing import Any

import pytest
from playwright.async_api import Page, async_playwright

from evidence.bundles import bundles_of, files_of, made, packed, resummed
from evidence.test_forgeries import EDITS, REPETITIONS
from services.keeping import Office
from tallystick.services import evidence_bundle
from tallystick.services.keeping.holds import HoldWish
from tallystick.services.keeping.rules import Wish
from verify.test_browser import CHROMIUM

pytestmark = pytest.mark.skipif(CHROMIUM is None, reason="there is no Chromium on this machine: make browser")
STATIC = resources.files("tallystick.web.ui").joinpath("static")
# Of these the browser only compares a hash, or the order.
PLAIN = ("a byte of README.txt", "a byte of report.html", "lines of report.html", "a file less", "the order")
# {bundles: [base64], keys: [text], known: [note]} → [[violated and unchecked, verdict], …]
CHECK = """async ({bundles, keys, known}) => {
  const proof = await import("/proof.js");
  const { verifyBundle } = await import("/bundle.js");
  const pinned = await Promise.all(keys.map((one) => proof.Key.parse(one)));
  const kept = known.map((note) => ({ label: "kept", checkpoint: new proof.Checkpoint(note) }));
  const found = [];
  for (const text of bundles) {
    const file = new Blob([Uint8Array.from(atob(text), (char) => char.charCodeAt(0))]);
    const report = await verifyBundle(proof, file, { keys: pinned, known: kept });
    found.push([[...report.violated, ...(report.unchecked ? [report.unchecked] : [])], report.verdict]);
  }
  return found;
}"""


async def answer(route: Any) -> None:
    """Answer with the page's modules and nothing else."""
    name = route.request.url.rpartition("/")[2]
    if name.endswith(".js"):
        await route.fulfill(body=STATIC.joinpath(name).read_text(), content_type="text/javascript")
    else:
        await route.fulfill(body="<!doctype html><title>check</title>", content_type="text/html")


async def checked(page: Page, office: Office, bundles: list[bytes], known: tuple[str, ...] = ()) -> list[Any]:
    keys = [office.log.verifier.format(), office.log.signer.clock().format()]
    coded = [base64.b64encode(one).decode() for one in bundles]
    return await page.evaluate(CHECK, {"bundles": coded, "keys": keys, "known": list(known)})


async def test_a_browser_checks_a_bundle(
    office: Office, pools: Any, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    """Whoever drops a forged bundle on the page would be shown it as proven."""
    await office.age(4)
    await office.policies.change(office.boss, Wish(class_="seven_years"))
    await office.holds.set(office.boss, HoldWish(reason="case", workspace="w-1"))
    await office.age(2)
    maker = bundles_of(office, tmp_path / "evidence", pools)
    full = await made(maker, office)
    monkeypatch.setattr(evidence_bundle, "can_write_pdf", lambda: False)
    files = files_of(await made(maker, office))
    edited: dict[str, list[bytes]] = {}
    for name, edit in EDITS.items():
        if "report.pdf" in name or name == "the report":
            continue
        for repetition in range(4 * REPETITIONS):
            rng = random.Random(repetition)
            forged = edit(files, rng)
            if forged == files and list(forged) == list(files):
                continue
            if repetition % 2 and "manifest.json" in forged and "manifest" not in name:
                forged = resummed(forged)
            edited.setdefault(name, []).append(packed(forged))
            if len(edited[name]) == (REPETITIONS if name not in PLAIN else 8):
                break
    assert all(len(one) in (8, REPETITIONS) for one in edited.values())
    whole = packed(files)
    headers = range(len(whole) - 600, len(whole))  # the directory and the end
    flips = [*random.Random(9).sample(range(len(whole)), 40), *random.Random(9).sample(headers, 60)]
    flipped = [whole[:at] + bytes([whole[at] ^ 4]) + whole[at + 1 :] for at in flips]
    tricks = [b"#!" + whole, whole + b"\0", whole[:-9], whole[100:], b"PK\x03\x04", whole + whole]
    async with async_playwright() as playwright:
        browser = await playwright.chromium.launch(executable_path=CHROMIUM, args=["--no-sandbox"])
        page = await browser.new_page()
        await page.route("http://localhost:1/**", answer)
        await page.goto("http://localhost:1/")
        assert await checked(page, office, [full, whole]) == [[[], "proven"], [[], "proven"]]
        for name, bundles in {**edited, "flipped": flipped, "tricks": tricks}.items():
            missed = [at for at, (found, _) in enumerate(await checked(page, office, bundles)) if not found]
            assert missed == [], name
        await browser.close()
