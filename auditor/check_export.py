#!/usr/bin/env python3
"""Check a JSONL export of a Tallystick audit log: one file to read, needing Python 3.11 and `cryptography`.

    python check_export.py EXPORT.jsonl [--key VERIFIER-KEY]… [--known CHECKPOINT-OR-RECEIPT]…

Written from docs/reference/export-format.md, sharing no line with the server. Exit status: 0 = nothing is violated, 1 =
something is, 2 = this could not be checked. A checkpoint (1) is a signed text: log, number of events, root hash. The
root is that of a Merkle tree (2, RFC 6962): any event changed, added, dropped or moved, and it is another. A leaf holds
the plain parts of an event and one digest over the personal and free ones (3), which stand beside it with their salts,
and can be erased without changing the leaf. What is gone must be covered by a record (4): an event of the log itself.
"""
# fmt: off
import argparse
import base64
import hashlib
import json
import re
import sys
from datetime import UTC, datetime
from pathlib import Path

from cryptography.exceptions import InvalidSignature
from cryptography.hazmat.primitives.asymmetric.ed25519 import Ed25519PublicKey

LINE_BYTES_MAX, LAST = 4 << 20, ["events", "bare", "header_sha256"]
HEADER = ["format", "version", "origin", "organization", "filter", "start", "end", "size", "created_at", "keys", "checkpoint", "left", "right"]
FULL, BARE = ["position", "event", "opening", "seed", "leaf"], ["position", "count", "leaf_hashes"]
GONE, RECORD = ["position", "count", "removed", "leaf_hashes"], ["record", "opening", "seed", "proof", "leaf"]
UNREADABLE = (KeyError, TypeError, ValueError, AttributeError, IndexError, RecursionError, OverflowError)

class Broken(Exception):
    """Something is not as the log wrote it."""

def require(holds, otherwise):
    if not holds:
        raise Broken(otherwise)

def sha(*parts):
    return hashlib.sha256(b"".join(parts)).digest()

def unbase64(text, size=None):
    """Decode base64 in its one canonical spelling."""
    raw = base64.b64decode(text, validate=True)
    require(base64.b64encode(raw).decode() == text and size in (None, len(raw)), "base64 of another spelling or length")
    return raw

# 1. Signed checkpoints: c2sp.org/signed-note, c2sp.org/tlog-checkpoint, c2sp.org/tlog-cosignature.
class Key:
    """A verifier key `name+id+base64`; type 1 signs checkpoints, type 4 says when it saw one."""
    def __init__(self, text):
        self.name, self.id, encoded = text.strip().split("+", 2)
        raw = unbase64(encoded, 33)
        self.is_clock = raw[0] == 4
        its_id = sha(self.name.encode(), b"\n", raw)[:4].hex()
        require(raw[0] in (1, 4) and its_id == self.id, f"{text[:60]!r} is not a verifier key of a known type")
        self._public = Ed25519PublicKey.from_public_bytes(raw[1:])

    def check(self, text, signature):
        """Return the POSIX time a clock signed with, or None."""
        message, seconds = text.encode(), None
        if self.is_clock:
            seconds, signature = int.from_bytes(signature[:8], "big"), signature[8:]
            message = b"cosignature/v1\ntime %d\n" % seconds + message
        try:
            self._public.verify(signature, message)
        except InvalidSignature:
            raise Broken(f"the signature of {self.name}+{self.id} does not fit this checkpoint") from None
        return seconds

