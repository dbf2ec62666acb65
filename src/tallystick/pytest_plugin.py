"""pytest: the fixture `audit_events`, which catches what is recorded before it touches a disk or a network.

def test_creating_a_key(audit_events):
    create_key()
    audit_events.assert_recorded("api_key.create", actor="usr_1")

And what a whole run recorded: `--audit-seen=FILE` writes it down, `--audit-coverage=module:app` holds the application's
routes, models and permissions against it, `--audit-coverage-min=90` fails the run where too little can leave an event.
"""

from __future__ import annotations

import functools
import json
from pathlib import Path
from typing import TYPE_CHECKING, Any, Final

import pytest

if TYPE_CHECKING:
    from tallystick.coverage.part import Coverage
    from tallystick.coverage.seen import Seen

_OPTIONS: Final = (
    ("--audit-seen", "FILE", "write down what tests recorded"),
    ("--audit-coverage", "MODULE:APP", "tell which routes of the application can never leave an event"),
    ("--audit-coverage-permissions", "MODULE:NAMES", "and which of these permissions"),
    ("--audit-coverage-json", "FILE", "write the whole report"),
)


class AuditEvents(list[dict[str, Any]]):
    """The events recorded during a test, as they would be sent: checked and redacted."""

    def matching(
        self,
        action: str,
        *,
        actor: str | None = None,
        target: str | None = None,
        outcome: str | None = None,
        workspace: str | None = None,
    ) -> list[dict[str, Any]]:
        """Return the events of an action; `actor` and `target` are ids."""
        return [
            event
            for event in self
            if event["action"] == action
            and actor in (None, event["actor"].get("id"))
            and (target is None or target in [one["id"] for one in event.get("targets", ())])
            and outcome in (None, event.get("outcome", "success"))
            and workspace in (None, event.get("workspace"))
        ]

    def assert_recorded(self, action: str, *, times: int | None = None, **more: Any) -> dict[str, Any]:
        """Fail unless such an event was recorded (exactly `times` times, if given); return the last one."""
        found = self.matching(action, **more)
        wanted = f"{action} {more or ''}".strip()
        if not found or (times is not None and len(found) != times):
            recorded = "\n".join(f"  {_line(event)}" for event in self) or "  nothing"
            often = "" if times is None else f" {times} times but {len(found)}"
            pytest.fail(f"{wanted} was not recorded{often}; recorded was:\n{recorded}", pytrace=False)
        return found[-1]

    def assert_not_recorded(self, action: str, **more: Any) -> None:
        """Fail if such an event was recorded."""
        found = self.matching(action, **more)
        if found:
            pytest.fail(f"{action} was recorded: {_line(found[-1])}", pytrace=False)


def _line(event: dict[str, Any]) -> str:
    who = event["actor"].get("id") or event["actor"]["type"]
    what = ", ".join(f"{one['type']} {one['id']}" for one in event.get("targets", ())) or "—"
    return f"{event['action']}  by {who}  on {what}  {event.get('outcome', 'success')}"


@pytest.fixture
def audit_events(monkeypatch: pytest.MonkeyPatch) -> AuditEvents:
    """Everything that is recorded in this test, instead of a spool and a server."""
    from tallystick.client.delivery import Delivery
    from tallystick.client.transport import Committed

    events = AuditEvents()

    def put(self: Delivery, id: str, raw: bytes) -> bool:
        events.append(json.loads(raw))
        return True

    def put_soon(self: Delivery, id: str, raw: bytes, done: Any) -> None:
        events.append(json.loads(raw))
        done(None)

    def confirm(self: Delivery, id: str, raw: bytes, timeout_seconds: float) -> Committed:
        return Committed(id=id, position=len(events) - 1, received_at=events[-1]["occurred_at"], receipt="")

    for name, instead in (("put", put), ("attempt", put), ("put_soon", put_soon), ("confirm", confirm)):
        monkeypatch.setattr(Delivery, name, instead)
    return events


