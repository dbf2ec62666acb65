"""Canonical JSON: the same bytes as RFC 8785 and as strangers' implementations of it."""

from __future__ import annotations

import json
import shutil
import subprocess
from pathlib import Path
from typing import Any

import pytest
import rfc8785
from hypothesis import given
from hypothesis import strategies as st

from tallystick.errors import Refused
from tallystick.event.canonical import canonical, canonical_plain, number_text

from .strategies import INTEGER_MAX, text

safe_floats = st.floats(allow_nan=False, allow_infinity=False)
values = st.recursive(
    st.none() | st.booleans() | st.integers(-INTEGER_MAX, INTEGER_MAX) | safe_floats | text,
    lambda inner: st.lists(inner, max_size=5) | st.dictionaries(text, inner, max_size=5),
    max_leaves=25,
)
astral_keys = st.dictionaries(
    st.text(st.sampled_from("a\U0001f600\ufb33\ue000\uffff\U0010ffff\x7f"), max_size=3),
    safe_floats,
    max_size=6,
)


@given(values)
def test_same_bytes_as_the_reference(value: Any) -> None:
    """A hash made here could not be made again elsewhere if the quick writer differed from RFC 8785."""
    assert canonical(value) == rfc8785.dumps(value)


@given(astral_keys)
def test_keys_beyond_the_basic_plane(value: dict[str, float]) -> None:
    """Keys sort by UTF-16 code unit, not by code point, or other languages would hash other bytes."""
    assert canonical([value]) == rfc8785.dumps([value])


@given(st.dictionaries(st.text("a\U0001f600\ufb33", max_size=3), text, max_size=6))
def test_plain_writer_on_plain_values(value: dict[str, str]) -> None:
    """The writer without the look for floats must agree wherever there are none."""
    assert canonical_plain(value) == rfc8785.dumps(value)


def test_published_vectors(shared: Path) -> None:
    """The vectors of the RFC's author are the only judge of what canonical means."""
    cases = json.loads((shared / "vectors" / "jcs_rfc8785.json").read_text("utf-8"))["cases"]
    assert len(cases) >= 6
    for case in cases:
        assert canonical(json.loads(case["input"])).decode() == case["want"], case["name"]


@pytest.mark.parametrize(
    "value",
    [
        float("nan"),
        float("inf"),
        -float("inf"),
        2**53,
        -(2**53),
        [{"a": 2**64}],
        {1: 2},
        {"k": {None: 1}},
        "\ud800",
    ],
    ids=repr,
)
def test_what_has_no_canonical_form(value: Any) -> None:
    """A value that languages read differently must be refused, not hashed."""
    with pytest.raises(Refused):
        canonical(value)


@pytest.fixture(scope="session")
def canonicalize(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """The npm package `canonicalize`, locked, in a folder of its own; skips without Node.js or a registry."""
    npm = shutil.which("npm")
    if npm is None or shutil.which("node") is None:
        pytest.skip("node and npm are not installed")
    here = Path(__file__).parent / "strangers"
    target = tmp_path_factory.mktemp("canonicalize")
    for name in ("package.json", "package-lock.json"):
        shutil.copy(here / name, target / name)
    command = [npm, "ci", "--ignore-scripts", "--no-audit", "--no-fund"]
    done = subprocess.run(command, cwd=target, capture_output=True, text=True, timeout=120, check=False)
    if done.returncode:
        pytest.skip(f"npm could not install canonicalize: {done.stderr[-300:]}")
    return target


def test_a_stranger_agrees(canonicalize: Path) -> None:
    """JavaScript must write the same bytes, or a browser could not check a proof."""
    samples: list[Any] = [
        0.1, -0.0, 1e21, 1e-7, 5e-324, 1.7976931348623157e308, 123456789012345.6, 2**53 - 1, -(2**53 - 1),
        "\u2028\x7f\x1f\"\\/€\U0001f600", {"\U0001f600": 1, "\ufb33": 2, "": [], "a\0": None}, [[], {}, [True, False]],
        {"b": {"d": 1.5, "c": [1, 2.0, 3e5]}, "A": "x", "ä": 333333333.3333333}, 1e16, 4.35, 0.000001, 100.0,
    ]  # fmt: skip
    samples += [float(f"{digit}.{digit}e{power}") for digit in range(1, 10) for power in range(-320, 308, 7)]
    script = (
        "const c = require('canonicalize'); const f = typeof c === 'function' ? c : c.default;"
        "const all = JSON.parse(require('fs').readFileSync(0, 'utf8'));"
        "process.stdout.write(JSON.stringify(all.map(f)))"
    )
    done = subprocess.run(
        ["node", "-e", script],
        cwd=canonicalize,
        input=json.dumps(samples),
        capture_output=True,
        text=True,
        timeout=60,
        check=True,
    )
    assert json.loads(done.stdout) == [canonical(sample).decode() for sample in samples]


@pytest.mark.parametrize(
    "number",
    [1e20, 1e21, 1e22, 1e-6, 1e-7, 5e-324, -1.5e-7, 1.7976931348623157e308, 123456789012345680.0, -0.0],
)
def test_notation_of_numbers(number: float) -> None:
    """Between two notations of one number lies another hash, so the borders are those of ECMAScript."""
    assert number_text(number).encode() == rfc8785.dumps(number)


@given(safe_floats)
def test_numbers_as_the_reference_writes_them(number: float) -> None:
    """Any double must be written as every other language writes it."""
    assert number_text(number).encode() == rfc8785.dumps(number)