class Checkpoint:
    """The signed statement that the log `origin` had `size` events leading to `root`."""
    def __init__(self, note):
        if note.startswith("c2sp.org/tlog-proof@v1\n"):  # a receipt carries the checkpoint it was given under
            note = note.partition("\n\n")[2]
        text, blank, block = note.rpartition("\n\n")
        lines, self.signatures = text.split("\n"), []
        whole = blank and block.endswith("\n") and len(lines) >= 3 and re.fullmatch(r"0|[1-9]\d{0,18}", lines[1])
        require(whole, "this is not a signed checkpoint")
        self.text, self.origin, self.size, self.root = text + "\n", lines[0], int(lines[1]), unbase64(lines[2], 32)
        for line in block.removesuffix("\n").split("\n"):
            match = re.fullmatch(r"— ([^\s+]+) (\S+)", line)
            require(match, "a line of signatures cannot be read")
            raw = unbase64(match[2])
            self.signatures.append((match[1], raw[:4].hex(), raw[4:]))

    def signed_by(self, keys):
        """Return (log keys that signed, the clock's time or None); every signature of a given key must be good."""
        names, at = [], None
        for name, id, signature in self.signatures:
            for key in (one for one in keys if (one.name, one.id) == (name, id)):
                seconds = key.check(self.text, signature)
                at = seconds if key.is_clock else at
                names += [] if key.is_clock else [f"{name}+{id}"]
        signed = {one[:2] for one in self.signatures}
        for key in keys:
            require(not key.is_clock or (key.name, key.id) in signed, f"the clock {key.name} did not sign it")
        require(names, "no key you trust signed it")
        return names, at

# 2. The tree (RFC 6962): the roots of complete subtrees, largest first, one for each bit of the size.
def node(left, right):
    return sha(b"\x01", left, right)

class Tree:
    """A log that grows leaf by leaf, or by whole subtrees where only their roots are known."""
    def __init__(self):
        self.size, self._peaks = 0, []  # (number of leaves, root)

    def add(self, root, leaves=1):
        require(self.size % leaves == 0, "a subtree of the proof does not fit its place")
        self.size += leaves
        while self._peaks and self._peaks[-1][0] == leaves:
            root, leaves = node(self._peaks.pop()[1], root), leaves * 2
        self._peaks.append((leaves, root))

    def root(self):
        found = self._peaks[-1][1] if self._peaks else sha(b"")
        for _, peak in reversed(self._peaks[:-1]):
            found = node(peak, found)
        return found

def subtrees(start, end, roots):
    """Return (size, root) of the largest complete subtrees that cover [start, end), from left to right."""
    found = []
    for text in roots:
        size = 1 << (end - start).bit_length() - 1 if end > start else 0
        size = min(size, start & -start) if start else size
        require(size, "there are more subtrees beside the range than there must be")
        found.append((size, unbase64(text, 32)))
        start += size
    require(start == end, "there are fewer subtrees beside the range than there must be")
    return found

def root_by(leaf_hash, index, size, path):
    """Return the root that an inclusion proof leads to (RFC 6962, 2.1.1)."""
    require((size == 1) == (not path), "a proof has another length than its place needs")
    if size == 1:
        return leaf_hash
    half = 1 << (size - 1).bit_length() - 1
    below = root_by(leaf_hash, index % half, half if index < half else size - half, path[:-1])
    return node(below, path[-1]) if index < half else node(path[-1], below)

# 3. What is sealed beside a leaf, and the event as people read it.
def strict_json(text):
    """Decode JSON without losing anything: no repeated key, and numbers keep their digits."""
    def unique(pairs):
        require(len({key for key, _ in pairs}) == len(pairs), "an object names a key twice")
        return dict(pairs)

    def number(digits):
        return ("number", digits)  # equals no list and no text; and 1 is not 1.0 nor true
    return json.loads(text, object_pairs_hook=unique, parse_int=number, parse_float=number, parse_constant=number)

def spans(raw):
    """Return {key: the bytes of its value} of a JSON object written without optional whitespace."""
    text, found, at, decode = raw.decode(), {}, 1, json.JSONDecoder().raw_decode
    while text != "{}" and text[at - 1] in "{,":
        key, after = decode(text, at)
        _, end = decode(text, after + 1)
        once = isinstance(key, str) and text[after] == ":" and key not in found and text[after + 1] not in " \t\r\n"
        require(once, "an object is not spelled as the log spells it")
        found[key] = text[after + 1 : end].encode()
        at = end + 1
    whole = text == "{}" or (text[0] == "{" and text[at - 1] == "}" and at == len(text))
    require(whole, "an object is not spelled as the log spells it")
    return found

