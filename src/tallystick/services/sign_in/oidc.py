"""OpenID Connect, the client's side: discovery, authorization code with PKCE, and what an ID token must be.

Sources: OpenID Connect Core 1.0 (3.1.3.7), Discovery 1.0, RFC 7636 (PKCE), RFC 9207 (issuer in the answer), RFC 8725
(algorithms). Authlib makes requests and judges claims, joserfc checks signatures, httpx2 carries.
"""

from __future__ import annotations

import asyncio
import base64
from collections.abc import Callable, Mapping
from typing import Any
from urllib.parse import urlsplit

import httpx2
import msgspec
from authlib.oauth2.auth import ClientAuth
from authlib.oauth2.client import OAuth2Client
from authlib.oidc.core import CodeIDToken
from joserfc import jwt
from joserfc.errors import JoseError
from joserfc.jwk import KeySet, import_key
from msgspec import Struct

from tallystick.errors import Refused, TryLater

# Signatures by the provider's private key. Never HS…: its key would be the client secret, or a public key taken for one.
ALGORITHMS = (
    "RS256", "RS384", "RS512", "PS256", "PS384", "PS512", "ES256", "ES384", "ES512", "EdDSA", "Ed25519",
)  # fmt: skip
SCOPE = "openid email profile"
ANSWER_BYTES_MAX = 1024 * 1024
SECONDS_MAX = 8.0
KEEP_SECONDS = 600.0
REFETCH_SECONDS = 30.0
LEEWAY_SECONDS = 60
_ISSUERS_MAX = 256
_KEYS_MAX = 100


class Provider(Struct, frozen=True, kw_only=True):
    """Who else may say who somebody is, with the secret we share."""

    issuer: str
    client_id: str
    client_secret: str | None


class Metadata(Struct, frozen=True, kw_only=True):
    """What a provider says about itself at `/.well-known/openid-configuration`."""

    issuer: str
    authorization_endpoint: str
    token_endpoint: str
    jwks_uri: str
    userinfo_endpoint: str | None = None
    scopes_supported: tuple[str, ...] = ()
    id_token_signing_alg_values_supported: tuple[str, ...] = ("RS256",)
    token_endpoint_auth_methods_supported: tuple[str, ...] = ("client_secret_basic",)
    authorization_response_iss_parameter_supported: bool = False


class Flow(Struct, frozen=True, kw_only=True):
    """What one authorization is tied to; sealed in a cookie of the browser that began it."""

    state: str
    nonce: str
    verifier: str
    redirect_uri: str


