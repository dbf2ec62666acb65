"""The state of the events page as its URL says it: filters, page, columns, density, zone, and what is open.

Everything that can be seen can be said in the address; what the address leaves open comes from the remembered look.
Nothing here guesses: what cannot be read becomes `wrong`, and a page that is wrong shows no event.
"""

from __future__ import annotations

from collections.abc import Iterable, Sequence
from datetime import datetime
from urllib.parse import quote, urlencode
from zoneinfo import ZoneInfo

from msgspec import Struct

from tallystick.errors import Refused
from tallystick.query.filters import BY_NAME as FILTER_BY_NAME
from tallystick.query.model import LIMIT_DEFAULT, Query
from tallystick.query.parse import parse
from tallystick.query.values import refusal
from tallystick.web.ui.events.columns import USUAL, read_columns
from tallystick.web.ui.events.filters import SPELLED, Pairs, Piece, brief, pairs_of, pieces_of
from tallystick.web.ui.events.moments import UTC_NAME, read_wall_clock, wall_clock, zone_of

PATH = "/events"
PAGE_SIZES = (10, 25, 50, 100, 250)
DENSITIES = ("comfortable", "compact")
ONCE = ("cols", "density", "tz", "event", "view", "count", "newer", "remember", "live")
# Fields of forms that stand for other keys; an address that was shared has none of them.
OF_FORMS = ("col", "from_at", "to_at", "remember")
PAGE_KEYS = ("order", "limit", "cursor", "offset", "pageSize", "pageOffset")


class Look(Struct, frozen=True, kw_only=True):
    """How a person likes to see events: remembered, and overruled by the address."""

    columns: tuple[str, ...] = USUAL
    density: str = DENSITIES[0]
    zone: str = UTC_NAME


class Place(Struct, frozen=True, kw_only=True):
    """Where the page stands: its path, and within somebody else's page what its viewer's token decides.

    `locked` are the filters that are not the visitor's to see or change, `columns` those there may be, none = all.
    """

    path: str = PATH
    locked: frozenset[str] = frozenset()
    columns: tuple[str, ...] = ()

    @property
    def is_embedded(self) -> bool:
        """Whether the page stands in somebody else's."""
        return self.path != PATH


class State(Struct, frozen=True, kw_only=True):
    """What the address says.

    `given` are the filters as they stand there. `wrong` is the first thing that cannot be understood; then `query`
    means nothing. `said` are the keys of the look that the address itself has.
    """

    query: Query
    given: Pairs
    look: Look
    zone: ZoneInfo | None
    said: frozenset[str] = frozenset()
    event: str | None = None
    view: str | None = None
    exact: bool = False
    newer: str | None = None
    remember: bool = False
    from_form: bool = False
    wrong: Refused | None = None
    place: Place = Place()

    @property
    def pieces(self) -> list[Piece]:
        """The filters one by one; none when something is wrong."""
        return [] if self.wrong else pieces_of(self.query)

    @property
    def filters(self) -> Pairs:
        """The filters as the parameters of an address."""
        return self.given if self.wrong else pairs_of(self.pieces)

    @property
    def look_pairs(self) -> Pairs:
        """Page size and look as far as the address says them."""
        pairs: list[tuple[str, str]] = []
        if self.query.limit != LIMIT_DEFAULT:
            pairs.append(("limit", str(self.query.limit)))
        if self.query.order != "newest":
            pairs.append(("order", self.query.order))
        values = {"cols": ",".join(self.look.columns), "density": self.look.density, "tz": self.look.zone}
        pairs += [(key, value) for key, value in values.items() if key in self.said]
        if self.view is not None:
            pairs.append(("view", self.view))
        return tuple(pairs)

    def url(self, filters: Iterable[tuple[str, str]] | None = None, **more: str | None) -> str:
        """Return the address of this page with other filters, or with keys set (None = without the key).

        The page of the result is not kept unless `more` says it: other filters have another first page.
        """
        pairs = [*(self.filters if filters is None else filters)]
        pairs += [(key, value) for key, value in self.look_pairs if key not in more]
        pairs += [(key, value) for key, value in more.items() if value is not None]
        return self.address(pairs)

    def address(self, pairs: Sequence[tuple[str, str]], below: str = "") -> str:
        """Return the address of this page, or of one `below` it, with these parameters alone."""
        return address(pairs, self.place.path + below)

    def here(self, **more: str | None) -> str:
        """Return this very page of the result, with keys set or taken away."""
        place = {"cursor": self.query.cursor, "newer": self.newer, "event": self.event,
                 "offset": str(self.query.offset) if self.query.offset else None}  # fmt: skip
        return self.url(None, **{**place, **more})


