"""What the templates of the events page need, worked out of a listing: links, choices of the form, chips, sentences."""

from __future__ import annotations

from typing import Any
from urllib.parse import parse_qsl, urlencode
from zlib import crc32

from msgspec import Struct

from tallystick.errors import AuditError, Refused
from tallystick.event.model import ACTOR_TYPES, OUTCOMES, VERBS
from tallystick.query.filters import BY_NAME, ORGANIZATION_LEVEL
from tallystick.web.ui.events.built_in import BUILT_IN
from tallystick.web.ui.events.columns import BY_NAME as COLUMN_BY_NAME
from tallystick.web.ui.events.columns import USUAL, in_picker
from tallystick.web.ui.events.compose import Listing
from tallystick.web.ui.events.filters import (
    RANGE_LABELS,
    SPELLED,
    label_of,
    pairs_of,
    without,
)
from tallystick.web.ui.events.moments import UTC_NAME, wall_clock
from tallystick.web.ui.events.rows import ACTOR_WORDS, OUTCOME_WORDS
from tallystick.web.ui.events.snippets import command_line, curl, declared, python
from tallystick.web.ui.events.state import PAGE_SIZES, PATH, State, address, spelled

# Fields of the form that are folded away unless they are in use.
FOLDED = ("stream", "actor_type", "actor_id", "ip", "request_id", "from", "to")
WIDE_RANGE = "90d"


class Chip(Struct, frozen=True):
    """An active filter, and the address without it."""

    key: str
    label: str
    how: str
    value: str
    remove: str


class ViewLink(Struct, frozen=True):
    """A view in the list of views."""

    id: str
    name: str
    href: str
    mine: bool = False
    shared: bool = False
    built_in: bool = False


def values_of(found: Listing, origin: str) -> dict[str, Any]:
    """Return the values of templates/events/view.html but for the drawer; `origin` is this server's own address."""
    state = found.state
    return {
        "state": state, "rows": found.rows, "size": found.size, "is_new": found.is_new,
        "columns": [COLUMN_BY_NAME[name] for name in state.look.columns],
        **_wrong(found), **_form(found), **_toolbar(found), **_results(found, origin), **summary_values(state, found.chart, found.count),
        "searched_back_to": found.searched_back_to,
    }  # fmt: skip


def summary_values(state: State, chart: Any, count: Any) -> dict[str, Any]:
    """Return the values of templates/events/summary.html."""
    timeless = pairs_of(piece for piece in state.pieces if piece.kind not in ("from", "to", "range"))
    href = state.address([*state.filters, *state.look_pairs], "/summary")
    return {
        "chart": chart, "count": count, "searched_back_to": None, "summary_href": href,
        "summary_key": f"{crc32(href.encode()):08x}",
        "count_exactly": state.here(count="exact"), "exports": _exports(state),
        "zoom_base": state.url(timeless), "zoom_out": state.url(timeless),
    }  # fmt: skip


def _exports(state: State) -> list[tuple[str, str]]:
    """Return what an export is called and where it begins; in somebody else's page it is the file itself."""
    if not state.place.is_embedded:
        return [("Export", address(state.filters, "/exports/new"))]
    where = state.place.path.removesuffix(PATH) + "/export"
    formats = (("Export CSV", "csv"), ("JSONL", "jsonl"))
    return [
        (label, address([("format", format), *declared(state.filters)], where)) for label, format in formats
    ]


def _wrong(found: Listing) -> dict[str, Any]:
    wrong, state = found.wrong, found.state
    key = (wrong.path or "").lstrip("/") if isinstance(wrong, Refused) else ""
    name = BY_NAME[key].name if key in BY_NAME else key
    return {
        "wrong": wrong, "wrong_key": SPELLED.get(name, name), "wrong_title": _title(wrong, found),
        "retry": wrong is not None and not isinstance(wrong, Refused), "fix": _fix(state, key) if key else None,
        "clear": state.url((), view="all", cols=None) if key == "cols" else state.url((), view="all"),
    }  # fmt: skip


def _title(wrong: AuditError | None, found: Listing) -> str:
    if wrong is None:
        return ""
    view = next((view for view in found.views if view.id == found.state.view), None)
    if view is not None and wrong.rule in ("filter", "time"):
        return f"The saved view “{view.name}” cannot be run as it was saved."
    if not isinstance(wrong, Refused):
        return "This could not be shown now."
    return (
        "This page of the result is no longer there."
        if wrong.rule == "cursor"
        else "This filter is not understood."
    )


def _fix(state: State, key: str) -> str:
    """Return the address without the key that is wrong."""
    name = BY_NAME[key].name if key in BY_NAME else key
    left = [(k, v) for k, v in state.given if k != key and (BY_NAME[k].name if k in BY_NAME else k) != name]
    if (
        len(left) == len(state.given)
        and any(k == "q" for k, _ in left)
        and key not in ("cursor", "view", "cols", "density", "tz")
    ):
        left = [(k, v) for k, v in left if k != "q"]  # the key stands inside q
    return state.url(left, **({key: None} if key in ("cols", "density", "tz", "view") else {}))


