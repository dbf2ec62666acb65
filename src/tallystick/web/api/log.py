"""The log itself, for anyone who checks it: checkpoint, tiles and proofs (C2SP tlog-tiles)."""

from __future__ import annotations

from starlette.responses import Response

from tallystick.errors import NotFound, Refused
from tallystick.merkle.tile import TileId
from tallystick.services.narrow import require_whole_log
from tallystick.web.api.answers import json_answer, text_answer
from tallystick.web.call import Answer, Call

IMMUTABLE = {"Cache-Control": "private, max-age=31536000, immutable"}


async def get_checkpoint(call: Call) -> Answer:
    """Return the newest signed checkpoint, a C2SP signed note."""
    return text_answer(await call.services.log.checkpoint(call.caller.organization_id))


async def get_verifier_keys(call: Call) -> Answer:
    """Return the public keys that check this log: of its checkpoints, and of the times beside them. Pin them."""
    log_key, clock_key = call.services.log.verifier_keys(call.caller.organization_id)
    return json_answer({"log": log_key, "clock": clock_key})


async def get_tile(call: Call) -> Answer:
    """Return the hashes of a tile; full tiles never change."""
    require_whole_log(call.caller)
    try:
        tile = TileId.parse(f"tile/{call.path('tile')}")
    except Refused:
        raise NotFound("This is no path of a tile.") from None
    hashes = await call.services.log.tile(call.caller.organization_id, tile.level, tile.index, tile.width)
    return Response(hashes, 200, IMMUTABLE, media_type="application/octet-stream")


async def get_inclusion_proof(call: Call) -> Answer:
    """Prove that the leaf at `position` is in the tree of `size` leaves (RFC 6962, 2.1.1)."""
    numbers = _numbers(call, required=("position",), optional=("size",))
    await call.services.read.require_position(call.caller, numbers["position"])
    proof = await call.services.log.inclusion(
        call.caller.organization_id, numbers["position"], numbers.get("size")
    )
    return json_answer(proof)


async def get_consistency_proof(call: Call) -> Answer:
    """Prove that the tree of `new` leaves extends the tree of `old` leaves (RFC 6962, 2.1.2)."""
    require_whole_log(call.caller)
    numbers = _numbers(call, required=("old",), optional=("new",))
    return json_answer(
        await call.services.log.consistency(call.caller.organization_id, numbers["old"], numbers.get("new"))
    )


def _numbers(call: Call, *, required: tuple[str, ...], optional: tuple[str, ...]) -> dict[str, int]:
    numbers: dict[str, int] = {}
    for key, value in call.query():
        if key not in required + optional or key in numbers:
            raise Refused(f"'{key[:80]}' is no parameter of this call, or stands twice.", path=f"/{key[:80]}")
        if not value.isascii() or not value.isdigit() or len(value) > 18:
            raise Refused(f"'{key}' is a number of leaves, such as 42.", path=f"/{key}", rule="number")
        numbers[key] = int(value)
    for key in required:
        if key not in numbers:
            raise Refused(f"'{key}' is missing.", path=f"/{key}", rule="required")
    return numbers
