"""Verifiers written by others must agree with this room, on what is good and on what is forged."""

from __future__ import annotations

import json
import os
import shutil
import subprocess
import sys
import tempfile
from base64 import b64decode, b64encode
from collections.abc import Sequence
from functools import cache
from hashlib import sha256
from pathlib import Path
from types import SimpleNamespace
from typing import Any

import pytest

from tallystick.merkle.append import Tails, grow
from tallystick.merkle.checkpoint import Checkpoint
from tallystick.merkle.keys import SignerKey
from tallystick.merkle.note import parse_note, sign_note, verify_note
from tallystick.merkle.proof import Node, consistency_proof, inclusion_proof
from tallystick.merkle.tile import TileId
from tallystick.merkle.tree import Frontier, leaf_hash, root_of

HERE = Path(__file__).parent / "strangers"
SIZES = [*range(1, 20), 31, 32, 33, 63, 64, 65, 100, 127, 128, 129, 255, 256, 257, 300, 511, 512, 513]
BODIES = [b"leaf %d" % number for number in range(max(SIZES))]
LEAVES = [leaf_hash(body) for body in BODIES]
TILE_SIZE = 66_000
KEY = SignerKey("log.example/o/1", bytes(range(32)))
GOCODE = Path("/usr/share/gocode")  # where Debian keeps golang-golang-x-mod-dev


def b64(raw: bytes) -> str:
    return b64encode(raw).decode()


@cache
def node(level: int, index: int) -> bytes:
    return root_of(LEAVES[index << level : (index + 1) << level])


@cache
def root(size: int) -> bytes:
    return root_of(LEAVES[:size])


def read(nodes: Sequence[Node]) -> list[bytes]:
    return [node(one.level, one.index) for one in nodes]


def inclusion(index: int, size: int) -> dict[str, Any]:
    proof = [b64(one) for one in inclusion_proof(index, size, read)]
    return {"index": index, "size": size, "body": b64(BODIES[index]), "proof": proof, "root": b64(root(size))}


def consistency(old: int, new: int) -> dict[str, Any]:
    proof = [b64(one) for one in consistency_proof(old, new, read)]
    return {"old": old, "new": new, "proof": proof, "old_root": b64(root(old)), "new_root": b64(root(new))}


def forged(good: dict[str, Any]) -> list[dict[str, Any]]:
    """The same case with one thing wrong in each."""
    other = b64(sha256(b"another tree").digest())
    wrong = [dict(good, **{name: other}) for name in ("root", "old_root", "new_root", "body") if name in good]
    wrong.append(dict(good, proof=[*good["proof"], other]))
    if good["proof"]:
        wrong.append(dict(good, proof=[other, *good["proof"][1:]]))
        wrong.append(dict(good, proof=good["proof"][:-1]))
    return wrong


