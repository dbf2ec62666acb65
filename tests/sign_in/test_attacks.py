"""Attacks on sessions, forms and pages; each test goes red when its defence is taken away."""

from __future__ import annotations

import base64
import hashlib
import inspect
import os
import re
import secrets
import statistics
import time
from collections.abc import Awaitable, Callable
from datetime import UTC, datetime

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
from server import Server, Servers
from tallystick.errors import Unauthorized
from tallystick.services.sign_in import second_factor
from tallystick.services.sign_in.sessions import Sessions
from tallystick.store import sessions as session_rows
from tallystick.store.connect import open_pool
from tallystick.web.ui.routes import PAGES

ELSEWHERE = (
    "//evil.example",
    "///evil.example",
    "/\\evil.example",
    "\\\\evil.example",
    "https://evil.example",
    "https:evil.example",
    "javascript:alert(1)",
    "/\t/evil.example",
    "/\r\nSet-Cookie: planted=1",
    "%2f%2fevil.example",
    "/sign-in?to=//evil.example",
    "data:text/html,x",
    "/ä",
    "a" * 4000,
)


def is_local(location: str) -> bool:
    """Tell whether a browser stays on the server."""
    return (
        location.startswith("/")
        and not location.startswith(("//", "/\\"))
        and "evil" not in location.partition("?")[0]
    )


def test_session_fixation(house: Server) -> None:
    """An attacker who plants a cookie before sign-in would know the session after it."""
    planted = "tss_" + "A" * 43
    client = browser(house)
    client.cookies.set("tallystick", planted)
    assert with_password(client, OWNER).status_code == 303
    values = {one.value for one in client.cookies.jar if one.name == "tallystick"}
    fresh = values - {planted}
    assert len(fresh) == 1
    assert browser(house, Cookie=f"tallystick={planted}").get("/account").status_code == 303
    assert browser(house, Cookie=f"tallystick={fresh.pop()}").get("/account").status_code == 200


def test_an_id_from_before_is_worth_nothing_after_signing_in_again(house: Server) -> None:
    """A session somebody else knows would live on beside the new one."""
    client = sign_in(house)
    before = session_of(client)
    assert with_password(client, OWNER).status_code == 303
    assert session_of(client) != before
    assert browser(house, Cookie=f"tallystick={before}").get("/account").status_code == 303


def test_two_cookies_of_one_name_are_none(house: Server) -> None:
    """A neighbouring host could plant a second cookie and choose whose session is used."""
    mine, theirs = session_of(sign_in(house)), session_of(sign_in(house))
    both = browser(house, Cookie=f"tallystick={theirs}; tallystick={mine}")
    assert both.get("/account").status_code == 303
    assert both.get("/v1/events").status_code == 401


def test_a_token_is_worth_nothing_after_sign_out(house: Server) -> None:
    """A copied cookie would go on working after its owner has signed out."""
    client = sign_in(house)
    token = session_of(client)
    assert client.post("/sign-out").status_code == 303
    replayed = browser(house, Cookie=f"tallystick={token}")
    assert replayed.get("/account").status_code == 303
    assert replayed.get("/v1/events").status_code == 401


FOREIGN = (
    {"Origin": "https://evil.example"},
    {"Origin": "null"},
    {"Origin": "http://127.0.0.1:1"},
    {"Sec-Fetch-Site": "cross-site"},
    {"Sec-Fetch-Site": "same-site"},
    {"Sec-Fetch-Site": "cross-site", "Origin": "{own}"},
    {"Sec-Fetch-Site": "same-origin", "Origin": "https://evil.example"},
    {},
)


@pytest.mark.parametrize("page", [page for page in PAGES if page.method != "GET"], ids=lambda page: page.name)
def test_cross_site_request_forgery(house: Server, page) -> None:
    """Another site's page could press any button here with the visitor's session, sign-in itself included."""
    token = session_of(sign_in_once(house))
    path = re.sub(r"\{\w+(:path)?\}", "x", page.path)
    made = httpx2.Client(base_url=house.url, headers={"Cookie": f"tallystick={token}"}, verify=False)
    house._clients.append(made)
    for headers in FOREIGN:
        foreign = {name: value.replace("{own}", house.url) for name, value in headers.items()}
        answer = made.request(page.method, path, data={"theme": "dark"}, headers=foreign)
        assert answer.status_code == 403, (foreign, answer.text)
        assert "did not come from a page of this server" in answer.text
        assert "set-cookie" not in answer.headers


