#!/usr/bin/env python3
"""Check a Tallystick evidence bundle: this file and check_export.py beside it, Python 3.11 and `cryptography`.

    python check_bundle.py BUNDLE.zip [--key VERIFIER-KEY]… [--known CHECKPOINT-OR-RECEIPT]…

Written from docs/reference/evidence-bundle.md, sharing no line with the server. Exit status: 0 = nothing is violated, 1 =
something is, 2 = this could not be checked. A bundle is a zip of plain files (1). Its export is checked by check_export.py,
its catalogue of removals record by record (2). Everything else is bound by the manifest's SHA-256, which the log itself took
in as an event when the bundle was issued (3): whoever changes a letter of the report needs the log's key.
"""
# fmt: off
import argparse
import hashlib
import importlib.util
import json
import sys
import zipfile
from pathlib import Path

_spec = importlib.util.spec_from_file_location("check_export", Path(__file__).with_name("check_export.py"))
export = importlib.util.module_from_spec(_spec)
_spec.loader.exec_module(export)
Broken, UNREADABLE, require = export.Broken, (*export.UNREADABLE, zipfile.BadZipFile), export.require

ORDER = ["README.txt", "report.html", "report.pdf", "controls.json", "checkpoints.jsonl", "export.jsonl", "removed.jsonl",
         "manifest.json", "issued.json"]
MAY_BE_ABSENT = {"report.pdf", "controls.json"}
TEXT_BYTES_MAX = 4 << 20  # of what is read as a whole

# 1. The zip: every file stored as it is, each once, in order, one behind the other, and nothing else.
def open_zip(path):
    opened, at = zipfile.ZipFile(path), 0
    names = [one.filename for one in opened.infolist()]
    wanted = [name for name in ORDER if name in names or name not in MAY_BE_ABSENT]
    require(names == wanted, f"it holds {names}, not {wanted}")
    for one in opened.infolist():
        plain = one.compress_type == zipfile.ZIP_STORED and one.flag_bits == 0 and one.file_size == one.compress_size
        with path.open("rb") as file:
            file.seek(at)
            head = file.read(30)
        sizes = b"\xff" * 8 if one.file_size >= 0xFFFFFFFF else one.file_size.to_bytes(4, "little") * 2
        plain = plain and head[6:10] == bytes(4) and head[14:26] == one.CRC.to_bytes(4, "little") + sizes
        require(plain and one.header_offset == at, f"{one.filename} is not stored as bundles store it")
        at += 30 + len(one.filename) + (20 if one.file_size >= 0xFFFFFFFF else 0) + one.file_size
    end = path.stat().st_size - opened.start_dir
    plain = sum(46 + len(name) for name in names) + 22
    exact = end == plain if path.stat().st_size < 0xFFFFFFFF else plain <= end <= plain + 400
    require(at == opened.start_dir and exact and not opened.comment, "something stands between or behind its files")
    return opened

def sums(opened):
    """Return what each file comes to; a CRC-32 that does not fit raises."""
    found = []
    for one in opened.infolist():
        digest = hashlib.sha256()
        with opened.open(one) as file:
            for piece in iter(lambda file=file: file.read(1 << 18), b""):
                digest.update(piece)
        found.append({"name": one.filename, "bytes": one.file_size, "sha256": digest.hexdigest()})
    return found

def whole(opened, name):
    require(opened.getinfo(name).file_size <= TEXT_BYTES_MAX, f"{name} is longer than it ever is")
    return opened.read(name)

# 2. The catalogue of removals: each line is an event of the log.
def check_removed(checking, opened):
    last = -1
    with opened.open("removed.jsonl") as file:
        for raw in iter(lambda: file.readline(export.LINE_BYTES_MAX), b""):
            line = export.spans(raw.removesuffix(b"\n"))
            require(raw.endswith(b"\n") and list(line) == export.RECORD, "a line of removed.jsonl is not a record")
            position, leaf = int(line["record"]), export.strict_json(line["leaf"])
            path = [export.unbase64(one, 32) for one in json.loads(line["proof"])]
            found = export.root_by(export.sha(b"\x00", line["leaf"]), position, checking.size, path)
            in_log = last < position < checking.size and found == checking.checkpoint.root
            require(in_log and leaf["origin"] == checking.header["origin"], f"the record {position} is not of this log")
            require(leaf["stream"] == leaf["source"] == "tallystick", f"the record {position} is not the log's own")
            export.opened(leaf, line["opening"], line["seed"])
            last = position
            checking.removals += 1

# 3. The seal.
def continues(old, new, old_root, new_root, path):
    """Tell whether a log of `new` leaves begins with that of `old` (RFC 9162, 2.1.4.2)."""
    if old == new:
        return not path and old_root == new_root
    path = [old_root, *path] if old & (old - 1) == 0 else path
    first, second = old - 1, new - 1
    while first & 1:
        first, second = first >> 1, second >> 1
    if not path:
        return False
    older = newer = path[0]
    for one in path[1:]:
        if second == 0:
            return False
        if first & 1 or first == second:
            older, newer = export.node(one, older), export.node(one, newer)
            while first and not first & 1:
                first, second = first >> 1, second >> 1
        else:
            newer = export.node(newer, one)
        first, second = first >> 1, second >> 1
    return second == 0 and (older, newer) == (old_root, new_root)

