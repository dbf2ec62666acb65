"""A witness over HTTP (c2sp.org/tlog-witness): one way in, and a page that says what it watches."""

from __future__ import annotations

import asyncio

from starlette.applications import Starlette
from starlette.requests import Request
from starlette.responses import JSONResponse, PlainTextResponse, Response
from starlette.routing import Route

from tallystick.errors import AuditError, Forbidden, NotFound, Refused
from tallystick.merkle.proof import ProofError
from tallystick.merkle.witness import REQUEST_BYTES_MAX, SIZE_TYPE
from tallystick.services.witness import OldSize, Witness

BODY_SECONDS = 20.0
# In this order: an OldSize is a Refused, a ProofError is not.
_STATUS: tuple[tuple[type[AuditError], int], ...] = (
    (NotFound, 404),
    (Forbidden, 403),
    (ProofError, 422),
    (Refused, 400),
    (AuditError, 500),
)


def witness_app(witness: Witness) -> Starlette:
    """Return the application that answers for `witness`."""

    async def add_checkpoint(request: Request) -> Response:
        try:
            async with asyncio.timeout(BODY_SECONDS):
                body = await _body(request)
        except TimeoutError:
            return PlainTextResponse("The body did not come in time.\n", 408)
        try:
            # It writes to disk and waits for it: not in the thread that answers everybody.
            return PlainTextResponse(await asyncio.to_thread(witness.add_checkpoint, body))
        except OldSize as error:
            return Response(f"{error.size}\n", 409, {"Content-Type": SIZE_TYPE})
        except AuditError as error:
            status = next(status for kind, status in _STATUS if isinstance(error, kind))
            return PlainTextResponse(f"{error}\n", status)

    async def about(_: Request) -> Response:
        logs = [
            {"origin": one.origin, "size": one.last.size if one.last else None} for one in witness.watched()
        ]
        key = witness.verifier
        return JSONResponse({"name": key.name, "key": key.format(), "logs": logs})

    return Starlette(
        routes=[
            Route("/add-checkpoint", add_checkpoint, methods=["POST"]),
            Route("/", about),
            Route("/healthz", about),
        ]
    )


async def _body(request: Request) -> bytes:
    """Return the body, or one byte more than is allowed of a longer one."""
    found = b""
    async for piece in request.stream():
        found += piece
        if len(found) > REQUEST_BYTES_MAX:
            return found[: REQUEST_BYTES_MAX + 1]
    return found
