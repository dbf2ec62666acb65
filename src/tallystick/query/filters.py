"""All filters of a search, declared once: from here come the parser, OpenAPI parameters, CLI flags and the docs table.

Source: API.md 2 (docs/reference/search.md). The same names work in the API, in the viewer's address, in the
command line and inside `q`.
"""

from __future__ import annotations

from collections.abc import Mapping
from typing import Any, Literal

from msgspec import Struct

from tallystick.event.limits import DEVELOPER, FOREIGN
from tallystick.event.model import ACTOR_TYPES, OUTCOMES, VERBS
from tallystick.query.period import RANGES

Kind = Literal["pattern", "person", "exact", "word", "address", "moment", "range", "language"]

VALUES_MAX = 1_000  # of all clauses of one query together
LANGUAGE_CHARACTERS_MAX = 8_192
WORDS_MAX = 4
ORGANIZATION_LEVEL = "-"  # the value of `workspace` for events that belong to none


class Filter(Struct, frozen=True, kw_only=True):
    """One filter: its name, the other names it answers to, what its values are, and what it keeps.

    `kind`: pattern = substring of the action with anchors; person = substring of what a subject is known by;
    exact = the same text; word = one of `words`; address = an IP address; moment, range = time; language = `q`.
    `characters_max` limits a value. `repeats`: may be given several times, which means OR.
    """

    name: str
    aliases: tuple[str, ...] = ()
    kind: Kind
    summary: str
    example: str
    words: tuple[str, ...] = ()
    characters_max: int = 512
    repeats: bool = True

    @property
    def schema(self) -> Mapping[str, Any]:
        """The JSON Schema of one value."""
        if self.words:
            return {"type": "string", "enum": list(self.words)}
        return {"type": "string", "minLength": 1, "maxLength": self.characters_max}


FILTERS: tuple[Filter, ...] = (
    Filter(name="from", aliases=("startDate",), kind="moment", repeats=False, characters_max=64,
           example="2026-11-01T00:00:00Z",
           summary="Events that occurred at this time or later; RFC 3339, a day (its first instant, UTC), or unix milliseconds."),
    Filter(name="to", aliases=("endDate",), kind="moment", repeats=False, characters_max=64,
           example="2026-12-01",
           summary="Events that occurred before this time; the instant itself is not included."),
    Filter(name="range", aliases=("period",), kind="range", repeats=False, words=tuple(RANGES), example="7d",
           summary="Events since that long ago; today is since midnight UTC, mo and y are calendar months and years."),
    Filter(name="action", aliases=("actionFilter",), kind="pattern", characters_max=DEVELOPER["action"] + 2,
           example="^api_key.",
           summary="Actions that contain the text, ASCII case aside; ^ ties it to the start, $ to the end, both make it exact."),
    Filter(name="user", aliases=("userSearch",), kind="person", characters_max=FOREIGN["actor.name"],
           example="ada@example.com",
           summary="Events of actors one of whose ids, names or e-mails, in whichever event it was seen, contains the text, case aside."),
    Filter(name="actor_type", kind="word", words=ACTOR_TYPES, example="api_key",
           summary="Events whose actor is of this type."),
    Filter(name="actor_id", kind="exact", characters_max=FOREIGN["actor.id"], example="usr_1",
           summary="Events whose actor has exactly this id."),
    Filter(name="workspace", aliases=("projectId", "project"), kind="exact",
           characters_max=DEVELOPER["workspace"], example="ws_1",
           summary="Events of the workspace with exactly this id; - stands for those of the organization itself."),
    Filter(name="stream", kind="exact", characters_max=DEVELOPER["stream"], example="gateway",
           summary="Events of exactly this stream."),
    Filter(name="outcome", kind="word", words=OUTCOMES, example="denied",
           summary="Events that ended this way."),
    Filter(name="target_type", aliases=("targetKind",), kind="exact", characters_max=DEVELOPER["targets.type"],
           example="api_key",
           summary="Events with a target of exactly this type; together with target_id it is the same target."),
    Filter(name="target_id", aliases=("targetId",), kind="exact", characters_max=FOREIGN["targets.id"],
           example="key_9", summary="Events with a target that has exactly this id."),
    Filter(name="verb", aliases=("type",), kind="word", words=VERBS, example="delete",
           summary="Events whose action is of this class."),
    Filter(name="ip", kind="address", characters_max=128, example="192.0.2.10",
           summary="Events from exactly this address, whichever way it is written."),
    Filter(name="request_id", kind="exact", characters_max=FOREIGN["context.request_id"], example="req_1",
           summary="Events of exactly this request."),
    Filter(name="q", kind="language", repeats=False, characters_max=LANGUAGE_CHARACTERS_MAX,
           example='action:delete -outcome:success created:>=2026-11-01 "ada love"',
           summary="Filters in one line: key:value, -key:value, created:>=2026-11-01, created:a..b, and free words, each of "
           "which must be part of the action, the actor or the main target's type, or be the id of a target."),
)  # fmt: skip

BY_NAME: Mapping[str, Filter] = {
    name: filter for filter in FILTERS for name in (filter.name, *filter.aliases)
}
# Filters that may stand in `q` and after a minus sign: those about the event itself.
CLAUSE_KEYS: tuple[str, ...] = tuple(
    f.name for f in FILTERS if f.kind in ("pattern", "person", "exact", "word", "address")
)
PAGE_ALIASES: Mapping[str, str] = {"pageSize": "limit", "pageOffset": "offset"}
PAGE_KEYS: tuple[str, ...] = ("order", "limit", "offset", "cursor")
