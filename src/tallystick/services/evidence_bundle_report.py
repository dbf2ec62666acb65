"""The printable report of an evidence bundle: what somebody who has never seen a log has to know, in his words."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from datetime import datetime
from typing import Any, Final

from msgspec import Struct

from tallystick.catalogue.sentence import sentence_text
from tallystick.event.moment import read_instant
from tallystick.formats.report import (
    Block,
    Bullets,
    Code,
    Document,
    Facts,
    Heading,
    Paragraph,
    Table,
    Tone,
    Verdict,
)
from tallystick.services.evidence_bundle_parts import Kept, Removal
from tallystick.services.evidence_bundle_words import moment_text
from tallystick.verify.bundle_layout import Control, Controls, Question
from tallystick.verify.layout import Header
from tallystick.verify.report import Report

FIRST_SHOWN: Final = 25  # events that stand where they are spoken of; further ones follow at the end
SHOWN_MAX: Final = 500  # events and records in the report's tables; the others are in the files beside it
_RESULTS: Final[Mapping[str, tuple[str, Tone]]] = {
    "met": ("shown", "good"), "partly": ("partly", "warn"), "not_met": ("not shown", "bad"), "unknown": ("unknown", "warn"),
}  # fmt: skip
_OUTCOMES: Final[Mapping[str, tuple[str, Tone]]] = {
    "success": ("done", ""), "failure": ("failed", "bad"), "denied": ("denied", "bad"), "unknown": ("unknown", "warn"),
}  # fmt: skip


class Told(Struct, frozen=True, kw_only=True):
    """All that a report tells: `events` are the first of those found, `report` what this server's own check found."""

    bundle: str
    question: Question
    header: Header
    signed_at: str
    events: Sequence[dict[str, Any]]
    matches: int
    removed_here: int
    kept: Kept
    removals: Sequence[Removal]
    report: Report
    has_pdf: bool
    controls: Controls | None = None


def report_of(told: Told) -> Document:
    """Return the report, to be written as HTML or PDF."""
    controls = told.controls
    title = "Evidence from an audit log" if controls is None else f"Evidence pack: {controls.title}"
    blocks: list[Block] = [*_in_short(told), *_asked(told)]
    if controls is not None:
        blocks += _controls(controls)
    blocks += [
        *_found(told),
        *_proven(told),
        *_removed(told),
        *_open(told),
        *_yourself(told),
        *_appendix(told),
    ]
    return Document(
        title=title,
        subtitle=f"{told.header.origin} · made {_moment(told.question.asked_at)} for {_asker(told)}",
        foot=f"Tallystick evidence bundle {told.bundle} · {told.header.origin}",
        blocks=tuple(blocks),
    )


def _in_short(told: Told) -> list[Block]:
    header, report = told.header, told.report
    blocks: list[Block] = [Heading("In short")]
    count = f"{told.matches:,} {'event' if told.matches == 1 else 'events'}"
    if report.verdict == "proven":
        gone = (
            f" {told.removed_here:,} events of it were removed before, each on the record of a rule or a person (below)."
            if told.removed_here
            else " Nothing was removed from it."
        )
        blocks.append(
            Verdict(
                f"{count} found, and nothing is missing",
                f"The log's {header.end - header.start:,} positions from {header.start:,} up to {header.end:,} were looked at. Every one is "
                f"accounted for.{gone}",
                "good",
            )
        )
    else:
        blocks.append(
            Verdict(
                f"{count} found, but the log does not prove itself",
                f"This server's own check found {report.violations:,} contradictions. They are listed under “What is proven”. "
                "Do not rely on this bundle before they are explained.",
                "bad",
            )
        )
    return blocks if told.controls is None else [blocks[0], _summed_up(told.controls), *blocks[1:]]


def _asked(told: Told) -> list[Block]:
    header, question = told.header, told.question
    pairs = [
        ("Question", question.words),
        ("As a filter", question.filter or "(none: every event)"),
        ("Asked by", _asker(told)),
        ("Asked at", _moment(question.asked_at)),
        ("Log", header.origin),
        ("Looked at", f"positions {header.start:,} up to {header.end:,} of {header.size:,}; a position is an event's place in the log"),
    ]  # fmt: skip
    return [Heading("What was asked"), Facts(tuple(pairs), frozenset({"As a filter", "Log"}))]


