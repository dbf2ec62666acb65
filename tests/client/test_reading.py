"""Reading back, and testing an application that records."""

from __future__ import annotations

import os
import subprocess
import sys
import threading
import time
from pathlib import Path
from typing import Any

import pytest

import tallystick
from server import Server
from tallystick.errors import Misconfigured, NotFound, Refused, Tampered, Unauthorized
from tallystick.pytest_plugin import AuditEvents, audit_events  # noqa: F401  (as an installed plugin brings it)

ADA = tallystick.User("usr_1", name="Ada")


@pytest.fixture
def client(server: Server) -> Any:
    made = tallystick.Client(url=server.url, api_key=server.admin_key)
    yield made
    made.close()


def test_every_page_of_a_search(audit: tallystick.Audit, client: tallystick.Client) -> None:
    """An iterator that stops after the first page would make a report that looks complete."""
    for number in range(1_203):
        audit.record(
            "reading.page", actor=ADA, target=tallystick.Target("n", str(number)), after={"n": number}
        )
    assert audit.flush(30)
    events = client.events(action="^reading.page", order="oldest")
    assert [event["after"]["n"] for event in events] == list(range(1_203))
    assert events.count() == 1_203
    one = next(iter(client.events(action=["^reading.page", "^nothing"], outcome="success")))
    assert client.event(one["id"], proof=True)["proof"].startswith("c2sp.org/tlog-proof@v1")
    table = events.to_columns()
    assert (len(table["id"]), table["target_id"][7], table["after"][7]) == (1_203, "7", '{"n": 7}')
    assert table["actor_name"][0] == "Ada"


@pytest.mark.parametrize("library", ["pandas", "polars", "arrow"])
def test_tables(audit: tallystick.Audit, client: tallystick.Client, library: str) -> None:
    """Analysts have tools of their own; every row and column must arrive in them."""
    pytest.importorskip({"arrow": "pyarrow"}.get(library, library), reason=f"{library} is not installed")
    audit.record(f"reading.{library}", actor=ADA, after={"n": 1})
    audit.record(f"reading.{library}", actor=tallystick.System())
    assert audit.flush(10)
    table = getattr(client.events(action=f"reading.{library}"), f"to_{library}")()
    assert len(table) == 2
    assert "actor_id" in (table.column_names if library == "arrow" else table.columns)


def test_tables_of_nothing(client: tallystick.Client) -> None:
    """A report of a quiet week must have its columns, with their types."""
    pyarrow = pytest.importorskip("pyarrow", reason="pyarrow is not installed")
    none = client.events(action="^reading.never")
    assert none.to_arrow().schema.field("position").type == pyarrow.int64()
    assert str(none.to_polars().schema["occurred_at"]) == "Datetime(time_unit='us', time_zone='UTC')"
    assert str(none.to_pandas().dtypes["received_at"]) == "datetime64[us, UTC]"