class Oidc:
    """Talks to providers; remembers their metadata and keys for ten minutes.

    Args:
        client: makes what carries requests, when the first one is sent; it must follow no redirect.
        monotonic: seconds that never go back.
        wall: seconds since 1970.
        random: gives that many random bytes.
    """

    def __init__(
        self,
        client: Callable[[], httpx2.AsyncClient],
        *,
        monotonic: Callable[[], float],
        wall: Callable[[], float],
        random: Callable[[int], bytes],
    ) -> None:
        self._new_client = client
        self._client: httpx2.AsyncClient | None = None
        self._monotonic = monotonic
        self._wall = wall
        self._random = random
        self._metadata: dict[str, tuple[float, Metadata]] = {}
        self._keys: dict[str, tuple[float, KeySet]] = {}

    async def discover(self, issuer: str) -> Metadata:
        """Return what an issuer says about itself.

        Raises:
            Refused: it is no https address, says it is another one, or cannot do what is needed.
            TryLater: it cannot be reached.
        """
        kept = self._metadata.get(issuer)
        if kept is not None and self._monotonic() - kept[0] < KEEP_SECONDS:
            return kept[1]
        require_endpoint(issuer, "issuer")
        raw = await self._get(issuer.rstrip("/") + "/.well-known/openid-configuration")
        try:
            found = msgspec.json.decode(raw, type=Metadata)
        except msgspec.DecodeError as error:
            raise _no_provider(f"its metadata is not understood: {error}") from error
        # OpenID Connect Discovery 4.3: exactly the same, else one provider could speak for another.
        if found.issuer != issuer:
            raise _no_provider(f"it calls itself {found.issuer[:200]!r}; write that, exactly, as the issuer")
        for name in ("authorization_endpoint", "token_endpoint", "jwks_uri", "userinfo_endpoint"):
            if (url := getattr(found, name)) is not None:
                require_endpoint(url, name)
        if len(self._metadata) >= _ISSUERS_MAX:
            self._metadata.clear()
        self._metadata[issuer] = (self._monotonic(), found)
        return found

    async def begin(self, provider: Provider, redirect_uri: str) -> tuple[str, Flow]:
        """Return the address to send the browser to, and what its way back will be held against."""
        metadata = await self.discover(provider.issuer)
        flow = Flow(
            state=self._secret(24),
            nonce=self._secret(24),
            verifier=self._secret(48),
            redirect_uri=redirect_uri,
        )
        scope = SCOPE + (" groups" if "groups" in metadata.scopes_supported else "")
        client = OAuth2Client(
            None,
            client_id=provider.client_id,
            scope=scope,
            redirect_uri=redirect_uri,
            code_challenge_method="S256",
        )
        url, _ = client.create_authorization_url(
            metadata.authorization_endpoint, state=flow.state, code_verifier=flow.verifier, nonce=flow.nonce
        )
        return url, flow

    async def finish(self, provider: Provider, flow: Flow, answer: Mapping[str, str]) -> dict[str, Any]:
        """Return the claims about who has come back, checked; `answer` is the query of the way back.

        Raises:
            Refused: the provider said no, the answer is not to this flow, or the ID token is not good. Rule `oidc`.
            TryLater: the provider cannot be reached.
        """
        metadata = await self.discover(provider.issuer)
        if answer.get("iss", provider.issuer) != provider.issuer or (
            metadata.authorization_response_iss_parameter_supported and "iss" not in answer
        ):
            raise _bad("issuer_mismatch", "The answer is not from the provider that was asked.")
        if "error" in answer:
            raise _bad("provider_refused", "The identity provider did not sign you in.")
        if not answer.get("code"):
            raise _bad("no_code", "The identity provider's answer has no code.")
        token = await self._exchange(metadata, provider, flow, answer["code"])
        claims = await self._checked(metadata, provider, flow, token)
        return await self._with_userinfo(metadata, claims, token)

    async def _exchange(
        self, metadata: Metadata, provider: Provider, flow: Flow, code: str
    ) -> dict[str, Any]:
        body = httpx2.QueryParams(
            {
                "grant_type": "authorization_code",
                "code": code,
                "redirect_uri": flow.redirect_uri,
                "code_verifier": flow.verifier,
            }
        )
        auth = ClientAuth(provider.client_id, provider.client_secret, _method(metadata, provider))
        headers = {"Accept": "application/json", "Content-Type": "application/x-www-form-urlencoded"}
        url, headers, sent = auth.prepare("POST", metadata.token_endpoint, headers, str(body))
        status, raw = await self._ask("POST", url, headers=headers, content=sent)
        token = _object(raw)
        if status != 200 or token is None or not isinstance(token.get("id_token"), str):
            error = str((token or {}).get("error", status))[:80]
            raise _bad("code_refused", f"The identity provider did not accept the code ({error}).")
        return token

    async def _checked(
        self, metadata: Metadata, provider: Provider, flow: Flow, token: Mapping[str, Any]
    ) -> dict[str, Any]:
        permitted = [one for one in ALGORITHMS if one in metadata.id_token_signing_alg_values_supported]
        try:
            decoded = await self._decode(metadata, token["id_token"], permitted)
            claims = CodeIDToken(
                decoded.claims,
                decoded.header,
                {"iss": {"essential": True, "value": provider.issuer}, "aud": {"essential": True, "value": provider.client_id}},
                {"nonce": flow.nonce, "client_id": provider.client_id, "access_token": token.get("access_token")},
            )  # fmt: skip
            claims.validate(now=int(self._wall()), leeway=LEEWAY_SECONDS)
        except (JoseError, ValueError) as error:
            raise _bad(
                "bad_id_token", f"The identity provider's token is not good ({_named(error)})."
            ) from error
        if not isinstance(claims.get("sub"), str) or not 0 < len(claims["sub"]) <= 255:
            raise _bad("bad_id_token", "The identity provider's token names nobody.")
        return dict(claims)

    async def _decode(self, metadata: Metadata, token: str, permitted: list[str]) -> jwt.Token:
        keys = await self._keys_of(metadata)
        try:
            return jwt.decode(token, keys, algorithms=permitted)
        except (JoseError, ValueError):
            # Perhaps signed with a key that is new since; asked again at most every 30 seconds.
            fresh = await self._keys_of(metadata, older_than=REFETCH_SECONDS)
            if fresh is keys:
                raise
            return jwt.decode(token, fresh, algorithms=permitted)

    async def _keys_of(self, metadata: Metadata, *, older_than: float = KEEP_SECONDS) -> KeySet:
        kept = self._keys.get(metadata.jwks_uri)
        if kept is not None and self._monotonic() - kept[0] < older_than:
            return kept[1]
        found = _object(await self._get(metadata.jwks_uri))
        keys = found.get("keys") if found else None
        if not isinstance(keys, list):
            raise _no_provider("its keys are not understood")
        made = KeySet([key for one in keys[:_KEYS_MAX] if (key := _public_key(one)) is not None])
        if len(self._keys) >= _ISSUERS_MAX:
            self._keys.clear()
        self._keys[metadata.jwks_uri] = (self._monotonic(), made)
        return made

    async def _with_userinfo(
        self, metadata: Metadata, claims: dict[str, Any], token: Mapping[str, Any]
    ) -> dict[str, Any]:
        """Add what only the userinfo endpoint tells; what the signed token says wins."""
        access = token.get("access_token")
        if metadata.userinfo_endpoint is None or not isinstance(access, str) or not access.isascii():
            return claims
        status, raw = await self._ask(
            "GET", metadata.userinfo_endpoint, headers={"Authorization": f"Bearer {access}"}
        )
        more = _object(raw) if status == 200 else None
        if more is None:
            return claims
        # OpenID Connect Core 5.3.2: what is about somebody else must not be used.
        if more.get("sub") != claims["sub"]:
            raise _bad("bad_userinfo", "The identity provider told of somebody else.")
        return {**more, **claims}

    async def close(self) -> None:
        """Close the connections to providers."""
        if self._client is not None:
            await self._client.aclose()

    def _secret(self, size: int) -> str:
        return base64.urlsafe_b64encode(self._random(size)).rstrip(b"=").decode()

    async def _get(self, url: str) -> bytes:
        status, raw = await self._ask("GET", url, headers={"Accept": "application/json"})
        if status != 200:
            raise _no_provider(f"{urlsplit(url).path} answers {status}")
        return raw

    async def _ask(
        self, method: str, url: str, *, headers: Mapping[str, str], content: str | None = None
    ) -> tuple[int, bytes]:
        # Reading the certificates of the world takes a while, and most servers never ask anybody.
        client = self._client = self._client or self._new_client()
        try:
            async with (
                asyncio.timeout(SECONDS_MAX),
                client.stream(method, url, headers=dict(headers), content=content) as response,
            ):
                raw = b""
                async for piece in response.aiter_bytes():
                    raw += piece
                    if len(raw) > ANSWER_BYTES_MAX:
                        raise _no_provider("its answer is over 1 MiB")
                return response.status_code, raw
        except (httpx2.HTTPError, httpx2.InvalidURL, TimeoutError, OSError) as error:
            raise TryLater(
                "The identity provider cannot be reached at this moment. Try again; if it stays so, an admin must look "
                f"at the issuer's address ({urlsplit(url).hostname}).",
                retry_after_seconds=5,
            ) from error


