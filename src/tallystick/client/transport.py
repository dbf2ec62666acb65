"""Events over HTTP: one batch or one event up, what became of each of them down."""

from __future__ import annotations

import gzip
from collections.abc import Sequence
from typing import Any, Final

import msgspec
from msgspec import Struct

from tallystick.client.spool import Row
from tallystick.client.spool_numbers import Standing
from tallystick.errors import NotConfirmed, ServerRejected, TryLater

_GZIP_FROM_BYTES: Final = 1_024
_GZIP_LEVEL: Final = 3
TIMEOUT_SECONDS: Final = 30.0
RETRY_AFTER_SECONDS_MAX: Final = 600.0
# Only these say "never" about an event, and only in our own words: a proxy, a captive portal or a mistyped
# address answers 400 and 404 as well, and must not turn a spool into dead letters.
_REFUSALS: Final = frozenset({400, 409, 413})


class _Error(Struct, frozen=True):
    rule: str
    message: str
    path: str = ""
    retry: bool = False


class _Result(Struct, frozen=True):
    status: str
    renumbered: bool = False
    error: _Error | None = None


class _Answer(Struct, frozen=True):
    results: list[_Result]


class _Problem(Struct, frozen=True):
    rule: str
    detail: str
    path: str = ""


class Committed(Struct, frozen=True, kw_only=True):
    """The server has an event: its place in the log and the proof of it.

    `receipt` is a tlog-proof (C2SP): inclusion proof and signed checkpoint in one text.
    """

    id: str
    position: int
    received_at: str
    receipt: str
    durable: bool = True
    duplicate: bool = False
    renumbered: bool = False  # it is in the log under another number than the one it was sent with


class Settled(Struct, frozen=True):
    """What became of each event of a batch; `again` are to be sent once more."""

    done: list[Row]
    dead: list[tuple[Row, str, str]]
    again: list[Row]
    duplicates: int
    renumbered: Sequence[Row] = ()  # those of `done` that are in the log under another number


class Split(Struct, frozen=True):
    """The server took none of a batch for what the batch is; its halves may be another matter."""

    why: str


class Later(Struct, frozen=True):
    """Nobody knows whether anything was stored: send the same again, not before `after_seconds`."""

    why: str
    after_seconds: float = 0.0


class Transport:
    """Speaks to one server with one key; usable from several threads."""

    def __init__(self, url: str, api_key: str | None, *, timeout_seconds: float = TIMEOUT_SECONDS) -> None:
        import httpx2  # the larger part of what this package imports, and only sending needs it

        self._transport_error = httpx2.HTTPError
        headers = {"User-Agent": "tallystick-python", "Accept-Encoding": "gzip"}
        if api_key:
            headers["Authorization"] = f"Bearer {api_key}"
        timeout = httpx2.Timeout(timeout_seconds, connect=min(10.0, timeout_seconds))
        self._http = httpx2.Client(base_url=url, headers=headers, timeout=timeout, follow_redirects=False)

    def close(self) -> None:
        """Close the connections."""
        self._http.close()

    def send(self, rows: Sequence[Row]) -> Settled | Split | Later:
        """Send a batch; never raises for anything that a network or a server does."""
        answer = self._post("/v1/events:batch", b"[" + b",".join(row.event for row in rows) + b"]")
        if isinstance(answer, Later):
            return answer
        if answer.status_code == 200:
            return _settled(rows, answer.content)
        problem = _problem(answer)
        if problem is None or not _is_final(answer.status_code, problem):
            return _later(answer, problem)
        if len(rows) > 1:
            return Split(problem.detail)
        return Settled([], [(rows[0], problem.rule, problem.detail)], [], 0)

    def send_one(self, id: str, raw: bytes) -> Committed | Later:
        """Send one event and return its place in the log; ServerRejected when it will never have one."""
        answer = self._post("/v1/events", raw)
        if isinstance(answer, Later):
            return answer
        if answer.status_code in (200, 201):
            try:
                made = msgspec.json.decode(answer.content, type=dict[str, Any])
                return Committed(
                    id=id, position=made["position"], received_at=made["received_at"], receipt=made["receipt"],
                    duplicate=answer.status_code == 200, renumbered=bool(made.get("renumbered")),
                )  # fmt: skip
            except (msgspec.MsgspecError, KeyError):
                return Later("the answer is not that of a Tallystick server")
        problem = _problem(answer)
        if problem is None or not _is_final(answer.status_code, problem):
            return _later(answer, problem)
        raise ServerRejected(problem.detail, rule=problem.rule)

    def beat(self, standing: Standing, interval_seconds: float, *, timeout_seconds: float) -> bool:
        """Tell the server how far the numbers go; True when it has heard. 0 seconds: no sign of life is to be expected."""
        body = msgspec.json.encode(
            {
                "epoch": standing.epoch,
                "sequence": standing.last,
                "waiting_from": standing.waiting_from,
                "interval_seconds": interval_seconds,
            }
        )
        path = f"/v1/producers/{standing.producer}/heartbeat"
        headers = {"Content-Type": "application/json"}
        try:
            answer = self._http.put(path, content=body, headers=headers, timeout=timeout_seconds)
        except (self._transport_error, OSError):
            return False
        return answer.status_code == 200

    def _post(self, path: str, body: bytes) -> Any:
        headers = {"Content-Type": "application/json"}
        if len(body) >= _GZIP_FROM_BYTES:
            body = gzip.compress(body, _GZIP_LEVEL, mtime=0)
            headers["Content-Encoding"] = "gzip"
        try:
            return self._http.post(path, content=body, headers=headers)
        except self._transport_error as error:
            return Later(f"no answer ({type(error).__name__})")
        except OSError as error:
            return Later(f"no connection ({type(error).__name__})")


