"""An application killed at random points, behind a network that fails at random: does anything get lost?

`python -m tests.client.crashes --runs 200` runs it in full and prints a table; the test suite runs it short.
What must hold: every event that `record` has returned for is in the log exactly once, or counted in a gap.
"""

from __future__ import annotations

import argparse
import os
import random
import secrets
import subprocess
import sys
import tempfile
import threading
import time
from collections import Counter
from collections.abc import Callable, Iterator
from contextlib import contextmanager, suppress
from dataclasses import dataclass, field
from http.server import BaseHTTPRequestHandler, ThreadingHTTPServer
from pathlib import Path
from typing import Any

import httpx2

from tallystick.event.leaf import LeafProducer, LeafSpan
from tallystick.event.numbering import Numbering
from tallystick.event.numbering import sentence as gap_sentence

APP = Path(__file__).with_name("crash_app.py")
ACTION = "crash.act"
GAP = "audit.gap"
NUMBERS_PER_RUN = 100_000
SPOOL_OF = {"block": "spool", "drop_oldest": "small"}


@dataclass
class Outcome:
    """What came of it."""

    runs: int = 0
    kills: int = 0
    attempted: set[int] = field(default_factory=set)
    acknowledged: set[int] = field(default_factory=set)
    stored: Counter[int] = field(default_factory=Counter)
    gaps: int = 0
    answers_lost: int = 0
    refused: int = 0
    dead: int = 0
    numbers: dict[tuple[str, str], Numbering] = field(default_factory=dict)

    @property
    def missing(self) -> set[int]:
        """Events that `record` returned for and the log does not hold."""
        return self.acknowledged - self.stored.keys()

    @property
    def duplicates(self) -> int:
        """Events that are in the log more than once."""
        return sum(times - 1 for times in self.stored.values())

    def violations(self) -> list[str]:
        """Return what did not hold, as sentences."""
        found: list[str] = []
        gone = self.attempted - self.stored.keys()
        if not len(self.missing) <= self.gaps <= len(gone):
            found.append(
                f"{len(self.missing)} acknowledged events are missing, and the gaps count {self.gaps}"
            )
        if self.duplicates:
            found.append(f"{self.duplicates} events are in the log more than once")
        if unknown := self.stored.keys() - self.attempted:
            found.append(f"{len(unknown)} events are in the log that nobody recorded")
        for (producer, _), account in self.numbers.items():
            if account.missing_count:
                found.append(gap_sentence(producer, account.missing, account.missing_count))
            if account.conflicts:
                found.append(f"{account.conflicts} numbers of {producer} came twice")
        if self.dead:
            found.append(f"{self.dead} events became dead letters")
        return found

    def table(self) -> str:
        """Return the numbers as a table in Markdown."""
        rows = {
            "runs": self.runs, "killed with SIGKILL": self.kills, "answers lost after the commit": self.answers_lost,
            "calls refused (outage)": self.refused, "events submitted": len(self.attempted),
            "acknowledged by record()": len(self.acknowledged), "in the log": len(self.stored),
            "counted in gaps": self.gaps, "acknowledged, missing and not counted": max(0, len(self.missing) - self.gaps),
            "duplicates": self.duplicates,
            "numbers missing and not declared": sum(one.missing_count for one in self.numbers.values()),
        }  # fmt: skip
        return "\n".join(
            ["| | |", "|---|---:|", *(f"| {name} | {number} |" for name, number in rows.items())]
        )


class Network:
    """Stands before the real server and loses calls on the way there and answers on the way back."""

    def __init__(self, target: str, chance: random.Random) -> None:
        self._client = httpx2.Client(base_url=target, timeout=30.0, verify=False)
        self._chance = chance
        self.trouble = 0.3
        self.down = False
        self.lose_next = False
        self.answers_lost = 0
        self.refused = 0

    def pass_on(self, path: str, headers: dict[str, str], body: bytes) -> tuple[int, bytes, str] | None:
        """Return the server's answer, or None where the connection is to be cut."""
        dice = self._chance.random()
        if self.down or dice < self.trouble / 3:
            self.refused += 1
            return 503, b"", ""
        if dice < self.trouble / 2:
            return None
        kept = {
            name: headers[name]
            for name in ("Authorization", "Content-Type", "Content-Encoding")
            if name in headers
        }
        answer = self._client.post(path, content=body, headers=kept)
        if dice < self.trouble or self.lose_next:
            self.lose_next = False
            self.answers_lost += 1
            return None
        return answer.status_code, answer.content, answer.headers.get("content-type", "")


