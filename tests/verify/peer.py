"""Seals events as docs/design of the leaf says, independently of the code under test, and exports them."""

from __future__ import annotations

import base64
import hashlib
import random
from collections.abc import Sequence
from dataclasses import dataclass, field
from datetime import UTC, datetime, timedelta
from uuid import UUID

import rfc8785
from msgspec.structs import asdict

from tallystick.formats.jsonl import ExportRow, JsonlWriter
from tallystick.merkle.checkpoint import Checkpoint
from tallystick.merkle.keys import Cosigner, SignerKey
from tallystick.merkle.note import encode_base64
from tallystick.merkle.proof import subtrees
from tallystick.merkle.tree import root_of
from tallystick.services.renderings import writer_of
from tallystick.verify.beside import EventRow
from tallystick.verify.layout import Header, ProofHeader, Rendering

ORGANIZATION = "6f1b2c3d-0000-4000-8000-000000000001"
ORIGIN = f"logs.example.com/o/{ORGANIZATION}"
SIGNER = SignerKey(ORIGIN, bytes(range(32)))
CLOCK = Cosigner(SignerKey("logs.example.com/clock", bytes(range(1, 33))), 1_782_864_000)
SALT, FIELD, SEALED = b"tallystick/salt/1\0", b"tallystick/field/1\0", b"tallystick/sealed/1\0"


def url64(raw: bytes) -> str:
    return base64.urlsafe_b64encode(raw).decode().rstrip("=")


def digest_of(values: dict, seed: bytes) -> str:
    commits = b""
    for path in sorted(values, key=str.encode):
        name = path.encode()
        salt = hashlib.sha256(SALT + seed + name).digest()[:16]
        commits += hashlib.sha256(
            FIELD + salt + len(name).to_bytes(2, "big") + name + rfc8785.dumps(values[path])
        ).digest()
    return url64(hashlib.sha256(SEALED + commits).digest())


def seal(clear: dict, values: dict, seed: bytes) -> tuple[bytes, bytes]:
    return rfc8785.dumps(
        {**clear, "v": 1, "origin": ORIGIN, "sealed": digest_of(values, seed)}
    ), rfc8785.dumps(values)


def make_event(rng: random.Random, position: int, at: datetime) -> tuple[bytes, bytes, bytes]:
    """Return leaf, opening and seed of a believable event."""
    stamp = at.isoformat(timespec="microseconds")[:26] + "Z"
    seed = rng.randbytes(16)
    clear = {
        "id": str(UUID(bytes=rng.randbytes(16), version=4)),
        "occurred_at": stamp,
        "received_at": stamp,
        "action": rng.choice(["prompt.updated", "member.invited", "api_key.created", "dataset.exported"]),
        "outcome": rng.choice(["success", "success", "failure", "denied"]),
        "stream": "platform",
        "source": "key:key_0123456789abcdef",
        "actor": {"type": "user", "ref": rng.randbytes(16).hex()},
    }
    values = {
        "actor/id": f"user_{rng.randrange(500)}",
        "actor/name": "Zoë ‑ Ünal",
        "actor/email": "zoe@example.com",
    }
    if rng.random() < 0.8:
        clear["workspace"] = f"ws_{rng.randrange(9)}"
        clear["request_id"] = f"req-{rng.randrange(10**9)}"
        clear["actor"]["roles"] = {"organization": "admin"}
        values |= {"context/ip": "203.0.113.7", "context/user_agent": "Mozilla/5.0 (X11; Linux x86_64)"}
    if rng.random() < 0.8:
        clear["targets"] = [
            {"type": "prompt", "id": f"p_{rng.randrange(99)}"} for _ in range(rng.randrange(1, 4))
        ]
        values["targets/0/name"] = 'Greeting "v2"'
    if rng.random() < 0.5:
        values |= {"before": {"temperature": 0.25, "n": 1}, "after": {"temperature": 1e-7, "n": None}}
        values["metadata"] = {"note": "<b>=1+1</b>\u202e", "tags": ["a", "b"]}
    if rng.random() < 0.2:
        clear["actor"]["on_behalf_of"] = [{"type": "user", "ref": rng.randbytes(16).hex()}]
        values["actor/on_behalf_of/0"] = {"id": "boss", "name": "Boss"}
    if rng.random() < 0.2:
        values |= {
            "error": {"type": "Timeout", "message": "too slow"},
            "flags": [{"path": "/occurred_at", "kind": "backdated"}],
            "redacted": ["/metadata/password"],
            "context/http": {"method": "POST", "path": "/x", "status": 500},
            "context/location": {"country": "DE"},
            "context/session_id": "s-1",
            "context/trace_id": "t-1",
        }
    return (*seal(clear, values, seed), seed)


