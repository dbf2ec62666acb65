"""Settings, read once from the environment and an optional file; every error says what to write instead.

`Settings` is the one declaration: `docs/reference/settings.md` is generated from it (`python -m tallystick.config`),
and a test fails while the page is not current.
"""

from __future__ import annotations

import difflib
import os
import re
import sys
import tomllib
from collections.abc import Callable, Mapping
from dataclasses import dataclass
from ipaddress import ip_network
from pathlib import Path
from typing import Annotated, Any, Literal, get_origin, get_type_hints
from urllib.parse import urlsplit

from tallystick.errors import Misconfigured
from tallystick.store.connect import Dsn, Logins

PREFIX = "TALLYSTICK_"
# Names that Kubernetes and Docker invent for a service called "tallystick"; TALLYSTICK_PORT may be one of them.
INVENTED = re.compile(r"TALLYSTICK(_[A-Z0-9_]+)?_(SERVICE_(HOST|PORT(_\w+)?)|PORT_\d+_(TCP|UDP)(_\w+)?)$")
# Read by the SDK, which may live in the same environment as a server.
OF_THE_SDK = frozenset({"TALLYSTICK_URL", "TALLYSTICK_API_KEY", "TALLYSTICK_SPOOL", "TALLYSTICK_PRODUCER"})


@dataclass(frozen=True)
class Spec:
    """What a person needs to know about one setting, and how its text is read."""

    name: str
    parse: Callable[[str], object]
    kind: str
    meaning: str
    default: str | None = None  # in words, where the value itself says little


def _shown(value: object) -> str:
    if isinstance(value, bool):
        return "true" if value else "false"
    if isinstance(value, float):
        return f"{value:g}"
    if isinstance(value, tuple):
        return ", ".join(map(str, value))
    return "" if value is None else str(value)


def _text(value: str) -> str:
    if not value or any(ord(character) < 32 for character in value):
        raise ValueError("some text without control characters")
    return value


def _folder(value: str) -> Path:
    return Path(_text(value)).expanduser().absolute()


def _switch(value: str) -> bool:
    known = {
        "1": True,
        "true": True,
        "yes": True,
        "on": True,
        "0": False,
        "false": False,
        "no": False,
        "off": False,
    }
    if value.lower() not in known:
        raise ValueError("true or false")
    return known[value.lower()]


def _whole(least: int, most: int) -> Callable[[str], int]:
    def parse(value: str) -> int:
        if not re.fullmatch(r"[0-9]{1,12}", value) or not least <= int(value) <= most:
            raise ValueError(f"a whole number from {least} to {most}")
        return int(value)

    return parse


def _seconds(least: float, most: float) -> Callable[[str], float]:
    def parse(value: str) -> float:
        if not re.fullmatch(r"[0-9]{1,9}(\.[0-9]{1,6})?", value) or not least <= float(value) <= most:
            raise ValueError(f"a number of seconds from {least:g} to {most:g}, for example {most:g}")
        return float(value)

    return parse


def _one_of(*known: str) -> Callable[[str], str]:
    def parse(value: str) -> str:
        if value.lower() not in known:
            raise ValueError("one of " + ", ".join(known))
        return value.lower()

    return parse


def _address(value: str) -> Dsn:
    expected = "postgresql://user:password@host:5432/database"
    try:
        parts = urlsplit(value)
        _ = parts.port
    except ValueError:
        raise ValueError(expected) from None
    if parts.scheme not in ("postgresql", "postgres") or not (parts.hostname or "host=" in parts.query):
        raise ValueError(expected)
    return Dsn(value)


