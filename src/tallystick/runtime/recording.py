"""What records: the signer, the first organization, the appender and everything an event passes on its way in."""

from __future__ import annotations

import os
import time
from collections.abc import Callable
from dataclasses import dataclass
from uuid import UUID

from tallystick.config import Settings
from tallystick.event.redact import Redaction
from tallystick.runtime.chance import new_id, now
from tallystick.runtime.databases import Databases
from tallystick.services.access import Access
from tallystick.services.append import Appender, Limits
from tallystick.services.heartbeat import Heartbeat
from tallystick.services.host_acts import DeferredActs, HostActs
from tallystick.services.ingest import OWN_SOURCE, Ingest
from tallystick.services.lifetime import SERVER
from tallystick.services.log import Log
from tallystick.services.organize import Organize, secret_of
from tallystick.services.registered import Registered
from tallystick.services.sign import Signer
from tallystick.store.organizations import Organization


@dataclass(frozen=True, kw_only=True)
class Recording:
    """The services that take events and keep the log signed."""

    signer: Signer
    access: Access
    organize: Organize
    organization: Organization  # the first one, of whoever installed this
    appender: Appender
    heartbeat: Heartbeat
    redaction_of: Callable[[UUID], Redaction]
    log: Log
    registered: Registered
    ingest: Ingest
    deferred: DeferredActs


async def build_recording(databases: Databases, settings: Settings, *, instance: str) -> Recording:
    """Return what records, on open `databases`; the first organization is made if there is none."""
    writer, reader, data = databases.writer, databases.reader, settings.data
    signer = Signer.open(data, instance=instance, random=os.urandom)
    access = Access(writer, now=now, random=os.urandom)
    default: dict[str, object] = {"can_use_audit_logs": settings.default_org_feature_can_use_audit_logs}
    # Before there is a log to write; what it keeps is appended when the server begins to answer.
    acts = HostActs(writer, None, actor=SERVER, source=OWN_SOURCE, new_id=new_id, now=now)
    organize = Organize(writer, access, acts, new_id=new_id, default_config=default)
    limits = Limits(queue_events=settings.queue_events_max)
    appender = Appender(writer, signer, now=now, random=os.urandom, limits=limits)
    redaction = Redaction(key=secret_of(data / "keys" / "redaction.key", os.urandom))
    log = Log(reader, signer)
    registered = Registered(reader, monotonic=time.monotonic)

    def redaction_of(_: UUID) -> Redaction:
        return redaction

    ingest = Ingest(appender, log, redaction_of=redaction_of, new_id=new_id, check_of=registered.check_of)
    return Recording(
        signer=signer,
        access=access,
        organize=organize,
        organization=await organize.first(),
        appender=appender,
        heartbeat=Heartbeat(writer, appender, signer, now=now),
        redaction_of=redaction_of,
        log=log,
        registered=registered,
        ingest=ingest,
        deferred=DeferredActs(writer, ingest),
    )
