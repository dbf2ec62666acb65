"""The browser's own check: it must find what the verifier finds, in a real Chromium, with nothing but WebCrypto."""

from __future__ import annotations

import base64
import os
import random
import shutil
from collections.abc import Callable, Iterator
from importlib import resources
from typing import Any

import pytest

from tallystick.merkle.proof import ReadHashes, consistency_proof, inclusion_proof
from tallystick.merkle.tlog_proof import TlogProof
from tallystick.merkle.tree import root_of

from .forgery import FORGERIES, Lines, forged
from .numbered import numbered_log
from .peer import CLOCK, SIGNER, PeerLog

CHROMIUM = next(
    (path for name in ("chromium", "chromium-browser", "google-chrome") if (path := shutil.which(name))), None
)
pytestmark = pytest.mark.skipif(CHROMIUM is None, reason="there is no Chromium on this machine: make browser")
REPETITIONS = 40
KEYS = [SIGNER.verifier.format(), CLOCK.verifier.format()]
MODULE = resources.files("tallystick.web.ui").joinpath("static", "proof.js").read_text()
# Checks many exports in one call: {exports: [base64], keys: [text], known: [note]} → [[violated], …]
CHECK = """async ({exports, keys, known}) => {
  const { Key, Checkpoint, verifyExport } = await import("/proof.js");
  const pinned = await Promise.all(keys.map((one) => Key.parse(one)));
  const kept = known.map((note) => ({ label: "kept", checkpoint: new Checkpoint(note) }));
  const found = [];
  for (const text of exports) {
    const bytes = Uint8Array.from(atob(text), (char) => char.charCodeAt(0));
    const stream = new ReadableStream({ start(to) {
      for (let at = 0; at < bytes.length; at += 5000) to.enqueue(bytes.slice(at, at + 5000));
      to.close();
    } });
    const report = await verifyExport(stream, { keys: pinned, known: kept });
    found.push([...report.violated, ...(report.unchecked ? [report.unchecked] : [])]);
  }
  return found;
}"""


def opened() -> Iterator[Any]:
    """Open a page of its own origin whose only script is the checker."""
    from playwright.sync_api import sync_playwright

    arguments = ["--no-sandbox"] if os.geteuid() == 0 else []
    with sync_playwright() as playwright:
        browser = playwright.chromium.launch(executable_path=CHROMIUM, args=arguments)
        made = browser.new_page()
        made.route(
            "http://localhost:1/**",
            lambda route: route.fulfill(
                body=MODULE if route.request.url.endswith(".js") else "<!doctype html><title>check</title>",
                content_type="text/javascript" if route.request.url.endswith(".js") else "text/html",
            ),
        )
        made.goto("http://localhost:1/")
        yield made
        browser.close()


@pytest.fixture(scope="module")
def page() -> Iterator[Any]:
    """One page for the module."""
    yield from opened()


@pytest.fixture(scope="module")
def log() -> PeerLog:
    return PeerLog.of(300)


def reader(log: PeerLog) -> ReadHashes:
    """Read the roots of complete subtrees of a log."""
    return lambda nodes: [
        root_of(log.hashes[one.index << one.level : (one.index + 1) << one.level]) for one in nodes
    ]


def violations(page: Any, exports: list[bytes], known: tuple[str, ...] = ()) -> list[list[str]]:
    """Return what the browser calls violated in each export."""
    coded = [base64.b64encode(one).decode() for one in exports]
    return page.evaluate(CHECK, {"exports": coded, "keys": KEYS, "known": list(known)})


def test_honest_exports_are_proven(page: Any, log: PeerLog) -> None:
    """An honest export that is called violated makes every later warning worthless."""
    rng = random.Random(7)
    exports = []
    for _ in range(40):
        part = PeerLog(log.rows[: rng.choice([0, 1, 2, 3, 7, 8, 255, 256, 257, rng.randrange(300)])])
        start = rng.randint(0, len(part.rows))
        end = rng.randint(start, len(part.rows))
        share = rng.choice([None, 0.0, 0.1, 0.9])
        full = None if share is None else [rng.random() < share for _ in part.rows]
        exports.append(
            part.export(start, end, full=full, filter_text="" if full is None else "action:prompt")
        )
    assert violations(page, exports) == [[]] * len(exports)


def test_numbers_of_producers_are_checked(page: Any) -> None:
    """A number that could be edited beside its leaf would hide a gap from whoever reads the readable part."""
    export = numbered_log([(1, []), (5, [(2, 4)])]).export()
    at = export.rindex(b'"sequence":5')
    edited = [
        export.replace(b'"sequence":5', b'"sequence":2'),
        export[:at] + b'"sequence":2' + export[at + 12 :],
    ]
    first, *others = violations(page, [export, *edited])
    assert first == []
    assert all(others)