def _controls(controls: Controls) -> list[Block]:
    blocks: list[Block] = [
        Heading("The controls, one by one"),
        Paragraph(
            f"{controls.source}. “Shown” means that this installation's log and settings show it, over {controls.period}. What other "
            "systems and people must do besides is not judged here; what is missing stands in the last column.",
        ),
        Table(
            ("Result", "Control", "What was found", "What is missing"),
            tuple(_control_row(one) for one in controls.controls),
            (11, 24, 34, 31),
            tuple(_RESULTS[one.result][1] for one in controls.controls),
        ),
        Heading("What each control asks, and the query behind it", 3),
        Facts(
            tuple(
                (
                    one.id,
                    f"{one.asks}\nQuery: {one.query or '(every event)'} · {one.matches:,} events"
                    + (f" · for example at positions {', '.join(f'{at:,}' for at in one.events[:5])}" if one.events else ""),
                )
                for one in controls.controls
            )
        ),
    ]  # fmt: skip
    return blocks


def _control_row(one: Control) -> tuple[str, ...]:
    return (
        _RESULTS[one.result][0],
        f"{one.id}\n{one.title}",
        _listed(one.found),
        _listed(one.missing) or "nothing known",
    )


def _listed(items: Sequence[str]) -> str:
    return "\n".join(f"– {one}" for one in items) if len(items) > 1 else "".join(items)


def _summed_up(controls: Controls) -> Verdict:
    """Say in one line how many controls are shown."""
    counts = {
        words: sum(one.result == result for one in controls.controls)
        for result, (words, _) in _RESULTS.items()
    }
    told = ", ".join(f"{count} {words}" for words, count in counts.items() if count)
    tone: Tone = "good" if counts["shown"] == len(controls.controls) else "warn"
    return Verdict(
        f"{len(controls.controls)} controls: {told}",
        "By what this installation's log and settings show. What is missing for each stands beside it; nothing is left out.",
        tone,
    )


def _found(told: Told) -> list[Block]:
    blocks: list[Block] = [Heading("What was found")]
    if not told.events:
        return [*blocks, Paragraph("No event of this log answers the question.")]
    if told.matches > len(told.events):
        blocks.append(
            Paragraph(
                f"This report shows the first {len(told.events):,} of {told.matches:,} in the order of the log. All of them, with every "
                "field, are in export.jsonl.",
                "warn",
            )
        )
    blocks.append(_events(told.events[:FIRST_SHOWN]))
    if len(told.events) > FIRST_SHOWN:
        blocks.append(
            Paragraph(f"{len(told.events) - FIRST_SHOWN:,} more stand at the end of this report.", "soft")
        )
    return blocks


def _appendix(told: Told) -> list[Block]:
    rest = told.events[FIRST_SHOWN:]
    return [Heading("Further events that were found"), _events(rest)] if rest else []


def _events(events: Sequence[dict[str, Any]]) -> Table:
    rows = tuple(
        (
            f"{event['position']:,}",
            f"{read_instant(event['occurred_at'])[0]:%Y-%m-%d %H:%M:%S}",
            sentence_text(event),
            _OUTCOMES[event["outcome"]][0],
            event.get("workspace") or "–",
        )
        for event in events
    )
    return Table(
        ("Position", "When (UTC)", "What happened", "Result", "Workspace"), rows, (10, 18, 46, 9, 17)
    )


