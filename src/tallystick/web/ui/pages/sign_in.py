"""Sign-in: e-mail and password, the choice of an organization, the second factor, links that work once."""

from __future__ import annotations

from typing import Any
from uuid import UUID

from starlette.responses import Response

from tallystick.errors import AuditError, NotFound, Refused, Unauthorized
from tallystick.services.sign_in.sessions import NewSession
from tallystick.services.sign_in.sign_in import Pending, Step
from tallystick.web.api.sign_in import visit_of
from tallystick.web.call import Answer, Call
from tallystick.web.cookies import PENDING, SESSION, drop_cookie, read_cookie, set_cookie
from tallystick.web.guard import status_of
from tallystick.web.ui.forms import read_form
from tallystick.web.ui.pages.start import home
from tallystick.web.ui.render import local_path, render, see_other

_PENDING_SECONDS = 300


async def show(call: Call) -> Answer:
    """Ask for e-mail address and password."""
    query = dict(call.query())
    if call.principal is not None:
        return see_other(destination(query.get("to")))
    return await _form(call, to=query.get("to", "/"))


async def show_of_organization(call: Call) -> Answer:
    """Ask who one is, with the identity providers of one organization."""
    try:
        organization_id = UUID(call.path("organization"))
    except ValueError:
        raise NotFound("There is no such organization.") from None
    return await _form(call, to=dict(call.query()).get("to", "/"), organization_id=organization_id)


async def with_password(call: Call) -> Answer:
    """Take e-mail address and password."""
    fields = await read_form(call)
    email, password, to = (fields.get(name, "") for name in ("email", "password", "to"))
    try:
        step = await call.services.sign_in.with_password(email, password, visit_of(call), to=local_path(to))
    except Unauthorized as error:
        return await _form(call, to=to, email=email[:254], error=error)
    return await _after(call, step, to)


async def _form(
    call: Call,
    *,
    to: str,
    email: str = "",
    error: AuditError | None = None,
    organization_id: UUID | None = None,
) -> Response:
    # Before anybody types a password over plain http to another machine.
    call.services.address.origin_of(call.header(b"host"))
    name, providers = await call.services.single_sign_on.choices(organization_id)
    return render(
        call, "sign_in/password.html", 200 if error is None else _status(error), title="Sign in", to=local_path(to),
        email=email, error=error, of_organization=name, providers=providers,
    )  # fmt: skip


async def show_choice(call: Call) -> Answer:
    """Ask which organization to sign in to."""
    pending = _pending(call)
    choices = await call.services.sign_in.choices(pending)
    return render(call, "sign_in/organization.html", title="Choose an organization", choices=choices)


async def choose(call: Call) -> Answer:
    """Take the choice of an organization."""
    pending = _pending(call)
    try:
        organization_id = UUID((await read_form(call)).get("organization", ""))
    except ValueError:
        raise Refused("Choose one of the organizations that are shown.", rule="form") from None
    step = await call.services.sign_in.choose(pending, organization_id, visit_of(call))
    return await _after(call, step, pending.to)


async def show_code(call: Call) -> Answer:
    """Ask for the code of the second factor."""
    _pending(call)
    return render(call, "sign_in/code.html", title="Second factor", error=None)


async def with_code(call: Call) -> Answer:
    """Take the code of the second factor, or a recovery code."""
    pending = _pending(call)
    code = (await read_form(call)).get("code", "")
    try:
        session = await call.services.sign_in.with_code(pending, code, visit_of(call))
    except Unauthorized as error:
        if error.rule == "too_late":
            raise
        return render(call, "sign_in/code.html", _status(error), title="Second factor", error=error)
    return await signed_in(call, session, pending.to)


async def forgot(call: Call) -> Answer:
    """Say whom to ask for a new password."""
    return render(call, "sign_in/forgot.html", title="Forgot your password?")


async def show_link(call: Call) -> Answer:
    """Ask for what a link that works once sets."""
    call.services.address.origin_of(call.header(b"host"))
    return await _link_form(call)


async def _link_form(call: Call, *, error: AuditError | None = None, **kept: Any) -> Response:
    try:
        link = await call.services.links.find(call.path("token"))
    except NotFound as gone:
        return render(call, "sign_in/gone.html", 404, title="This link does not work", detail=str(gone))
    titles = {
        "first-admin": "Set up the first owner",
        "invite": f"Join {link.organization}",
        "password-reset": "Set a new password",
    }
    return render(
        call, "sign_in/link.html", 200 if error is None else _status(error), title=titles[link.purpose], link=link,
        error=error, name=kept.get("name", link.display_name or ""), email=kept.get("email", link.email or ""),
    )  # fmt: skip


async def use_link(call: Call) -> Answer:
    """Set what the link is for, and sign in."""
    fields = await read_form(call)
    name, email, password = (fields.get(one, "") for one in ("name", "email", "password"))
    try:
        if password != fields.get("again", ""):
            raise Refused(
                "The two passwords differ. Type the same one twice.", path="/again", rule="password"
            )
        session = await call.services.links.use(
            call.path("token"), password, visit_of(call), name=name, email=email
        )
    except Refused as error:
        return await _link_form(call, error=error, name=name[:256], email=email[:254])
    except NotFound:
        return await _link_form(call)
    return await signed_in(call, session, "/")


async def sign_out(call: Call) -> Answer:
    """End the session, here and on the server."""
    if call.principal is not None:
        await call.services.sessions.sign_out(call.principal, visit_of(call))
    answer = see_other("/sign-in")
    drop_cookie(call, answer, SESSION)
    return answer


async def _after(call: Call, step: Step, to: str) -> Response:
    if step.session is not None:
        return await signed_in(call, step.session, to)
    assert step.pending is not None
    answer = see_other("/sign-in/organization" if step.choices else "/sign-in/code")
    sealed = call.services.sign_in.seal(step.pending)
    set_cookie(call, answer, PENDING, sealed, seconds=_PENDING_SECONDS)
    return answer


async def signed_in(call: Call, session: NewSession, to: str) -> Response:
    """Hand the new session to the browser; one that was there before ends."""
    if call.principal is not None:
        await call.services.sessions.sign_out(call.principal, visit_of(call))
    answer = see_other(destination(to))
    set_cookie(call, answer, SESSION, session.token)
    drop_cookie(call, answer, PENDING)
    return answer


def destination(to: str | None) -> str:
    """Return where to go after signing in: a page of ours, and not one of sign-in itself."""
    path = local_path(to)
    return home() if path == "/" or path.startswith(("/sign-in", "/sign-out", "/theme")) else path


def _pending(call: Call) -> Pending:
    return call.services.sign_in.open(read_cookie(call, PENDING))


def _status(error: AuditError) -> int:
    return status_of(error)[0]