def address(pairs: Sequence[tuple[str, str]], path: str = PATH) -> str:
    """Return a path with parameters; colons, commas and slashes stay readable."""
    return f"{path}?{urlencode(pairs, quote_via=quote, safe=':/,@-_.~')}" if pairs else path


def read_state(
    pairs: Sequence[tuple[str, str]], look: Look, *, now: datetime, place: Place = Place()
) -> State:
    """Read the address of the page; what is not understood is named by `wrong`, the first thing first."""
    wrong: Refused | None = None
    mine, rest = _split(pairs)
    values: dict[str, str] = {}
    for key, value in mine:
        if key not in OF_FORMS and values.setdefault(key, value) != value:
            wrong = wrong or refusal(key, "it is given twice with different values.")
    said = frozenset(key for key in ("cols", "density", "tz") if key in values)
    try:
        look = _look(values, [value for key, value in mine if key == "col"], look, place.columns)
    except Refused as error:
        wrong = wrong or error
    if any(key == "col" for key, _ in mine):
        said |= {"cols"}
    zone = None if wrong else zone_of(look.zone)
    query = Query()
    try:
        rest = _with_wall_clocks(rest, dict(mine), zone)
        query = parse(rest, now=now)
    except Refused as error:
        wrong = wrong or error
    return State(
        query=query, given=tuple((key, value) for key, value in rest if key not in PAGE_KEYS), look=look, zone=zone,
        said=said, event=values.get("event"), view=values.get("view"), exact=values.get("count") == "exact",
        newer=values.get("newer"), remember=("remember", "1") in mine,
        from_form=any(key in OF_FORMS for key, _ in mine), wrong=wrong, place=place,
    )  # fmt: skip


def spelled(pairs: Iterable[tuple[str, str]]) -> dict[str, list[str]]:
    """Return the values of filters by the name the form gives them, whatever alias they came under."""
    found: dict[str, list[str]] = {}
    for key, value in pairs:
        name = FILTER_BY_NAME[key].name if key in FILTER_BY_NAME else key
        found.setdefault(SPELLED.get(name, name), []).append(value)
    return found


def _split(pairs: Sequence[tuple[str, str]]) -> tuple[list[tuple[str, str]], list[tuple[str, str]]]:
    own = {*ONCE, *OF_FORMS}
    return [p for p in pairs if p[0] in own], [p for p in pairs if p[0] not in own]


def _look(values: dict[str, str], picked: list[str], look: Look, known: tuple[str, ...]) -> Look:
    columns = look.columns
    if picked:
        columns = read_columns(",".join(picked), known)
    elif "cols" in values:
        columns = read_columns(values["cols"], known)
    elif known:
        columns = known
    density = values.get("density", look.density)
    if density not in DENSITIES:
        raise refusal("density", f"'{density[:40]}' is none of {', '.join(DENSITIES)}.")
    for key, known in (("count", ("exact",)), ("live", ("1",)), ("remember", ("1",))):
        if key in values and values[key] not in known:
            raise refusal(key, f"'{values[key][:40]}' is none of {', '.join(known)}.")
    name = values.get("tz", look.zone)
    zone_of(name)
    return Look(columns=columns, density=density, zone=name)


def _with_wall_clocks(
    rest: list[tuple[str, str]], mine: dict[str, str], zone: ZoneInfo | None
) -> list[tuple[str, str]]:
    """Put what was typed into the fields of a custom range in the place of `from`, `to` and `range`.

    A field that still shows what the exact time looks like to the second changes nothing, so nothing is rounded.
    """
    for field, key, names in (("from_at", "from", ("from", "startDate")), ("to_at", "to", ("to", "endDate"))):
        text = mine.get(field)
        if text is None:
            continue
        kept = next((value for name, value in rest if name in names), None)
        if kept is not None and _looks_like(kept, text, zone):
            continue
        drop = (*names, "range", "period") if key == "from" else names
        rest = [pair for pair in rest if pair[0] not in drop]
        rest.append((key, brief(read_wall_clock(text, zone, key))))
    return rest


def _looks_like(kept: str, text: str, zone: ZoneInfo | None) -> bool:
    try:
        return wall_clock(read_wall_clock(kept, None, "from"), zone) == wall_clock(
            read_wall_clock(text, zone, "from"), zone
        )
    except Refused:
        return False
