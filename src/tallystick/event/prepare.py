"""From the bytes a producer sent to everything that sealing needs: decoded, checked, redacted, split.

The ordinary event takes the quick road: one decoding, one conversion, one walk that finds nothing to do.
Whatever is out of the ordinary is decoded again, strictly, and goes through `Normaliser`.
"""

from __future__ import annotations

import json
from collections.abc import Callable
from datetime import datetime
from typing import Any, Final
from uuid import UUID

import msgspec
from msgspec import UNSET, Struct

from tallystick.errors import Refused, TooLarge
from tallystick.event import limits
from tallystick.event.address import read_ip
from tallystick.event.canonical import canonical, canonical_plain, canonical_text
from tallystick.event.decode import Repeated, decode_quick, decode_strict
from tallystick.event.leaf import (
    REST,
    LeafDelegator,
    LeafRoles,
    LeafTarget,
    SealedPath,
    sealed_path,
    write_leaf,
)
from tallystick.event.model import ACTORS_WITHOUT_ID, DEFAULT_STREAM, Event, Flag
from tallystick.event.moment import read_instant
from tallystick.event.normalise import Normaliser
from tallystick.event.ordinary import ordinary
from tallystick.event.redact import Redaction
from tallystick.event.wire import convert


class Subject(Struct, frozen=True, gc=False):
    """Who an actor or delegator is, for the subject directory; `id` is "" where the type needs none."""

    type: str
    id: str
    name: str | None
    email: str | None


class Prepared(Struct, frozen=True, kw_only=True, gc=False):
    """One event ready to be sealed.

    The first fields are what searching needs ("" = none). The rest is for `seal`: the clear parts of the
    leaf, and `sealed`, the canonical bytes of each sealed value in the byte order of their paths, without
    `flags` and `redacted`, which `seal` adds.
    """

    id: UUID
    id_given: bool
    action: str
    outcome: str
    stream: str
    workspace: str
    occurred_at: datetime | None
    actor_type: str
    subjects: tuple[Subject, ...]
    target_type: str
    target_id: str
    more_targets: tuple[str, ...]
    ip: str
    request_id: str
    size_bytes: int

    id_text: str
    occurred_text: str
    credential_id: str | None
    roles: LeafRoles | None
    delegators: tuple[LeafDelegator, ...]
    targets: tuple[LeafTarget, ...]
    clear_request_id: str | None
    clear_workspace: str | None
    sealed: list[tuple[SealedPath, bytes]]
    flags: tuple[Flag, ...]
    redacted: tuple[str, ...]


def prepare(raw: bytes, *, redaction: Redaction, new_id: Callable[[], UUID]) -> Prepared:
    """Return the event in `raw` (one JSON document), checked, normalised, flagged and redacted.

    `new_id` makes the id of an event that came without one. Raises Refused, with the JSON pointer and the
    rule, for what its developer must mend, and TooLarge over 256 KiB; nothing else.
    """
    if len(raw) > limits.EVENT_BYTES_MAX:
        raise TooLarge(
            f"the event has {len(raw)} bytes, the limit is {limits.EVENT_BYTES_MAX}; cut its largest values",
            rule="event_too_large",
        )
    tree = decode_quick(raw)
    if tree is not None:
        quick = ordinary(tree, raw, redaction)
        if quick is not None:
            event, has_floats = quick
            return _assemble(event, len(raw), new_id, canonical if has_floats else canonical_plain, [], ())
    tree = decode_strict(raw)
    if not isinstance(tree, dict | Repeated):
        raise Refused("an event is one JSON object", rule="invalid_json")
    normaliser = Normaliser(redaction, tree.get("action") if isinstance(tree, dict) else None)
    event = convert(normaliser.event(tree))
    redacted = tuple(normaliser.redacted)
    return _assemble(event, len(raw), new_id, canonical, normaliser.all_flags(), redacted)


def prepare_event(event: Event, *, redaction: Redaction, new_id: Callable[[], UUID]) -> Prepared:
    """Return `event`, made in this process, as `prepare` returns one that was sent; raises the same."""
    try:
        raw = msgspec.json.encode(event)
    except UnicodeEncodeError:  # a lone surrogate: JSON can carry it, UTF-8 cannot
        raw = json.dumps(msgspec.to_builtins(event)).encode()
    return prepare(raw, redaction=redaction, new_id=new_id)


