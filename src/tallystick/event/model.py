"""The event: the one frozen declaration from which JSON Schema, OpenAPI, docs and CSV header derive.

Source: the wire format of Tallystick (docs/reference/event.md). A producer sends an `Event`; the log
holds a `RecordedEvent`. Unknown fields are refused, never dropped.
"""

from __future__ import annotations

from typing import Any, Literal

from msgspec import UNSET, Struct, UnsetType

ActorType = Literal["user", "api_key", "service", "agent", "system", "anonymous"]
Outcome = Literal["success", "failure", "denied", "unknown"]
Verb = Literal["create", "read", "update", "delete", "auth", "access", "admin"]

ACTOR_TYPES: tuple[ActorType, ...] = ("user", "api_key", "service", "agent", "system", "anonymous")
OUTCOMES: tuple[Outcome, ...] = ("success", "failure", "denied", "unknown")
VERBS: tuple[Verb, ...] = ("create", "read", "update", "delete", "auth", "access", "admin")
ACTORS_WITHOUT_ID: frozenset[str] = frozenset({"system", "anonymous"})
DEFAULT_STREAM = "platform"


class Part(Struct, frozen=True, kw_only=True, forbid_unknown_fields=True, omit_defaults=True):
    """Base of every part of an event: frozen, by keyword, unknown fields refused, defaults not written."""


class Roles(Part, frozen=True, kw_only=True):
    """The roles an actor held at the time of the act."""

    organization: str | None = None
    workspace: str | None = None


class Delegator(Part, frozen=True, kw_only=True):
    """Someone on whose behalf the actor acted; a snapshot, like every name and e-mail here."""

    type: ActorType
    id: str | None = None
    name: str | None = None
    email: str | None = None
    credential_id: str | None = None
    roles: Roles | None = None


class Actor(Part, frozen=True, kw_only=True):
    """Who did it; `id` may be absent only for `system` and `anonymous`."""

    type: ActorType
    id: str | None = None
    name: str | None = None
    email: str | None = None
    credential_id: str | None = None
    roles: Roles | None = None
    on_behalf_of: tuple[Delegator, ...] = ()


class Target(Part, frozen=True, kw_only=True):
    """A resource the act was done to; the first of an event is its main target."""

    type: str
    id: str
    name: str | None = None


class Http(Part, frozen=True, kw_only=True):
    """The HTTP request that carried the act."""

    method: str | None = None
    path: str | None = None
    status: int | None = None


class Location(Part, frozen=True, kw_only=True):
    """Where the address of the request is thought to be."""

    country: str | None = None
    region: str | None = None
    city: str | None = None


class Context(Part, frozen=True, kw_only=True):
    """From where and within what the act was done."""

    ip: str | None = None
    user_agent: str | None = None
    request_id: str | None = None
    session_id: str | None = None
    trace_id: str | None = None
    http: Http | None = None
    location: Location | None = None


class Error(Part, frozen=True, kw_only=True):
    """Why the act did not succeed."""

    type: str | None = None
    code: str | None = None
    message: str | None = None


class Span(Part, frozen=True, kw_only=True):
    """Numbers of one epoch, from `first` to `last`, both of them included."""

    first: int
    last: int


class Producer(Part, frozen=True, kw_only=True):
    """Who numbered the event: its producer counts what it submits, so that what is missing can be told.

    `sequence` is dense from 1 in an `epoch`, which changes when the count is lost. `unsent` are numbers given out
    before, whose events will not come, or not under them: what this event tells of.
    """

    id: str
    epoch: str
    sequence: int
    unsent: tuple[Span, ...] = ()


class Event(Part, frozen=True, kw_only=True):
    """What a producer sends: one act, claimed to have happened at `occurred_at`.

    `id` is the idempotency key (UUID text); `before` and `after` are UNSET when absent, because null,
    false, 0 and "" are values there.
    """

    action: str
    actor: Actor
    targets: tuple[Target, ...] = ()
    occurred_at: str | None = None
    id: str | None = None
    workspace: str | None = None
    stream: str = DEFAULT_STREAM
    outcome: Outcome = "success"
    error: Error | None = None
    context: Context | None = None
    before: Any | UnsetType = UNSET
    after: Any | UnsetType = UNSET
    metadata: dict[str, Any] | None = None
    producer: Producer | None = None


class Flag(Part, frozen=True, kw_only=True):
    """A note that the server changed or doubts the value at `path` (a JSON pointer) and how.

    `length` (characters) and `sha256` (hex, of the UTF-8 text) are those of the whole text where only a
    part of it was kept; `dropped` is a part that tells nothing about anybody and was left out, as a port.
    """

    path: str
    kind: str
    length: int | None = None
    sha256: str | None = None
    dropped: str | None = None


class Change(Part, frozen=True, kw_only=True):
    """One difference between `before` and `after`; `path` is a JSON pointer.

    Kind `more` comes last and stands for the differences beyond the number that is listed.
    """

    path: str
    kind: Literal["added", "removed", "changed", "more"]
    before: Any | UnsetType = UNSET
    after: Any | UnsetType = UNSET


class RecordedEvent(Event, frozen=True, kw_only=True):
    """An event as the log holds it: what was sent, and what the server added."""

    organization: str
    position: int
    received_at: str
    source: str
    redacted: tuple[str, ...] = ()
    flags: tuple[Flag, ...] = ()
    erased: tuple[str, ...] = ()
    changes: tuple[Change, ...] | UnsetType = UNSET
    receipt: str | UnsetType = UNSET
    proof: str | UnsetType = UNSET