def inclusion_cases() -> tuple[list[dict[str, Any]], list[bool]]:
    good = [inclusion(index, size) for size in SIZES for index in sorted({0, size // 3, size // 2, size - 1})]
    bad = [case for one in good[::7] for case in forged(one)]
    return good + bad, [True] * len(good) + [False] * len(bad)


def consistency_cases() -> tuple[list[dict[str, Any]], list[bool]]:
    good = [consistency(old, new) for new in SIZES[1:] for old in sorted({1, new // 2, new - 1})]
    bad = [case for one in good[::7] for case in forged(one)]
    return good + bad, [True] * len(good) + [False] * len(bad)


def note_cases() -> tuple[list[dict[str, str]], list[bool]]:
    vkey = KEY.verifier.format()
    good = [Checkpoint(KEY.name, size, root(size)).sign(KEY).format() for size in SIZES]
    bad = [text.replace("\n", "\n1", 1) for text in good[:5]]
    return [{"verifier_key": vkey, "note": text} for text in good + bad], [True] * len(good) + [False] * len(
        bad
    )


def test_sigstore_for_python() -> None:
    """The verifier on PyPI that checks Rekor entries must reach the same verdicts as we do."""
    merkle = pytest.importorskip("sigstore._internal.merkle", reason="sigstore is not installed")
    from sigstore.errors import VerificationError

    def accepts(case: dict[str, Any]) -> bool:
        proof = SimpleNamespace(
            log_index=case["index"],
            tree_size=case["size"],
            hashes=[b64decode(one) for one in case["proof"]],
            root_hash=b64decode(case["root"]),
        )
        inner = SimpleNamespace(inclusion_proof=proof, canonicalized_body=b64decode(case["body"]))
        try:
            merkle.verify_merkle_inclusion(SimpleNamespace(_inner=inner))
        except VerificationError:
            return False
        return True

    cases, expected = inclusion_cases()
    assert [accepts(case) for case in cases] == expected


@pytest.fixture(scope="session")
def node_modules() -> Path:
    """The folder with the locked npm packages, installed once and kept beside the environment."""
    npm = shutil.which("npm")
    if npm is None or shutil.which("node") is None:
        pytest.skip("node and npm are not installed")
    keep = Path(sys.prefix if sys.prefix != sys.base_prefix else tempfile.gettempdir()) / "strangers"
    lock = (HERE / "package-lock.json").read_bytes()
    target = keep / f"npm-{sha256(lock).hexdigest()[:16]}"
    if target.is_dir():
        return target
    keep.mkdir(parents=True, exist_ok=True)
    fresh = Path(tempfile.mkdtemp(dir=keep))
    for name in ("package.json", "package-lock.json", ".npmrc"):
        shutil.copy(HERE / name, fresh)
    command = [npm, "ci", "--ignore-scripts", "--no-audit", "--no-fund"]
    done = subprocess.run(command, cwd=fresh, capture_output=True, text=True, timeout=120, check=False)
    if done.returncode:
        shutil.rmtree(fresh)
        pytest.skip(f"npm could not install @sigstore/verify: {done.stderr[-300:]}")
    try:
        fresh.rename(target)
    except OSError:  # another test process was faster
        shutil.rmtree(fresh)
    return target


def test_sigstore_for_javascript(node_modules: Path) -> None:
    """The verifier on npm must reach the same verdicts on proofs, and read the same out of checkpoints."""
    inclusions, proofs_hold = inclusion_cases()
    notes, notes_hold = note_cases()
    told = run(
        ["node", str(HERE / "sigstore.cjs"), str(node_modules)], {"inclusion": inclusions, "notes": notes}
    )
    assert told["inclusion"] == proofs_hold
    assert [one is not None for one in told["notes"]] == notes_hold
    for size, one in zip(SIZES, told["notes"], strict=False):
        assert one == {"origin": KEY.name, "size": str(size), "root": b64(root(size))}


@pytest.fixture(scope="session")
def sumdb(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """The judge in Go, built against Debian's golang.org/x/mod."""
    go = shutil.which("go")
    if go is None:
        pytest.skip("go is not installed (Debian: golang-go golang-golang-x-mod-dev)")
    if not (GOCODE / "src/golang.org/x/mod/sumdb/tlog").is_dir():
        pytest.skip("golang.org/x/mod is not installed (Debian: golang-golang-x-mod-dev)")
    folder = tmp_path_factory.mktemp("sumdb")
    built = folder / "sumdb"
    settings = {"GO111MODULE": "off", "GOPATH": str(GOCODE), "GOFLAGS": "", "GOCACHE": str(folder / "cache")}
    command = [go, "build", "-o", str(built), str(HERE / "sumdb.go")]
    done = subprocess.run(
        command, env={**os.environ, **settings}, capture_output=True, text=True, check=False
    )
    assert done.returncode == 0, done.stderr
    return built


def test_go_checksum_database(sumdb: Path) -> None:
    """Go's sumdb must compute the same roots and proofs, read our tiles and sign the same note."""
    inclusions, inclusions_hold = inclusion_cases()
    consistencies, consistencies_hold = consistency_cases()
    notes, notes_hold = note_cases()
    leaves = [leaf_hash(b"leaf %d" % number) for number in range(TILE_SIZE)]
    tiles, growth_root = tiles_of(leaves)
    asked_leaves = [0, 1, 255, 256, 65_535, 65_536, TILE_SIZE - 1]
    text = Checkpoint(KEY.name, 5, root(5)).text()
    asked = {
        "bodies": [b64(body) for body in BODIES],
        "sizes": SIZES,
        "inclusion": inclusions,
        "consistency": consistencies,
        "notes": notes,
        "signer_key": KEY.format(),
        "text": text,
        "tile_size": TILE_SIZE,
        "tile_root": b64(growth_root),
        "tiles": tiles,
        "tile_leaves": asked_leaves,
    }
    told = run([str(sumdb)], asked)
    assert told["roots"] == [b64(root(size)) for size in SIZES]
    assert told["inclusion"] == inclusions_hold
    assert told["consistency"] == consistencies_hold
    assert told["notes"] == notes_hold
    for cases, held, proofs in (
        (inclusions, inclusions_hold, told["inclusion_proofs"]),
        (consistencies, consistencies_hold, told["consistency_proofs"]),
    ):
        theirs = [proof or [] for proof, good in zip(proofs, held, strict=True) if good]
        assert theirs == [case["proof"] for case, good in zip(cases, held, strict=True) if good]
    assert told["tile_hashes"] == [b64(leaves[index]) for index in asked_leaves]
    assert told["signed"] == sign_note(text, KEY).format()
    assert verify_note(parse_note(told["signed"]), [KEY.verifier])


def tiles_of(leaves: list[bytes]) -> tuple[dict[str, str], bytes]:
    frontier, tails = Frontier(), Tails()
    files: dict[str, str] = {}
    for start in range(0, len(leaves), 1000):
        growth = grow(frontier, leaves[start : start + 1000])
        full, tails = growth.tiles(tails)
        files |= {TileId(tile.level, tile.index).path(): b64(tile.hashes) for tile in full}
        frontier = growth.after
    return files | {tile.path(): b64(hashes) for tile, hashes in tails.partial_tiles()}, frontier.root()


def run(command: list[str], asked: dict[str, Any]) -> dict[str, Any]:
    done = subprocess.run(
        command, input=json.dumps(asked), capture_output=True, text=True, timeout=60, check=False
    )
    assert done.returncode == 0, done.stderr[-2000:]
    return json.loads(done.stdout)
