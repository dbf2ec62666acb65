"""The whole road on a running server: an event, the instance log, real witnesses, a real authority, a copy, and what an
auditor makes of an export with nothing but a policy."""

from __future__ import annotations

import base64
import json
import os
import re
import shutil
import subprocess
import time
from collections.abc import Callable, Iterator
from contextlib import ExitStack
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import pytest
from rich.text import Text

from people import add_member, sign_in
from postgres import Cluster, fresh_database
from server import PROGRAM, Server, Servers, event, server_folder
from tallystick.merkle.tlog_proof import parse_tlog_proof
from tallystick.services.sign import Signer
from witness.authority import Authority
from witness.world import WitnessProcess, answering, policy_of, start_witness

WAIT_SECONDS = 90.0


def wait_for(what: Callable[[], Any]) -> Any:
    """Ask until the answer is true, and return it."""
    end = time.monotonic() + WAIT_SECONDS
    while not (found := what()):
        assert time.monotonic() < end, "it did not come"
        time.sleep(0.1)
    return found


def copied(source: Path, target: Path) -> bool:
    """Copy a folder that is being written; tell whether no checkpoint moved meanwhile."""
    shutil.rmtree(target, ignore_errors=True)
    before = {path: path.read_bytes() for path in source.rglob("checkpoint")}
    shutil.copytree(source, target, ignore=shutil.ignore_patterns(".*"))
    return before == {path: path.read_bytes() for path in source.rglob("checkpoint")}


@dataclass
class House:
    """A server with two witnesses, an authority and a folder it publishes to."""

    server: Server
    witnesses: list[WitnessProcess]
    policy: Path
    published: Path
    folder: Path

    def get(self, path: str, **more: Any) -> Any:
        with self.server.client() as client:
            return client.get(path, **more)

    def keep(self, path: str, name: str) -> Path:
        """Keep an answer in a file, once there is one."""
        answer = wait_for(lambda: (found := self.get(path)).status_code == 200 and found)
        kept = self.folder / name
        kept.write_bytes(answer.content)
        return kept

    def verify(self, file: Path, *arguments: object) -> tuple[int, dict[str, Any]]:
        done = subprocess.run(
            [*PROGRAM, "verify", str(file), "--json", *map(str, arguments)],
            capture_output=True,
            text=True,
            timeout=120,
        )
        assert done.stdout, done.stderr
        return done.returncode, json.loads(done.stdout)


@pytest.fixture(scope="module")
def house(
    postgres_cluster: Cluster, template_database: str, tmp_path_factory: pytest.TempPathFactory
) -> Iterator[House]:
    folder = tmp_path_factory.mktemp("house")
    servers = Servers(server_folder())
    with ExitStack() as stack:
        authority = Authority(folder / "tsa")
        tsa_url = stack.enter_context(answering(authority.answer))
        signer = Signer.open(servers.folder / "data", instance="audit.example.org", random=os.urandom)
        key, clock = signer.verifier("audit.example.org").format(), signer.clock().format()
        witnesses = [start_witness(folder / name, f"{name}.example.org", key) for name in ("north", "south")]
        for one in witnesses:
            stack.callback(one.kill)
        policy = folder / "policy.txt"
        named = [(one.name.partition(".")[0], one.key, one.url) for one in witnesses]
        text = policy_of(key, clock, named, 2)
        policy.write_text(
            text + f"authority tsa {base64.b64encode(authority.certificate).decode()} {tsa_url}\n"
        )
        stack.callback(servers.stop)
        databases = fresh_database(postgres_cluster, template_database)
        environment = {
            "TALLYSTICK_INSTANCE": "audit.example.org", "TALLYSTICK_POLICY": str(policy), "TALLYSTICK_TIME_STAMP_SECONDS": "2",
            "TALLYSTICK_PUBLISH": str(folder / "published"), "TALLYSTICK_PUBLISH_SECONDS": "2",
        }  # fmt: skip
        server = servers.start(database=next(databases).logins.owner, environment=environment)
        with server.client() as client:
            for _ in range(3):
                assert client.post("/v1/events", json=event()).status_code == 201
        yield House(server, witnesses, policy, folder / "published", folder)


