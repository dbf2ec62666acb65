"""The checks that controls name: each looks at one thing and says what it found and what is missing, never more."""

from __future__ import annotations

from collections.abc import Awaitable, Callable
from typing import Final

from tallystick.services.evidence_bundle_words import moment_text
from tallystick.services.packs.facts import Facts, Outcome

Check = Callable[[Facts], Awaitable[Outcome]]
CHECKS: Final[dict[str, Check]] = {}
YEAR_DAYS: Final = 365
SIX_YEARS_DAYS: Final = 2192


def check(function: Check) -> Check:
    """Declare a check under its function's name."""
    CHECKS[function.__name__] = function
    return function


@check
async def log_proves_itself(facts: Facts) -> Outcome:
    """The export of this pack leads to the root that the log signed."""
    report = facts.report
    if report.verdict == "proven":
        events, size = report.facts.get("events", 0), report.facts.get("log size", 0)
        return Outcome(
            result="met",
            found=f"The log of {size:,} events proves itself complete and unchanged; {events:,} are here in full.",
        )
    return Outcome(result="not_met", missing=f"The log contradicts itself in {report.violations:,} places.")


@check
async def removals_are_accounted_for(facts: Facts) -> Outcome:
    """Whatever was removed or erased is covered by a record."""
    if facts.report.verdict != "proven":
        return Outcome(result="not_met", missing="Removals could not be held against their records.")
    gone, erased = facts.report.facts.get("removed", 0), facts.report.facts.get("erased", 0)
    told = f"{gone:,} events were removed and {erased:,} erased in part" if gone or erased else "Nothing was removed or erased"  # fmt: skip
    return Outcome(
        result="met", found=f"{told} in this range; nothing is gone without a record of who and why."
    )


@check
async def kept_for_a_year(facts: Facts) -> Outcome:
    """No rule lets events go before twelve months."""
    return _kept_for(facts, YEAR_DAYS, "twelve months")


@check
async def kept_for_six_years(facts: Facts) -> Outcome:
    """No rule lets events go before six years."""
    return _kept_for(facts, SIX_YEARS_DAYS, "six years")


def _kept_for(facts: Facts, days: int, words: str) -> Outcome:
    short = [
        f"{_scope(rule.stream, rule.workspace)} {rule.days} days"
        for rule in facts.rules
        if rule.days is not None and rule.days < days
    ]
    if facts.days is not None and facts.days < days:
        short.insert(0, f"everything else {facts.days} days")
    if not short:
        kept = "for ever" if facts.days is None else f"for {facts.days:,} days"
        return Outcome(result="met", found=f"Events are kept {kept}; no rule is shorter than {words}.")
    return Outcome(
        result="partly" if facts.days is None or facts.days >= days else "not_met",
        missing=f"Retention shorter than {words}: {'; '.join(short)}. Set a longer class: tallystick retention set.",
    )


def _scope(stream: str | None, workspace: str | None) -> str:
    return f"stream “{stream}”" if stream is not None else f"workspace “{workspace}”"


@check
async def retention_is_declared(facts: Facts) -> Outcome:
    """How long events are kept is a rule of the system, on record."""
    kept = "for ever" if facts.days is None else f"{facts.days:,} days"
    return Outcome(
        result="met",
        found=f"Retention: {kept} by default, {len(facts.rules)} rules of single streams or workspaces, {facts.holds} legal "
        "holds in force. Changes are events of the log.",
    )  # fmt: skip


@check
async def acts_are_on_record(facts: Facts) -> Outcome:
    """The control's own query has events in the period."""
    if facts.matches:
        are = "event is" if facts.matches == 1 else "events are"
        return Outcome(result="met", found=f"{facts.matches:,} such {are} on record in the period.")
    return Outcome(
        result="unknown",
        found="No such event is on record in the period.",
        missing="No event shows it: either nothing of the kind happened, or the systems concerned do not record here.",
    )


@check
async def looks_are_on_record(facts: Facts) -> Outcome:
    """Who reads or exports the log is recorded in the log."""
    looks = await facts.count(
        "stream:tallystick action:^events. action:^event. action:^export action:^evidence."
    )
    if looks:
        return Outcome(
            result="met",
            found=f"{looks:,} searches, views and exports of the log are themselves on record.",
        )
    return Outcome(
        result="unknown", missing="Nobody looked at the log in the period, so no look is on record."
    )


@check
async def refusals_are_on_record(facts: Facts) -> Outcome:
    """Failed sign-ins and refused access are recorded."""
    refused = await facts.count(
        "stream:tallystick action:^access.denied$ action:^signin.failed$ action:^signin.locked$ action:^change.refused$"
    )
    elsewhere = await facts.count("outcome:denied -stream:tallystick")
    if refused + elsewhere:
        return Outcome(
            result="met",
            found=f"{refused:,} refusals by this log and {elsewhere:,} by the systems it records are on record.",
        )
    return Outcome(result="unknown", missing="No refusal is on record in the period; none may have happened.")


