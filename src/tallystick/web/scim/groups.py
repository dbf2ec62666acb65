"""/Groups: sets of members that a directory keeps."""

from __future__ import annotations

import asyncio
from collections.abc import Callable
from typing import Any

from scim2_models import Context, SearchRequest
from starlette.responses import Response

from tallystick.services.people.directory import PAGE_MAX, SCAN_MAX
from tallystick.services.people.groups import GroupRow
from tallystick.web.call import Answer, Call
from tallystick.web.scim.exchange import (
    COUNT_DEFAULT,
    answer,
    answer_list,
    apply_patch,
    base_of,
    named_by,
    read_json,
    read_resource,
    read_search,
    require_few,
    require_version,
    search_of,
    unchanged,
    until_settled,
)
from tallystick.web.scim.models import Group, render_group, wanted_group

_NAMES = {"id": "id", "displayname": "name", "externalid": "external_id"}


async def search_groups(call: Call) -> Answer:
    """Return what `list_groups` does, asked for by a body."""
    return await _list(call, search_of(Group, await read_json(call)))


async def list_groups(call: Call) -> Answer:
    """Return groups that match a filter, a page of them."""
    return await _list(call, read_search(call, Group))


async def _list(call: Call, search: SearchRequest[Group]) -> Answer:
    groups, base = call.services.groups, base_of(call)
    count = min(COUNT_DEFAULT if search.count is None else search.count, PAGE_MAX)
    offset = min(search.start_index_0 or 0, 2**31)
    named = named_by(search, _NAMES)
    if search.filter is None:
        whole = _wants_members(search)
        total, rows = await groups.groups(call.caller, named, offset=offset, limit=count, with_members=whole)
        return answer_list(Group, [render_group(row, base) for row in rows], total, offset + 1, search)
    total, rows = await groups.groups(call.caller, named, offset=0, limit=SCAN_MAX)
    require_few(total)
    found = await asyncio.to_thread(_matching, rows, base, search.filter)
    return answer_list(Group, found[offset : offset + count], len(found), offset + 1, search)


def _wants_members(search: SearchRequest[Group]) -> bool:
    left_out = {str(path).lower() for path in search.excluded_attributes or ()}
    return "members" not in left_out


def _matching(rows: list[GroupRow], base: str, filter: Any) -> list[Group]:
    return [group for row in rows if filter.match(group := render_group(row, base))]


async def get_group(call: Call) -> Answer:
    """Return one group."""
    search = read_search(call, Group)
    group = render_group(await call.services.groups.group(call.caller, call.path("id")), base_of(call))
    return Response(status_code=304) if unchanged(call, group) else answer(group, search)


async def create_group(call: Call) -> Answer:
    """Make a group, which gives no role yet."""
    search = read_search(call, Group)
    wanted = wanted_group(read_resource(Group, await read_json(call), Context.RESOURCE_CREATION_REQUEST))
    row = await call.services.groups.create(call.caller, wanted, call.context)
    return answer(render_group(row, base_of(call)), search, 201)


async def replace_group(call: Call) -> Answer:
    """Replace what is said of a group, and who is in it."""
    wanted = read_resource(Group, await read_json(call), Context.RESOURCE_REPLACEMENT_REQUEST)

    def replace(group: Group) -> None:
        for name in ("display_name", "external_id", "members"):
            setattr(group, name, getattr(wanted, name))

    return await _change(call, replace)


async def patch_group(call: Call) -> Answer:
    """Change some of what is said of a group, or who is in it."""
    tree = await read_json(call)
    return await _change(call, lambda group: apply_patch(Group, tree, group))


async def _change(call: Call, change: Callable[[Group], None]) -> Answer:
    search, groups, base = read_search(call, Group), call.services.groups, base_of(call)

    async def once() -> Answer:
        seen = await groups.group(call.caller, call.path("id"))
        group = render_group(seen, base)
        require_version(call, group)
        change(group)
        row = await groups.replace(call.caller, seen, wanted_group(group), call.context)
        return answer(render_group(row, base), search)

    return await until_settled(once)


async def remove_group(call: Call) -> Answer:
    """Remove a group, and the role it gave."""

    async def once() -> Answer:
        seen = await call.services.groups.group(call.caller, call.path("id"))
        require_version(call, render_group(seen, base_of(call)))
        await call.services.groups.remove(call.caller, seen, call.context)
        return Response(status_code=204)

    return await until_settled(once)