def _assemble(
    event: Any,
    size: int,
    new_id: Callable[[], UUID],
    write: Callable[[Any], bytes],
    flags: list[Flag],
    redacted: tuple[str, ...],
) -> Prepared:
    """Return what a WireEvent holds, split into the clear and the sealed; `write` makes canonical bytes."""
    actor, context, error = event.actor, event.context, event.error
    _check_actor(actor, "/actor")
    sealed: list[tuple[SealedPath, bytes]] = []
    if actor.email is not None:
        sealed.append((_ACTOR_EMAIL, canonical_text(actor.email)))
    if actor.id is not None:
        sealed.append((_ACTOR_ID, canonical_text(actor.id)))
    if actor.name is not None:
        sealed.append((_ACTOR_NAME, canonical_text(actor.name)))
    subjects: tuple[Subject, ...] = (Subject(actor.type, actor.id or "", actor.name, actor.email),)
    delegators: tuple[LeafDelegator, ...] = ()
    if actor.on_behalf_of:
        delegators = _delegators(actor.on_behalf_of, sealed)
        subjects += tuple(Subject(d.type, d.id or "", d.name, d.email) for d in actor.on_behalf_of)
    if event.after is not UNSET:
        sealed.append((_AFTER, write(event.after)))
    if event.before is not UNSET:
        sealed.append((_BEFORE, write(event.before)))
    ip = _seal_context(context, sealed, flags) if context is not None else ""
    if error is not None:
        sealed.append((_ERROR, canonical_plain(_given(error))))
    if event.metadata is not None:
        sealed.append((_METADATA, write(event.metadata)))
    targets = _seal_targets(event, delegators, size, sealed) if event.targets else ()
    occurred_at, occurred_text = None, ""
    if event.occurred_at is not None:
        occurred_at, occurred_text, kind = read_instant(event.occurred_at)
        if kind:
            flags.append(Flag(path="/occurred_at", kind=kind))
    id_given = event.id is not None
    id = _read_id(event.id) if id_given else new_id()
    main = event.targets[0] if event.targets else _NO_TARGET
    request_id = context.request_id if context is not None else None
    return Prepared(
        id=id,
        id_given=id_given,
        action=event.action,
        outcome=event.outcome or "success",
        stream=event.stream or DEFAULT_STREAM,
        workspace=event.workspace or "",
        occurred_at=occurred_at,
        actor_type=actor.type,
        subjects=subjects,
        target_type=main.type,
        target_id=main.id,
        more_targets=_type_and_id(event.targets[1:]) if event.targets else (),
        ip=ip,
        request_id=request_id or "",
        size_bytes=size,
        id_text=event.id.lower() if id_given else str(id),
        occurred_text=occurred_text,
        credential_id=actor.credential_id,
        roles=_roles(actor.roles),
        delegators=delegators,
        targets=targets,
        clear_request_id=request_id,
        clear_workspace=event.workspace,
        sealed=sealed,
        flags=tuple(flags),
        redacted=redacted,
    )


_ACTOR_EMAIL: Final = sealed_path("actor/email")
_ACTOR_ID: Final = sealed_path("actor/id")
_ACTOR_NAME: Final = sealed_path("actor/name")
_AFTER: Final = sealed_path("after")
_BEFORE: Final = sealed_path("before")
_ERROR: Final = sealed_path("error")
_METADATA: Final = sealed_path("metadata")
_HTTP: Final = sealed_path("context/http")
_IP: Final = sealed_path("context/ip")
_LOCATION: Final = sealed_path("context/location")
_SESSION_ID: Final = sealed_path("context/session_id")
_TRACE_ID: Final = sealed_path("context/trace_id")
_USER_AGENT: Final = sealed_path("context/user_agent")
_TARGET_NAMES: Final = tuple(sealed_path(f"targets/{index}/name") for index in range(limits.TARGETS_MAX))
_NO_TARGET: Final = LeafTarget(id="", type="")


def _type_and_id(targets: Any) -> tuple[str, ...]:
    return tuple([text for target in targets for text in (target.type, target.id)])


def _read_id(text: str) -> UUID:
    try:
        return msgspec.convert(text, UUID)
    except msgspec.ValidationError:
        raise Refused(
            "/id: expected a UUID, as in 01890a5d-ac96-774b-bcce-b302099a8057",
            path="/id",
            rule="invalid_identifier",
        ) from None


