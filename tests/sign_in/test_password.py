"""Signing in with a password: what comes in, what does not, and what each leaves in the log."""

from __future__ import annotations

import re
import time
from concurrent.futures import ThreadPoolExecutor
from pathlib import Path

import pytest

import tallystick.services.sign_in
from people import (
    OWNER,
    PASSWORD,
    add_member,
    browser,
    events_of,
    execute,
    link_for,
    printed_link,
    session_of,
    set_password,
    sign_in,
    with_password,
)
from server import Server

PUBLIC_PAGES = ("/sign-in", "/sign-in/forgot", "/sign-in/link/tsl_" + "a" * 43)


def test_the_first_link_works_once(house: Server) -> None:
    """Whoever finds the printed link in a terminal's history would become an owner too."""
    client = browser(house)
    again = client.get(printed_link(house))
    assert again.status_code == 404
    assert "does not work" in again.text
    form = {"email": "eve@example.com", "name": "Eve", "password": PASSWORD, "again": PASSWORD}
    assert client.post(printed_link(house), data=form).status_code == 404
    assert session_of(client) is None
    assert execute(house, "SELECT count(*) FROM members WHERE email = 'eve@example.com'") == [(0,)]


def test_a_signed_in_person_reads_through_the_same_doors(house: Server) -> None:
    """A person would see nothing of the log, or a session would open what its member may not."""
    owner = sign_in(house)
    assert owner.get("/v1/events").status_code == 200
    add_member(house, "plain@example.com", "MEMBER")
    member = sign_in(house, "plain@example.com")
    refused = member.get("/v1/events")
    assert refused.status_code == 403
    assert refused.json()["rule"] == "forbidden"
    assert member.get("/account").status_code == 200


def test_wrong_password_and_unknown_address_get_the_same_answer(house: Server) -> None:
    """The sign-in page would tell which e-mail addresses have an account."""
    answers = []
    for email in (OWNER, "nobody-here@example.com"):
        answer = with_password(browser(house), email, "not the password at all")
        assert answer.status_code == 401
        assert "set-cookie" not in answer.headers
        answers.append(answer.text.replace(email, "…"))
    assert answers[0] == answers[1]


def test_wrong_password_and_unknown_address_take_the_same_time(house: Server) -> None:
    """A stopwatch would tell which e-mail addresses have an account."""
    took: dict[str, list[float]] = {OWNER: [], "nobody-there@example.com": []}
    # A difference that is ours is there every time; what a busy machine adds is not.
    for _ in range(3):
        for email, times in took.items():
            client = browser(house)
            started = time.monotonic()
            assert with_password(client, email, "not the password").status_code == 401
            times.append(time.monotonic() - started)
            assert times[-1] >= 0.45, "a refusal waits for a whole half second"
        if abs(min(took[OWNER]) - min(took["nobody-there@example.com"])) < 0.15:
            return
    raise AssertionError(took)


def test_a_failed_sign_in_is_in_the_log(house: Server) -> None:
    """A guess at a password would leave no trace."""
    add_member(house, "guessed@example.com")
    assert with_password(browser(house), "guessed@example.com", "a wrong guess").status_code == 401
    found = [
        one for one in events_of(house, "signin.failed") if one["actor"].get("email") == "guessed@example.com"
    ]
    assert len(found) == 1
    assert found[0]["outcome"] == "failure"
    assert found[0]["error"]["code"] == "wrong_password"
    assert found[0]["actor"]["type"] == "user"
    assert found[0]["context"]["ip"] == "127.0.0.1"
    assert found[0]["context"]["user_agent"] == "tests"
    assert "a wrong guess" not in str(found)


def test_what_is_typed_as_an_address_by_mistake_is_not_kept(house: Server) -> None:
    """A password typed into the wrong field would stand in the log for ever."""
    secret = "my password in the wrong field"
    assert with_password(browser(house), secret, "x").status_code == 401
    assert secret not in str(events_of(house, "signin.failed"))


