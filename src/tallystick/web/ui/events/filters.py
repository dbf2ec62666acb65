"""Active filters as single pieces that can be shown, taken away, and written into a URL again.

`query.parse` alone decides what a filter means; here a parsed query is only taken apart and spelled for the address.
"""

from __future__ import annotations

from collections.abc import Iterable, Sequence
from datetime import datetime
from typing import Literal, assert_never

from msgspec import Struct

from tallystick.event.moment import instant_text
from tallystick.query.language import Term, write_term
from tallystick.query.model import Query

Pairs = tuple[tuple[str, str], ...]
Kind = Literal["only", "never", "word", "never_word", "range", "from", "to"]

# The viewer's address says `project` and `type`, as the products do whose users come here; `query.parse` takes both.
SPELLED = {"workspace": "project", "verb": "type"}
LABELS = {
    "action": "Action", "user": "User", "actor_type": "Actor type", "actor_id": "Actor id", "workspace": "Project",
    "stream": "Source", "outcome": "Outcome", "target_type": "Target kind", "target_id": "Target id", "verb": "Event type",
    "ip": "IP address", "request_id": "Request id",
}  # fmt: skip
RANGE_LABELS = {
    "15m": "Last 15 minutes", "1h": "Last hour", "6h": "Last 6 hours", "24h": "Last 24 hours", "today": "Today (UTC)",
    "7d": "Last 7 days", "15d": "Last 15 days", "30d": "Last 30 days", "90d": "Last 90 days", "6mo": "Last 6 months",
    "1y": "Last year",
}  # fmt: skip


class Piece(Struct, frozen=True):
    """One filter with one value."""

    kind: Kind
    key: str
    value: str


def pieces_of(query: Query) -> list[Piece]:
    """Take the filters of a query apart, in the order in which they are shown."""
    found = [Piece("only", clause.key, value) for clause in query.only for value in clause.values]
    found += [Piece("never", clause.key, value) for clause in query.never for value in clause.values]
    found += [Piece("word", "", word) for word in query.words]
    found += [Piece("never_word", "", word) for word in query.never_words]
    if query.range:
        found.append(Piece("range", "range", query.range))
    elif query.since is not None:
        found.append(Piece("from", "from", brief(query.since)))
    if query.until is not None:
        found.append(Piece("to", "to", brief(query.until)))
    return found


def pairs_of(pieces: Iterable[Piece]) -> Pairs:
    """Write filters as the parameters of an address; `query.parse` gives the same query back."""
    pairs: list[tuple[str, str]] = []
    terms: list[str] = []
    for piece in pieces:
        match piece.kind:
            case "only":
                pairs.append((SPELLED.get(piece.key, piece.key), piece.value))
            case "never":
                terms.append(write_term(Term(True, SPELLED.get(piece.key, piece.key), piece.value)))
            case "word":
                terms.append(write_term(Term(False, "", piece.value)))
            case "never_word":
                terms.append(write_term(Term(True, "", piece.value)))
            case "range" | "from" | "to":
                pairs.append((piece.kind, piece.value))
            case _:
                assert_never(piece.kind)
    if terms:
        pairs.append(("q", " ".join(terms)))
    return tuple(pairs)


def without(pieces: Sequence[Piece], one: Piece) -> list[Piece]:
    """Return the filters without one of them."""
    return [piece for piece in pieces if piece != one]


def without_keys(pieces: Sequence[Piece], *keys: str) -> list[Piece]:
    """Return the filters without those that keep only what `keys` say; what is excluded stays excluded."""
    return [piece for piece in pieces if piece.kind in ("never", "never_word") or piece.key not in keys]


def label_of(piece: Piece) -> tuple[str, str, str]:
    """Return what a filter says to a person: what is compared, how, and with which value."""
    if piece.kind in ("word", "never_word"):
        return "Text", "contains" if piece.kind == "word" else "does not contain", piece.value
    if piece.kind == "range":
        return "Time", "", RANGE_LABELS[piece.value]
    if piece.kind in ("from", "to"):
        return "Time", "from" if piece.kind == "from" else "before", piece.value
    never = piece.kind == "never"
    if piece.key == "user":
        return LABELS[piece.key], "does not contain" if never else "contains", piece.value
    if piece.key == "action":
        return LABELS[piece.key], *_pattern(piece.value, never)
    return LABELS[piece.key], "is not" if never else "is", piece.value


def brief(moment: datetime) -> str:
    """Return an instant for an address: without a fraction of zeros."""
    return instant_text(moment).replace(".000000Z", "Z")


def _pattern(value: str, never: bool) -> tuple[str, str]:
    start, end = value.startswith("^"), value.endswith("$") and len(value) > 1
    text = value[start : len(value) - end]
    how = {(True, True): ("is", "is not"), (True, False): ("starts with", "does not start with"),
           (False, True): ("ends with", "does not end with"), (False, False): ("contains", "does not contain")}  # fmt: skip
    return how[start, end][never], text
