"""The events page, an event's own page, and what the forms on them do."""

from __future__ import annotations

from shlex import quote
from typing import Any
from urllib.parse import parse_qsl

from starlette.responses import RedirectResponse, Response

from tallystick.errors import NotFound
from tallystick.services.permissions import KEYS, WRITE
from tallystick.web.call import Answer, Call
from tallystick.web.cookies import read_cookie, set_cookie
from tallystick.web.ui.events.built_in import BUILT_IN, FIRST
from tallystick.web.ui.events.compose import listing, summary
from tallystick.web.ui.events.detail import Detail, detail
from tallystick.web.ui.events.display import breakable, shown
from tallystick.web.ui.events.look import COOKIE, COOKIE_SECONDS, read_look, write_look
from tallystick.web.ui.events.snippets import recording
from tallystick.web.ui.events.state import PATH, Look, Place, State, address, read_state
from tallystick.web.ui.events.values import summary_values, values_of
from tallystick.web.ui.forms import read_form
from tallystick.web.ui.packed import packed
from tallystick.web.ui.render import (
    SECURITY_HEADERS,
    local_path,
    render,
    security_headers,
    see_other,
    templates,
)

STANDING = {"verified": "✓ verified", "pending": "◷ pending", "broken": "✕ broken"}
_NO_KEY = "YOUR_KEY"

templates().filters.update(
    shown=shown,
    breakable=breakable,
    shown_lines=lambda text: shown(text, lines=True),
    # Inside <option> there is no markup, so chips become their text.
    shown_plain=lambda text: shown(text).striptags(),
)


async def show(call: Call) -> Answer:
    """Show the events that the address asks for, as a page or as the part of it that a script wants."""
    pairs = call.query()
    if not call.scope["query_string"] and call.viewer is None:
        return await _to_first_view(call)
    state = state_of(call, pairs)
    wanted = _wanted(call)
    if (state.from_form or _has_blanks(call)) and not state.wrong and wanted == "page":
        return _remembered(call, see_other(_canonical(state), security_headers(call)), state)
    if wanted == "drawer":
        return await _drawer(call, state)
    found = await listing(call.services, call.caller, state, suggest=wanted != "results")
    state = found.state
    values: dict[str, Any] = values_of(found, _origin(call)) | _first_run(call, found.is_new)
    values |= await _opened(call, state)
    if wanted == "results":
        return _part(call, "events/results.html", state, values)
    if wanted == "view":
        return _part(call, "events/view.html", state, values)
    return packed(
        call, _remembered(call, render(call, "events/events.html", title="Events", **values), state)
    )


async def show_summary(call: Call) -> Answer:
    """Show chart and count, for a page that did not wait for them."""
    state = state_of(call, call.query())
    chart, count = await summary(call.services, call.caller, state)
    return _part(call, "events/summary.html", None, summary_values(state, chart, count))


async def show_one(call: Call) -> Answer:
    """Show one event on a page of its own."""
    state = state_of(call, [])
    one = await detail(call.services, call.caller, state, call.path("id"))
    values = _detail_values(call, state, one)
    return packed(
        call, render(call, "events/event.html", title=f"{one.row.action.text} · event", state=state, **values)
    )


async def to_events(call: Call) -> Answer:
    """Lead from where other products have their audit log to ours, the search kept."""
    query = call.scope["query_string"].decode("latin-1")
    return RedirectResponse(PATH + (f"?{query}" if query else ""), 302, SECURITY_HEADERS)


async def save_view(call: Call) -> Answer:
    """Keep a search under a name and open it."""
    fields = await read_form(call)
    pairs = parse_qsl(fields.get("address", ""))
    state = read_state(pairs, Look(), now=call.services.now())
    if state.wrong is not None:
        raise state.wrong
    view = await call.services.saved_views.save(
        call.caller,
        fields.get("name", ""),
        fields.get("address", ""),
        shared=fields.get("shared") == "1",
        context=call.context,
    )
    return see_other(address([*pairs, ("view", view.id)]))


async def remove_view(call: Call) -> Answer:
    """Remove a saved view."""
    fields = await read_form(call)
    await call.services.saved_views.remove(call.caller, call.path("id"), context=call.context)
    pairs = parse_qsl(local_path(fields.get("to"), PATH).partition("?")[2])
    return see_other(
        address([pair for pair in pairs if pair != ("view", call.path("id"))] or [("view", "all")])
    )


async def open_first(call: Call) -> Answer:
    """Choose the view that opens first."""
    fields = await read_form(call)
    views, _ = await call.services.saved_views.of(call.caller)
    if call.path("id") not in {view.id for view in (*views, *BUILT_IN)}:
        raise NotFound("There is no such view.")
    await call.services.saved_views.open_first(call.caller, call.path("id"))
    return see_other(local_path(fields.get("to"), PATH))


