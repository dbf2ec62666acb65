"""Delegated reading: short-lived tokens a backend gives to its own customers, with filters no request can widen.

A token is good for one exchange. What it is exchanged for reads what the token's filters lock, obeyed everywhere by
`services/narrow.py`, until the token would have ended, or its maker's key does.
"""

from __future__ import annotations

import hashlib
import re
from collections import OrderedDict
from collections.abc import Callable, Mapping
from datetime import datetime, timedelta
from typing import Any
from urllib.parse import urlsplit

from msgspec import Struct

from tallystick.errors import Forbidden, NotFound, Refused, Unauthorized
from tallystick.event.model import Context, Target
from tallystick.event.moment import instant_text
from tallystick.query.model import Clause
from tallystick.query.parse import parse
from tallystick.services.access import format_key, is_well_formed
from tallystick.services.ingest import Ingest
from tallystick.services.narrow import LOCKABLE, LOCKABLE_TIMES
from tallystick.services.own_events import record_act
from tallystick.services.permissions import EXPORT, KEYS, READ
from tallystick.services.principal import Principal
from tallystick.store import viewers as rows
from tallystick.store.connect import Connection, Pool
from tallystick.store.viewers import ViewerRow

TOKEN_PREFIX = "vwt_"  # noqa: S105 - a prefix, no secret
SESSION_PREFIX = "vws_"
LIFETIME_SECONDS = (10, 600, 3600)  # least, by default, most
VALUES_MAX = 100
ORIGINS_MAX = 20
NAME_CHARACTERS_MAX = 128
COLUMNS_MAX = 50
GRANTABLE = (READ, EXPORT)
# What backends call these filters.
ALIASES: Mapping[str, str] = {"tenant": "workspace", "actor": "actor_id", "target": "target_id"}
# A revoked token must stop working within five seconds on every server.
_REMEMBER_SECONDS = 4.0
_REMEMBER_MAX = 4096
# A page's first request may come before another server's new token is known here: a miss is asked for soon again.
_ORIGINS_SECONDS = 4.0
_ORIGINS_AGAIN_SECONDS = 0.25


class ViewerWish(Struct, frozen=True, kw_only=True, forbid_unknown_fields=True):
    """What a viewer's token shall show, where from, and for how long.

    `columns` are those of the embedded table, in their order, none = all there are; an event that is opened is whole.
    """

    filters: dict[str, str | list[str]]
    name: str = ""
    origins: tuple[str, ...] = ()
    columns: tuple[str, ...] = ()
    permissions: tuple[str, ...] = (READ,)
    expires_in_seconds: int = LIFETIME_SECONDS[1]


class NewViewer(Struct, frozen=True, kw_only=True):
    """A token just made; `token` is shown this once and stored nowhere."""

    id: str
    token: str
    name: str
    permissions: tuple[str, ...]
    filters: dict[str, tuple[str, ...]]
    origins: tuple[str, ...]
    expires_at: datetime


class ViewerSession(Struct, frozen=True, kw_only=True):
    """What a token was exchanged for; `token` is shown this once and stored nowhere."""

    id: str
    token: str
    permissions: tuple[str, ...]
    filters: dict[str, tuple[str, ...]]
    origins: tuple[str, ...]
    expires_at: datetime


class Viewer(Struct, frozen=True, kw_only=True):
    """Who reads with a session until when, from which pages' origins, and which columns the embedded table may have."""

    principal: Principal
    origins: tuple[str, ...]
    columns: tuple[str, ...]
    expires_at: datetime


