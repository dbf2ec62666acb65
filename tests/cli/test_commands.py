"""The commands as a person runs them, against a running server."""

from __future__ import annotations

import json
import os
import subprocess
import sys
from collections.abc import Callable
from pathlib import Path

import pytest

from server import Server

Run = Callable[..., subprocess.CompletedProcess[str]]


@pytest.fixture
def run(server: Server, tmp_path: Path) -> Run:
    """Runs `tallystick …` in a folder of its own, connected to the running server."""
    environment = {key: value for key, value in os.environ.items() if not key.startswith("TALLYSTICK_")}
    environment |= {"TALLYSTICK_URL": server.url, "TALLYSTICK_API_KEY": server.admin_key, "COLUMNS": "200"}

    def run(*arguments: str, input: str | None = None) -> subprocess.CompletedProcess[str]:
        command = [sys.executable, "-c", "from tallystick.cli import main; main()", *arguments]
        return subprocess.run(
            command, cwd=tmp_path, env=environment, input=input, capture_output=True, text=True, timeout=120
        )

    return run


def test_record_find_export_verify(run: Run, tmp_path: Path) -> None:
    """The main path would break somewhere between recording an event and proving it offline."""
    recorded = run(
        "record", "tour.create", "--actor", "user:usr_tour", "--actor-name", "Tour Guide", "--target", "tour:t1=First",
        "--after", '{"a": 1}', "--receipt", "receipt.txt", "--print-json",
    )  # fmt: skip
    assert recorded.returncode == 0, recorded.stderr
    event_id = json.loads(recorded.stdout)["id"]
    found = run("search", "--user", "tour guide", "--action", "tour", "--json")
    assert event_id in {json.loads(line)["id"] for line in found.stdout.splitlines()}
    assert run("export", "-o", "log.jsonl").returncode == 0
    key = run("keys", "verifier").stdout.strip()
    proven = run("verify", "log.jsonl", "--receipt", "receipt.txt", "--key", key)
    assert (proven.returncode, proven.stdout.strip().splitlines()[-1]) == (0, "PROVEN"), proven.stdout
    forged = (tmp_path / "log.jsonl").read_text().replace("tour.create", "tour.delete")
    (tmp_path / "forged.jsonl").write_text(forged)
    refuted = run("verify", "forged.jsonl")
    assert (refuted.returncode, refuted.stdout.strip().splitlines()[-1]) == (1, "VIOLATED")


def test_import_twice_records_once(run: Run) -> None:
    """Repeating an import would double the log."""
    lines = "\n".join(
        json.dumps({"action": "twice.test", "actor": {"type": "system"}, "metadata": {"n": n}})
        for n in range(30)
    )
    assert run("import", "-", input=lines).stdout.startswith("30 recorded, 0 there already, 0 refused")
    assert run("import", "-", input=lines).stdout.startswith("0 recorded, 30 there already, 0 refused")


def test_import_says_what_it_refused(run: Run) -> None:
    """A line that cannot be recorded would vanish from an import that looks complete."""
    good = json.dumps({"action": "good.one", "actor": {"type": "system"}})
    bad = json.dumps({"action": "bad one", "actor": {"type": "system"}})
    done = run("import", "-", "--rejects", "rejects.jsonl", input=f"{good}\n{bad}\nnonsense\n")
    assert done.returncode == 2
    assert "1 recorded, 0 there already, 2 refused" in done.stdout
    assert "line 2" in done.stderr
    assert "line 3" in done.stderr


def test_errors_are_sentences_with_exit_codes(run: Run) -> None:
    """A user would see a stack trace, or a script would take a failure for success."""
    cases = [
        (("search", "--q", "nonsense:1"), 2),
        (("record", "bad!name"), 2),
        (("--nope",), 2),
        (("search", "--key", "tst_wrong"), 3),
        (("search", "--url", "http://127.0.0.1:9"), 5),
        (("verify", "nowhere.jsonl"), 2),
        (("keys", "revoke", "key_unknown"), 4),
        (("doctor", "--data", "nowhere"), 2),
    ]
    for arguments, code in cases:
        done = run(*arguments)
        assert done.returncode == code, (arguments, done.stdout, done.stderr)
        assert "Traceback" not in done.stderr
        assert done.stderr.strip()


def test_a_key_is_printed_alone_and_works(run: Run) -> None:
    """`KEY=$(tallystick keys create …)` would catch more than the key, or a key that does not work."""
    made = run("keys", "create", "ci", "--permission", "write")
    key = made.stdout.strip()
    assert key.startswith("tst_")
    assert "\n" not in key
    assert run("record", "key.works", "--key", key).returncode == 0
    assert run("search", "--key", key).returncode == 3
    key_id = made.stderr.split()[0]
    assert run("keys", "revoke", key_id).returncode == 0


def test_hostile_names_do_not_reach_the_terminal(run: Run) -> None:
    """A name with escape sequences would recolour or rewrite an investigator's terminal."""
    name = "\x1b[31mred\x1b]0;title\x07\u202eevil"
    event = {"action": "hostile.name", "actor": {"type": "user", "id": "usr_hostile", "name": name}}
    assert run("record", "--json", "-", input=json.dumps(event)).returncode == 0
    shown = run("search", "--actor-id", "usr_hostile").stdout
    assert "\x1b" not in shown
    assert "\u202e" not in shown
    assert "⟨U+001B⟩" in shown


def test_tail_follows(server: Server, run: Run, tmp_path: Path) -> None:
    """A live tail would miss an event recorded while it watches."""
    command = [sys.executable, "-c", "from tallystick.cli import main; main()", "tail", "--json", "--action", "tail.test",
               "--url", server.url, "--key", server.admin_key]  # fmt: skip
    with subprocess.Popen(
        command, stdout=subprocess.PIPE, stderr=subprocess.PIPE, text=True, cwd=tmp_path
    ) as tail:
        try:
            assert tail.stdout is not None
            # Recorded until seen: when the tail has connected is not known from outside.
            for _ in range(40):
                run("record", "tail.test")
                import select

                if select.select([tail.stdout], [], [], 0.5)[0]:
                    break
            assert json.loads(tail.stdout.readline())["action"] == "tail.test"
        finally:
            tail.kill()
