"""Acts on an organization as a whole: who may, and who did it in the event that records it."""

from __future__ import annotations

from tallystick.errors import Forbidden
from tallystick.event.model import Actor
from tallystick.services.access import MANAGE, Principal


def actor_of(principal: Principal) -> Actor:
    """Return the actor of an event that records what `principal` did here."""
    return Actor(
        type="api_key", id=principal.key_id, name=principal.name or None, credential_id=principal.key_id
    )


def require_whole_organization(principal: Principal) -> None:
    """Raise Forbidden unless `principal` manages the organization and is not bound to one workspace of it."""
    principal.require(MANAGE)
    if principal.workspace is not None:
        raise Forbidden(
            f"This key is bound to the workspace {principal.workspace}, and this concerns the whole organization. Use "
            "a key of the whole organization.",
            rule="workspace",
        )
