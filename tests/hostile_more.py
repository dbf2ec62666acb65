"""Hostile requests of our own, in the neutral shape of the shared sample, for the same adapter and tests."""

from __future__ import annotations

import json
from datetime import datetime
from typing import Any

from hostile import BASE_EVENT, Case, adapt

_PEM = "-----BEGIN EC PRIVATE KEY-----\nCANARY\nCANARY\n-----END EC PRIVATE KEY-----"


def more_cases(now: datetime) -> list[Case]:
    """Return every case of this file as a request of ours."""
    rows = [*_accepted(), *_accepted_raw(), *_hidden(), *_refused(), *_refused_raw()]
    return [adapt(row | {"id": f"M{number:03}"}, now) for number, row in enumerate(rows)]


def _row(
    group: str, title: str, request: dict[str, Any], then: list[str], code: str = "", status: int = 201
) -> dict[str, Any]:
    accepted = status < 400
    return {
        "group": group,
        "surface": "ingest",
        "desc": title,
        "request": {"method": "POST", "path": "{ingest}", "auth": "tenantA.ingest", **request},
        "expect": {
            "class": "accept-normalised" if accepted else f"reject-{status}",
            "status": [200, 201, 202] if accepted else [status],
            "then": [*then, *([] if accepted else ["rows_added:0"]), "no_5xx"],
            "code": code,
        },
    }


def _event(**fields: Any) -> dict[str, Any]:
    return {"body": {**json.loads(json.dumps(BASE_EVENT)), **fields}}


def _metadata(written: str) -> dict[str, Any]:
    """Return a request whose metadata.n is the JSON text `written`, however odd."""
    return {"body_text": json.dumps({**BASE_EVENT, "metadata": {"n": "@"}}).replace('"@"', written)}