def require_endpoint(url: str, name: str) -> None:
    """Raise Refused unless `url` is https, or http on the loopback address for trying things out."""
    try:
        parts = urlsplit(url)
        host = (parts.hostname or "").lower()
    except ValueError:
        parts, host = None, ""
    local = host in ("localhost", "127.0.0.1", "::1")
    if (
        parts is None
        or not host
        or not (parts.scheme == "https" or (parts.scheme == "http" and local))
        or parts.username
        or parts.fragment
        or not url.isprintable()
        or len(url) > 2048
    ):
        raise Refused(
            f"The {name.replace('_', ' ')} must be an https address, for example https://id.example.com.",
            path=f"/{name}",
            rule="provider",
        )


def _method(metadata: Metadata, provider: Provider) -> str:
    if provider.client_secret is None:
        return "none"
    offered = metadata.token_endpoint_auth_methods_supported
    if "client_secret_basic" in offered or "client_secret_post" not in offered:
        return "client_secret_basic"
    return "client_secret_post"


def _public_key(one: Any) -> Any:
    """Return a key that signatures may be checked with, None for any other: a symmetric one has no business here."""
    if (
        not isinstance(one, dict)
        or one.get("kty") not in ("RSA", "EC", "OKP")
        or one.get("use", "sig") != "sig"
    ):
        return None
    try:
        return import_key(one)
    except (JoseError, ValueError, TypeError):
        return None  # of a kind we do not know; the others still count


def _object(raw: bytes) -> dict[str, Any] | None:
    try:
        return msgspec.json.decode(raw, type=dict[str, Any])
    except msgspec.DecodeError:
        return None


def _named(error: Exception) -> str:
    return str(getattr(error, "error", type(error).__name__))[:60]


def _no_provider(why: str) -> Refused:
    return Refused(f"This issuer cannot be used: {why}.", path="/issuer", rule="provider")


class BadAnswer(Refused):
    """The way back from a provider is not one we can trust; `reason` is a word for the log."""

    rule = "oidc"

    def __init__(self, reason: str, message: str) -> None:
        super().__init__(message)
        self.reason = reason


def _bad(reason: str, message: str) -> BadAnswer:
    return BadAnswer(reason, message + " Begin again; nothing was changed.")
