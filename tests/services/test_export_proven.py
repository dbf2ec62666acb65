"""Exports in other formats as the service gives them: each proven by what comes with it, whatever is gone of the log."""

from __future__ import annotations

from pathlib import Path

import pytest

from services.appending import events
from services.keeping import Office
from services.test_erasure import ADA, about_ada
from tallystick.errors import Forbidden, TooLarge
from tallystick.formats import parquet
from tallystick.formats.parquet_reading import ParquetSubject
from tallystick.query.model import Query
from tallystick.query.parse import parse
from tallystick.services.export import Export
from tallystick.services.keeping.erasure import ErasureWish
from tallystick.services.permissions import EXPORT, READ
from tallystick.services.principal import Principal
from tallystick.services.renderings import writer_of
from tallystick.verify.beside import Beside, RenderedText
from tallystick.verify.export import verify_export
from tallystick.verify.layout import ProofHeader, Rendering
from tallystick.verify.report import Report

RENDERINGS = {
    "csv": Rendering("csv", "0"),
    "ocsf 1.7.0": Rendering("ocsf", "0", "1.7.0", "native"),
    "ocsf 1.1.0": Rendering("ocsf", "0", "1.1.0", "api_activity"),
    "langfuse": Rendering("langfuse-jsonl", "0"),
    "parquet": Rendering("parquet", "0"),
}
FILTERS = (
    "",
    "action:member",
    "-outcome:success",
    "user:person3@",
    "user:usr_bob_77",
    "action:nothing-at-all",
)


async def exported(office: Office, query: Query, rendering: Rendering, path: Path) -> tuple[Report, int]:
    """Export and verify; return the report, and how many events the service counted."""
    counted: list[int] = []
    streams = await office.export.proven(office.boss, query, rendering, count=counted.append)
    file = b"".join([piece async for piece in streams.file])
    keys = (office.log.verifier, office.log.signer.clock())
    if streams.proof is None:
        path.write_bytes(file)
        subject = ParquetSubject(path)
        return verify_export(subject.pieces(), keys=keys, beside=subject.beside, release="0"), sum(counted)
    proof = b"".join([piece async for piece in streams.proof])

    def opened(header: ProofHeader) -> Beside:
        writer = writer_of(header.rendering, header.origin)
        return RenderedText([file], writer.head, writer.write)

    return verify_export([proof], keys=keys, beside=opened, release="0"), sum(counted)


@pytest.mark.parametrize("rendering", RENDERINGS.values(), ids=RENDERINGS)
async def test_every_format_is_proven(office: Office, tmp_path: Path, rendering: Rendering) -> None:
    """An honest export would be called violated, before or after somebody was erased, or would lack its events."""
    await office.log.append(events(80))
    await office.log.append(about_ada(12))
    for erased in (False, True):
        if erased:
            await office.erasures.erase(office.boss, ErasureWish(id=ADA["id"]))
        for filter in FILTERS:
            query = parse([("q", filter)] if filter else [], now=office.clock.at)
            report, counted = await exported(office, query, rendering, tmp_path / "file")
            assert (report.verdict, report.violated, report.unchecked) == ("proven", [], ""), (filter, erased)
            assert report.facts["events"] == counted
            assert any("the file says of each what was sealed" in line for line in report.proven)
            if erased and not filter:
                assert report.facts["erased"]


async def test_what_is_refused(office: Office, monkeypatch: pytest.MonkeyPatch) -> None:
    """Somebody without the permission, or a file that could not hold its proof, would get a stream that breaks off."""
    await office.log.append(events(30))
    monkeypatch.setattr(parquet, "BARE_MAX", 10)
    filtered = parse([("q", "action:member")], now=office.clock.at)
    with pytest.raises(TooLarge):
        await office.export.proven(office.boss, filtered, RENDERINGS["parquet"])
    await office.export.proven(office.boss, Query(), RENDERINGS["parquet"])
    reader = Principal(
        organization_id=office.log.organization_id,
        kind="key",
        id="k",
        name="k",
        permissions=frozenset({READ}),
    )
    for rendering in RENDERINGS.values():
        with pytest.raises(Forbidden, match=EXPORT):
            await office.export.proven(reader, Query(), rendering)
    assert isinstance(office.export, Export)