def test_signing_in_and_out_are_in_the_log_with_their_session(house: Server) -> None:
    """Nobody could tell who was signed in when something happened."""
    add_member(house, "traced@example.com")
    client = sign_in(house, "traced@example.com")
    token = session_of(client)
    assert token is not None
    session_id = re.search(r"ses_[0-9a-f]+", str(events_of(house, "signin.succeeded")[0]))
    assert session_id is not None
    assert client.post("/sign-out").status_code == 303
    out = events_of(house, "signout.succeeded")[0]
    assert out["actor"]["email"] == "traced@example.com"
    assert session_id[0] in str(out["targets"])
    assert token not in str(events_of(house, "signin.succeeded")), (
        "the log must not hold what opens a session"
    )


def test_a_link_is_replaced_by_the_next_and_works_once(house: Server) -> None:
    """An old invitation in a mailbox would open an account for as long as it lies there."""
    add_member(house, "linked@example.com", password=None)
    first, second = (link_for(house, email="linked@example.com") for _ in range(2))
    client = browser(house)
    assert client.get(first).status_code == 404
    assert client.get(second).status_code == 200
    form = {"name": "Linked", "password": PASSWORD, "again": PASSWORD}
    assert client.post(second, data=form).status_code == 303
    assert browser(house).post(second, data=form).status_code == 404
    accepted = events_of(house, "invitation.accepted")
    assert accepted[0]["actor"]["email"] == "linked@example.com"


def test_a_link_that_sets_a_password_ends_all_sessions(house: Server) -> None:
    """Whoever stole a session would keep it after the password was reset because of it."""
    add_member(house, "reset@example.com")
    stolen = sign_in(house, "reset@example.com")
    set_password(house, "reset@example.com", "another long password")
    time.sleep(0.1)
    assert stolen.get("/account").status_code == 303
    assert with_password(browser(house), "reset@example.com", PASSWORD).status_code == 401


def test_an_expired_link_does_not_work(house: Server) -> None:
    """A link would work for ever."""
    add_member(house, "late@example.com", password=None)
    path = link_for(house, email="late@example.com")
    execute(house, "UPDATE one_time_links SET expires_at = now() - interval '1 second' WHERE used_at IS NULL")
    assert browser(house).get(path).status_code == 404
    form = {"name": "Late", "password": PASSWORD, "again": PASSWORD}
    assert browser(house).post(path, data=form).status_code == 404


@pytest.mark.parametrize(
    ("password", "why"),
    [
        ("short", "at least 12"),
        ("weak@example.com", "easily guessed"),
        ("a" * 20, "easily guessed"),
        ("x" * 257, "at most"),
    ],
)
def test_a_password_that_is_easily_guessed_is_refused(house: Server, password: str, why: str) -> None:
    """People would choose what the first guess finds."""
    execute(
        house,
        "INSERT INTO members (organization_id, id, email, display_name, role) "
        "VALUES (%s, 'mbr_weak', 'weak@example.com', 'Weak', 'MEMBER') ON CONFLICT DO NOTHING",
        house.organization_id,
    )
    path = link_for(house, email="weak@example.com")
    client = browser(house)
    answer = client.post(path, data={"name": "Weak", "password": password, "again": password})
    assert answer.status_code == 400
    assert why in answer.text
    assert session_of(client) is None
    assert client.get(path).status_code == 200, "the link still works"


def test_nobody_gets_more_rights_through_a_link_than_they_have(house: Server) -> None:
    """Whoever may manage members could set the owner's password and become the owner."""
    add_member(house, "admin@example.com", "ADMIN")
    admin = sign_in(house, "admin@example.com")
    owner_id = execute(house, "SELECT id FROM members WHERE email = %s", OWNER)[0][0]
    refused = admin.post("/v1/sign-in-links", json={"member_id": owner_id})
    assert refused.status_code == 403
    assert refused.json()["rule"] == "more_rights"
    assert admin.post("/v1/sign-in-links", json={"email": "plain@example.com"}).status_code in (201, 404)
    assert admin.delete(f"/v1/members/{owner_id}/second-factor").status_code == 403


