"""Evidence packs: declared in full, answered from a real installation, honest about what is missing."""

from __future__ import annotations

import json
from pathlib import Path
from typing import Any

import pytest
from msgspec.structs import replace

from evidence.bundles import bundles_of, check, files_of, lived, packed, resummed
from services.keeping import Office
from tallystick.catalogue.load import catalogue
from tallystick.errors import Forbidden, NotFound
from tallystick.query.model import Query
from tallystick.services.keeping.rules import Wish
from tallystick.services.packs import declared
from tallystick.services.packs.checks import CHECKS
from tallystick.services.packs.declared import NAMES, faults_of, packs
from tallystick.services.packs.judge import Packs
from tallystick.services.read import Read


def packs_of(office: Office, folder: Path, pools: Any) -> Packs:
    read = Read(pools.reader, cursor_key=bytes(32), now=office.clock)
    return Packs(pools.reader, read, bundles_of(office, folder, pools), now=office.clock)


@pytest.mark.parametrize("name", NAMES)
def test_every_control_is_whole(name: str) -> None:
    """A control without a query, a check that exists or a word about what is missing would be a claim."""
    pack = packs()[name]
    assert faults_of(pack, name) == []
    assert len(pack.controls) >= 6
    folder = Path(declared.__file__).parent
    assert {one.stem for one in folder.glob("*.toml")} == set(NAMES)


def test_faults_of_a_declaration_are_named() -> None:
    """A lint that finds nothing in a broken pack would let any pack pass."""
    pack = packs()["soc2"]
    first = pack.controls[0]
    for wrong, told in (
        (replace(first, checks=("no_such_check",)), "there is no check no_such_check"),
        (replace(first, checks=()), "has no check"),
        (replace(first, missing=" "), "has no missing"),
        (replace(first, query=""), "has no query"),
        (replace(first, query="colour:red"), "its query cannot be read"),
    ):
        assert any(told in fault for fault in faults_of(replace(pack, controls=(wrong,)), "soc2")), told
    assert faults_of(replace(pack, controls=(first, first)), "soc2") == ["CC6.1 stands twice"]


def test_every_check_is_used_and_every_action_exists() -> None:
    """A check nobody names shows nothing; a query for an action nobody records finds nothing, ever."""
    used = {name for pack in packs().values() for control in pack.controls for name in control.checks}
    assert used == set(CHECKS)
    known = set(catalogue()["tallystick"].actions)
    for pack in packs().values():
        for control in pack.controls:
            for word in control.query.split():
                if word.startswith("action:^"):
                    wanted = word.removeprefix("action:^").removesuffix("$")
                    assert any(one.startswith(wanted) for one in known), (control.id, word)


@pytest.mark.parametrize("name", NAMES)
async def test_a_pack_of_a_real_log(name: str, office: Office, pools: Any, tmp_path: Path) -> None:
    """An auditor could not tell which control is shown, by what, and what is not."""
    await office.age(20)
    await office.policies.change(office.boss, Wish(class_="seven_years"))
    answer = await packs_of(office, tmp_path, pools).make(office.boss, name, Query())
    bundle = b"".join([piece async for piece in answer.pieces()])
    report = check(office, bundle)
    assert report.verdict == "proven", (report.violated, report.unchecked)
    files = files_of(bundle)
    controls = json.loads(files["controls.json"])["controls"]
    assert [one["id"] for one in controls] == [one.id for one in packs()[name].controls]
    page = files["report.html"].decode()
    shown = {
        json.loads(line)["position"]
        for line in files["export.jsonl"].splitlines()
        if b'"event":' in line[:40]
    }
    for one in controls:
        assert one["missing"], one["id"]
        assert one["id"] in page
        assert set(one["events"]) <= shown
    assert any(one["events"] for one in controls)


async def test_what_is_missing_is_said(office: Office, pools: Any, tmp_path: Path) -> None:
    """A pack that calls thirty days, one person and no witness enough would be worse than none."""
    await lived(office)
    await office.policies.change(office.boss, Wish(class_="custom", days=200))
    office.clock.move(days=8)
    maker = packs_of(office, tmp_path, pools)

    async def controls() -> dict[str, Any]:
        answer = await maker.make(office.boss, "pci-dss", Query())
        files = files_of(b"".join([piece async for piece in answer.pieces()]))
        return {one["id"]: one for one in json.loads(files["controls.json"])["controls"]}

    before = await controls()
    assert before["10.5.1"]["result"] == "partly"
    assert any(
        "Retention shorter than twelve months: everything else 200 days" in one
        for one in before["10.5.1"]["missing"]
    )
    assert any("No external witness" in one for one in before["10.3"]["missing"])
    assert any("No time stamp (RFC 3161)" in one for one in before["10.6"]["missing"])
    assert any("No alert rule is on record" in one for one in before["10.4"]["missing"])
    assert any("nothing is gone without a record" in one for one in before["10.3"]["found"])
    await office.policies.change(office.boss, Wish(class_="seven_years"))
    assert (await controls())["10.5.1"]["result"] == "met"


async def test_who_may(office: Office, pools: Any, tmp_path: Path) -> None:
    """A pack speaks of the whole organization; who sees a part of it may not ask for one."""
    await office.age(3)
    maker = packs_of(office, tmp_path, pools)
    with pytest.raises(Forbidden):
        await maker.make(replace(office.boss, workspaces=frozenset({"w-1"})), "soc2", Query())
    with pytest.raises(NotFound):
        await maker.make(office.boss, "soc3", Query())


async def test_a_changed_result_is_found(office: Office, pools: Any, tmp_path: Path) -> None:
    """Whoever turns "not shown" into "shown" would pass an audit with a text editor."""
    await office.age(8)
    await office.policies.change(office.boss, Wish(class_="thirty_days"))
    answer = await packs_of(office, tmp_path, pools).make(office.boss, "soc2", Query())
    files = files_of(b"".join([piece async for piece in answer.pieces()]))
    assert check(office, packed(files)).verdict == "proven"
    controls = json.loads(files["controls.json"])
    for edit in ("result", "events", "missing", "drop"):
        edited = json.loads(files["controls.json"])
        first = edited["controls"][0]
        if edit == "result":
            first["result"] = "not_met" if first["result"] == "met" else "met"
        elif edit == "events":
            first["events"] = [0]
        elif edit == "missing":
            first["missing"] = []
        else:
            del edited["controls"][0]
        assert edited != controls
        content = json.dumps(edited, ensure_ascii=False, separators=(",", ":")).encode() + b"\n"
        for forged in (files | {"controls.json": content}, resummed(files | {"controls.json": content})):
            assert check(office, packed(forged)).exit_code != 0, edit
    without = {name: content for name, content in files.items() if name != "controls.json"}
    assert check(office, packed(resummed(without))).exit_code != 0
