"""`tallystick serve`: database, services and HTTP in one process."""

from __future__ import annotations

import json
import os
import socket
from pathlib import Path

import click
import uvloop
from rich.console import Console

from tallystick.config import read_settings
from tallystick.errors import Misconfigured
from tallystick.runtime import Runtime, listen
from tallystick.services.organize import FirstKeys
from tallystick.services.sign_in.links import NewLink

out = Console(highlight=False, soft_wrap=True)
err = Console(stderr=True, highlight=False, soft_wrap=True)


def serve(data: str | None, host: str | None, port: str | None, ready_file: Path | None, demo: bool) -> None:
    """Run the server: PostgreSQL, first organization and keys included."""
    settings = read_settings(flags={"data": data, "host": host, "port": port})
    configure_logs(settings.log_level, settings.log_format)
    listener = listen(settings.host, settings.port)
    shown = f"[{settings.host}]" if ":" in settings.host else settings.host
    url = f"http://{shown}:{listener.getsockname()[1]}"
    uvloop.run(_serve(Runtime(settings, say=_say), url, listener, ready_file, demo))


async def _serve(
    runtime: Runtime, url: str, listener: socket.socket, ready_file: Path | None, demo: bool
) -> None:
    try:
        await runtime.start()
        keys = await runtime.recording.organize.first_keys(runtime.settings.data, make=ready_file is not None)
        if demo:
            await _fill(runtime)
        first = await runtime.entrance.people.links.first_admin(runtime.organization.id)

        def ready() -> None:
            _write_whole(runtime.settings.data / "server.json", {"url": url, "pid": os.getpid()})
            _greet(url, keys, runtime)
            if first is not None:
                _invite(runtime.settings.public_url or url, first)
            # Last: whoever waits for this file finds all that was said.
            if ready_file is not None and keys is not None:
                _write_whole(ready_file, _ready(url, keys))

        await runtime.serve(listener, ready=ready)
    finally:
        (runtime.settings.data / "server.json").unlink(missing_ok=True)
        await runtime.stop()


async def _fill(runtime: Runtime) -> None:
    from tallystick.cli.demo import fill

    await fill(runtime)


def _ready(url: str, keys: FirstKeys) -> dict[str, object]:
    return {
        "url": url,
        "pid": os.getpid(),
        "organization_id": keys.organization_id,
        "admin_key": keys.admin_key,
        "write_key": keys.write_key,
    }


def _write_whole(path: Path, content: dict[str, object]) -> None:
    """Write a file that nobody reads half: whoever waits for it finds it complete."""
    half = path.with_name(f".{path.name}.{os.getpid()}")
    try:
        handle = os.open(half, os.O_WRONLY | os.O_CREAT | os.O_TRUNC, 0o600)
        with os.fdopen(handle, "w") as file:
            json.dump(content, file)
        half.replace(path)
    except OSError as error:
        raise Misconfigured(f"Cannot write {path}: {error.strerror}.") from error


def _greet(url: str, keys: FirstKeys | None, runtime: Runtime) -> None:
    out.print(
        f"\n[bold]Tallystick[/] serves [bold]{runtime.organization.display_name}[/] at [bold cyan]{url}[/]"
    )
    if keys is not None:
        out.print(f"  organization  {keys.organization_id}")
        out.print(f"  admin key     {keys.admin_key}")
        out.print(f"  write key     {keys.write_key}")
        out.print(f"  [dim]also in {runtime.settings.data / 'first-keys.json'}, readable by you alone[/]")
    out.print(f"  docs          {url}/docs\n")


def _invite(url: str, link: NewLink) -> None:
    out.print(
        "  [bold]Nobody can sign in yet.[/] This link makes the first owner; it works once, for 24 hours:"
    )
    out.print(f"  {url}{link.path}\n", style="bold cyan")


def _say(sentence: str) -> None:
    err.print(sentence, style="dim", markup=False)


def configure_logs(level: str, format: str) -> None:
    """Send our logs to standard error: lines for people on a terminal, JSON elsewhere."""
    import logging
    import sys

    import structlog

    wants_json = format == "json" or (format == "auto" and not sys.stderr.isatty())
    renderer = structlog.processors.JSONRenderer() if wants_json else structlog.dev.ConsoleRenderer()
    number = getattr(logging, level.upper())
    structlog.configure(
        processors=[
            structlog.processors.add_log_level,
            structlog.processors.TimeStamper(fmt="iso", utc=True),
            structlog.processors.format_exc_info,
            renderer,
        ],
        wrapper_class=structlog.make_filtering_bound_logger(number),
        logger_factory=structlog.WriteLoggerFactory(sys.stderr),
    )
    logging.basicConfig(level=max(number, logging.WARNING), stream=sys.stderr, format="%(message)s")
    # Its warnings are stack traces of what we answer and report in our own words: a database that is away.
    logging.getLogger("asyncpg").setLevel(logging.ERROR)


SERVE = click.Command(
    "serve", callback=serve, help=serve.__doc__, params=[
        click.Option(["--data"], help="Data folder. [default: ./data, or TALLYSTICK_DATA]"),
        click.Option(["--host"], help="Address to listen on. [default: 127.0.0.1]"),
        click.Option(["--port"], help="Port to listen on; 0 takes any free one. [default: 8080]"),
        click.Option(["--ready-file"], type=click.Path(path_type=Path),
                     help="Write url, pid, organization_id, admin_key and write_key here as JSON when ready."),
        click.Option(["--demo"], is_flag=True, help="Fill an empty log with a believable week of events."),
    ],
)  # fmt: skip
