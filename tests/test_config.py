"""Settings: what was written is what holds, and a mistake says what to write."""

from __future__ import annotations

import ast
from pathlib import Path

import pytest

from tallystick.config import SPECS, Settings, instance_name, read_settings, settings_page
from tallystick.errors import Misconfigured

PAGE = Path(__file__).resolve().parent.parent / "docs" / "reference" / "settings.md"
URL = "postgresql://owner:s3cret@db.example/audit"


def test_nothing_set_means_the_defaults() -> None:
    """A fresh machine would need settings before the first start."""
    found = read_settings({})
    assert found.logins() is None
    assert (found.port, found.heartbeat_seconds, found.audit_logs_enabled) == (8080, 60.0, True)
    assert found.data.is_absolute()
    assert found.notices == ()


def test_flags_win_over_environment_and_environment_over_file(tmp_path: Path) -> None:
    """A flag typed now would be overruled by a file written last year."""
    file = tmp_path / "t.toml"
    file.write_text('port = 1\nhost = "file"\naudit_logs_enabled = false\n')
    environment = {"TALLYSTICK_CONFIG": str(file), "TALLYSTICK_PORT": "2", "TALLYSTICK_HOST": "environment"}
    found = read_settings(environment, flags={"port": "3", "data": None})
    assert (found.port, found.host, found.audit_logs_enabled) == (3, "environment", False)


@pytest.mark.parametrize(
    ("name", "text"),
    [
        ("TALLYSTICK_PORT", "65536"),
        ("TALLYSTICK_PORT", "-1"),
        ("TALLYSTICK_PORT", "٣"),
        ("TALLYSTICK_HEARTBEAT_SECONDS", "61"),
        ("TALLYSTICK_HEARTBEAT_SECONDS", "nan"),
        ("TALLYSTICK_QUEUE_EVENTS_MAX", "0"),
        ("AUDIT_LOGS_ENABLED", "maybe"),
        ("TALLYSTICK_DATABASE_POOLER", "session"),
        ("TALLYSTICK_INSTANCE", "two words"),
        ("TALLYSTICK_INSTANCE", "a+b"),
        ("TALLYSTICK_POSTGRES_SHARED_BUFFERS", "128"),
        ("TALLYSTICK_LOG_LEVEL", "loud"),
        ("TALLYSTICK_HOST", "a\nb"),
    ],
)
def test_a_wrong_value_is_named_with_what_to_write(name: str, text: str) -> None:
    """A wrong value would be ignored, or end in a stack trace."""
    with pytest.raises(Misconfigured) as caught:
        read_settings({name: text})
    assert str(caught.value).startswith(f"{name}: {text!r} cannot be used. Write ")


@pytest.mark.parametrize(
    "url", ["mysql://u:s3cret@h/d", "s3cret", "postgresql://u:s3cret@h:port/d", "postgresql:///d"]
)
def test_a_wrong_address_does_not_show_its_password(url: str) -> None:
    """The password in a mistyped address would end in a log."""
    with pytest.raises(Misconfigured, match="postgresql://user:password@host") as caught:
        read_settings({"TALLYSTICK_DATABASE_URL": url})
    assert "s3cret" not in str(caught.value)


def test_a_mistyped_name_is_refused_with_the_right_one() -> None:
    """A mistyped setting would silently have no effect."""
    with pytest.raises(Misconfigured, match="Write TALLYSTICK_DATABASE_URL"):
        read_settings({"TALLYSTICK_DATABSE_URL": URL})


def test_a_strange_name_is_reported_and_the_others_hold() -> None:
    """Somebody else's variable would stop the server, or go unnoticed."""
    found = read_settings(
        {"TALLYSTICK_NOTES_OF_THE_TEAM": "x", "TALLYSTICK_PORT": "9", "TALLYSTICK_API_KEY": "k"}
    )
    assert found.port == 9
    assert [notice.split(",")[0] for notice in found.notices] == [
        "There is no setting TALLYSTICK_NOTES_OF_THE_TEAM"
    ]


def test_names_invented_by_kubernetes_do_not_count() -> None:
    """A service called "tallystick" would break its own pods: Kubernetes then sets TALLYSTICK_PORT."""
    found = read_settings(
        {
            "TALLYSTICK_PORT": "tcp://10.0.0.1:80",
            "TALLYSTICK_SERVICE_HOST": "10.0.0.1",
            "TALLYSTICK_SERVICE_PORT_HTTP": "80",
            "TALLYSTICK_PORT_80_TCP_ADDR": "10.0.0.1",
        }
    )
    assert found.port == 8080
    assert len(found.notices) == 4