class Viewers:
    """Makes, exchanges, lists and revokes viewers' tokens, and authenticates their sessions.

    Args:
        writer: the pool of the writing database role.
        ingest: records events of this process.
        now: the clock, in UTC.
        monotonic: seconds that never go back.
        random: gives that many random bytes.
    """

    def __init__(
        self,
        writer: Pool,
        ingest: Ingest,
        *,
        now: Callable[[], datetime],
        monotonic: Callable[[], float],
        random: Callable[[int], bytes],
    ) -> None:
        self._writer = writer
        self._ingest = ingest
        self._now = now
        self._monotonic = monotonic
        self._random = random
        self._remembered: OrderedDict[bytes, tuple[float, Viewer | None, datetime]] = OrderedDict()
        self._origins: frozenset[str] = frozenset()
        self._origins_at = float("-inf")

    async def create(self, principal: Principal, wish: ViewerWish, context: Context | None) -> NewViewer:
        """Make a token that shows no more than `principal` may see itself; the log says who made it.

        Raises Forbidden for anything but a key of a backend and for more than the key holds, Refused for filters,
        origins or a lifetime that cannot be.
        """
        if principal.kind not in ("key", "operator"):
            raise Forbidden("Only a backend's key makes tokens for viewers, never a person.", rule="kind")
        permissions = _permissions(principal, wish.permissions)
        filters = read_filters(wish.filters, now=self._now())
        _require_within(principal, filters)
        if len(wish.name) > NAME_CHARACTERS_MAX or not wish.name.isprintable():
            raise Refused(f"A name has at most {NAME_CHARACTERS_MAX} printable characters.", path="/name")
        if len(wish.columns) > COLUMNS_MAX:
            raise Refused(f"A token names at most {COLUMNS_MAX} columns.", path="/columns", rule="column")
        least, _, most = LIFETIME_SECONDS
        if not least <= wish.expires_in_seconds <= most:
            raise Refused(
                f"A token lives {least} to {most} seconds.", path="/expires_in_seconds", rule="range"
            )
        token, at = format_key(self._random(32), TOKEN_PREFIX), self._now()
        row = ViewerRow(
            organization_id=principal.organization_id,
            id=TOKEN_PREFIX + self._random(8).hex(),
            name=wish.name,
            permissions=permissions,
            workspaces=None if principal.workspaces is None else tuple(sorted(principal.workspaces)),
            filters=filters,
            origins=read_origins(wish.origins),
            columns=wish.columns,
            created_by=principal.id,
            created_at=at,
            expires_at=at + timedelta(seconds=wish.expires_in_seconds),
        )

        async def inside(connection: Connection, entries: object) -> None:
            await rows.insert(connection, row, _digest(token))

        await record_act(
            self._ingest, principal, "viewer_session.created", targets=(_target(row),), after=_shown(row),
            context=context, inside=inside,
        )  # fmt: skip
        self._origins_at = float("-inf")
        return NewViewer(
            id=row.id, token=token, name=row.name, permissions=permissions, filters=filters, origins=row.origins,
            expires_at=row.expires_at,
        )  # fmt: skip

    async def exchange(
        self, token: str, *, origin: str | None, own: bool, context: Context | None
    ) -> ViewerSession:
        """Exchange a token for the session of one viewer, once; the log says from where.

        `origin` is that of the page which asks, `own` says it is one of ours. Raises Unauthorized with one text for
        every reason, Forbidden for another origin, and then the token is still good.
        """
        if not is_well_formed(token, TOKEN_PREFIX):
            raise _unauthorized()
        row = await rows.find(self._writer, _digest(token))
        if row is None or row.used_at is not None or not self._is_good(row):
            raise _unauthorized()
        viewer = _viewer(row)
        require_origin(viewer, origin, own=own)
        session, at = format_key(self._random(32), SESSION_PREFIX), self._now()

        async def inside(connection: Connection, entries: object) -> None:
            if not await rows.exchange(connection, row.organization_id, row.id, at, _digest(session)):
                raise _unauthorized()

        await record_act(
            self._ingest, viewer.principal, "viewer_session.started", targets=(_target(row),), context=context,
            metadata={"origin": origin}, inside=inside,
        )  # fmt: skip
        return ViewerSession(
            id=row.id, token=session, permissions=row.permissions, filters=row.filters, origins=row.origins,
            expires_at=row.expires_at,
        )  # fmt: skip

    async def authenticate(self, token: str) -> Viewer:
        """Return whose session this is, or raise Unauthorized with one text for every reason."""
        if not is_well_formed(token, SESSION_PREFIX):
            raise _unauthorized()
        digest, at = _digest(token), self._monotonic()
        known = self._remembered.get(digest)
        if known is None or at - known[0] > _REMEMBER_SECONDS:
            row = await rows.find(self._writer, digest)
            good = row is not None and row.session_sha256 == digest and row.revoked_at is None
            known = (
                (at, _viewer(row), row.expires_at) if row is not None and good else (at, None, self._now())
            )
            self._remembered[digest] = known
            self._remembered.move_to_end(digest)
            if len(self._remembered) > _REMEMBER_MAX:
                self._remembered.popitem(last=False)
        viewer, until = known[1], known[2]
        if viewer is None or until <= self._now():
            raise _unauthorized()
        return viewer

    def _is_good(self, row: ViewerRow) -> bool:
        return row.revoked_at is None and row.expires_at > self._now()

    async def list_live(self, principal: Principal) -> list[dict[str, Any]]:
        """Return the tokens that are not over: those a key made, or all of them to who manages keys."""
        found = await rows.list_live(self._writer, principal.organization_id, _maker(principal), self._now())
        return [_shown(row) for row in found]

    async def revoke(self, principal: Principal, token_id: str, context: Context | None) -> None:
        """End a token and its session for good, within five seconds everywhere; raises NotFound."""
        organization_id, maker, at = principal.organization_id, _maker(principal), self._now()
        row = await rows.get(self._writer, organization_id, token_id, maker)
        if row is None:
            raise _not_found()
        if row.revoked_at is not None:
            return

        async def inside(connection: Connection, entries: object) -> None:
            await rows.revoke(connection, organization_id, token_id, at, maker)

        await record_act(
            self._ingest, principal, "viewer_session.revoked", targets=(_target(row),), before=_shown(row),
            context=context, inside=inside,
        )  # fmt: skip
        self._remembered.clear()

    async def allows(self, origin: str) -> bool:
        """Tell whether some live token names this origin: only then a browser is told that it may ask."""
        age = self._monotonic() - self._origins_at
        if age > _ORIGINS_SECONDS or (origin not in self._origins and age > _ORIGINS_AGAIN_SECONDS):
            self._origins_at = self._monotonic()
            self._origins = await rows.live_origins(self._writer, self._now())
        return origin in self._origins


