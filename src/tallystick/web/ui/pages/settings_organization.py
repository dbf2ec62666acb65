"""The organization and its switches, and what there is to know about this installation."""

from __future__ import annotations

import platform
from importlib import metadata

from tallystick import __version__
from tallystick.errors import AuditError
from tallystick.services.permissions import MANAGE
from tallystick.web.call import Answer, Call
from tallystick.web.guard import status_of
from tallystick.web.ui.forms import read_form
from tallystick.web.ui.render import render, see_other

# What the server stands on and is worth naming in a report of trouble.
LIBRARIES = ("starlette", "uvicorn", "msgspec", "asyncpg", "cryptography", "jinja2", "authlib", "argon2-cffi")


async def show(call: Call) -> Answer:
    """Show the organization and whether its log may be read."""
    return await _page(call)


async def _page(call: Call, *, error: AuditError | None = None) -> Answer:
    return render(
        call, "settings/organization.html", 200 if error is None else status_of(error)[0], title="Organization",
        view=await call.services.switches.view(call.caller), error=error,
        origin=call.services.log.verifier_keys(call.caller.organization_id)[0].partition("+")[0],
        done=dict(call.query()).get("done", ""),
    )  # fmt: skip


async def switch(call: Call) -> Answer:
    """Switch reading the log on or off; recording goes on."""
    on = (await read_form(call)).get("on") == "yes"
    try:
        await call.services.switches.switch(call.caller, call.services.ingest, on=on, context=call.context)
    except AuditError as error:
        return await _page(call, error=error)
    return see_other("/settings/organization?done=switched")


async def about(call: Call) -> Answer:
    """Show version, health and what it is made of."""
    readiness = [*await call.services.readiness(), *await call.services.outside.findings()]
    if not call.caller.may(MANAGE):
        # What ails a server may name its machines; whoever manages it is told.
        readiness = [type(one)(name=one.name, ok=one.ok) for one in readiness]
    made_of = [(name, metadata.version(name), _licence(name)) for name in LIBRARIES]
    return render(
        call, "settings/about.html", title="About", readiness=readiness, made_of=made_of,
        python=platform.python_version(), product=__version__,
    )  # fmt: skip


def _licence(name: str) -> str:
    found = metadata.metadata(name)
    stated = [*(found.get_all("License-Expression") or []), *(found.get_all("License") or [])]
    classified = [
        one.rpartition(" :: ")[2] for one in found.get_all("Classifier") or [] if one.startswith("License ::")
    ]
    first = next(iter([*stated[:1], *classified]), "see its package")
    return first.splitlines()[0][:60]
