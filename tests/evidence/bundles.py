"""What the tests of evidence bundles share: making one on a real log, taking it apart, and putting it together again."""

from __future__ import annotations

import hashlib
import io
import json
import os
import zipfile
import zlib
from pathlib import Path
from typing import Any
from uuid import uuid4

from services.appending import REDACTION, event
from services.keeping import Office
from tallystick.catalogue.describe import verb_of
from tallystick.query.model import Query
from tallystick.services.evidence_bundle import Bundles
from tallystick.services.ingest import Ingest
from tallystick.services.keeping.erasure import ErasureWish
from tallystick.services.keeping.holds import HoldWish
from tallystick.services.keeping.rules import Wish
from tallystick.services.log import Log
from tallystick.services.read import Read
from tallystick.verify.bundle import verify_bundle
from tallystick.verify.bundle_zip import Entry, directory, local_header
from tallystick.verify.instance import Means
from tallystick.verify.known import Kept
from tallystick.verify.report import Report

ADA = {"type": "user", "id": "usr_ada_77", "name": "Ada Lovelace", "email": "ada@lovelace.example"}


def bundles_of(office: Office, folder: Path, pools: Any) -> Bundles:
    """Return what makes bundles of an office's log."""
    log = Log(pools.reader, office.log.signer)
    ingest = Ingest(office.log.appender, log, redaction_of=lambda _: REDACTION, new_id=uuid4)
    read = Read(pools.reader, cursor_key=bytes(32), now=office.clock)
    return Bundles(
        pools.reader, office.log.signer, ingest, office.export, log, read, folder, now=office.clock,
        random=os.urandom,
    )  # fmt: skip


async def made(bundles: Bundles, office: Office, **query: Any) -> bytes:
    """Return the bytes of a bundle for who sees all."""
    answer = await bundles.make(office.boss, Query(**query))
    content = b"".join([piece async for piece in answer.pieces()])
    assert len(content) == answer.bytes
    return content


async def lived(office: Office) -> None:
    """Let a log live a little: events, a policy, a hold, a purge, an erasure."""
    for _ in range(30):
        await office.log.append([event(workspace=f"w-{at % 3}") for at in range(10)])
    await office.log.append([event(actor=ADA, workspace="w-0") for _ in range(12)])
    await office.age(0, days=400)
    await office.log.append([event(actor=ADA, workspace="w-0") for _ in range(12)])
    await office.holds.set(office.boss, HoldWish(reason="case 2026-17", workspace="w-1"))
    await office.policies.change(office.boss, Wish(class_="custom", days=200))
    await office.purge.run(office.log.organization_id)
    office.clock.move(days=8)
    await office.erasures.erase(office.boss, ErasureWish(id=ADA["id"]))
    await office.age(40)
    await office.purge.run(office.log.organization_id)


def check(office: Office, bundle: bytes, *, kept: tuple[str, ...] = (), piece: int = 1 << 18) -> Report:
    """Verify a bundle with the log's keys pinned."""
    means = Means(
        verb_of=verb_of, secret=bytes(32), keys=(office.log.verifier, office.log.signer.clock()),  # type: ignore[arg-type]
        kept=[Kept(f"kept {at}", text) for at, text in enumerate(kept)],
    )  # fmt: skip
    return verify_bundle(lambda: (bundle[at : at + piece] for at in range(0, len(bundle), piece)), means)


def files_of(bundle: bytes) -> dict[str, bytes]:
    """Return the files of a bundle, as any zip program sees them."""
    with zipfile.ZipFile(io.BytesIO(bundle)) as opened:
        assert opened.testzip() is None
        return {name: opened.read(name) for name in opened.namelist()}


def packed(files: dict[str, bytes]) -> bytes:
    """Return a bundle of these files, spelled as bundles are."""
    entries: list[Entry] = []
    whole = b""
    for name, content in files.items():
        entries.append(Entry(name, len(content), zlib.crc32(content), len(whole)))
        whole += local_header(entries[-1]) + content
    return whole + directory(entries, len(whole))


def resummed(files: dict[str, bytes]) -> dict[str, bytes]:
    """Return the files with a manifest that fits them: what a careful forger does."""
    manifest = json.loads(files["manifest.json"])
    names = [name for name in files if name not in ("manifest.json", "issued.json")]
    manifest["entries"] = [
        {"name": name, "bytes": len(files[name]), "sha256": hashlib.sha256(files[name]).hexdigest()}
        for name in names
    ]
    again = json.dumps(manifest, ensure_ascii=False, separators=(",", ":")).encode() + b"\n"
    return {name: again if name == "manifest.json" else content for name, content in files.items()}
