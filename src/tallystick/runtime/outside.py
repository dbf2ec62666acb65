"""What leaves the building by itself: the instance log, its witnesses, time stamps and published copies."""

from __future__ import annotations

import asyncio
from collections.abc import Callable, Coroutine
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import httpx2

from tallystick.config import Settings
from tallystick.errors import Misconfigured, Refused
from tallystick.runtime.chance import now
from tallystick.runtime.databases import Databases
from tallystick.services.instance_log import InstanceLog
from tallystick.services.sign import Signer
from tallystick.services.witnessing import TIMEOUT_SECONDS, Witnessing
from tallystick.verify.policy import Policy, parse_policy


@dataclass(frozen=True, kw_only=True)
class Outside:
    """The services that let outsiders see that nothing is rewritten."""

    instance_log: InstanceLog
    witnessing: Witnessing

    async def run(self) -> None:
        """Run all of them until cancelled."""
        runs: list[Callable[[], Coroutine[Any, Any, None]]] = [self.instance_log.run, self.witnessing.run]
        await asyncio.gather(*(run() for run in runs))


def build_outside(databases: Databases, settings: Settings, signer: Signer) -> Outside:
    """Return what is done for outsiders, on open `databases`; raises Misconfigured when the policy cannot be used."""
    policy = None if settings.policy is None else read_policy(settings.policy)
    log = InstanceLog(databases.writer, databases.reader, signer, now=now)
    return Outside(
        instance_log=log,
        witnessing=Witnessing(
            databases.writer,
            databases.reader,
            log,
            policy,
            client=lambda: httpx2.AsyncClient(follow_redirects=False, timeout=TIMEOUT_SECONDS),
            now=now,
        ),
    )


def read_policy(path: Path) -> Policy:
    """Read the server's policy file; raises Misconfigured when it cannot be read or used."""
    try:
        return parse_policy(path.read_bytes())
    except OSError as error:
        raise Misconfigured(
            f"TALLYSTICK_POLICY: cannot read {path}: {error.strerror}. Name an existing file."
        ) from error
    except Refused as error:
        raise Misconfigured(f"TALLYSTICK_POLICY: {path}: {error}.") from error