@pytest.mark.parametrize("headers", FOREIGN, ids=str)
def test_forgery_against_the_api(house: Server, headers: dict[str, str]) -> None:
    """Another site's page could revoke keys with the visitor's session."""
    client = sign_in_once(house)
    foreign = {name: value.replace("{own}", house.url) for name, value in headers.items()}
    made = httpx2.Client(
        base_url=house.url, headers={**foreign, "Cookie": f"tallystick={session_of(client)}"}, verify=False
    )
    house._clients.append(made)
    answer = made.delete("/v1/sessions/ses_x")
    assert answer.status_code == 403
    assert answer.json()["rule"] == "foreign_origin"
    assert client.delete("/v1/sessions/ses_x").status_code == 404, (
        "from our own page the same call gets through"
    )


_kept: dict[str, httpx2.Client] = {}


def sign_in_once(house: Server) -> httpx2.Client:
    """Return one owner's browser for many cases."""
    if house.url not in _kept or _kept[house.url].get("/account").status_code != 200:
        _kept[house.url] = sign_in(house)
    return _kept[house.url]


@pytest.mark.parametrize("page", [page for page in PAGES if page.method == "GET"], ids=lambda page: page.name)
def test_clickjacking_and_scripts(house: Server, page) -> None:
    """A page in somebody's frame could be clicked unseen, or run what an event's text contains."""
    path = re.sub(r"\{organization\}", str(house.organization_id), page.path)
    path = re.sub(r"\{\w+(:path)?\}", "x", path)
    for client in (browser(house), sign_in_once(house)):
        with client.stream("GET", path) as answer:
            # A stream never ends; its head says what a browser may do with it.
            streams = answer.headers.get("content-type", "").startswith("text/event-stream")
            text = "" if streams else answer.read().decode()
        policy = answer.headers["content-security-policy"]
        assert "frame-ancestors" in policy, path
        if "embed" not in path:
            assert "frame-ancestors 'none'" in policy
            assert answer.headers["x-frame-options"] == "DENY"
        assert "default-src 'none'" in policy
        assert "unsafe-inline" not in policy
        assert "unsafe-eval" not in policy
        assert answer.headers["x-content-type-options"] == "nosniff"
        assert answer.headers["referrer-policy"] in ("same-origin", "no-referrer")
        assert "<script>" not in text
        assert " style=" not in text
        assert not re.search(r"<[^>]*\son\w+=", text)


@pytest.mark.parametrize("to", ELSEWHERE)
def test_open_redirect(house: Server, to: str) -> None:
    """A link to our sign-in page would lead to a copy of it elsewhere."""
    if not hasattr(test_open_redirect, "member"):
        add_member(house, "redirected@example.com")
        test_open_redirect.member = True  # type: ignore[attr-defined]
    client = browser(house)
    shown = client.get("/sign-in", params={"to": to})
    assert shown.status_code == 200
    hidden = re.search(r'name="to" value="([^"]*)"', shown.text)
    assert hidden is not None
    assert is_local(hidden[1])
    answer = with_password(client, "redirected@example.com", to=to)
    assert answer.status_code == 303
    assert is_local(answer.headers["location"]), answer.headers["location"]
    assert "planted" not in str(answer.headers)
    assert is_local(client.get("/sign-in", params={"to": to}).headers["location"])
    themed = client.post("/theme", data={"theme": "dark", "to": to})
    assert is_local(themed.headers["location"])


