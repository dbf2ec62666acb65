"""Exports written into files: what is done beside the writing."""

from __future__ import annotations

import asyncio
from datetime import datetime, timedelta
from pathlib import Path
from types import SimpleNamespace
from typing import Any
from uuid import UUID

import pytest

from services.appending import LOG, Clock
from tallystick.errors import Misconfigured
from tallystick.formats import parquet
from tallystick.query.model import Query
from tallystick.services import export_jobs
from tallystick.services.export import Export
from tallystick.services.export_jobs import ExportJobs
from tallystick.services.permissions import EXPORT
from tallystick.services.principal import Principal
from tallystick.verify.layout import Rendering
from tallystick.web.guard import status_of
from tallystick.web.ui.pages import exports as page

ASKER = Principal(organization_id=LOG, kind="member", id="m", name="m", permissions=frozenset({EXPORT}))


async def test_old_files_are_looked_for_once_a_minute(
    monkeypatch: pytest.MonkeyPatch, clock: Clock, tmp_path: Path
) -> None:
    """A server with nothing to do would write to the database every two seconds, or keep files for ever."""
    asked: list[datetime] = []
    left = tmp_path / str(LOG) / "exp_1.csv"
    left.parent.mkdir()
    left.write_text("x")

    async def expire(pool: Any, before: datetime) -> list[tuple[UUID, str, str]]:
        asked.append(before)
        return [(LOG, "exp_1", "csv")]

    async def take(*_: Any) -> None:
        clock.move(seconds=2)

    monkeypatch.setattr(export_jobs.rows, "expire", expire)
    monkeypatch.setattr(export_jobs.rows, "take", take)
    monkeypatch.setattr(export_jobs, "IDLE_SECONDS", 0)
    none: Any = None
    jobs = ExportJobs(none, none, none, none, none, tmp_path, bundles=none, now=clock, random=bytes)
    began = clock.at
    running = asyncio.create_task(jobs.run())
    while clock.at < began + timedelta(minutes=5):
        await asyncio.sleep(0)
    running.cancel()
    assert len(asked) in (5, 6)
    assert not left.exists()


@pytest.mark.parametrize(("exact", "is_direct"), [(True, True), (False, False)])
async def test_a_count_that_stopped_is_no_count(
    monkeypatch: pytest.MonkeyPatch, clock: Clock, exact: bool, is_direct: bool
) -> None:
    """Ten million events, of which ten were counted in time, would be sent as a small download."""
    begun: list[dict[str, Any]] = []

    async def count(*_: Any, **__: Any) -> dict[str, Any]:
        return {"count": 10, "exact": exact}

    async def start(*_: Any, **given: Any) -> str:
        begun.append(given)
        return "exp_1"

    async def form(_: Any) -> dict[str, str]:
        return {"filter": "", "format": "csv"}

    shown: dict[str, Any] = {}
    monkeypatch.setattr(page, "read_form", form)
    monkeypatch.setattr(page, "render", lambda *_, **given: shown.update(given))
    services = SimpleNamespace(
        now=clock, read=SimpleNamespace(count=count), export_jobs=SimpleNamespace(start=start)
    )
    call: Any = SimpleNamespace(services=services, caller=ASKER, context=None, query=list)
    answer: Any = await page.begin(call)
    assert answer.headers["location"].startswith("/v1/export?") == is_direct
    assert [one["exact"] for one in begun] == ([] if is_direct else [False])
    await page.prepare(call)
    assert (shown["total"], shown["exact"]) == (10, exact)


async def test_without_pyarrow(monkeypatch: pytest.MonkeyPatch, clock: Clock, tmp_path: Path) -> None:
    """A server that cannot write Parquet would offer it, or end in a stack trace when it is asked for it."""
    monkeypatch.setattr(parquet, "find_spec", lambda name: None)
    assert "tallystick[parquet]" in page.lacking()["parquet"]
    none: Any = None
    jobs = ExportJobs(none, none, none, none, none, tmp_path, bundles=none, now=clock, random=bytes)
    with pytest.raises(Misconfigured, match=r"tallystick\[parquet\]") as refused:
        await jobs.start(ASKER, Query(), "parquet", total=1, context=none)
    assert status_of(refused.value)[0] == 501
    with pytest.raises(Misconfigured):
        await Export(none, none, now=clock).proven(ASKER, Query(), Rendering("parquet", "0"))
    monkeypatch.undo()
    assert page.lacking() == {}
