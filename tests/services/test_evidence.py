"""One event with its proof: good when it is good, broken when a byte is changed, invisible to those who may not see it."""

from __future__ import annotations

from uuid import uuid4

import pytest

from services.appending import LogUnderTest, event
from services.test_read import someone
from tallystick.errors import NotFound
from tallystick.services.evidence import Evidences
from tallystick.store.connect import connect


def service(log: LogUnderTest) -> Evidences:
    return Evidences(log.pool, log.signer, log.log)


async def test_an_event_of_the_log_is_verified(log: LogUnderTest) -> None:
    """A good event would be called doubtful, or shown without what proves it."""
    events = [event() for _ in range(5)]
    await log.append(events)
    found = await service(log).of(someone(), events[3].id)
    assert (found.standing, found.why, found.position, found.size) == ("verified", "", 3, 5)
    assert found.event["id"] == str(events[3].id)
    assert found.receipt.startswith("c2sp.org/tlog-proof@v1")


@pytest.mark.parametrize("change", ["opening = opening || ' '", "seed = decode(repeat('00', 16), 'hex')"])
async def test_a_changed_byte_is_broken(log: LogUnderTest, database, change: str) -> None:
    """Somebody with the database's password could rewrite what was shown, and the page would call it verified."""
    made = event()
    await log.append([made])
    connection = await connect(database.superuser)
    change = change.replace(
        "opening || ' '", "convert_to(replace(convert_from(opening, 'UTF8'), 'Person', 'Parson'), 'UTF8')"
    )
    await connection.execute("SET session_replication_role = replica")  # past the guard, as a superuser can
    await connection.execute(f"UPDATE audit_logs SET {change}")
    await connection.close()
    found = await service(log).of(someone(), made.id)
    assert found.standing == "broken"
    assert found.why


async def test_what_may_not_be_seen_is_not_there(log: LogUnderTest) -> None:
    """An event of another workspace or organization would be shown, or be known to exist."""
    made = event(workspace="w-1")
    await log.append([made])
    evidence = service(log)
    assert (await evidence.of(someone(workspace="w-1"), made.id)).standing == "verified"
    refused = []
    for principal, wanted in (
        (someone(workspace="w-2"), made.id),
        (someone(uuid4()), made.id),
        (someone(), uuid4()),
    ):
        with pytest.raises(NotFound) as error:
            await evidence.of(principal, wanted)
        refused.append(str(error.value))
    assert len(set(refused)) == 1
