"""What both clients have in common: where to ask, how filters are written, what an answer means."""

from __future__ import annotations

from collections.abc import Iterator, Sequence
from typing import Any, Final, NamedTuple, NoReturn

from tallystick.client.settings import address_and_key
from tallystick.errors import Forbidden, Misconfigured, NotFound, Refused, TryLater, Unauthorized

PAGE: Final = 1_000
RECONNECT_SECONDS: Final = 1.0
_STREAM_SILENCE_SECONDS: Final = 60.0  # the server says something every 15
_ERRORS: Final[dict[int, type[Refused | Forbidden | NotFound | Unauthorized]]] = {
    401: Unauthorized, 403: Forbidden, 404: NotFound,
}  # fmt: skip
Filter = str | int | Sequence[str]
Pairs = list[tuple[str, str | int | float | bool | None]]


class Opened(NamedTuple):
    """Where to ask, and what with."""

    url: str
    headers: dict[str, str]
    timeout: Any
    live: Any  # for what stays open: the server speaks rarely
    network_error: type[Exception]


def opened(url: str | None, api_key: str | None) -> Opened:
    """Return where to ask, from the environment where nothing was given; Misconfigured when neither says."""
    import httpx2

    url, api_key = address_and_key(url, api_key)
    if not url or not api_key:
        raise Misconfigured(
            "reading needs a server and a key: give url and api_key, or set TALLYSTICK_URL and TALLYSTICK_API_KEY"
        )
    headers = {"Authorization": f"Bearer {api_key}", "User-Agent": "tallystick-python"}
    live = httpx2.Timeout(_STREAM_SILENCE_SECONDS, connect=10)
    return Opened(url, headers, httpx2.Timeout(120, connect=10), live, httpx2.HTTPError)


def pairs(filters: dict[str, Filter], **more: Filter) -> Pairs:
    """Return filters as they stand in an address; `from_` is `from`, which Python does not allow as a name."""
    return [(name.rstrip("_"), one) for name, value in {**filters, **more}.items() for one in _each(value)]


def _each(value: Filter) -> Iterator[str]:
    if isinstance(value, str | int):
        yield str(value)
    else:
        yield from map(str, value)


def unanswered(error: Exception) -> TryLater:
    """Return what to raise where no answer came."""
    return TryLater(f"No answer from the server ({type(error).__name__}); nothing was changed, try again.")


def raise_for(answer: Any) -> NoReturn:
    """Raise the error that an answer of 400 or above stands for."""
    try:
        problem = answer.json()
        detail, rule, path = problem["detail"], problem["rule"], problem.get("path", "")
    except (ValueError, KeyError, TypeError):
        detail, rule, path = f"The server answered {answer.status_code}.", "http", ""
    if answer.status_code >= 500 or answer.status_code in (408, 429):
        raise TryLater(detail)
    raise _ERRORS.get(answer.status_code, Refused)(detail, path=path, rule=rule)
