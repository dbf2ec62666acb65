"""The switches of an organization, in the column that operators also change with plain SQL."""

from __future__ import annotations

from collections.abc import Mapping
from uuid import UUID

from msgspec import json

from tallystick.store.connect import Connection
from tallystick.store.queries import load

_SQL = load("switches")


async def merge_config(connection: Connection, organization_id: UUID, switches: Mapping[str, object]) -> bool:
    """Put `switches` into the organization's config; tell whether there is such an organization."""
    tag = await connection.execute(_SQL["merge_config"], organization_id, json.encode(switches))
    return tag == "UPDATE 1"
