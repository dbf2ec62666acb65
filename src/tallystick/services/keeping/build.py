"""Everything that keeps and removes, put together once."""

from __future__ import annotations

from collections.abc import Awaitable, Callable
from dataclasses import dataclass
from datetime import datetime
from uuid import UUID

from tallystick.event.redact import Redaction
from tallystick.services.append import Appender, Limits
from tallystick.services.keeping.approvals import Approvals
from tallystick.services.keeping.desk import Desk
from tallystick.services.keeping.door import Door
from tallystick.services.keeping.erasure import Erasures
from tallystick.services.keeping.holds import Holds
from tallystick.services.keeping.policies import Policies
from tallystick.services.keeping.purge import Archive, Purge, no_archive
from tallystick.services.keeping.rounds import Rounds
from tallystick.services.sign import Signer
from tallystick.store.connect import Pool

COMMIT_SECONDS = 120.0  # a whole month may be removed between a transaction's beginning and its commit


@dataclass(frozen=True)
class Keeping:
    """What takes acts of keeping, what makes the rounds, and the appender both write their records with."""

    desk: Desk
    rounds: Rounds
    appender: Appender


def build_keeping(
    keeper: Pool,
    signer: Signer,
    *,
    redaction_of: Callable[[UUID], Redaction],
    organizations: Callable[[], Awaitable[list[UUID]]],
    now: Callable[[], datetime],
    random: Callable[[int], bytes],
    new_id: Callable[[], UUID],
    archive: Archive = no_archive,
) -> Keeping:
    """Return what keeps and removes, working on the `keeper`'s connections."""
    appender = Appender(keeper, signer, now=now, random=random, limits=Limits(commit_seconds=COMMIT_SECONDS))
    door = Door(keeper, appender, redaction_of=redaction_of, new_id=new_id)

    def named(prefix: str) -> Callable[[], str]:
        return lambda: prefix + random(12).hex()

    purge = Purge(door, now=now, archive=archive)
    desk = Desk(
        Policies(door, now=now, new_rule=named("rtp_")),
        Holds(door, new_hold=named("hld_")),
        Erasures(door, now=now, new_erasure=named("ers_")),
        purge,
        Approvals(door, now=now, new_approval=named("apr_")),
    )
    rounds = Rounds(keeper, purge, organizations=organizations, now=now, holder=named("srv_")())
    return Keeping(desk, rounds, appender)