def test_changing_the_password_ends_other_sessions_and_renews_this_one(house: Server) -> None:
    """Whoever stole a session would keep it; or a session's id from before would open more than it did."""
    add_member(house, "change@example.com")
    here, elsewhere = sign_in(house, "change@example.com"), sign_in(house, "change@example.com")
    before = session_of(here)
    new = "a new and longer password"
    wrong = here.post("/account/password", data={"old": "not it", "new": new, "again": new})
    assert wrong.status_code == 400
    assert "not your password" in wrong.text
    done = here.post("/account/password", data={"old": PASSWORD, "new": new, "again": new})
    assert done.status_code == 303
    assert here.get("/account").status_code == 200
    assert session_of(here) not in (None, before), "the session has a new id"
    assert elsewhere.get("/account").status_code == 303
    assert with_password(browser(house), "change@example.com", PASSWORD).status_code == 401
    assert with_password(browser(house), "change@example.com", new).status_code == 303
    assert events_of(house, "password.changed")[0]["actor"]["email"] == "change@example.com"
    assert events_of(house, "password.refused")[0]["outcome"] == "failure"


def test_an_address_in_two_organizations_chooses(house: Server) -> None:
    """A person in two organizations would always land in the same one, or in both."""
    other = "00000000-0000-4000-8000-000000000002"
    execute(
        house,
        "INSERT INTO organizations (id, display_name) VALUES (%s, 'Beta Limited') ON CONFLICT DO NOTHING",
        other,
    )
    add_member(house, "both@example.com", "AUDITOR")
    execute(
        house,
        "INSERT INTO members (organization_id, id, email, display_name, role, password_hash) "
        "SELECT %s, 'mbr_both_b', email, 'Both B', 'MEMBER', password_hash FROM members WHERE email = 'both@example.com'",
        other,
    )
    client = browser(house)
    answer = with_password(client, "both@example.com")
    assert answer.headers["location"] == "/sign-in/organization"
    assert session_of(client) is None, "nobody is signed in before they have chosen"
    page = client.get("/sign-in/organization")
    assert "Beta Limited" in page.text
    assert client.post("/sign-in/organization", data={"organization": other}).status_code == 303
    assert "Beta Limited" in client.get("/account").text
    assert client.get("/v1/events").status_code == 403
    foreign = browser(house)
    with_password(foreign, "both@example.com")
    stranger = "00000000-0000-4000-8000-000000000099"
    assert foreign.post("/sign-in/organization", data={"organization": stranger}).status_code != 200
    assert session_of(foreign) is None


def test_a_link_used_twice_at_the_same_moment_works_once(house: Server) -> None:
    """Two people with one link would both be signed in, each with a password of their own."""
    add_member(house, "race@example.com", password=None)
    path = link_for(house, email="race@example.com")

    def use(number: int) -> int:
        password = f"a long password {number}"
        form = {"name": "Race", "password": password, "again": password}
        return browser(house).post(path, data=form).status_code

    with ThreadPoolExecutor(4) as together:
        statuses = sorted(together.map(use, range(4)))
    assert statuses == [303, 404, 404, 404]
    assert len(execute(house, "SELECT id FROM sessions WHERE member_id = 'mbr_race'")) == 1


def test_a_denied_page_is_in_the_log_where_the_owner_sees_it(house: Server) -> None:
    """A member could try every door, and the owner would see nothing of it."""
    add_member(house, "curious@example.com", "MEMBER")
    client = sign_in(house, "curious@example.com")
    refused = client.get("/settings/sign-in")
    assert refused.status_code == 403
    assert "Ada Lovelace" in refused.text, "it says who can grant access"
    for _ in range(50):
        found = [
            one
            for one in events_of(house, "access.denied")
            if one["actor"].get("email") == "curious@example.com"
        ]
        if found:
            break
        time.sleep(0.1)
    assert found[0]["outcome"] == "denied"
    assert found[0]["actor"]["type"] == "user"


def test_every_action_that_sign_in_records_is_in_the_catalogue() -> None:
    """An event of sign-in would show as an unknown action, without title or OCSF class."""
    folder = Path(tallystick.services.sign_in.__file__).parent
    written = {
        name
        for file in folder.glob("*.py")
        for name in re.findall(
            r'"((?:signin|signout|session|password|second_factor|member|invitation|sso)\.[a-z_]+)"',
            file.read_text(),
        )
    }
    assert len(written) >= 15
    known = (Path(tallystick.__file__).parent / "catalogue" / "actions" / "tallystick.toml").read_text()
    assert {name for name in written if not re.search(rf"^{re.escape(name)} ", known, re.MULTILINE)} == set()