def opened(leaf, raw_opening, raw_seed):
    """Return (sealed values, erased paths) once their digest is that of the leaf."""
    opening = spans(raw_opening)
    require(list(opening) == sorted(opening, key=str.encode), "the sealed values are not in order")
    erased, seed = json.loads(opening.pop("$erased", b"{}")), json.loads(raw_seed)
    apart = erased and set(seed) == set(opening) and not set(erased) & set(opening)
    require(apart or (len(seed) == 32 and seed == bytes.fromhex(seed).hex()), "values and salts do not belong together")
    commits = {path.encode(): base64.urlsafe_b64decode(commit + "=") for path, commit in erased.items()}
    for path, value in opening.items():
        name = path.encode()
        made = None if erased else sha(b"tallystick/salt/1\0", bytes.fromhex(seed), name)[:16]
        salt = made or base64.urlsafe_b64decode(seed[path] + "==")
        commits[name] = sha(b"tallystick/field/1\0", salt, len(name).to_bytes(2, "big"), name, value)
    digest = sha(b"tallystick/sealed/1\0", *(commits[name] for name in sorted(commits)))
    sealed = base64.urlsafe_b64encode(digest).rstrip(b"=").decode()
    require(sealed == leaf["sealed"], "a sealed value, its salt or the seed was changed")
    return {path: strict_json(value) for path, value in opening.items()}, sorted(erased)

def readable(leaf, values, erased, position):
    """Return the event that leaf and sealed values stand for."""
    def clear(part):
        return {key: part[key] for key in ("type", "credential_id", "roles") if key in part}

    def under(prefix, *names):
        return {name: values[prefix + name] for name in names if prefix + name in values}
    actor = clear(leaf["actor"]) | under("actor/", "id", "name", "email")
    chain = [clear(one) | values.get(f"actor/on_behalf_of/{at}", {})
             for at, one in enumerate(leaf["actor"].get("on_behalf_of", []))]
    targets = [{"type": one["type"], "id": one["id"]} | under(f"targets/{at}/", "name")
               for at, one in enumerate([*leaf.get("targets", []), *values.get("targets/rest", [])])]
    context = under("context/", "ip", "user_agent", "session_id", "trace_id", "http", "location")
    context |= {"request_id": leaf["request_id"]} if "request_id" in leaf else {}
    plain = ("id", "action", "outcome", "stream", "workspace", "occurred_at", "received_at", "source", "producer")
    event = {key: leaf[key] for key in plain if key in leaf}
    event |= under("", "error", "before", "after", "metadata", "redacted", "flags")
    event |= {"position": ("number", str(position)), "organization": leaf["origin"].rpartition("/o/")[2],
              "actor": actor | ({"on_behalf_of": chain} if chain else {}), "targets": targets}
    event |= {"context": context} if context else {}
    return event | ({"erased": ["/" + path for path in erased]} if erased else {})

# 4. The whole.
def covers(ranges, first, count):
    """Tell whether ranges of (first, count) hold all of these positions."""
    at = first
    for start, length in sorted(ranges):
        at = max(at, start + length) if start <= at else at
    return at >= first + count