@contextmanager
def network(target: str, chance: random.Random) -> Iterator[tuple[Network, str]]:
    """Run a network before `target`; gives it and its address."""
    between = Network(target, chance)

    class Handler(BaseHTTPRequestHandler):
        protocol_version = "HTTP/1.1"

        def do_POST(self) -> None:
            body = self.rfile.read(int(self.headers["Content-Length"]))
            passed = between.pass_on(self.path, dict(self.headers), body)
            if passed is None:
                self.close_connection = True
                return
            status, content, kind = passed
            self.send_response_only(status)
            self.send_header("Content-Type", kind)
            self.send_header("Content-Length", str(len(content)))
            self.end_headers()
            self.wfile.write(content)

        def log_message(self, format: str, *args: Any) -> None:
            pass

        def handle(self) -> None:
            with suppress(OSError):  # the application was killed while it was being answered
                super().handle()

    server = ThreadingHTTPServer(("127.0.0.1", 0), Handler)
    server.daemon_threads = True
    threading.Thread(target=server.serve_forever, args=(0.01,), daemon=True).start()
    try:
        yield between, f"http://127.0.0.1:{server.server_address[1]}"
    finally:
        server.shutdown()
        server.server_close()


def crash(
    runs: int, url: str, key: str, read_key: str, folder: Path, *, seed: int, mutant: str = "", trouble: float = 0.3,
    say: Callable[[str], None] = lambda sentence: None,
) -> Outcome:  # fmt: skip
    """Start and kill the application `runs` times, drain what is left, and count what the log at `url` holds."""
    chance = random.Random(seed)
    outcome = Outcome(runs=runs)
    # The log may hold the events of an earlier crash(). Longer numbers can look like those of payment cards, and be hidden.
    offset = secrets.randbelow(10**7) * NUMBERS_PER_RUN
    with network(url, chance) as (between, address):
        between.trouble = trouble
        for run in range(runs):
            policy = "drop_oldest" if chance.random() < 0.25 else "block"
            between.down = policy == "drop_oldest" or chance.random() < 0.2
            outcome.kills += _run_once(
                folder, address, key, chance, offset + run * NUMBERS_PER_RUN, policy, mutant
            )
            if run % 20 == 19:
                say(f"{run + 1} of {runs} runs, {between.answers_lost} answers lost")
        between.down = False
        between.trouble = 0.0
        for spool in SPOOL_OF.values():
            between.lose_next = (
                True  # at least one answer is lost in every run of this, whatever the dice say
            )
            outcome.dead += _drain(folder, address, key, spool, mutant)
    outcome.answers_lost, outcome.refused = between.answers_lost, between.refused
    _read_journal(folder / "journal", outcome)
    _read_log(url, read_key, outcome)
    return outcome


def _environment(folder: Path, address: str, key: str, spool: str) -> dict[str, str]:
    clean = {name: text for name, text in os.environ.items() if not name.startswith("TALLYSTICK_")}
    return clean | {
        "TALLYSTICK_URL": address,
        "TALLYSTICK_API_KEY": key,
        "TALLYSTICK_SPOOL": str(folder / spool),
    }


def _start(folder: Path, address: str, key: str, spool: str, *arguments: str) -> subprocess.Popen[bytes]:
    command = [sys.executable, str(APP), str(folder / "journal"), *arguments]
    return subprocess.Popen(command, env=_environment(folder, address, key, spool), stdout=subprocess.PIPE)


def _run_once(
    folder: Path, address: str, key: str, chance: random.Random, first: int, policy: str, mutant: str
) -> int:
    """Run the application once; return 1 when it was killed, 0 when it ended before that."""
    number = chance.choice([3, 30, 200, 2_000] if policy == "block" else [200, 400])
    threads, profile = chance.choice([1, 1, 3, 8]), chance.choice(["durable", "fast"])
    # A small spool of its own: it would take the other's events for its oldest.
    app = _start(
        folder, address, key, SPOOL_OF[policy], str(first), str(number), str(threads), profile, policy, mutant
    )
    assert app.stdout is not None
    assert app.stdout.readline() == b"ready\n"
    _wait_for_acts(app, folder / "journal", int(chance.choice([1, 20, 200, 600]) * chance.random()))
    time.sleep(chance.choice([0.0, 0.1, 0.5]) * chance.random())  # so that the sender gets somewhere, too
    app.kill()
    killed = app.wait() != 0
    app.stdout.close()
    return int(killed)


