"""The table of pages on one screen; web/app.py serves them beside the operations of the API."""

from __future__ import annotations

from tallystick.services.permissions import EXPORT, KEYS, MANAGE, READ
from tallystick.web.ui.page import PUBLIC, SIGNED_IN, Page
from tallystick.web.ui.pages import account, events, live, sign_in, sign_in_settings, single, start, verify

GET, POST = "GET", "POST"


def page(method: str, path: str, name: str, handler: object, permission: str | None) -> Page:
    """Declare a page."""
    return Page(method=method, path=path, name=name, handler=handler, permission=permission)  # type: ignore[arg-type]


PAGES: tuple[Page, ...] = (
    page(GET, "/", "start", start.start, PUBLIC),
    page(POST, "/theme", "chooseTheme", start.choose_theme, PUBLIC),
    page(GET, "/sign-in", "signIn", sign_in.show, PUBLIC),
    page(POST, "/sign-in", "signInWithPassword", sign_in.with_password, PUBLIC),
    page(GET, "/sign-in/organization", "signInOrganization", sign_in.show_choice, PUBLIC),
    page(POST, "/sign-in/organization", "chooseOrganization", sign_in.choose, PUBLIC),
    page(GET, "/sign-in/code", "signInCode", sign_in.show_code, PUBLIC),
    page(POST, "/sign-in/code", "signInWithCode", sign_in.with_code, PUBLIC),
    page(GET, "/sign-in/forgot", "forgotPassword", sign_in.forgot, PUBLIC),
    page(GET, "/sign-in/link/{token}", "showLink", sign_in.show_link, PUBLIC),
    page(POST, "/sign-in/link/{token}", "useLink", sign_in.use_link, PUBLIC),
    page(GET, "/sign-in/o/{organization}", "signInTo", sign_in.show_of_organization, PUBLIC),
    page(GET, "/sign-in/single/{organization}/{provider}", "singleSignOn", single.begin, PUBLIC),
    page(GET, "/sign-in/callback", "singleSignOnBack", single.finish, PUBLIC),
    page(POST, "/sign-out", "signOut", sign_in.sign_out, PUBLIC),
    page(GET, "/events", "eventsPage", events.show, READ),
    page(GET, "/events/summary", "eventsSummary", events.show_summary, READ),
    page(GET, "/events/live", "eventsLive", live.follow, READ),
    page(POST, "/events/views", "saveView", events.save_view, READ),
    page(POST, "/events/views/{id}/remove", "removeView", events.remove_view, READ),
    page(POST, "/events/views/{id}/first", "openViewFirst", events.open_first, READ),
    page(POST, "/events/first-key", "makeFirstKey", events.make_first_key, KEYS),
    page(GET, "/events/{id}", "eventPage", events.show_one, READ),
    page(GET, "/settings/audit-log", "auditLogOfOthers", events.to_events, PUBLIC),
    page(GET, "/account", "account", account.show, SIGNED_IN),
    page(POST, "/account/password", "changePassword", account.change_password, SIGNED_IN),
    page(GET, "/account/second-factor", "secondFactor", account.show_second_factor, SIGNED_IN),
    page(POST, "/account/second-factor", "enableSecondFactor", account.enable_second_factor, SIGNED_IN),
    page(POST, "/account/second-factor/remove", "disableSecondFactor", account.disable_second_factor, SIGNED_IN),
    page(POST, "/account/recovery-codes", "newRecoveryCodes", account.new_recovery_codes, SIGNED_IN),
    page(POST, "/account/sessions/{id}/end", "endSession", account.end_session, SIGNED_IN),
    page(GET, "/verify", "verifyPage", verify.show, READ),
    page(GET, "/verify/checkpoint", "saveCheckpoint", verify.checkpoint, READ),
    page(POST, "/verify/checks", "startCheck", verify.start, EXPORT),
    page(GET, "/verify/checks/{id}", "checkPage", verify.show_check, EXPORT),
    page(GET, "/verify/checks/{id}/progress", "checkProgress", verify.progress, EXPORT),
    page(GET, "/settings/sign-in", "signInSettings", sign_in_settings.show, MANAGE),
    page(POST, "/settings/sign-in", "addProvider", sign_in_settings.save, MANAGE),
    page(GET, "/settings/sign-in/{id}", "providerSettings", sign_in_settings.show_one, MANAGE),
    page(POST, "/settings/sign-in/{id}", "changeProvider", sign_in_settings.save, MANAGE),
    page(POST, "/settings/sign-in/{id}/remove", "removeProvider", sign_in_settings.remove, MANAGE),
)  # fmt: skip