class Check:
    """One pass over an export; what was removed or erased is remembered, everything else is let go."""
    def __init__(self, keys, known):
        self.proven, self.not_proven, self.violated = [], [], []
        self.keys, self.known, self.tree, self.met = keys, known, Tree(), set()
        self.events = self.bare = 0
        self.received_at, self.trailer = "", None
        self.gone, self.lost, self.covered, self.said = [], [], [], {}

    def violate(self, where, what, unless=False):
        self.violated += [] if unless or len(self.violated) > 20 else [f"{where}: {what}"]

    def open(self, line):
        """Read the first line; raises when nothing after it could be checked."""
        self.header_sha256, header = hashlib.sha256(line).hexdigest(), json.loads(line)
        self.header, self.start, self.end, self.size = header, header["start"], header["end"], header["size"]
        require((header["format"], header["version"]) == ("tallystick-export", 1), "this is no such export")
        again = json.dumps(header, ensure_ascii=False, separators=(",", ":")).encode() + b"\n"
        require(list(header) == HEADER and again == line, "the first line is not spelled as the log spells it")
        named, checkpoint = [Key(text) for text in header["keys"]], Checkpoint(header["checkpoint"])
        self.checkpoint = checkpoint
        logs = [key for key in self.keys if not key.is_clock]
        clocks = [key for key in self.keys if key.is_clock] or [key for key in named if key.is_clock]
        trusted = logs or [key for key in named if not key.is_clock]
        try:
            names, at = checkpoint.signed_by([*trusted, *clocks])
            signers = {one[:2] for one in checkpoint.signatures}
            require({(key.name, key.id) for key in named} == signers, "the keys it names are not those that signed")
            when = "" if at is None else f", at {datetime.fromtimestamp(at, UTC):%Y-%m-%d %H:%M:%S} UTC by its clock"
            self.proven.append(f"the checkpoint of {checkpoint.size} events is signed by {', '.join(names)}{when}")
        except Broken as error:
            self.violate("line 1", error)
        if not logs:
            self.not_proven.append("that the key is the log's own: it stands in the file; give yours with --key")
        fits = (checkpoint.origin, checkpoint.size) == (header["origin"], self.size)
        fits = fits and header["origin"].endswith("/o/" + header["organization"]) and 0 <= self.start <= self.end
        self.violate("line 1", "header and checkpoint do not speak of the same log", unless=fits)
        for name, kept in self.known:
            try:
                require(kept.origin == header["origin"] and kept.signed_by(trusted), "it is of another log")
            except Broken as error:
                self.violate(name, error)
        for leaves, root in subtrees(0, self.start, header["left"]):
            self.grow(root, leaves)

    def grow(self, root, leaves=1):
        """Add to the tree, and compare what was kept of this very size."""
        self.tree.add(root, leaves)
        for name, kept in self.known:
            if kept.size == self.tree.size:
                self.met.add(name)
                agrees = kept.root == self.tree.root()
                self.proven += [f"{name}: its {kept.size} events are the beginning of this log"] if agrees else []
                self.violate(name, f"the first {kept.size} events are not those it was signed for", unless=agrees)

    def take(self, where, raw):
        """Take one line after the first."""
        require(self.trailer is None and raw.endswith(b"\n"), "the file does not end as it must")
        line = spans(raw[:-1])
        if list(line) == LAST:
            self.trailer = json.loads(raw)
            return None
        if list(line) == RECORD:
            return self.take_record(line)
        here = line.get("position") == str(self.tree.size).encode()
        self.violate(where, f"position {self.tree.size} must stand here", unless=here)
        require(list(line) in (FULL, BARE, GONE), "this is neither an event nor bare hashes")
        return self.take_event(line) if list(line) == FULL else self.take_bare(where, line)

    def take_bare(self, where, line):
        hashes = unbase64(json.loads(line["leaf_hashes"]))
        count = int(line["count"])
        require(0 < count <= 256 and len(hashes) == count * 32, "these are not as many hashes as it says")
        if line.get("removed") == b"true":
            self.gone.append((self.tree.size, count))
        elif not self.header["filter"]:
            self.violate(where, "events are missing, and nothing says that they were removed")
        self.bare += count
        for at in range(0, len(hashes), 32):
            self.grow(hashes[at : at + 32])

    def take_event(self, line):
        position = self.tree.size
        self.grow(sha(b"\x00", line["leaf"]))
        self.events += 1
        leaf = strict_json(line["leaf"])
        require(leaf["v"] == ("number", "1") and leaf["origin"] == self.header["origin"], "it is of another log")
        later, self.received_at = leaf["received_at"] >= self.received_at, leaf["received_at"]
        values, erased = opened(leaf, line["opening"], line["seed"])
        same = strict_json(line["event"]) == readable(leaf, values, erased, position)
        require(same, "the readable event does not say what was sealed")
        require(later, "received before the event in front of it")
        self.lost += [(position, path) for path in erased]
        self.account(position, leaf, line["opening"])

    def take_record(self, line):
        position, leaf = int(line["record"]), strict_json(line["leaf"])
        path = [unbase64(one, 32) for one in json.loads(line["proof"])]
        found = root_by(sha(b"\x00", line["leaf"]), position, self.size, path) if position < self.size else b""
        require(found == self.checkpoint.root and self.tree.size == self.end, "this record is not of this log")
        opened(leaf, line["opening"], line["seed"])
        self.account(position, leaf, line["opening"])

    def account(self, position, leaf, opening):
        """Note what an event of the log about itself says it took away; it speaks of what came before it."""
        if (leaf["stream"], leaf["source"], leaf["outcome"]) != ("tallystick", "tallystick", "success"):
            return
        said = json.loads(spans(opening).get("metadata", b"{}"))
        def cut(ranges):
            return [(first, min(count, position - first)) for first, count in ranges]
        if leaf["action"] == "retention.pruned":
            self.covered += [one for part in said["parts"] for one in cut(part["positions"])]
        if leaf["action"] == "privacy.erased":
            self.covered += cut(said.get("removed", []))
            for path, ranges in ((path, one["positions"]) for one in said.get("fields", []) for path in one["paths"]):
                self.said.setdefault(path, []).extend(cut(ranges))

    def close(self):
        """Close the tree, compare it with what was signed, and everything gone with the records."""
        last = {"events": self.events, "bare": self.bare, "header_sha256": self.header_sha256}
        require(self.trailer == last, "the last line is missing, or counts something else than stands here")
        require(self.tree.size == self.end, f"it ends at position {self.tree.size}, not at {self.end}")
        for leaves, root in subtrees(self.end, self.size, self.header["right"]):
            self.grow(root, leaves)
        require(self.tree.root() == self.checkpoint.root, "these events do not lead to the root that was signed")
        for first, count in self.gone:
            by = covers(self.covered, first, count)
            self.violate(f"position {first}", f"{count} events are gone and no record says why", unless=by)
        for position, path in self.lost:
            by = covers(self.said.get(path, []), position, 1)
            self.violate(f"position {position}", f"{path} was erased and no record says why", unless=by)
        if self.gone or self.lost:
            self.not_proven.append("that policies and holds allowed what the records removed: `tallystick verify` can")
        for name, kept in self.known:
            if kept.size > self.size:
                self.violate(name, f"the log once had {kept.size} events, and ends at {self.size} here")
            elif name not in self.met:
                self.not_proven.append(f"{name}: that this log continues it; a full export can show that")
        if not self.violated:
            self.proven.append(f"positions {self.start} to {self.end}: complete, in order, unchanged; {self.events} in full")
        if self.bare - sum(count for _, count in self.gone):
            self.not_proven.append("that none of the events shown by their hash alone fits the filter")
        if not self.known:
            self.not_proven.append("that nothing was rolled back with the log's own key: no --known was given")