def _check_actor(actor: Any, path: str) -> None:
    """Raise Refused unless the actor or delegator is named as its type demands."""
    if actor.id is not None or actor.type in ACTORS_WITHOUT_ID:
        return
    if actor.type == "api_key":
        if actor.credential_id:
            return
        raise Refused(
            f"{path}: an api_key needs credential_id or id to name the key", path=path, rule="invalid_field"
        )
    raise Refused(
        f"{path}/id is missing; only system and anonymous act without one",
        path=f"{path}/id",
        rule="invalid_field",
    )


def _given(part: Any) -> dict[str, Any]:
    """Return the fields of `part` that were given, as a JSON object."""
    return {name: value for name, value in msgspec.structs.asdict(part).items() if value is not None}


def _roles(roles: Any) -> LeafRoles | None:
    return None if roles is None else LeafRoles(organization=roles.organization, workspace=roles.workspace)


def _delegators(chain: Any, sealed: list[tuple[SealedPath, bytes]]) -> tuple[LeafDelegator, ...]:
    """Return the clear parts of a delegation chain, nearest first; add who they are to `sealed`."""
    clear: list[LeafDelegator] = []
    for index, link in enumerate(chain):
        _check_actor(link, f"/actor/on_behalf_of/{index}")
        who = {"email": link.email, "id": link.id, "name": link.name}
        known = {key: value for key, value in who.items() if value is not None}
        if known:
            sealed.append((sealed_path(f"actor/on_behalf_of/{index}"), canonical_plain(known)))
        clear.append(
            LeafDelegator(ref="", type=link.type, credential_id=link.credential_id, roles=_roles(link.roles))
        )
    return tuple(clear)


def _seal_context(context: Any, sealed: list[tuple[SealedPath, bytes]], flags: list[Flag]) -> str:
    """Add the parts of `context` to `sealed`, in the order of their paths; return the ip to index."""
    ip = ""
    if context.http is not None:
        sealed.append((_HTTP, canonical_plain(_given(context.http))))
    if context.ip is not None:
        ip, port = read_ip(context.ip)
        if port:
            flags.append(Flag(path="/context/ip", kind="ip_port", dropped=port))
        elif not ip:
            flags.append(Flag(path="/context/ip", kind="ip_invalid"))
        sealed.append((_IP, canonical_text(ip or context.ip)))
    if context.location is not None:
        sealed.append((_LOCATION, canonical_plain(_given(context.location))))
    if context.session_id is not None:
        sealed.append((_SESSION_ID, canonical_text(context.session_id)))
    if context.trace_id is not None:
        sealed.append((_TRACE_ID, canonical_text(context.trace_id)))
    if context.user_agent is not None:
        sealed.append((_USER_AGENT, canonical_text(context.user_agent)))
    return ip


def _seal_targets(
    event: Any, delegators: tuple[LeafDelegator, ...], size: int, sealed: list[tuple[SealedPath, bytes]]
) -> tuple[LeafTarget, ...]:
    """Return the targets that lie in the leaf; add their names, and the targets beyond, to `sealed`."""
    clear = [LeafTarget(id=target.id, type=target.type) for target in event.targets]
    kept = len(clear)
    if size > limits.LEAF_TARGETS_BYTES_MAX:  # clear text never gets longer than it was sent
        kept = _fitting(clear, event, delegators)
    names = [
        (_TARGET_NAMES[index], canonical_text(target.name))
        for index, target in enumerate(event.targets)
        if target.name is not None
    ]
    if len(names) > 1:
        names.sort(key=_by_path)
    sealed += names
    if kept < len(clear):
        sealed.append((sealed_path(REST), write_leaf(clear[kept:])))
    return tuple(clear[:kept])


def _fitting(targets: list[LeafTarget], event: Any, delegators: tuple[LeafDelegator, ...]) -> int:
    """Return how many of the first `targets` fit into a leaf beside its other clear parts."""
    request_id = event.context.request_id if event.context is not None else None
    others = (
        event.action,
        event.workspace,
        request_id,
        event.actor.credential_id,
        event.actor.roles,
        delegators,
    )
    room = limits.LEAF_BYTES_MAX - limits.LEAF_ENVELOPE_BYTES_MAX - len(write_leaf(others))
    room = min(room, limits.LEAF_TARGETS_BYTES_MAX)
    for count, target in enumerate(targets):
        room -= len(write_leaf(target)) + 1
        if room < 0:
            return count
    return len(targets)


def _by_path(item: tuple[SealedPath, bytes]) -> bytes:
    return item[0].raw
