"""Fixtures that every room's tests share."""

from __future__ import annotations

from pathlib import Path

import pytest
from hypothesis import HealthCheck, settings

# A real PostgreSQL for every test that asks for `database`, `pool` or `pools`.
pytest_plugins = ["postgres", "server"]

SHARED = Path(__file__).resolve().parent.parent.parent / "shared"

settings.register_profile("house", deadline=None, suppress_health_check=[HealthCheck.too_slow])
settings.load_profile("house")


BROWSERS = {"browser", "visit", "chromium"}


def pytest_collection_modifyitems(items: list[pytest.Item]) -> None:
    """Run a test of a real browser a second time when it fails, and name it in the summary.

    On two shared cores a page may lose a race with the test that no person could lose. Nothing else has a second
    chance: what is lost, doubled or unproven once is a defect.
    """
    for item in items:
        if BROWSERS & set(getattr(item, "fixturenames", ())):
            item.add_marker(pytest.mark.flaky(reruns=1))


@pytest.fixture(scope="session")
def shared() -> Path:
    """The folder of read-only input beside the checkout; skips where it is absent."""
    if not SHARED.is_dir():
        pytest.skip(f"the shared input folder {SHARED.name}/ is not beside this checkout")
    return SHARED
