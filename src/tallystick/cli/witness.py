"""`tallystick witness`: watch somebody else's log, and cosign it as long as it only grows."""

from __future__ import annotations

import json
import os
from pathlib import Path

import click
from rich.console import Console

from tallystick.errors import Misconfigured, Refused
from tallystick.merkle.keys import ED25519, VerifierKey
from tallystick.merkle.note import check_key_name
from tallystick.services.witness import Witness, open_key

out = Console(highlight=False, soft_wrap=True)


def key(data: Path, name: str) -> None:
    """Print this witness's public key, made at the first use; its name is part of it and can never change.

    Give it to whoever runs the log, and to everyone who verifies.
    """
    click.echo(open_key(data / "witness.key", check_key_name(name), os.urandom).cosigning.format())


def serve(
    data: Path, name: str, log_key: tuple[str, ...], host: str, port: int, ready_file: Path | None
) -> None:
    """Run a witness: it cosigns a log's checkpoint only if it extends the last one it cosigned.

    Run it on a machine that the log's operator cannot reach, and back its folder up: whoever can set the folder back can
    make it forget what it has seen.
    """
    import uvicorn

    from tallystick.runtime.chance import now
    from tallystick.runtime.listening import listen
    from tallystick.web.witness import witness_app

    logs = [_log_key(text) for text in log_key]
    if not logs:
        raise Misconfigured(
            "No log is watched. Give its key: --log-key VKEY (GET /v1/instance-log/key says it)."
        )
    witness = Witness(
        open_key(data / "witness.key", check_key_name(name), os.urandom), data / "state", logs, now=now
    )
    listener = listen(host, port)
    listener.listen(128)  # from here on calls wait instead of failing
    url = f"http://{f'[{host}]' if ':' in host else host}:{listener.getsockname()[1]}"
    out.print(f"\n[bold]Witness[/] {name} at [bold cyan]{url}[/]")
    for one in witness.watched():
        out.print(f"  watches  {one.origin}" + (f", cosigned up to {one.last.size}" if one.last else ""))
    out.print(f"  key      {witness.verifier.format()}\n")
    if ready_file is not None:
        half = ready_file.with_suffix(".new")
        half.write_text(json.dumps({"url": url, "pid": os.getpid(), "key": witness.verifier.format()}))
        half.replace(ready_file)
    settings = uvicorn.Config(
        witness_app(witness), access_log=False, log_config=None, lifespan="off", server_header=False,
        limit_concurrency=200, timeout_keep_alive=75,
    )  # fmt: skip
    try:
        uvicorn.Server(settings).run(sockets=[listener])
    finally:
        witness.close()


def _log_key(text: str) -> VerifierKey:
    given = Path(text).read_text().strip() if Path(text).is_file() else text
    found = VerifierKey.parse(given)
    if found.key_type != ED25519:
        raise Refused(f"The key of {found.name} signs times, not checkpoints. Give the log's own key.")
    return found


_DATA = click.Option(
    ["--data"],
    type=click.Path(path_type=Path, file_okay=False),
    required=True,
    help="Folder of key and memory.",
)
_NAME = click.Option(
    ["--name"],
    required=True,
    help="The witness's name: an address of yours without https://, such as witness.example.org/w1.",
)
WITNESS = click.Group(
    "witness", help="Watch somebody else's log, and cosign it as long as it only grows.", commands=[
        click.Command("serve", callback=serve, help=serve.__doc__, params=[
            _DATA, _NAME,
            click.Option(["--log-key"], multiple=True, help="Public key of a log to watch, or a file with it; repeatable."),
            click.Option(["--host"], default="127.0.0.1", show_default=True, help="Address to listen on."),
            click.Option(["--port"], default=8081, show_default=True, type=int, help="Port to listen on; 0 takes any free one."),
            click.Option(["--ready-file"], type=click.Path(path_type=Path), help="Write url, pid and key here as JSON when ready."),
        ]),
        click.Command("key", callback=key, help=key.__doc__, params=[_DATA, _NAME]),
    ],
)  # fmt: skip
