"""Erasure: one person, or chosen values, gone from everywhere, with a certificate in the log and every proof intact.

Values go with their salts and the seed; their commits stay, so that the leaf still proves itself. Rows first, some at a
time; the last transaction empties everything beside the log and sees to it, under the log's lock, that nothing of the
person came in meanwhile. A run that breaks off is simply asked for again. docs/explanation/erasure.md says why.
"""

from __future__ import annotations

from collections.abc import Callable, Sequence
from datetime import datetime
from uuid import UUID

from msgspec import Struct

from tallystick.errors import Conflict, NotFound, Refused, TryLater
from tallystick.event.leaf import read_leaf
from tallystick.event.model import Context, Target
from tallystick.event.prepare import Prepared
from tallystick.services.keeping.door import Door, Place, Stale
from tallystick.services.keeping.erase_rows import Person, chosen_paths, paths_of, rewritten
from tallystick.services.own_events import actor_of, require_whole_organization
from tallystick.services.permissions import MANAGE
from tallystick.services.principal import Principal
from tallystick.store import erasing, keeping, logs
from tallystick.store.connect import Connection, transaction
from tallystick.store.erasing import Rewritten, SealedRow
from tallystick.store.keeping import Counts
from tallystick.store.months import FOREVER, NEVER
from tallystick.verify.positions import Positions
from tallystick.verify.records import ERASED_EVENT, ErasedFields, ErasedRecord, is_record

ROWS_AT_ONCE = 1_000
SCAN_AT_ONCE = 50_000
ATTEMPTS_MAX = 20
IDS_MAX = 1_000
TEXTS_MAX = 20
TILE = 256


class ErasureWish(Struct, frozen=True, kw_only=True, forbid_unknown_fields=True):
    """What to erase: a person, or the values at `paths` of `events`.

    A person is named by `id` (with `type`, where an id is used by several) or `email`; `also` are further texts to look
    for. `remove_whole` removes events that name the person where a leaf shows it in clear, such as the id of a target.
    """

    id: str | None = None
    type: str | None = None
    email: str | None = None
    also: tuple[str, ...] = ()
    remove_whole: bool = False
    events: tuple[UUID, ...] = ()
    paths: tuple[str, ...] = ()


class ErasurePreview(Struct, frozen=True, kw_only=True):
    """What an erasure would touch: people, the texts looked for, events, those that show a text in clear, those held."""

    people: int
    texts: int
    events: int
    in_clear: int
    held: int


class Certificate(Struct, frozen=True, kw_only=True):
    """What an erasure did. `left_in_clear` events still show a text in their leaf, which only removing them whole ends."""

    id: str
    events: int
    removed: int
    left_in_clear: int
    positions: list[int]  # of the certificates in the log


class _Found(Struct):
    """What is to be done: rows to rewrite with their paths, and rows that show a text in clear."""

    rows: list[tuple[SealedRow, set[str]]]
    in_clear: list[SealedRow]
    scanned: int


