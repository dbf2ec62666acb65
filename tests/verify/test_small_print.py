"""The checks that no whole-file edit needs, one by one: each would let a small lie pass if it were missing."""

from __future__ import annotations

import hashlib
import json
import random
from collections.abc import Callable
from datetime import UTC, datetime, timedelta

import msgspec
import pytest

from tallystick.formats.jsonl import ExportRow
from tallystick.verify import quick
from tallystick.verify.export import verify_export
from tallystick.verify.layout import LINE_BYTES_MAX
from tallystick.verify.receipt import verify_receipt

from .forgery import Lines, erase, forged, pick
from .peer import CLOCK, ORGANIZATION, ORIGIN, SIGNER, PeerLog, make_event
from .test_export import with_care
from .test_known import receipt

KEYS = (SIGNER.verifier, CLOCK.verifier)


@pytest.fixture(scope="module")
def log() -> PeerLog:
    return PeerLog.of(30)


def kinds(export: bytes) -> set[str]:
    return {finding.kind for finding in verify_export([export], keys=KEYS).violated}


def edited(export: bytes, edit: Callable[[Lines], None], *, careful: bool = True) -> bytes:
    return forged(export, edit, careful=careful)


def log_at(*seconds: int) -> PeerLog:
    """Return a log whose events were received at these seconds, in this order."""
    rng, rows = random.Random(1), []
    for position, second in enumerate(seconds):
        at = datetime(2026, 6, 1, tzinfo=UTC) + timedelta(seconds=second)
        leaf, opening, seed = make_event(rng, position, at)
        rows.append(ExportRow(position, hashlib.sha256(b"\0" + leaf).digest(), leaf, opening, seed))
    return PeerLog(rows)


@pytest.mark.parametrize("part_bytes", [1, 1 << 16])
def test_time_never_goes_back_over_any_border(part_bytes: int, monkeypatch: pytest.MonkeyPatch) -> None:
    """A time that goes back is found within a block, between the parts of one, and between blocks."""
    monkeypatch.setattr(quick, "PART_BYTES", part_bytes)
    good, bad = log_at(1, 2, 2, 3).export(), log_at(1, 2, 1, 3).export()
    for pieces in (lambda raw: [raw], lambda raw: raw.splitlines(keepends=True)):
        assert verify_export(pieces(good), keys=KEYS).verdict == "proven"
        assert [one.kind for one in verify_export(pieces(bad), keys=KEYS).violated] == ["back_dated"]


def test_what_is_left_after_an_erasure_is_checked(log: PeerLog) -> None:
    """In a row of which something was erased, the other values, their salts and the commitments still count."""
    export = PeerLog(log.rows[:4]).export()

    def change(what: str) -> Callable[[Lines], None]:
        def edit(lines: Lines) -> None:
            line = pick(lines, random.Random(1))
            path = erase(line, random.Random(2))
            left = next(one for one in line["opening"] if one.startswith("actor"))
            if what == "value":
                line["opening"][left] = "somebody else"
            elif what == "salt":
                line["seed"][left] = "AAAAAAAAAAAAAAAAAAAAAA"
            elif what == "commit":
                line["opening"]["$erased"][path] = "A" * 43
            names = {"actor/id": "id", "actor/name": "name", "actor/email": "email"}
            line["event"]["erased"] = ["/" + path]
            if path in names:
                del line["event"]["actor"][names[path]]
            if what == "value":
                line["event"]["actor"][names[left]] = "somebody else"

        return edit

    assert kinds(edited(export, change(""))) >= {"erased"}
    for what in ("value", "salt", "commit"):
        assert "sealed" in kinds(edited(export, change(what))), what


def test_the_trailer_counts(log: PeerLog) -> None:
    """Wrong counts are named even where every line is right."""
    export = log.export(2, 20, full=[at % 3 > 0 for at in range(30)], filter_text="x")
    for key in ("events", "bare"):

        def miscount(lines: Lines, key: str = key) -> None:
            lines[-1][key] += 1

        assert kinds(edited(export, miscount, careful=False)) == {"trailer"}


