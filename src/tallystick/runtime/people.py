"""Who comes in and what they may: sign-in, members and keys, switches, viewers' tokens."""

from __future__ import annotations

import os
import time
from dataclasses import dataclass

import httpx2

from tallystick.config import Settings
from tallystick.runtime.chance import now
from tallystick.runtime.databases import Databases
from tallystick.runtime.recording import Recording
from tallystick.services.organize import secret_of
from tallystick.services.people.build import Office
from tallystick.services.people.build import build as build_office
from tallystick.services.sign_in.build import People
from tallystick.services.sign_in.build import build as build_sign_in
from tallystick.services.switches import Switches
from tallystick.services.viewers import Viewers


@dataclass(frozen=True, kw_only=True)
class Entrance:
    """The services that know people, keys and what each may do."""

    people: People
    office: Office
    switches: Switches
    viewers: Viewers


def build_entrance(databases: Databases, settings: Settings, recording: Recording) -> Entrance:
    """Return what lets people in, each of whose changes is an event of `recording`."""
    writer, ingest = databases.writer, recording.ingest
    people = build_sign_in(
        writer,
        ingest,
        home=recording.organization.id,
        sealing_key=secret_of(settings.data / "keys" / "sealing.key", os.urandom),
        now=now,
        monotonic=time.monotonic,
        wall=time.time,
        client=lambda: httpx2.AsyncClient(follow_redirects=False, timeout=5.0),
        random=os.urandom,
    )
    office = build_office(
        writer, ingest, recording.access, people.links, people.sessions, now=now, random=os.urandom
    )
    switches = Switches(
        databases.reader,
        enabled=settings.audit_logs_enabled,
        default=settings.default_org_feature_can_use_audit_logs,
        monotonic=time.monotonic,
    )
    viewers = Viewers(writer, ingest, now=now, monotonic=time.monotonic, random=os.urandom)
    return Entrance(people=people, office=office, switches=switches, viewers=viewers)
