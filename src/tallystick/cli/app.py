"""The table of commands, and errors as sentences."""

from __future__ import annotations

import os
import sys

import click
from rich.console import Console

from tallystick import __version__
from tallystick.cli.check import DOCTOR, VERIFY
from tallystick.cli.demo import DEMO
from tallystick.cli.import_ import IMPORT
from tallystick.cli.keys import KEYS
from tallystick.cli.output import safe
from tallystick.cli.record import RECORD
from tallystick.cli.search import EXPORT, SEARCH, TAIL
from tallystick.cli.serve import SERVE
from tallystick.errors import AuditError, Forbidden, NotFound, Refused, Tampered, TryLater, Unauthorized

COMMANDS: tuple[click.Command, ...] = (
    SERVE,
    RECORD,
    IMPORT,
    SEARCH,
    TAIL,
    EXPORT,
    VERIFY,
    KEYS,
    DOCTOR,
    DEMO,
)

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

app = click.Group(
    "tallystick",
    help="Tallystick: the provable audit log for AI platforms.",
    context_settings={"help_option_names": ["-h", "--help"], "max_content_width": 100},
    commands=COMMANDS,
    params=[
        click.Option(
            ["--version"], is_flag=True, is_eager=True, expose_value=False, help="Show the version and exit.",
            callback=lambda context, _, wanted: (click.echo(__version__), context.exit()) if wanted else None,
        )
    ],
)  # fmt: skip


def run() -> None:
    """Run a command; print errors of ours as a sentence."""
    try:
        app.main(standalone_mode=False)
    except AuditError as error:
        Console(stderr=True, highlight=False, soft_wrap=True).print(
            "[bold red]tallystick:[/] ", safe(error), sep=""
        )
        sys.exit(next(code for kind, code in EXIT_CODES if isinstance(error, kind)))
    except click.exceptions.Exit as end:
        sys.exit(end.exit_code)
    except click.ClickException as error:
        error.show()
        sys.exit(error.exit_code)
    except BrokenPipeError:
        # Whoever read our output has seen enough; writing more would only fail again at exit.
        os.dup2(os.open(os.devnull, os.O_WRONLY), sys.stdout.fileno())
        sys.exit(0)
    except (KeyboardInterrupt, click.Abort):
        sys.exit(130)