def _public_url(value: str) -> str:
    expected = "the address browsers use, without a path, for example https://audit.example.com"
    try:
        parts = urlsplit(value.rstrip("/"))
        port = parts.port
    except ValueError:
        raise ValueError(expected) from None
    host = (parts.hostname or "").lower()
    local = host in ("localhost", "127.0.0.1", "::1")
    if (
        not re.fullmatch(r"[a-z0-9._:-]+", host)
        or parts.username
        or parts.path
        or parts.query
        or parts.fragment
    ):
        raise ValueError(expected)
    if parts.scheme != "https" and not (parts.scheme == "http" and local):
        raise ValueError(expected + "; plain http is for the loopback address alone")
    shown = f"[{host}]" if ":" in host else host
    usual = {"https": 443, "http": 80}[parts.scheme]
    return f"{parts.scheme}://{shown}" + (f":{port}" if port not in (None, usual) else "")


def _networks(value: str) -> tuple[str, ...]:
    expected = "networks with commas between them, for example 10.0.0.0/8, 192.0.2.7"
    try:
        found = tuple(ip_network(text.strip(), strict=False) for text in value.split(","))
    except ValueError:
        raise ValueError(expected) from None
    if any(network.prefixlen == 0 for network in found):
        raise ValueError(expected + "; with every address trusted, anybody could claim to be anybody")
    return tuple(map(str, found))


def _memory(value: str) -> str:
    if not re.fullmatch(r"[1-9][0-9]{0,6}(kB|MB|GB)", value):
        raise ValueError("an amount of memory with its unit, for example 128MB or 2GB")
    return value


def _instance(value: str) -> str:
    # It becomes part of every log's origin, a line of a signed note: no space, no plus sign (C2SP signed-note).
    if not re.fullmatch(r"[A-Za-z0-9]([A-Za-z0-9._/-]{0,126}[A-Za-z0-9])?", value):
        raise ValueError("1 to 128 letters, digits, dots, hyphens or slashes, for example audit.example.com")
    return value


_ROLE_MEANING = (
    "Login with the rights of `tallystick_{0}`; without it the login of `TALLYSTICK_DATABASE_URL` is used"
)


