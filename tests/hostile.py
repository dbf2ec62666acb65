"""The adapter for hostile requests: from the neutral shape of the shared sample to requests of ours.

One line of the sample is one case. `idempotency_key` there is our `id`, `{"events": […]}` our array, and
`{now-5s}`, `{secret:…}` are filled in here. Both the event room's tests and the HTTP tests read it.
"""

from __future__ import annotations

import base64
import gzip
import json
import random
import re
from collections.abc import Iterator
from dataclasses import dataclass, field
from datetime import datetime, timedelta, timezone
from functools import cached_property
from pathlib import Path
from typing import Any
from uuid import NAMESPACE_URL, uuid5

SECRETS = {
    "openai": "sk-proj-CANARY02aaaabbbbccccddddeeee",
    "query": "CANARY07-8f3a",
    "card": "4111111111111111",
}
BASE_EVENT: dict[str, Any] = {
    "actor": {"type": "user", "id": "u_1", "name": "Ann Example", "email": "ann@example.org"},
    "action": "prompt.update",
    "targets": [{"type": "prompt", "id": "p_1", "name": "greeting"}],
    "occurred_at": "{now-5s}",
    "context": {"ip": "192.0.2.10", "user_agent": "curl/8", "request_id": "r-1", "session_id": "s-1"},
    "before": {"v": 1},
    "after": {"v": 2},
    "metadata": {},
    "outcome": "success",
    "error": None,
}
_NOW = re.compile(r"\{now([+-]\d+)([smhd])(?:\|([^}]*))?\}")
_UNITS = {"s": "seconds", "m": "minutes", "h": "hours", "d": "days"}


@dataclass(frozen=True)
class Case:
    """One hostile request in our own shape, and what is expected of the answer."""

    id: str
    group: str
    surface: str
    title: str
    method: str
    path: str
    auth: str
    headers: dict[str, str | None]
    repeat: int
    accepted: bool
    statuses: tuple[int, ...]
    then: tuple[str, ...]
    code: str
    request: dict[str, Any] = field(repr=False)
    now: datetime = field(repr=False)

    @cached_property
    def body(self) -> bytes | None:
        """The body in our shape, None where the request has none; made when asked for, a bomb takes seconds."""
        return _body(self.request, self.now, accepted=self.accepted)


def read_cases(sample: Path, now: datetime) -> list[Case]:
    """Return every case of the sample, times filled in relative to `now`."""
    return [adapt(json.loads(line), now) for line in sample.read_text("utf-8").splitlines() if line]


def adapt(row: dict[str, Any], now: datetime) -> Case:
    """Return one row of the sample as a request of ours."""
    request, expect = row["request"], row["expect"]
    return Case(
        id=row["id"],
        group=row["group"],
        surface=row["surface"],
        title=row["desc"],
        method=request["method"],
        path=request["path"],
        auth=request["auth"],
        headers=request.get("headers", {}),
        repeat=request.get("repeat", 1),
        accepted=expect["class"].startswith(("accept", "duplicate")),
        statuses=tuple(expect["status"]),
        then=tuple(expect["then"]),
        code=expect.get("code", ""),
        request=request,
        now=now,
    )


def filled(text: str, now: datetime) -> str:
    """Return `text` with the times and secrets of the sample filled in."""
    for name, secret in SECRETS.items():
        text = text.replace("{secret:" + name + "}", secret)
    return _NOW.sub(lambda match: _moment(match, now), text)


def _moment(match: re.Match[str], now: datetime) -> str:
    moment = now + timedelta(**{_UNITS[match[2]]: int(match[1])})
    form = match[3] or ""
    if form.startswith("frac"):
        digits = int(form[4:])
        return moment.strftime("%Y-%m-%dT%H:%M:%S.") + "123456789123456789"[:digits] + "Z"
    if form:
        hours, minutes = map(int, form[1:].split(":"))
        offset = timedelta(hours=hours, minutes=minutes) * (-1 if form[0] == "-" else 1)
        moment = moment.astimezone(timezone(offset))
    return moment.isoformat(timespec="microseconds").replace("+00:00", "Z")


