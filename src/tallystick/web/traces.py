"""Which call leaves which trace in the log of the log, by the name of the operation or page.

Three kinds: a look (a read that is an event of its own), a change (its service records it in the transaction of the
change), and what is not recorded, with the reason. A test walks over all operations and asks for each to be one of them;
reads that show no event of the log need no entry.
"""

from __future__ import annotations

from collections.abc import Mapping

from msgspec import Struct


class Look(Struct, frozen=True, kw_only=True):
    """How a read is recorded: the action, by whom, and whether the answer waits until it is on record.

    `seconds` is how long the same look counts as the same; 0 = each one is an event. `opens` names the parameter that
    opens one event beside the others, which is the view of that event.
    """

    action: str
    by_keys: bool = False
    first_recorded: bool = False
    seconds: float = 60.0
    opens: str = ""


SEARCH = Look(action="events.searched")
PAGE = Look(action="events.searched", opens="event")
VIEW = Look(action="event.viewed", first_recorded=True)
EXPORT = Look(action="events.exported", by_keys=True, first_recorded=True, seconds=0.0)
PROOF = Look(action="proof.downloaded")
EVIDENCE = Look(action="proof.downloaded", first_recorded=True)
CHECK = Look(action="log.verified", first_recorded=True)

LOOKS: Mapping[str, Look] = {
    "anthropicActivities": SEARCH,
    "consistencyProof": PROOF,
    "countEvents": SEARCH,
    "embeddedEvent": VIEW,
    "embeddedEvents": PAGE,
    "embeddedExport": EXPORT,
    "embeddedLive": PAGE,
    "embeddedSummary": SEARCH,
    "eventPage": VIEW,
    "eventsLive": PAGE,
    "eventsPage": PAGE,
    "eventsSummary": SEARCH,
    "export": EXPORT,
    "facets": SEARCH,
    "feed": SEARCH,
    "getEvent": VIEW,
    "getEvidence": EVIDENCE,
    "histogram": SEARCH,
    "inclusionProof": PROOF,
    "langsmithAuditLogs": SEARCH,
    "langwatchPull": SEARCH,
    "listQuarantine": SEARCH,
    "mistralAuditLogs": SEARCH,
    "mistralAuditLogsBeta": SEARCH,
    "openaiAuditLogs": SEARCH,
    "searchEvents": SEARCH,
    "startCheck": CHECK,
}

_MEMBER = ("member.deactivated", "member.reactivated", "member.role_changed", "member.updated")
_DIRECTORY = ("member.deactivated", "member.reactivated", "member.updated")
_GROUP = ("group.members_changed", "group.updated")
_WORKSPACE = ("workspace.archived", "workspace.restored", "workspace.updated")
_SWITCH = ("organization.audit_logs_disabled", "organization.audit_logs_enabled")
_SIGN_IN = ("signin.succeeded", "signin.failed", "signin.locked")
_LINK = ("invitation.accepted", "password.changed", "member.added")

