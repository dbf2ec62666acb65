"""Redaction: secrets are gone before anything is hashed or stored, and nothing else is."""

from __future__ import annotations

import base64
import copy
import json
from time import perf_counter
from typing import Any
from unittest import mock

import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from tallystick.errors import Refused
from tallystick.event import secret_names
from tallystick.event.redact import MARK, Paths, Redaction
from tallystick.event.secret_names import is_secret_name
from tallystick.event.secret_patterns import find_secrets, is_card_number

from .making import ORDINARY, REDACTION, body, changed, prepared, sealed, shown

PEM = "-----BEGIN RSA PRIVATE KEY-----\nMIIECANARY06aaaa\nbbbbCANARY06\n-----END RSA PRIVATE KEY-----"
JWT = "eyJhbGciOiJIUzI1NiIsInR5cCI6IkpXVCJ9.eyJzdWIiOiJDQU5BUlkwNCJ9.CANARY04signature_-"
BASIC = base64.b64encode(b"ann:CANARY09-hunter2").decode()

# What must be found by its looks alone: text with the secret in it → the part that has to be gone.
CANARIES: dict[str, tuple[str, str]] = {
    "openai": ("sk-proj-CANARY01aaaabbbbcccc", "CANARY01"),
    "own key": ("tst_w_CANARY02aaaabbbbccccdddd", "CANARY02"),
    "github": ("ghp_CANARY03aaaabbbbccccddddeeeeffff00", "CANARY03"),
    "jwt": (JWT, "CANARY04"),
    "aws": ("AKIACANARYAAAABBBB77", "AKIACANARYAAAABBBB77"),
    "pem": (PEM, "CANARY06"),
    "connection string": ("postgresql://app:CANARY07@db.internal:5432/app", "CANARY07"),
    "bearer": ("Bearer CANARY08-aaaa-bbbb-cccc", "CANARY08"),
    "basic": (f"Basic {BASIC}", BASIC),
    "url query": ("https://example.org/cb?state=1&access_token=CANARY10&x=2", "CANARY10"),
    "slack": ("xoxb-123456789012-CANARY11aaaa", "CANARY11"),
    "json in text": ('{"user": "ann", "password": "CANARY12 with blanks"}', "CANARY12"),
}
MORE: dict[str, tuple[str, str]] = {
    "anthropic": ("sk-ant-api03-CANARY-aaaa-bbbb-1234", "CANARY"),
    "langsmith": ("lsv2_pt_0123456789abcdef0123456789CANARY_0123456789", "CANARY"),
    "langfuse": ("sk-lf-12345678-CANARY-4000-8000-123456789012", "CANARY"),
    "stripe": ("sk_live_CANARYaaaabbbb", "CANARY"),
    "google": ("AIzaCANARYaaaabbbbccccddddeeeeffff0000111", "CANARY"),
    "gitlab": ("glpat-CANARYaaaabbbbcccc", "CANARY"),
    "hugging face": ("hf_CANARYaaaabbbbccccdddd", "CANARY"),
    "npm": ("npm_CANARYaaaabbbbccccddddeeeeffff000011", "CANARY"),
    "sendgrid": ("SG.CANARYaaaabbbbcc.ddddeeeeffffgggghhhh", "CANARY"),
    "card": ("4111 1111 1111 1111", "4111"),
    "card, no blanks": ("paid with 378282246310005.", "378282246310005"),
    "header line": ("Authorization: Digest username=CANARY, realm=x", "CANARY"),
    "cookie line": ("Cookie: session=CANARY; theme=dark", "CANARY"),
    "env line": ("export OPENAI_API_KEY=CANARY", "CANARY"),
    "ini line": ("password = CANARY", "CANARY"),
    "yaml": ("db:\n  passwd: CANARY\n", "CANARY"),
    "xml": ("<password>CANARY</password>", "CANARY"),
    "escaped json": ('{\\"client_secret\\": \\"CANARY \\\\\\" more CANARY\\"}', "CANARY"),
    "form, encoded": ("user=a%26password%3DCANARY", "CANARY"),
    "python repr": ("{'api_key': 'CANARY'}", "CANARY"),
    "ruby": (":secret_token => 'CANARY'", "CANARY"),
    "odbc": ("Server=db;Uid=sa;Pwd=CANARY;Encrypt=yes", "CANARY"),
    "azure": ("AccountName=x;AccountKey=CANARY==;EndpointSuffix=y", "CANARY"),
    "redis": ("rediss://:CANARY@cache:6380/0", "CANARY"),
    "password with at": ("mysql://root:p@CANARY@host/db", "CANARY"),
    "telegram": ("123456789:AACANARYaaaabbbbccccddddeeeeffff000", "CANARY"),
    "slack hook": ("https://hooks.slack.com/services/T00000000/B00000000/CANARYaaaabbbbccccdddd", "CANARY"),
    "encrypted pem": ("-----BEGIN ENCRYPTED PRIVATE KEY-----\\nCANARY", "CANARY"),
    "german": ("Kennwort: CANARY", "CANARY"),
    "russian": ("пароль=CANARY", "CANARY"),
}
PLACES = [
    "/metadata/note", "/metadata/list/0", "/before/a", "/after/a", "/error/message", "/error/code",
    "/context/user_agent", "/context/http/path", "/context/session_id", "/context/request_id", "/actor/name",
    "/actor/email", "/targets/0/name", "/workspace",
]  # fmt: skip


