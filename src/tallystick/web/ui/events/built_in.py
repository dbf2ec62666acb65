"""The views everybody has."""

from __future__ import annotations

from msgspec import Struct


class BuiltIn(Struct, frozen=True):
    """A view that comes with the product: its id in `view=`, its name, and its filters as parameters of the page."""

    id: str
    name: str
    address: str


BUILT_IN: tuple[BuiltIn, ...] = (
    BuiltIn("changes", "All but reads", "q=-type:read"),
    BuiltIn("all", "Everything", ""),
    BuiltIn("failed", "Failed or denied", "outcome=denied&outcome=failure"),
    BuiltIn("keys", "API keys", "target_type=api_key"),
    BuiltIn("roles", "Roles & SSO", "action=role&action=sso&action=member&action=invite&action=scim"),
    BuiltIn("agents", "Agents", "actor_type=agent"),
    BuiltIn("access", "Exports & log access", "action=export&action=^events.&action=^event."),
)
# What opens where nobody chose: reading is most of a busy log, and seldom what one came for. A chip says so.
FIRST = "changes"
