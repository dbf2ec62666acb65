"""Verifies a static tile directory (c2sp.org/tlog-tiles): every tile is computed again from the hashes below it.

A directory holds one log (`checkpoint`, `tile/…`) or what `tallystick publish` writes: the instance log under `instance/` and
an organization's under `o/<id>/`. Then the organizations' logs must also pass through every checkpoint in the instance log.
"""

from __future__ import annotations

from collections import defaultdict
from collections.abc import Callable, Collection, Iterable, Sequence
from typing import Final

from msgspec import Struct

from tallystick.errors import AuditError, Refused, Tampered
from tallystick.merkle.bundle import parse_bundle
from tallystick.merkle.checkpoint import Checkpoint, parse_checkpoint
from tallystick.merkle.note import NOTE_BYTES_MAX, encode_base64, parse_note
from tallystick.merkle.tile import ENTRIES, TILE_WIDTH, TileId, parse_tile_path, subtree_root, tile_width
from tallystick.merkle.tree import HASH_BYTES, leaf_hash, split_hashes
from tallystick.verify.history import History, Milestone
from tallystick.verify.known import Kept, Known, compare, is_bare, milestones, note_trust, read_known
from tallystick.verify.report import Report, quoted
from tallystick.verify.trust import Keys, Trust, instance_of, open_signed, trust

CHECKPOINT: Final = "checkpoint"
INSTANCE: Final = "instance"
LOGS_MAX: Final = 100_000
FILE_BYTES_MAX: Final = max(NOTE_BYTES_MAX, TILE_WIDTH * (2 + 0xFFFF))

ReadFile = Callable[[str], bytes]


class Files(Struct, frozen=True):
    """A directory: the paths in it, `/` between parts, and what reads one of them."""

    paths: frozenset[str]
    read: ReadFile


class _Tiles:
    """One log's files: which widths there are of each tile, and reading them."""

    def __init__(self, files: Files, prefix: str, report: Report) -> None:
        self._files, self._prefix, self._report = files, prefix, report
        self.beyond = 0
        self.widths: dict[tuple[str, int], set[int]] = defaultdict(set)
        for path in sorted(files.paths):
            if path.startswith(prefix + "tile/"):
                self._add(path)

    def _add(self, path: str) -> None:
        try:
            level, index, width = parse_tile_path(path.removeprefix(self._prefix))
        except Refused:
            self._report.violate("path", quoted(path), "this is no path of a tile, and stands among tiles")
        else:
            self.widths[level, index].add(width)

    def read(self, level: str, index: int, width: int) -> bytes:
        tile = TileId(0 if level == ENTRIES else int(level), index, width)
        return self._files.read(self._prefix + (tile.entries_path() if level == ENTRIES else tile.path()))

    def best(self, level: str, index: int, width: int) -> int:
        """Return the width to read for a tile that must hold `width`: that one, or the full one; 0 when neither is there."""
        found = self.widths.get((level, index), set())
        return width if width in found else TILE_WIDTH if TILE_WIDTH in found else 0

    def check(self, level: int, index: int, expected: bytes) -> None:
        """Compare every stored form of a tile with the hashes it must begin with; `beyond` counts those that go on."""
        for width in sorted(self.widths.pop((str(level), index), ())):
            where = self._prefix + TileId(level, index, width).path()
            stored = self.read(str(level), index, width)
            if len(stored) != width * HASH_BYTES:
                self._report.violate(
                    "tile_width", where, f"it has {len(stored)} bytes, not {width * HASH_BYTES}"
                )
            elif stored[: len(expected)] != expected[: len(stored)]:
                self._report.violate(
                    "tile", where, "it does not hold the hashes that lead to the signed root"
                )
            else:
                self.beyond += len(stored) > len(expected)


