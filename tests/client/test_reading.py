"""Reading back, and testing an application that records."""

from __future__ import annotations

import subprocess
import sys
import threading
from pathlib import Path
from typing import Any

import pytest

import tallystick
from server import Server
from tallystick.errors import NotFound, Refused, Unauthorized
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


def test_importing_is_quick() -> None:
    """Command lines and functions import at every start; most of them record nothing."""
    code = "import sys, time; b = time.process_time(); import tallystick; print(time.process_time() - b); print('msgspec' in sys.modules)"
    runs = [
        subprocess.run([sys.executable, "-c", code], capture_output=True, text=True).stdout.split()
        for _ in range(5)
    ]
    assert min(float(seconds) for seconds, _ in runs) < 0.060
    assert runs[0][1] == "False"


TYPED = """
from typing import assert_type
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
