"""What a provider, or somebody between it and us, may try: none of it signs anybody in."""

from __future__ import annotations

import base64
import json
import os
import time
from collections.abc import Iterator
from typing import Any
from urllib.parse import parse_qsl

import httpx2
import pytest
from joserfc import jwt
from joserfc.jwk import OctKey, RSAKey

from people import browser, events_of, session_of
from server import Server
from sign_in.conftest import trust
from sign_in.hostile_provider import CLIENT, SECRET, HostileProvider
from tallystick.services.sign_in.oidc import BadAnswer, Oidc, Provider


@pytest.fixture(scope="module")
def provider() -> Iterator[HostileProvider]:
    """One provider for the module."""
    made = HostileProvider()
    yield made
    made.close()


@pytest.fixture(scope="module")
def path(house: Server, provider: HostileProvider) -> str:
    """The way to it."""
    return trust(house, provider.url, group_roles={"*": "MEMBER"}, client_secret=SECRET)


@pytest.fixture(autouse=True)
def follows_the_rules(provider: HostileProvider) -> None:
    """Each test begins with a provider that does everything right."""
    provider.reset()


def come_back(house: Server, provider: HostileProvider, path: str) -> tuple[httpx2.Client, httpx2.Response]:
    """Go to the provider and back."""
    client = browser(house)
    query = provider.consent(client.get(path).headers["location"])
    return client, client.get(f"/sign-in/callback?{query}")


def refused(house: Server, client: httpx2.Client, answer: httpx2.Response, reason: str) -> None:
    """Check that nobody was signed in, and that the log says why."""
    assert answer.status_code == 403, answer.text
    assert session_of(client) is None
    assert events_of(house, "signin.failed")[0]["error"]["code"] == reason


def test_without_a_trick_one_is_signed_in(house: Server, provider: HostileProvider, path: str) -> None:
    """The tests below would pass because nothing ever works."""
    client, answer = come_back(house, provider, path)
    assert answer.status_code == 303, answer.text
    assert session_of(client) is not None


CLAIMS: dict[str, Any] = {
    "another nonce": lambda c: {**c, "nonce": "another"},
    "no nonce": lambda c: {name: value for name, value in c.items() if name != "nonce"},
    "another issuer": lambda c: {**c, "iss": "https://other.example.com"},
    "another audience": lambda c: {**c, "aud": "other-client"},
    "another audience that names us beside it": lambda c: {**c, "aud": "other-client", "azp": "tallystick"},
    "two audiences without azp": lambda c: {
        **c,
        "aud": ["tallystick", "other-client"],
        "azp": "other-client",
    },
    "expired": lambda c: {**c, "exp": int(time.time()) - 120},
    "not valid yet": lambda c: {**c, "nbf": int(time.time()) + 600},
    "issued in the future": lambda c: {**c, "iat": int(time.time()) + 3600},
    "no expiry": lambda c: {name: value for name, value in c.items() if name != "exp"},
    "no subject": lambda c: {name: value for name, value in c.items() if name != "sub"},
    "an empty subject": lambda c: {**c, "sub": ""},
    "a hash of another access token": lambda c: {**c, "at_hash": "AAAAAAAAAAAAAAAAAAAAAA"},
}


@pytest.mark.parametrize("trick", CLAIMS)
def test_claims_that_are_not_about_this_sign_in(
    house: Server, provider: HostileProvider, path: str, trick: str
) -> None:
    """A token made for another sign-in, another client or another time would sign somebody in."""
    provider.claims = CLAIMS[trick]
    client, answer = come_back(house, provider, path)
    refused(house, client, answer, "bad_id_token")


def _unsigned(claims: dict[str, Any]) -> str:
    parts = [json.dumps(part).encode() for part in ({"alg": "none"}, claims)]
    return ".".join(base64.urlsafe_b64encode(part).rstrip(b"=").decode() for part in parts) + "."


def _with_secret(claims: dict[str, Any]) -> str:
    return _by_hand(claims, SECRET.encode())


def _stranger(claims: dict[str, Any]) -> str:
    key = RSAKey.generate_key(2048, {"kid": "one"})
    return jwt.encode({"alg": "RS256", "kid": "one"}, claims, key, algorithms=["RS256"])


