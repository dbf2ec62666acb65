"""After an erasure, a vacuum, a turn of the write-ahead log and of the server's log, no file holds the value."""

from __future__ import annotations

import os
from pathlib import Path

from postgres import Pools, own_server, ready_logins
from services.appending import Clock, LogUnderTest, event
from services.keeping import office_of
from tallystick.services.keeping.erasure import ErasureWish
from tallystick.services.keeping.scrub import scrub
from tallystick.store.connect import connect, open_pool

VALUES = (b"Grace-Hopper-9137@navy.example", b"usr_grace_9137", b"Rear Admiral Grace H.", b"203.0.113.137")
GRACE = {
    "type": "user",
    "id": "usr_grace_9137",
    "name": "Rear Admiral Grace H.",
    "email": "Grace-Hopper-9137@navy.example",
}


def files_with(data: Path, value: bytes) -> list[str]:
    """Return the files below a folder that hold a value, in either case."""
    found = []
    for folder, _, names in os.walk(data):
        for name in names:
            path = Path(folder) / name
            if path.is_file() and value.lower() in path.read_bytes().lower():
                found.append(str(path.relative_to(data)))
    return found


async def test_no_file_of_the_database_holds_an_erased_value(data: Path, tmp_path: Path) -> None:
    """A byte search over every file of the embedded server finds the values before, and nothing afterwards."""
    async with own_server(data) as (server, superuser):
        logins = await ready_logins(server, superuser)
        pools = Pools(
            owner=await open_pool(logins.owner, role="owner"),
            writer=await open_pool(logins.writer, role="writer"),
            reader=await open_pool(logins.reader, role="reader"),
            keeper=await open_pool(logins.keeper, role="keeper"),
        )
        clock = Clock()
        log = LogUnderTest(pools.writer, tmp_path / "signer", clock)
        (tmp_path / "signer").mkdir(exist_ok=True)
        office = await office_of(log, pools, clock)
        for _ in range(20):
            await log.append(
                [event(actor=GRACE, context={"ip": "203.0.113.137"}), event(after={"to": "grace-hopper-9137@navy.example"})]
                + [event() for _ in range(20)]
            )  # fmt: skip
        assert all(files_with(data / "postgres", value) for value in VALUES)
        await office.erasures.erase(office.boss, ErasureWish(id=GRACE["id"]))
        await office.proven()
        await scrub(logins.owner, say=print)
        admin = await connect(superuser.with_database(logins.owner.database))
        await admin.execute("CHECKPOINT")
        for _ in range(4):
            await admin.execute("SELECT pg_switch_wal()")
            await admin.execute("CHECKPOINT")
        await admin.close()
        await log.stop()
        for pool in (pools.owner, pools.writer, pools.reader, pools.keeper):
            await pool.close()
    for value in VALUES:
        assert files_with(data / "postgres", value) == [], value