def test_header_injection(house: Server) -> None:
    """A line break in what a person sends would write headers of our answers, or cookies."""
    client = browser(house)
    attempts = {
        "/theme": {"theme": "dark\r\nSet-Cookie: planted=1", "to": "/"},
        "/sign-in": {
            "email": "x@example.com\r\nSet-Cookie: planted=1",
            "password": "y",
            "to": "/\r\nX-Planted: 1",
        },
    }
    for path, form in attempts.items():
        answer = client.post(path, data=form)
        assert answer.status_code in (400, 401)
        assert "planted" not in str(answer.headers).lower()
    raw = house.say(
        b"GET /sign-in?to=/%0d%0aX-Planted:%201 HTTP/1.1\r\nHost: 127.0.0.1\r\nConnection: close\r\n\r\n"
    )
    assert b"x-planted" not in raw.lower().partition(b"\r\n\r\n")[0]


def test_a_strange_host_is_never_written_into_a_link(house: Server) -> None:
    """A link made for a member would lead to whatever the caller named as our host."""
    with house.client() as admin:
        answer = admin.post("/v1/sign-in-links", json={"email": OWNER}, headers={"Host": "evil.example"})
    assert answer.status_code == 400
    assert answer.json()["rule"] == "public_url"
    assert browser(house).get("/sign-in", headers={"Host": "evil.example"}).status_code == 400


def test_oversized_cookies(house: Server) -> None:
    """A browser with too many or too long cookies would get a server error, or keep the server busy."""
    token = session_of(sign_in(house))
    for cookie in (
        "tallystick=" + "A" * 9000,
        ("x=1; " * 2000).strip(),
        "tallystick=" + "\xff" * 100,
        "=;;;=" * 500,
        "tallystick",
    ):
        answer = browser(house).get("/account", headers={"Cookie": cookie.encode("latin-1")})
        assert answer.status_code == 303, cookie[:20]
        assert answer.headers["location"].startswith("/sign-in")
    enormous = browser(house).get("/account", headers={"Cookie": "x=" + "A" * 20_000})
    assert enormous.status_code == 431
    good = browser(house).get("/account", headers={"Cookie": f"{'other=1; ' * 20}tallystick={token}"})
    assert good.status_code == 200


def test_an_oversized_form(house: Server) -> None:
    """A form of any size would be read into memory."""
    answer = browser(house).post("/sign-in", data={"email": "a@example.com", "password": "x" * 70_000})
    assert answer.status_code == 413
    many = browser(house).post("/sign-in", data={f"f{number}": "1" for number in range(300)})
    assert many.status_code == 400
    twice = browser(house).post(
        "/sign-in",
        content="email=a%40example.com&email=b%40example.com&password=x",
        headers={"Content-Type": "application/x-www-form-urlencoded"},
    )
    assert twice.status_code == 400


async def test_refusing_costs_the_same_questions(house: Server, monkeypatch: pytest.MonkeyPatch) -> None:
    """One question more to the database for tokens that were once good would tell them apart on any machine."""
    tokens = {kind: "tss_" + secrets.token_urlsafe(32) for kind in ("unknown", "revoked", "ended", "idle")}
    for kind, revoked, expires, seen in (
        ("revoked", "now()", "now() + interval '1 hour'", "now()"),
        ("ended", "NULL", "now() - interval '1 hour'", "now()"),
        ("idle", "NULL", "now() + interval '1 hour'", "now() - interval '1 hour'"),
    ):
        execute(
            house,
            "INSERT INTO sessions (organization_id, id, sha256, member_id, method, access_version, expires_at, revoked_at, last_seen_at) "
            f"SELECT organization_id, %s, %s, id, 'password', 0, {expires}, {revoked}, {seen} FROM members WHERE email = %s",
            f"ses_{kind}", hashlib.sha256(tokens[kind].encode()).digest(), OWNER,
        )  # fmt: skip
    asked: list[str] = []

    def noted(name: str, real: Callable[..., Awaitable[object]]) -> Callable[..., Awaitable[object]]:
        async def ask(*arguments: object) -> object:
            asked.append(name)
            return await real(*arguments)

        return ask

    for name, real in inspect.getmembers(session_rows, inspect.iscoroutinefunction):
        monkeypatch.setattr(session_rows, name, noted(name, real))
    assert house.database is not None
    pool = await open_pool(house.database, role="owner", size_min=0)
    sessions = Sessions(pool, None, now=lambda: datetime.now(UTC), random=os.urandom)  # pyright: ignore[reportArgumentType] - nothing is recorded here
    try:
        questions = {}
        for kind, token in tokens.items():
            asked.clear()
            with pytest.raises(Unauthorized):
                await sessions.authenticate(token)
            questions[kind] = list(asked)
    finally:
        await pool.close()
    assert questions == {kind: ["find"] for kind in tokens}


