"""/ServiceProviderConfig, /ResourceTypes, /Schemas: what this service can do, for directories that ask."""

from __future__ import annotations

from typing import Any

from scim2_models import Context, ListResponse, Meta, Resource, ResourceType, Schema
from starlette.responses import Response

from tallystick.errors import Forbidden, NotFound
from tallystick.web.call import Answer, Call
from tallystick.web.scim.errors import MEDIA_TYPE
from tallystick.web.scim.exchange import base_of
from tallystick.web.scim.models import CONFIG, POLICY, PROVIDER


async def get_config(call: Call) -> Answer:
    """Return what of SCIM this service does."""
    return _one(call, CONFIG)


async def list_resource_types(call: Call) -> Answer:
    """Return the kinds of resources there are."""
    return _all(call, ResourceType, PROVIDER.resource_types)


async def get_resource_type(call: Call) -> Answer:
    """Return one kind of resources."""
    return _named(call, PROVIDER.resource_types)


async def list_schemas(call: Call) -> Answer:
    """Return the attributes of every kind of resources."""
    return _all(call, Schema, PROVIDER.schemas)


async def get_schema(call: Call) -> Answer:
    """Return the attributes of one kind of resources."""
    return _named(call, PROVIDER.schemas)


def _named(call: Call, known: Any) -> Answer:
    for one in known:
        if str(one.id) == call.path("id"):
            return _one(call, one)
    raise NotFound("There is nothing of this name.")


def _one(call: Call, resource: Resource[Any]) -> Answer:
    body = _placed(call, resource).model_dump_json(
        scim_ctx=Context.RESOURCE_QUERY_RESPONSE, scim_policy=POLICY
    )
    return Response(body, media_type=MEDIA_TYPE)


def _all(call: Call, model: Any, resources: Any) -> Answer:
    if any(key == "filter" for key, _ in call.query()):
        # RFC 7644, 4: a filter here is refused, so that nobody takes an answer for the filtered one.
        raise Forbidden("What this service can do is not filtered.", rule="scim:")
    message: Any = ListResponse.__class_getitem__(model)
    found = [_placed(call, one) for one in resources]
    listed = message(total_results=len(found), start_index=1, items_per_page=len(found), resources=found)
    body = listed.model_dump_json(scim_ctx=Context.RESOURCE_QUERY_RESPONSE, scim_policy=POLICY)
    return Response(body, media_type=MEDIA_TYPE)


def _placed(call: Call, resource: Any) -> Any:
    """Return the resource with its place as an address."""
    kind = type(resource).__name__
    place = {"ServiceProviderConfig": "/ServiceProviderConfig"}.get(kind, f"/{kind}s/{resource.id}")
    placed = resource.model_copy()
    placed.meta = Meta(resource_type=kind, location=base_of(call) + place)
    return placed