@dataclass(frozen=True, kw_only=True)
class Settings:
    """Everything an operator can set. Passwords show in no representation of it."""

    # One setting in a few lines, as in a table.
    # fmt: off
    data: Annotated[Path, Spec(
        "TALLYSTICK_DATA", _folder, "folder",
        "Where the embedded database, the signing key and the signer's state live; back it up",
        "./data")] = Path("data")
    host: Annotated[str, Spec(
        "TALLYSTICK_HOST", _text, "text",
        "Address the server listens on")] = "127.0.0.1"
    port: Annotated[int, Spec(
        "TALLYSTICK_PORT", _whole(0, 65535), "number",
        "Port it listens on; 0 = any free one")] = 8080
    public_url: Annotated[str | None, Spec(
        "TALLYSTICK_PUBLIC_URL", _public_url, "address",
        "The https address at which browsers reach this server; people can sign in only there, or on the loopback "
        "address without it")] = None
    trusted_proxies: Annotated[tuple[str, ...], Spec(
        "TALLYSTICK_TRUSTED_PROXIES", _networks, "networks",
        "Proxies whose `X-Forwarded-For` or `Forwarded` tells where a call comes from; from anybody else they are ignored",
        "none")] = ()
    database_url: Annotated[Dsn | None, Spec(
        "TALLYSTICK_DATABASE_URL", _address, "address",
        "An external PostgreSQL 15 or newer, as the owner of the tables; without it the embedded one is started")] = None
    database_writer_url: Annotated[Dsn | None, Spec(
        "TALLYSTICK_DATABASE_WRITER_URL", _address, "address",
        _ROLE_MEANING.format("writer"))] = None
    database_reader_url: Annotated[Dsn | None, Spec(
        "TALLYSTICK_DATABASE_READER_URL", _address, "address",
        _ROLE_MEANING.format("reader"))] = None
    database_keeper_url: Annotated[Dsn | None, Spec(
        "TALLYSTICK_DATABASE_KEEPER_URL", _address, "address",
        _ROLE_MEANING.format("keeper"))] = None
    database_pooler: Annotated[Literal["none", "transaction"], Spec(
        "TALLYSTICK_DATABASE_POOLER", _one_of("none", "transaction"), "word",
        "`transaction` when a pooler in transaction mode (PgBouncer) stands before the external database")] = "none"
    postgres_bin: Annotated[Path | None, Spec(
        "TALLYSTICK_POSTGRES_BIN", _folder, "folder",
        "Programs of the embedded PostgreSQL (`postgres`, `initdb`)",
        "those of the installed package")] = None
    postgres_user: Annotated[str | None, Spec(
        "TALLYSTICK_POSTGRES_USER", _text, "text",
        "Account that runs the embedded PostgreSQL when Tallystick is started as root; used when the folder is made",
        "`tallystick` if there is one, else `nobody`")] = None
    postgres_shared_buffers: Annotated[str, Spec(
        "TALLYSTICK_POSTGRES_SHARED_BUFFERS", _memory, "memory",
        "Page cache of the embedded PostgreSQL")] = "128MB"
    instance: Annotated[str | None, Spec(
        "TALLYSTICK_INSTANCE", _instance, "name",
        "Name of this installation in the origin of every log; it can never change later",
        "made once, kept in the data folder")] = None
    allow_unsafe_database: Annotated[bool, Spec(
        "TALLYSTICK_ALLOW_UNSAFE_DATABASE", _switch, "switch",
        "Start on a database with fsync or full_page_writes off, although acknowledged events can be lost")] = False
    log_level: Annotated[Literal["debug", "info", "warning", "error"], Spec(
        "TALLYSTICK_LOG_LEVEL", _one_of("debug", "info", "warning", "error"), "word",
        "What the server logs")] = "info"
    log_format: Annotated[Literal["auto", "console", "json"], Spec(
        "TALLYSTICK_LOG_FORMAT", _one_of("auto", "console", "json"), "word",
        "`auto` writes for people on a terminal and JSON lines elsewhere")] = "auto"
    body_timeout_seconds: Annotated[float, Spec(
        "TALLYSTICK_BODY_TIMEOUT_SECONDS", _seconds(0.1, 600), "seconds",
        "How long a client may take to send a request's body before it gets a 408")] = 20.0
    queue_events_max: Annotated[int, Spec(
        "TALLYSTICK_QUEUE_EVENTS_MAX", _whole(1, 10_000_000), "number",
        "How many events may wait for the database before callers get a 503 with Retry-After")] = 20_000
    heartbeat_seconds: Annotated[float, Spec(
        "TALLYSTICK_HEARTBEAT_SECONDS", _seconds(0.1, 60), "seconds",
        "How often a checkpoint is signed even when nothing happened")] = 60.0
    audit_logs_enabled: Annotated[bool, Spec(
        "AUDIT_LOGS_ENABLED", _switch, "switch",
        "Off closes every reading surface; recording always goes on")] = True
    default_org_feature_can_use_audit_logs: Annotated[bool, Spec(
        "DEFAULT_ORG_FEATURE_CAN_USE_AUDIT_LOGS", _switch, "switch",
        "Whether an organization may read its log when its own `can_use_audit_logs` says nothing")] = True
    policy: Annotated[Path | None, Spec(
        "TALLYSTICK_POLICY", _folder, "file",
        "Policy file (docs/reference/policy.md): its witnesses and time stamp authorities with an address are asked")] = None
    time_stamp_seconds: Annotated[float, Spec(
        "TALLYSTICK_TIME_STAMP_SECONDS", _seconds(1, 31_536_000), "seconds",
        "How often the instance log is time-stamped where the policy names an authority with an address")] = 86400.0
    publish: Annotated[str | None, Spec(
        "TALLYSTICK_PUBLISH", _text, "folder or s3://bucket/prefix",
        "Where checkpoints and tiles are published by themselves; `s3://` needs the extra `s3` and the usual settings of "
        "the AWS SDK")] = None
    publish_seconds: Annotated[float, Spec(
        "TALLYSTICK_PUBLISH_SECONDS", _seconds(1, 31_536_000), "seconds",
        "How often they are published")] = 300.0
    publish_lock_days: Annotated[int, Spec(
        "TALLYSTICK_PUBLISH_LOCK_DAYS", _whole(0, 36_500), "days",
        "Object Lock: for how long nobody can remove or replace what was published to S3, not even we; 0 = not locked")] = 0
    runtime_folder: Annotated[Path | None, Spec(
        "XDG_RUNTIME_DIR", _folder, "folder",
        "Where the embedded database's socket goes when the data folder's path is too long for one",
        "a private folder in /tmp")] = None
    # fmt: on
    notices: tuple[str, ...] = ()
    """Sentences an operator should see once at the start."""

    def logins(self) -> Logins | None:
        """Return where each role signs in to the external database, None when the embedded one is to be used."""
        owner = self.database_url
        if owner is None:
            return None
        return Logins(
            owner=owner,
            writer=self.database_writer_url or owner,
            reader=self.database_reader_url or owner,
            keeper=self.database_keeper_url or owner,
        )