def test_parquet(
    audit: tallystick.Audit, client: tallystick.Client, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    """A file for a lake must hold every row in several groups, with times that are times."""
    parquet = pytest.importorskip("pyarrow.parquet", reason="pyarrow is not installed")
    monkeypatch.setattr("tallystick.reading.table.ROW_GROUP", 3)
    for number in range(7):
        audit.record("reading.parquet", actor=ADA, after={"n": number})
    assert audit.flush(30)
    events = client.events(action="^reading.parquet", order="oldest")
    assert events.to_parquet(tmp_path / "x.parquet") == 7
    table = parquet.read_table(tmp_path / "x.parquet")
    assert table.column("after").to_pylist() == [f'{{"n": {number}}}' for number in range(7)]
    assert table.column("occurred_at").to_pylist()[0].tzinfo is not None


# Checking


def test_what_was_fetched_is_checked_here(audit: tallystick.Audit, server: Server) -> None:
    """A proof must stand on the pinned key and on what was kept before, and say what it leaves open without them."""
    audit.record("reading.proof", actor=ADA, wait=True)
    key = server.verifier.format()
    with tallystick.Client(url=server.url, api_key=server.admin_key, verifier_key=key) as client:
        first = client.verify(action="^reading.proof").raise_if_broken()
        receipt = audit.record("reading.proof", actor=ADA, wait=True).receipt
        again = client.verify(known=[first.checkpoint, receipt], range="7d").raise_if_broken()
    assert again.checkpoint.split("\n")[0] == first.checkpoint.split("\n")[0]
    assert int(again.checkpoint.split("\n")[1]) > int(first.checkpoint.split("\n")[1])
    with tallystick.Client(url=server.url, api_key=server.admin_key) as client:
        unpinned = client.verify(action="^reading.proof").raise_if_broken()
    assert len(unpinned.not_proven) > len(again.not_proven)


def test_a_server_that_lies_is_caught(audit: tallystick.Audit, server: Server) -> None:
    """An event changed on the way, another key or a log that was begun anew must not pass for proven."""
    from tallystick.merkle.keys import SignerKey
    from tallystick.reading.verified import check

    audit.record("reading.lie", actor=ADA, after={"amount": 100}, wait=True)
    with server.client() as http:
        honest = http.get("/v1/export", params={"format": "jsonl", "action": "^reading.lie"}).content
    key = server.verifier.format()
    assert check([honest], key=key, known=()).raise_if_broken().verdict == "proven"
    forged = check([honest.replace(b'"amount":100', b'"amount":900')], key=key, known=())
    with pytest.raises(Tampered, match="contradicts itself"):
        forged.raise_if_broken()
    other = SignerKey(server.verifier.name, bytes(32)).verifier.format()
    with pytest.raises((Tampered, Misconfigured)):
        check([honest], key=other, known=()).raise_if_broken()
    with pytest.raises(Misconfigured, match="could not be checked"):
        check([b"not an export"], key=key, known=()).raise_if_broken()
    cut = check([honest[: len(honest) // 2]], key=key, known=())
    with pytest.raises((Tampered, Misconfigured)):
        cut.raise_if_broken()


# From an event loop


async def test_the_async_client(audit: tallystick.Audit, server: Server, tmp_path: Path) -> None:
    """Pages, tables, following, checking and viewers must be the same without holding up a loop."""
    for number in range(3):
        audit.record("reading.async", actor=ADA, after={"n": number}, wait=True)
    key = server.verifier.format()
    async with tallystick.AsyncClient(url=server.url, api_key=server.admin_key, verifier_key=key) as client:
        events = client.events(action="^reading.async", order="oldest")
        found = [event async for event in events]
        assert [event["after"]["n"] for event in found] == [0, 1, 2]
        assert await events.count() == 3
        assert (
            len(await events.to_pandas())
            == len(await events.to_polars())
            == len(await events.to_arrow())
            == 3
        )
        assert await events.to_parquet(tmp_path / "x.parquet") == 3
        assert (await client.event(found[0]["id"], proof=True))["proof"].startswith("c2sp.org/")
        seen: list[int] = []
        async for event in client.tail(after=found[0]["position"], action="^reading.async"):
            seen.append(event["after"]["n"])
            if len(seen) == 2:
                break
        assert seen == [1, 2]
        (await client.verify(action="^reading.async")).raise_if_broken()
        made = await client.viewer_sessions.create(tenant="ws_reading")
        assert made.id in [one["id"] for one in await client.viewer_sessions.list()]
        await client.viewer_sessions.revoke(made.id)
        with pytest.raises(NotFound):
            await client.event("01890a5d-ac96-774b-bcce-b302099a8057")
        with pytest.raises(Refused):
            await client.verify(no_such_filter="x")


def count_for(seconds: float, client: tallystick.Client) -> None:
    """Read until it is refused, or time is over."""
    end = time.monotonic() + seconds
    while time.monotonic() < end:
        client.events(action="^reading.mine").count()
        time.sleep(0.1)


def test_viewer_sessions(audit: tallystick.Audit, client: tallystick.Client, server: Server) -> None:
    """A customer's token must show that customer's events, open the embedded viewer, and end when it is revoked."""
    audit.record("reading.mine", actor=ADA, workspace="ws_mine", wait=True)
    audit.record("reading.mine", actor=ADA, workspace="ws_other", wait=True)
    made = client.viewer_sessions.create(tenant="ws_mine", name="customer 7", expires_in_seconds=60)
    assert made.url.startswith(f"{server.url}/embed?token=vwt_")
    assert made.expires_at.tzinfo is not None
    with server.client(made.token) as http:
        session = http.post("/v1/viewer-sessions:exchange").json()["token"]
    with tallystick.Client(url=server.url, api_key=session) as theirs:
        assert {event["workspace"] for event in theirs.events(action="^reading.mine")} == {"ws_mine"}
    client.viewer_sessions.revoke(made.id)
    with tallystick.Client(url=server.url, api_key=session) as theirs, pytest.raises(Unauthorized):
        count_for(60, theirs)
    with pytest.raises(Refused):
        client.viewer_sessions.create()


def test_errors_are_told(client: tallystick.Client, server: Server) -> None:
    """A filter with a mistake must not become an empty report."""
    with pytest.raises(Refused):
        list(client.events(no_such_filter="x"))
    with pytest.raises(NotFound):
        client.event("01890a5d-ac96-774b-bcce-b302099a8057")
    with pytest.raises(Unauthorized):
        list(tallystick.Client(url=server.url, api_key="tst_wrong").events())


def test_following(audit: tallystick.Audit, client: tallystick.Client) -> None:
    """What happens now must be seen now, and only what was asked for."""
    seen: list[str] = []
    ready, done = threading.Event(), threading.Event()

    def follow() -> None:
        newest = next(iter(client.events()), None)
        stream = client.tail(after=newest["position"] if newest else -1, action="^reading.live")
        ready.set()
        for event in stream:
            seen.append(event["id"])
            if len(seen) == 3:
                done.set()
                return

    thread = threading.Thread(target=follow, daemon=True)
    thread.start()
    assert ready.wait(10)
    ids = []
    for _ in range(3):
        ids.append(audit.record("reading.live", actor=ADA).id)
        audit.record("reading.other", actor=ADA)
    assert audit.flush(10)
    assert done.wait(20)
    assert seen == ids


# The pytest plugin


def test_what_a_test_sees(audit_events: AuditEvents, tmp_path: Path) -> None:  # noqa: F811
    """A test must see what would be sent, and nothing must be sent."""
    audit = tallystick.Audit(url="http://127.0.0.1:9", spool=tmp_path)
    audit.record(
        "key.create", actor=ADA, target=tallystick.Target("key", "k1"), after={"password": "hunter2hunter2"}
    )
    assert audit.record("key.delete", actor=ADA, wait=True).position == 1
    created = audit_events.assert_recorded("key.create", actor="usr_1", target="k1", times=1)
    assert "hunter2" not in str(created)
    audit_events.assert_not_recorded("key.create", actor="somebody")
    assert audit.stats().queued == 0
    with pytest.raises(pytest.fail.Exception, match=r"key\.delete  by usr_1"):
        audit_events.assert_recorded("key.rotate")
    with pytest.raises(pytest.fail.Exception, match="was recorded"):
        audit_events.assert_not_recorded("key.delete")
    audit.close(0)


async def test_what_an_async_test_sees(audit_events: AuditEvents, tmp_path: Path) -> None:  # noqa: F811
    """The same from an event loop, in every profile."""
    for profile in ("durable", "fast"):
        audit = tallystick.AsyncAudit(url="http://127.0.0.1:9", spool=tmp_path, profile=profile)  # type: ignore[arg-type]
        await audit.record("key.create", actor=ADA)
        await audit.close(0)
    audit_events.assert_recorded("key.create", times=2)


# What an installation brings


ONLY_THE_SDK = """
import sys
allowed = {"tallystick", "msgspec", "httpx2", "httpcore2", "anyio", "h11", "idna", "certifi", "truststore", "sniffio",
           "typing_extensions", *sys.stdlib_module_names}
class Guard:
    def find_spec(self, name, path=None, target=None):
        if name.partition(".")[0] not in allowed:
            raise ImportError(f"{name} does not come with the SDK")
sys.meta_path.insert(0, Guard())
import tallystick
audit = tallystick.Audit(spool=sys.argv[3], url=sys.argv[1], api_key=sys.argv[2])
audit.record("sdk.alone", actor=tallystick.User("u", name="x"), after={"password": 1.5e-7, "\\U0001f600": {"token": [1.5]}})
print(audit.record("sdk.alone", actor=tallystick.System(), wait=True).position)
assert audit.flush(10)
assert not [name for name in sys.modules if name.startswith("tallystick.store")]
"""


def test_the_sdk_alone(server: Server, tmp_path: Path) -> None:
    """`pip install tallystick` must be enough to record, redaction and proof included."""
    done = subprocess.run(
        [sys.executable, "-c", ONLY_THE_SDK, server.url, server.write_key, str(tmp_path)],
        capture_output=True, text=True, timeout=60,
    )  # fmt: skip
    assert done.returncode == 0, done.stderr
    assert done.stdout.strip().isdigit()


# What recording needs at last, and what must not come along before it is needed: a start is paid for by everybody.
IMPORTS = """
import sys
before = set(sys.modules)
import tallystick
first = set(sys.modules) - before
audit = tallystick.Audit(profile="memory")
audit.record("import.test", actor=tallystick.User("u"))
later = set(sys.modules) - before
print(sorted({name.partition(".")[0] for name in first} - sys.stdlib_module_names))
print([name for name in ("asyncio", "httpx2", "inspect", "ssl", "sqlite3", "pydantic", "cryptography") if name in first])
print([name for name in ("httpx2", "pydantic", "cryptography", "asyncio", "email.utils") if name in later])
audit.close(0)
"""


def test_importing_brings_little() -> None:
    """Command lines and functions import at every start; most of them record nothing. (How long it takes: bench/sdk_speed.)"""
    clean = {name: text for name, text in os.environ.items() if not name.startswith(("TALLYSTICK_", "COV"))}
    done = subprocess.run(
        [sys.executable, "-c", IMPORTS], capture_output=True, text=True, timeout=60, env=clean
    )
    assert done.stdout.splitlines() == ["['tallystick']", "[]", "[]"], done.stderr


# The wheel


def test_the_wheel_in_an_empty_environment(tmp_path: Path) -> None:
    """Without extras, without a compiler: what is built must be all that recording needs, types included."""
    uv = Path(sys.executable).with_name("uv")
    root = Path(__file__).parents[2]
    env = {**os.environ, "CC": "/bin/false", "CXX": "/bin/false", "SETUPTOOLS_SCM_PRETEND_VERSION": "0"}

    def run(*command: str | Path) -> str:
        done = subprocess.run(
            [str(one) for one in command], capture_output=True, text=True, timeout=150, env=env, cwd=tmp_path
        )
        assert done.returncode == 0, f"{command}\n{done.stdout}\n{done.stderr}"
        return done.stdout

    run(
        uv,
        "build",
        "--quiet",
        "--wheel",
        "--no-build-isolation",
        "--python",
        sys.executable,
        "-o",
        tmp_path / "dist",
        root,
    )
    (wheel,) = (tmp_path / "dist").glob("tallystick-*-py3-none-any.whl")
    python = tmp_path / "empty" / "bin" / "python"
    run(uv, "venv", "--quiet", "--python", sys.executable, tmp_path / "empty")
    run(uv, "pip", "install", "--quiet", "--python", python, "--only-binary", ":all:", wheel)
    brought = {line.partition("==")[0] for line in run(uv, "pip", "freeze", "--python", python).splitlines()}
    assert {"msgspec", "httpx2"} <= {name.partition(" ")[0] for name in brought}
    assert not brought & {"asyncpg", "starlette", "cryptography", "click", "pydantic"}
    code = (
        "import tallystick; audit = tallystick.Audit(profile='memory', exit_seconds=0); "
        "print(audit.record('wheel.test', actor=tallystick.User('u')).durable); "
        "from importlib.resources import files; print(files('tallystick').joinpath('py.typed').is_file()); "
        "import tallystick.asgi, tallystick.wsgi, tallystick.logging, tallystick.coverage.measure; "
        "tallystick.Client(url='http://127.0.0.1:9', api_key='k').close()"
    )
    assert run(python, "-c", code).split() == ["False", "True"]


TYPED = """
from typing import Any, Literal, assert_type
import tallystick
from tallystick import Audit, AsyncAudit, Committed, Receipt, Target, User, Actor
audit = Audit()
assert_type(audit.record("x.y", actor=User("u")), Receipt)
assert_type(audit.record("x.y", wait=True), Committed)
assert_type(audit.stats().queued, int)
@audit.audited("x.y")
def work(a: int, *, b: str = "") -> list[int]: ...
assert_type(work(1, b="x"), list[int])
@audit.audited("x.y", target=lambda a, **_: Target("t", a))
async def later(a: str) -> bool: ...
async def main(twin: AsyncAudit) -> None:
    assert_type(await later("x"), bool)
    assert_type(await twin.record("x.y"), Receipt)
    assert_type(await twin.record("x.y", wait=True), Committed)
    async with twin.action("x.y") as event:
        assert_type(event, tallystick.Draft)
with audit.action("x.y", actor=User("u")) as event:
    assert_type(event, tallystick.Draft)
    event.outcome = "denied"
audit.record("x.y", actr=User("u"))  # error
import pandas, polars, pyarrow
client = tallystick.Client()
assert_type(client.event("x", proof=True), dict[str, Any])
for found in client.events(action=["a", "b"], range="7d"):
    assert_type(found, dict[str, Any])
assert_type(client.events().count(), int)
assert_type(client.events().to_pandas(), pandas.DataFrame)
assert_type(client.events().to_polars(), polars.DataFrame)
assert_type(client.events().to_arrow(), pyarrow.Table)
assert_type(client.events().to_parquet("x"), int)
assert_type(next(client.tail()), dict[str, Any])
assert_type(client.verify(range="30d", known=["x"]).raise_if_broken(), tallystick.Verified)
assert_type(client.viewer_sessions.create(tenant="x", origins=["https://x"]), tallystick.ViewerSession)
async def read(twin: tallystick.AsyncClient) -> None:
    async for found in twin.events():
        assert_type(found, dict[str, Any])
    async for found in twin.tail(after=3):
        assert_type(found, dict[str, Any])
    assert_type(await twin.events().to_polars(), polars.DataFrame)
    assert_type((await twin.verify()).verdict, Literal["proven", "violated", "unchecked"])
    assert_type(await twin.viewer_sessions.create(actor="u"), tallystick.ViewerSession)
actor: Actor = tallystick.Agent("bot", model="m", on_behalf_of=User("u", name="Ada"))
assert_type(User("u").email, str | None)
assert_type(audit.compose("x.y", actor=actor), tuple[str, bytes])
assert_type(audit.flush(), bool)
client.verify(known="a text and not a list of them", wrong=object())  # error
User("u", model="m")  # error
User(name="x")  # error
audit.record("x.y", outcome="ok")  # error
work("x")  # error
"""


def test_types_of_the_public_surface(tmp_path: Path) -> None:
    """An editor must know what comes back, and that a misspelt argument is one."""
    program = tmp_path / "typed.py"
    program.write_text(TYPED)
    (tmp_path / "pyrightconfig.json").write_text('{"typeCheckingMode": "standard", "pythonVersion": "3.11"}')
    checker = Path(sys.executable).with_name("basedpyright")
    told = subprocess.run(
        [str(checker), "--level", "error", "--pythonpath", sys.executable, "-p", str(tmp_path), str(program)],
        capture_output=True, text=True, timeout=120, cwd=tmp_path,
    ).stdout  # fmt: skip
    wrong = [number for number, line in enumerate(TYPED.splitlines(), 1) if line.endswith("# error")]
    found = {
        int(line.split("typed.py:")[1].split(":")[0]) for line in told.splitlines() if "typed.py:" in line
    }
    assert found == set(wrong), told
