"""Who acts within what, for all that is recorded in a request, a task or a block."""

from __future__ import annotations

from collections.abc import Callable, Iterator, Mapping
from contextlib import contextmanager
from contextvars import ContextVar
from typing import Any, Final

from msgspec import Struct, structs

from tallystick.client.actors import Actor, actor_carried, carried_actor
from tallystick.client.snapshot import plain
from tallystick.errors import Refused

# What of an event's `context` can be bound by name.
PLACES: Final = frozenset({"ip", "user_agent", "request_id", "session_id", "trace_id", "http", "location"})


class Bound(Struct, frozen=True):
    """What holds for every event until something else is bound; `places` are parts of an event's context."""

    actor: Actor | Callable[[], Actor] | None = None  # a function is asked when something is recorded
    on_behalf_of: Actor | None = None
    workspace: str | None = None
    stream: str | None = None
    metadata: Mapping[str, Any] = {}
    places: Mapping[str, Any] = {}


_NOTHING: Final = Bound()
_bound: ContextVar[Bound] = ContextVar("tallystick_bound", default=_NOTHING)
current = _bound.get


def extended(
    *,
    actor: Actor | Callable[[], Actor] | None = None,
    on_behalf_of: Actor | None = None,
    workspace: str | None = None,
    stream: str | None = None,
    metadata: Mapping[str, Any] | None = None,
    **places: Any,
) -> Bound:
    """Return what is bound now with these on top; None leaves what was. Raises Refused for an unknown name."""
    unknown = places.keys() - PLACES
    if unknown:
        raise Refused(
            f"the context has no {', '.join(sorted(unknown))}; it has actor, on_behalf_of, workspace, stream, "
            f"metadata, {', '.join(sorted(PLACES))}",
            path="/context",
            rule="unknown_field",
        )
    now = _bound.get()
    return Bound(
        actor=actor or now.actor,
        on_behalf_of=on_behalf_of or now.on_behalf_of,
        workspace=workspace or now.workspace,
        stream=stream or now.stream,
        metadata={**now.metadata, **metadata} if metadata else now.metadata,
        places={**now.places, **{name: value for name, value in places.items() if value is not None}},
    )


def bind(bound: Bound) -> Any:
    """Make `bound` what holds in this thread or task from now on; returns what `unbind` takes."""
    return _bound.set(bound)


def unbind(token: Any) -> None:
    """Undo one `bind`."""
    _bound.reset(token)


def bind_actor(actor: Actor) -> None:
    """Replace only who acts."""
    _bound.set(structs.replace(_bound.get(), actor=actor))


def cleared() -> Bound:
    """Return a context with nothing in it, for work that belongs to nobody in particular."""
    return _NOTHING


def carried() -> dict[str, Any] | None:
    """Return what is bound as plain values, to go with a message to another process; None when nothing is."""
    now = _bound.get()
    if now is _NOTHING:
        return None
    actor = now.actor() if callable(now.actor) else now.actor
    said: dict[str, Any] = {
        "actor": None if actor is None else carried_actor(actor),
        "on_behalf_of": None if now.on_behalf_of is None else carried_actor(now.on_behalf_of),
        "workspace": now.workspace,
        "stream": now.stream,
        "metadata": plain(now.metadata, _unsaid),
        "places": plain(now.places, _unsaid),
    }
    return {name: value for name, value in said.items() if value}


def bound_carried(said: Any) -> Bound:
    """Return what `carried` took apart; of what is no such thing, nothing is bound."""
    if not isinstance(said, dict):
        return _NOTHING
    try:
        actors = {name: actor_carried(said[name]) for name in ("actor", "on_behalf_of") if name in said}
        places = {name: value for name, value in said.get("places", {}).items() if name in PLACES}
        return Bound(
            **actors, workspace=said.get("workspace"), stream=said.get("stream"), metadata=said.get("metadata", {}),
            places=places,
        )  # fmt: skip
    except (ValueError, TypeError, AttributeError):
        return _NOTHING  # a message of another version or of somebody else: the work is done all the same


def _unsaid(secret: Any) -> str:
    """Stand for a secret, which goes into no message."""
    return "[secret]"


@contextmanager
def within(bound: Bound) -> Iterator[Bound]:
    """Have `bound` hold inside the block, and what held before after it."""
    token = _bound.set(bound)
    try:
        yield bound
    finally:
        _bound.reset(token)
