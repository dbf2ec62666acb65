"""The way to an organization's identity provider and back."""

from __future__ import annotations

from uuid import UUID

from starlette.responses import RedirectResponse, Response

from tallystick.errors import NotFound, Refused
from tallystick.services.sign_in.oidc import BadAnswer
from tallystick.web.api.sign_in import visit_of
from tallystick.web.call import Answer, Call
from tallystick.web.cookies import SINGLE, drop_cookie, read_cookie, set_cookie
from tallystick.web.ui.pages.sign_in import signed_in
from tallystick.web.ui.render import local_path, render

CALLBACK = "/sign-in/callback"
_FLOW_SECONDS = 600


async def begin(call: Call) -> Answer:
    """Send the browser to the identity provider."""
    origin = call.services.address.origin_of(call.header(b"host"))
    to = local_path(dict(call.query()).get("to"))
    url, sealed = await call.services.single_sign_on.begin(
        organization_of(call), call.path("provider"), origin + CALLBACK, to=to if len(to) <= 512 else "/"
    )
    answer = RedirectResponse(url, 303)
    set_cookie(call, answer, SINGLE, sealed, seconds=_FLOW_SECONDS)
    return answer


async def finish(call: Call) -> Answer:
    """Take the identity provider's word."""
    answer: Response
    query = call.query()
    try:
        if len({name for name, _ in query}) != len(query):
            raise Refused("The identity provider's answer says something twice. Begin again.", rule="oidc")
        session, to = await call.services.single_sign_on.finish(
            read_cookie(call, SINGLE), dict(query), visit_of(call)
        )
    except BadAnswer as error:
        answer = render(call, "sign_in/no.html", 403, title="You are not signed in", detail=str(error))
    else:
        answer = await signed_in(call, session, to)
    drop_cookie(call, answer, SINGLE)
    return answer


def organization_of(call: Call) -> UUID:
    """Return the organization in the path; raises NotFound for what is no id of one."""
    try:
        return UUID(call.path("organization"))
    except ValueError:
        raise NotFound("There is no such organization.") from None
