"""Signing in through an identity provider that is a process of its own."""

from __future__ import annotations

from urllib.parse import urlsplit

import httpx2
import pytest

from people import (
    OWNER,
    PASSWORD,
    add_member,
    browser,
    events_of,
    execute,
    session_of,
    sign_in,
    with_password,
)
from server import Server
from sign_in.conftest import Provider, go, query_of, trust

MAPPING = {"audit-readers": "AUDITOR", "platform-admins": "ADMIN"}


@pytest.fixture(scope="module")
def path(house: Server, provider: Provider) -> str:
    """The way to the provider, which the organization trusts."""
    return trust(house, provider.url, group_roles=MAPPING)


def test_a_mapped_group_lets_somebody_in_with_its_role(house: Server, provider: Provider, path: str) -> None:
    """A person whom the provider names as an audit reader could not read the audit log."""
    provider.knows(
        "sub-grace",
        email="Grace@Example.com",
        email_verified=True,
        name="Grace Hopper",
        groups=["audit-readers"],
    )
    client, answer = go(house, provider, path, "sub-grace")
    assert answer.status_code == 303, answer.text
    assert session_of(client) is not None
    assert client.get("/v1/events").status_code == 200
    assert client.get("/v1/keys").status_code == 403
    added = events_of(house, "member.added")[0]
    assert added["actor"]["email"] == "grace@example.com"
    assert added["after"] == {"role": "AUDITOR"}
    assert events_of(house, "signin.succeeded")[0]["metadata"]["method"] == "oidc"


def test_the_groups_decide_the_role_at_every_sign_in(house: Server, provider: Provider, path: str) -> None:
    """Who has left a group at the provider would keep its rights here."""
    provider.knows(
        "sub-mover", email="mover@example.com", email_verified=True, name="Mover", groups=["platform-admins"]
    )
    go(house, provider, path, "sub-mover")
    provider.knows(
        "sub-mover", email="mover@example.com", email_verified=True, name="Mover", groups=["something"]
    )
    client, answer = go(house, provider, path, "sub-mover")
    assert answer.status_code == 303
    assert client.get("/v1/events").status_code == 403
    changed = events_of(house, "member.role_changed")[0]
    assert (changed["before"], changed["after"]) == ({"role": "ADMIN"}, {"role": "MEMBER"})


def test_a_stranger_without_a_group_stays_outside(house: Server, provider: Provider, path: str) -> None:
    """Everybody with an account at a large provider would be a member."""
    provider.knows("sub-eve", email="eve@elsewhere.example", email_verified=True, name="Eve")
    client, answer = go(house, provider, path, "sub-eve")
    assert answer.status_code == 403
    assert "nobody has invited you" in answer.text
    assert session_of(client) is None
    failed = events_of(house, "signin.failed")[0]
    assert failed["error"]["code"] == "not_invited"
    assert failed["actor"]["email"] == "eve@elsewhere.example"


def test_a_verified_address_finds_its_member(house: Server, provider: Provider, path: str) -> None:
    """An invited person could not use the provider, or would become a second member."""
    member_id = add_member(house, "invited@example.com", "AUDITOR", password=None)
    provider.knows(
        "sub-invited",
        email="invited@example.com",
        email_verified=True,
        name="Other",
        groups=["audit-readers"],
    )
    _, answer = go(house, provider, path, "sub-invited")
    assert answer.status_code == 303
    assert execute(house, "SELECT id, oidc_subject FROM members WHERE email = 'invited@example.com'") == [
        (member_id, "sub-invited")
    ]