@check
async def everyone_has_a_name(facts: Facts) -> Outcome:
    """Events name an individual."""
    total, nameless = await facts.count("created:>=1970-01-01"), await facts.count("actor_type:anonymous")
    if not total:
        return Outcome(result="unknown", missing="No event is on record in the period.")
    if not nameless:
        return Outcome(result="met", found=f"Each of {total:,} events names who acted.")
    return Outcome(
        result="partly",
        found=f"{total - nameless:,} of {total:,} events name who acted.",
        missing=f"{nameless:,} events are of somebody not signed in (actor_type:anonymous).",
    )


@check
async def a_second_person_decides(facts: Facts) -> Outcome:
    """Dual control is on."""
    if facts.dual_control:
        return Outcome(
            result="met",
            found="Shortening a retention, releasing a hold and erasing need a second person's approval.",
        )
    return Outcome(
        result="not_met",
        missing="Dual control is off: one person alone may shorten retention, release a hold or erase. Switch it on: "
        "tallystick approvals dual-control on.",
    )


@check
async def somebody_outside_signed(facts: Facts) -> Outcome:
    """A witness cosigned the log of late."""
    outside = facts.outside
    if outside.witnesses and outside.witnessed_at is not None:
        return Outcome(
            result="met",
            found=f"{outside.witnesses} witnesses sign what the logs of this server say, the last on "
            f"{moment_text(outside.witnessed_at.replace(microsecond=0))}.",
        )
    return Outcome(
        result="not_met",
        missing="No external witness signed in the last seven days: whoever holds both the database and the signing key could "
        "rewrite the log, unless somebody kept a checkpoint.",
    )  # fmt: skip


@check
async def time_is_signed(facts: Facts) -> Outcome:
    """Checkpoints carry a signed time, and an authority of time agrees."""
    signed_at = str(facts.report.facts.get("signed at", ""))
    if not signed_at:
        return Outcome(result="not_met", missing="The newest checkpoint carries no time of the log's clock.")
    found = (
        f"Every event has its own time and that of its receipt in UTC; the clock's key signed on {signed_at}."
    )
    if facts.outside.authorities and facts.outside.stamped_at is not None:
        stamped = moment_text(facts.outside.stamped_at.replace(microsecond=0))
        return Outcome(
            result="met",
            found=f"{found} An authority of time (RFC 3161) stamped the log, the last on {stamped}.",
        )
    return Outcome(
        result="partly",
        found=found,
        missing="No time stamp (RFC 3161) of an independent authority: the time is this server's own.",
    )


@check
async def somebody_is_told(facts: Facts) -> Outcome:
    """Alert rules exist."""
    made = await facts.ever("stream:tallystick action:^alert_rule.created$")
    removed = await facts.ever("stream:tallystick action:^alert_rule.removed$")
    raised = await facts.count("stream:tallystick action:^alert.raised$")
    if made > removed:
        return Outcome(
            result="met",
            found=f"{made - removed} alert rules are on record; {raised:,} alerts were raised in the period.",
        )
    return Outcome(result="not_met", missing="No alert rule is on record: nobody is told of what happens.")


@check
async def copies_leave(facts: Facts) -> Outcome:
    """Events are sent to another system too."""
    sinks = await facts.ever("stream:tallystick action:^sink.created$")
    gone = await facts.ever("stream:tallystick action:^sink.removed$")
    if sinks > gone:
        return Outcome(
            result="met",
            found=f"{sinks - gone} sinks are on record, by which events leave for other systems.",
        )
    return Outcome(
        result="not_met", missing="No sink is on record: events are not sent to a SIEM or another store."
    )


@check
async def backups_are_taken(facts: Facts) -> Outcome:
    """A backup is on record in the period."""
    taken = await facts.count("stream:tallystick action:^backup.created$")
    if taken:
        return Outcome(result="met", found=f"{taken:,} backups are on record in the period.")
    return Outcome(
        result="unknown",
        missing="No backup by Tallystick is on record in the period; one made by other means is not seen here.",
    )


@check
async def interruptions_are_on_record(facts: Facts) -> Outcome:
    """Starts, stops, changed settings and switches of the log are recorded."""
    seen = await facts.count(
        "stream:tallystick action:^server. action:^organization.audit_logs_ action:^log.restored$"
    )
    if seen:
        return Outcome(
            result="met",
            found=f"{seen:,} starts, stops, changes of settings and switches of the log are on record. Recording cannot be "
            "switched off by a caller.",
        )
    return Outcome(
        result="unknown", missing="No start, stop or change of settings is on record in the period."
    )


@check
async def the_log_is_reviewed(facts: Facts) -> Outcome:
    """People look at the log, or have it verified."""
    looked = await facts.count("stream:tallystick action:^events.searched$ actor_type:user")
    verified = await facts.count("stream:tallystick action:^log.verified$")
    if looked:
        return Outcome(
            result="met",
            found=f"People searched the log {looked:,} times and had it verified {verified:,} times.",
        )
    return Outcome(result="not_met", missing="No person looked at the log in the period.")


@check
async def sign_in_is_strong(facts: Facts) -> Outcome:
    """Single sign-on or second factors are on record."""
    single = await facts.ever("stream:tallystick action:^sso.configured$")
    second = await facts.ever("stream:tallystick action:^second_factor.enabled$")
    if single or second:
        return Outcome(
            result="met",
            found=f"Single sign-on was configured {single} times, {second} second factors were set up.",
        )
    return Outcome(
        result="not_met",
        missing="Neither single sign-on nor a second factor is on record for the log itself.",
    )
