"""An organization's own actions: registering them, and the check that each event of theirs goes through.

A schema is remembered as a ready check; that a newer version exists is asked for once a second, so that every server
holds events against it within that time. A version never changes.
"""

from __future__ import annotations

import hashlib
from collections import OrderedDict
from collections.abc import Callable, Mapping
from dataclasses import dataclass, field
from datetime import datetime
from typing import Any
from uuid import UUID

import msgspec
from msgspec import Struct

from tallystick.catalogue.registered import Check, RegisteredAction, Violation, checker, judge_registration
from tallystick.errors import Conflict, Forbidden, NotFound, Refused, TooLarge
from tallystick.event.model import Context, Target
from tallystick.services.ingest import Ingest
from tallystick.services.own_events import record_act, require_whole_organization
from tallystick.services.principal import Principal
from tallystick.services.together import Together
from tallystick.store import registered as rows
from tallystick.store.connect import Connection, Pool

REMEMBER_SECONDS = 1.0
ACTIONS_MAX = 1_000
VERSIONS_MAX = 100
_REMEMBER_MAX = 1_000


class Kept(Struct, frozen=True, kw_only=True):
    """A registered version, since when, and whether this very call made it."""

    action: RegisteredAction
    created_at: datetime | None
    created: bool


@dataclass
class _Known:
    """What is remembered of one organization: newest versions since `at`, and the checks built so far."""

    at: float
    versions: Mapping[str, int]
    checks: dict[str, tuple[int, Check]] = field(default_factory=dict)


class Registered:
    """Registers actions and gives their checks.

    Args:
        reader: connections that may read.
        monotonic: seconds that never go back.
    """

    def __init__(self, reader: Pool, *, monotonic: Callable[[], float]) -> None:
        self._reader = reader
        self._monotonic = monotonic
        self._known: OrderedDict[UUID, _Known] = OrderedDict()
        self._generation = 0
        self._asking: Together[tuple[UUID, int], _Known] = Together()

    async def check_of(self, organization_id: UUID, action: str) -> Check | None:
        """Return what events of `action` are held against, None when the organization has not registered it."""
        known = await self._known_of(organization_id)
        version = known.versions.get(action)
        if version is None:
            return None
        built = known.checks.get(action)
        if built is None or built[0] != version:
            built = (version, await self._build(organization_id, action, version))
            known.checks[action] = built
        return built[1]

    async def _known_of(self, organization_id: UUID) -> _Known:
        at, known = self._monotonic(), self._known.get(organization_id)
        if known is not None and at - known.at < REMEMBER_SECONDS:
            return known
        # Whoever asks after a registration must not be given what was read before it.
        key = (organization_id, self._generation)
        return await self._asking.ask(key, lambda: self._read(organization_id, at))

    async def _read(self, organization_id: UUID, at: float) -> _Known:
        generation, known = self._generation, self._known.get(organization_id)
        versions = await rows.versions(self._reader, organization_id)
        fresh = _Known(at, versions, {} if known is None else known.checks)
        if generation == self._generation:  # else something was registered meanwhile, which this may lack
            self._known[organization_id] = fresh
            self._known.move_to_end(organization_id)
            if len(self._known) > _REMEMBER_MAX:
                self._known.popitem(last=False)
        return fresh

    async def _build(self, organization_id: UUID, action: str, version: int) -> Check:
        found = await rows.declaration(self._reader, organization_id, action, version)
        try:
            if found is None:
                raise ValueError(action)
            return checker(msgspec.json.decode(found.declaration, type=RegisteredAction))
        except ValueError:
            # Never at the cost of an event: it is kept, and its quarantine says what to do.
            return _unusable

    async def register(
        self, principal: Principal, ingest: Ingest, raw: bytes, *, context: Context | None = None
    ) -> Kept:
        """Register one version of an action, declared as JSON; its log says who did, in the same transaction.

        Raises Refused with everything that is wrong with it, Conflict when this version is another one already,
        TooLarge beyond 1,000 actions or 100 versions of one.
        """
        require_whole_organization(principal)
        declared = _read(raw)
        organization_id = principal.organization_id
        existing = await rows.declaration(self._reader, organization_id, declared.name, declared.version)
        if existing is not None:
            if msgspec.json.decode(existing.declaration, type=RegisteredAction) != declared:
                raise _taken(declared)
            return Kept(action=declared, created_at=existing.created_at, created=False)

        async def inside(connection: Connection, entries: object) -> None:
            names, versions = await rows.counts(connection, organization_id, declared.name)
            if versions >= VERSIONS_MAX or (versions == 0 and names >= ACTIONS_MAX):
                raise TooLarge(
                    f"An organization registers at most {ACTIONS_MAX} actions with {VERSIONS_MAX} versions each.",
                    rule="too_many_actions",
                )
            encoded = msgspec.json.encode(declared)
            if not await rows.insert(connection, organization_id, declared.name, declared.version, encoded):
                raise _taken(declared)

        await record_act(
            ingest,
            principal,
            "catalogue.action_registered",
            targets=(Target(type="catalogue_action", id=declared.name, name=declared.title),),
            after=_shown_act(declared),
            context=context,
            inside=inside,
        )
        self._generation += 1
        self._known.pop(organization_id, None)
        return Kept(action=declared, created_at=None, created=True)

    async def list_newest(self, principal: Principal) -> list[dict[str, Any]]:
        """Return the newest version of each of the organization's actions, without the schemas.

        Raises Forbidden for a token of the organization's own customers. Who reads some of its workspaces sees them all:
        they are declared for every workspace, and say what the events that may be seen mean.
        """
        _require_of_the_organization(principal)
        found = await rows.newest(self._reader, principal.organization_id)
        return [_shown(one) for one in found]

    async def list_versions(self, principal: Principal, name: str) -> list[dict[str, Any]]:
        """Return every version of one action, newest first, with the schemas; raises NotFound, Forbidden as the list."""
        _require_of_the_organization(principal)
        found = await rows.versions_of(self._reader, principal.organization_id, name)
        if not found:
            raise NotFound("No action with this name is registered in this organization.")
        return [_shown(one) for one in found]


