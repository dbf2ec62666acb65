"""The table of commands, and errors as sentences."""

from __future__ import annotations

import os
import sys
from importlib import import_module

import click
from rich.console import Console

from tallystick import __version__
from tallystick.cli.output import safe
from tallystick.errors import AuditError, Forbidden, NotFound, Refused, Tampered, TryLater, Unauthorized

# Name, where it is, and what it is for. Imported when used: recording one event must not load a server.
COMMANDS: dict[str, tuple[str, str, str]] = {
    "serve": ("serve", "SERVE", "Run the server, PostgreSQL included."),
    "demo": ("demo", "DEMO", "Record a believable week of an AI company."),
    "record": ("record", "RECORD", "Record one event."),
    "import": ("import_", "IMPORT", "Record a whole feed, with a progress bar."),
    "search": ("search", "SEARCH", "Find events."),
    "tail": ("search", "TAIL", "Follow the log live."),
    "export": ("export", "EXPORT", "Write events with their proof."),
    "evidence": ("evidence", "EVIDENCE", "A question and its proven answer in one file, for an auditor."),
    "verify": ("check", "VERIFY", "Check an export, a receipt or a dump offline."),
    "keys": ("keys", "KEYS", "List, create, rotate and revoke API keys."),
    "members": ("members", "MEMBERS", "List, invite, change and remove members."),
    "organizations": ("organizations", "ORGANIZATIONS", "List and create organizations, switch reading."),
    "workspaces": ("workspaces", "WORKSPACES", "List, make, archive and delete workspaces."),
    "teams": ("teams", "TEAMS", "List, make, rename and delete teams."),
    "roles": ("roles", "ROLES", "List, make and remove the organization's own roles."),
    "groups": ("teams", "GROUPS", "Which role goes with a directory's group."),
    "sessions": ("teams", "SESSIONS", "See who is signed in, sign somebody out."),
    "single-sign-on": ("teams", "SINGLE_SIGN_ON", "Trust an identity provider, or no more."),
    "viewers": ("teams", "VIEWERS", "Tokens of delegated reading."),
    "operator-keys": (
        "operator_keys",
        "OPERATOR_KEYS",
        "Keys that work for every organization of this server.",
    ),
    "catalogue": ("catalogue", "CATALOGUE", "What action names mean."),
    "coverage": ("coverage", "COVERAGE", "Which parts of an application can never leave an event."),
    "producers": ("producers", "PRODUCERS", "Who numbers events, and what of it is missing."),
    "spool": ("spool", "SPOOL", "See and send what applications on this machine recorded."),
    "outbox": ("outbox", "GROUP", "Events that wait in an application's own database."),
    "retention": ("keeping", "RETENTION", "See and change how long events are kept."),
    "holds": ("keeping", "HOLDS", "Set and release legal holds."),
    "erase": ("keeping", "ERASE", "Erase a person, or chosen values."),
    "approvals": ("keeping", "APPROVALS", "Decide what needs a second person."),
    "publish": ("publish", "PUBLISH", "Copy checkpoints and tiles to a folder or S3."),
    "witness": ("witness", "WITNESS", "Watch somebody else's log and cosign it."),
    "backup": ("backup", "BACKUP", "Write everything a server needs to be itself again into a file."),
    "restore": ("backup", "RESTORE", "Make an installation of a backup, and check every row."),
    "doctor": ("check", "DOCTOR", "Check an installation and say what to do."),
}

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


class Commands(click.Group):
    """The commands of the table, each imported when it is used."""

    def list_commands(self, ctx: click.Context) -> list[str]:
        """Return the names in the order of the table, which is the order in which people need them."""
        return list(COMMANDS)

    def get_command(self, ctx: click.Context, cmd_name: str) -> click.Command | None:
        """Import and return a command, None when there is no such name."""
        if cmd_name not in COMMANDS:
            return None
        module, name, _ = COMMANDS[cmd_name]
        return getattr(import_module(f"tallystick.cli.{module}"), name)

    def format_commands(self, ctx: click.Context, formatter: click.HelpFormatter) -> None:
        """List the commands from the table alone."""
        with formatter.section("Commands"):
            formatter.write_dl([(name, summary) for name, (_, _, summary) in COMMANDS.items()])


app = Commands(
    "tallystick",
    help="Tallystick: the provable audit log for AI platforms.",
    context_settings={"help_option_names": ["-h", "--help"], "max_content_width": 100},
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
