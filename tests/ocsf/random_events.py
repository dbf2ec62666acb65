"""Hypothesis strategies for neutral events: everything the wire format lets through, and what erasure leaves.

Sizes follow the one table of limits; text is any Unicode but lone surrogates, which never reach the log.
"""

from __future__ import annotations

from datetime import UTC, datetime
from typing import Any

from hypothesis import strategies as st

from tallystick.catalogue.load import catalogue, target_types
from tallystick.event.limits import DEVELOPER, FOREIGN
from tallystick.event.model import ACTOR_TYPES, OUTCOMES

ACTIONS = sorted({name for product in catalogue().values() for name in product.actions})
TYPES = [*sorted(target_types()), "USER", "apiKey", "something-else", "Frobnicator", "💥"]

foreign_action = st.from_regex(r"[A-Za-z0-9][A-Za-z0-9._:/-]{0,255}", fullmatch=True)
actions = st.one_of(st.sampled_from(ACTIONS), foreign_action)


def text(limit: int) -> st.SearchStrategy[str]:
    """Return any text up to a limit, often at it."""
    return st.one_of(
        st.text(max_size=min(limit, 12)),
        st.sampled_from(["", "\u202eevil", "=1+1", "\x1b[31m", "a" * limit, "💥" * limit, "\ufffd\n\t\r"]),
    ).map(lambda value: value[:limit])


json_values = st.recursive(
    st.one_of(
        st.none(),
        st.booleans(),
        st.integers(-(2**53 - 1), 2**53 - 1),
        st.floats(allow_nan=False, allow_infinity=False),
        text(64),
    ),
    lambda inner: st.one_of(
        st.lists(inner, max_size=3),
        st.dictionaries(text(16), inner, max_size=3),
        st.dictionaries(
            st.sampled_from(["role", "roles", "version", "active", "time", "name", "email"]),
            inner,
            max_size=3,
        ),
    ),
    max_leaves=8,
)

addresses = st.one_of(
    st.ip_addresses().map(str),
    st.sampled_from(["::ffff:192.0.2.1", "fe80::1%eth0", "::", "1:2:3:4:5:6:7::", "fe80::1%" + "z" * 32]),
    text(FOREIGN["context.ip"]),
)
emails = st.one_of(st.emails(), text(FOREIGN["actor.email"]), st.sampled_from(["a@b.c\n", "ü@example.com"]))


def moments(first: datetime, last: datetime) -> st.SearchStrategy[str]:
    """Return times between two as the log writes them."""
    return st.datetimes(first, last, timezones=st.just(UTC)).map(
        lambda moment: moment.isoformat(timespec="microseconds")[:26] + "Z"
    )


claimed = moments(datetime(1, 1, 1), datetime(9999, 12, 31))
received = moments(datetime(2024, 1, 1), datetime(2099, 12, 31))


def fields(required: dict[str, Any], optional: dict[str, Any]) -> st.SearchStrategy[dict[str, Any]]:
    """Return objects with all required keys and any of the optional ones."""
    return st.fixed_dictionaries(required, optional=optional)


roles = fields({"organization": text(DEVELOPER["actor.roles.organization"])}, {"workspace": text(128)})
# `id` may be missing in any of them: that is what erasing a subject leaves.
person = {
    "id": text(FOREIGN["actor.id"]),
    "name": text(FOREIGN["actor.name"]),
    "email": emails,
    "credential_id": text(512),
    "roles": roles,
}
delegators = fields({"type": st.sampled_from(ACTOR_TYPES)}, person)
actors = fields(
    {"type": st.sampled_from(ACTOR_TYPES)},
    person | {"on_behalf_of": st.lists(delegators, min_size=1, max_size=8)},
)
targets = fields(
    {"type": st.one_of(st.sampled_from(TYPES), text(128)), "id": text(FOREIGN["targets.id"])},
    {"name": st.one_of(text(FOREIGN["targets.name"]), emails)},
)
contexts = fields(
    {},
    {
        "ip": addresses,
        "user_agent": text(2_048),
        "request_id": text(256),
        "session_id": text(256),
        "trace_id": text(256),
        "http": fields(
            {},
            {
                "method": st.one_of(st.sampled_from(["get", "PATCH", "POST", "PURGE"]), text(64)),
                "path": text(8_192),
                "status": st.integers(-(2**53 - 1), 2**53 - 1),
            },
        ),
        "location": fields({}, {"country": text(256), "region": text(256), "city": text(256)}),
    },
)
finding = fields(
    {},
    {
        key: st.one_of(json_values, text(70_000))
        for key in ("title", "description", "types", "first_seen_at", "measure", "observed", "usual")
    }
    | {
        "confidence": st.sampled_from(["low", "HIGH", 3]),
        "risk_level": st.sampled_from(["info", "critical", None]),
        "rule": st.one_of(
            json_values, fields({}, {"id": text(70_000), "kind": st.sampled_from(["rule", "odd"])})
        ),
        "related_events": st.lists(
            st.one_of(json_values, fields({"id": text(64)}, {"action": foreign_action})), max_size=3
        ),
        "last_seen_at": claimed,
    },
)
known_metadata = fields(
    {},
    {
        "app_name": st.one_of(json_values, text(5_000)),
        "full_name": text(64),
        "organization_name": json_values,
        "idp": st.one_of(json_values, fields({}, {"id": text(9), "name": text(9)})),
        "session_issuer": text(9),
        "session_created_at": st.one_of(claimed, json_values),
        "is_mfa": st.one_of(st.booleans(), json_values),
        "is_remote": st.booleans(),
        "client_port": st.integers(-1, 70_000),
        "x_forwarded_for": st.one_of(st.lists(addresses, max_size=3), text(64), st.just("192.0.2.1, ::1")),
        "url_scheme": text(9),
        "url_hostname": st.one_of(st.just("a.example.com"), text(64)),
        "server": st.one_of(
            json_values, fields({}, {"hostname": text(9), "port": st.integers(), "service": text(9)})
        ),
        "service": text(9),
        "api_version": text(9),
        "comment": text(9),
        "original_event_id": text(9),
        "original_time": text(9),
        "auth_protocol": st.one_of(
            st.sampled_from(["SAML", "oidc", "password", "ldap", "carrier pigeon"]), json_values
        ),
        "finding": st.one_of(finding, json_values),
        "role": text(70_000),
        "targets": json_values,
    },
)
metadata = st.one_of(known_metadata, st.dictionaries(text(16), json_values, max_size=4))

events = fields(
    {
        "id": st.uuids().map(str),
        "action": actions,
        "actor": actors,
        "targets": st.lists(targets, max_size=4),
        "occurred_at": claimed,
        "received_at": received,
        "stream": st.sampled_from(["platform", "gateway", "aws-cloudtrail"]),
        "outcome": st.sampled_from(OUTCOMES),
        "organization": st.uuids().map(str),
        "position": st.integers(0, 2**53 - 1),
        "source": text(64),
    },
    {
        "workspace": text(512),
        "error": fields({}, {"type": text(256), "code": text(256), "message": text(8_192)}),
        "context": contexts,
        "before": json_values,
        "after": json_values,
        "metadata": metadata,
        "redacted": st.lists(text(16), min_size=1, max_size=2),
        "flags": st.lists(fields({"path": text(16), "kind": text(16)}, {}), min_size=1, max_size=2),
        "erased": st.lists(st.sampled_from(["actor/id", "actor/name"]), min_size=1, max_size=2),
    },
)