class Erasures:
    """Erases; `now` is the clock, `new_erasure` makes ids."""

    def __init__(self, door: Door, *, now: Callable[[], datetime], new_erasure: Callable[[], str]) -> None:
        self._door = door
        self._now = now
        self._new_erasure = new_erasure

    async def preview(self, principal: Principal, wish: ErasureWish) -> ErasurePreview:
        """Return what an erasure would touch now; raises NotFound when nobody is known by that name."""
        require_whole_organization(principal, MANAGE)
        check(wish)
        person, _ = await self._person(principal, wish)
        found = await self._find(principal, wish, person, 0)
        positions = Positions.of(row.position for row, _ in found.rows)
        async with transaction(
            self._door.keeper, reading=True, organization=principal.organization_id
        ) as connection:
            held = await keeping.held_among(connection, principal.organization_id, positions)
        return ErasurePreview(
            people=len(person.refs), texts=len(person.texts), events=len(found.rows), in_clear=len(found.in_clear),
            held=len(held),
        )  # fmt: skip

    async def erase(
        self, principal: Principal, wish: ErasureWish, *, context: Context | None = None
    ) -> Certificate:
        """Erase, and return the certificate.

        Raises NotFound when nobody is known by that name, Conflict when a legal hold is for anything of it: then
        nothing was erased.
        """
        require_whole_organization(principal, MANAGE)
        check(wish)
        run = _Run(self, principal, wish, context, self._new_erasure(), self._now())
        return await run.to_the_end()

    async def _person(self, principal: Principal, wish: ErasureWish) -> tuple[Person, list[str]]:
        if wish.events:
            return Person((), ()), []
        organization_id = principal.organization_id
        async with transaction(self._door.keeper, reading=True, organization=organization_id) as connection:
            rows = await erasing.fetch(
                connection, "people", organization=organization_id, type=wish.type,
                ids=[wish.id] if wish.id else [], labels=[wish.email.lower()] if wish.email else [],
            )  # fmt: skip
            refs = [row["ref"] for row in rows]
            labels = await erasing.fetch(connection, "labels", organization=organization_id, refs=refs)
        if not refs and not wish.also:
            raise NotFound("Nobody in this organization's log is known by that id or e-mail.")
        given = [text for text in (wish.id, wish.email, *wish.also) if text]
        ids = [row["id"] for row in rows if row["id"]]
        return Person(refs, [*given, *ids, *(row["label"] for row in labels)]), ids

    async def _find(self, principal: Principal, wish: ErasureWish, person: Person, first: int) -> _Found:
        found = _Found([], [], first)
        organization_id = principal.organization_id
        async with transaction(self._door.keeper, reading=True, organization=organization_id) as connection:
            head = await logs.head(connection, organization_id)
            size = head.size if head else 0
            spans = await keeping.months(connection, organization_id, size)
            if wish.events:
                rows = await erasing.fetch(
                    connection, "by_id", organization=organization_id, ids=list(wish.events)
                )
                picked = [SealedRow(*row) for row in rows]
                found.rows = [(row, paths) for row in picked if (paths := chosen_paths(row, wish.paths))]
                return found
        while found.scanned < size:
            end = min(size, found.scanned + SCAN_AT_ONCE)
            async with transaction(
                self._door.keeper, reading=True, organization=organization_id
            ) as connection:
                received = keeping.received_within(spans, found.scanned, end)
                rows = await erasing.mentions(
                    connection, organization_id, person.refs, person.written, found.scanned, end,
                    (received[0], FOREVER) if end == size else received,
                )  # fmt: skip
            self._sort(found, rows, person)
            found.scanned = end
        return found

    def _sort(self, found: _Found, rows: Sequence[SealedRow], person: Person) -> None:
        for row in rows:
            if paths := paths_of(row, person):
                found.rows.append((row, paths))
            if person.is_in(row.leaf):
                found.in_clear.append(row)

    async def list_all(self, principal: Principal) -> list[dict[str, object]]:
        """Return what was erased so far, by pseudonym."""
        require_whole_organization(principal, MANAGE)
        async with transaction(
            self._door.keeper, reading=True, organization=principal.organization_id
        ) as connection:
            rows = await erasing.fetch(connection, "erasures", organization=principal.organization_id)
        return [dict(row) for row in rows]


