"""/.search: one query over members and groups together (RFC 7644, 3.4.2.1)."""

from __future__ import annotations

import asyncio
from typing import Any

from tallystick.services.people.directory import PAGE_MAX, SCAN_MAX, Named, UserRow
from tallystick.services.people.groups import GroupRow
from tallystick.web.call import Answer, Call
from tallystick.web.scim.exchange import (
    COUNT_DEFAULT,
    answer_list,
    base_of,
    read_json,
    require_few,
    search_of,
)
from tallystick.web.scim.models import Group, User, render_group, render_user


async def search_everything(call: Call) -> Answer:
    """Return members and groups that match a filter, asked for by a body."""
    both: Any = User | Group
    search: Any = search_of(both, await read_json(call))
    count = min(COUNT_DEFAULT if search.count is None else search.count, PAGE_MAX)
    offset = min(search.start_index_0 or 0, 2**31)
    members, users = await call.services.directory.users(call.caller, Named(), offset=0, limit=SCAN_MAX)
    sets, groups = await call.services.groups.groups(call.caller, Named(), offset=0, limit=SCAN_MAX)
    require_few(members + sets)
    found = await asyncio.to_thread(_matching, users, groups, base_of(call), search.filter)
    return answer_list(both, found[offset : offset + count], len(found), offset + 1, search)


def _matching(users: list[UserRow], groups: list[GroupRow], base: str, filter: Any) -> list[Any]:
    everything = [*(render_user(row, base) for row in users), *(render_group(row, base) for row in groups)]
    return [one for one in everything if filter is None or filter.match(one)]
