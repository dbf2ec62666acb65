"""Every edit of a bundle is found: of its export by the forger of exports, of its other files, and of what binds them."""

from __future__ import annotations

import json
import random
import runpy
from collections.abc import Callable
from pathlib import Path
from typing import Any

from evidence.bundles import bundles_of, check, files_of, lived, made, packed, resummed
from services.appending import event
from services.keeping import Office
from services.test_verify_removed import PART, WHOLE
from tallystick.query.model import Clause
from verify.forgery import FORGERIES, forged

REPETITIONS = 40
AUDITOR = Path(__file__).parents[2] / "auditor" / "check_bundle.py"
Files = dict[str, bytes]
Edit = Callable[[Files, random.Random], Files]


def change_a_byte(name: str) -> Edit:
    def edit(files: Files, rng: random.Random) -> Files:
        at = rng.randrange(len(files[name]))
        content = files[name]
        return files | {name: content[:at] + bytes([content[at] ^ 1 << rng.randrange(8)]) + content[at + 1 :]}

    return edit


def edit_lines(name: str) -> Edit:
    """Drop, repeat, swap or cut the lines of a file."""

    def edit(files: Files, rng: random.Random) -> Files:
        lines = files[name].splitlines(keepends=True)
        at, other = rng.randrange(len(lines)), rng.randrange(len(lines))
        match rng.randrange(4):
            case 0:
                del lines[at]
            case 1:
                lines.insert(at, lines[other])
            case 2:
                lines[at], lines[other] = lines[other], lines[at]
            case _:
                lines[at] = lines[at][: len(lines[at]) // 2]
        return files | {name: b"".join(lines)}

    return edit


def rewrite_the_report(files: Files, rng: random.Random) -> Files:
    """The summary tells another story than the export."""
    name = rng.choice(["report.html", "README.txt", "report.pdf"])
    words = {"report.html": b"found", "README.txt": b"audit log", "report.pdf": b"obj"}[name]
    return files | {name: files[name].replace(words, words[::-1], rng.randrange(1, 3))}


def change_the_question(files: Files, rng: random.Random) -> Files:
    manifest = json.loads(files["manifest.json"])
    question = manifest["question"]
    match rng.randrange(5):
        case 0:
            question["filter"] = ""
        case 1:
            question["words"] += " Really."
        case 2:
            question["asked_at"] = "2020-01-01T00:00:00.000000Z"
        case 3:
            question["asked_by"]["id"] = "somebody else"
        case _:
            question["asked_by"]["name"] = "somebody else"
    return files | {"manifest.json": encoded(manifest)}


def change_the_counts(files: Files, rng: random.Random) -> Files:
    manifest = json.loads(files["manifest.json"])
    place, key = rng.choice(
        [
            *((manifest["found"], key) for key in ("start", "end", "size", "events")),
            (manifest["checkpoints"], "here"), (manifest["checkpoints"], "in_range"), (manifest, "removals"),
            (manifest, "version"),
        ]
    )  # fmt: skip
    place[key] += rng.choice([-1, 1])
    return files | {"manifest.json": encoded(manifest)}


def change_the_seal(files: Files, rng: random.Random) -> Files:
    """The event of the seal names another manifest, or its receipt or consistency proof is another."""
    seal = json.loads(files["issued.json"])
    match rng.randrange(4):
        case 0:
            for part in (seal["line"]["opening"], seal["line"]["event"]):
                part["metadata"]["manifest_sha256"] = rng.randbytes(32).hex()
        case 1:
            seal["line"]["event"]["actor"]["name"] = seal["line"]["opening"]["actor/name"] = "else"
        case 2:
            lines = seal["receipt"].split("\n")
            del lines[rng.randrange(len(lines))]
            seal["receipt"] = "\n".join(lines)
        case _:
            seal["consistency"] = seal["consistency"][1:] or ["A" * 43 + "="]
    return files | {"issued.json": encoded(seal)}


def drop_a_file(files: Files, rng: random.Random) -> Files:
    left = dict(files)
    del left[rng.choice(list(files))]
    return left


def move_a_file(files: Files, rng: random.Random) -> Files:
    names = list(files)
    first, second = rng.sample(range(len(names)), 2)
    names[first], names[second] = names[second], names[first]
    return {name: files[name] for name in names}


def encoded(value: Any) -> bytes:
    return json.dumps(value, ensure_ascii=False, separators=(",", ":")).encode() + b"\n"


EDITS: dict[str, Edit] = {
    **{f"a byte of {name}": change_a_byte(name) for name in (
        "README.txt", "report.html", "report.pdf", "checkpoints.jsonl", "export.jsonl", "removed.jsonl", "manifest.json",
        "issued.json",
    )},
    **{f"lines of {name}": edit_lines(name) for name in ("report.html", "checkpoints.jsonl", "export.jsonl", "removed.jsonl")},
    "the report": rewrite_the_report, "the question": change_the_question, "the counts": change_the_counts,
    "the seal": change_the_seal, "a file less": drop_a_file, "the order": move_a_file,
}  # fmt: skip


def found_by_hand(auditor: dict[str, Any], office: Office, bundle: bytes, folder: Path) -> bool:
    """Tell whether the checker that an auditor can read finds something wrong."""
    place = folder / "edited.zip"
    place.write_bytes(bundle)
    keys = [auditor["export"].Key(one.format()) for one in (office.log.verifier, office.log.signer.clock())]
    try:
        return bool(auditor["check"](place, keys).violated)
    except auditor["Broken"]:
        return True


async def test_every_edit_of_a_bundle_is_found(office: Office, pools: Any, tmp_path: Path) -> None:
    """Whoever edits a file of the bundle, and puts sums, counts and CRCs right again, would tell another story."""
    await lived(office)
    bundles = bundles_of(office, tmp_path / "evidence", pools)
    bundle = await made(bundles, office, only=(Clause("user", ("ada@lovelace.example",)),))
    files = files_of(bundle)
    assert check(office, packed(files)).verdict == "proven"
    auditor = runpy.run_path(str(AUDITOR))
    assert not found_by_hand(auditor, office, packed(files), tmp_path)
    missed: list[tuple[str, int]] = []
    for name, edit in EDITS.items():
        tried = 0
        for repetition in range(3 * REPETITIONS):
            rng = random.Random(repetition)
            edited = edit(files, rng)
            if edited == files and list(edited) == list(files):
                continue
            tried += 1
            if repetition % 2 and {"manifest.json"} <= set(edited) and "manifest" not in name:
                edited = resummed(edited)
            bundle = packed(edited)
            if check(office, bundle).exit_code == 0:
                missed.append((name, repetition))
            if not found_by_hand(auditor, office, bundle, tmp_path):
                missed.append((f"{name}, by the file to be read", repetition))
            if tried == REPETITIONS:
                break
        assert tried == REPETITIONS, f"{name} was edited {tried} times"
    assert missed == []


async def test_every_forgery_of_the_export_is_found(office: Office, pools: Any, tmp_path: Path) -> None:
    """What no export gets away with, no bundle may, whose sums the forger puts right."""
    bundles = bundles_of(office, tmp_path / "evidence", pools)
    await office.age(12)
    small = files_of(await made(bundles, office))
    few = files_of(await made(bundles, office, never=(Clause("workspace", ("w-2",)),)))
    await lived(office)
    whole = files_of(await made(bundles, office))
    part = files_of(await made(bundles, office, never=(Clause("workspace", ("w-2",)),)))
    cases = [
        *((small if one.__name__ == "bare_without_record" else few, one) for one in FORGERIES),
        *((whole, one) for one in WHOLE if one not in PART),
        *((part, one) for one in PART),
    ]
    missed: list[tuple[str, int]] = []
    for files, forgery in cases:
        for repetition in range(REPETITIONS):
            rng = random.Random(repetition)
            export = forged(
                files["export.jsonl"], lambda lines, rng=rng, forgery=forgery: forgery(lines, rng)
            )
            if export == files["export.jsonl"]:
                continue
            edited = resummed(files | {"export.jsonl": export})
            if check(office, packed(edited)).exit_code == 0:
                missed.append((forgery.__name__, repetition))
    assert missed == []


async def test_parts_of_other_bundles_do_not_fit(office: Office, pools: Any, tmp_path: Path) -> None:
    """A seal, a catalogue or checkpoints of another bundle of the very same log would pass as this one's."""
    await lived(office)
    bundles = bundles_of(office, tmp_path / "evidence", pools)
    first = files_of(await made(bundles, office))
    await office.log.append([event() for _ in range(3)])
    second = files_of(await made(bundles, office))
    for name in first:
        if first[name] == second[name]:
            continue
        for files in ({**first, name: second[name]}, resummed({**first, name: second[name]})):
            assert check(office, packed(files)).exit_code != 0, name
    both = {**first, "manifest.json": second["manifest.json"], "issued.json": second["issued.json"]}
    assert check(office, packed(both)).exit_code != 0


async def test_a_rollback_is_found_by_what_was_kept(office: Office, pools: Any, tmp_path: Path) -> None:
    """A bundle of a log cut back would hide what came after it from whoever kept a later checkpoint."""
    await office.age(20)
    bundles = bundles_of(office, tmp_path / "evidence", pools)
    old = await made(bundles, office)
    await office.age(5)
    later = json.loads(files_of(await made(bundles, office))["checkpoints.jsonl"].splitlines()[-1])
    report = check(office, old, kept=(later["checkpoint"],))
    assert report.verdict == "violated"
    assert report.violated[0].kind == "rollback"


async def test_another_logs_bundle_is_not_this_logs(office: Office, pools: Any, tmp_path: Path) -> None:
    """A whole bundle made with a key of the forger's own is consistent in itself; the pinned key tells."""
    from tallystick.merkle.keys import SignerKey
    from tallystick.verify.bundle import verify_bundle
    from tallystick.verify.instance import Means

    await office.age(20)
    bundle = await made(bundles_of(office, tmp_path / "evidence", pools), office)
    own = Means(verb_of=lambda _: "read", secret=bytes(32), keys=(), kept=[])
    report = verify_bundle(lambda: [bundle], own)
    assert report.verdict == "proven"
    assert any("no key was pinned" in line for line in report.not_proven)
    other = SignerKey(office.log.signer.origin(office.log.organization_id), bytes(32)).verifier
    means = Means(verb_of=lambda _: "read", secret=bytes(32), keys=(other,), kept=[])  # type: ignore[arg-type]
    assert verify_bundle(lambda: [bundle], means).exit_code != 0


async def test_what_is_too_long_is_refused(office: Office, pools: Any, tmp_path: Path) -> None:
    """A file that is read as a whole must not be made to fill the memory of whoever checks it."""
    await office.age(3)
    files = files_of(await made(bundles_of(office, tmp_path / "evidence", pools), office))
    for name in ("checkpoints.jsonl", "manifest.json", "issued.json"):
        long = files | {name: files[name] + b" " * (5 << 20)}
        report = check(office, packed(long))
        assert report.verdict == "violated"
        assert any("longer than it ever is" in one.message for one in report.violated), name
    many = files | {"checkpoints.jsonl": files["checkpoints.jsonl"].splitlines(keepends=True)[0] * 1_001}
    assert check(office, packed(many)).verdict == "violated"
    for name in ("manifest.json", "issued.json", "checkpoints.jsonl"):
        for content in (b"", b"[" * 100_000, b"\xff\n", b"null\n", b"{}\n"):
            if name == "checkpoints.jsonl" and content == b"":
                continue
            assert check(office, packed(files | {name: content})).exit_code != 0, (
                name,
                content[:9],
            )
