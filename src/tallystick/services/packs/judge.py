"""Answers a pack's controls from this installation, for the bundle that carries them."""

from __future__ import annotations

from collections.abc import Callable
from datetime import datetime, timedelta
from functools import partial
from typing import Final

from msgspec.structs import replace

from tallystick.errors import NotFound
from tallystick.event.model import Context
from tallystick.query.model import Query
from tallystick.query.parse import parse
from tallystick.services.evidence_bundle import Answer, Bundles
from tallystick.services.evidence_bundle_words import moment_text
from tallystick.services.keeping.rules import PolicyVersion, default_days, in_force
from tallystick.services.own_events import require_whole_organization
from tallystick.services.packs.checks import CHECKS
from tallystick.services.packs.declared import DeclaredControl, Pack, packs
from tallystick.services.packs.facts import Facts, Outcome, Outside, Result
from tallystick.services.permissions import EXPORT
from tallystick.services.principal import Principal
from tallystick.services.read import Read
from tallystick.store import evidence_bundles as rows
from tallystick.store import keeping
from tallystick.store.connect import Pool, transaction
from tallystick.verify.bundle_layout import Control, Controls
from tallystick.verify.layout import Header
from tallystick.verify.records import DEFAULT_RULE
from tallystick.verify.report import Report

PERIOD: Final = timedelta(days=90)
OUTSIDE_PERIOD: Final = timedelta(days=7)
EXAMPLES_MAX: Final = 20


class Packs:
    """Makes evidence packs; `reader` is a pool of a role that may read, `now` the clock in UTC."""

    def __init__(self, reader: Pool, read: Read, bundles: Bundles, *, now: Callable[[], datetime]) -> None:
        self._pool = reader
        self._read = read
        self._bundles = bundles
        self._now = now

    @staticmethod
    def declared() -> list[Pack]:
        """Return every pack there is."""
        return list(packs().values())

    async def make(
        self, principal: Principal, name: str, time: Query, *, context: Context | None = None
    ) -> Answer:
        """Make the bundle of the pack `name` over the time of `time`, by default the last 90 days.

        Raises NotFound for an unknown pack, Forbidden unless the whole organization may be exported, and what
        `Bundles.make` raises.
        """
        require_whole_organization(principal, EXPORT)
        pack = packs().get(name)
        if pack is None:
            raise NotFound(f"There is no evidence pack of this name; known are {', '.join(packs())}.")
        now = self._now()
        since = time.since or (time.until or now) - PERIOD
        query = self._query(pack.filter, since, time.until)
        return await self._bundles.make(
            principal, query, context=context, judge=partial(self._judge, pack, since, time.until)
        )

    def _query(self, text: str, since: datetime | None, until: datetime | None) -> Query:
        return replace(parse([("q", text)], now=self._now()), since=since, until=until, range="")

    async def _judge(
        self,
        pack: Pack,
        since: datetime,
        until: datetime | None,
        principal: Principal,
        header: Header,
        report: Report,
    ) -> Controls:
        """Answer every control."""
        facts = await self._facts(principal, since, until, report)
        return Controls(
            pack=pack.name, title=pack.title, source=pack.source,
            period=f"{moment_text(since.replace(microsecond=0))} to {moment_text((until or self._now()).replace(microsecond=0))}",
            controls=tuple(
                [await self._answer(control, facts, principal, since, until, header) for control in pack.controls]
            ),
        )  # fmt: skip

    async def _answer(
        self,
        declared: DeclaredControl,
        facts: Facts,
        principal: Principal,
        since: datetime,
        until: datetime | None,
        header: Header,
    ) -> Control:
        facts = replace(facts, matches=await facts.count(declared.query))
        outcomes = [await CHECKS[name](facts) for name in declared.checks]
        events: tuple[int, ...] = ()
        if declared.query.startswith("stream:tallystick"):
            page = await self._read.search(
                principal, replace(self._query(declared.query, since, until), limit=EXAMPLES_MAX)
            )
            places = (event["position"] for event in page.events)
            events = tuple(at for at in places if header.start <= at < header.end)
        return Control(
            id=declared.id, title=declared.title, asks=declared.asks, result=joined(outcomes),
            found=tuple(one.found for one in outcomes if one.found),
            missing=(*(one.missing for one in outcomes if one.missing), declared.missing),
            query=declared.query, matches=facts.matches, events=events,
        )  # fmt: skip

    async def _facts(
        self, principal: Principal, since: datetime, until: datetime | None, report: Report
    ) -> Facts:
        organization_id, now = principal.organization_id, self._now()
        async with transaction(self._pool, reading=True, organization=organization_id) as connection:
            versions = [
                PolicyVersion(
                    rule=row["rule"], position=row["position"], stream=row["stream"], workspace=row["workspace"],
                    class_=row["class"], days=row["days"], ended=row["ended"], recorded_at=row["recorded_at"],
                    effective_at=row["effective_at"],
                )
                for row in await keeping.fetch(connection, "policies", organization=organization_id)
            ]  # fmt: skip
            on = await keeping.fetch(connection, "dual_control", organization=organization_id)
            held = await keeping.fetch(connection, "holds", organization=organization_id)
        force = in_force(versions, now)

        async def counted(text: str, *, ever: bool = False) -> int:
            query = self._query(text, None if ever else since, None if ever else until)
            return (await self._read.count(principal, query, exact=True))["count"]

        return Facts(
            at=now, matches=0, days=default_days(force),
            rules=tuple(one for one in force.values() if one.rule != DEFAULT_RULE),
            dual_control=bool(on and on[0]["on"]), holds=sum(row["released_at"] is None for row in held),
            outside=Outside(**await rows.outside(self._pool, now - OUTSIDE_PERIOD)), report=report,
            count=counted, ever=partial(counted, ever=True),
        )  # fmt: skip


def joined(outcomes: list[Outcome]) -> Result:
    """Return the result of a control out of those of its checks: no better than its parts."""
    results = {one.result for one in outcomes}
    if results == {"met"}:
        return "met"
    if "not_met" in results and "met" not in results and "partly" not in results:
        return "not_met"
    return "unknown" if results <= {"unknown"} else "partly"