class _Run:
    """One erasure from beginning to end."""

    def __init__(
        self,
        erasures: Erasures,
        principal: Principal,
        wish: ErasureWish,
        context: Context | None,
        erasure_id: str,
        started_at: datetime,
    ) -> None:
        self._all, self._door = erasures, erasures._door
        self._principal, self._wish, self._context = principal, wish, context
        self._id, self._started_at = erasure_id, started_at
        self._organization_id = principal.organization_id
        self._events = self._removed = 0
        self._in_clear: set[int] = set()
        self._places: list[int] = []

    async def to_the_end(self) -> Certificate:
        """Erase everything there is, then what came in meanwhile, until nothing did."""
        person, ids = await self._all._person(self._principal, self._wish)
        scanned = 0
        for _ in range(ATTEMPTS_MAX):
            found = await self._all._find(self._principal, self._wish, person, scanned)
            await self._refuse_held(found)
            await self._take(found)
            scanned = found.scanned
            try:
                await self._close(person, ids, scanned)
            except Stale:
                continue
            return Certificate(
                id=self._id, events=self._events, removed=self._removed, left_in_clear=len(self._in_clear),
                positions=self._places,
            )  # fmt: skip
        raise TryLater(
            "Events of this person come in all the time. What was there is erased, the directory is not yet: ask again."
        )

    async def _refuse_held(self, found: _Found) -> None:
        rows = [row.position for row, _ in found.rows]
        if self._wish.remove_whole:
            rows += [row.position for row in found.in_clear]
        async with transaction(
            self._door.keeper, reading=True, organization=self._organization_id
        ) as connection:
            held = await keeping.held_among(connection, self._organization_id, Positions.of(rows))
        if held:
            raise Conflict(
                f"{len(held)} of these events are under a legal hold, so nothing of them can be erased. Release it first; "
                "GET /v1/holds lists them.", rule="held",
            )  # fmt: skip

    async def _take(self, found: _Found) -> None:
        whole: list[SealedRow] = []
        if self._wish.remove_whole:
            async with transaction(
                self._door.keeper, reading=True, organization=self._organization_id
            ) as connection:
                size = (await logs.head(connection, self._organization_id) or _NO_HEAD).size
            # Rows of the last, incomplete tile are all that knows their leaf hashes; records stay.
            whole = [
                row
                for row in found.in_clear
                if row.position < size // TILE * TILE and not _keeps_account(row)
            ]
        gone = {row.position for row in whole}
        self._in_clear |= {row.position for row in found.in_clear} - gone
        rows = [(row, paths) for row, paths in found.rows if row.position not in gone]
        for at in range(0, len(rows), ROWS_AT_ONCE):
            await self._rewrite(rows[at : at + ROWS_AT_ONCE])
        for at in range(0, len(whole), ROWS_AT_ONCE):
            await self._remove(whole[at : at + ROWS_AT_ONCE])

    async def _rewrite(self, rows: Sequence[tuple[SealedRow, set[str]]]) -> None:
        made = [rewritten(row, paths) for row, paths in rows]
        by_paths: dict[tuple[str, ...], list[int]] = {}
        for row, paths in rows:
            by_paths.setdefault(tuple(sorted(paths)), []).append(row.position)
        fields = tuple(
            ErasedFields(paths=paths, positions=_written(Positions.of(positions)))
            for paths, positions in sorted(by_paths.items())
        )
        removal_id = self._door.new_id()
        event = self._certificate(
            removal_id, ErasedRecord(erasure=self._id, fields=fields), {"events": len(rows)}
        )
        positions = Positions.of(row.position for row, _ in rows)

        async def first(connection: Connection) -> None:
            await self._still_free(connection, positions)
            await keeping.begin_removal(connection, self._organization_id, removal_id, "fields", positions)
            await _rewrite_rows(connection, self._organization_id, made)

        await self._door.record(self._organization_id, [event], first=first, then=self._placing(removal_id))
        self._events += len(rows)

    async def _remove(self, rows: Sequence[SealedRow]) -> None:
        positions = Positions.of(row.position for row in rows)
        removal_id = self._door.new_id()
        record = ErasedRecord(erasure=self._id, removed=_written(positions))
        event = self._certificate(removal_id, record, {"removed": len(rows)})
        counts: list[Counts] = []

        async def first(connection: Connection) -> None:
            await self._still_free(connection, positions)
            await keeping.begin_removal(connection, self._organization_id, removal_id, "erasure", positions)
            received = (min(row.received_at for row in rows), FOREVER)
            removed = await keeping.remove_rows(
                connection, self._organization_id, positions, received, forget_before=self._started_at
            )
            counts.append(removed)
            if removed.events != len(rows):
                raise Stale("Some of these events are gone already.")

        placing = self._placing(removal_id)

        async def then(connection: Connection, places: Sequence[Place]) -> None:
            await placing(connection, places)
            await keeping.settle(connection, self._organization_id, counts[-1])

        await self._door.record(self._organization_id, [event], first=first, then=then)
        self._removed += len(rows)

    async def _close(self, person: Person, ids: Sequence[str], scanned: int) -> None:
        """Empty everything beside the log; raises Stale when more of the person came in since `scanned`."""
        counts = {
            "events": self._events,
            "removed": self._removed,
            "left_in_clear": len(self._in_clear),
        }
        event = self._certificate(
            self._door.new_id(), ErasedRecord(erasure=self._id), counts | {"finished": True}
        )

        async def then(connection: Connection, places: Sequence[Place]) -> None:
            (place,) = places
            if not self._wish.events:
                late = await erasing.mentions(
                    connection, self._organization_id, person.refs, person.written, scanned, place.position,
                    (NEVER, FOREVER),
                )  # fmt: skip
                # Our own certificates name the subject by nothing; whatever else tells of the person is taken next time.
                if any(paths_of(row, person) for row in late):
                    raise Stale("More of this person came in meanwhile.")
                await erasing.forget_person(
                    connection, self._organization_id, person.refs, ids, person.texts, place.received_at
                )
            await erasing.fetch(
                connection, "add_erasure", organization=self._organization_id, id=self._id, refs=list(person.refs),
                started_at=self._started_at, finished_at=place.received_at,
                **counts,
            )  # fmt: skip

        (place,) = await self._door.record(self._organization_id, [event], then=then)
        self._places.append(place.position)

    def _certificate(
        self, event_id: UUID, record: ErasedRecord, counts: dict[str, object] | dict[str, int]
    ) -> Prepared:
        return self._door.prepared(
            self._organization_id, ERASED_EVENT, record, id=event_id, actor=actor_of(self._principal),
            context=self._context, targets=[Target(type="erasure", id=self._id)], after=dict(counts),
        )  # fmt: skip

    def _placing(self, removal_id: UUID):
        async def then(connection: Connection, places: Sequence[Place]) -> None:
            (place,) = places
            await keeping.place_removal(
                connection, self._organization_id, removal_id, place.position, place.received_at
            )
            self._places.append(place.position)

        return then

    async def _still_free(self, connection: Connection, positions: Positions) -> None:
        if await keeping.held_among(connection, self._organization_id, positions):
            raise Conflict("A legal hold was set on some of these events meanwhile.", rule="held")


