"""The reference page names everything a reader can meet."""

from __future__ import annotations

import re
from pathlib import Path

from tallystick.ocsf import VIEWS, render
from tallystick.ocsf.dialect import DIALECTS, V1_7_0
from tallystick.ocsf.hints import AUTH_PROTOCOL, HINTS
from tallystick.ocsf.langsmith import NULL_FILLED

from .operations import OPERATIONS, TIED, event
from .test_valid import RICH

PAGE = (Path(__file__).resolve().parent.parent.parent / "docs" / "reference" / "ocsf.md").read_text()


def section(title: str) -> str:
    """Return one section of the page."""
    return PAGE.split(f"## {title}\n", 1)[1].split("\n## ", 1)[0]


def words(title: str) -> set[str]:
    """Return what stands in code quotes in one section."""
    return set(re.findall(r"`([^`]+)`", section(title)))


def test_views_and_classes() -> None:
    """Every view and every class has its line, with the right answer for the default view of 1.1.0."""
    assert set(VIEWS) <= words("Views")
    for class_uid in V1_7_0.attributes:
        line = next(line for line in section("Classes").splitlines() if line.startswith(f"| {class_uid} "))
        cells = [cell.strip() for cell in line.split("|")]
        assert (cells[3] == "yes") == (class_uid in DIALECTS["1.1.0"].default_classes)
        assert (cells[4] == "yes") == (class_uid in DIALECTS["1.1.0"].attributes)


def test_known_keys_of_metadata() -> None:
    """A key of metadata that shows in OCSF is on the page."""
    assert {*HINTS, AUTH_PROTOCOL, "targets", "finding"} <= words(
        "Keys of `metadata` that OCSF has a place for"
    )


def test_keys_of_unmapped() -> None:
    """Every key that the renderings of these tests put into `unmapped` is on the page."""
    seen: set[str] = set()
    shapes = [*OPERATIONS.values()]
    for action in (
        "login",
        "update_workspace_member",
        "anomaly.alert",
        "audit_log.export",
        "update_sso_settings",
    ):
        shapes += [
            event(action, **RICH),
            event(action, before=None, erased=["/actor/id"], actor={"type": "user"}),
        ]
    for neutral in shapes:
        for version in ("1.7.0", "1.1.0"):
            seen |= set(render(neutral, version=version, view="native", **TIED)["unmapped"])
    assert len(seen) > 15
    assert seen <= words("What is in `unmapped`")


def test_null_filled_keys() -> None:
    """A key that may be null in the LangSmith view is on the page."""
    assert {".".join(path) for path in NULL_FILLED} <= words("LangSmith view")
