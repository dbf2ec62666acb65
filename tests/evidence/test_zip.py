"""The zip of a bundle: every program opens it, and nothing that zip files can be tricked with gets past its reader."""

from __future__ import annotations

import io
import random
import struct
import subprocess
import zipfile
import zlib
from collections.abc import Callable
from pathlib import Path

import pytest

from evidence.bundles import files_of, packed
from tallystick.errors import Refused
from tallystick.verify import bundle_zip
from tallystick.verify.bundle_zip import ENTRIES_MAX, Entry, ZipReader, directory, local_header

NAMES = ("a.txt", "b.jsonl", "c.json")
FILES = {"a.txt": b"hello\n", "b.jsonl": b'{"x":1}\n' * 900, "c.json": b""}


def read(content: bytes, names: tuple[str, ...] = NAMES, piece: int = 777) -> dict[str, bytes]:
    """Read a zip as a bundle is read."""
    reader = ZipReader(content[at : at + piece] for at in range(0, len(content), piece))
    found: dict[str, bytes] = {}
    for name in names:
        entry = reader.next([name])
        if entry is None:
            raise Refused(f"it ends before {name}")
        found[name] = b"".join(reader.pieces(entry))
    reader.finish()
    return found


def test_every_program_opens_it(tmp_path: Path) -> None:
    """An auditor whose program cannot open the file has nothing."""
    content = packed(FILES)
    assert read(content) == files_of(content) == FILES
    place = tmp_path / "some.zip"
    place.write_bytes(content)
    try:
        done = subprocess.run(["unzip", "-t", str(place)], capture_output=True, text=True, check=False)
    except FileNotFoundError:
        pytest.skip("there is no unzip on this machine")
    assert done.returncode == 0, done.stdout


def test_beyond_four_gigabytes(monkeypatch: pytest.MonkeyPatch) -> None:
    """A large answer must open like a small one; here the border between the two is drawn lower."""
    monkeypatch.setattr(bundle_zip, "_NARROW", 2000)
    content = packed(FILES)
    assert read(content) == FILES
    # What the standard asks for beyond the border: 64-bit sizes apart, and a directory of its own.
    monkeypatch.undo()
    wide = Entry("big", 5 << 30, 7, 6 << 30)
    head = local_header(wide)
    assert struct.unpack("<2H2Q", head[-20:]) == (1, 16, 5 << 30, 5 << 30)
    listed = directory([wide], 11 << 30)
    assert b"PK\x06\x06" in listed
    assert b"PK\x06\x07" in listed
    assert struct.unpack("<Q", listed[listed.index(b"PK\x06\x07") + 8 :][:8])[0] == (11 << 30) + listed.index(
        b"PK\x06\x06"
    )


def rezipped(edit: Callable[[zipfile.ZipFile], None] | None = None, **more: object) -> bytes:
    out = io.BytesIO()
    with zipfile.ZipFile(out, "w") as made:
        for name, content in FILES.items():
            made.writestr(name, content, **more)  # type: ignore[arg-type]
        if edit:
            edit(made)
    return out.getvalue()


def attacks(good: bytes) -> dict[str, bytes]:
    """Return zips that somebody might hand in instead."""
    at = good.index(b"PK\x01\x02")
    end = good.index(b"PK\x05\x06")
    second = good.index(b"PK\x03\x04", 4)
    entry = local_header(Entry("a.txt", 6, zlib.crc32(b"hello\n"), 0)) + b"hello\n"
    return {
        "compressed": rezipped(compress_type=zipfile.ZIP_DEFLATED),
        "a bomb": _bomb(),
        "of another program": rezipped(),
        "an entry twice": good[:second] + entry + good[second:],
        "an entry twice in the directory": good[:at] + good[at : at + 46 + 5] + good[at:],
        "an entry more at the end": good[:at] + entry + good[at:],
        "an entry less": good[second:],
        "another name in the directory": good[:at] + good[at:].replace(b"a.txt", b"b.txt", 1),
        "another size in the directory": good[: at + 20] + b"\x05" + good[at + 21 :],
        "another place in the directory": good[: at + 42] + b"\x01" + good[at + 43 :],
        "out of the folder": good.replace(b"a.txt", b"../.x"),
        "an absolute name": good.replace(b"a.txt", b"/root"),
        "a name with a NUL": good.replace(b"a.txt", b"a\0txt"),
        "a name in capitals": good.replace(b"a.txt", b"A.TXT"),
        "a link": good[: at + 38] + struct.pack("<I", 0o120777 << 16) + good[at + 42 :],
        "encrypted": good[:6] + b"\x01" + good[7:],
        "sizes behind the bytes": good[:6] + b"\x08" + good[7:],
        "bytes in front": b"#!/bin/sh\n" + good,
        "bytes behind": good + b"\0",
        "a comment": good[:-2] + b"\x02\x00hi",
        "bytes between": good[:at] + b"\0\0\0\0" + good[at:],
        "a second directory": good + good[at:],
        "an end that points elsewhere": good[: end + 16] + b"\0\0\0\0" + good[end + 20 :],
        "another CRC": good[:14] + bytes([good[14] ^ 1]) + good[15:],
        "a size without end": _endless(good),
        "nothing": b"PK\x05\x06" + bytes(18),
    }


def _bomb() -> bytes:
    out = io.BytesIO()
    with zipfile.ZipFile(out, "w", zipfile.ZIP_DEFLATED) as made:
        made.writestr("a.txt", bytes(50 << 20))
    return out.getvalue()


def _endless(good: bytes) -> bytes:
    """An entry that says it has an exabyte."""
    head = local_header(Entry("a.txt", 1 << 60, 0, 0))
    return head + good[41:]


def test_tricks_with_zip_files_are_refused() -> None:
    """A file that shows one thing to a verifier and another to a person opens the way for every forgery."""
    good = packed(FILES)
    for name, edited in attacks(good).items():
        assert edited != good, name
        with pytest.raises(Refused, match=r"^.{12,}"):
            read(edited)


def test_truncated_anywhere() -> None:
    """A copy that broke off must not pass for the whole."""
    content = packed(FILES)
    for at in random.Random(3).sample(range(len(content)), 60):
        with pytest.raises(Refused):
            read(content[:at])


def test_any_flipped_byte() -> None:
    """Whatever is not compared could be used to tell two stories with one file."""
    content = packed(FILES)
    rng = random.Random(5)
    for at in [*range(60), *range(len(content) - 250, len(content)), *rng.sample(range(len(content)), 100)]:
        flipped = content[:at] + bytes([content[at] ^ 1 << rng.randrange(8)]) + content[at + 1 :]
        with pytest.raises(Refused):
            read(flipped)


def test_more_entries_than_any_bundle_has() -> None:
    """A reader that keeps a note of each entry must not be made to keep millions."""
    names = tuple(f"{at}.txt" for at in range(ENTRIES_MAX + 1))
    with pytest.raises(Refused):
        read(packed(dict.fromkeys(names, b"")), names)
    assert len(read(packed(dict.fromkeys(names[:-1], b"")), names[:-1])) == ENTRIES_MAX
