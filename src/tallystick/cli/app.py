"""The table of commands, and errors as sentences."""

from __future__ import annotations

import os
import sys
from typing import Annotated

import typer
from rich.console import Console

from tallystick import __version__
from tallystick.cli import serve
from tallystick.errors import AuditError, Forbidden, NotFound, Refused, Tampered, TryLater, Unauthorized

app = typer.Typer(
    name="tallystick",
    help="Tallystick: the provable audit log for AI platforms.",
    no_args_is_help=True,
    add_completion=False,
    pretty_exceptions_enable=False,
    context_settings={"help_option_names": ["-h", "--help"]},
)
app.command("serve")(serve.serve)

# What a script can act on: 1 = the log disagrees with its proof, 2 = the input or a setting is wrong,
# 3 = not permitted, 4 = not found, 5 = try again later.
EXIT_CODES: tuple[tuple[type[AuditError], int], ...] = (
    (Tampered, 1),
    (Unauthorized, 3),
    (Forbidden, 3),
    (NotFound, 4),
    (TryLater, 5),
    (Refused, 2),
    (AuditError, 2),
)


@app.callback()
def tallystick(
    version: Annotated[bool, typer.Option("--version", help="Show the version and exit.")] = False,
) -> None:
    """Record, search and prove who did what."""
    if version:
        print(__version__)
        raise typer.Exit()


def run() -> None:
    """Run a command; print errors of ours as a sentence."""
    try:
        app()
    except AuditError as error:
        Console(stderr=True).print(f"[bold red]tallystick:[/] {_plain(str(error))}", highlight=False)
        sys.exit(next(code for kind, code in EXIT_CODES if isinstance(error, kind)))
    except BrokenPipeError:
        # Whoever read our output has seen enough; writing more would only fail again at exit.
        os.dup2(os.open(os.devnull, os.O_WRONLY), sys.stdout.fileno())
        sys.exit(0)
    except KeyboardInterrupt:
        sys.exit(130)


def _plain(text: str) -> str:
    return text.replace("[", "\\[")
