"""Bytes that leave us are pinned."""

from __future__ import annotations

import pytest

from .golden import FOLDER, golden


@pytest.mark.parametrize("name", golden())
def test_rendering_is_pinned(name: str) -> None:
    """A rendering that changes by a byte, or in the order of its keys, breaks whoever reads our exports."""
    assert golden()[name] == (FOLDER / name).read_bytes()


def test_no_golden_file_is_left_over() -> None:
    """A golden file that nothing is compared with pins nothing."""
    assert {path.name for path in FOLDER.iterdir()} == set(golden())