def test_an_anchored_export_meets_the_policy(house: House) -> None:
    """An auditor with a policy must see that two witnesses cosigned what the export holds."""
    anchor = house.keep("/v1/log/anchor", "anchor.tlog-proof")

    def is_witnessed() -> bool:
        house.keep("/v1/log/anchor", "anchor.tlog-proof")
        return all(one.name in parse_tlog_proof(anchor.read_text()).checkpoint for one in house.witnesses)

    wait_for(is_witnessed)
    export = house.keep("/v1/export?format=jsonl", "export.jsonl")
    code, report = house.verify(export, "--policy", house.policy, "--known", anchor)
    assert (code, report["verdict"]) == (0, "proven"), report
    assert any("is in the instance log" in line for line in report["proven"])
    assert any("witnessed by north, south" in line for line in report["proven"])
    assert not any("no key was pinned" in line for line in report["not_proven"])


def test_what_the_policy_demands_decides(house: House) -> None:
    """An export without cosignatures must not be taken for a witnessed one."""
    export = house.keep("/v1/export?format=jsonl", "export.jsonl")
    code, report = house.verify(export, "--policy", house.policy)
    assert (code, report["verdict"]) == (2, "unchecked")
    assert "2 of 2 (north, south)" in report["unchecked"]
    stricter = house.folder / "stricter.txt"
    stricter.write_text(house.policy.read_text().replace("group everyone 2", "group everyone 1"))
    assert house.verify(export, "--policy", stricter)[0] == 2
    lenient = house.folder / "lenient.txt"
    lenient.write_text(house.policy.read_text().replace("quorum everyone", "quorum none"))
    assert house.verify(export, "--policy", lenient)[0] == 0
    origin = f"audit.example.org/o/{house.server.organization_id}"
    lenient.write_text(lenient.read_text() + f"least {origin} 100000\n")
    code, report = house.verify(export, "--policy", lenient)
    assert (code, [one["kind"] for one in report["violated"]]) == (1, ["rollback"])


def test_another_history_is_a_violation(house: House) -> None:
    """An anchor of another history must be a violation, whatever else is fine."""
    export = house.keep("/v1/export?format=jsonl", "export.jsonl")
    policy = house.folder / "knows.txt"
    origin = f"audit.example.org/o/{house.server.organization_id}"
    root = base64.b64encode(b"x" * 32).decode()
    policy.write_text(
        house.policy.read_text().replace("quorum everyone", "quorum none") + f"known {origin} 2 {root}\n"
    )
    code, report = house.verify(export, "--policy", policy)
    assert (code, [one["kind"] for one in report["violated"]]) == (1, ["rewritten"])
    anchor = house.keep("/v1/log/anchor", "edited.tlog-proof")
    lines = anchor.read_text().split("\n")
    at = next(number for number, line in enumerate(lines) if line.startswith("extra "))
    leaf = base64.b64decode(lines[at].removeprefix("extra "))
    lines[at] = (
        "extra " + base64.b64encode(leaf.replace(b"audit.example.org/o/", b"audit.example.org/O/")).decode()
    )
    anchor.write_text("\n".join(lines))
    code, report = house.verify(export, "--policy", house.policy, "--known", anchor)
    assert code == 1, report


