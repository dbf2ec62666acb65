"""SCIM over HTTP, declared here and done in web/scim, which is loaded at the first call: its library is large."""

from __future__ import annotations

import asyncio
import importlib
from collections.abc import Awaitable, Callable
from typing import Any

from tallystick.services.permissions import MEMBERS
from tallystick.web.call import Answer, Call
from tallystick.web.operation import Body, Parameter, Reply
from tallystick.web.scim.errors import MEDIA_TYPE as TYPE
from tallystick.web.scim.errors import write

BASE = "/scim/v2"
TAG = "SCIM"
_ID = (Parameter(name="id", place="path", required=True),)
_SHAPE = (
    Parameter(name="attributes", summary="Only these attributes, separated by commas."),
    Parameter(name="excludedAttributes", summary="All attributes but these, separated by commas."),
)
_PAGE = (
    Parameter(name="startIndex", summary="The first one of the page, counted from 1.", schema={"type": "integer"}),
    Parameter(name="count", summary="How many on a page, at most 200.", schema={"type": "integer"}),
    *_SHAPE,
)  # fmt: skip
_MATCH = (Parameter(name="If-Match", place="header", summary="Only if it is still this version."),)
_TYPES = (TYPE, "application/json")
_USER = {
    "schemas": ["urn:ietf:params:scim:schemas:core:2.0:User"],
    "userName": "grace@example.com",
    "active": True,
}
_GROUP = {"schemas": ["urn:ietf:params:scim:schemas:core:2.0:Group"], "displayName": "Auditors"}
_PATCH = {
    "schemas": ["urn:ietf:params:scim:api:messages:2.0:PatchOp"],
    "Operations": [{"op": "replace", "path": "active", "value": False}],
}
_SEARCH = {"schemas": ["urn:ietf:params:scim:api:messages:2.0:SearchRequest"], "filter": "id pr", "count": 20}
_ERRORS = (400, 401, 403, 404, 405, 408, 409, 412, 413, 415, 429, 431, 500, 503)


def _replies(*good: tuple[int, str]) -> tuple[Reply, ...]:
    errors = (Reply(status=status, summary="Refused, in SCIM's words.", type=TYPE) for status in _ERRORS)
    return (*(Reply(status=status, summary=text, type=TYPE) for status, text in good), *errors)


def _later(module: str, name: str, promise: str) -> Callable[[Call], Awaitable[Answer]]:
    """Return a handler that is loaded, beside the event loop, when it is first called."""

    async def handler(call: Call) -> Answer:
        found = await asyncio.to_thread(importlib.import_module, f"tallystick.web.scim.{module}")
        return await getattr(found, name)(call)

    handler.__doc__ = promise
    return handler


def _body(example: dict[str, Any]) -> Body:
    return Body(types=_TYPES, schema={"type": "object"}, example=example)


def _one(
    kind: str, path: str, example: dict[str, Any], what: str
) -> list[tuple[str, str, str, Any, dict[str, Any]]]:
    """Return the operations on one kind of resources: method, path, name, handler and the rest."""
    module, plural = f"{kind.lower()}s", f"{path}/{{id}}"
    lower = kind.lower()
    ok, made, gone = (200, "As it is now."), (201, "Made."), (204, "Removed.")
    same = (304, "As the caller knows it.")
    return [
        ("GET", path, f"scimList{kind}s", _later(module, f"list_{module}", f"Return {what}s that match a filter."),
         {"parameters": (_filter(example), *_PAGE), "replies": _replies((200, "A page."))}),
        ("POST", path, f"scimCreate{kind}", _later(module, f"create_{lower}", f"Make a {what}."),
         {"parameters": _SHAPE, "body": _body(example), "replies": _replies(made)}),
        ("POST", f"{path}/.search", f"scimSearch{kind}s",
         _later(module, f"search_{module}", f"Return {what}s that match a filter, asked for by a body."),
         {"body": _body(_SEARCH), "replies": _replies((200, "A page."))}),
        ("GET", plural, f"scimGet{kind}", _later(module, f"get_{lower}", f"Return one {what}."),
         {"parameters": _ID + _SHAPE, "replies": _replies(ok, same)}),
        ("PUT", plural, f"scimReplace{kind}", _later(module, f"replace_{lower}", f"Replace what is said of a {what}."),
         {"parameters": _ID + _SHAPE + _MATCH, "body": _body(example), "replies": _replies(ok)}),
        ("PATCH", plural, f"scimPatch{kind}", _later(module, f"patch_{lower}", f"Change some of what is said of a {what}."),
         {"parameters": _ID + _SHAPE + _MATCH, "body": _body(_PATCH), "replies": _replies(ok)}),
        ("DELETE", plural, f"scimRemove{kind}", _later(module, f"remove_{lower}", f"Remove a {what} for good."),
         {"parameters": _ID + _MATCH, "replies": _replies(gone)}),
    ]  # fmt: skip


def _filter(resource: dict[str, Any]) -> Parameter:
    name = next(name for name in ("userName", "displayName") if name in resource)
    example = f'{name} eq "{resource[name]}"'
    return Parameter(name="filter", summary="Which ones, as RFC 7644 3.4.2.2 writes it.", example=example)


def _everything() -> tuple[str, str, str, Any, dict[str, Any]]:
    handler = _later("everything", "search_everything", "Return members and groups that match a filter.")
    return (
        "POST", f"{BASE}/.search", "scimSearch", handler, {"body": _body(_SEARCH), "replies": _replies((200, "A page."))},
    )  # fmt: skip


def _discovery() -> list[tuple[str, str, str, Any, dict[str, Any]]]:
    found = [
        ("/ServiceProviderConfig", "scimConfig", "get_config", "Return what of SCIM this service does.", ()),
        ("/ResourceTypes", "scimResourceTypes", "list_resource_types", "Return the kinds of resources there are.", ()),
        ("/ResourceTypes/{id}", "scimResourceType", "get_resource_type", "Return one kind of resources.", _ID),
        ("/Schemas", "scimSchemas", "list_schemas", "Return the attributes of every kind of resources.", ()),
        ("/Schemas/{id}", "scimSchema", "get_schema", "Return the attributes of one kind of resources.", _ID),
    ]  # fmt: skip
    return [
        ("GET", BASE + path, name, _later("discovery", handler, promise),
         {"parameters": parameters, "replies": _replies((200, "The answer."))})
        for path, name, handler, promise, parameters in found
    ]  # fmt: skip


# Method, path, name, handler, permission, tag, and the rest of each operation.
OPERATIONS: tuple[tuple[str, str, str, Any, str, str, dict[str, Any]], ...] = tuple(
    (method, path, name, handler, MEMBERS, TAG, {**more, "answer_of": write})
    for method, path, name, handler, more in (
        *_one("User", f"{BASE}/Users", _USER, "member"),
        *_one("Group", f"{BASE}/Groups", _GROUP, "group"),
        _everything(),
        *_discovery(),
    )
)
