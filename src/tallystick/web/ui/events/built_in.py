"""The views everybody has."""

from __future__ import annotations

from msgspec import Struct


class BuiltIn(Struct, frozen=True):
    """A view that comes with the product: its id in `view=`, its name, and its filters as parameters of the page."""

    id: str
    name: str
    address: str


BUILT_IN: tuple[BuiltIn, ...] = (
    BuiltIn("all", "Everything", ""),
    BuiltIn("changes", "All but reads", "q=-type:read"),
    BuiltIn("failed", "Failed or denied", "outcome=denied&outcome=failure"),
    BuiltIn("keys", "API keys", "target_type=api_key"),
    BuiltIn("roles", "Roles & SSO", "action=role&action=sso&action=member&action=invite&action=scim"),
    BuiltIn("agents", "Agents", "actor_type=agent"),
    BuiltIn("access", "Exports & log access", "action=export&action=^events.&action=^event."),
)
# What opens where nobody chose: all there is, whose count and chart are known without looking at a row.
FIRST = "all"