def _wait_for_acts(app: subprocess.Popen[bytes], journal: Path, acts: int) -> None:
    """Return when the application has recorded about so many events, or has ended; however busy the machine is."""
    bytes_of_an_act = 16
    wanted = (journal.stat().st_size if journal.exists() else 0) + acts * 2 * bytes_of_an_act
    deadline = time.monotonic() + 20
    while app.poll() is None and time.monotonic() < deadline:
        if journal.exists() and journal.stat().st_size >= wanted:
            return
        time.sleep(0.001)


def _drain(folder: Path, address: str, key: str, spool_folder: str, mutant: str) -> int:
    """Have one more run of the application send what is left; return the dead letters there are."""
    from tallystick.client.drain import open_spool
    from tallystick.client.settings import settings
    from tallystick.client.spool_contents import counts

    path = settings(url=address, api_key=key, spool=folder / spool_folder, profile="durable").path
    assert path is not None
    app = _start(folder, address, key, spool_folder, "0", "0", "0", "durable", "block", mutant)
    app.wait()
    spool = open_spool(path)
    deadline = time.monotonic() + 120
    if mutant:
        app = subprocess.Popen(
            [sys.executable, "-c", _MUTANT_DRAIN.format(folder=str(APP.parent), mutant=mutant)],
            env=_environment(folder, address, key, spool_folder),
        )
        app.wait()
    else:
        from tallystick.client.drain import drain

        drain(path, address, key, timeout_seconds=120, progress=lambda counts: None)
    while spool.waits() and time.monotonic() < deadline:
        time.sleep(0.05)
    found = counts(spool)
    spool.close()
    assert found.queued == 0, f"{found.queued} events could not be sent"
    return found.dead


_MUTANT_DRAIN = """
import sys; sys.path.insert(0, {folder!r})
import crash_app, tallystick
audit = tallystick.Audit(linger_seconds=0.01)
crash_app.MUTANTS[{mutant!r}](audit)
audit.flush(100)
"""


def _read_journal(path: Path, outcome: Outcome) -> None:
    for line in path.read_text().split("\n"):
        if line[:1] == "+":
            outcome.attempted.add(int(line[1:]))
        elif line[:1] == "=":
            outcome.acknowledged.add(int(line[1:]))


def _read_log(url: str, key: str, outcome: Outcome) -> None:
    """Read the whole log by position, as an auditor would."""
    ours: set[tuple[str, str]] = set()
    with httpx2.Client(
        base_url=url, headers={"Authorization": f"Bearer {key}"}, timeout=60, verify=False
    ) as client:
        after = -1
        while True:
            page = client.get("/v1/feed", params={"after": after, "limit": 1000}).json()["events"]
            if not page:
                outcome.numbers = {key: one for key, one in outcome.numbers.items() if key in ours}
                return
            after = page[-1]["position"]
            for event in page:
                if number := event.get("producer"):
                    account = outcome.numbers.setdefault((number["id"], number["epoch"]), Numbering())
                    spans = tuple(LeafSpan(**span) for span in number.get("unsent", ()))
                    account.take(
                        LeafProducer(
                            epoch=number["epoch"], id=number["id"], sequence=number["sequence"], unsent=spans
                        )
                    )
                if event["action"] == ACTION and event["metadata"]["n"] in outcome.attempted:
                    outcome.stored[event["metadata"]["n"]] += 1
                    ours.add((event["producer"]["id"], event["producer"]["epoch"]))
                elif event["action"] == GAP and event["metadata"]["reason"] == "spool_full":
                    outcome.gaps += int(event["metadata"]["lost"])


def main() -> int:
    """Run in full against a server of its own; 1 when something did not hold."""
    sys.path.insert(0, str(Path(__file__).parents[1]))
    from server import server_folder, start

    parser = argparse.ArgumentParser(description=__doc__)
    parser.add_argument("--runs", type=int, default=200)
    parser.add_argument("--seed", type=int, default=secrets.randbelow(10**6))
    parser.add_argument("--mutant", default="")
    given = parser.parse_args()
    print(f"seed {given.seed}", file=sys.stderr)
    server = start(server_folder() / "data")
    try:
        with tempfile.TemporaryDirectory() as folder:
            outcome = crash(
                given.runs, server.url, server.write_key, server.admin_key, Path(folder), seed=given.seed,
                mutant=given.mutant, say=lambda sentence: print(sentence, file=sys.stderr, flush=True),
            )  # fmt: skip
    finally:
        server.stop()
    print(outcome.table())
    for sentence in outcome.violations():
        print(sentence)
    return 1 if outcome.violations() else 0


if __name__ == "__main__":
    raise SystemExit(main())