def _settled(rows: Sequence[Row], body: bytes) -> Settled | Later:
    try:
        results = msgspec.json.decode(body, type=_Answer).results
    except msgspec.MsgspecError:
        return Later("the answer is not that of a Tallystick server")
    if len(results) != len(rows):
        return Later(f"{len(rows)} events were sent and {len(results)} answered for")
    done: list[Row] = []
    dead: list[tuple[Row, str, str]] = []
    again: list[Row] = []
    renumbered: list[Row] = []
    duplicates = 0
    for row, result in zip(rows, results, strict=True):
        match result.status:
            case "created" | "quarantined":
                done.append(row)
            case "duplicate":
                done.append(row)
                duplicates += 1
                if result.renumbered:
                    renumbered.append(row)
            case "rejected" if result.error is not None and not result.error.retry:
                dead.append((row, result.error.rule, result.error.message))
            case _:  # to be tried again, or a word of a newer server: never taken for stored
                again.append(row)
    return Settled(done, dead, again, duplicates, renumbered)


def _problem(answer: Any) -> _Problem | None:
    if not answer.headers.get("content-type", "").startswith("application/problem+json"):
        return None
    try:
        return msgspec.json.decode(answer.content, type=_Problem)
    except msgspec.MsgspecError:
        return None


def _is_final(status: int, problem: _Problem) -> bool:
    """Tell whether an answer says "never" about what was sent, and not about who sent it or where to."""
    # A key bound to one workspace may not write to another: then the problem names a place in the event.
    return status in _REFUSALS or (status == 403 and problem.path != "")


def _later(answer: Any, problem: _Problem | None) -> Later:
    why = f"{answer.status_code}: {problem.detail}" if problem else f"the answer was {answer.status_code}"
    return Later(why, _retry_after(answer))


def _retry_after(answer: Any) -> float:
    """Return the seconds that `Retry-After` asks for: a number of them, or a date by the server's own clock."""
    text = answer.headers.get("retry-after", "")
    if text.isascii() and text.isdigit():
        return min(float(text), RETRY_AFTER_SECONDS_MAX)
    from email.utils import parsedate_to_datetime  # large, and hardly ever needed

    try:
        wait = parsedate_to_datetime(text) - parsedate_to_datetime(answer.headers["date"])
    except (ValueError, TypeError, KeyError):
        return 0.0
    return min(max(wait.total_seconds(), 0.0), RETRY_AFTER_SECONDS_MAX)


def raise_unconfirmed(later: Later | None) -> None:
    """Raise NotConfirmed for an event that is safe in the spool but has no place in the log yet."""
    why = later.why if later else "no server is configured"
    raise NotConfirmed(
        f"The server did not confirm in time ({why}). The event is in the spool and will be sent; do not record it "
        "again under another id.",
        retry_after_seconds=int(later.after_seconds) or 1 if later else 1,
    )


__all__ = ["Committed", "Later", "Settled", "Split", "Transport", "TryLater", "raise_unconfirmed"]