def _accepted() -> list[dict[str, Any]]:
    """Text an attacker can write: stored, and flagged where it had to be changed."""
    actor, context = BASE_EVENT["actor"], BASE_EVENT["context"]
    deep: Any = 1
    for _ in range(150):
        deep = {"d": deep}
    exact = ["stored_equal"]
    return [
        _row("text.nul", "only NULs as a name", _event(actor={**actor, "name": "\0\0\0"}), ["flag:nul"]),
        _row("text.nul", "NUL in the id of a target", _event(targets=[{"type": "t", "id": "a\0b"}]), ["flag:nul"]),
        _row("text.nul", "keys that differ only in NUL", _event(metadata={"a\0": 1, "a\ufffd": 2}), ["flag:nul"]),
        _row("text.surrogate", "reversed pair in after", _event(after={"k": "\udc00\ud800"}), ["flag:surrogate"]),
        _row("text.surrogate", "half an emoji in error.message", _event(error={"message": "x\ud83d"}), ["flag:surrogate"]),
        _row("text.unicode", "noncharacters", _event(metadata={"k": "\ufffe\uffff\U0010ffff"}), exact),
        _row("text.unicode", "NFC and NFD keys side by side", _event(metadata={"\u00e9": 1, "e\u0301": 2}), exact),
        _row("text.unicode", "tag characters", _event(metadata={"k": "\U000e0041\U000e0042"}), exact),
        _row("text.unicode", "line and paragraph separators", _event(metadata={"k": "\u2028\u2029\x85"}), exact),
        _row("display.bidi", "isolates left open", _event(actor={**actor, "name": "\u2066\u2067\u2068x"}), exact),
        _row("display.ansi", "C1 control sequence", _event(actor={**actor, "name": "\x9b31mred"}), exact),
        _row("display.ansi", "title of the terminal", _event(error={"message": "\x1b]0;owned\x07"}), exact),
        _row("display.logforge", "CRLF and a forged syslog line", _event(actor={**actor, "name": "a\r\n<34>1 x"}), exact),
        _row("display.logforge", "CEF and LEEF separators", _event(actor={**actor, "name": "a|b=c\\|d\te^f"}), exact),
        _row("display.xss", "template and attribute", _event(actor={**actor, "name": "{{7*7}}${7*7}' onload='x"}), exact),
        _row("display.xss", "script in the ip", _event(context={**context, "ip": "<img src=x>"}), ["flag:ip_invalid"]),
        _row("display.xss", "closing comment and CDATA", _event(metadata={"k": "--></script>]]>"}), exact),
        _row("display.csv", "tab, then a formula", _event(targets=[{"type": "t", "id": "1", "name": "\t=1+1"}]), exact),
        _row("display.csv", "carriage return, then a formula", _event(targets=[{"type": "t", "id": "\r=1", "name": "x"}]), exact),
        _row("display.proto", "dangerous keys, nested", _event(after={"__proto__": {"a": 1}, "toString": None}), exact),
        _row("display.url", "data: URL", _event(metadata={"u": "data:text/html;base64,PHNjcmlwdD4="}), exact),
        _row("json.depth", "150 objects deep", _event(after=deep), ["flag:too_deep"]),
        _row("size.field", "agent of 100,000 characters", _event(context={"user_agent": "x" * 100_000}), ["flag:truncated"]),
        _row("size.field", "name of astral characters", _event(actor={**actor, "name": "\U0001f600" * 5000}), ["flag:truncated"]),
        _row("size.field", "request id of 10,000", _event(context={"request_id": "r" * 10_000}), ["flag:truncated"]),
        _row("size.field", "path of 100,000", _event(context={"http": {"path": "/" * 100_000}}), ["flag:truncated"]),
        _row("size.field", "mail address of 1,000", _event(actor={**actor, "email": "a" * 1000 + "@example.org"}), ["flag:truncated"]),
        _row("size.field", "id of a target of 5,000", _event(targets=[{"type": "t", "id": "i" * 5000}]), ["flag:truncated"]),
        _row("ip", "port", _event(context={"ip": "192.0.2.1:65535"}), ["flag:ip_port", "stored:/context/ip=192.0.2.1"]),
        _row("ip", "forwarded list", _event(context={"ip": "192.0.2.1, 198.51.100.1"}), ["flag:ip_invalid"]),
        _row("ip", "octal", _event(context={"ip": "0300.0250.1.1"}), ["flag:ip_invalid"]),
        _row("ip", "decimal", _event(context={"ip": "3232235777"}), ["flag:ip_invalid"]),
        _row("ip", "empty", _event(context={"ip": ""}), ["flag:ip_invalid"]),
        _row("ip", "long form", _event(context={"ip": "2001:0DB8:0000::0001"}), ["stored:/context/ip=2001:db8::1"]),
        _row("ip", "zone with markup", _event(context={"ip": "fe80::1%<b>"}), ["flag:ip_invalid"]),
        _row("time", "leap second", _event(occurred_at="2016-12-31T23:59:60Z"), ["flag:leap_second", "flag:backdated"]),
        _row("time", "sixty-four digits", _event(occurred_at="2026-06-01T12:00:00." + "9" * 64 + "Z"), ["flag:time_precision"]),
        _row("time.skew", "a day ahead", _event(occurred_at="{now+1d}"), ["flag:clock_skew"]),
        _row("time.skew", "four minutes ahead", _event(occurred_at="{now+4m}"), exact),
        _row("schema.ok", "the string false", _event(before="false", after=False), exact),
        _row("schema.ok", "before null, after missing", _event(before=None), exact),
        _row("schema.ok", "empty objects everywhere", _event(context={}, metadata={}, error={}, before={}, after=[]), []),
        _row("schema.ok", "nobody", _event(actor={"type": "anonymous"}), exact),
    ]  # fmt: skip


