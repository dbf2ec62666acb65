"""One's own account: password, second factor, recovery codes, sessions."""

from __future__ import annotations

import segno
from markupsafe import Markup
from starlette.responses import Response

from tallystick.errors import AuditError, Refused, Unauthorized
from tallystick.web.api.sign_in import visit_of
from tallystick.web.call import Answer, Call
from tallystick.web.guard import status_of
from tallystick.web.ui.forms import read_form
from tallystick.web.ui.render import render, see_other, templates

# The first that is found names it; each newer browser also claims to be an older one.
_BROWSERS = (
    ("Edg/", "Edge"),
    ("OPR/", "Opera"),
    ("Firefox/", "Firefox"),
    ("Chrome/", "Chrome"),
    ("Safari/", "Safari"),
)
_SYSTEMS = (
    ("Android", "Android"), ("iPhone", "iPhone"), ("iPad", "iPad"), ("Windows", "Windows"), ("Mac OS", "macOS"),
    ("CrOS", "ChromeOS"), ("Linux", "Linux"),
)  # fmt: skip


def browser_of(user_agent: str | None) -> str:
    """Return a user agent in two words, as far as they can be told; what is no browser's is shown as it is."""
    if not user_agent:
        return "—"
    name = next((shown for mark, shown in _BROWSERS if mark in user_agent), None)
    system = next((shown for mark, shown in _SYSTEMS if mark in user_agent), None)
    return user_agent[:120] if name is None else f"{name} on {system}" if system else name


templates().filters["browser"] = browser_of


async def show(call: Call) -> Answer:
    """Show how one signs in, and where one is signed in."""
    return await _account(call)


async def _account(call: Call, *, error: AuditError | None = None, about: str = "") -> Response:
    services = call.services
    standing = await services.account.standing(call.caller)
    sessions = await services.sessions.own(call.caller)
    return render(
        call, "account/account.html", 200 if error is None else status_of(error)[0], title="Your account",
        standing=standing, sessions=sessions, error=error, about=about, done=dict(call.query()).get("done", ""),
    )  # fmt: skip


async def change_password(call: Call) -> Answer:
    """Set a new password."""
    fields = await read_form(call)
    old, new, again = (fields.get(name, "") for name in ("old", "new", "again"))
    try:
        if new != again:
            raise Refused("The two new passwords differ. Type the same one twice.", rule="password")
        await call.services.account.change_password(call.caller, old, new, visit_of(call))
    except (Refused, Unauthorized) as error:
        return await _account(call, error=error, about="password")
    return see_other("/account?done=password")


async def show_second_factor(call: Call) -> Answer:
    """Show the secret to scan."""
    return await _offer(call)


async def _offer(call: Call, *, error: AuditError | None = None) -> Response:
    offer = await call.services.account.offer_second_factor(call.caller, issuer="Tallystick")
    # Drawn by us from our own text; nothing in it comes from a request.
    picture = Markup(  # noqa: S704
        segno.make(offer.uri, error="m").svg_inline(
            scale=4, border=2, dark="#000", light="#fff", omitsize=True
        )
    )
    standing = await call.services.account.standing(call.caller)
    return render(
        call, "account/second_factor.html", 200 if error is None else status_of(error)[0],
        title="Set up a second factor", picture=picture, secret=offer.text, error=error,
        has_password=standing.password_hash is not None,
    )  # fmt: skip


async def enable_second_factor(call: Call) -> Answer:
    """Put the second factor in force and show the recovery codes this once."""
    fields = await read_form(call)
    try:
        codes = await call.services.account.enable_second_factor(
            call.caller, fields.get("code", ""), fields.get("password", ""), visit_of(call)
        )
    except (Refused, Unauthorized) as error:
        if error.rule == "second_factor":
            raise
        return await _offer(call, error=error)
    return render(call, "account/codes.html", title="Recovery codes", codes=codes, is_new=True)


async def disable_second_factor(call: Call) -> Answer:
    """Remove the second factor."""
    fields = await read_form(call)
    try:
        await call.services.account.disable_second_factor(
            call.caller, fields.get("password", ""), visit_of(call)
        )
    except (Refused, Unauthorized) as error:
        return await _account(call, error=error, about="second-factor")
    return see_other("/account?done=second-factor")


async def new_recovery_codes(call: Call) -> Answer:
    """Replace the recovery codes and show the new ones this once."""
    fields = await read_form(call)
    try:
        codes = await call.services.account.new_recovery_codes(
            call.caller, fields.get("password", ""), visit_of(call)
        )
    except (Refused, Unauthorized) as error:
        return await _account(call, error=error, about="second-factor")
    return render(call, "account/codes.html", title="Recovery codes", codes=codes, is_new=False)


async def end_session(call: Call) -> Answer:
    """End one of one's own sessions."""
    await call.services.sessions.revoke(call.caller, call.path("id"), visit_of(call))
    return see_other("/account?done=session")