def _own_key_in_header(claims: dict[str, Any]) -> str:
    key = RSAKey.generate_key(2048)
    header = {"alg": "RS256", "jwk": key.as_dict(private=False)}
    return jwt.encode(header, claims, key, algorithms=["RS256"])


@pytest.mark.parametrize(
    "sign", [_unsigned, _with_secret, _stranger, _own_key_in_header], ids=lambda one: one.__name__
)
def test_signatures_that_are_not_the_providers(
    house: Server, provider: HostileProvider, path: str, sign: Any
) -> None:
    """Anybody could write the token: unsigned, with the client secret, with a key of their own."""
    provider.sign = sign
    client, answer = come_back(house, provider, path)
    refused(house, client, answer, "bad_id_token")


def test_the_public_key_is_not_taken_for_a_shared_secret(
    house: Server, provider: HostileProvider, path: str
) -> None:
    """Algorithm confusion: whoever reads the published key could sign with it."""
    secrets = (provider.key.as_pem(private=False), json.dumps(provider.key.as_dict(private=False)).encode())
    for secret in secrets:
        provider.sign = lambda claims, secret=secret: _by_hand(claims, secret)
        client, answer = come_back(house, provider, path)
        refused(house, client, answer, "bad_id_token")


def _by_hand(claims: dict[str, Any], secret: bytes) -> str:
    import hashlib
    import hmac

    parts = [json.dumps(part).encode() for part in ({"alg": "HS256", "kid": "one"}, claims)]
    text = ".".join(base64.urlsafe_b64encode(part).rstrip(b"=").decode() for part in parts)
    mac = hmac.new(secret, text.encode(), hashlib.sha256).digest()
    return f"{text}.{base64.urlsafe_b64encode(mac).rstrip(b'=').decode()}"


def test_a_symmetric_key_among_the_published_ones_is_not_used(
    house: Server, path: str, provider: HostileProvider
) -> None:
    """A key set with a secret in it would make that secret a way in."""
    shared = OctKey.import_key("0123456789abcdef0123456789abcdef", {"kid": "two"})
    provider.answers["/jwks"] = (200, {}, json.dumps({"keys": [shared.as_dict(private=True)]}).encode())
    provider.sign = lambda claims: jwt.encode(
        {"alg": "HS256", "kid": "two"}, claims, shared, algorithms=["HS256"]
    )
    client, answer = come_back(house, provider, path)
    refused(house, client, answer, "bad_id_token")


def test_an_answer_with_another_state(house: Server, provider: HostileProvider, path: str) -> None:
    """A link to the way back would sign a victim in as somebody else (login CSRF)."""
    victim, attacker = browser(house), browser(house)
    victim.get(path)
    query = provider.consent(attacker.get(path).headers["location"])
    refused(house, victim, victim.get(f"/sign-in/callback?{query}"), "bad_state")
    fresh = browser(house)
    answer = fresh.get(f"/sign-in/callback?{query}")
    assert answer.status_code == 403, "a browser that began nothing"
    assert session_of(fresh) is None


def test_a_code_of_another_sign_in(house: Server, provider: HostileProvider, path: str) -> None:
    """A stolen code, put into one's own sign-in, would sign the thief in as its owner (PKCE stops it)."""
    victim, thief = browser(house), browser(house)
    stolen = provider.consent(victim.get(path).headers["location"])
    own = provider.consent(thief.get(path).headers["location"])
    code = stolen.partition("&")[0]
    state = own.rpartition("&")[2]
    refused(house, thief, thief.get(f"/sign-in/callback?{code}&{state}"), "code_refused")


def test_an_answer_works_once(house: Server, provider: HostileProvider, path: str) -> None:
    """Whoever finds the address in a history would be signed in, at a provider that takes codes twice."""
    provider.accepts_twice = True
    client = browser(house)
    query = provider.consent(client.get(path).headers["location"])
    cookie = next(one.value for one in client.cookies.jar if one.name == "tallystick-single")
    assert client.get(f"/sign-in/callback?{query}").status_code == 303
    again = browser(house, Cookie=f"tallystick-single={cookie}")
    refused(house, again, again.get(f"/sign-in/callback?{query}"), "replayed")
    assert client.get(f"/sign-in/callback?{query}").status_code == 403, "and its cookie is gone"