# What a whole run recorded


def pytest_addoption(parser: pytest.Parser) -> None:
    """Add the options of the report."""
    group = parser.getgroup("tallystick", "what an application records")
    for name, metavar, help in _OPTIONS:
        group.addoption(name, metavar=metavar, default=None, help=help)
    group.addoption(
        "--audit-coverage-models",
        metavar="MODULE:BASE",
        action="append",
        default=[],
        help="and which models; or `django`",
    )
    group.addoption(
        "--audit-coverage-min", metavar="PERCENT", type=float, default=None, help="fail the run below this"
    )
    group.addoption("--audit-coverage-reads", action="store_true", help="ask of what only reads, too")


def pytest_configure(config: pytest.Config) -> None:
    """Watch what is recorded, where anybody wants to know."""
    option = config.option
    if (
        option.audit_seen
        or option.audit_coverage
        or option.audit_coverage_models
        or option.audit_coverage_permissions
    ):
        config.pluginmanager.register(_Watch(config), "tallystick-watch")


class _Watch:
    """Watches one run; in workers of pytest-xdist it hands what it saw to the one that began them."""

    def __init__(self, config: pytest.Config) -> None:
        from tallystick.coverage.seen import Seen

        self._config = config
        self._seen: Seen = Seen()
        self._found: Coverage | None = None
        self._instead = pytest.MonkeyPatch()
        self._listen()

    def _listen(self) -> None:
        from tallystick.client.recorder import Recorder

        inner = Recorder.event

        @functools.wraps(inner)
        def event(recorder: Recorder, *args: Any, **kwargs: Any) -> tuple[str, bytes]:
            id, raw = inner(recorder, *args, **kwargs)
            self._seen.note(raw)
            return id, raw

        self._instead.setattr(Recorder, "event", event)

    @pytest.hookimpl(optionalhook=True)
    def pytest_testnodedown(self, node: Any, error: Any) -> None:
        """Take over what a worker saw."""
        said = getattr(node, "workeroutput", {}).get("tallystick_seen")
        if said is not None:
            self._seen.add(said)

    @pytest.hookimpl(trylast=True)
    def pytest_sessionfinish(self, session: pytest.Session) -> None:
        """Write down, measure, and fail where too little can leave an event."""
        self._instead.undo()
        output = getattr(self._config, "workeroutput", None)
        if output is not None:
            output["tallystick_seen"] = self._seen.as_json()
            return
        option = self._config.option
        if option.audit_seen:
            Path(option.audit_seen).write_text(json.dumps(self._seen.as_json(), indent=1) + "\n")
        self._found = self._measured()
        if self._found is None:
            return
        if option.audit_coverage_json:
            Path(option.audit_coverage_json).write_text(json.dumps(self._found.as_json(), indent=1) + "\n")
        if self._found.below(option.audit_coverage_min or 0.0) and session.exitstatus == 0:
            session.exitstatus = pytest.ExitCode.TESTS_FAILED

    def _measured(self) -> Coverage | None:
        from tallystick.coverage.measure import measure, named

        option = self._config.option
        names = option.audit_coverage, option.audit_coverage_permissions
        if not any(names) and not option.audit_coverage_models:
            return None
        app, permissions = (None if name is None else named(name) for name in names)
        models = [one if one == "django" else named(one) for one in option.audit_coverage_models]
        return measure(
            app=app,
            models=models,
            permissions=permissions or (),
            seen=self._seen,
            reads=option.audit_coverage_reads,
        )

    def pytest_terminal_summary(self, terminalreporter: Any) -> None:
        """Show the table."""
        if self._found is None:
            return
        least = self._config.option.audit_coverage_min
        terminalreporter.section("audit coverage")
        terminalreporter.write_line(self._found.as_text())
        if least is not None and (short := self._found.below(least)):
            kinds = ", ".join(f"{kind}s" for kind in short)
            terminalreporter.write_line(f"FAILED: less than {least:g} % of {kinds}", red=True)