def test_an_unverified_address_finds_nobody(house: Server, provider: Provider, path: str) -> None:
    """Whoever writes somebody else's address into a profile would become that member."""
    add_member(house, "victim@example.com", "ADMIN")
    for verified in ({}, {"email_verified": False}, {"email_verified": "yes"}):
        provider.knows(
            "sub-thief", email="victim@example.com", name="Thief", groups=["audit-readers"], **verified
        )
        client, answer = go(house, provider, path, "sub-thief")
        assert answer.status_code == 403
        assert session_of(client) is None
    assert events_of(house, "signin.failed")[0]["error"]["code"] == "unverified_email"
    assert execute(house, "SELECT oidc_subject FROM members WHERE email = 'victim@example.com'") == [(None,)]


def test_an_address_that_changes_hands_does_not_change_members(
    house: Server, provider: Provider, path: str
) -> None:
    """A new colleague who is given a former one's address would become the former one."""
    provider.knows(
        "sub-first", email="desk@example.com", email_verified=True, name="First", groups=["platform-admins"]
    )
    assert go(house, provider, path, "sub-first")[1].status_code == 303
    provider.knows(
        "sub-second", email="desk@example.com", email_verified=True, name="Second", groups=["audit-readers"]
    )
    client, answer = go(house, provider, path, "sub-second")
    assert answer.status_code == 403
    assert session_of(client) is None


def test_a_closed_account_stays_closed(house: Server, provider: Provider, path: str) -> None:
    """The provider's word would open what an owner here has closed."""
    provider.knows(
        "sub-closed", email="closed@example.com", email_verified=True, name="Closed", groups=["audit-readers"]
    )
    assert go(house, provider, path, "sub-closed")[1].status_code == 303
    execute(house, "UPDATE members SET active = false WHERE email = 'closed@example.com'")
    client, answer = go(house, provider, path, "sub-closed")
    assert answer.status_code == 403
    assert session_of(client) is None


def test_the_last_owner_stays_one_whatever_the_groups_say(
    house: Server, provider: Provider, path: str
) -> None:
    """An organization would have nobody who may manage it, after a slip in a mapping."""
    provider.knows("sub-ada", email=OWNER, email_verified=True, name="Ada Lovelace", groups=["audit-readers"])
    client, answer = go(house, provider, path, "sub-ada")
    assert answer.status_code == 303, answer.text
    assert execute(house, "SELECT role FROM members WHERE email = %s", OWNER) == [("OWNER",)]
    assert client.get("/v1/keys").status_code == 200


def test_one_comes_back_to_where_one_was_going(house: Server, provider: Provider, path: str) -> None:
    """A link into the log would lead to the start page after signing in."""
    client = browser(house)
    out = client.get(path, params={"to": "/account?done=session"})
    back = urlsplit(provider.consent(out.headers["location"], "sub-grace"))
    answer = client.get(f"{back.path}?{back.query}")
    assert answer.headers["location"] == "/account?done=session"


def test_what_is_sent_to_the_provider(house: Server, path: str) -> None:
    """The request would lack what protects it: PKCE, state, nonce, or would name another way back."""
    out = browser(house).get(path)
    asked = query_of(out.headers["location"])
    assert asked["code_challenge_method"] == "S256"
    assert len(asked["code_challenge"]) == 43
    assert min(len(asked["state"]), len(asked["nonce"])) >= 32
    assert asked["redirect_uri"] == f"{house.url}/sign-in/callback"
    assert asked["response_type"] == "code"
    assert set(asked["scope"].split()) >= {"openid", "email"}
    again = query_of(browser(house).get(path).headers["location"])
    assert {asked["state"], asked["nonce"], asked["code_challenge"]}.isdisjoint(again.values())


