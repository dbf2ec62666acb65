"""The error classes of Tallystick; each one is an instruction to whoever catches it.

They are mapped to HTTP once, in `web/guard.py`, and to exit codes once, in `cli/`.
"""

from __future__ import annotations


class AuditError(Exception):
    """Base of every error Tallystick raises on purpose; `str(error)` is a sentence for the user.

    `path` names the offending place in the input as a JSON pointer ("" = the whole document), `rule`
    the rule that was broken, in a word that does not change between releases.
    """

    rule = "error"

    def __init__(self, message: str, *, path: str = "", rule: str | None = None) -> None:
        super().__init__(message)
        self.path = path
        if rule is not None:
            self.rule = rule


class Refused(AuditError):
    """The input can never be valid: answer 400, do not retry; nothing of this event was stored."""

    rule = "refused"


class TooLarge(Refused):
    """The input is over a limit of size: answer 413; cut it and send again."""

    rule = "too_large"


class Conflict(Refused):
    """The id was used before with other content: answer 409; nothing was stored or changed."""

    rule = "conflict"


class Unauthorized(AuditError):
    """No valid credential came with the call: answer 401."""

    rule = "unauthorized"


class Forbidden(AuditError):
    """The credential is valid but does not permit this: answer 403."""

    rule = "forbidden"


class NotFound(AuditError):
    """The thing does not exist for this caller: answer 404, whether or not others can see it."""

    rule = "not_found"


class TryLater(AuditError):
    """Overloaded or not ready: answer 503 with Retry-After; the same call may succeed later."""

    rule = "try_later"

    def __init__(self, message: str, *, retry_after_seconds: int = 1) -> None:
        super().__init__(message)
        self.retry_after_seconds = retry_after_seconds


class UnknownOutcome(TryLater):
    """A commit may or may not have happened: answer 503; retry with the same id, never call it failed."""

    rule = "unknown_outcome"


class SpoolFull(TryLater):
    """The producer's spool takes no more: this event was not kept, and the count of lost events says so."""

    rule = "spool_full"


class NotConfirmed(UnknownOutcome):
    """The server did not confirm in time: the event is safe in the spool and will be sent; do not repeat it."""

    rule = "not_confirmed"


class ServerRejected(Refused):
    """The server will never take this event: it lies among the dead letters of the spool."""

    rule = "server_rejected"


class Tampered(AuditError):
    """Stored bytes disagree with the log: stop, sign nothing, and tell a human."""

    rule = "tampered"


class Misconfigured(AuditError):
    """A setting is wrong: refuse to start and say which one and what to write instead."""

    rule = "misconfigured"
