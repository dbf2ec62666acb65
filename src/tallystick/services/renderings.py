"""What each rendering of events is made of: one declaration for who writes such a file and for who verifies it."""

from __future__ import annotations

from collections.abc import Callable, Sequence
from typing import Any, Final, NamedTuple, cast, get_args

from msgspec import json

from tallystick.errors import Refused
from tallystick.event.render import render as render_event
from tallystick.formats import csv
from tallystick.ocsf import Version, View
from tallystick.ocsf import render as render_ocsf
from tallystick.services.contracts.langfuse import langfuse_row
from tallystick.verify.beside import EventRow, RowsWriter
from tallystick.verify.layout import Rendering

Shape = Callable[[dict[str, Any], bytes], dict[str, Any]]
_encode: Final = json.Encoder().encode


class Writer(NamedTuple):
    """The first bytes of a file, and what writes its events."""

    head: bytes
    write: RowsWriter


def writer_of(rendering: Rendering, log_name: str) -> Writer:
    """Return what writes events as `rendering` says; `log_name` is the origin of their log.

    Raises Refused for what this release cannot write line by line.
    """
    found = _WRITERS.get(rendering.format)
    if found is None:
        raise Refused(f"nothing writes {rendering.format} line by line", rule="rendering")
    return found(rendering, log_name)


def shaped(shape: Shape) -> Writer:
    """Return what writes each event, as the API shows it and with its leaf hash, as a line of JSON in some shape."""

    def write(rows: Sequence[EventRow]) -> bytes:
        lines = [
            _encode(
                shape(render_event(row.leaf, row.opening, row.position, with_changes=False), row.leaf_hash)
            )
            for row in rows
        ]
        return b"\n".join([*lines, b""])

    return Writer(b"", write)


def _csv(rendering: Rendering, log_name: str) -> Writer:
    return Writer(csv.header(), csv.rows)


def _ocsf(rendering: Rendering, log_name: str) -> Writer:
    if rendering.version not in get_args(Version) or rendering.view not in get_args(View):
        raise Refused(f"OCSF {rendering.version} {rendering.view} is not known here", rule="rendering")
    version, view = cast(Version, rendering.version), cast(View, rendering.view)
    return shaped(
        lambda event, leaf_hash: render_ocsf(
            event, version=version, view=view, leaf_hash=leaf_hash, log_name=log_name,
            product_version=rendering.release,
        )
    )  # fmt: skip


def _langfuse(rendering: Rendering, log_name: str) -> Writer:
    return shaped(lambda event, leaf_hash: langfuse_row(event, leaf_hash=leaf_hash, log_name=log_name))


_WRITERS: Final[dict[str, Callable[[Rendering, str], Writer]]] = {
    "csv": _csv, "ocsf": _ocsf, "langfuse-jsonl": _langfuse,
}  # fmt: skip
