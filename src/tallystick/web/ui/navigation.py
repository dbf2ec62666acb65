"""The way around: every page that exists and that a person may open."""

from __future__ import annotations

from functools import cache
from typing import Any

from msgspec import Struct

from tallystick.services.principal import Principal


class Item(Struct, frozen=True, kw_only=True):
    """One entry of the navigation."""

    path: str
    label: str
    group: str = ""


# In the order in which they are shown; an entry appears once its page is in the table of routes.
ITEMS: tuple[Item, ...] = (
    Item(path="/events", label="Events"),
    Item(path="/alerts", label="Alerts"),
    Item(path="/exports", label="Exports"),
    Item(path="/evidence", label="Evidence"),
    Item(path="/verify", label="Verify"),
    Item(path="/settings/sources", label="Sources", group="Settings"),
    Item(path="/settings/producers", label="Producers", group="Settings"),
    Item(path="/settings/sinks", label="Sinks", group="Settings"),
    Item(path="/settings/keys", label="API keys", group="Settings"),
    Item(path="/settings/members", label="Members & roles", group="Settings"),
    Item(path="/settings/workspaces", label="Workspaces", group="Settings"),
    Item(path="/settings/sign-in", label="Single sign-on", group="Settings"),
    Item(path="/settings/retention", label="Retention & holds", group="Settings"),
    Item(path="/settings/organization", label="Organization", group="Settings"),
    Item(path="/settings/about", label="About", group="Settings"),
)


@cache
def _permissions() -> dict[str, str | None]:
    from tallystick.web.ui.routes import PAGES  # the pages import this module through their templates

    return {page.path: page.permission for page in PAGES if page.method == "GET"}


def navigation(principal: Principal | None, here: str) -> list[dict[str, Any]]:
    """Return the groups of entries that `principal` may open, the one of `here` marked; none for a stranger."""
    if principal is None:
        return []
    groups: dict[str, list[dict[str, Any]]] = {}
    for item in ITEMS:
        if item.path not in _permissions() or not _may_open(principal, _permissions()[item.path]):
            continue
        current = here == item.path or here.startswith(item.path + "/")
        groups.setdefault(item.group, []).append({"path": item.path, "label": item.label, "current": current})
    return [{"label": label, "items": items} for label, items in groups.items()]


def _may_open(principal: Principal, permission: str | None) -> bool:
    return permission is None or principal.may(permission)