def _accepted_raw() -> list[dict[str, Any]]:
    """Numbers and spellings JSON allows and languages disagree about."""
    return [
        _row("json.number", "2^53", _metadata("9007199254740992"), ["flag:number_as_string"]),
        _row("json.number", "negative 2^64", _metadata("-18446744073709551616"), ["flag:number_as_string"]),
        _row("json.number", "1e308 times ten", _metadata("1e309"), ["flag:number_as_string"]),
        _row("json.number", "a million digits of exponent", _metadata("1e" + "9" * 1000), ["flag:number_as_string"]),
        _row("json.number", "seventeen digits", _metadata("0.12345678901234567"), []),
        _row("json.number", "eighteen digits", _metadata("0.123456789012345678"), ["flag:float_precision"]),
        _row("json.number", "minus zero", _metadata("-0"), []),
        _row("json.number", "thousand zeros", _metadata("0." + "0" * 1000), []),
        _row("json.syntax", "white space everywhere", {"body_text": "\n\t " + json.dumps(BASE_EVENT, indent="\t") + "\r\n "}, []),
        _row("json.syntax", "everything escaped", {"body_text": json.dumps(BASE_EVENT).replace("prompt", "\\u0070rompt")}, []),
    ]  # fmt: skip


def _hidden() -> list[dict[str, Any]]:
    """Secrets in places where people paste them."""
    gone = ["flag:redacted", "canary_absent_everywhere", "hmac_fingerprint_kept"]
    context = BASE_EVENT["context"]
    return [
        _row("secret", title, _event(**fields), gone)
        for title, fields in {
            "upper case with dashes": {"after": {"X-API-KEY": "CANARY"}},
            "full width letters": {"after": {"ｐａｓｓｗｏｒｄ": "CANARY"}},
            "zero width space in the name": {"after": {"pass\u200bword": "CANARY"}},
            "list under a secret name": {"before": {"secrets": ["CANARY", {"a": "CANARY"}]}},
            "number under a secret name": {"after": {"pin": 739118, "password": "CANARY"}},
            "PEM over lines": {"metadata": {"note": f"here: {_PEM}"}},
            "PEM with escaped lines": {"metadata": {"note": _PEM.replace("\n", "\\n")}},
            "JSON inside text": {"metadata": {"body": '{"user":"a","password":"CANARY"}'}},
            "JSON inside JSON inside text": {"metadata": {"body": json.dumps(json.dumps({"token": "CANARY"}))}},
            "header as a pair": {"metadata": {"headers": [["Authorization", "CANARY"]]}},
            "header as name and value": {"metadata": {"headers": [{"name": "cookie", "value": "CANARY"}]}},
            "password in a URL": {"after": {"url": "amqps://svc:CANARY@mq:5671/%2f"}},
            "token in the path": {"context": {**context, "http": {"path": "/cb?code=1&access_token=CANARY"}}},
            "key as a key": {"metadata": {"owners": {"sk-CANARY-aaaa1111bbbb": "ann"}}},
            "key as a name": {"actor": {**BASE_EVENT["actor"], "name": "ghp_CANARYaaaabbbbccccdddd1111eeee2222"}},
            "key in the error": {"error": {"message": "Incorrect API key provided: sk-CANARYaaaa1111bbbb2222"}},
            "our own key": {"metadata": {"used": "tst_r_CANARY_aaaabbbbcccc1111"}},
            "below 40 levels": {"after": json.loads('{"d":' * 40 + '{"password":"CANARY"}' + "}" * 40)},
            "beside NUL and half a pair": {"metadata": {"\0password": "CANARY\ud800"}},
            "form of a login": {"error": {"message": "POST user=ann&password=CANARY failed"}},
        }.items()
    ]  # fmt: skip


