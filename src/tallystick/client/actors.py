"""Who acts and what is acted on, as an application writes them down: `User("usr_1", name="Ada")`."""

from __future__ import annotations

from typing import Any, ClassVar, Final, get_args

from msgspec import Struct

from tallystick.errors import Refused
from tallystick.event.limits import ON_BEHALF_OF_MAX
from tallystick.event.model import ActorType


class _Named(Struct, frozen=True):
    id: str  # the one field that is also taken by its place


class _Acting(_Named, frozen=True, kw_only=True):
    """What everybody who has an identity may have besides it; as it was at the time of the act."""

    name: str | None = None
    email: str | None = None
    role: str | None = None
    workspace_role: str | None = None
    credential_id: str | None = None
    on_behalf_of: Actor | None = None


class User(_Acting, frozen=True, kw_only=True):
    """A person; name, e-mail and roles are kept as they were at the time of the act."""

    TYPE: ClassVar[ActorType] = "user"


class ApiKey(_Acting, frozen=True, kw_only=True):
    """A key that acts by itself; `id` names the key and is never the key."""

    TYPE: ClassVar[ActorType] = "api_key"


class Service(_Acting, frozen=True, kw_only=True):
    """A program: a job, a worker, another system."""

    TYPE: ClassVar[ActorType] = "service"


class Agent(_Acting, frozen=True, kw_only=True):
    """An AI agent; `on_behalf_of` is who it works for, `model` and `run_id` go into the event's metadata."""

    TYPE: ClassVar[ActorType] = "agent"

    model: str | None = None
    run_id: str | None = None


class System(Struct, frozen=True, kw_only=True):
    """The application itself, where nobody else acts."""

    TYPE: ClassVar[ActorType] = "system"

    id: str | None = None
    name: str | None = None


class Anonymous(Struct, frozen=True, kw_only=True):
    """Somebody who has not signed in."""

    TYPE: ClassVar[ActorType] = "anonymous"

    id: str | None = None
    name: str | None = None


Actor = User | ApiKey | Service | Agent | System | Anonymous
_BY_TYPE: Final[dict[str, type[Actor]]] = {one.TYPE: one for one in get_args(Actor)}


class Target(Struct, frozen=True):
    """A resource the act was done to; the first of an event is its main target."""

    type: str
    id: str
    name: str | None = None


class Secret:
    """A value that is recorded only as a keyed fingerprint, so that "changed or not" stays visible."""

    __slots__ = ("_value",)

    def __init__(self, value: Any) -> None:
        self._value = value

    def reveal(self) -> Any:
        """Return the value; only redaction needs it."""
        return self._value

    def __repr__(self) -> str:
        return "Secret(…)"


def actor_part(actor: Actor, on_behalf_of: Actor | None = None) -> dict[str, Any]:
    """Return `actor` as an event holds it; the chain of delegation nearest first, `on_behalf_of` at its end.

    Raises Refused for something that is no actor, and for a chain longer than an event can hold.
    """
    part = _identity(actor)
    chain: list[dict[str, Any]] = []
    link = getattr(actor, "on_behalf_of", None) or on_behalf_of
    while link is not None:
        if len(chain) == ON_BEHALF_OF_MAX:
            raise Refused(
                f"the chain of delegation has more than {ON_BEHALF_OF_MAX} actors, or goes in a circle",
                path="/actor/on_behalf_of",
                rule="invalid_field",
            )
        chain.append(_identity(link))
        link = getattr(link, "on_behalf_of", None)
    if chain:
        part["on_behalf_of"] = chain
    return part


def carried_actor(actor: Actor) -> dict[str, Any]:
    """Return `actor` as plain values, to go with a message to another process; `actor_carried` makes it again."""
    said: dict[str, Any] = {"type": type(actor).TYPE}
    for name in actor.__struct_fields__:
        value = getattr(actor, name)
        if value is not None:
            said[name] = carried_actor(value) if name == "on_behalf_of" else value
    return said


def actor_carried(said: dict[str, Any]) -> Actor:
    """Return the actor that `carried_actor` took apart; raises ValueError for anything else."""
    kind = _BY_TYPE.get(said.get("type", ""))
    if kind is None:
        raise ValueError("this names no kind of actor")
    fields = {name: said[name] for name in kind.__struct_fields__ if name in said}
    if "on_behalf_of" in fields:
        fields["on_behalf_of"] = actor_carried(fields["on_behalf_of"])
    return kind(**fields)


def agent_part(actor: Actor) -> dict[str, str] | None:
    """Return what an event's metadata says about an agent, None where there is nothing."""
    if type(actor) is not Agent or (actor.model is None and actor.run_id is None):
        return None
    return {
        name: value for name, value in (("model", actor.model), ("run_id", actor.run_id)) if value is not None
    }


def _identity(actor: Any) -> dict[str, Any]:
    kind = getattr(type(actor), "TYPE", None)
    if kind is None:
        raise Refused(
            f"the actor is a {type(actor).__name__}; give a User, ApiKey, Service, Agent, System or Anonymous",
            path="/actor",
            rule="invalid_field",
        )
    part: dict[str, Any] = {"type": kind}
    if actor.id is not None:
        part["id"] = actor.id
    if actor.name is not None:
        part["name"] = actor.name
    if kind in ("system", "anonymous"):
        return part
    if actor.email is not None:
        part["email"] = actor.email
    if actor.credential_id is not None:
        part["credential_id"] = actor.credential_id
    if actor.role is not None or actor.workspace_role is not None:
        roles = {"organization": actor.role, "workspace": actor.workspace_role}
        part["roles"] = {name: role for name, role in roles.items() if role is not None}
    return part
