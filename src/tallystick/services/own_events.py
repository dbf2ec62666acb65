"""What the server records about its own acts: who did it, for whom."""

from __future__ import annotations

from tallystick.event.model import Actor
from tallystick.services.access import Principal


def actor_of(principal: Principal) -> Actor:
    """Return the actor of an event that records what `principal` did here."""
    return Actor(
        type="api_key", id=principal.key_id, name=principal.name or None, credential_id=principal.key_id
    )