# Operation or page → the actions its service records in the transaction of the change.
CHANGES: Mapping[str, tuple[str, ...]] = {
    "addProvider": ("sso.configured",),
    "approve": ("approval.approved",),
    "beginEvidence": ("evidence.issued", "events.exported"),
    "beginExport": ("events.exported",),
    "cancelExport": ("export.cancelled",),
    "changeGroup": ("group.role_changed",),
    "changeIdentityProvider": ("sso.configured",),
    "changeMember": _MEMBER,
    "changeMemberPage": _MEMBER,
    "changePassword": ("password.changed", "password.refused"),
    "changeProvider": ("sso.configured",),
    "changeRetention": ("retention.policy_changed", "approval.requested"),
    "changeRole": ("role.updated",),
    "changeWorkspace": _WORKSPACE,
    "changeWorkspacePage": _WORKSPACE,
    "chooseOrganization": _SIGN_IN,
    "createIdentityProvider": ("sso.configured",),
    "createKey": ("key.created",),
    "createRole": ("role.created",),
    "createSignInLink": ("signin.link_created",),
    "createTeam": ("team.created",),
    "createViewer": ("viewer_session.created",),
    "createWorkspace": ("workspace.created",),
    "deleteTeam": ("team.deleted",),
    "deleteTeamPage": ("team.deleted",),
    "deleteWorkspace": ("workspace.deleted",),
    "deleteWorkspacePage": ("workspace.deleted",),
    "disableSecondFactor": ("second_factor.disabled",),
    "embed": ("viewer_session.started",),
    "enableSecondFactor": ("second_factor.enabled",),
    "endMemberSession": ("session.revoked",),
    "endSession": ("session.revoked",),
    "erase": ("privacy.erased", "approval.requested"),
    "exchangeViewer": ("viewer_session.started",),
    "fetchEvidence": ("export.downloaded",),
    "fetchExport": ("export.downloaded",),
    "inviteMember": ("invitation.created",),
    "invitePage": ("invitation.created",),
    "issueEvidence": ("evidence.issued", "events.exported"),
    "issuePack": ("evidence.issued",),
    "makeFirstKey": ("key.created",),
    "makeKey": ("key.created",),
    "makePack": ("evidence.issued",),
    "makeRole": ("role.created",),
    "makeTeam": ("team.created",),
    "makeWorkspace": ("workspace.created",),
    "memberLink": ("signin.link_created",),
    "memberWorkspace": ("member.workspace_role_changed",),
    "newRecoveryCodes": ("second_factor.codes_replaced",),
    "refuse": ("approval.refused",),
    "registerAction": ("catalogue.action_registered",),
    "releaseHold": ("legal_hold.released", "approval.requested"),
    "removeIdentityProvider": ("sso.removed",),
    "removeMember": ("member.removed",),
    "removeMemberPage": ("member.removed",),
    "removeProvider": ("sso.removed",),
    "removeRole": ("role.removed",),
    "removeRolePage": ("role.removed",),
    "removeView": ("saved_view.removed",),
    "removeWorkspaceRole": ("member.workspace_role_changed",),
    "renameTeam": ("team.updated",),
    "reprocessQuarantine": ("quarantine.reprocessed",),
    "resetSecondFactor": ("second_factor.disabled",),
    "revokeKey": ("key.revoked",),
    "revokeKeyPage": ("key.revoked",),
    "revokeSession": ("session.revoked",),
    "revokeViewer": ("viewer_session.revoked",),
    "rotateKey": ("key.rotated",),
    "rotateKeyPage": ("key.rotated",),
    "runRetention": ("retention.pruned",),
    "saveView": ("saved_view.created",),
    "scimCreateGroup": ("group.created",),
    "scimCreateUser": ("member.added",),
    "scimPatchGroup": _GROUP,
    "scimPatchUser": _DIRECTORY,
    "scimRemoveGroup": ("group.removed",),
    "scimRemoveUser": ("member.removed",),
    "scimReplaceGroup": _GROUP,
    "scimReplaceUser": _DIRECTORY,
    "setHold": ("legal_hold.set",),
    "setWorkspaceRole": ("member.workspace_role_changed",),
    "signInWithCode": _SIGN_IN,
    "signInWithPassword": _SIGN_IN,
    "signOut": ("signout.succeeded",),
    "switchDualControl": ("organization.updated", "approval.requested"),
    "switchOrganization": _SWITCH,
    "switchReading": _SWITCH,
    "useLink": _LINK,
}

_ITSELF = "what is recorded is in the log itself, with the credential that brought it"
_ASKS = "it asks and changes nothing"
_NO_EVENT = "it shows no event of the log"
# Operation or page → why it leaves no event of this stream.
UNRECORDED: Mapping[str, str] = {
    "anchor": _NO_EVENT,
    "checkPage": "it shows how far a check is, whose start is on record",
    "checkProgress": "it shows how far a check is, whose start is on record",
    "checkpoint": _NO_EVENT,
    "chooseTheme": "light or dark is nobody's business",
    "chooseZone": "in which zone somebody reads the time is nobody's business",
    "evidencePage": _NO_EVENT,
    "exportLogs": _ITSELF,
    "exportManifest": _NO_EVENT,
    "exportsPage": _NO_EVENT,
    "getAction": _NO_EVENT,
    "getEvidenceBundle": _NO_EVENT,
    "langsmithOperations": _NO_EVENT,
    "listActions": _NO_EVENT,
    "listEvidence": _NO_EVENT,
    "listPacks": _NO_EVENT,
    "listViewers": _NO_EVENT,
    "openViewFirst": "which of their views opens first is nobody's business",
    "prepareExport": _NO_EVENT,
    "getProducer": _NO_EVENT,
    "listProducers": _NO_EVENT,
    "previewErasure": _ASKS,
    "previewHold": _ASKS,
    "previewRetention": _ASKS,
    "producerHeartbeat": "a sign of life each minute would drown what is done; silence is recorded",
    "receiveCloudEvents": _ITSELF,
    "producerPage": _NO_EVENT,
    "producersPage": _NO_EVENT,
    "recordBatch": _ITSELF,
    "recordEvent": _ITSELF,
    "saveCheckpoint": _NO_EVENT,
    "scimSearch": _ASKS,
    "scimSearchGroups": _ASKS,
    "scimSearchUsers": _ASKS,
    "timeStamp": _NO_EVENT,
    "tile": "hashes, which show no event and nobody can read one from",
    "verifierKeys": _NO_EVENT,
    "verifyPage": _NO_EVENT,
}