def check_seal(checking, trusted, manifest, digest, raw):
    seal = export.spans(raw.removesuffix(b"\n"))
    require(list(seal) == ["line", "receipt", "consistency"], "issued.json is not a seal")
    line, receipt = export.spans(seal["line"]), json.loads(seal["receipt"])
    require(list(line) == export.FULL, "the event of the seal is not whole")
    leaf, position = export.strict_json(line["leaf"]), int(line["position"])
    values, erased = export.opened(leaf, line["opening"], line["seed"])
    shown = export.readable(leaf, values, erased, position)
    require(export.strict_json(line["event"]) == shown, "the readable event of the seal is another one")
    ours = (leaf["action"], leaf["stream"], leaf["source"], leaf["outcome"])
    require(ours == ("evidence.issued", "tallystick", "tallystick", "success"), "the event is not one that seals a bundle")
    require(leaf["origin"] == checking.header["origin"] and position >= checking.size, "the seal is of another log, or older")
    lines = receipt.partition("\n\n")[0].split("\n")
    lines = [one for one in lines if not one.startswith("extra ")]
    require(lines[0] == "c2sp.org/tlog-proof@v1" and lines[1] == f"index {position}", "the receipt is for another event")
    signed = export.Checkpoint(receipt)
    _, at = signed.signed_by(trusted)
    path = [export.unbase64(one, 32) for one in lines[2:]]
    found = export.root_by(export.sha(b"\x00", line["leaf"]), position, signed.size, path)
    require(found == signed.root, "the event of the seal is not in the log")
    proof = [export.unbase64(one, 32) for one in json.loads(seal["consistency"])]
    same = continues(checking.size, signed.size, checking.checkpoint.root, signed.root, proof)
    require(same, "the log of the seal does not continue the export's")
    require(values["metadata"]["manifest_sha256"] == digest, "the log sealed another manifest")
    require(values["actor/id"] == manifest["question"]["asked_by"]["id"], "somebody else asked for it")
    return at

def check(path, keys=(), known=()):
    """Check a bundle and return the finished Check of its export, with what this file adds."""
    try:
        opened = open_zip(path)
        notes = [json.loads(line)["checkpoint"] for line in whole(opened, "checkpoints.jsonl").splitlines()]
    except (Broken, OSError, *UNREADABLE) as error:
        raise Broken(f"this cannot be checked as an evidence bundle: {error}") from None
    own = [(f"checkpoints.jsonl line {at}", note) for at, note in enumerate(notes, 1)]
    try:
        with opened.open("export.jsonl") as file:
            checking = export.check(file, keys, [*known, *own])
    except zipfile.BadZipFile as error:
        checking = export.Check([], [])
        checking.violate("the bundle", f"bytes of it were changed: {error}")
        return checking
    checking.removals = 0
    checking.proven = [one for one in checking.proven if not one.startswith("checkpoints.jsonl")]
    for one in [one for one in checking.not_proven if one.startswith("checkpoints.jsonl")]:
        checking.not_proven.remove(one)
        checking.violate("checkpoints.jsonl", one)
    if own and not known:
        checking.not_proven.append("that nothing was rolled back with the log's own key: no --known was given")
    try:
        raw = whole(opened, "manifest.json")
        manifest, header = json.loads(raw), checking.header
        spelled = json.dumps(manifest, ensure_ascii=False, separators=(",", ":")).encode() + b"\n"
        require(spelled == raw, "manifest.json is not spelled as the log spells it")
        require((manifest["format"], manifest["version"]) == ("tallystick-evidence", 1), "this is no manifest known here")
        require(manifest["entries"] == sums(opened)[:-2], "the manifest names other files than stand here")
        question, count = manifest["question"], manifest["found"]
        said = [manifest["origin"], question["filter"], manifest["keys"], count["start"], count["end"], count["size"]]
        there = [header[name] for name in ("origin", "filter", "keys", "start", "end", "size")]
        require(said == there and count["events"] == checking.events, "the manifest speaks of another export")
        check_removed(checking, opened)
        require(manifest["removals"] == checking.removals, "removed.jsonl holds more or less than the manifest says")
        named = [export.Key(text) for text in header["keys"]]
        trusted = [key for key in keys if not key.is_clock] or [key for key in named if not key.is_clock]
        trusted += [key for key in keys if key.is_clock] or [key for key in named if key.is_clock]
        check_seal(checking, trusted, manifest, hashlib.sha256(raw).hexdigest(), whole(opened, "issued.json"))
        who = question["asked_by"]["name"] or question["asked_by"]["id"]
        if checking.violated:
            return checking
        checking.proven.append(f"report and all other files: as they were when the log sealed this bundle, for {who}")
        checking.proven.append(f"{checking.removals} records of retention, holds, erasures and approvals: events of this log")
    except (Broken, *UNREADABLE) as error:
        checking.violate("the bundle", str(error) or repr(error))
    return checking

def main():
    parser = argparse.ArgumentParser(description="Check an evidence bundle of a Tallystick audit log.")
    parser.add_argument("bundle", type=Path)
    parser.add_argument("--key", action="append", default=[], help="the log's verifier key, from a source you trust")
    parser.add_argument("--known", action="append", default=[], type=Path, help="a checkpoint or receipt you kept")
    asked = parser.parse_args()
    try:
        keys, known = [export.Key(text) for text in asked.key], [(path.name, path.read_text()) for path in asked.known]
        found = check(asked.bundle, keys, known)
    except (Broken, OSError, *UNREADABLE) as error:
        print(f"UNCHECKED\n  {error}")
        return 2
    for title, lines in (("Proven", found.proven), ("Not proven", found.not_proven), ("VIOLATED", found.violated)):
        if lines:
            print(title, *(f"  {line}" for line in lines), sep="\n")
    return 1 if found.violated else 0

if __name__ == "__main__":
    sys.exit(main())