def _body(request: dict[str, Any], now: datetime, *, accepted: bool) -> bytes | None:
    if "body_b64" in request:
        raw = base64.b64decode(request["body_b64"])
        return _NOW_BYTES.sub(lambda match: filled(match[0].decode(), now).encode(), raw)
    if "body_text" in request:
        return filled(request["body_text"], now).encode()
    if "body_gen" in request:
        return filled_bytes(b"".join(_generated(request["body_gen"])), now)
    if request.get("body") is None:
        return None
    body = request["body"]
    if isinstance(body, dict) and "events" in body:
        body = [_ours(event, accepted=accepted) for event in body["events"]]
    # Lone surrogates stay escapes, as they came.
    return filled(json.dumps(_ours(body, accepted=accepted)), now).encode()


_NOW_BYTES = re.compile(rb"\{now[^}]*\}")


def filled_bytes(raw: bytes, now: datetime) -> bytes:
    """Return `raw` with the times filled in; what is no text (gzip) is left alone."""
    return (
        raw
        if raw.startswith(b"\x1f\x8b")
        else _NOW_BYTES.sub(lambda m: filled(m[0].decode(), now).encode(), raw)
    )


def _ours(event: Any, *, accepted: bool) -> Any:
    """Return an event of the neutral shape as ours: `idempotency_key` becomes `id`, a UUID if it may be one."""
    if not isinstance(event, dict) or "idempotency_key" not in event:
        return event
    event = dict(event)
    key = event.pop("idempotency_key")
    event["id"] = str(uuid5(NAMESPACE_URL, key)) if accepted else key
    return event


def _generated(recipe: dict[str, Any]) -> Iterator[bytes]:
    """Yield the parts of a body that the sample only describes."""
    match recipe["kind"]:
        case "nest":
            nested = recipe["open"] * recipe["n"] + recipe["close"] * recipe["n"]
            yield _with_raw(recipe["at"], nested).encode()
        case "keys":
            yield _with(recipe["at"], {f"k{index}": index for index in range(recipe["n"])})
        case "string":
            letters = random.Random(7)
            yield _with(
                recipe["at"], "".join(letters.choices("abcdefghijklmnopqrstuvwxyz0123456789", k=recipe["n"]))
            )
        case "pad_to":
            event = _filled_base()
            event["metadata"] = {"pad": ""}
            size = len(json.dumps(event))
            event["metadata"] = {"pad": "x" * (recipe["bytes"] - size)}
            yield json.dumps(event).encode()
        case "targets":
            yield _with("/targets", [{"type": "t", "id": str(index)} for index in range(recipe["n"])])
        case "gzip":
            for _ in range(recipe.get("members", 1)):
                yield gzip.compress(json.dumps(_filled_base()).encode())
        case "gzip_bomb":
            yield _bomb(recipe["bytes"])
        case "batch":
            bad = {**BASE_EVENT, "actor": {"type": "user"}}
            yield json.dumps([bad] * recipe["bad"] + [BASE_EVENT] * (recipe["n"] - recipe["bad"])).encode()
        case "ndjson":
            yield from _lines(recipe)
        case other:
            raise ValueError(f"no recipe for {other}")


def _lines(recipe: dict[str, Any]) -> Iterator[bytes]:
    end = b"\r\n\r\n" if recipe.get("crlf") else b"\n"
    for index in range(recipe["n"]):
        yield (b'{"actor": ' if index in recipe.get("broken", ()) else json.dumps(BASE_EVENT).encode()) + end


def _bomb(size: int) -> bytes:
    """Return gzip of `size` zero bytes without ever holding them; the sample's GiB becomes about a MiB."""
    import zlib

    packer = zlib.compressobj(9, zlib.DEFLATED, 31)
    chunk = bytes(1 << 20)
    return b"".join(packer.compress(chunk) for _ in range(size >> 20)) + packer.flush()


def _filled_base() -> dict[str, Any]:
    # A time of fixed length, so that padding to an exact size stays exact.
    return {**BASE_EVENT, "occurred_at": "2026-06-01T12:00:00Z"}


def _with(pointer: str, value: Any) -> bytes:
    return _with_raw(pointer, json.dumps(value)).encode()


def _with_raw(pointer: str, written: str) -> str:
    """Return the ordinary event with the JSON text `written` at `pointer`."""
    event = json.loads(json.dumps(BASE_EVENT))
    *above, last = pointer.strip("/").split("/")
    place: Any = event
    for step in above:
        place = place[int(step)] if isinstance(place, list) else place[step]
    place[last] = "@@here@@"
    return json.dumps(event).replace('"@@here@@"', written)
