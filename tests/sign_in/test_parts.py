"""The parts of sign-in that decide without a server."""

from __future__ import annotations

import os
from datetime import UTC, datetime
from urllib.parse import urljoin, urlsplit
from uuid import UUID

import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from tallystick.config import read_settings
from tallystick.errors import Misconfigured, Refused, Unauthorized
from tallystick.services.permissions import MANAGE, PERMISSIONS, READ, ROLES
from tallystick.services.sign_in import second_factor
from tallystick.services.sign_in.group_roles import groups_in, role_for
from tallystick.services.sign_in.holdings import holdings_of
from tallystick.services.sign_in.limits import OF_EMAIL, Failures, Limits
from tallystick.services.sign_in.sealing import Sealer
from tallystick.services.sign_in.sign_in import Pending
from tallystick.services.sign_in.single_sign_on import person_of
from tallystick.web.origin import Address, is_loopback
from tallystick.web.ui.pages.account import browser_of
from tallystick.web.ui.pages.sign_in_settings import read_mapping
from tallystick.web.ui.render import local_path

RFC_6238 = {
    59: "287082",
    1111111109: "081804",
    1111111111: "050471",
    1234567890: "005924",
    20000000000: "353130",
}
SECRET = b"12345678901234567890"


@pytest.mark.parametrize(("seconds", "code"), RFC_6238.items())
def test_codes_are_those_of_rfc_6238(seconds: int, code: str) -> None:
    """No authenticator app would show the code we ask for."""
    assert second_factor.code_at(SECRET, seconds // 30) == code


@given(st.integers(0, 2**40), st.integers(-3, 3))
@settings(max_examples=100)
def test_a_code_is_good_for_its_step_and_the_ones_beside(step: int, away: int) -> None:
    """A phone whose clock is a little off could not be used, or an old code would work."""
    code = second_factor.code_at(SECRET, step + 10)
    found = second_factor.matching_step(SECRET, code, at_seconds=(step + 10 + away) * 30 + 7, last_step=0)
    if abs(away) > 1:
        assert found != step + 10
        return
    # Another step may have the same code by chance; then that one is as good.
    assert found is not None
    assert second_factor.code_at(SECRET, found) == code
    again = second_factor.matching_step(SECRET, code, at_seconds=(step + 10 + away) * 30, last_step=found)
    assert again != found, "a code is good once"


@pytest.mark.parametrize(
    "code", ["", "28708", "2870822", "abcdef", "２８７０８２", "\ud800" + "28708", "287 083"]
)
def test_what_is_no_code_matches_nothing(code: str) -> None:
    """A strange text would fail the server, or pass."""
    assert (
        second_factor.matching_step(
            SECRET, code.encode("utf-8", "replace").decode(), at_seconds=59, last_step=0
        )
        is None
    )


def test_recovery_codes_are_bound_to_their_member() -> None:
    """A code copied into another member's row would open it."""
    codes = second_factor.new_recovery_codes(os.urandom)
    assert len(set(codes)) == 10
    kept = [second_factor.recovery_digest("mbr_1", code) for code in codes]
    assert second_factor.matching_recovery("mbr_1", codes[3].upper().replace("-", ""), kept) == kept[3]
    assert second_factor.matching_recovery("mbr_2", codes[3], kept) is None
    assert second_factor.matching_recovery("mbr_1", "", kept) is None


@given(st.text(max_size=60) | st.text(alphabet="/\\.:?#@%\t\r\n evil", max_size=20))
@settings(max_examples=200)
def test_the_way_back_never_leaves_the_server(wanted: str) -> None:
    """A link to our sign-in page would lead to somebody else's."""
    for text in (wanted, "/" + wanted, "//" + wanted):
        found = local_path(text)
        assert found.startswith("/")
        joined = urlsplit(urljoin("https://audit.example.com/sign-in", found))
        assert (joined.scheme, joined.netloc) == ("https", "audit.example.com")
        assert not any(character in found for character in "\r\n\t\\")


def test_a_path_of_ours_is_kept() -> None:
    """Nobody would come back to where they were going."""
    for path in ("/", "/events?q=actor:ada&range=7d", "/events/018f?x=%2F#top", "/a//b"):
        assert local_path(path) == path


@given(st.binary(max_size=200), st.text(max_size=20), st.text(max_size=20))
@settings(max_examples=50)
def test_what_is_sealed_opens_for_its_purpose_and_thing_alone(content: bytes, about: str, other: str) -> None:
    """A secret moved to another row or purpose would open there."""
    sealer = Sealer(b"k" * 32, random=os.urandom)
    sealed = sealer.seal("one", content, about=about)
    assert sealer.open("one", sealed, about=about) == content
    for opens in (
        lambda: sealer.open("two", sealed, about=about),
        lambda: Sealer(b"j" * 32, random=os.urandom).open("one", sealed, about=about),
        lambda: sealer.open("one", sealed[:-1] + bytes([sealed[-1] ^ 1]), about=about),
        lambda: sealer.open("one", b"", about=about),
    ):
        with pytest.raises(Misconfigured):
            opens()
    if other != about:
        with pytest.raises(Misconfigured):
            sealer.open("one", sealed, about=other)


@given(st.text(max_size=80))
@settings(max_examples=50)
def test_a_text_that_we_did_not_seal_opens_nothing(text: str) -> None:
    """A made-up cookie would fail the server, or pass."""
    sealer = Sealer(b"k" * 32, random=os.urandom)
    pending = Pending(
        members=((UUID(int=1), "mbr_1"),), method="password", at=datetime(2026, 1, 1, tzinfo=UTC)
    )
    sealed = sealer.seal_text("sign-in under way", pending)
    assert sealer.open_text("sign-in under way", sealed, Pending) == pending
    assert sealer.open_text("another", sealed, Pending) is None
    assert sealer.open_text("sign-in under way", text, Pending) is None


def test_failures_leak_away() -> None:
    """A lock would stay for ever, or never come."""
    clock = [0.0]
    failures = Failures(OF_EMAIL, lambda: clock[0])
    closed = [failures.failed("a") for _ in range(5)]
    assert closed == [False] * 4 + [True], "the fifth closes the door"
    assert failures.wait_seconds("a") in (60, 61)
    assert failures.wait_seconds("b") == 0
    clock[0] += 61
    assert failures.wait_seconds("a") == 0
    failures.forget("a")
    assert [failures.failed("a") for _ in range(5)][-1]


def test_the_memory_of_failures_is_bounded() -> None:
    """Trying ever new names would fill the server's memory."""
    failures = Failures(OF_EMAIL, lambda: 0.0)
    for number in range(25_000):
        failures.failed(f"name {number}")
    assert len(failures._levels) <= 20_000


def test_a_lock_says_how_long() -> None:
    """Who is locked out would not know whether to wait a minute or a day."""
    limits = Limits(lambda: 0.0)
    for _ in range(5):
        limits.refuse("192.0.2.1", "a@example.com")
        limits.failed("192.0.2.1", "a@example.com")
    with pytest.raises(Unauthorized, match="Wait 61 seconds") as refused:
        limits.refuse("192.0.2.9", "a@example.com")
    assert refused.value.rule == "attempts"
    limits.refuse("192.0.2.1", "b@example.com")


@given(st.lists(st.tuples(st.sampled_from(["", "ws1", "ws2"]), st.sampled_from([*ROLES, "rol_x", "nonsense"]),
                          st.none() | st.lists(st.sampled_from(PERMISSIONS), max_size=4))))  # fmt: skip
@settings(max_examples=150)
def test_holdings_are_the_union_and_never_more(roles: list) -> None:
    """A role on one workspace would reach the whole organization, or one role would take what another gives."""
    held = holdings_of(roles)
    on_organization = [one for one in roles if one[0] == ""]
    expected = (
        set().union(*(ROLES.get(role, frozenset(own or ())) for _, role, own in on_organization))
        if on_organization
        else set()
    )
    assert held.permissions == expected
    for _, permissions in held.grants:
        assert MANAGE not in permissions
        assert permissions <= {"auditLogs:read", "auditLogs:export", "auditLogs:write"}
    assert (held.workspaces is None) == (READ in expected or MANAGE in expected)


def test_the_highest_role_of_the_groups_counts() -> None:
    """Somebody in two groups would get either role, by chance."""
    mapping = {"readers": "AUDITOR", "admins": "ADMIN", "support": "rol_1", "*": "VIEWER"}
    assert role_for(("readers", "admins"), mapping) == "ADMIN"
    assert role_for(("support",), mapping) == "rol_1"
    assert role_for(("unknown",), mapping) == "VIEWER"
    assert role_for(("unknown",), {"readers": "AUDITOR"}) is None
    assert role_for((), {}) is None


@pytest.mark.parametrize(
    ("claims", "claim", "groups"),
    [
        ({"groups": ["a", "b", 5]}, "groups", ("a", "b")),
        ({"groups": "one"}, "groups", ("one",)),
        ({"groups": {"a": 1}}, "groups", ()),
        ({}, "groups", None),
        ({"realm_access": {"roles": ["a"]}}, "realm_access.roles", ("a",)),
        ({"https://example.com/groups": ["a"]}, "https://example.com/groups", ("a",)),
        ({"realm_access": "x"}, "realm_access.roles", None),
        ({"groups": ["g"] * 5000}, "groups", ("g",) * 2000),
    ],
)
def test_groups_are_found_where_providers_write_them(claims: dict, claim: str, groups: tuple | None) -> None:
    """Groups of a provider would be overlooked, or anything taken for one."""
    assert groups_in(claims, claim) == groups


def test_what_a_provider_says_is_bounded() -> None:
    """A provider's text would break a page or a row."""
    told = person_of(
        {"sub": "s", "email": "NOT AN ADDRESS", "name": "a\nb" * 500, "email_verified": "true"}, "groups"
    )
    assert told.email is None
    assert told.name == ""
    assert told.is_verified
    assert not person_of({"sub": "s", "email": "a@example.com", "email_verified": 1.5}, "groups").is_verified


@pytest.mark.parametrize(
    ("text", "mapping"),
    [
        ("a = AUDITOR\n\n b=admin ", {"a": "AUDITOR", "b": "ADMIN"}),
        ("cn=x,ou=y = rol_1", {"cn=x,ou=y": "rol_1"}),
    ],
)
def test_a_mapping_is_read_line_by_line(text: str, mapping: dict[str, str]) -> None:
    """A directory's names, which hold equals signs, could not be mapped."""
    assert read_mapping(text) == mapping


@pytest.mark.parametrize("text", ["a", "= AUDITOR", "a =", "a = AUDITOR\na = ADMIN"])
def test_a_line_that_maps_nothing_is_refused(text: str) -> None:
    """A slip in a mapping would silently give nobody a role."""
    with pytest.raises(Refused):
        read_mapping(text)


@pytest.mark.parametrize(
    "host", ["localhost", "localhost:8080", "127.0.0.1:1", "[::1]:8080", "127.9.9.9", "LOCALHOST"]
)
def test_the_loopback_is_known_by_its_names(host: str) -> None:
    """One could not try things out."""
    assert is_loopback(host)
    assert Address().origin_of(host) == f"http://{host.lower()}"


@pytest.mark.parametrize(
    "host",
    ["", "localhost.evil.example", "127.0.0.1.nip.io", "10.0.0.1", "evil", "[::1", "a@localhost@b", None],
)
def test_other_names_are_not_the_loopback(host: str | None) -> None:
    """A page on another name could sign people in over plain http."""
    with pytest.raises(Refused):
        Address().origin_of(host)


@pytest.mark.parametrize(
    ("text", "url"),
    [
        ("https://Audit.Example.com/", "https://audit.example.com"),
        ("https://audit.example.com:443", "https://audit.example.com"),
        ("https://audit.example.com:8443", "https://audit.example.com:8443"),
        ("http://localhost:8080", "http://localhost:8080"),
    ],
)
def test_the_public_address_is_an_origin(text: str, url: str) -> None:
    """A browser's origin would never equal ours, for a slash or a capital letter."""
    assert read_settings({"TALLYSTICK_PUBLIC_URL": text}).public_url == url


@pytest.mark.parametrize(
    "text",
    [
        "http://audit.example.com",
        "audit.example.com",
        "https://a/b",
        "https://u@a",
        "https://a?b",
        "https://a b",
        "ftp://a",
    ],
)
def test_an_address_people_cannot_trust_is_refused(text: str) -> None:
    """Passwords would travel in the clear, or links lead nowhere."""
    with pytest.raises(Misconfigured, match="TALLYSTICK_PUBLIC_URL"):
        read_settings({"TALLYSTICK_PUBLIC_URL": text})


def test_a_browser_is_named_in_two_words() -> None:
    """A list of sessions would be a list of riddles."""
    edge = "Mozilla/5.0 (Windows NT 10.0) AppleWebKit/537.36 Chrome/156.0 Safari/537.36 Edg/156.0"
    assert browser_of(edge) == "Edge on Windows"
    assert browser_of("curl/8.5") == "curl/8.5"
    assert browser_of(None) == "—"