def _form(found: Listing) -> dict[str, Any]:
    state = found.state
    fields = spelled(state.filters)
    zone = state.zone
    query = state.query
    return {
        "fields": fields, "actions": list(found.counts.get("action", {}).items()), "custom_time": "from" in fields or "to" in fields,
        "project_choices": _counted(found, "workspace", [*found.projects, (ORGANIZATION_LEVEL, "Organization level")]),
        "type_choices": _counted(found, "verb", [(verb, verb.capitalize()) for verb in VERBS]),
        "outcome_choices": _counted(found, "outcome", [(one, OUTCOME_WORDS[one]) for one in OUTCOMES]),
        "range_choices": list(RANGE_LABELS.items()),
        "stream_choices": _counted(found, "stream", [(one, one) for one in found.counts.get("stream", ())]),
        "actor_choices": _counted(found, "actor_type", [(one, ACTOR_WORDS[one]) for one in ACTOR_TYPES]),
        "more_open": any(name in fields for name in FOLDED),
        "zone_name": "UTC" if state.look.zone == UTC_NAME else state.look.zone,
        "wall": {
            "from": wall_clock(query.since, zone) if query.since and not query.range and not state.wrong else "",
            "to": wall_clock(query.until, zone) if query.until and not state.wrong else "",
        },
        "form_look": state.look_pairs, "locked": {SPELLED.get(key, key) for key in state.place.locked},
    }  # fmt: skip


def _counted(found: Listing, name: str, choices: list[tuple[str, str]]) -> list[tuple[str, str]]:
    """Return choices that say how many events of the log they have, as far as that is known."""
    counts = found.counts.get(name, {})
    # The organization's own level is counted under the empty name.
    many = {value: counts.get("" if value == ORGANIZATION_LEVEL else value) for value, _ in choices}
    return [
        (value, label if many[value] is None else f"{label} · {many[value]:,}") for value, label in choices
    ]


def _toolbar(found: Listing) -> dict[str, Any]:
    state = found.state
    views = [
        ViewLink(
            view.id, view.name, _view_href(state, view.id, view.address), mine=view.mine, shared=view.shared
        )
        for view in found.views
    ]
    views += [
        ViewLink(view.id, view.name, _view_href(state, view.id, view.address), built_in=True)
        for view in BUILT_IN
    ]
    addresses = {view.id: view.address for view in (*found.views, *BUILT_IN)}
    here = urlencode(list(state.filters))
    opened = next((view for view in views if view.id == state.view), None)
    look_free = [pair for pair in state.look_pairs if pair[0] != "cols"]
    return {
        "views": views, "default_view": found.default_view,
        "view_name": opened.name if opened else "All events" if not state.filters else "Unsaved search",
        "view_changed": opened is not None and not state.wrong and _differs(addresses[opened.id], state),
        "view_address": here + (f"&cols={','.join(state.look.columns)}" if "cols" in state.said else ""),
        "live_href": state.url(live="1"), "live_source": state.address([*state.filters, *state.look_pairs], "/live"),
        "picker": in_picker(state.look.columns, state.place.columns), "column_form": [*state.filters, *look_free],
        "reset_columns": state.url(None, cols=",".join(state.place.columns or USUAL), remember="1"),
        "densities": {name: state.here(density=name, remember="1") for name in ("comfortable", "compact")},
        "zone_utc": state.here(tz=UTC_NAME, remember="1"), "zone_local": state.here(tz="local", remember="1"),
    }  # fmt: skip


def _view_href(state: State, view_id: str, parameters: str) -> str:
    return state.address([*parse_qsl(parameters), ("view", view_id)])


def _differs(parameters: str, state: State) -> bool:
    """Tell whether the filters are others than those of a view; the order of parameters says nothing."""
    kept = [
        pair
        for pair in parse_qsl(parameters)
        if pair[0] not in ("cols", "view", "density", "tz", "limit", "order")
    ]
    mine = {(SPELLED.get(key, key), value) for key, value in state.filters}
    return {
        (SPELLED.get(BY_NAME[key].name, BY_NAME[key].name) if key in BY_NAME else key, value)
        for key, value in kept
    } != mine


def _results(found: Listing, origin: str) -> dict[str, Any]:
    state = found.state
    pieces = state.pieces
    chips = [
        _chip(found, piece) for piece in pieces if piece.kind != "only" or piece.key not in state.place.locked
    ]
    if state.wrong is not None:
        chips = [
            Chip(
                SPELLED.get(key, key),
                key,
                "",
                value,
                state.url([p for p in state.given if p != (key, value)]),
            )
            for key, value in state.given
        ]
    limited = state.look_pairs
    base = [pair for pair in limited if pair[0] != "limit"]
    share = state.here()
    timed = any(piece.kind in ("range", "from", "to") for piece in pieces)
    wide = [*(p for p in pieces if p.kind not in ("range", "from", "to"))]
    return {
        "chips": chips, "here": state.here(), "base": state.url(), "share": origin + share,
        "older": state.url(None, cursor=found.older) if found.older else None,
        "newer": state.url(None, newer=found.newer) if found.newer else None,
        "newest": state.url() if state.query.cursor or state.newer or state.query.offset else None,
        "sizes": [(size, state.address([*state.filters, *base, *([("limit", str(size))] if size != 50 else [])])) for size in PAGE_SIZES],
        "widen": state.url((*pairs_of(wide), ("range", WIDE_RANGE))) if timed else None,
        "snippets": [
            ("curl", curl(origin, state.filters)), ("Command line", command_line(origin, state.filters)),
            ("Python", python(origin, state.filters)),
        ],
    }  # fmt: skip


def _chip(found: Listing, piece: Any) -> Chip:
    label, how, value = label_of(piece)
    if piece.key == "workspace":
        value = "Organization level" if value == ORGANIZATION_LEVEL else found.labels.get(value, value)
    name = SPELLED.get(piece.key, piece.key)
    return Chip(name, label, how, value, found.state.url(pairs_of(without(found.state.pieces, piece))))