def test_only_single_sign_on_closes_the_password_door(house: Server, provider: Provider, path: str) -> None:
    """An organization that trusts only its provider would still be opened by an old password."""
    add_member(house, "pw@example.com", "AUDITOR")
    provider_id = path.rpartition("/")[2]
    wish = {
        "display_name": "Example ID",
        "issuer": provider.url,
        "client_id": "tallystick",
        "group_roles": MAPPING,
    }
    with house.client() as admin:
        assert (
            admin.put(f"/v1/identity-providers/{provider_id}", json={**wish, "only_oidc": True}).status_code
            == 200
        )
    try:
        refused = with_password(browser(house), "pw@example.com")
        assert refused.status_code == 401
        assert "do not match" in refused.text, "the answer is the same as for a wrong password"
        failed = events_of(house, "signin.failed")[0]
        assert failed["error"]["code"] == "only_oidc"
        assert go(house, provider, path, "sub-grace")[1].status_code == 303
    finally:
        with house.client() as admin:
            assert admin.put(f"/v1/identity-providers/{provider_id}", json=wish).status_code == 200
    assert with_password(browser(house), "pw@example.com").status_code == 303


def test_the_secret_is_sealed_and_never_shown(house: Server, provider: Provider, path: str) -> None:
    """A copy of the database, an answer or an event would hold the organization's secret at its provider."""
    stored = execute(house, "SELECT client_secret FROM identity_providers")
    assert stored
    assert all(b"s3cret" not in bytes(secret) for (secret,) in stored if secret)
    with house.client() as admin:
        shown = admin.get("/v1/identity-providers").text
    assert "s3cret" not in shown
    assert '"has_secret":true' in shown
    events = events_of(house, "sso.configured")
    assert events
    assert "s3cret" not in str(events)
    assert events[0]["after"]["issuer"] == provider.url
    owner = sign_in(house)
    assert (
        "s3cret"
        not in owner.get("/settings/sign-in").text
        + owner.get(f"/settings/sign-in/{path.rpartition('/')[2]}").text
    )


@pytest.mark.parametrize(
    ("issuer", "why"),
    [
        ("http://id.example.com", "https address"),
        ("https://user@id.example.com", "https address"),
        ("ftp://id.example.com", "https address"),
        ("http://127.0.0.1:1", "cannot be reached"),
    ],
)
def test_an_issuer_that_cannot_be_trusted_is_refused(house: Server, issuer: str, why: str) -> None:
    """Secrets and codes would travel in the clear, or a slip would be found by the first person locked out."""
    with house.client() as admin:
        wish = {"display_name": "X", "issuer": issuer, "client_id": "tallystick"}
        answer = admin.post("/v1/identity-providers", json=wish)
    assert answer.status_code in (400, 503)
    assert why in answer.text


def test_a_removed_provider_is_trusted_no_more(house: Server, provider: Provider) -> None:
    """Removing a provider would leave its door open."""
    gone = trust(house, provider.url, display_name="Old ID", client_id="other")
    client = browser(house)
    out = client.get(gone)
    with house.client() as admin:
        assert admin.delete(f"/v1/identity-providers/{gone.rpartition('/')[2]}").status_code == 200
    back = urlsplit(provider.consent(out.headers["location"], "sub-grace"))
    assert client.get(f"{back.path}?{back.query}").status_code == 404
    assert session_of(client) is None
    assert client.get(gone).status_code == 404
    assert events_of(house, "sso.removed")


def test_the_sign_in_page_offers_the_provider(house: Server, path: str) -> None:
    """People would not find the way to their provider."""
    page = browser(house).get("/sign-in").text
    assert path in page
    assert path in browser(house).get(f"/sign-in/o/{house.organization_id}").text
    stranger = browser(house).get("/sign-in/o/00000000-0000-4000-8000-00000000dead")
    assert stranger.status_code == 200
    assert "single/" not in stranger.text


def test_a_provider_that_says_no(house: Server, provider: Provider, path: str) -> None:
    """Declining at the provider would end in an error page without a word, or in a session."""
    client = browser(house)
    out = client.get(path)
    answer = httpx2.post(out.headers["location"], data={"action": "deny"})
    back = urlsplit(answer.headers["location"])
    assert "error=access_denied" in back.query
    refused = client.get(f"{back.path}?{back.query}&state={query_of(out.headers['location'])['state']}")
    assert refused.status_code == 403
    assert session_of(client) is None
    assert PASSWORD not in refused.text
