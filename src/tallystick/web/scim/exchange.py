"""Requests and answers of SCIM: bodies and parameters in, resources, lists, versions and errors out."""

from __future__ import annotations

import json
from collections.abc import Awaitable, Callable, Iterator, Sequence
from contextlib import contextmanager
from typing import Any, TypeVar

from pydantic import ValidationError
from scim2_models import (
    Context,
    Error,
    ListResponse,
    PatchOp,
    ResponseParameters,
    SCIMException,
    SearchRequest,
)
from scim2_models.path import CompareOperator, Comparison, LogicalExpr, LogicalOperator
from starlette.responses import Response

from tallystick.errors import Refused, TooLarge
from tallystick.services.people.directory import SCAN_MAX, ChangedMeanwhile, Named, fold_name
from tallystick.web.body import require_type
from tallystick.web.call import Answer, Call
from tallystick.web.scim.errors import MEDIA_TYPE
from tallystick.web.scim.models import BASE, POLICY, Group, User

TYPES = ("application/scim+json", "application/json")
FILTER_CHARACTERS_MAX = 2_048
DEPTH_MAX = 16
OPERATIONS_MAX = 1_000
COUNT_DEFAULT = 100
TRIES = 5
_NO_STORE = {"Cache-Control": "no-store"}
R = TypeVar("R", User, Group)


@contextmanager
def understood() -> Iterator[None]:
    """Turn what the SCIM library refuses into Refused, with its keyword in the rule."""
    try:
        yield
    except SCIMException as error:
        raise Refused(error.detail, rule=f"scim:{error.scim_type}") from error
    except ValidationError as error:
        first = Error.from_validation_errors(error)[0]
        raise Refused(
            first.detail or "Not understood.", rule=f"scim:{first.scim_type or 'invalidValue'}"
        ) from error
    except RecursionError as error:
        raise Refused("This is nested too deeply.", rule="scim:invalidSyntax") from error


async def read_json(call: Call) -> dict[str, Any]:
    """Return the JSON object in a body; raises Refused for anything else."""
    require_type(call, TYPES)
    raw = await call.services.bodies.read(call)
    try:
        tree = json.loads(raw)
    except (ValueError, RecursionError) as error:
        raise Refused("The body is not JSON.", rule="scim:invalidSyntax") from error
    if not isinstance(tree, dict) or _depth(tree) > DEPTH_MAX:
        raise Refused(
            f"The body is a JSON object, nested at most {DEPTH_MAX} deep.", rule="scim:invalidSyntax"
        )
    return tree


def _depth(tree: object) -> int:
    depth, level = 0, [tree]
    while level:
        depth += 1
        inner: list[object] = []
        for one in level:
            inner.extend(one.values() if isinstance(one, dict) else one if isinstance(one, list) else ())
        level = inner
    return depth


def read_resource(model: type[R], tree: dict[str, Any], context: Context) -> R:
    """Return the resource in a body."""
    with understood():
        return model.model_validate(tree, scim_ctx=context, scim_policy=POLICY)


def apply_patch(model: type[R], tree: dict[str, Any], resource: R) -> None:
    """Apply the operations of a PATCH to a resource, all of them or none."""
    operations = next((value for key, value in tree.items() if key.lower() == "operations"), None)
    if isinstance(operations, list) and len(operations) > OPERATIONS_MAX:
        raise TooLarge(f"A PATCH has at most {OPERATIONS_MAX} operations.", rule="too_many_operations")
    with understood():
        # Subscripted at run time, which a type checker reads as a type.
        message: Any = PatchOp.__class_getitem__(model)
        patch = message.model_validate(tree, scim_ctx=Context.RESOURCE_PATCH_REQUEST, scim_policy=POLICY)
        patch.patch(resource, scim_policy=POLICY)


def read_search(call: Call, model: type[R]) -> SearchRequest[R]:
    """Return the parameters of a query; raises Refused for what they cannot be."""
    given: dict[str, Any] = {}
    for key, value in call.query():
        if key in given:
            raise Refused(f"'{key[:40]}' stands twice.", rule="scim:invalidValue")
        given[key] = value
    return search_of(model, given)


