"""Tokens for other people's browsers, which show a part of the log: `client.viewer_sessions.create(tenant="org_1")`."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from datetime import datetime
from typing import TYPE_CHECKING, Any, Final
from urllib.parse import quote

from msgspec import Struct

if TYPE_CHECKING:
    from tallystick.reading.async_client import AsyncClient
    from tallystick.reading.client import Client

PATH: Final = "/v1/viewer-sessions"
SECONDS: Final = 600


class ViewerSession(Struct, frozen=True, kw_only=True):
    """A token just made, good for one exchange; `url` is the embedded viewer's, opened with it."""

    id: str
    token: str
    url: str
    expires_at: datetime


def wish(
    *,
    tenant: str | None,
    actor: str | None,
    filters: Mapping[str, str | Sequence[str]] | None,
    origins: Sequence[str],
    columns: Sequence[str],
    permissions: Sequence[str],
    name: str,
    expires_in_seconds: int,
) -> dict[str, Any]:
    """Return what is asked of the server; it says what is wrong with it."""
    locked = {
        name: value for name, value in {"tenant": tenant, "actor": actor, **(filters or {})}.items() if value
    }
    asked: dict[str, Any] = {"filters": locked, "expires_in_seconds": expires_in_seconds}
    more = {
        "origins": list(origins),
        "columns": list(columns),
        "permissions": list(permissions),
        "name": name,
    }
    return {**asked, **{name: value for name, value in more.items() if value}}


def made(url: str, said: Mapping[str, Any]) -> ViewerSession:
    """Return the session that the server made."""
    return ViewerSession(
        id=said["id"], token=said["token"], expires_at=datetime.fromisoformat(said["expires_at"]),
        url=f"{url.rstrip('/')}/embed?token={quote(said['token'])}",
    )  # fmt: skip


class ViewerSessions:
    """Makes, lists and ends tokens; see the guide "Show your customers their own part of the log"."""

    def __init__(self, client: Client) -> None:
        self._client = client

    def create(
        self,
        *,
        tenant: str | None = None,
        actor: str | None = None,
        filters: Mapping[str, str | Sequence[str]] | None = None,
        origins: Sequence[str] = (),
        columns: Sequence[str] = (),
        permissions: Sequence[str] = (),
        name: str = "",
        expires_in_seconds: int = SECONDS,
    ) -> ViewerSession:
        """Return a token that shows what `tenant`, `actor` and `filters` lock, to pages of `origins`, for 10 to 3,600 s."""
        asked = wish(
            tenant=tenant, actor=actor, filters=filters, origins=origins, columns=columns, permissions=permissions,
            name=name, expires_in_seconds=expires_in_seconds,
        )  # fmt: skip
        return made(self._client.url, self._client.request("POST", PATH, json=asked))

    def list(self) -> list[dict[str, Any]]:
        """Return the tokens that are not over."""
        return self._client.request("GET", PATH)["viewer_sessions"]

    def revoke(self, id: str) -> None:
        """End a token everywhere."""
        self._client.request("DELETE", f"{PATH}/{quote(id)}")


class AsyncViewerSessions:
    """The same from an event loop."""

    def __init__(self, client: AsyncClient) -> None:
        self._client = client

    async def create(
        self,
        *,
        tenant: str | None = None,
        actor: str | None = None,
        filters: Mapping[str, str | Sequence[str]] | None = None,
        origins: Sequence[str] = (),
        columns: Sequence[str] = (),
        permissions: Sequence[str] = (),
        name: str = "",
        expires_in_seconds: int = SECONDS,
    ) -> ViewerSession:
        """Return a token; as `ViewerSessions.create`."""
        asked = wish(
            tenant=tenant, actor=actor, filters=filters, origins=origins, columns=columns, permissions=permissions,
            name=name, expires_in_seconds=expires_in_seconds,
        )  # fmt: skip
        return made(self._client.url, await self._client.request("POST", PATH, json=asked))

    async def list(self) -> list[dict[str, Any]]:
        """Return the tokens that are not over."""
        return (await self._client.request("GET", PATH))["viewer_sessions"]

    async def revoke(self, id: str) -> None:
        """End a token everywhere."""
        await self._client.request("DELETE", f"{PATH}/{quote(id)}")
