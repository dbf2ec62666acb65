"""The instance log for anyone who watches it (C2SP tlog-tiles), and an organization's place in it."""

from __future__ import annotations

from typing import Any

from starlette.responses import Response

from tallystick.errors import Forbidden, NotFound, Refused
from tallystick.merkle.bundle import format_bundle
from tallystick.merkle.tile import TileId, parse_tile_path
from tallystick.merkle.tree import SIZE_MAX
from tallystick.services.permissions import MANAGE
from tallystick.web import replies
from tallystick.web.api.answers import json_answer, text_answer
from tallystick.web.call import Answer, Call
from tallystick.web.operation import Parameter

IMMUTABLE = {"Cache-Control": "public, max-age=31536000, immutable"}
A_FEW_SECONDS = {"Cache-Control": "public, max-age=2"}


async def get_checkpoint(call: Call) -> Answer:
    """Return the newest checkpoint of the instance log, with the cosignatures that its witnesses gave so far.

    `witnessed=true` asks for the newest one that as many witnesses cosigned as the server's policy demands.
    """
    wanted = _only(call, "witnessed")
    if wanted not in (None, "true", "false"):
        raise Refused("'witnessed' is true or false.", path="/witnessed")
    witnessing = call.services.witnessing
    note = await (witnessing.witnessed() if wanted == "true" else witnessing.newest())
    return Response(note, 200, A_FEW_SECONDS, media_type="text/plain")


async def get_keys(call: Call) -> Answer:
    """Return the public keys of this instance: of its own log, and of the times beside all its checkpoints. Pin them.

    The key of an organization's log is the same one under the name `<instance>/o/<organization id>`.
    """
    log_key, clock_key = call.services.instance_log.verifier_keys()
    return json_answer({"log": log_key, "clock": clock_key})


async def get_tile(call: Call) -> Answer:
    """Return the hashes of a tile of the instance log; nothing can be read from them but its size."""
    try:
        tile = TileId.parse(f"tile/{call.path('tile')}")
    except Refused:
        raise NotFound("This is no path of a tile.") from None
    hashes = await call.services.instance_log.tile(tile)
    return Response(hashes, 200, IMMUTABLE, media_type="application/octet-stream")


async def get_entries(call: Call) -> Answer:
    """Return leaves of the instance log: signed checkpoints of all organizations, so an operator's key is needed."""
    if call.caller.kind != "operator":
        raise Forbidden(
            "The entries of the instance log say how large every organization's log was when. Use an operator key: "
            "tallystick operator-keys create."
        )
    try:
        _, index, width = parse_tile_path(f"tile/entries/{call.path('bundle')}")
    except Refused:
        raise NotFound("This is no path of an entry bundle.") from None
    bundle = format_bundle(await call.services.instance_log.entries(index, width))
    return Response(
        bundle, 200, {"Cache-Control": "private, no-store"}, media_type="application/octet-stream"
    )


async def get_anchor(call: Call) -> Answer:
    """Return the proof that this log's newest checkpoint is in the instance log, cosigned where witnesses are set.

    Keep it outside: `tallystick verify FILE --known ANCHOR --policy POLICY`. With `size` it is the newest checkpoint
    of at most so many events.
    """
    text = _only(call, "size")
    if text is not None and not (text.isascii() and text.isdigit() and len(text) <= 18):
        raise Refused("'size' is a number of events, such as 42.", path="/size", rule="number")
    size = SIZE_MAX if text is None else int(text)
    return text_answer(await call.services.witnessing.anchor(call.caller.organization_id, size=size))


async def get_time_stamp(call: Call) -> Answer:
    """Return the newest time stamp that covers this log: an authority's word that its state existed before a moment.

    Keep it outside: `tallystick verify FILE --known STAMP --policy POLICY`.
    """
    return text_answer(await call.services.time_stamps.of_log(call.caller.organization_id))


def _only(call: Call, name: str) -> str | None:
    """Return the one parameter a call knows, None without it."""
    found = call.query()
    if any(key != name for key, _ in found) or len(found) > 1:
        raise Refused(f"This call knows one parameter, '{name}'.", rule="parameter")
    return found[0][1] if found else None


_WITNESSED = (
    Parameter(
        name="witnessed", summary="Only a checkpoint with the cosignatures that the policy demands.",
        schema={"type": "boolean", "default": False},
    ),
)  # fmt: skip
_TILE = (
    Parameter(
        name="tile", place="path", required=True, summary="<level>/<index>[.p/<width>] as in C2SP tlog-tiles."
    ),
)
_BUNDLE = (
    Parameter(
        name="bundle", place="path", required=True, summary="<index>[.p/<width>] as in C2SP tlog-tiles."
    ),
)
ANCHOR_PARAMETERS = (
    Parameter(
        name="size", summary="The newest checkpoint of at most so many events; the newest when absent.",
        schema={"type": "integer", "minimum": 0},
    ),
)  # fmt: skip


def _of(prefix: str, name: str) -> tuple[tuple[Any, ...], ...]:
    """Return the operations of a tiled log under a prefix; entries first, their path also looks like a tile's."""
    tag = "Instance log"
    return (
        ("GET", f"{prefix}/checkpoint", f"{name}Checkpoint", get_checkpoint, None, tag,
         {"parameters": _WITNESSED, "replies": replies.CHECKPOINT}),
        ("GET", f"{prefix}/tile/entries/{{bundle:path}}", f"{name}Entries", get_entries, MANAGE, tag,
         {"parameters": _BUNDLE, "replies": replies.ENTRIES}),
        ("GET", f"{prefix}/tile/{{tile:path}}", f"{name}Tile", get_tile, None, tag,
         {"parameters": _TILE, "replies": replies.TILE}),
    )  # fmt: skip


# Under two prefixes: beside the rest of our contract, and as the base address that tools for tiled logs expect.
OPERATIONS: tuple[tuple[Any, ...], ...] = (
    ("GET", "/v1/instance-log/key", "instanceKeys", get_keys, None, "Instance log", {}),
    *_of("/v1/instance-log", "instance"),
    *_of("/instance", "staticInstance"),
)