def search_of(model: type[R], given: dict[str, Any]) -> SearchRequest[R]:
    """Return a query out of its parameters, or of the body of a POST to `.search` (RFC 7644, 3.4.3)."""
    if len(str(given.get("filter", ""))) > FILTER_CHARACTERS_MAX:
        raise Refused(f"A filter has at most {FILTER_CHARACTERS_MAX} characters.", rule="scim:invalidFilter")
    with understood():
        message: Any = SearchRequest.__class_getitem__(model)
        return message.model_validate(given, scim_ctx=Context.SEARCH_REQUEST, scim_policy=POLICY)


def named_by(search: SearchRequest[Any], names: dict[str, str]) -> Named:
    """Return what of a filter the database can find by itself; the filter is held against what it finds.

    `names` maps the attributes (lower case) to the fields of Named.
    """
    if search.filter is None:
        return Named()
    node = search.filter.ast
    terms = node.terms if isinstance(node, LogicalExpr) and node.op is LogicalOperator.and_ else (node,)
    found: dict[str, str] = {}
    for term in terms:
        if not isinstance(term, Comparison) or term.op is not CompareOperator.eq:
            continue
        if term.attr_path.sub_attr is not None or not isinstance(term.value, str):
            continue
        field = names.get(term.attr_path.attr.lower())
        if field is not None and "\x00" not in term.value:
            found[field] = fold_name(term.value) if field == "name" else term.value
    return Named(**found)


def answer(
    resource: User | Group, parameters: ResponseParameters[Any] | None = None, status: int = 200
) -> Response:
    """Answer with one resource, its place and its version."""
    context = Context.RESOURCE_CREATION_RESPONSE if status == 201 else Context.RESOURCE_QUERY_RESPONSE
    body = resource.model_dump_json(scim_ctx=context, response_parameters=parameters, scim_policy=POLICY)
    meta = resource.meta
    assert meta is not None
    headers = {**_NO_STORE, "ETag": str(meta.version)}
    if status == 201:
        headers["Location"] = str(meta.location)
    return Response(body, status, headers, media_type=MEDIA_TYPE)


def answer_list(
    model: type[R], found: Sequence[R], total: int, start: int, parameters: ResponseParameters[Any] | None
) -> Response:
    """Answer with a page of resources out of `total`, beginning at the 1-based `start`."""
    message: Any = ListResponse.__class_getitem__(model)
    listed = message(total_results=total, start_index=start, items_per_page=len(found), resources=list(found))
    body = listed.model_dump_json(
        scim_ctx=Context.RESOURCE_QUERY_RESPONSE, response_parameters=parameters, scim_policy=POLICY
    )
    return Response(body, 200, _NO_STORE, media_type=MEDIA_TYPE)


def unchanged(call: Call, resource: User | Group) -> bool:
    """Tell whether the caller has this very version already (If-None-Match)."""
    named = call.header(b"if-none-match")
    meta = resource.meta
    return named is not None and meta is not None and _names(named, str(meta.version))


def require_version(call: Call, resource: User | Group) -> None:
    """Raise Refused (412) when the caller wants to change another version (If-Match)."""
    named = call.header(b"if-match")
    meta = resource.meta
    if named is not None and meta is not None and not _names(named, str(meta.version)):
        raise Refused(
            "It was changed since this version was read; nothing was changed. Read it again.", rule="version"
        )


def _names(header: str, version: str) -> bool:
    # Compared weakly (RFC 9110, 8.8.3.2): ours are weak.
    tags = {one.strip().removeprefix("W/") for one in header.split(",")}
    return "*" in tags or version.removeprefix("W/") in tags


def base_of(call: Call) -> str:
    """Return the address of this service as its callers reach it."""
    address = call.services.address
    if address.public_url is not None:
        return f"{address.public_url}{BASE}"
    return f"http://{call.header(b'host') or 'localhost'}{BASE}"


async def until_settled(once: Callable[[], Awaitable[Answer]]) -> Answer:
    """Read, change and write `once`, and again when somebody else was faster; raises ChangedMeanwhile in the end."""
    for _ in range(TRIES - 1):
        try:
            return await once()
        except ChangedMeanwhile:
            continue
    return await once()


def require_few(total: int) -> None:
    """Raise Refused when a filter would be held against more than can be looked at one by one."""
    if total > SCAN_MAX:
        raise Refused(
            f"This filter would have to look at {total} of them, at most {SCAN_MAX} are looked at. Filter by "
            "userName, displayName, externalId or id, or list them in pages.",
            rule="scim:tooMany",
        )
