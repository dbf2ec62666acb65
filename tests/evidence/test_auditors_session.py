"""The auditor's session of the tutorial, command by command, with the bundle alone and no Tallystick on the machine."""

from __future__ import annotations

import re
import shutil
import subprocess
import sys
from datetime import timedelta
from pathlib import Path
from typing import Any

from evidence.bundles import ADA, bundles_of
from services.appending import event
from services.keeping import Office, boss
from tallystick.query.model import Clause, Query
from tallystick.services.keeping.approvals import Approvals
from tallystick.services.keeping.desk import Desk
from tallystick.services.keeping.erasure import ErasureWish
from tallystick.services.keeping.holds import HoldWish
from tallystick.services.keeping.rules import Wish
from tallystick.store.connect import EVERY, transaction

ROOT = Path(__file__).parents[2]
TUTORIAL = ROOT / "docs" / "tutorial" / "an-auditors-session.md"
# A Python that has never heard of Tallystick: importing it fails, as on a machine where it was never installed.
PYTHON = """#!/bin/sh
exec {python} -I -c 'import runpy, sys; sys.modules["tallystick"] = None
if sys.argv[1] == "-c": exec(sys.argv.pop(2))
else: sys.argv.pop(0); runpy.run_path(sys.argv[0], run_name="__main__")' "$@"
"""


async def story(office: Office, pools: Any, folder: Path) -> bytes:
    """A log of thirteen months: a hold, a shorter retention that two people decided, a person erased; then the question."""
    async with transaction(pools.owner, organization=EVERY) as connection:
        await connection.execute(
            "INSERT INTO organizations (id, display_name) VALUES ($1, 'Org')", office.log.organization_id
        )
    lin, grace = boss(office.log.organization_id, "Lin"), boss(office.log.organization_id, "Grace")
    numbers = iter(range(1000))
    approvals = Approvals(office.door, now=office.clock, new_approval=lambda: f"apr_{next(numbers):04}")
    desk = Desk(office.policies, office.holds, office.erasures, office.purge, approvals)

    async def decided(asked: Any) -> None:
        await desk.decide(grace, asked.approval.id, "approved", None)

    for month in range(13):
        await office.log.append(
            [
                event(
                    actor={"type": "user", "id": f"usr_{at % 5}", "name": ("Edsger", "Barbara", "Donald", "Frances", "Alan")[at % 5]},
                    action=("prompt.update", "dataset.export", "member.invite")[at % 3],
                    targets=[{"type": ("prompt", "dataset", "membership")[at % 3], "id": f"{month}-{at}"}],
                    outcome="denied" if at % 15 == 7 else "success", workspace=f"w-{at % 2}", after=None,
                )
                for at in range(30)
            ]
        )  # fmt: skip
        await office.log.append(
            [event(actor=ADA, action="api_key.rotate", outcome="success", workspace="w-1", after=None)]
        )
        await office.age(0, days=30)
    await office.holds.set(grace, HoldWish(reason="Case 2026-17", actor="Barbara"))
    await approvals.switch(grace, on=True, context=None)
    await decided(await desk.change_policy(lin, Wish(class_="custom", days=200), None))
    await office.age(0, days=8)
    await office.purge.run(office.log.organization_id)
    await decided(await desk.erase(lin, ErasureWish(id=ADA["id"]), None))
    await office.age(0)
    auditor = boss(office.log.organization_id, "Katherine")
    query = Query(
        only=(Clause("action", ("^dataset.export$",)),), since=office.clock.at - timedelta(days=365), until=office.clock.at
    )  # fmt: skip
    answer = await bundles_of(office, folder, pools).make(auditor, query)
    return b"".join([piece async for piece in answer.pieces()])


def steps_of(block: str) -> tuple[str, str]:
    """Return the command of a block, which goes on until its quotes are closed, and what it prints."""
    lines = block.splitlines(keepends=True)
    taken = 1
    while "".join(lines[:taken]).count("'") % 2:
        taken += 1
    return "".join(lines[:taken]).removeprefix("$ "), "".join(lines[taken:])


async def test_the_session(office: Office, pools: Any, tmp_path: Path) -> None:
    """What the tutorial shows an auditor must happen, word for word but for hashes, keys and sizes."""
    desk = tmp_path / "desk"
    (desk / "bin").mkdir(parents=True)
    (desk / "exports.zip").write_bytes(await story(office, pools, tmp_path / "evidence"))
    for name in ("check_export.py", "check_bundle.py"):
        shutil.copy(ROOT / "auditor" / name, desk)
    python = desk / "bin" / "python"
    python.write_text(PYTHON.format(python=sys.executable))
    python.chmod(0o755)
    environment = {
        "PATH": f"{desk / 'bin'}:/usr/bin:/bin", "HOME": str(desk), "KEY": office.log.verifier.format(),
        "CLOCK": office.log.signer.clock().format(),
    }  # fmt: skip
    said: list[str] = []
    steps = [steps_of(block) for block in re.findall(r"```console\n(.*?)```", TUTORIAL.read_text(), re.S)]
    assert len(steps) >= 5
    for command, shown in steps:
        done = subprocess.run(
            ["sh", "-c", command], cwd=desk, env=environment, capture_output=True, text=True, check=False,
            timeout=60,
        )  # fmt: skip
        said.append(f"$ {command}\n{done.stdout}{done.stderr}")
        pattern = "".join(".*" if part == "…" else re.escape(part) for part in re.split("(…)", shown))
        if not re.fullmatch(pattern, done.stdout, re.S):
            (tmp_path / "said.txt").write_text("\n".join(said))
            raise AssertionError(f"the tutorial shows something else; this was said:\n{said[-1]}")