def check(file, keys=(), known=()):
    """Check an open export and return the Check; `known` is [(name, text)]. Raises Broken when it is no export."""
    try:
        checking = Check(list(keys), [(name, Checkpoint(text)) for name, text in known])
        checking.open(file.readline(LINE_BYTES_MAX))
    except (Broken, *UNREADABLE) as error:
        raise Broken(f"this cannot be checked as an export of Tallystick: {error}") from None
    for number, raw in enumerate(iter(lambda: file.readline(LINE_BYTES_MAX), b""), 2):
        try:
            checking.take(f"line {number}", raw)
        except (Broken, *UNREADABLE) as error:
            checking.violate(f"line {number}", str(error) or repr(error))
        if number % 4096 == 0 and sys.stderr.isatty():
            print(f"\r{file.tell() >> 20} MiB", end="", file=sys.stderr)
    try:
        checking.close()
    except (Broken, *UNREADABLE) as error:
        checking.violate("the whole", error)
    return checking

def main():
    parser = argparse.ArgumentParser(description="Check a JSONL export of a Tallystick audit log.")
    parser.add_argument("export", type=Path)
    parser.add_argument("--key", action="append", default=[], help="the log's verifier key, from a source you trust")
    parser.add_argument("--known", action="append", default=[], type=Path, help="a checkpoint or receipt you kept")
    asked = parser.parse_args()
    try:
        keys, known = [Key(text) for text in asked.key], [(path.name, path.read_text()) for path in asked.known]
        with asked.export.open("rb") as file:
            found = check(file, keys, known)
    except (Broken, OSError, *UNREADABLE) as error:
        print(f"UNCHECKED\n  {error}")
        return 2
    for title, lines in (("Proven", found.proven), ("Not proven", found.not_proven), ("VIOLATED", found.violated)):
        if lines:
            print(title, *(f"  {line}" for line in lines), sep="\n")
    return 1 if found.violated else 0

if __name__ == "__main__":
    sys.exit(main())