SPECS: Mapping[str, Spec] = {
    name: hint.__metadata__[0]
    for name, hint in get_type_hints(Settings, include_extras=True).items()
    if get_origin(hint) is Annotated
}
FILE_NAME = "TALLYSTICK_CONFIG"


def read_settings(
    environment: Mapping[str, str] | None = None, *, flags: Mapping[str, str | None] | None = None
) -> Settings:
    """Read the settings: flags win over the environment, the environment over the file of TALLYSTICK_CONFIG.

    `environment` is os.environ unless given, `flags` maps field names ("data", "port") to their text. Raises
    Misconfigured with the setting, the value and what to write.
    """
    environment = os.environ if environment is None else environment
    notices: list[str] = []
    texts = {**_from_file(environment.get(FILE_NAME)), **_from_environment(environment, notices)}
    texts.update({name: (f"--{name}", text) for name, text in (flags or {}).items() if text is not None})
    values: dict[str, Any] = {
        name: _parse(SPECS[name], source, text) for name, (source, text) in texts.items() if text.strip()
    }
    values.setdefault("data", Settings.data.absolute())
    _check_together(values, notices)
    return Settings(**values, notices=tuple(notices))


def _from_environment(environment: Mapping[str, str], notices: list[str]) -> dict[str, tuple[str, str]]:
    by_name = {spec.name: name for name, spec in SPECS.items()}
    found: dict[str, tuple[str, str]] = {}
    for name, text in environment.items():
        if name in by_name and not (name == "TALLYSTICK_PORT" and re.match(r"(tcp|udp)://", text)):
            found[by_name[name]] = (name, text)
        elif name in by_name or INVENTED.fullmatch(name):
            notices.append(
                f"{name} was set by the container platform for a service's address and is not used."
            )
        elif name.startswith(PREFIX) and name not in OF_THE_SDK and name != FILE_NAME:
            notices.append(_unknown(name, [*by_name, FILE_NAME]))
    return found


def _unknown(name: str, known: list[str]) -> str:
    near = difflib.get_close_matches(name, known, n=1, cutoff=0.5)
    if difflib.get_close_matches(name, known, n=1, cutoff=0.85):
        raise Misconfigured(f"There is no setting {name}. Write {near[0]}, or remove it.")
    return f"There is no setting {name}, it has no effect." + (f" Is {near[0]} meant?" if near else "")


def _from_file(name: str | None) -> dict[str, tuple[str, str]]:
    if not name:
        return {}
    try:
        content = tomllib.loads(Path(name).read_text("utf-8"))
    except OSError as error:
        raise Misconfigured(
            f"{FILE_NAME}: cannot read {name}: {error.strerror}. Name an existing file."
        ) from error
    except (tomllib.TOMLDecodeError, UnicodeDecodeError) as error:
        raise Misconfigured(f"{FILE_NAME}: {name} is not TOML: {error}.") from error
    found: dict[str, tuple[str, str]] = {}
    for key, value in content.items():
        if key not in SPECS:
            near = difflib.get_close_matches(key, SPECS, n=1, cutoff=0.5)
            raise Misconfigured(
                f"{name}: there is no setting {key!r}." + (f" Write {near[0]}." if near else "")
            )
        if not isinstance(value, str | int | float):
            raise Misconfigured(f"{name}: {key} must be a text, a number, true or false.")
        found[key] = (f"{key} in {name}", _shown(value))
    return found