def require_origin(viewer: Viewer, origin: str | None, *, own: bool) -> None:
    """Raise Forbidden when a browser asks for a page of an origin that the token does not name."""
    if origin is not None and not own and origin not in viewer.origins:
        raise Forbidden(
            "This token is not for pages of this origin. Its backend names the origins when it makes the token.",
            rule="origin",
        )


def read_filters(given: Mapping[str, str | list[str]], *, now: datetime) -> dict[str, tuple[str, ...]]:
    """Return filters to lock in their one form: name → values, sorted; raises Refused for one that cannot be locked."""
    pairs: list[tuple[str, str]] = []
    for key, value in given.items():
        name = ALIASES.get(key, key)
        if name not in (*LOCKABLE, *LOCKABLE_TIMES):
            known = ", ".join((*ALIASES, *LOCKABLE, *LOCKABLE_TIMES))
            raise Refused(
                f"'{key[:80]}' cannot be locked; these can: {known}.", path="/filters", rule="filter"
            )
        values = [value] if isinstance(value, str) else value
        if not 1 <= len(values) <= VALUES_MAX:
            raise Refused(f"A filter has 1 to {VALUES_MAX} values.", path=f"/filters/{name}", rule="filter")
        pairs += [(name, one) for one in values]
    query = parse(pairs, now=now)
    found = {clause.key: clause.values for clause in query.only}
    if not found:
        raise Refused(
            "A viewer's token needs a filter besides the time: a workspace, an actor, a target.",
            path="/filters",
            rule="filter",
        )
    if query.since is not None:
        found["from"] = (instant_text(query.since),)
    if query.until is not None:
        found["to"] = (instant_text(query.until),)
    return found