class StaticLog:
    """Checks one log of a directory; `leaves` are its entries where they are there, when `finish` has been called."""

    def __init__(self, files: Files, prefix: str, kept: Sequence[Kept], keys: Keys) -> None:
        self.report = Report(subject=prefix.rstrip("/") or "directory")
        self.checkpoint: Checkpoint | None = None
        self.entries: list[bytes] = []
        self._files, self._prefix = files, prefix
        self._trusted: Trust = trust(keys)
        self._tiles = _Tiles(files, prefix, self.report)
        try:
            note = files.read(prefix + CHECKPOINT).decode("utf-8", "replace")
            self._open(note)
        except Refused as error:
            self.report.unchecked = f"its checkpoint cannot be read: {error}"
        self._kept = [one for one in kept if not prefix or _origin_of(one) == self.origin]

    @property
    def origin(self) -> str:
        """The log's origin, "" when its checkpoint cannot be read."""
        return "" if self.checkpoint is None else self.checkpoint.origin

    def _open(self, note: str) -> None:
        self.checkpoint = parse_checkpoint(parse_note(note).text)
        self.report.facts |= {"origin": self.checkpoint.origin, "log size": self.checkpoint.size}
        if not self._trusted.logs:
            self.report.unchecked = "a directory names no key: give the log's verifier key, or a policy"
            return
        try:
            signed = open_signed(note, self._trusted, origin=self.checkpoint.origin)
        except AuditError as error:
            self.report.violate(
                "checkpoint", self._prefix + CHECKPOINT, f"it is not signed as it must be: {error}"
            )
        else:
            self.report.proven.append(
                f"its checkpoint of {signed.checkpoint.size} entries is signed by {self.checkpoint.origin}"
            )
            if signed.at:
                self.report.facts["signed at"] = signed.at

    def finish(self, more: Iterable[Milestone] = ()) -> Report:
        """Check every tile and entry; `more` are roots that somebody else has for this log."""
        if self.checkpoint is None:
            return self.report
        known = read_known(self._kept, self._trusted, self.checkpoint.origin, self.report)
        others = list(more)
        history = History(milestones=[*milestones(known), *others], wanted=[])
        try:
            self._rebuild(history)
            root = history.close((), self.checkpoint.size)
        except (Tampered, FileNotFoundError) as error:
            self.report.unchecked = self.report.unchecked or str(error)
            return self.report
        self._conclude(root, history, known, others)
        return self.report

    def _conclude(self, root: bytes, history: History, known: list[Known], others: list[Milestone]) -> None:
        assert self.checkpoint is not None
        size = self.checkpoint.size
        if root != self.checkpoint.root:
            self.report.violate("root", self._prefix + CHECKPOINT, "the tiles do not lead to the signed root")
        else:
            self.report.continued.append(self._prefix + CHECKPOINT)
            self.report.proven.append(f"its tiles lead to the signed root of {size} entries")
        compare(known, history, size, self.report)
        for one in history.contradicted:
            if one in others:
                self.report.violate(
                    "rewritten", one.label, f"the first {one.size} entries are not those it was signed for"
                )
        for one in others:
            if one.size > size:
                self.report.violate(
                    "rollback", one.label, f"this log once had {one.size} entries and ends at {size} here"
                )
        # Tiles come before the checkpoint that needs them, so an honest copy made meanwhile has some too many.
        if beyond := self._tiles.beyond + sum(map(len, self._tiles.widths.values())):
            self.report.not_proven.append(
                f"what {beyond} of its tiles hold beyond the checkpoint: it was copied while it grew, or an older "
                "checkpoint was put in its place"
            )
        note_trust(self._trusted, self.report, known)

    def _rebuild(self, history: History) -> None:
        assert self.checkpoint is not None
        size, roots = self.checkpoint.size, list[bytes]()
        entries_missing = 0
        for index in range(-(-size // TILE_WIDTH)):
            hashes = self._lowest(index, tile_width(0, index, size))
            entries_missing += self._check_entries(index, hashes)
            history.add(hashes)
            if len(hashes) == TILE_WIDTH:
                roots.append(subtree_root(hashes))
        self._check_upper(roots)
        if entries_missing:
            self.report.not_proven.append(
                f"what {entries_missing} of its entries are: only their hashes are here"
            )
        elif size:
            self.report.proven.append("its entries are those of its hashes")

    def _lowest(self, index: int, width: int) -> tuple[bytes, ...]:
        stored_width = self._tiles.best("0", index, width)
        if not stored_width:
            raise Tampered(
                f"{self._prefix}{TileId(0, index, width).path()} is missing, so its tree cannot be computed"
            )
        stored = self._tiles.read("0", index, stored_width)
        if len(stored) != stored_width * HASH_BYTES:
            where = self._prefix + TileId(0, index, stored_width).path()
            self.report.violate(
                "tile_width", where, f"it has {len(stored)} bytes, not {stored_width * HASH_BYTES}"
            )
            if len(stored) < width * HASH_BYTES:
                raise Tampered(f"{where} is too short, so its tree cannot be computed")
        stored = stored[: width * HASH_BYTES]
        self._tiles.check(0, index, stored)
        return split_hashes(stored)

    def _check_entries(self, index: int, hashes: Sequence[bytes]) -> int:
        """Compare the entries of a tile with its hashes; return how many are not there."""
        present = self._tiles.widths.pop((ENTRIES, index), set())
        needed = len(hashes) if len(hashes) in present else TILE_WIDTH
        for width in sorted(present):
            where = self._prefix + TileId(0, index, width).entries_path()
            try:
                entries = parse_bundle(self._tiles.read(ENTRIES, index, width), width)
            except Tampered as error:
                self.report.violate(error.rule, where, str(error))
                continue
            self._tiles.beyond += width > len(hashes)
            if [leaf_hash(one) for one in entries[: len(hashes)]] != list(hashes[:width]):
                self.report.violate("entry", where, "an entry is not the one its hash was made of")
            elif width == needed:
                self.entries += entries[: len(hashes)]
        return 0 if needed in present else len(hashes)

    def _check_upper(self, nodes: list[bytes]) -> None:
        level = 1
        while nodes:
            above: list[bytes] = []
            for index in range(-(-len(nodes) // TILE_WIDTH)):
                hashes = nodes[index * TILE_WIDTH : (index + 1) * TILE_WIDTH]
                if not self._tiles.best(str(level), index, len(hashes)):
                    where = self._prefix + TileId(level, index, len(hashes)).path()
                    self.report.unchecked = self.report.unchecked or f"{where} is missing"
                self._tiles.check(level, index, b"".join(hashes))
                if len(hashes) == TILE_WIDTH:
                    above.append(subtree_root(hashes))
            nodes, level = above, level + 1


def logs_in(paths: Collection[str]) -> list[str]:
    """Return the prefixes of the logs in a directory, the instance log's first; "" when the directory is one log."""
    found = sorted(
        path.removesuffix(CHECKPOINT)
        for path in paths
        if path == CHECKPOINT or path.endswith("/" + CHECKPOINT)
    )
    return sorted(found, key=lambda prefix: prefix != INSTANCE + "/")[:LOGS_MAX]


def verify_static(files: Files, *, kept: Sequence[Kept] = (), keys: Keys = ()) -> Report:
    """Verify a directory of one or many logs. Never raises for anything it holds."""
    prefixes = logs_in(files.paths)
    if not prefixes:
        return Report(subject="directory", unchecked="there is no file named checkpoint in it")
    if prefixes == [""]:
        log = StaticLog(files, "", kept, keys)
        return _with_claims(log, keys, {})
    whole, claims = Report(subject="directory"), dict[str, list[Milestone]]()
    whole.facts["logs"] = len(prefixes)
    missing = {one.label: one for one in kept}
    for prefix in prefixes:
        log = StaticLog(files, prefix, kept, keys)
        missing = {label: one for label, one in missing.items() if _origin_of(one) != log.origin}
        whole.absorb(_with_claims(log, keys, claims))
    for label in missing:
        whole.violate("missing_log", label, "the log it was signed for is not here at all")
    return whole


def _origin_of(kept: Kept) -> str:
    try:
        return parse_checkpoint(kept.text if is_bare(kept.text) else parse_note(kept.text).text).origin
    except Refused:
        return ""


def _with_claims(log: StaticLog, keys: Keys, claims: dict[str, list[Milestone]]) -> Report:
    """Finish one log; if it is the instance's own, read what its entries claim of the others."""
    origin = log.origin
    report = log.finish(claims.get(origin, ()))
    if origin and instance_of(origin) == origin and log.entries:
        _read_claims(log, trust(keys), claims)
    elif claims.get(origin) and not report.violations and not report.unchecked:
        report.proven.append(
            f"it passes through {len(claims[origin])} of its checkpoints in the instance log"
        )
    return report


def _read_claims(log: StaticLog, trusted: Trust, claims: dict[str, list[Milestone]]) -> None:
    assert log.checkpoint is not None
    last: dict[str, Checkpoint] = {}
    for position, entry in enumerate(log.entries):
        where = f"{log.report.subject}, entry {position}"
        try:
            note = entry.decode()
            # An entry has no time of its own, so the clock is not asked for.
            found = (
                open_signed(note, Trust(trusted.logs, (), trusted.pinned)).checkpoint
                if trusted.logs
                else None
            )
            found = found or parse_checkpoint(parse_note(note).text)
        except (AuditError, UnicodeDecodeError) as error:
            log.report.violate("entry", where, f"it is no checkpoint that counts: {error}")
            continue
        before = last.get(found.origin)
        if before is not None and (
            found.size < before.size or (found.size == before.size and found.root != before.root)
        ):
            log.report.violate(
                "rollback", where,
                f"{found.origin} went from {before.size} to {found.size} events, root {encode_base64(found.root)}",
            )  # fmt: skip
        last[found.origin] = found
        claims.setdefault(found.origin, []).append(Milestone(found.size, found.root, where))