def placed(pointer: str, text: str) -> dict[str, Any]:
    if pointer == "/metadata/list/0":
        return changed("/metadata/list", [text, ["deeper", [text]], {"k": {"l": [text]}}])
    return changed(pointer, text)


def everything_stored(event: Any, redaction: Redaction = REDACTION) -> str:
    """Return every byte that leaves the room for `event`, the columns and the shown form included."""
    ready = prepared(event, redaction)
    row = sealed(ready)
    return (
        (row.leaf + row.opening).decode()
        + repr(ready)
        + json.dumps(shown(event, redaction), ensure_ascii=False)
    )


@pytest.mark.parametrize("name", CANARIES)
@pytest.mark.parametrize("pointer", PLACES)
def test_canaries(name: str, pointer: str) -> None:
    """A secret that somebody pasted anywhere must not reach the log, a file or an export."""
    text, secret = CANARIES[name]
    for event in (placed(pointer, text), placed(pointer, f"before {text} after")):
        assert secret not in everything_stored(event)
        assert shown(event)["redacted"]


@pytest.mark.parametrize("name", CANARIES)
def test_canaries_as_keys(name: str) -> None:
    """A map from key to owner has secrets where nobody looks: in its keys."""
    text, secret = CANARIES[name]
    for event in (changed("/metadata", {text: 1}), changed("/after", [{"m": {text: {"owner": "ann"}}}])):
        stored = everything_stored(event)
        assert secret not in stored
        assert "[redacted:" in stored
        assert shown(event)["redacted"]


@pytest.mark.parametrize("mess", ["{}\0", "{}" + chr(0xD800), "{} \0x"])
@pytest.mark.parametrize("name", CANARIES)
def test_canaries_as_keys_that_need_cleaning(name: str, mess: str) -> None:
    """A flag names the key it cleaned: the name must be the one without the secret."""
    text, secret = CANARIES[name]
    key = mess.format(text)
    event = changed("/metadata", {key: "a\0b", "deep": [[{key: [1, 10**30]}]]})
    assert secret not in everything_stored(event)
    paths = [flag["path"] for flag in shown(event)["flags"]]
    assert all("redacted" in path for path in paths)


@pytest.mark.parametrize("name", CANARIES)
def test_canaries_in_ids(name: str) -> None:
    """Even an id may be a pasted secret; only the public half of a key pair may name somebody."""
    text, secret = CANARIES[name]
    for pointer in ("/actor/id", "/actor/credential_id", "/targets/0/id"):
        stored = everything_stored(changed(pointer, text))
        assert (secret in stored) == (name == "aws"), pointer


@pytest.mark.parametrize("name", MORE)
def test_more_secrets_by_their_looks(name: str) -> None:
    """Every kind of secret people paste must be known."""
    text, secret = MORE[name]
    assert secret not in everything_stored(changed("/metadata/note", text))