_ORIGIN = re.compile(
    r"https?://[a-z0-9]([a-z0-9.-]{0,251}[a-z0-9])?(:[0-9]{1,5})?|http://\[::1\](:[0-9]{1,5})?"
)
_LOOPBACK = frozenset({"localhost", "127.0.0.1", "::1"})


def read_origins(given: tuple[str, ...]) -> tuple[str, ...]:
    """Return origins as browsers write them; raises Refused for anything else, as a path or a wildcard."""
    if len(given) > ORIGINS_MAX:
        raise Refused(f"A token names at most {ORIGINS_MAX} origins.", path="/origins", rule="origin")
    for index, origin in enumerate(given):
        good = _ORIGIN.fullmatch(origin) is not None
        if not good or (origin.startswith("http:") and urlsplit(origin).hostname not in _LOOPBACK):
            raise Refused(
                "An origin is written as a browser sends it, such as https://app.example.com, without a path; http "
                "only for the loopback address.",
                path=f"/origins/{index}",
                rule="origin",
            )
    return tuple(dict.fromkeys(given))


def _permissions(principal: Principal, wanted: tuple[str, ...]) -> tuple[str, ...]:
    for permission in wanted:
        if permission not in GRANTABLE:
            raise Refused(
                f"A viewer's token holds {' and '.join(GRANTABLE)} at most.",
                path="/permissions",
                rule="permission",
            )
        principal.require(permission)
    return tuple(one for one in GRANTABLE if one in wanted or one == READ)


def _require_within(principal: Principal, filters: Mapping[str, tuple[str, ...]]) -> None:
    """Raise Forbidden when a key bound to workspaces would show others."""
    bounds, wanted = principal.workspaces, filters.get("workspace")
    if bounds is not None and wanted is not None and not set(wanted) <= bounds:
        raise Forbidden(
            f"This key reads the workspace {', '.join(sorted(bounds))} only, and a token shows no more than its maker "
            "may see.",
            path="/filters/workspace",
            rule="workspace",
        )


def _viewer(row: ViewerRow) -> Viewer:
    principal = Principal(
        organization_id=row.organization_id,
        kind="viewer",
        id=row.id,
        name=row.name,
        permissions=frozenset(row.permissions),
        workspaces=None if row.workspaces is None else frozenset(row.workspaces),
        locked=tuple(Clause(key, tuple(values)) for key, values in row.filters.items()),
    )
    return Viewer(principal=principal, origins=row.origins, columns=row.columns, expires_at=row.expires_at)


def _maker(principal: Principal) -> str | None:
    return None if principal.may(KEYS) and principal.workspaces is None else principal.id


def _target(row: ViewerRow) -> Target:
    return Target(type="viewer_token", id=row.id, name=row.name or None)


def _shown(row: ViewerRow) -> dict[str, Any]:
    return {
        "id": row.id,
        "name": row.name,
        "permissions": list(row.permissions),
        "filters": {key: list(values) for key, values in row.filters.items()},
        "origins": list(row.origins),
        "columns": list(row.columns),
        "created_by": row.created_by,
        "created_at": instant_text(row.created_at),
        "expires_at": instant_text(row.expires_at),
        "used_at": None if row.used_at is None else instant_text(row.used_at),
        "revoked_at": None if row.revoked_at is None else instant_text(row.revoked_at),
    }


def _digest(token: str) -> bytes:
    return hashlib.sha256(token.encode()).digest()


def _not_found() -> NotFound:
    return NotFound("There is no viewer's token with this id in this organization.")


def _unauthorized() -> Unauthorized:
    # One text whatever was wrong: a caller must not learn whether a token is unknown, used, revoked or over.
    return Unauthorized(
        "No valid viewer's token came with this request. Each works once and not for long: ask the page's backend for "
        "a new one."
    )
