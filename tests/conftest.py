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


@pytest.fixture(scope="session")
def shared() -> Path:
    """The folder of read-only input beside the checkout; skips where it is absent."""
    if not SHARED.is_dir():
        pytest.skip(f"the shared input folder {SHARED.name}/ is not beside this checkout")
    return SHARED