SECRET_NAMES = [
    "password", "Password", "PASSWORD", "passWord", "pass_word", "pass-word", "userPassword", "new_password",
    "password_confirmation", "passwd", "pwd", "passphrase", "secret", "clientSecret", "client-secret", "secrets",
    "token", "access_token", "refreshToken", "id_token", "X-Auth-Token", "csrf_token", "apiKey", "api_key", "API-KEY",
    "x-api-key", "openai_api_key", "private_key", "privateKey", "ssh_key", "secretAccessKey", "aws_secret_access_key",
    "authorization", "Proxy-Authorization", "Cookie", "Set-Cookie", "cookies", "credential", "credentials", "jwt",
    "bearer", "connection_string", "webhook_secret", "signing_key", "encryption_key", "password_hash", "hashed_password",
    "token_value", "cvv", "pin", "otp", "mnemonic", "seed_phrase", "Kennwort", "mot_de_passe", "contraseña", "пароль",
    "ｐａｓｓｗｏｒｄ", "pass\u200bword", "密码", "card_number", "creditCard", "Ocp-Apim-Subscription-Key", "PGPASSWORD",
    "DB_PASSWORD", "api.key", "api key", "auth_token", "recovery_codes", "sshPrivateKey", "tokenHash",
]  # fmt: skip
HARMLESS_NAMES = [
    "max_tokens",
    "prompt_tokens",
    "total_tokens",
    "completionTokens",
    "input_tokens_details",
]  # numbers under these; see below
PLAIN_NAMES = [
    "tokenizer", "token_type", "token_count", "token_id", "tokens_used", "api_key_id", "key_id", "key", "keys", "keyboard",
    "public_key", "primary_key", "cache_key", "idempotency_key", "password_policy", "password_changed_at", "has_secret_access",
    "secret_name", "secretary", "credential_id", "credential_type", "cookie_consent", "cookie_policy", "author", "authority",
    "authorized_by", "authorization_id", "cost_per_token", "eos_token", "pad_token", "stop_token", "next_page_token",
    "continuation_token", "passenger", "compass", "passed", "pinned", "spinner", "notpinned", "monkey", "version", "",
    "time_to_first_token", "description", "auth_method", "authentication", "sso", "signature_algorithm",
]  # fmt: skip


@pytest.mark.parametrize("name", SECRET_NAMES)
@pytest.mark.parametrize("value", ["CANARY", 123456, 0.5, ["CANARY"], {"a": {"b": "CANARY"}}])
def test_secret_names(name: str, value: Any) -> None:
    """A value under the name of a secret is hidden, whatever it is and however the name is spelt."""
    if secret_names.is_counted(name, value):
        return
    event = changed("/after", {"nested": [{name: value}]})
    stored = everything_stored(event)
    assert "CANARY" not in stored
    assert MARK in stored
    assert '":123456' not in stored
    assert all(path.startswith("/after/nested/0/") for path in shown(event)["redacted"])


@pytest.mark.parametrize("name", PLAIN_NAMES)
@pytest.mark.parametrize("value", ["some value", 5, ["x"], {"a": "b"}])
def test_plain_names(name: str, value: Any) -> None:
    """What only looks like the name of a secret must be kept: an audit log without facts is useless."""
    event = shown(changed("/after", {"nested": [{name: value}]}))
    assert event["after"] == {"nested": [{name: value}]}
    assert "redacted" not in event


@pytest.mark.parametrize("name", HARMLESS_NAMES)
def test_counts_of_tokens(name: str) -> None:
    """Language models count tokens; their numbers are no secrets."""
    assert shown(changed("/after", {name: 512}))["after"] == {name: 512}
    assert shown(changed("/after", {"tokens": {"prompt": 3}}))["after"] == {"tokens": {"prompt": 3}}


@pytest.mark.parametrize("value", [None, True, False, "", [], {}])
def test_nothing_under_a_secret_name(value: Any) -> None:
    """That a password was set or removed is worth seeing; nothing is given away."""
    assert shown(changed("/after", {"password": value}))["after"] == {"password": value}


