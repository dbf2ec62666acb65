"""Which identity providers an organization trusts."""

from __future__ import annotations

from typing import Any

from starlette.responses import Response

from tallystick.errors import AuditError, NotFound, Refused, TryLater
from tallystick.services.permissions import ROLES
from tallystick.services.sign_in.providers import ProviderWish
from tallystick.web.api.sign_in import visit_of
from tallystick.web.call import Answer, Call
from tallystick.web.guard import status_of
from tallystick.web.ui.forms import read_form
from tallystick.web.ui.pages.single import CALLBACK
from tallystick.web.ui.render import render, see_other

WHERE = "/settings/sign-in"
_EMPTY: dict[str, Any] = {
    "id": None, "display_name": "", "issuer": "", "client_id": "", "has_secret": False, "groups_claim": "groups",
    "mapping": "", "only_oidc": False, "trust_email": False,
}  # fmt: skip


async def show(call: Call) -> Answer:
    """List the providers, with a form for another."""
    return await _list(call)


async def _list(
    call: Call, *, error: AuditError | None = None, form: dict[str, Any] | None = None
) -> Response:
    found = await call.services.providers.all(call.caller)
    return render(
        call, "settings/sign_in.html", 200 if error is None else status_of(error)[0], title="Single sign-on",
        providers=found, form=form or _EMPTY, error=error, done=dict(call.query()).get("done", ""), **_around(call),
    )  # fmt: skip


async def show_one(call: Call) -> Answer:
    """Show one provider to change it."""
    found = next(
        (one for one in await call.services.providers.all(call.caller) if one.id == call.path("id")), None
    )
    if found is None:
        raise NotFound("There is no such identity provider.")
    mapping = "\n".join(f"{group} = {role}" for group, role in found.group_roles.items())
    form = {name: getattr(found, name) for name in found.__struct_fields__} | {"mapping": mapping}
    return _one(call, form)


def _one(call: Call, form: dict[str, Any], *, error: AuditError | None = None) -> Response:
    return render(
        call, "settings/provider.html", 200 if error is None else status_of(error)[0], title=form["display_name"],
        form=form, error=error, **_around(call),
    )  # fmt: skip


async def save(call: Call) -> Answer:
    """Set a new provider or change one."""
    fields = await read_form(call)
    provider_id = call.scope["path_params"].get("id")
    try:
        wish = _wish(fields)
        await call.services.providers.save(call.caller, wish, visit_of(call), provider_id=provider_id)
    except (Refused, TryLater) as error:
        form = {**_EMPTY, **fields, "id": provider_id, "has_secret": provider_id is not None}
        form |= {name: name in fields for name in ("only_oidc", "trust_email")}
        if provider_id is None:
            return await _list(call, error=error, form=form)
        return _one(call, form, error=error)
    return see_other(f"{WHERE}?done=saved")


async def remove(call: Call) -> Answer:
    """Stop trusting a provider."""
    await call.services.providers.remove(call.caller, call.path("id"), visit_of(call))
    return see_other(f"{WHERE}?done=removed")


def _wish(fields: dict[str, str]) -> ProviderWish:
    return ProviderWish(
        display_name=fields.get("display_name", "").strip(),
        issuer=fields.get("issuer", "").strip(),
        client_id=fields.get("client_id", "").strip(),
        client_secret=fields.get("client_secret", "").strip() or None,
        groups_claim=fields.get("groups_claim", "").strip() or "groups",
        group_roles=read_mapping(fields.get("mapping", "")),
        only_oidc="only_oidc" in fields,
        trust_email="trust_email" in fields,
    )


def read_mapping(text: str) -> dict[str, str]:
    """Return the groups and roles of lines like `audit-readers = AUDITOR`; raises Refused for a line that is none."""
    found: dict[str, str] = {}
    for line in text.splitlines():
        if not line.strip():
            continue
        group, separator, role = (part.strip() for part in line.rpartition("="))
        if not separator or not group or not role or group in found:
            raise Refused(
                f"'{line.strip()[:80]}' maps no group. Write one a line, each group once: audit-readers = AUDITOR",
                path="/group_roles",
                rule="provider",
            )
        found[group] = role.upper() if role.upper() in ROLES else role
    return found


def _around(call: Call) -> dict[str, Any]:
    origin = call.services.address.origin_of(call.header(b"host"))
    return {
        "callback": origin + CALLBACK,
        "own_page": f"{origin}/sign-in/o/{call.caller.organization_id}",
        "roles": list(ROLES),
    }