def test_unknown_and_revoked_tokens_take_the_same_time_and_answer(house: Server) -> None:
    """A stopwatch, or a byte, would tell which tokens were once good."""
    rounds = []
    # A difference that is ours is there in every round; what a busy machine adds is not.
    for number in range(5):
        one, other = _quick_quarters(house, number)
        rounds.append((one, other))
        if abs(one - other) < 0.0001 + 0.1 * min(one, other):
            return
    raise AssertionError(f"seconds for (revoked, unknown), round by round: {rounds}")


def _quick_quarters(house: Server, number: int) -> tuple[float, float]:
    """Return how long the quicker quarter of refusals took, of revoked tokens and of unknown ones, in seconds."""
    revoked = ["tss_" + secrets.token_urlsafe(32) for _ in range(80)]
    for at, token in enumerate(revoked):
        execute(
            house,
            "INSERT INTO sessions (organization_id, id, sha256, member_id, method, access_version, expires_at, revoked_at) "
            "SELECT organization_id, %s, %s, id, 'password', 0, now() + interval '1 hour', now() FROM members WHERE email = %s",
            f"ses_revoked{number}_{at}", hashlib.sha256(token.encode()).digest(), OWNER,
        )  # fmt: skip
    took: dict[str, list[float]] = {"revoked": [], "unknown": []}
    answers = set()
    with browser(house) as client:
        for token in revoked:
            for kind, one in (("revoked", token), ("unknown", "tss_" + secrets.token_urlsafe(32))):
                started = time.perf_counter()
                answer = client.get("/", headers={"Cookie": f"tallystick={one}"})
                took[kind].append(time.perf_counter() - started)
                answers.add((answer.status_code, answer.headers["location"], answer.text))
    assert len(answers) == 1
    one, other = (statistics.quantiles(times, n=4)[0] for times in took.values())
    return one, other


