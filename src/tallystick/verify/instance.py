"""All logs of one instance, checked side by side."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from contextlib import suppress
from typing import cast
from uuid import UUID

from msgspec import Struct

from tallystick.errors import AuditError
from tallystick.merkle.checkpoint import PinnedKey, parse_checkpoint
from tallystick.merkle.keys import VerifierKey
from tallystick.merkle.note import Verifier, parse_note
from tallystick.merkle.tlog_proof import HEADER, parse_tlog_proof
from tallystick.verify.known import Kept, is_bare
from tallystick.verify.log import LogCheck
from tallystick.verify.report import Report
from tallystick.verify.stored import VerbOf
from tallystick.verify.tables import LogTables
from tallystick.verify.trust import Keys


class Means(Struct, frozen=True):
    """What a check needs from outside: see `LogCheck`. `keys` are those of any log of the instance."""

    verb_of: VerbOf
    secret: bytes
    keys: Keys = ()
    kept: Sequence[Kept] = ()


class InstanceCheck:
    """Makes a `LogCheck` for each organization it meets, and collects what they find in `report`."""

    def __init__(self, tables: Mapping[UUID, LogTables], means: Means, report: Report) -> None:
        self._means, self._report = means, report
        self._logs = {id: check_of(id, tables[id], means) for id in sorted(tables)}

    def of(self, organization_id: UUID) -> LogCheck:
        """Return the check of one organization's log, new when no other table knows the organization."""
        found = self._logs.get(organization_id)
        if found is None:
            found = self._logs[organization_id] = check_of(organization_id, LogTables(), self._means)
        return found

    def finish(self) -> None:
        """Finish every log, and say which kept texts were of none of them."""
        for log in self._logs.values():
            self._report.absorb(log.finish())
        self._report.facts["logs"] = len(self._logs)
        for one in self._means.kept:
            if not any(is_of(one, organization_id) for organization_id in self._logs):
                self._report.violate("missing_log", one.label, "the log it was signed for is not here at all")


def check_of(organization_id: UUID, tables: LogTables, means: Means) -> LogCheck:
    """Return the check of one log, with those keys and kept texts that concern it."""
    return LogCheck(
        organization_id,
        tables,
        verb_of=means.verb_of,
        secret=means.secret,
        keys=keys_for(organization_id, means.keys),
        kept=[one for one in means.kept if is_of(one, organization_id)],
    )


def keys_for(organization_id: UUID, keys: Keys) -> Keys:
    """Return `keys` with each log's under the name of this organization's log: one key signs all of an instance."""
    found: list[Verifier | PinnedKey] = []
    for key in keys:
        if isinstance(key, VerifierKey) and "/o/" in key.name:
            instance = key.name.rpartition("/o/")[0]
            key = cast(Verifier, VerifierKey(f"{instance}/o/{organization_id}", key.public_key, key.key_type))
        if key not in found:
            found.append(key)
    return tuple(found)


def is_of(kept: Kept, organization_id: UUID) -> bool:
    """Tell whether a kept text says that it is of this organization's log."""
    with suppress(AuditError):
        if is_bare(kept.text):
            return parse_checkpoint(kept.text).origin.endswith(f"/o/{organization_id}")
        note = parse_tlog_proof(kept.text).checkpoint if kept.text.startswith(HEADER) else kept.text
        return parse_checkpoint(parse_note(note).text).origin.endswith(f"/o/{organization_id}")
    return False
