"""The socket calls come in by, and the HTTP server behind it."""

from __future__ import annotations

import asyncio
import gc
import signal
import socket
from collections.abc import Callable, Generator
from contextlib import contextmanager
from typing import Any

import uvicorn

from tallystick.errors import Misconfigured
from tallystick.web.protocol import LimitedProtocol

GRACE_SECONDS = 10


class Listening(uvicorn.Server):
    """uvicorn's server without its last act, which is to die of the signal that asked it to stop: we stop in order.

    Args:
        application: answers the calls.
    """

    def __init__(self, application: Any) -> None:
        super().__init__(
            uvicorn.Config(
                application,
                http=LimitedProtocol,
                ws="none",
                lifespan="off",
                log_config=None,
                access_log=False,
                proxy_headers=False,
                server_header=False,
                timeout_keep_alive=75,
                timeout_graceful_shutdown=GRACE_SECONDS,
                backlog=2048,
            )
        )

    async def answer(self, listener: socket.socket, *, ready: Callable[[], None]) -> None:
        """Answer on `listener` until a signal says stop; `ready` is called when the first call can come."""
        # Half of the time of a busy server went into collecting garbage that was never garbage.
        gc.collect()
        gc.freeze()
        gc.set_threshold(50_000, 20, 50)
        announce = asyncio.create_task(self._announce(ready))
        await self.serve(sockets=[listener])
        announce.cancel()

    async def _announce(self, ready: Callable[[], None]) -> None:
        while not self.started:  # noqa: ASYNC110 - uvicorn tells in no other way
            await asyncio.sleep(0.005)
        ready()

    @contextmanager
    def capture_signals(self) -> Generator[None, None, None]:
        """Take SIGINT and SIGTERM as the wish to stop, for as long as this runs."""
        loop = asyncio.get_running_loop()
        numbers = (signal.SIGINT, signal.SIGTERM)
        for number in numbers:
            loop.add_signal_handler(number, self.handle_exit, number, None)
        try:
            yield
        finally:
            for number in numbers:
                loop.remove_signal_handler(number)


def listen(host: str, port: int) -> socket.socket:
    """Open the socket to listen on; port 0 takes any free one.

    Raises:
        Misconfigured: the address is taken or not ours.
    """
    family = socket.AF_INET6 if ":" in host else socket.AF_INET
    listener = socket.socket(family, socket.SOCK_STREAM)
    listener.setsockopt(socket.SOL_SOCKET, socket.SO_REUSEADDR, 1)
    try:
        listener.bind((host, port))
    except OSError as error:
        listener.close()
        raise Misconfigured(
            f"Cannot listen on {host}:{port}: {error.strerror}. Choose another with --host and --port."
        ) from error
    listener.set_inheritable(False)
    return listener
