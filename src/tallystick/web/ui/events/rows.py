"""One event as a row of the table: every value ready to be shown, and the address that asks for others like it."""

from __future__ import annotations

from collections.abc import Mapping
from datetime import datetime
from functools import lru_cache
from typing import Any
from urllib.parse import quote

from msgspec import Struct
from msgspec.structs import replace

from tallystick.catalogue.describe import describe
from tallystick.catalogue.sentence import Part, sentence
from tallystick.event.moment import read_instant
from tallystick.query.filters import ORGANIZATION_LEVEL
from tallystick.web.ui.events.filters import SPELLED, pairs_of, without_keys
from tallystick.web.ui.events.moments import Stamp, stamp
from tallystick.web.ui.events.state import State

SYSTEM = {"system": "System", "anonymous": "Anonymous"}
OUTCOME_WORDS = {"success": "Success", "failure": "Failure", "denied": "Denied", "unknown": "Unknown"}
ACTOR_WORDS = {"user": "User", "api_key": "API key", "service": "Service", "agent": "Agent", "system": "System",
               "anonymous": "Anonymous"}  # fmt: skip


class Value(Struct, frozen=True):
    """A value that can be filtered by: `key` of the filter, its text, and the address of the filter for it.

    The address is empty where the filter is locked, so that there is nothing to choose.
    """

    text: str
    key: str
    href: str


class Row(Struct, frozen=True, kw_only=True):
    """An event as the table shows it; None stands for a value it does not have."""

    id: str
    position: int
    href: str
    when: Stamp
    received: Stamp
    stream: Value
    actor_type: Value
    name: str
    who: Value | None
    email: str | None
    is_system: bool
    action: Value
    title: str
    target_type: Value | None
    target_id: Value | None
    target_name: str | None
    target_more: int
    project: Value | None
    ip: Value | None
    outcome: Value
    is_bad: bool
    error: str | None
    error_code: str | None
    role: str | None
    on_behalf_of: tuple[str, ...]
    credential: str | None
    user_agent: str | None
    request_id: Value | None
    country: str | None
    sensitivity: str
    tags: tuple[str, ...]
    parts: list[Part] | None


class Rows:
    """Makes rows for one state of the page.

    Args:
        state: the filters a row's links add to.
        labels: what projects are called, by id.
        now: for ages.
    """

    def __init__(self, state: State, labels: Mapping[str, str], now: datetime) -> None:
        self._state = state
        self._labels = labels
        self._now = now
        self._bases: dict[str, str] = {}
        self._open = state.here(event=None)
        self._open += "&" if "?" in self._open else "?"

    def row(self, event: Mapping[str, Any]) -> Row:
        """Return an event as a row."""
        actor, context, error = event["actor"], event.get("context") or {}, event.get("error") or {}
        targets = event.get("targets") or ()
        target = targets[0] if targets else None
        about, kind = describe(event["action"]), actor["type"]
        name = actor.get("name") or actor.get("email") or actor.get("id")
        tags = (event.get("metadata") or {}).get("tags")
        roles = actor.get("roles") or {}
        return Row(
            id=event["id"], position=event["position"], href=f"{self._open}event={event['id']}",
            when=stamp(read_instant(event["occurred_at"])[0], self._state.zone, self._now),
            received=stamp(read_instant(event["received_at"])[0], self._state.zone, self._now),
            stream=self._value("stream", event["stream"]), actor_type=self._value("actor_type", kind),
            name=name or SYSTEM.get(kind, "Unknown"), is_system=name is None, email=_second_line(actor, name),
            who=self._value("actor_id", actor["id"]) if actor.get("id") else None,
            action=self._value("action", event["action"], f"^{event['action']}$"), title=about.title,
            target_type=self._value("target_type", target["type"]) if target else None,
            target_id=self._value("target_id", target["id"]) if target else None,
            target_name=(target.get("name") if target and target.get("name") != target["id"] else None),
            target_more=max(0, len(targets) - 1), project=self._project(event.get("workspace")),
            ip=self._value("ip", context["ip"]) if context.get("ip") else None,
            outcome=self._value("outcome", event["outcome"]), is_bad=event["outcome"] in ("failure", "denied"),
            error=error.get("message") or error.get("code") or error.get("type"), error_code=error.get("code") or error.get("type"),
            role=roles.get("workspace") or roles.get("organization"),
            on_behalf_of=tuple(_called(one) for one in actor.get("on_behalf_of") or ()),
            credential=actor.get("credential_id"), user_agent=context.get("user_agent"),
            request_id=self._value("request_id", context["request_id"]) if context.get("request_id") else None,
            country=(context.get("location") or {}).get("country"), sensitivity=about.sensitivity,
            tags=tuple(str(tag) for tag in tags[:20]) if isinstance(tags, list) else (),
            parts=sentence(event) if "sentence" in self._state.look.columns else None,
        )  # fmt: skip

    def _value(self, key: str, text: str, value: str | None = None) -> Value:
        name = SPELLED.get(key, key)
        if key in self._state.place.locked:
            return Value(text, name, "")
        return Value(text, name, f"{self._base(key)}{name}={_quoted(value or text)}")

    def _project(self, workspace: str | None) -> Value | None:
        if not workspace:
            return replace(self._value("workspace", ORGANIZATION_LEVEL), text="Organization level")
        value = self._value("workspace", workspace)
        return Value(self._labels.get(workspace, workspace), value.key, value.href)

    def _base(self, key: str) -> str:
        """Return the address of this search without what it asks of `key`, open for one more parameter."""
        base = self._bases.get(key)
        if base is None:
            filters = pairs_of(without_keys(self._state.pieces, key))
            url = self._state.url(filters)
            base = self._bases[key] = url + ("&" if "?" in url else "?")
        return base


@lru_cache(maxsize=4_096)
def _quoted(text: str) -> str:
    """Return a value as an address has it; of the values of a page most come many times."""
    return quote(text, safe=":/,@-_.~")


def _called(one: Mapping[str, Any]) -> str:
    return str(one.get("name") or one.get("email") or one.get("id") or SYSTEM.get(one["type"], one["type"]))


def _second_line(actor: Mapping[str, Any], name: str | None) -> str | None:
    return next((actor[key] for key in ("email", "id") if actor.get(key) and actor[key] != name), None)
