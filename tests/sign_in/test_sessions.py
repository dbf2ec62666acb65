"""Sessions: their ends, their list, their new ids, and two servers that agree within five seconds."""

from __future__ import annotations

import shutil
import time
from pathlib import Path

from people import add_member, browser, events_of, execute, session_of, sign_in
from server import Server, Servers

FIVE_SECONDS = 5.0


def test_an_idle_session_ends(house: Server) -> None:
    """A browser left open over lunch would still be signed in in the evening."""
    add_member(house, "idle@example.com")
    client = sign_in(house, "idle@example.com")
    execute(
        house,
        "UPDATE sessions SET last_seen_at = now() - interval '30 minutes 1 second' WHERE member_id = 'mbr_idle'",
    )
    time.sleep(4.1)
    assert client.get("/account").status_code == 303
    assert client.get("/v1/events").status_code == 401


def test_a_session_ends_after_twelve_hours_whatever_happens(house: Server) -> None:
    """A page that asks every minute would keep its session for ever."""
    add_member(house, "busy@example.com")
    client = sign_in(house, "busy@example.com")
    created, ends = execute(
        house, "SELECT created_at, expires_at FROM sessions WHERE member_id = 'mbr_busy'"
    )[0]
    assert (ends - created).total_seconds() == 12 * 3600
    execute(house, "UPDATE sessions SET expires_at = now() WHERE member_id = 'mbr_busy'")
    time.sleep(4.1)
    assert client.get("/account").status_code == 303


def test_use_is_noted_so_that_a_session_in_use_stays(house: Server) -> None:
    """A session in use would end after half an hour all the same."""
    add_member(house, "used@example.com")
    client = sign_in(house, "used@example.com")
    execute(
        house, "UPDATE sessions SET last_seen_at = now() - interval '20 minutes' WHERE member_id = 'mbr_used'"
    )
    time.sleep(4.1)
    assert client.get("/account").status_code == 200
    ago = min(
        row[0]
        for row in execute(
            house,
            "SELECT extract(epoch FROM now() - last_seen_at) FROM sessions WHERE member_id = 'mbr_used' AND last_seen_at > created_at",
        )
    )
    assert ago < 60


def test_only_a_hash_of_the_token_is_kept(house: Server) -> None:
    """A copy of the database would hold a key to every session."""
    client = sign_in(house)
    token = session_of(client)
    assert token is not None
    assert token.encode() not in b"".join(
        bytes(row[0]) for row in execute(house, "SELECT sha256 FROM sessions")
    )
    dump = execute(house, "SELECT s::text FROM sessions s")
    assert token not in str(dump)


def test_one_ends_ones_own_sessions_and_nobody_elses(house: Server) -> None:
    """Somebody could sign others out, or a lost laptop would stay signed in."""
    add_member(house, "mine@example.com")
    add_member(house, "yours@example.com")
    here, laptop, other = (sign_in(house, f"{name}@example.com") for name in ("mine", "mine", "yours"))
    ids = [
        row[0]
        for row in execute(house, "SELECT id FROM sessions WHERE member_id = 'mbr_mine' ORDER BY created_at")
    ]
    foreign = execute(house, "SELECT id FROM sessions WHERE member_id = 'mbr_yours'")[0][0]
    assert here.post(f"/account/sessions/{foreign}/end").status_code == 404
    assert other.get("/account").status_code == 200
    assert here.post("/account/sessions/ses_ffffffffffffffff/end").status_code == 404
    page = here.get("/account").text
    assert ids[-1] in page
    assert foreign not in page
    assert here.post(f"/account/sessions/{ids[-1]}/end").status_code == 303
    assert laptop.get("/account").status_code == 303
    assert here.get("/account").status_code == 200
    assert ids[-1] in str(events_of(house, "session.revoked")[0])


def test_those_who_manage_members_see_and_end_everybodys(house: Server) -> None:
    """Nobody could end the session of somebody who has left."""
    add_member(house, "leaver@example.com")
    leaver = sign_in(house, "leaver@example.com")
    with house.client() as admin:
        listed = admin.get("/v1/sessions").json()["sessions"]
        mine = next(one for one in listed if one["email"] == "leaver@example.com")
        assert admin.delete(f"/v1/sessions/{mine['id']}").status_code == 200
        assert admin.delete("/v1/sessions/ses_0000000000000000").status_code == 404
    assert leaver.get("/account").status_code == 303
    assert leaver.get("/v1/sessions").status_code == 401


def test_a_removed_member_is_out_within_five_seconds(house: Server) -> None:
    """Whoever was removed would go on reading until the session ends by itself."""
    add_member(house, "removed@example.com", "AUDITOR")
    client = sign_in(house, "removed@example.com")
    assert client.get("/v1/events").status_code == 200
    execute(house, "UPDATE members SET removed_at = now() WHERE id = 'mbr_removed'")
    time.sleep(FIVE_SECONDS - 0.5)
    assert client.get("/v1/events").status_code == 401


def test_a_change_of_rights_gives_a_new_id_and_the_old_one_ends(house: Server) -> None:
    """An id that somebody saw before a promotion would open what the promotion opened."""
    add_member(house, "promoted@example.com", "MEMBER")
    client = sign_in(house, "promoted@example.com")
    before = session_of(client)
    assert before is not None
    execute(
        house,
        "UPDATE members SET role = 'AUDITOR', access_version = access_version + 1 WHERE id = 'mbr_promoted'",
    )
    time.sleep(4.1)
    assert client.get("/account").status_code == 200
    after = session_of(client)
    assert after not in (None, before)
    assert client.get("/v1/events").status_code == 200
    ((ends, inherited),) = execute(
        house,
        "SELECT min(expires_at) - now(), max(expires_at) - now() FROM sessions WHERE member_id = 'mbr_promoted'",
    )
    assert ends.total_seconds() <= 10, "the old id ends in a moment"
    assert 11.9 * 3600 < inherited.total_seconds() <= 12 * 3600, "the new id ends when the old one would have"
    execute(
        house,
        "UPDATE sessions SET expires_at = now() WHERE member_id = 'mbr_promoted' AND expires_at < now() + interval '1 min'",
    )
    time.sleep(4.1)
    old = browser(house, Cookie=f"tallystick={before}")
    assert old.get("/account").status_code == 303


def copy_keys(source: Path, folder: Path) -> None:
    """Give a second server on the same database the keys and the name of the first, as an operator would."""
    folder.mkdir(mode=0o711)
    for name in ("keys", "signer"):
        shutil.copytree(source / name, folder / name)
    for name in ("instance", "first-keys.json"):
        shutil.copy(source / name, folder / name)


def test_what_ends_on_one_server_has_ended_on_the_other_within_five_seconds(
    servers: Servers, database
) -> None:
    """A session revoked on one server would live on the other."""
    one = servers.start("data", database=database.logins.owner)
    client = sign_in(one)
    copy_keys(one.data, servers.folder / "data2")
    two = servers.start("data2", database=database.logins.owner)
    token = session_of(client)
    there = browser(two, Cookie=f"tallystick={token}")
    assert there.get("/v1/events").status_code == 200
    assert client.post("/sign-out").status_code == 303
    time.sleep(FIVE_SECONDS)
    assert there.get("/v1/events").status_code == 401
    assert there.get("/account").status_code == 303
