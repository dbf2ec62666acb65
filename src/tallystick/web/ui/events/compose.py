"""Everything one events page shows, asked for at once; what takes long may come later, what is wrong shows nothing."""

from __future__ import annotations

import asyncio
from collections.abc import Coroutine, Mapping, Sequence
from typing import Any, TypeVar

from msgspec import Struct
from msgspec.structs import replace

from tallystick.errors import AuditError, Refused, TryLater
from tallystick.query.filters import ORGANIZATION_LEVEL
from tallystick.query.model import Clause, Query, filters_of
from tallystick.query.values import refusal
from tallystick.services.principal import Principal
from tallystick.services.read import Page, turned
from tallystick.services.saved_views import SavedView
from tallystick.web.ui.events.built_in import BUILT_IN
from tallystick.web.ui.events.chart import Chart, chart_of
from tallystick.web.ui.events.projects import Project, labels
from tallystick.web.ui.events.rows import Row, Rows
from tallystick.web.ui.events.state import State

T = TypeVar("T")
SOON_SECONDS = 0.1  # a chart that takes longer comes after the table
OWN_STREAM = "tallystick"
SMALL_LOG = 500  # events within which it is worth asking whether any of them came from outside

EMPTY = Page(events=[], next_cursor=None, size=0)


class Count(Struct, frozen=True):
    """How many events match, at least so many unless `exact`."""

    events: int
    exact: bool


class Listing(Struct, frozen=True, kw_only=True):
    """What the page shows. `chart` and `count` are None while they take longer; `is_new` says nothing was recorded yet."""

    state: State
    rows: list[Row]
    size: int
    older: str | None = None
    newer: str | None = None
    searched_back_to: str | None = None
    chart: Chart | None = None
    count: Count | None = None
    labels: dict[str, str]
    projects: list[tuple[str, str]]
    counts: Mapping[str, Mapping[str, int]]
    views: Sequence[SavedView]
    default_view: str | None
    is_new: bool = False
    wrong: AuditError | None = None


class Surroundings(Struct, frozen=True, kw_only=True):
    """What every state of the page has around it: projects, suggestions, views.

    `counts` are how many events of the whole log have each of the most frequent values of a filter.
    """

    projects: list[Project]
    counts: Mapping[str, Mapping[str, int]]
    views: Sequence[SavedView]
    default_view: str | None


async def listing(services: Any, principal: Principal, state: State, *, suggest: bool = True) -> Listing:
    """Return everything the page shows for `state`; an error of the caller's or a busy server becomes `wrong`.

    Without `suggest` the form's suggestions are left out, which a part of the page without the form does not need.
    """
    around_task = asyncio.ensure_future(surroundings(services, principal, suggest=suggest))
    found: tuple[Page, str | None, str | None] = (EMPTY, None, None)
    chart, count = None, None
    wrong: AuditError | None = state.wrong
    if wrong is None:
        asked = asyncio.gather(
            _page(services, principal, state),
            soon(_chart(services, principal, state)),
            soon(_count(services, principal, state)),
        )
        try:
            found, chart, count = await asked
        except (Refused, TryLater) as error:
            wrong = error
    around = await around_task
    wrong = wrong or _gone(state, around)
    if wrong is not None:
        found, chart, count = (EMPTY, None, None), None, None
        state = replace(state, wrong=wrong) if isinstance(wrong, Refused) else state
    page, older, newer = found
    called = labels(around.projects)
    rows = Rows(state, called, services.now())
    return Listing(
        state=state, rows=[rows.row(event) for event in page.events], size=page.size, older=older, newer=newer,
        searched_back_to=page.searched_back_to, chart=chart, count=count, labels=called,
        projects=[(one.id, called[one.id]) for one in around.projects if not one.deleted],
        counts=around.counts, views=around.views, default_view=around.default_view,
        is_new=wrong is None and not state.place.is_embedded and await _is_new(services, principal, page), wrong=wrong,
    )  # fmt: skip