def test_an_empty_value_counts_as_not_set() -> None:
    """Compose files write `NAME=` for what is not set."""
    assert read_settings({"TALLYSTICK_DATABASE_URL": "", "TALLYSTICK_PORT": " "}) == read_settings({})


@pytest.mark.parametrize(
    ("text", "words"),
    [
        ("prot = 1", "Write port"),
        ("port = [1]", "must be a text"),
        ("port = ", "is not TOML"),
    ],
)
def test_a_wrong_file_is_explained(tmp_path: Path, text: str, words: str) -> None:
    """A mistake in the file would be skipped over."""
    file = tmp_path / "t.toml"
    file.write_text(text)
    with pytest.raises(Misconfigured, match=words):
        read_settings({"TALLYSTICK_CONFIG": str(file)})


def test_a_file_that_is_not_there_is_explained() -> None:
    """A wrong path would mean all defaults, that is another database."""
    with pytest.raises(Misconfigured, match="No such file"):
        read_settings({"TALLYSTICK_CONFIG": "/nonexistent.toml"})


def test_one_login_for_everything_is_said_aloud() -> None:
    """An operator would believe that who writes cannot rewrite."""
    found = read_settings({"TALLYSTICK_DATABASE_URL": URL})
    logins = found.logins()
    assert logins is not None
    assert logins.writer == logins.owner
    assert "TALLYSTICK_DATABASE_WRITER_URL" in found.notices[0]
    every = {f"TALLYSTICK_DATABASE_{role}URL": URL for role in ("", "WRITER_", "READER_", "KEEPER_")}
    assert read_settings(every).notices == ()


def test_a_writer_without_a_database_is_refused() -> None:
    """The embedded database would be started although an external one was meant."""
    with pytest.raises(Misconfigured, match="TALLYSTICK_DATABASE_URL: not set"):
        read_settings({"TALLYSTICK_DATABASE_WRITER_URL": URL})


def test_no_password_shows() -> None:
    """Settings end in logs and in the doctor's output."""
    assert "s3cret" not in f"{read_settings({'TALLYSTICK_DATABASE_URL': URL})!r}"


def test_the_name_of_the_instance_never_changes(tmp_path: Path) -> None:
    """A new name would start new logs beside the old ones and leave the old ones unproven."""
    names = iter(["tallystick-1", "tallystick-2"])
    settings = Settings(data=tmp_path / "data")
    assert instance_name(settings, lambda: next(names)) == "tallystick-1"
    assert instance_name(settings, lambda: next(names)) == "tallystick-1"
    with pytest.raises(Misconfigured, match="tallystick-1"):
        instance_name(Settings(data=tmp_path / "data", instance="other"), lambda: next(names))


def test_the_page_of_settings_is_current() -> None:
    """A setting would be without its documentation; run `python -m tallystick.config > docs/reference/settings.md`."""
    assert PAGE.read_text("utf-8") == settings_page()
    assert all(f"`{spec.name}`" in settings_page() for spec in SPECS.values())


def test_only_config_reads_the_environment() -> None:
    """A setting read elsewhere would be undocumented and untested."""
    source = Path(__file__).resolve().parent.parent / "src" / "tallystick"
    readers = {
        str(path.relative_to(source))
        for path in source.rglob("*.py")
        if any(
            isinstance(node, ast.Attribute) and node.attr in ("environ", "getenv")
            for node in ast.walk(ast.parse(path.read_text("utf-8")))
        )
    }
    assert {name for name in readers if not name.startswith("client/")} <= {"config.py"}


def test_proxies_are_networks_and_never_everybody() -> None:
    """Whoever trusts all addresses would let every caller choose its own."""
    assert read_settings({"TALLYSTICK_TRUSTED_PROXIES": "10.1.2.3/8, ::1"}).trusted_proxies == (
        "10.0.0.0/8",
        "::1/128",
    )
    for text in ("0.0.0.0/0", "10.0.0.0/8, ::/0", "proxy.example.com", "10.0.0.0/8;::1"):
        with pytest.raises(Misconfigured, match="TALLYSTICK_TRUSTED_PROXIES"):
            read_settings({"TALLYSTICK_TRUSTED_PROXIES": text})