def test_an_answer_that_names_another_issuer(house: Server, provider: HostileProvider, path: str) -> None:
    """An honest provider's code would be handed to an attacker's (mix-up, RFC 9207)."""
    client = browser(house)
    query = provider.consent(client.get(path).headers["location"])
    refused(
        house, client, client.get(f"/sign-in/callback?{query}&iss=https://evil.example"), "issuer_mismatch"
    )
    assert "/token" not in provider.asked, "the code went nowhere"


def test_userinfo_about_somebody_else(house: Server, provider: HostileProvider, path: str) -> None:
    """Groups and address of another person would be taken for those of who has signed in."""
    provider.answers["/userinfo"] = (200, {}, b'{"sub": "sub-2", "groups": ["admins"]}')
    client, answer = come_back(house, provider, path)
    refused(house, client, answer, "bad_userinfo")


def test_what_the_signed_token_says_wins(house: Server, provider: HostileProvider, path: str) -> None:
    """An unsigned answer would change who somebody is."""
    provider.answers["/userinfo"] = (
        200,
        {},
        b'{"sub": "sub-1", "email": "owner@example.com", "name": "Owner"}',
    )
    client, answer = come_back(house, provider, path)
    assert answer.status_code == 303
    assert "one@example.com" in client.get("/account").text


@pytest.mark.parametrize(
    ("broken", "status"),
    [
        ((302, {"Location": "http://127.0.0.1:1/elsewhere"}, b""), 403),
        ((200, {}, b"[" * 100_000), 403),
        ((200, {}, b'{"id_token": 5}'), 403),
        ((500, {}, b"oops"), 403),
        ((200, {}, b" " * (1024 * 1024 + 1)), 400),
    ],
)
def test_a_provider_that_answers_nonsense(
    house: Server, provider: HostileProvider, path: str, broken: Any, status: int
) -> None:
    """A provider could send our server elsewhere, fill its memory, or make it fail."""
    provider.answers["/token"] = broken
    client, answer = come_back(house, provider, path)
    assert answer.status_code == status, answer.text
    assert session_of(client) is None
    assert "oops" not in answer.text


def test_a_provider_that_calls_itself_another(house: Server) -> None:
    """A provider could speak for the people of another one."""
    liar = HostileProvider()
    try:
        told = {**liar.metadata(), "issuer": "https://accounts.example.com"}
        liar.answers["/.well-known/openid-configuration"] = (200, {}, json.dumps(told).encode())
        wish = {"display_name": "Liar", "issuer": liar.url, "client_id": "tallystick"}
        with house.client() as admin:
            answer = admin.post("/v1/identity-providers", json=wish)
        assert answer.status_code == 400
        assert "calls itself" in answer.json()["detail"]
        for name in ("token_endpoint", "jwks_uri", "authorization_endpoint"):
            told = {**liar.metadata(), name: "http://internal.example/x"}
            liar.answers["/.well-known/openid-configuration"] = (200, {}, json.dumps(told).encode())
            with house.client() as admin:
                assert admin.post("/v1/identity-providers", json=wish).status_code == 400
    finally:
        liar.close()


async def test_a_key_that_is_new_since() -> None:
    """After a provider's change of keys nobody could sign in for ten minutes, or every bad token would ask it again."""
    young, clock = HostileProvider(), [0.0]
    oidc = Oidc(
        lambda: httpx2.AsyncClient(verify=False),
        monotonic=lambda: clock[0],
        wall=time.time,
        random=os.urandom,
    )
    try:
        known = Provider(issuer=young.url, client_id=CLIENT, client_secret=SECRET)

        async def come_and_go() -> dict[str, Any]:
            url, flow = await oidc.begin(known, "http://localhost/sign-in/callback")
            return await oidc.finish(known, flow, dict(parse_qsl(young.consent(url))))

        assert (await come_and_go())["sub"] == "sub-1"
        young.key = RSAKey.generate_key(2048, {"kid": "two", "use": "sig"})
        young.sign = lambda claims: jwt.encode(
            {"alg": "RS256", "kid": "two"}, claims, young.key, algorithms=["RS256"]
        )
        asked = young.asked.count("/jwks")
        for _ in range(3):
            with pytest.raises(BadAnswer):
                await come_and_go()
        assert young.asked.count("/jwks") == asked, "at most every 30 seconds"
        clock[0] = 31.0
        assert (await come_and_go())["sub"] == "sub-1"
    finally:
        await oidc.close()
        young.close()
