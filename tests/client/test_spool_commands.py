"""`tallystick spool` as a person runs it."""

from __future__ import annotations

import json
import os
import subprocess
import sys
from collections.abc import Callable
from pathlib import Path
from typing import Any

import tallystick

from .fake import Fake, problem

ADA = tallystick.User("usr_1")
MakeAudit = Callable[..., tallystick.Audit]


def spool(*arguments: str, folder: Path, **environment: str) -> subprocess.CompletedProcess[str]:
    clean = {name: text for name, text in os.environ.items() if not name.startswith("TALLYSTICK_")}
    return subprocess.run(
        [sys.executable, "-c", "from tallystick.cli import main; main()", "spool", *arguments, "--spool", str(folder)],
        env={**clean, "COLUMNS": "200", **environment}, capture_output=True, text=True, timeout=60,
    )  # fmt: skip


def test_status_drain_and_dead_letters(make_audit: MakeAudit, fake: Fake, tmp_path: Path) -> None:
    """Whoever is called at night must see what waits, send it, and decide about what was refused."""
    folder = tmp_path / "spool"
    assert spool("status", folder=folder).returncode == 4
    fake.script = lambda events: (503, {}, b"")
    audit = make_audit(url=fake.url, api_key="k")
    for action in ("a.good", "a.bad", "a.good"):
        audit.record(action, actor=ADA)
    audit.close(0)
    told: dict[str, Any] = json.loads(spool("status", "--json", folder=folder).stdout)
    assert (told["waiting"], told["refused"]) == (3, 0)
    server = {"TALLYSTICK_URL": fake.url, "TALLYSTICK_API_KEY": "k"}
    vain = spool("drain", "--seconds", "0.5", folder=folder, **server)
    assert (vain.returncode, "Nothing is lost" in " ".join(vain.stderr.split())) == (5, True), vain.stderr
    fake.script = lambda events: (
        problem(400, "invalid_field", "no \x1b[31mred")
        if any(e["action"] == "a.bad" for e in events)
        else None
    )
    done = spool("drain", folder=folder, **server)
    assert done.returncode == 0, done.stderr
    assert "1 were refused" in done.stdout
    letters = spool("dead-letters", folder=folder)
    assert "a.bad  invalid_field: no" in letters.stdout
    assert "\x1b" not in letters.stdout
    assert "1 wait again" in spool("dead-letters", "--retry", "all", folder=folder).stdout
    spool("drain", folder=folder, **server)
    assert "1 given up" in spool("dead-letters", "--discard", "all", folder=folder).stdout
    fake.script = lambda events: None
    spool("drain", folder=folder, **server)
    actions = [event["action"] for event in fake.stored.values()]
    assert actions == ["a.good", "a.good", "audit.dead_letter", "audit.dead_letter", "audit.gap"]


def test_a_spool_of_another_key_is_sent_only_when_named(
    make_audit: MakeAudit, fake: Fake, tmp_path: Path
) -> None:
    """After a key was changed its old events must be reachable, and never sent to another organization by themselves."""
    audit = make_audit(url="http://127.0.0.1:9", api_key="old")
    audit.record("a.old", actor=ADA)
    path = audit.recording.delivery.spool.file.path
    assert path is not None
    audit.close(0)
    server = {"TALLYSTICK_URL": fake.url, "TALLYSTICK_API_KEY": "new"}
    assert spool("drain", folder=path.parent, **server).returncode == 4
    assert not fake.stored
    assert spool("drain", "--file", str(path), folder=path.parent, **server).returncode == 0
    assert len(fake.stored) == 1


def test_a_spool_that_is_being_sent_is_left_alone(make_audit: MakeAudit, fake: Fake, tmp_path: Path) -> None:
    """Two senders on one file would send everything twice."""
    fake.script = lambda events: (503, {}, b"")
    audit = make_audit(url=fake.url, api_key="k")
    audit.record("a.b", actor=ADA)
    while not fake.calls:
        pass
    server = {"TALLYSTICK_URL": fake.url, "TALLYSTICK_API_KEY": "k"}
    refused = spool("drain", folder=tmp_path / "spool", **server)
    assert (refused.returncode, "already" in refused.stderr) == (5, True)