async def _rewrite_rows(connection: Connection, organization_id: UUID, rows: Sequence[Rewritten]) -> None:
    if await erasing.rewrite(connection, organization_id, rows) != len(rows):
        raise Stale("Some of these events were changed meanwhile.")


def check(wish: ErasureWish) -> None:
    """Raise Refused for a wish that makes no sense."""
    if bool(wish.events) != bool(wish.paths):
        raise Refused("'events' and 'paths' go together.", path="/paths", rule="shape")
    names_person = wish.id is not None or wish.email is not None or bool(wish.also)
    if bool(wish.events) == names_person:
        raise Refused("Name either a person (id, email) or events with paths.", path="/id", rule="shape")
    if len(wish.events) > IDS_MAX or len(wish.paths) > TEXTS_MAX or len(wish.also) > TEXTS_MAX:
        raise Refused(f"At most {IDS_MAX} events, {TEXTS_MAX} paths or texts at once.", rule="range")
    for text in (wish.id, wish.email, *wish.also, *wish.paths):
        if text is not None and not 0 < len(text) <= 1_024:
            raise Refused("A text to erase has 1 to 1,024 characters.", rule="range")


def _written(positions: Positions) -> tuple[tuple[int, int], ...]:
    return tuple((first, count) for first, count in positions.written())


def _keeps_account(row: SealedRow) -> bool:
    leaf = read_leaf(row.leaf)
    return is_record(leaf.action, leaf.stream, leaf.source)


_NO_HEAD = logs.Head(0, b"", datetime.min, "", datetime.min, 0)  # noqa: DTZ901