@pytest.mark.parametrize("forgery", FORGERIES, ids=lambda forgery: forgery.__name__)
def test_every_forgery_is_found(
    forgery: Callable[[Lines, random.Random], None], page: Any, log: PeerLog
) -> None:
    """Whoever trusts the page would be shown a forged log as proven."""
    part = PeerLog(log.rows[:9])
    whole = part.export()
    some = part.export(2, 8, full=[at % 3 > 0 for at in range(9)], filter_text="stream:platform")
    exports = []
    for repetition in range(REPETITIONS):
        export = whole if forgery.__name__ == "bare_without_record" or repetition % 2 else some
        rng = random.Random(repetition)
        edited = forged(export, lambda lines, rng=rng: forgery(lines, rng), careful=repetition % 4 < 3)
        if edited != export:
            exports.append(edited)
    assert exports
    assert [at for at, found in enumerate(violations(page, exports)) if not found] == []


def test_every_flipped_byte_is_found(page: Any, log: PeerLog) -> None:
    """One byte that may change unseen is one byte that proves nothing."""
    export = PeerLog(log.rows[:4]).export(0, 4)
    rng = random.Random(11)
    places = rng.sample(range(len(export)), 300)
    flipped = [export[:at] + bytes([export[at] ^ 1 << rng.randrange(8)]) + export[at + 1 :] for at in places]
    missed = [places[at] for at, found in enumerate(violations(page, flipped)) if not found]
    assert [export[at - 20 : at + 20] for at in missed] == []


def test_an_older_checkpoint(page: Any, log: PeerLog) -> None:
    """A log rewritten with its own key would pass, though the visitor kept half of the tally."""
    old, new = PeerLog(log.rows[:20]), PeerLog(log.rows[:50])
    other = PeerLog([*log.rows[1:20], log.rows[0]])
    assert violations(page, [new.export(0, 50)], (old.note(),)) == [[]]
    assert violations(page, [new.export(0, 50)], (other.note(),)) != [[]]
    assert violations(page, [old.export(0, 20)], (new.note(),)) != [[]]


def test_receipts(page: Any, log: PeerLog) -> None:
    """A receipt for another event, or for another place, would be taken for this one's."""
    part = PeerLog(log.rows[:37])
    lines = part.export().decode().split("\n")[1:-2]
    check = """async ({text, line, keys}) => {
      const { Key, verifyReceipt } = await import("/proof.js");
      const report = await verifyReceipt(text, { line, keys: await Promise.all(keys.map((one) => Key.parse(one))) });
      return [report.verdict, report.violated, report.unchecked ?? ""];
    }"""
    for at in (0, 1, 17, 35, 36):
        receipt = TlogProof(at, tuple(inclusion_proof(at, 37, reader(part))), part.note()).format()
        assert page.evaluate(check, {"text": receipt, "line": lines[at], "keys": KEYS})[0] == "proven"
        wrong = [(receipt, lines[at - 1]), (receipt.replace(f"index {at}", f"index {at + 1}"), lines[at])]
        wrong.append((receipt, lines[at].replace('"outcome":"', '"outcome":"x')))
        for text, line in wrong:
            assert page.evaluate(check, {"text": text, "line": line, "keys": KEYS})[0] != "proven"


def test_growth(page: Any, log: PeerLog) -> None:
    """A log that forgot or rewrote what the visitor saw before would pass as the same log."""
    check = """async ({older, newer, hashes}) => {
      const { Checkpoint, verifyGrowth } = await import("/proof.js");
      return verifyGrowth(new Checkpoint(older), new Checkpoint(newer), hashes);
    }"""
    for old, new in [(1, 2), (1, 300), (8, 8), (8, 300), (37, 64), (64, 65), (255, 256), (299, 300)]:
        before, after = PeerLog(log.rows[:old]), PeerLog(log.rows[:new])
        hashes = [base64.b64encode(one).decode() for one in consistency_proof(old, new, reader(after))]
        call = {"older": before.note(), "newer": after.note(), "hashes": hashes}
        assert page.evaluate(check, call) is True, (old, new)
        swapped = PeerLog([*log.rows[1:old], log.rows[0]]) if old > 1 else PeerLog(log.rows[1:2])
        assert page.evaluate(check, {**call, "older": swapped.note()}) is False
        if hashes:
            assert page.evaluate(check, {**call, "hashes": hashes[:-1]}) is False
