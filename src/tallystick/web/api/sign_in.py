"""Sign-in over HTTP: links that work once, sessions, second factors and identity providers of an organization."""

from __future__ import annotations

from typing import Any

import msgspec
from msgspec import UNSET, Struct, UnsetType

from tallystick.errors import Refused
from tallystick.services.sign_in.acts import Visit
from tallystick.services.sign_in.providers import ProviderWish
from tallystick.web.api.answers import json_answer
from tallystick.web.body import JSON_TYPES, require_type
from tallystick.web.call import Answer, Call
from tallystick.web.operation import Body, Parameter, Reply


class LinkWish(Struct, frozen=True, kw_only=True, forbid_unknown_fields=True):
    """Whom a link is for; neither while nobody can sign in makes the link of the first owner."""

    member_id: str | UnsetType | None = UNSET
    email: str | UnsetType | None = UNSET


ID = (Parameter(name="id", place="path", required=True),)
_TEXT = {"type": "string"}
_PROVIDER = {
    "type": "object",
    "required": ["display_name", "issuer", "client_id"],
    "additionalProperties": False,
    "properties": {
        "display_name": {"type": "string", "minLength": 1, "maxLength": 64},
        "issuer": {"type": "string", "format": "uri", "maxLength": 2048},
        "client_id": {"type": "string", "minLength": 1, "maxLength": 256},
        "client_secret": {"type": ["string", "null"], "minLength": 1, "maxLength": 1024},
        "groups_claim": {"type": "string", "minLength": 1, "maxLength": 256},
        "group_roles": {"type": "object", "additionalProperties": _TEXT, "maxProperties": 200},
        "only_oidc": {"type": "boolean"},
        "trust_email": {"type": "boolean"},
    },
}
_EXAMPLE = {
    "display_name": "Example ID",
    "issuer": "https://id.example.com",
    "client_id": "tallystick",
    "client_secret": "the secret from the provider",
    "group_roles": {"audit-readers": "AUDITOR"},
}
LINK: dict[str, Any] = {
    "body": Body(
        types=JSON_TYPES,
        schema={
            "type": "object",
            "additionalProperties": False,
            "properties": {"member_id": {"type": ["string", "null"]}, "email": {"type": ["string", "null"]}},
        },
        example={"email": "ada@example.com"},
    ),
    "replies": (Reply(status=201, summary="The link, shown only here."),),
}
PROVIDER: dict[str, Any] = {
    "body": Body(types=JSON_TYPES, schema=_PROVIDER, example=_EXAMPLE),
    "replies": (Reply(status=201, summary="The provider, without its secret."),),
}
PROVIDER_CHANGE: dict[str, Any] = {
    "parameters": ID,
    "body": Body(types=JSON_TYPES, schema=_PROVIDER, example=_EXAMPLE),
    "replies": (Reply(status=200, summary="The provider, without its secret."),),
}


async def create_link(call: Call) -> Answer:
    """Make a link with which a member sets a password: its first one, or a new one.

    It works once; the answer is the only time it is shown. Links for those who may do more than the caller are refused.
    """
    wish = await _read(call, LinkWish)
    member_id, email = wish.member_id or None, wish.email or None
    if member_id is not None and email is not None:
        raise Refused("Name a member by member_id or by email, not both.", rule="shape")
    origin = call.services.address.origin_of(call.header(b"host"))
    link = await call.services.links.wished(call.caller, visit_of(call), member_id=member_id, email=email)
    return json_answer(
        {"url": origin + link.path, "purpose": link.purpose, "expires_at": link.expires_at}, 201
    )


async def list_sessions(call: Call) -> Answer:
    """Return everybody's sessions that are good now, the last used first."""
    return json_answer({"sessions": await call.services.sessions.all(call.caller)})


async def revoke_session(call: Call) -> Answer:
    """End a session; it stops working within five seconds on every server."""
    await call.services.sessions.revoke(call.caller, call.path("id"), visit_of(call))
    return json_answer({"id": call.path("id"), "revoked": True})


async def reset_second_factor(call: Call) -> Answer:
    """Remove the second factor of a member who has lost it."""
    services = call.services
    await services.account.reset_second_factor(call.caller, call.path("id"), services.links, visit_of(call))
    return json_answer({"id": call.path("id"), "second_factor": None})


async def list_providers(call: Call) -> Answer:
    """Return the identity providers the organization trusts, without their secrets."""
    return json_answer({"identity_providers": await call.services.providers.all(call.caller)})


async def create_provider(call: Call) -> Answer:
    """Trust an identity provider (OpenID Connect); it is asked whether it is what it is said to be."""
    wish = await _read(call, ProviderWish)
    return json_answer(await call.services.providers.save(call.caller, wish, visit_of(call)), 201)


async def change_provider(call: Call) -> Answer:
    """Change an identity provider; without a client_secret the kept one stays."""
    wish = await _read(call, ProviderWish)
    saved = await call.services.providers.save(call.caller, wish, visit_of(call), provider_id=call.path("id"))
    return json_answer(saved)


async def remove_provider(call: Call) -> Answer:
    """Stop trusting an identity provider."""
    await call.services.providers.remove(call.caller, call.path("id"), visit_of(call))
    return json_answer({"id": call.path("id"), "removed": True})


def visit_of(call: Call) -> Visit:
    """Return where a request came from."""
    return Visit(ip=call.address, user_agent=call.header(b"user-agent"), request_id=call.request_id)


async def _read(call: Call, type: Any) -> Any:
    require_type(call, JSON_TYPES)
    raw = await call.services.bodies.read(call)
    try:
        return msgspec.json.decode(raw, type=type)
    except msgspec.DecodeError as error:
        raise Refused(f"The body is not understood: {error}", rule="shape") from error