@pytest.mark.parametrize(
    "headers",
    [
        [["Authorization", "CANARY"]],
        [{"name": "Authorization", "value": "CANARY"}],
        [{"key": "x-api-key", "values": ["CANARY"]}],
        {"Authorization": ["CANARY"]},
        [{"header": "Cookie", "value": {"raw": "CANARY"}}],
    ],
)
def test_headers_in_other_shapes(headers: Any) -> None:
    """Headers come as pairs and as name and value too."""
    assert "CANARY" not in everything_stored(changed("/metadata/request", {"headers": headers}))


PLAIN_TEXTS = [
    "Mozilla/5.0 (Windows NT 10.0; Win64; x64) AppleWebKit/537.36 (KHTML, like Gecko) Chrome/126.0.0.0 Safari/537.36",
    "scikit-learn sk-learn-pipeline-component", "task-force-alpha-2026", "https://example.org:8443/a/b?page=2&sort=name",
    "https://example.org:443/users/@ann", "2026-06-01T12:00:00.123456Z", "0192f0c1-2345-7abc-8def-0123456789ab",
    "basic authentication failed", "bearer of good news", "Basic plan for 20 seats", "the secret garden", "order 1234567890123456",
    "1700000000000000", "f" * 40, "sha256:" + "ab" * 32, "max_tokens=512", "prompt_tokens: 12", "cost_per_token=0.002",
    "ann@example.org", "2001:db8::8a2e:370:7334", "arn:aws:iam::123456789012:role/Admin", "-----BEGIN CERTIFICATE-----\nMIIB",
    "sk-...abcd", "sk-****1234", "ghp_short", "key_01hxyz", "eyJust words.", "4111 1111 1111 1112", "+49 170 1234567 89",
    "IBAN DE89 3704 0044 0532 0130 00", "token_type=bearer", "keyboard: qwerty", "monkey=banana", "author: Ann",
    "SELECT * FROM users WHERE id = 5", "<svg/onload=alert(1)>", "x\" user=root lvl=\"info", "Version: 1.2.3", "a: b, c: d",
]  # fmt: skip


@pytest.mark.parametrize("text", PLAIN_TEXTS)
def test_plain_texts(text: str) -> None:
    """Ordinary text must be kept to the letter."""
    event = shown(changed("/metadata", {"note": text}))
    assert event["metadata"] == {"note": text}
    assert "redacted" not in event


def test_only_the_secret_is_hidden() -> None:
    """What stands around a secret is evidence."""
    event = shown(
        changed("/error/message", "login of ann at db failed: postgres://app:s3cret@db:5432/x refused")
    )
    before, _, rest = event["error"]["message"].partition("[redacted:")
    assert before == "login of ann at db failed: postgres://app:"
    assert rest.partition("]")[2] == "@db:5432/x refused"
    assert event["redacted"] == ["/error/message"]


def test_fingerprints_show_change_and_nothing_else() -> None:
    """Equal secrets look equal, other secrets differ, and another key gives other fingerprints."""
    same = shown(changed(before={"password": "a"}, after={"password": "a"}))
    other = shown(changed(before={"password": "a"}, after={"password": "b"}))
    assert same["before"] == same["after"]
    assert same["changes"] == []
    assert other["before"] != other["after"]
    assert [change["path"] for change in other["changes"]] == ["/password/$redacted"]
    foreign = shown(changed(before={"password": "a"}), Redaction(key=b"another key of 32 bytes, secret."))
    assert foreign["before"] != same["before"]


def test_what_a_producer_hid_stays_and_is_told_apart() -> None:
    """An SDK may hide secrets itself; a forged mark must not pass for ours, nor carry a secret through."""
    mark = {MARK: "AAAABBBBCCCCDDDD"}
    event = shown(changed("/after", {"password": mark, "other": mark}))
    assert event["after"] == {"password": mark, "other": mark}
    assert "redacted" not in event
    assert {(flag["kind"], flag["path"]) for flag in event["flags"]} == {
        ("producer_redacted", "/after/password"),
        ("producer_redacted", "/after/other"),
    }
    for forged in (
        {MARK: "hunter2-CANARY"},
        {MARK: {"x": "CANARY"}},
        {MARK: "AAAABBBBCCCCDDDD", "x": "CANARY"},
    ):
        assert "CANARY" not in everything_stored(changed("/after", {"password": forged}))