def _parse(spec: Spec, source: str, text: str) -> object:
    try:
        return spec.parse(text.strip())
    except ValueError as error:
        # An address may hold a password, so what was written is not repeated.
        shown = "what it holds" if spec.kind == "address" else repr(text[:100])
        raise Misconfigured(f"{source}: {shown} cannot be used. Write {error}.") from None


def _check_together(values: Mapping[str, object], notices: list[str]) -> None:
    roles = {name for name in ("writer", "reader", "keeper") if f"database_{name}_url" in values}
    if "database_url" not in values:
        if roles or values.get("database_pooler", "none") != "none":
            raise Misconfigured(
                "TALLYSTICK_DATABASE_URL: not set, although other settings of an external database are. "
                "Write postgresql://user:password@host:5432/database"
            )
        return
    missing = [name for name in ("writer", "reader", "keeper") if name not in roles]
    if missing:
        names = ", ".join(f"TALLYSTICK_DATABASE_{name.upper()}_URL" for name in missing)
        notices.append(
            f"The login of TALLYSTICK_DATABASE_URL owns the tables and is used for everything, because {names} "
            "is not set. Give each a login that is a member of its role, so that who writes cannot rewrite."
        )


def shown_settings(settings: Settings) -> dict[str, str]:
    """Return every setting by its name as text, passwords left out: what the log says about a changed setting."""
    return {spec.name: _shown(getattr(settings, name)) for name, spec in SPECS.items()}


def instance_name(settings: Settings, new_name: Callable[[], str]) -> str:
    """Return this installation's name in log origins, chosen once and kept in `<data>/instance`.

    `new_name` makes one when none was given. Raises Misconfigured when TALLYSTICK_INSTANCE differs from the name
    the logs already carry.
    """
    path = settings.data / "instance"
    try:
        kept = path.read_text().strip()
    except FileNotFoundError:
        name = settings.instance or _instance(new_name())
        settings.data.mkdir(parents=True, exist_ok=True)
        part = path.with_suffix(f".{os.getpid()}")
        with part.open("w") as file:
            file.write(name + "\n")
            file.flush()
            os.fsync(file.fileno())
        part.replace(path)
        return name
    if settings.instance not in (None, kept):
        raise Misconfigured(
            f"TALLYSTICK_INSTANCE: the logs of {settings.data} carry the name {kept!r}, which is signed and cannot "
            f"become {settings.instance!r}. Write {kept!r} or remove the setting."
        )
    return kept


def settings_page() -> str:
    """Return docs/reference/settings.md."""
    rows = "".join(
        f"| `{spec.name}` | {spec.kind} | {spec.default or _code(_shown(getattr(Settings, name)))} | {spec.meaning}. |\n"
        for name, spec in SPECS.items()
    )
    return f"""# Settings

Generated from `src/tallystick/config.py` by `python -m tallystick.config > docs/reference/settings.md`.

Flags of the command line win over the environment, the environment over the TOML file that `{FILE_NAME}` names. In
the file a setting has its name in lower case without the prefix: `data = "/srv/tallystick"`, `port = 8080`. An empty
value counts as not set.
A name that is close to a known one is refused as a mistake; any other unknown `{PREFIX}…` is reported.

| name | kind | default | meaning |
|---|---|---|---|
{rows}
The embedded PostgreSQL reads your own settings from the end of `<data>/postgres/cluster/postgresql.conf`. What keeps
acknowledged events safe (`fsync`, `full_page_writes`, `synchronous_commit`) is fixed and cannot be changed there.
"""


def _code(text: str) -> str:
    return f"`{text}`" if text else ""


if __name__ == "__main__":
    sys.stdout.write(settings_page())
