"""The table of pages on one screen; web/app.py serves them beside the operations of the API."""

from __future__ import annotations

from typing import Any

from tallystick.services.permissions import EXPORT, KEYS, MANAGE, MEMBERS, READ
from tallystick.web.api import export
from tallystick.web.ui.embedded import EmbeddedPage
from tallystick.web.ui.page import PUBLIC, SIGNED_IN, GuardedPage, Handler, Page
from tallystick.web.ui.pages import (
    account,
    embed,
    events,
    evidence,
    exports,
    live,
    producers,
    settings_keys,
    settings_members,
    settings_organization,
    settings_workspaces,
    sign_in,
    sign_in_settings,
    single,
    start,
    verify,
)

GET, POST = "GET", "POST"


def page(method: str, path: str, name: str, handler: Handler, permission: str | None) -> Page:
    """Declare a page."""
    return Page(method=method, path=path, name=name, handler=handler, permission=permission)


def behind_its_door(page: Page, services: Any) -> GuardedPage:
    """Return a page behind the door it belongs to: of people who sign in, or of viewers within somebody's page."""
    return (EmbeddedPage if page.path.startswith(f"{embed.ROOT}/") else GuardedPage)(page, services)


PAGES: tuple[Page, ...] = (
    page(GET, "/", "start", start.start, PUBLIC),
    page(POST, "/theme", "chooseTheme", start.choose_theme, PUBLIC),
    page(POST, "/zone", "chooseZone", start.choose_zone, PUBLIC),
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
    page(GET, "/embed", "embed", embed.enter, PUBLIC),
    page(GET, "/embed/{viewer}/events", "embeddedEvents", events.show, READ),
    page(GET, "/embed/{viewer}/events/summary", "embeddedSummary", events.show_summary, READ),
    page(GET, "/embed/{viewer}/events/live", "embeddedLive", live.follow, READ),
    page(GET, "/embed/{viewer}/events/{id}", "embeddedEvent", events.show_one, READ),
    page(GET, "/embed/{viewer}/export", "embeddedExport", export.export_events, EXPORT),
    page(GET, "/settings/audit-log", "auditLogOfOthers", events.to_events, PUBLIC),
    page(GET, "/account", "account", account.show, SIGNED_IN),
    page(POST, "/account/password", "changePassword", account.change_password, SIGNED_IN),
    page(GET, "/account/second-factor", "secondFactor", account.show_second_factor, SIGNED_IN),
    page(POST, "/account/second-factor", "enableSecondFactor", account.enable_second_factor, SIGNED_IN),
    page(POST, "/account/second-factor/remove", "disableSecondFactor", account.disable_second_factor, SIGNED_IN),
    page(POST, "/account/recovery-codes", "newRecoveryCodes", account.new_recovery_codes, SIGNED_IN),
    page(POST, "/account/sessions/{id}/end", "endSession", account.end_session, SIGNED_IN),
    page(GET, "/exports", "exportsPage", exports.show, EXPORT),
    page(POST, "/exports", "beginExport", exports.begin, EXPORT),
    page(GET, "/exports/new", "prepareExport", exports.prepare, EXPORT),
    page(POST, "/exports/{id}/cancel", "cancelExport", exports.cancel, EXPORT),
    page(GET, "/exports/{id}/file", "fetchExport", exports.fetch, EXPORT),
    page(GET, "/exports/{id}/manifest", "exportManifest", exports.manifest, EXPORT),
    page(GET, "/evidence", "evidencePage", evidence.show, EXPORT),
    page(POST, "/evidence", "beginEvidence", evidence.begin, EXPORT),
    page(POST, "/evidence/packs/{name}", "makePack", evidence.make_pack, EXPORT),
    page(GET, "/verify", "verifyPage", verify.show, READ),
    page(GET, "/verify/checkpoint", "saveCheckpoint", verify.checkpoint, READ),
    page(POST, "/verify/checks", "startCheck", verify.start, EXPORT),
    page(GET, "/verify/checks/{id}", "checkPage", verify.show_check, EXPORT),
    page(GET, "/verify/checks/{id}/progress", "checkProgress", verify.progress, EXPORT),
    page(GET, "/settings/keys", "keysPage", settings_keys.show, KEYS),
    page(POST, "/settings/keys", "makeKey", settings_keys.create, KEYS),
    page(POST, "/settings/keys/{id}/rotate", "rotateKeyPage", settings_keys.rotate, KEYS),
    page(GET, "/settings/keys/{id}/revoke", "askToRevokeKey", settings_keys.ask_to_revoke, KEYS),
    page(POST, "/settings/keys/{id}/revoke", "revokeKeyPage", settings_keys.revoke, KEYS),
    page(GET, "/settings/members", "membersPage", settings_members.show, MEMBERS),
    page(POST, "/settings/members", "invitePage", settings_members.invite, MEMBERS),
    page(POST, "/settings/members/roles", "makeRole", settings_members.add_role, MEMBERS),
    page(POST, "/settings/members/roles/{id}/remove", "removeRolePage", settings_members.remove_role, MEMBERS),
    page(GET, "/settings/members/{id}", "memberPage", settings_members.show_one, MEMBERS),
    page(POST, "/settings/members/{id}", "changeMemberPage", settings_members.change, MEMBERS),
    page(POST, "/settings/members/{id}/workspaces", "memberWorkspace", settings_members.change_workspace, MEMBERS),
    page(POST, "/settings/members/{id}/link", "memberLink", settings_members.make_link, MEMBERS),
    page(POST, "/settings/members/{id}/sessions/{session}/end", "endMemberSession", settings_members.end_session, MEMBERS),
    page(POST, "/settings/members/{id}/remove", "removeMemberPage", settings_members.remove, MEMBERS),
    page(GET, "/settings/workspaces", "workspacesPage", settings_workspaces.show, MEMBERS),
    page(POST, "/settings/workspaces", "makeWorkspace", settings_workspaces.create, MEMBERS),
    page(POST, "/settings/workspaces/teams", "makeTeam", settings_workspaces.create_team, MEMBERS),
    page(POST, "/settings/workspaces/teams/{id}/delete", "deleteTeamPage", settings_workspaces.delete_team, MEMBERS),
    page(GET, "/settings/workspaces/{id}", "workspacePage", settings_workspaces.show_one, MEMBERS),
    page(POST, "/settings/workspaces/{id}", "changeWorkspacePage", settings_workspaces.change, MEMBERS),
    page(POST, "/settings/workspaces/{id}/delete", "deleteWorkspacePage", settings_workspaces.delete, MEMBERS),
    page(GET, "/settings/producers", "producersPage", producers.show, READ),
    page(GET, "/settings/producers/{id}", "producerPage", producers.show_one, READ),
    page(GET, "/settings/organization", "organizationPage", settings_organization.show, MANAGE),
    page(POST, "/settings/organization/reading", "switchReading", settings_organization.switch, MANAGE),
    page(GET, "/settings/about", "aboutPage", settings_organization.about, SIGNED_IN),
    page(GET, "/settings/sign-in", "signInSettings", sign_in_settings.show, MANAGE),
    page(POST, "/settings/sign-in", "addProvider", sign_in_settings.save, MANAGE),
    page(GET, "/settings/sign-in/{id}", "providerSettings", sign_in_settings.show_one, MANAGE),
    page(POST, "/settings/sign-in/{id}", "changeProvider", sign_in_settings.save, MANAGE),
    page(POST, "/settings/sign-in/{id}/remove", "removeProvider", sign_in_settings.remove, MANAGE),
)  # fmt: skip