async def summary(services: Any, principal: Principal, state: State) -> tuple[Chart | None, Count | None]:
    """Return chart and count however long they take; both answer within seconds and say how far they got."""
    if state.wrong is not None:
        return None, None
    return await asyncio.gather(_chart(services, principal, state), _count(services, principal, state))


async def surroundings(services: Any, principal: Principal, *, suggest: bool = True) -> Surroundings:
    """Return projects, suggestions and views; suggestions are those of the whole log as far as it may be seen."""
    facets, projects, (views, default) = await asyncio.gather(
        soon(services.read.facets(principal, Query())) if suggest else nothing(),
        services.projects.of(principal),
        services.saved_views.of(principal),
    )
    values = facets["facets"] if facets else {}
    counts = {name: {one["value"]: one["count"] for one in found} for name, found in values.items()}
    known = [Project(id=row.id, name=row.name, team=row.team, deleted=row.deleted) for row in projects]
    named = {one.id for one in known}
    known += [
        Project(id=one)
        for one in counts.get("workspace", ())
        if one not in named and one not in ("", ORGANIZATION_LEVEL)
    ]
    return Surroundings(
        projects=sorted(known, key=lambda one: (one.name or one.id).casefold()),
        counts=counts, views=views, default_view=default,
    )  # fmt: skip


async def nothing() -> None:
    """Return nothing, where there is nothing to wait for."""


async def soon(work: Coroutine[Any, Any, T]) -> T | None:
    """Return what comes within SOON_SECONDS, else None."""
    try:
        async with asyncio.timeout(SOON_SECONDS):
            return await work
    except TimeoutError:
        return None


async def _page(services: Any, principal: Principal, state: State) -> tuple[Page, str | None, str | None]:
    """Return the page of events with the cursors of the older and the newer one."""
    query = state.query
    if state.newer is not None:
        back = replace(turned(query), cursor=state.newer)
        page = await services.read.search(principal, back)
        if len(page.events) == query.limit:
            older = services.read.turn(principal, back, page)
            return replace(page, events=page.events[::-1]), older, page.next_cursor
        query = replace(query, cursor=None)  # the beginning is near: then show it whole
    page = await services.read.search(principal, query)
    newer = services.read.turn(principal, query, page) if query.cursor or query.offset else None
    return page, page.next_cursor, newer


async def _chart(services: Any, principal: Principal, state: State) -> Chart:
    found = await services.read.histogram(principal, filters_of(state.query))
    return chart_of(found, state.zone)


async def _count(services: Any, principal: Principal, state: State) -> Count:
    found = await services.read.count(principal, filters_of(state.query), exact=state.exact)
    return Count(found["count"], found["exact"])


def _gone(state: State, around: Surroundings) -> Refused | None:
    """Return what is wrong about a project or a view that the address names and that is no more."""
    if state.wrong is not None:
        return None
    deleted = {one.id: one for one in around.projects if one.deleted}
    for value in state.query.values("workspace") or ():
        if value in deleted:
            return refusal(
                "project", f"the project {deleted[value].name} ({value[:64]}) was deleted. Nothing is shown."
            )
    known = {view.id for view in BUILT_IN} | {view.id for view in around.views}
    if state.view is not None and state.view not in known:
        return refusal(
            "view",
            f"there is no saved view '{state.view[:64]}' any more, or it is not yours. Nothing is shown.",
        )
    return None


async def _is_new(services: Any, principal: Principal, page: Page) -> bool:
    """Tell whether nothing was recorded yet but what this server recorded about itself."""
    if page.size > SMALL_LOG or any(event["stream"] != OWN_STREAM for event in page.events):
        return False
    if page.size == 0:
        return not page.events
    others = Query(never=(Clause("stream", (OWN_STREAM,)),), limit=1)
    return not (await services.read.search(principal, others)).events
