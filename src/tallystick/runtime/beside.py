"""What a command works with that acts on the database itself, beside a running server or without one."""

from __future__ import annotations

import os
import pwd
import socket
from collections.abc import AsyncIterator
from contextlib import asynccontextmanager
from dataclasses import dataclass
from pathlib import Path

from tallystick.config import Settings
from tallystick.errors import Misconfigured
from tallystick.event.model import Actor
from tallystick.event.redact import Redaction
from tallystick.runtime.chance import new_id, now
from tallystick.runtime.databases import DATABASE
from tallystick.services.access import Access
from tallystick.services.append import Appender
from tallystick.services.host_acts import COMMAND_LINE, HostActs
from tallystick.services.ingest import Ingest
from tallystick.services.log import Log
from tallystick.services.operator_keys import OperatorKeys
from tallystick.services.organize import Organize, secret_of
from tallystick.services.sign import Signer
from tallystick.store import embedded, organizations
from tallystick.store.connect import Pool, open_pool

_NOBODY = 2**32 - 1  # the kernel's word for no login
_LOGIN = Path("/proc/self/loginuid")


@dataclass(frozen=True, kw_only=True)
class Office:
    """What acts on organizations without a server."""

    writer: Pool
    acts: HostActs
    organize: Organize
    operator_keys: OperatorKeys
    default: bool  # whether an organization may read its log when its own switch says nothing


@asynccontextmanager
async def open_office(settings: Settings) -> AsyncIterator[Office]:
    """Open the database of a data folder, or that of TALLYSTICK_DATABASE_URL, and its logs where they can be signed."""
    logins = settings.logins() or embedded.running_logins(settings.data, DATABASE)
    pooler = settings.database_pooler == "transaction"
    writer = await open_pool(logins.writer, role="writer", pooler=pooler, size_max=2)
    appender: Appender | None = None
    signer = await _signer(settings.data, writer)
    try:
        ingest = None
        if signer is not None:
            appender = Appender(writer, signer, now=now, random=os.urandom)
            redaction = Redaction(key=secret_of(settings.data / "keys" / "redaction.key", os.urandom))
            ingest = Ingest(appender, Log(writer, signer), redaction_of=lambda _: redaction, new_id=new_id)
        yield _office(settings, writer, ingest)
    finally:
        if appender is not None:
            await appender.stop()
        if signer is not None:
            signer.close()
        await writer.close()


def _office(settings: Settings, writer: Pool, ingest: Ingest | None) -> Office:
    default = settings.default_org_feature_can_use_audit_logs
    actor, metadata = _operator()
    acts = HostActs(
        writer, ingest, actor=actor, source=COMMAND_LINE, metadata=metadata, new_id=new_id, now=now
    )
    access = Access(writer, now=now, random=os.urandom)
    organize = Organize(writer, access, acts, new_id=new_id, default_config={"can_use_audit_logs": default})
    operator_keys = OperatorKeys(writer, access, organize, acts, now=now)
    return Office(writer=writer, acts=acts, organize=organize, operator_keys=operator_keys, default=default)


def _operator() -> tuple[Actor, dict[str, str]]:
    """Return who acts, as the system knows it: no variable that anybody may set is asked."""
    user, host = _name_of(os.geteuid()), socket.gethostname()
    known = {"os_user": user, "host": host}
    try:
        login = int(_LOGIN.read_text())
    except (OSError, ValueError):
        login = _NOBODY
    if login not in (_NOBODY, os.geteuid()):
        known["os_login"] = _name_of(login)  # who became root
    return Actor(type="system", name=f"{user} on {host}"), known


def _name_of(uid: int) -> str:
    try:
        return pwd.getpwuid(uid).pw_name
    except KeyError:
        return f"uid {uid}"


async def _signer(data: Path, writer: Pool) -> Signer | None:
    """Return the signer of a data folder, None unless it is that of the server whose database this is.

    A file that another account made there could not be written by the server any more: only its own account signs.
    """
    try:
        owners = {(data / "keys" / name).stat().st_uid for name in ("signing.key", "redaction.key")}
        name = (data / "instance").read_text().strip()
        if owners != {os.geteuid()} or await organizations.instance_name(writer) != name:
            return None
        return Signer.open(data, instance=name, random=_no_new_key)
    except (OSError, Misconfigured):
        return None


def _no_new_key(_: int) -> bytes:
    raise OSError("the key is gone")