def _refused() -> list[dict[str, Any]]:
    """What a developer writes wrong."""
    actor = BASE_EVENT["actor"]
    named = ["error_names_field"]
    return [
        _row("schema", title, _event(**fields), named, code, 400)
        for title, code, fields in [
            ("action of blanks", "invalid_field", {"action": "   "}),
            ("action with a line feed at its end", "invalid_field", {"action": "a.b\n"}),
            ("action of 257", "invalid_field", {"action": "a" * 257}),
            ("action with a NUL", "invalid_field", {"action": "a\0"}),
            ("empty id of the actor", "invalid_field", {"actor": {"type": "user", "id": ""}}),
            ("actor as text", "invalid_field", {"actor": "ann"}),
            ("number beyond a double as id", "invalid_field", {"actor": {"type": "user", "id": 10**40}}),
            ("type in capitals", "invalid_field", {"actor": {**actor, "type": "User"}}),
            ("nine delegators", "invalid_field", {"actor": {**actor, "on_behalf_of": [{"type": "system"}] * 9}}),
            ("chain in a chain", "unknown_field", {"actor": {**actor, "on_behalf_of": [{"type": "system", "on_behalf_of": []}]}}),
            ("unknown field deep down", "unknown_field", {"context": {"http": {"verb": "GET"}}}),
            ("key with slash and tilde", "unknown_field", {"a/b~c": 1}),
            ("type of a target over 128", "invalid_field", {"targets": [{"type": "t" * 129, "id": "1"}]}),
            ("101 targets", "too_many_targets", {"targets": [{"type": "t", "id": "1"}] * 101}),
            ("status as text", "invalid_field", {"context": {"http": {"status": "200"}}}),
            ("position set", "server_owned_field", {"position": 0}),
            ("flags set", "server_owned_field", {"flags": []}),
            ("id in braces", "invalid_identifier", {"id": "{0192f0c1-2345-7abc-8def-0123456789a"}),
            ("id without dashes", "invalid_identifier", {"id": "0192f0c123457abc8def0123456789ab"}),
            ("time without a zone", "invalid_time", {"occurred_at": "2026-06-01T12:00:00"}),
            ("time with a blank", "invalid_time", {"occurred_at": "2026-06-01 12:00:00Z"}),
            ("thirtieth of February", "invalid_time", {"occurred_at": "2026-02-30T00:00:00Z"}),
            ("second 61", "invalid_time", {"occurred_at": "2026-06-01T12:00:61Z"}),
            ("before the year 1 in UTC", "invalid_time", {"occurred_at": "0001-01-01T00:00:00+01:00"}),
            ("Arabic digits", "invalid_time", {"occurred_at": "٢٠٢٦-06-01T12:00:00Z"}),
            ("epoch seconds", "invalid_time", {"occurred_at": 1780000000}),
        ]
    ]  # fmt: skip


def _refused_raw() -> list[dict[str, Any]]:
    """Bytes that are not one JSON object, or one too large."""
    event = json.dumps(BASE_EVENT)
    return [
        _row("json", title, {"body_text": text} if isinstance(text, str) else text, [], code, status)
        for title, text, code, status in [
            ("empty body", "", "invalid_json", 400),
            ("two documents", event + event, "invalid_json", 400),
            ("byte order mark", "\ufeff" + event, "invalid_json", 400),
            ("comment", "// x\n" + event, "invalid_json", 400),
            ("NaN", event.replace('"v": 1', '"v": NaN'), "invalid_json", 400),
            ("hexadecimal", event.replace('"v": 1', '"v": 0x10'), "invalid_json", 400),
            ("raw line feed in a text", event.replace("greeting", "gree\nting"), "invalid_json", 400),
            ("unknown escape", event.replace("greeting", "\\q"), "invalid_json", 400),
            ("cut in a text", event[: event.index("greeting") + 3], "invalid_json", 400),
            ("key twice, once by escape", event.replace('"v": 1', '"v": 1, "\\u0076": 2'), "duplicate_key", 400),
            ("key twice, blank before the colon", event.replace('"v": 1', '"v" : 1, "v"\t: 2'), "duplicate_key", 400),
            ("201 levels", event.replace('"v": 1', '"v": ' + "[" * 199 + "]" * 199), "too_deep", 400),
            ("a quarter of a million brackets", "[" * 250_000, "too_deep", 400),
            ("one byte over the limit", {"body_gen": {"kind": "pad_to", "bytes": 262_145}}, "event_too_large", 413),
            ("20,000 keys", {"body_gen": {"kind": "keys", "at": "/metadata", "n": 20_000}}, "event_too_large", 413),
        ]
    ]  # fmt: skip