def _require_of_the_organization(principal: Principal) -> None:
    if principal.locked:
        raise Forbidden(
            "Registered actions are the organization's own. A token for a part of its log shows events alone.",
            rule="viewer",
        )


def _read(raw: bytes) -> RegisteredAction:
    try:
        declared = msgspec.json.decode(raw, type=RegisteredAction)
    except msgspec.DecodeError as error:
        raise Refused(f"The declaration is not understood: {error}", rule="shape") from error
    if b"\\u0000" in msgspec.json.encode(declared):
        raise Refused("A declaration cannot hold U+0000. Nothing was registered.", rule="shape")
    findings = judge_registration(declared)
    if findings:
        listed = "; ".join(f"{one.path or '/'}: {one.message}" for one in findings)
        raise Refused(
            f"This action cannot be registered: {listed}", path=findings[0].path, rule="declaration"
        )
    return declared


def _shown_act(declared: RegisteredAction) -> dict[str, Any]:
    digest = hashlib.sha256(msgspec.json.encode(declared.schema, order="sorted")).hexdigest()
    return {
        "version": declared.version,
        "verb": declared.verb,
        "target_type": declared.target_type,
        "sensitivity": declared.sensitivity,
        "schema_sha256": digest,
    }


def _taken(declared: RegisteredAction) -> Conflict:
    return Conflict(
        f"Version {declared.version} of {declared.name} is registered with another declaration, and a version never "
        "changes. Register a higher version.",
        path="/version",
        rule="version_taken",
    )


def _shown(one: rows.Declaration) -> dict[str, Any]:
    return {**msgspec.json.decode(one.declaration), "created_at": one.created_at}


def _unusable(event: Mapping[str, Any]) -> list[Violation]:
    text = "the registered schema of this action cannot be used; register a new version of it"
    return [Violation("", "schema", text, "")]
