"""Splitting a checked event into the clear parts of its leaf and the values that are sealed beside it."""

from __future__ import annotations

from collections.abc import Callable
from datetime import datetime
from typing import Any, Final
from uuid import UUID

import msgspec
from msgspec import UNSET

from tallystick.errors import Refused
from tallystick.event import limits
from tallystick.event.address import read_ip
from tallystick.event.canonical import canonical_plain, canonical_text
from tallystick.event.leaf import (
    REST,
    LeafDelegator,
    LeafProducer,
    LeafRoles,
    LeafSpan,
    LeafTarget,
    SealedPath,
    sealed_path,
    write_leaf,
)
from tallystick.event.model import ACTORS_WITHOUT_ID, DEFAULT_STREAM, Flag
from tallystick.event.moment import read_instant
from tallystick.event.prepared import Prepared, Subject

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


def assemble(
    event: Any,
    size: int,
    new_id: Callable[[], UUID],
    write: Callable[[Any], bytes],
    flags: list[Flag],
    redacted: tuple[str, ...],
) -> Prepared:
    """Return what the WireEvent `event` holds, split into the clear and the sealed.

    `size` is that of the event as sent, `write` makes canonical bytes of free-form values, `flags` and
    `redacted` are what is noted so far. Raises Refused for what the types cannot say.
    """
    actor, context = event.actor, event.context
    sealed: list[tuple[SealedPath, bytes]] = []  # in the byte order of the paths
    check_actor(actor, "/actor")
    delegators = _seal_actor(actor, sealed)
    if event.after is not UNSET:
        sealed.append((_AFTER, write(event.after)))
    if event.before is not UNSET:
        sealed.append((_BEFORE, write(event.before)))
    ip = _seal_context(context, sealed, flags) if context is not None else ""
    if event.error is not None:
        sealed.append((_ERROR, canonical_plain(_given(event.error))))
    if event.metadata is not None:
        sealed.append((_METADATA, write(event.metadata)))
    targets = _seal_targets(event, delegators, size, sealed) if event.targets else ()
    main = event.targets[0] if event.targets else _NO_TARGET
    occurred_at, occurred_text = _occurred(event.occurred_at, flags)
    id = _read_id(event.id) if event.id is not None else new_id()
    request_id = context.request_id if context is not None else None
    return Prepared(
        id=id,
        id_given=event.id is not None,
        action=event.action,
        outcome=event.outcome or "success",
        stream=event.stream or DEFAULT_STREAM,
        workspace=event.workspace or "",
        occurred_at=occurred_at,
        actor_type=actor.type,
        subjects=_subjects(actor),
        target_type=main.type,
        target_id=main.id,
        more_targets=_type_and_id(event.targets[1:]) if event.targets else (),
        ip=ip,
        request_id=request_id or "",
        size_bytes=size,
        id_text=event.id.lower() if event.id is not None else str(id),
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
        producer=None if event.producer is None else _producer(event.producer),
    )


def _type_and_id(targets: Any) -> tuple[str, ...]:
    return tuple([text for target in targets for text in (target.type, target.id)])


def _occurred(text: str | None, flags: list[Flag]) -> tuple[datetime | None, str]:
    """Return the claimed instant and its text, None and "" where there is none."""
    if text is None:
        return None, ""
    moment, written, kind = read_instant(text)
    if kind:
        flags.append(Flag(path="/occurred_at", kind=kind))
    return moment, written


def _read_id(text: str) -> UUID:
    try:
        return msgspec.convert(text, UUID)
    except msgspec.ValidationError:
        raise Refused(
            "/id: expected a UUID, as in 01890a5d-ac96-774b-bcce-b302099a8057",
            path="/id",
            rule="invalid_identifier",
        ) from None


def check_actor(actor: Any, path: str) -> None:
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


def _producer(producer: Any) -> LeafProducer:
    return LeafProducer(
        epoch=producer.epoch,
        id=producer.id,
        sequence=producer.sequence,
        unsent=tuple(LeafSpan(span.first, span.last) for span in producer.unsent or ()),
    )


def _subjects(actor: Any) -> tuple[Subject, ...]:
    """Return the actor and then its delegators, for the subject directory."""
    subjects = (Subject(actor.type, actor.id or "", actor.name, actor.email),)
    if actor.on_behalf_of:
        subjects += tuple(Subject(d.type, d.id or "", d.name, d.email) for d in actor.on_behalf_of)
    return subjects


def _seal_actor(actor: Any, sealed: list[tuple[SealedPath, bytes]]) -> tuple[LeafDelegator, ...]:
    """Add who the actor is to `sealed`; return the clear parts of its delegation chain."""
    if actor.email is not None:
        sealed.append((_ACTOR_EMAIL, canonical_text(actor.email)))
    if actor.id is not None:
        sealed.append((_ACTOR_ID, canonical_text(actor.id)))
    if actor.name is not None:
        sealed.append((_ACTOR_NAME, canonical_text(actor.name)))
    return _seal_delegators(actor.on_behalf_of, sealed) if actor.on_behalf_of else ()


def _seal_delegators(chain: Any, sealed: list[tuple[SealedPath, bytes]]) -> tuple[LeafDelegator, ...]:
    """Return the clear parts of a delegation chain, nearest first; add who they are to `sealed`."""
    clear: list[LeafDelegator] = []
    for index, link in enumerate(chain):
        check_actor(link, f"/actor/on_behalf_of/{index}")
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
        event.producer,
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