async def make_first_key(call: Call) -> Answer:
    """Make a key that may record, and show the first lines of code with it in them, this once."""
    call.caller.require(KEYS)
    made = await call.services.keys.create(call.caller, "First key", (WRITE,), call.context)
    found = await listing(call.services, call.caller, state_of(call, [("view", "all")]))
    values: dict[str, Any] = values_of(found, _origin(call)) | _first_run(call, found.is_new, made.key)
    values |= {"detail": None, "no_event": None}
    return packed(call, render(call, "events/events.html", title="Events", **values))


def _origin(call: Call) -> str:
    return call.services.address.origin_of(call.header(b"host"))


def state_of(call: Call, pairs: list[tuple[str, str]]) -> State:
    """Return the state of the page that the address of this call says."""
    # Whose zone is not known to the server sees UTC; a script puts the zone's name into the link.
    local = [("tz", "utc") if pair == ("tz", "local") else pair for pair in pairs]
    look = read_look(read_cookie(call, COOKIE)) if call.viewer is None else Look()
    return read_state(local, look, now=call.services.now(), place=place_of(call))


def place_of(call: Call) -> Place:
    """Return where the page of this call stands."""
    if call.viewer is None:
        return Place()
    locked = frozenset(clause.key for clause in call.viewer.principal.locked)
    path = call.scope["path"].partition(PATH)[0] + PATH
    return Place(path=path, locked=locked, columns=call.viewer.columns)


def _has_blanks(call: Call) -> bool:
    """Tell whether a form sent fields that nobody filled in; an address that is kept has none of them."""
    query = call.scope["query_string"]
    return b"=&" in query or query.endswith(b"=")


def _wanted(call: Call) -> str:
    """Return which part a script asks for: `view`, `results`, `drawer`, or the whole `page`."""
    if call.header(b"hx-request") != "true":
        return "page"
    target = (call.header(b"hx-target") or "").partition("#")[2]
    return target if target in ("results", "drawer") else "view"


async def _to_first_view(call: Call) -> Answer:
    views, chosen = await call.services.saved_views.of(call.caller)
    known = {view.id: view.address for view in (*BUILT_IN, *views)}
    view_id = chosen if chosen in known else FIRST
    return see_other(address([*parse_qsl(known[view_id]), ("view", view_id)]))


def _canonical(state: State) -> str:
    return state.here()


def _remembered(call: Call, answer: Response, state: State) -> Response:
    # Within somebody else's page there are no cookies; the look is in the address.
    if (
        state.remember
        and not state.wrong
        and call.viewer is None
        and (value := write_look(state.look)) is not None
    ):
        set_cookie(call, answer, COOKIE, value, seconds=COOKIE_SECONDS)
    return answer


def _part(call: Call, template: str, state: State | None, values: dict[str, Any]) -> Response:
    text = templates().get_template(template).render({"me": call.principal, "viewer": call.viewer, **values})
    answer = Response(text, 200, security_headers(call), media_type="text/html")
    if state is not None and call.header(b"hx-history-restore-request") is None:
        kind = "HX-Replace-Url" if call.header(b"x-typing") else "HX-Push-Url"
        answer.headers[kind] = _canonical(state)
        answer = _remembered(call, answer, state)
    return packed(call, answer)


async def _drawer(call: Call, state: State) -> Response:
    """Return the drawer alone; without an event it is empty and closed."""
    values = {"state": state, "viewer": call.viewer, **await _opened(call, state)}
    part = "drawer" if values["detail"] else "no_event" if values["no_event"] else None
    text = "" if part is None else templates().get_template(f"events/{part}.html").render(values)
    answer = Response(
        text, 200, {**security_headers(call), "HX-Push-Url": _canonical(state)}, media_type="text/html"
    )
    return packed(call, answer)


async def _opened(call: Call, state: State) -> dict[str, Any]:
    if state.event is None or state.wrong is not None:
        return {"detail": None, "no_event": None}
    try:
        one = await detail(call.services, call.caller, state, state.event)
    except NotFound as error:
        return {"detail": None, "no_event": error, "close": state.here(event=None)}
    return _detail_values(call, state, one)


def _detail_values(call: Call, state: State, one: Detail) -> dict[str, Any]:
    origin = _origin(call)
    event_id = one.row.id
    key, _ = call.services.log.verifier_keys(call.caller.organization_id)
    bearer = '-H "Authorization: Bearer $TALLYSTICK_API_KEY"'
    offline = "\n".join(
        (
            f"curl -sS {bearer} '{origin}/v1/export?q=created:{one.row.when.exact}' > event.jsonl",
            f"tallystick verify event.jsonl --key {quote(key)}",
        )
    )
    return {
        "detail": one, "no_event": None, "standing_words": STANDING, "event_url": f"{origin}{PATH}/{event_id}",
        "offline": offline if call.viewer is None else None,
        "close": state.here(event=None), "origin": origin,
    }  # fmt: skip


def _first_run(call: Call, is_new: bool, key: str | None = None) -> dict[str, Any]:
    if not is_new and key is None:
        return {"is_new": False}
    return {
        "is_new": True, "new_key": key, "may_make_keys": call.caller.may(KEYS),
        "recording": list(recording(_origin(call), key or _NO_KEY).items()),
    }  # fmt: skip
