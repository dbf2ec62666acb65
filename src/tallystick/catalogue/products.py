"""What the read contracts of other products need from the catalogue."""

from __future__ import annotations

from functools import cache

from tallystick.catalogue.describe import describe
from tallystick.catalogue.load import catalogue, target_types

# Mistral's list of target types is closed, and a foreign event may have acted on anything.
MISTRAL_OTHER = "SHARED_RESOURCE"


@cache
def operations(product: str) -> tuple[str, ...]:
    """Return every action name of a product, sorted.

    For LangSmith these are the operation names, for OpenAI the values of `type`, for Mistral those of
    `event_type`, for Anthropic the activity types. Raises KeyError for a product the catalogue lacks.
    """
    return tuple(sorted(catalogue()[product].actions))


@cache
def mistral_target_types() -> tuple[str, ...]:
    """Return Mistral's closed list of target types, sorted."""
    return tuple(sorted({declared.mistral for declared in target_types().values() if declared.mistral}))


def mistral_target_type(target_type: str | None, action: str) -> str:
    """Return the Mistral target type for an event's neutral target type; always one of Mistral's list.

    `target_type` is what the event's first target says, None when it has no target: then the catalogue's
    type of `action` decides. A type nobody declared also falls back to the action's.
    """
    types = target_types()
    for name in (target_type, describe(action).target_type):
        if name is None:
            continue
        if name.upper() in mistral_target_types():
            return name.upper()
        declared = types.get(name)
        if declared and declared.mistral:
            return declared.mistral
    return MISTRAL_OTHER


def neutral_target_types(mistral: str) -> tuple[str, ...]:
    """Return the neutral target types that Mistral's `target_type` filter value stands for, sorted.

    The value itself in lower case is one of them, for events recorded with Mistral's own words; empty for
    a value Mistral does not have.
    """
    if mistral not in mistral_target_types():
        return ()
    own = {
        name for name, declared in target_types().items() if (declared.mistral or MISTRAL_OTHER) == mistral
    }
    return tuple(sorted(own | {mistral.lower()}))