def _proven(told: Told) -> list[Block]:
    report, header = told.report, told.header
    blocks: list[Block] = [Heading("What is proven, and how sure that is")]
    if report.violated:
        blocks.append(Heading("Contradictions", 3))
        blocks.append(Bullets(tuple(f"{one.where}: {one.message}" for one in report.violated), "bad"))
    else:
        signed = f" on {_moment(told.signed_at)}" if told.signed_at else ""
        blocks.append(
            Bullets(
                (
                    "Nothing is missing from the range. Every position is here: in full if it answers the question, otherwise "
                    "as a fingerprint that shows nothing of it but cannot be left out.",
                    "Nothing was changed. Every value was fingerprinted again and leads, with all the others, to one number "
                    f"that the log signed{signed} for its {header.size:,} events.",
                    "Nothing was added or moved afterwards: order and times of receipt were checked from event to event.",
                    f"{len(told.kept.notes):,} checkpoints, signed while these events came in, lie on the same history.",
                    "The log itself took in a fingerprint of this report and of every other file here when the bundle was made "
                    "(issued.json). Changing a letter of it breaks that.",
                ),
                "good",
            )
        )
    blocks.append(
        Paragraph(
            "How sure: the fingerprints are SHA-256, the signatures Ed25519; nobody knows how to forge either. What they cannot "
            "show is whether the producers told the truth when they recorded: who acted, and when, is proven to be what was claimed.",
            "soft",
        )
    )
    return blocks


def _removed(told: Told) -> list[Block]:
    blocks: list[Block] = [Heading("What was removed, held or erased, and by whose authority")]
    if not told.removals:
        return [
            *blocks,
            Paragraph("Nothing. This log knows no removal, no legal hold and no erasure up to this day."),
        ]
    shown = told.removals[-SHOWN_MAX:]
    if len(shown) < len(told.removals):
        blocks.append(
            Paragraph(
                f"The latest {len(shown):,} of {len(told.removals):,}; all are in removed.jsonl.", "warn"
            )
        )
    rows = tuple(
        (
            f"{one.at:%Y-%m-%d %H:%M}",
            one.what,
            f"{one.by}\n{one.authority}",
            "" if one.events is None else f"{one.events:,}",
            f"{one.position:,}",
        )
        for one in shown
    )
    blocks.append(
        Paragraph(
            "Each line is an event of the log itself, proven like all others. Removed events leave their fingerprint, so no proof breaks."
        )
    )
    blocks.append(
        Table(
            ("When (UTC)", "What", "By whom, on what authority", "Events", "Position"),
            rows,
            (17, 36, 28, 9, 10),
        )
    )
    return blocks


def _open(told: Told) -> list[Block]:
    items = [f"{line[0].upper()}{line[1:]}." for line in told.report.not_proven]
    items.append(
        "Whether this server's own check, on which this page rests, was honest: do it again yourself, as below."
    )
    if not told.has_pdf:
        items.append("There is no report.pdf here: the extra “reports” is not installed on the server.")
    return [
        Heading("What could not be checked"),
        Paragraph("None of this is a sign of anything wrong. It is what this bundle alone cannot show:"),
        Bullets(tuple(items), "warn"),
    ]


def _yourself(told: Told) -> list[Block]:
    log_key, *others = told.header.keys
    return [
        Heading("How to check it yourself"),
        Paragraph("On any machine, without the server and without asking anybody. With two files of Python that can be read first:"),
        Code("pip install cryptography\npython check_bundle.py BUNDLE.zip --key 'LOG-KEY'"),
        Paragraph("Or with the product's own verifier, which also holds every removal against the rules that allowed it:"),
        Code("pip install 'tallystick[server]'\ntallystick verify BUNDLE.zip --key 'LOG-KEY' --known KEPT-CHECKPOINT"),
        Paragraph(
            "The key must come from somewhere else than this bundle: a forger would name his own. Ask the log's operator, "
            "or take it from a receipt or checkpoint that you kept. This bundle names:"
        ),
        Code("\n".join((log_key, *others))),
        Paragraph("The checkpoint that all of this leads to. Keep it: any later bundle of this log must continue it."),
        Code(told.header.checkpoint.rstrip("\n")),
    ]  # fmt: skip


def _asker(told: Told) -> str:
    asked_by = told.question.asked_by
    return f"{asked_by.name} ({asked_by.id})" if asked_by.name else asked_by.id


def _moment(text: str) -> str:
    at: datetime = read_instant(text)[0]
    return moment_text(at.replace(microsecond=0))