def test_extra_paths() -> None:
    """What an organization calls secret is hidden too, for the actions it says, at any place."""
    redaction = Redaction(
        key=REDACTION.key,
        extra_paths={"prompt.update": ("/after/*/salary", "/actor/name"), "*": ("/metadata/internal",)},
    )
    event = changed(after={"a": {"salary": 100, "x": 1}, "b": {"salary": {"deep": [1]}}}) | {
        "metadata": {"internal": {"secret plan": [1, 2]}, "open": 1}
    }
    result = shown(event, redaction)
    assert result["after"]["a"]["x"] == 1
    assert result["after"]["a"]["salary"].keys() == result["after"]["b"]["salary"].keys() == {MARK}
    assert result["metadata"]["internal"].keys() == {MARK}
    assert result["metadata"]["open"] == 1
    assert result["actor"]["name"].startswith("[redacted:")
    assert set(result["redacted"]) == {
        "/after/a/salary", "/after/b/salary", "/metadata/internal", "/actor/name",
    }  # fmt: skip
    other = shown(event | {"action": "prompt.read"}, redaction)
    assert other["after"] == event["after"]
    assert [redaction.has_paths(action) for action in ("prompt.update", "prompt.read")] == [True, True]
    assert not Redaction(key=REDACTION.key, allowed_paths={"a.b": ("/x",)}).has_paths("prompt.read")


def test_allowed_paths() -> None:
    """What an organization wants to keep is kept with all below it, cleaned but not hidden, and nothing else."""
    redaction = Redaction(
        key=REDACTION.key, allowed_paths={"prompt.update": ("/after/token", "/context/user_agent")}
    )
    event = changed(
        "/after", {"token": {"kind": "sk-proj-abcdefghij0123456789", "n": "a\0b"}, "secret": "hunter2"}
    )
    event["context"]["user_agent"] = "x?token=abc"
    result = shown(event, redaction)
    assert result["after"]["token"] == {"kind": "sk-proj-abcdefghij0123456789", "n": "a\ufffdb"}
    assert result["after"]["secret"].keys() == {MARK}
    assert result["context"]["user_agent"] == "x?token=abc"
    assert {flag["kind"] for flag in result["flags"]} == {"nul"}


def test_redaction_can_be_switched_off() -> None:
    """An operator who switches it off gets everything, and only then."""
    event = changed("/after", {"password": "hunter2"})
    assert shown(event, Redaction(key=REDACTION.key, enabled=False))["after"] == {"password": "hunter2"}
    assert shown(event)["after"] != {"password": "hunter2"}


@pytest.mark.parametrize(
    ("pattern", "path", "matches"),
    [
        ("/a/b", "/a/b", True), ("/a/*", "/a/b", True), ("/*/b", "/a/b", True), ("/a", "/a/b", False),
        ("/a/b", "/a", False), ("/a/*", "/a", False), ("/a/~1", "/a/~1", True), ("", "/a", False),
    ],
)  # fmt: skip
def test_paths(pattern: str, path: str, matches: bool) -> None:
    """A pattern must hide exactly what it names."""
    assert Paths(extra=(pattern,)).is_extra(path) is matches


@given(st.text(st.characters(codec="utf-8"), max_size=40))
def test_names_are_judged_the_same_twice(name: str) -> None:
    """The memory of judged names must never change a verdict."""
    secret_names._remembered.clear()
    first = is_secret_name(name)
    assert is_secret_name(name) is first


def test_the_memory_of_names_is_bounded() -> None:
    """Somebody sending ever new names must not fill the memory."""
    with mock.patch.object(secret_names, "_REMEMBERED_MAX", 10):
        for index in range(100):
            is_secret_name(f"name{index}")
            assert len(secret_names._remembered) <= 8192
        assert len(secret_names._remembered) <= 11
    long = "x" * 1000
    is_secret_name(long)
    assert long not in secret_names._remembered


