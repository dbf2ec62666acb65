"""/Users: the members of an organization, for directories."""

from __future__ import annotations

import asyncio
from collections.abc import Callable
from typing import Any

from scim2_models import Context, SearchRequest
from starlette.responses import Response

from tallystick.services.people.directory import PAGE_MAX, SCAN_MAX, UserRow
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
from tallystick.web.scim.models import User, render_user, wanted_user

_NAMES = {"id": "id", "username": "name", "externalid": "external_id"}
_REPLACED = ("user_name", "external_id", "name", "display_name", "active", "emails")


async def search_users(call: Call) -> Answer:
    """Return what `list_users` does, asked for by a body."""
    return await _list(call, search_of(User, await read_json(call)))


async def list_users(call: Call) -> Answer:
    """Return members that match a filter, a page of them."""
    return await _list(call, read_search(call, User))


async def _list(call: Call, search: SearchRequest[User]) -> Answer:
    directory, base = call.services.directory, base_of(call)
    count = min(COUNT_DEFAULT if search.count is None else search.count, PAGE_MAX)
    offset = min(search.start_index_0 or 0, 2**31)
    named = named_by(search, _NAMES)
    if search.filter is None:
        total, rows = await directory.users(call.caller, named, offset=offset, limit=count)
        return answer_list(User, [render_user(row, base) for row in rows], total, offset + 1, search)
    total, rows = await directory.users(call.caller, named, offset=0, limit=SCAN_MAX)
    require_few(total)
    found = await asyncio.to_thread(_matching, rows, base, search.filter)
    return answer_list(User, found[offset : offset + count], len(found), offset + 1, search)


def _matching(rows: list[UserRow], base: str, filter: Any) -> list[User]:
    return [user for row in rows if filter.match(user := render_user(row, base))]


async def get_user(call: Call) -> Answer:
    """Return one member."""
    search = read_search(call, User)
    user = render_user(await call.services.directory.user(call.caller, call.path("id")), base_of(call))
    return Response(status_code=304) if unchanged(call, user) else answer(user, search)


async def create_user(call: Call) -> Answer:
    """Bring somebody in."""
    search = read_search(call, User)
    wanted = wanted_user(read_resource(User, await read_json(call), Context.RESOURCE_CREATION_REQUEST))
    row = await call.services.directory.create(call.caller, wanted, call.context)
    return answer(render_user(row, base_of(call)), search, 201)


async def replace_user(call: Call) -> Answer:
    """Replace what is said of a member."""
    wanted = read_resource(User, await read_json(call), Context.RESOURCE_REPLACEMENT_REQUEST)

    def replace(user: User) -> None:
        for name in _REPLACED:
            setattr(user, name, getattr(wanted, name))

    return await _change(call, replace)


async def patch_user(call: Call) -> Answer:
    """Change some of what is said of a member."""
    tree = await read_json(call)
    return await _change(call, lambda user: apply_patch(User, tree, user))


async def _change(call: Call, change: Callable[[User], None]) -> Answer:
    search, directory, base = read_search(call, User), call.services.directory, base_of(call)

    async def once() -> Answer:
        seen = await directory.user(call.caller, call.path("id"))
        user = render_user(seen, base)
        require_version(call, user)
        change(user)
        row = await directory.replace(call.caller, seen, wanted_user(user), call.context)
        return answer(render_user(row, base), search)

    return await until_settled(once)


async def remove_user(call: Call) -> Answer:
    """Remove a member for good."""

    async def once() -> Answer:
        seen = await call.services.directory.user(call.caller, call.path("id"))
        require_version(call, render_user(seen, base_of(call)))
        await call.services.directory.remove(call.caller, seen, call.context)
        return Response(status_code=204)

    return await until_settled(once)
