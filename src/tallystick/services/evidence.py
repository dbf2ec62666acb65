"""One event with what proves it: read, opened, re-sealed and checked against the signed checkpoint, each time anew."""

from __future__ import annotations

from typing import Any, Literal
from uuid import UUID

from msgspec import Struct

from tallystick.errors import AuditError, NotFound
from tallystick.event.render import render
from tallystick.event.unseal import unseal
from tallystick.merkle.note import encode_base64
from tallystick.merkle.proof import verify_inclusion
from tallystick.merkle.tlog_proof import parse_tlog_proof
from tallystick.merkle.tree import leaf_hash
from tallystick.services.log import Log
from tallystick.services.narrow import sight
from tallystick.services.principal import Principal
from tallystick.services.sign import Signer
from tallystick.store import evidence as rows
from tallystick.store.connect import Pool
from tallystick.verify.layout import full_line

Standing = Literal["verified", "pending", "broken"]


class Evidence(Struct, frozen=True, kw_only=True):
    """An event and its proof, checked by this server a moment ago.

    `standing`: `pending` before the first checkpoint that covers it, `broken` when anything disagrees; `why` says
    what. `leaf` are the exact bytes that were hashed to `leaf_hash`, `root` is the checkpoint's, in base64.
    `line` is the event's line of an export, `keys` are the texts of the log's key and its clock's.
    """

    position: int
    event: dict[str, Any]
    leaf: bytes
    leaf_hash: bytes
    line: bytes
    keys: tuple[str, str]
    origin: str
    standing: Standing
    why: str = ""
    receipt: str = ""
    size: int = 0
    root: str = ""
    key_name: str = ""
    key_id: str = ""


class Evidences:
    """Reads events with their proofs.

    Args:
        pool: connections of the reading role.
        signer: knows the keys that sign this server's logs.
        log: makes receipts.
    """

    def __init__(self, pool: Pool, signer: Signer, log: Log) -> None:
        self._pool = pool
        self._signer = signer
        self._log = log

    async def of(self, principal: Principal, event_id: UUID) -> Evidence:
        """Return an event with its proof; raises NotFound, also for one that `principal` may not see."""
        row = await rows.sealed(self._pool, principal.organization_id, event_id)
        event = None if row is None else render(row.leaf, row.opening, row.position)
        if row is None or event is None or not sight(principal)(event):
            raise NotFound("There is no event with this id in this organization.")
        origin = self._signer.origin(principal.organization_id)
        hashed = leaf_hash(row.leaf)
        facts: dict[str, Any] = {}
        standing, why = "verified", ""
        try:
            unseal(row.leaf, row.opening, row.seed)
            facts["receipt"] = receipt = await self._log.receipt(principal.organization_id, row.position)
            proof = parse_tlog_proof(receipt)
            signed = self._signer.read(origin, proof.checkpoint)
            checkpoint = signed.checkpoint
            facts |= {"size": checkpoint.size, "root": encode_base64(checkpoint.root),
                      "key_name": signed.signed_by[0].name, "key_id": f"{signed.signed_by[0].key_id:08x}"}  # fmt: skip
            verify_inclusion(row.position, checkpoint.size, hashed, proof.hashes, checkpoint.root)
        except NotFound as error:
            standing, why = "pending", str(error)
        except AuditError as error:
            standing, why = "broken", str(error)
        return Evidence(
            position=row.position, event=event, leaf=row.leaf, leaf_hash=hashed, origin=origin,
            line=full_line(row.position, str(principal.organization_id), row.leaf, row.opening, row.seed).rstrip(b"\n"),
            keys=self._log.verifier_keys(principal.organization_id),
            standing=standing, why=why, **facts,
        )  # fmt: skip