def test_a_time_stamp_says_when(house: House) -> None:
    """A stamp that says nothing about the log it was given for, or that anyone could make, is no proof of time."""
    stamp = house.keep("/v1/log/time-stamp", "stamp.txt")
    export = house.keep("/v1/export?format=jsonl", "export.jsonl")
    lenient = house.folder / "lenient.txt"
    lenient.write_text(house.policy.read_text().replace("quorum everyone", "quorum none"))
    code, report = house.verify(export, "--policy", lenient, "--known", stamp)
    assert code == 0, report
    assert any("existed before 20" in line and "(tsa)" in line for line in report["proven"]), report
    other = Authority(house.folder / "other-tsa")
    text = lenient.read_text()
    encoded = next(line for line in text.split("\n") if line.startswith("authority")).split(" ")[2]
    lenient.write_text(text.replace(encoded, base64.b64encode(other.certificate).decode()))
    code, report = house.verify(export, "--policy", lenient, "--known", stamp)
    assert code == 1, report
    code, report = house.verify(export, "--known", stamp)
    assert not any("existed before" in line for line in report["proven"])


def test_the_published_copy_verifies(house: House) -> None:
    """What the server publishes by itself must verify on a machine that has only the policy."""
    wait_for(lambda: (house.published / "instance" / "checkpoint").exists())

    def is_witnessed() -> bool:
        note = (house.published / "instance" / "checkpoint").read_text()
        return all(one.name in note for one in house.witnesses)

    wait_for(is_witnessed)
    copy = house.folder / "copy"
    wait_for(lambda: copied(house.published, copy))
    code, report = house.verify(copy, "--policy", house.policy)
    assert code == 0, report
    assert any(
        "instance/checkpoint" in line and "witnessed by north, south" in line for line in report["proven"]
    )
    assert any("its entries are those of its hashes" in line for line in report["proven"])
    code, report = house.verify(copy / "o" / str(house.server.organization_id), "--policy", house.policy)
    assert code == 2, report


def test_tiles_over_http(house: House) -> None:
    """Tools for tiled logs expect exactly these paths and bytes."""
    wait_for(lambda: house.get("/instance/tile/0/000.p/1").status_code == 200)
    hashes = house.get("/v1/instance-log/tile/0/000.p/1")
    assert len(hashes.content) == 32
    assert "immutable" in hashes.headers["cache-control"]
    assert house.get("/instance/tile/entries/000.p/1").status_code == 403
    note = wait_for(
        lambda: (found := house.get("/instance/checkpoint?witnessed=true")).status_code == 200 and found.text
    )
    assert note.startswith("audit.example.org\n")


def test_operators_see_it(house: House) -> None:
    """Witnesses, stamps and copies that nobody looks at are soon gone."""
    metrics = wait_for(
        lambda: "tallystick_witnesses_short 0.0" in (text := house.get("/metrics").text) and text
    )
    assert "tallystick_witness_alarms 0.0" in metrics
    environment = {
        **os.environ,
        "TALLYSTICK_DATABASE_URL": house.server.database.url,
        "TALLYSTICK_POLICY": str(house.policy),
    }  # type: ignore[union-attr]
    done = subprocess.run(
        [*PROGRAM, "doctor", "--data", str(house.server.data), "--quick"], capture_output=True, text=True, timeout=120, env=environment
    )  # fmt: skip
    said = Text.from_ansi(done.stdout).plain
    assert "2 of 2 cosigned lately" in " ".join(said.split()), done.stdout + done.stderr
    assert re.search(r"✓ stamp tsa .*entries", " ".join(said.split()))


def test_the_page_shows_it(house: House) -> None:
    """People who read the log must see who else watches it, and that an address inside the house is not for everybody."""
    client = sign_in(house.server)
    page = wait_for(lambda: "2 of 2 signed lately" in (text := client.get("/verify").text) and text)
    assert "north" in page
    assert "Needed are 2 of 2" in page
    assert "by tsa" in page
    assert "Publishing" in page
    assert "Asking tsa for a time stamp" in page
    add_member(house.server, "auditor@example.com", "AUDITOR")
    page = sign_in(house.server, "auditor@example.com").get("/verify").text
    assert "2 of 2 signed lately" in page
    about = sign_in(house.server, "auditor@example.com").get("/settings/about").text
    assert "instance log" in about
    assert str(house.published) not in page + about