def test_the_second_factor(house: Server) -> None:
    """A password alone would be enough, or a code somebody looked at would work again."""
    add_member(house, "totp@example.com", "AUDITOR")
    client = sign_in(house, "totp@example.com")
    page = client.get("/account/second-factor").text
    secret = base64.b32decode(re.search(r'<code class="break">([A-Z2-7]+)</code>', page)[1])  # type: ignore[index]
    wrong = client.post("/account/second-factor", data={"code": "000000", "password": PASSWORD})
    assert wrong.status_code == 400
    code = second_factor.code_at(secret, int(time.time() // 30))
    no_password = client.post("/account/second-factor", data={"code": code, "password": "wrong"})
    assert no_password.status_code == 400
    codes = client.post("/account/second-factor", data={"code": code, "password": PASSWORD})
    assert codes.status_code == 200, codes.text
    recovery = re.findall(r"<li>([a-z2-9]{5}-[a-z2-9]{5})</li>", codes.text)
    assert len(recovery) == 10
    kept = execute(
        house, "SELECT totp_secret, recovery_code_hashes FROM members WHERE email = 'totp@example.com'"
    )[0]
    assert secret not in bytes(kept[0])
    assert not set(recovery) & set(kept[1])
    assert events_of(house, "second_factor.enabled")[0]["actor"]["email"] == "totp@example.com"

    fresh = browser(house)
    answer = with_password(fresh, "totp@example.com", to="/account?done=x")
    assert answer.headers["location"] == "/sign-in/code"
    assert session_of(fresh) is None
    assert fresh.get("/account").status_code == 303
    used = fresh.post("/sign-in/code", data={"code": code})
    assert used.status_code == 401, "the code that switched it on was used"
    step = int(time.time() // 30)
    next_code = second_factor.code_at(secret, step + 1)
    done = fresh.post("/sign-in/code", data={"code": next_code})
    assert done.status_code == 303, done.text
    assert done.headers["location"] == "/account?done=x"
    assert fresh.get("/account").status_code == 200
    assert events_of(house, "signin.succeeded")[0]["metadata"]["method"] == "password+totp"

    replay = browser(house)
    with_password(replay, "totp@example.com")
    assert replay.post("/sign-in/code", data={"code": next_code}).status_code == 401
    assert session_of(replay) is None
    assert (
        replay.post("/sign-in/code", data={"code": recovery[0].upper().replace("-", " ")}).status_code == 303
    )
    again = browser(house)
    with_password(again, "totp@example.com")
    assert again.post("/sign-in/code", data={"code": recovery[0]}).status_code == 401
    stranger = browser(house)
    assert stranger.post("/sign-in/code", data={"code": next_code}).headers["location"].startswith("/sign-in")


def test_a_sign_in_under_way_cannot_be_made_or_changed(house: Server) -> None:
    """Whoever writes a cookie could skip the password."""
    for value in ("A" * 80, base64.urlsafe_b64encode(b'{"members":[]}' * 4).decode().rstrip("=")):
        client = browser(house, Cookie=f"tallystick-pending={value}")
        assert client.get("/sign-in/code").status_code == 303
        assert client.post("/sign-in/code", data={"code": "123456"}).status_code == 303
        assert client.get("/sign-in/organization").status_code == 303


def test_guessing_is_slowed_down_for_an_address_and_tells_nothing(servers: Servers, database) -> None:
    """A password could be guessed by trying many; or the lock would tell which accounts exist."""
    server = servers.start(database=database.logins.owner)
    sign_in(server)
    for email in (OWNER, "nobody@example.com"):
        statuses = [
            with_password(browser(server), email, f"guess {number}").status_code for number in range(6)
        ]
        assert statuses == [401] * 5 + [429], email
        right = with_password(browser(server), email)
        assert right.status_code == 429, "the right password tells no more than a wrong one"
        assert "Wait" in right.text
    locked = events_of(server, "signin.locked")
    assert len(locked) == 2
    assert locked[0]["outcome"] == "denied"
    for number in range(15):
        with_password(browser(server), f"one-of-many-{number}@example.com", "guess")
    everywhere = with_password(browser(server), "fresh@example.com", "guess")
    assert everywhere.status_code == 429, "one address tries many accounts"


def test_behind_https_the_cookie_is_bound_to_the_host(servers: Servers, database) -> None:
    """A neighbouring host, or plain http, could read or plant the session's cookie."""
    server = servers.start(
        database=database.logins.owner, environment={"TALLYSTICK_PUBLIC_URL": "https://audit.example.com/"}
    )
    assert "https://audit.example.com/sign-in/link/" in server.log()
    client = browser(server, Origin="https://audit.example.com")
    path = re.search(r"/sign-in/link/\S+", server.log())
    assert path is not None
    form = {"email": OWNER, "name": "Ada", "password": PASSWORD, "again": PASSWORD}
    answer = client.post(path[0], data=form)
    assert answer.status_code == 303, answer.text
    cookie = next(
        one for one in answer.headers.get_list("set-cookie") if one.startswith("__Host-tallystick=")
    )
    assert {"Secure", "HttpOnly", "Path=/", "SameSite=Lax"} <= {part.strip() for part in cookie.split(";")}
    assert "Domain" not in cookie
    token = cookie.partition("=")[2].partition(";")[0]
    assert browser(server, Cookie=f"__Host-tallystick={token}").get("/account").status_code == 200
    assert browser(server, Cookie=f"tallystick={token}").get("/account").status_code == 303
    assert browser(server).post("/sign-in", data={"email": OWNER, "password": PASSWORD}).status_code == 403