@pytest.mark.parametrize("line", [0, 1, 2, -2])
def test_every_line_has_one_spelling(line: int, log: PeerLog) -> None:
    """The same JSON with a space in it is not the same line, be it header, event, bare hashes or trailer."""
    export = log.export(0, 4, full=[at != 1 for at in range(30)], filter_text="x")
    lines = export.split(b"\n")
    lines[line] = json.dumps(json.loads(lines[line]), ensure_ascii=False).encode()
    last = json.loads(lines[-2])
    last["header_sha256"] = hashlib.sha256(lines[0] + b"\n").hexdigest()
    if line != -2:
        lines[-2] = json.dumps(last, separators=(",", ":")).encode()
    assert verify_export([b"\n".join(lines)], keys=KEYS).exit_code != 0


def test_a_run_of_bare_hashes_says_its_length(log: PeerLog) -> None:
    """A wrong count beside bare hashes is found although the hashes are right."""

    def miscount(lines: Lines) -> None:
        lines[1]["count"] += 1

    assert "line" in kinds(edited(log.export(full=[False] * 30, filter_text="x"), miscount, careful=False))


def test_an_export_is_of_the_organization_it_names(log: PeerLog) -> None:
    """Another organization's name over a log, in the header and in every readable event, is found."""
    other = ORGANIZATION.replace("1", "2")

    def rename(lines: Lines) -> None:
        lines[0]["organization"] = other
        for line in lines[1:-1]:
            line["event"]["organization"] = other

    assert kinds(edited(log.export(), rename)) == {"header"}


def test_a_checkpoint_is_of_the_log_it_stands_with(log: PeerLog) -> None:
    """A log of bare hashes under another log's name is found by its checkpoint, whose origin is signed."""

    def rename(lines: Lines) -> None:
        lines[0]["origin"] = ORIGIN.replace("logs.", "other.")

    assert kinds(edited(log.export(full=[False] * 30, filter_text="x"), rename)) == {"checkpoint"}


def test_a_checkpoint_without_its_time_is_not_whole(log: PeerLog) -> None:
    """Where the clock's key is known, a checkpoint the clock did not sign is a violation; its time is shown else."""
    assert verify_export([log.export()]).facts["signed at"] == "2026-07-01T00:00:00Z"

    def untimed(lines: Lines) -> None:
        note = lines[0]["checkpoint"].split("\n")
        lines[0]["checkpoint"] = "\n".join(line for line in note if "/clock" not in line)

    export = edited(log.export(), untimed)
    assert kinds(export) == {"checkpoint"}

    def unnamed(lines: Lines) -> None:
        untimed(lines)
        lines[0]["keys"] = lines[0]["keys"][:1]

    assert verify_export([edited(log.export(), unnamed)], keys=KEYS[:1]).verdict == "proven"
    assert kinds(edited(log.export(), unnamed)) == {"checkpoint"}


def test_a_receipt_is_of_the_position_of_its_event(log: PeerLog) -> None:
    """An event's line rewritten for another position does not fit the receipt of its real one."""
    line = msgspec.json.decode(log.export().split(b"\n")[13])
    line["position"] = line["event"]["position"] = 13
    moved = msgspec.json.encode(line)
    report = verify_receipt(receipt(log, 12, 25), event=moved, keys=KEYS)
    assert [one.kind for one in report.violated] == ["position"]


@pytest.mark.parametrize("road", [None, with_care], ids=["quick", "careful"])
def test_rubbish_costs_no_memory_and_proves_nothing(road: object, log: PeerLog) -> None:
    """A line without end, binary rubbish or nothing at all is answered, never raised, whatever the road."""
    header = log.export().split(b"\n")[0] + b"\n"
    rubbish = random.Random(1).randbytes(100_000)
    for body in (
        [b"x" * (1 << 20)] * (2 + (LINE_BYTES_MAX >> 20)),
        [rubbish],
        [b"[" * 100_000 + b"\n"],
        [b"{}\n" * 500],
    ):
        report = verify_export([header, *body], keys=KEYS, spread=road)  # type: ignore[arg-type]
        assert report.exit_code == 1
        assert len(report.violated) <= 100
        assert verify_export(body).exit_code == 2
    assert verify_export([]).exit_code == 2