@pytest.mark.parametrize(
    ("number", "card"),
    [
        ("4111111111111111", True), ("4111-1111-1111-1111", True), ("5555555555554444", True), ("2223003122003222", True),
        ("378282246310005", True), ("6011111111111117", True), ("30569309025904", True), ("3530111333300000", True),
        ("4111111111111112", False), ("1234567812345670", False), ("41111111111111111", False), ("٤١١١١١١١١١١١١١١١", False),
    ],
)  # fmt: skip
def test_card_numbers(number: str, card: bool) -> None:
    """A card number is hidden as text and as number; other long numbers are not."""
    assert is_card_number(number) is card
    assert bool(find_secrets(f"n {number} n")) is card
    if number.isascii() and number.isdigit() and int(number) < 2**53:
        assert (shown(changed("/after", {"n": int(number)}))["after"] == {"n": int(number)}) is not card


HOSTILE_TEXTS = {
    "tokens": "-eyJ" * 60_000, "assignments": "token=" * 43_000, "pem starts": "-----BEGIN PRIVATE KEY" * 11_000,
    "one word": "a" * 260_000, "urls": "a://b:" * 43_000, "short pairs": "ab=1 " * 52_000, "quotes": 'token="\\"' * 28_000,
    "key leads": "sk-" * 86_000, "digits": "1 " * 130_000, "backslashes": "\\" * 260_000, "bearers": "bearer " * 37_000,
    "names": "".join(f"{index:x}=" for index in range(50_000)), "marks": "[redacted:AAAABBBBCCCCDDDD]" * 9_000,
    "marked": "token=[redacted:AAAABBBBCCCCDDDD] " * 7_000, "dots": "eyJ" + "a." * 120_000, "xox": "xoxb-" * 50_000,
}  # fmt: skip


@pytest.mark.parametrize("name", HOSTILE_TEXTS)
def test_no_text_is_slow(name: str) -> None:
    """A text made to slow the search down must not stop the server."""
    start = perf_counter()
    find_secrets(HOSTILE_TEXTS[name])
    assert perf_counter() - start < 3, "a quarter of a megabyte takes a fraction of a second when linear"


@given(st.data())
@settings(max_examples=150)
def test_no_canary_in_any_place(data: st.DataObject) -> None:
    """Wherever in an event the twelve canaries stand, all at once, none of them comes through."""
    event: Any = copy.deepcopy(ORDINARY)
    names = data.draw(st.lists(st.sampled_from(sorted(CANARIES)), min_size=1, max_size=6))
    for name in names:
        text = data.draw(st.sampled_from(["{}", "x {} y", "{}\n", " {}"])).format(CANARIES[name][0])
        where = data.draw(st.sampled_from(["after", "before", "metadata", "key", "error", "agent", "name"]))
        match where:
            case "after" | "before" | "metadata":
                event[where] = {
                    data.draw(st.sampled_from(["a", "note", "tokens"])): [event.get(where), {"x": text}]
                }
            case "key":
                event["metadata"] = {text: event["metadata"]}
            case "error":
                event["error"]["message"] += " " + text
            case "agent":
                event["context"]["user_agent"] += " " + text
            case _:
                event["actor"]["name"] += " " + text
    stored = everything_stored(event)
    for name in names:
        assert CANARIES[name][1] not in stored


@pytest.mark.parametrize("name", CANARIES)
def test_refusals_hold_no_canary(name: str) -> None:
    """An event that is refused is named in logs: its secrets must not be."""
    text, secret = CANARIES[name]
    key = json.dumps(text)
    for event in (
        body(ORDINARY).replace(b'"v": 1', f"{key}: 1, {key}: 2".encode()),
        changed(**{text: text}),
        changed("/actor/x", text),
        changed("/actor/type", text),
        changed(occurred_at=text),
        changed(action=text + " "),
        changed(id=text),
        changed(outcome=text),
        changed(stream=text),
        changed(metadata=text),
        changed(context={"http": {"status": text}}),
    ):
        with pytest.raises(Refused) as caught:
            prepared(event)
        assert secret not in f"{caught.value} {caught.value.path} {caught.value.rule}"