@dataclass
class PeerLog:
    """A log held in memory."""

    rows: list[ExportRow] = field(default_factory=list, repr=False)

    @classmethod
    def of(cls, size: int, seed: int = 1) -> PeerLog:
        rng = random.Random(seed)
        log, at = cls(), datetime(2026, 6, 1, tzinfo=UTC)
        for position in range(size):
            at += timedelta(microseconds=rng.randrange(10**9))
            leaf, opening, salt_seed = make_event(rng, position, at)
            log.rows.append(
                ExportRow(position, hashlib.sha256(b"\0" + leaf).digest(), leaf, opening, salt_seed)
            )
        return log

    @property
    def hashes(self) -> list[bytes]:
        return [row.leaf_hash for row in self.rows]

    def note(self, size: int | None = None, signer: SignerKey = SIGNER) -> str:
        size = len(self.rows) if size is None else size
        return Checkpoint(ORIGIN, size, root_of(self.hashes[:size])).sign(signer, CLOCK).format()

    def header(self, start: int, end: int, *, filter_text: str = "", signer: SignerKey = SIGNER) -> Header:
        def nodes(first: int, last: int) -> tuple[str, ...]:
            return tuple(
                encode_base64(root_of(self.hashes[one.index << one.level : (one.index + 1) << one.level]))
                for one in subtrees(first, last)
            )

        size = len(self.rows)
        return Header(
            origin=ORIGIN,
            organization=ORGANIZATION,
            filter=filter_text,
            start=start,
            end=end,
            size=size,
            created_at="2026-06-30T00:00:00.000000Z",
            keys=(signer.verifier.format(), CLOCK.verifier.format()),
            checkpoint=self.note(signer=signer),
            left=nodes(0, start),
            right=nodes(end, size),
        )

    def export(
        self,
        start: int = 0,
        end: int | None = None,
        *,
        full: Sequence[bool] | None = None,
        filter_text: str = "",
        signer: SignerKey = SIGNER,
    ) -> bytes:
        end = len(self.rows) if end is None else end
        writer = JsonlWriter(self.header(start, end, filter_text=filter_text, signer=signer))
        rows = self.shown(start, end, full)
        return writer.begin() + writer.rows(rows) + writer.end()

    def shown(self, start: int, end: int, full: Sequence[bool] | None) -> list[ExportRow]:
        """Return the rows of a range, in full where `full` says so."""
        return [
            row if full is None or full[row.position] else ExportRow(row.position, row.leaf_hash)
            for row in self.rows[start:end]
        ]

    def pair(
        self,
        rendering: Rendering,
        start: int = 0,
        end: int | None = None,
        *,
        full: Sequence[bool] | None = None,
        filter_text: str = "",
        signer: SignerKey = SIGNER,
    ) -> tuple[bytes, bytes]:
        """Return the events as another file, and the proof of it."""
        end = len(self.rows) if end is None else end
        said = asdict(self.header(start, end, filter_text=filter_text, signer=signer))
        del said["format"]
        proof = JsonlWriter(ProofHeader(**said, rendering=rendering))
        rows = self.shown(start, end, full)
        writer = writer_of(rendering, ORIGIN)
        file = writer.head + writer.write(
            [
                EventRow(one.position, one.leaf, one.opening, one.leaf_hash)
                for one in rows
                if one.leaf and one.opening
            ]
        )
        return file, proof.begin() + proof.rows(rows) + proof.end()
