"""Secrets recognised by what they look like: known key prefixes, JWT, PEM, URLs with passwords, cards.

`suspicious` is a cheap sieve that lets no text through which `find_secrets` would touch; only texts it
stops are searched with the patterns. Texts shorter than TEXT_MIN are never looked at.
Sources: the published key formats of each vendor; RFC 7519 (JWT), RFC 7468 (PEM), RFC 7617 (Basic),
RFC 6750 (Bearer), ISO/IEC 7812 (card numbers, Luhn).
"""

from __future__ import annotations

import binascii
import re
import sys
from bisect import bisect_right
from collections.abc import Iterator
from typing import Final

from tallystick.event.secret_names import is_counted, is_secret_name

TEXT_MIN: Final = 8  # characters of the shortest text that can hold a secret this module knows

# Needle → pattern of the secret that contains it. Each pattern either takes all it looked at or gives up
# after a bounded number of characters, so that no text makes the search slow.
_BODY: Final = r"[A-Za-z0-9_\-]"
_KEYS: Final[tuple[tuple[str, str], ...]] = (
    (
        "sk-",
        rf"(?<![A-Za-z0-9])sk-(?=[A-Za-z_\-]{{0,40}}[0-9]){_BODY}{{12,}}",
    ),  # OpenAI, Anthropic, Langfuse …
    ("sk-", r"(?<![A-Za-z0-9])sk-[A-Za-z]{20,}"),
    ("sk_", r"(?<![A-Za-z0-9])[sr]k_(?:live|test|prod)_[A-Za-z0-9]{10,}"),  # Stripe
    ("rk_", r"(?<![A-Za-z0-9])rk_(?:live|test|prod)_[A-Za-z0-9]{10,}"),
    ("whsec_", r"whsec_[A-Za-z0-9+/=]{16,}"),
    ("tst_", r"(?<![A-Za-z0-9])tst_[A-Za-z0-9_\-]{16,}"),  # our own
    ("gh", r"(?<![A-Za-z0-9])gh[opsur]_[A-Za-z0-9]{16,}"),  # GitHub
    ("github_pat_", r"github_pat_[A-Za-z0-9_]{20,}"),
    ("gl", rf"(?<![A-Za-z0-9])gl(?:pat|dt|rt|ptt|oas|cbt|ft|soat|agent|imt)-{_BODY}{{16,}}"),  # GitLab
    ("xox", r"xox[abeoprs]-[A-Za-z0-9\-]{10,}"),  # Slack
    ("xapp-", r"xapp-[0-9]-[A-Za-z0-9\-]{10,}"),
    ("hooks.slack.com", r"(?<=hooks\.slack\.com/services/)[A-Za-z0-9/]{20,}"),
    ("aiza", rf"AIza{_BODY}{{35}}"),  # Google
    ("ya29.", r"ya29\.[A-Za-z0-9_\-.]{20,}"),
    ("gocspx-", rf"GOCSPX-{_BODY}{{20,}}"),
    ("lsv2_", r"lsv2_[a-z]{2}_[A-Za-z0-9_]{16,}"),  # LangSmith
    ("ls__", r"(?<![A-Za-z0-9])ls__[A-Za-z0-9]{16,}"),
    ("hf_", r"(?<![A-Za-z0-9])hf_[A-Za-z0-9]{20,}"),  # Hugging Face
    ("npm_", r"(?<![A-Za-z0-9])npm_[A-Za-z0-9]{30,}"),
    ("pypi-", rf"pypi-{_BODY}{{16,}}"),
    ("sg.", r"(?<![A-Za-z0-9])SG\.[A-Za-z0-9_\-]{16,}\.[A-Za-z0-9_\-]{16,}"),  # SendGrid
    ("dop_v1_", r"do[opr]_v1_[a-f0-9]{32,}"),  # DigitalOcean
    ("shp", r"shp(?:at|ca|pa|ss)_[a-fA-F0-9]{32}"),  # Shopify
    ("sq0", rf"sq0[a-z]{{3}}-{_BODY}{{22,}}"),  # Square
    ("r8_", r"(?<![A-Za-z0-9])r8_[A-Za-z0-9]{30,}"),  # Replicate
    ("gsk_", r"(?<![A-Za-z0-9])gsk_[A-Za-z0-9]{20,}"),  # Groq
    ("xai-", r"(?<![A-Za-z0-9])xai-[A-Za-z0-9]{20,}"),
    ("pplx-", r"pplx-[A-Za-z0-9]{20,}"),
    ("nvapi-", rf"nvapi-{_BODY}{{20,}}"),
    ("hvs.", r"hv[bs]\.[A-Za-z0-9_\-]{20,}"),  # Vault
    ("glsa_", r"glsa_[A-Za-z0-9_]{20,}"),  # Grafana
    ("dapi", r"(?<![A-Za-z0-9])dapi[a-f0-9]{32}"),  # Databricks
    ("dckr_", rf"dckr_[a-z]{{3}}_{_BODY}{{20,}}"),  # Docker
    ("atatt3", r"ATATT3[A-Za-z0-9_\-=]{20,}"),  # Atlassian
    ("lin_api_", r"lin_api_[A-Za-z0-9]{20,}"),
    ("figd_", rf"figd_{_BODY}{{20,}}"),
    ("pmak-", r"PMAK-[a-f0-9\-]{20,}"),
    ("tskey-", r"tskey-[A-Za-z0-9\-]{16,}"),
    ("sntry", r"sntry[su]_[A-Za-z0-9+/=_\-]{20,}"),
    ("key-", r"(?<![A-Za-z0-9])key-[0-9a-f]{32}"),  # Mailgun
    ("age-secret-key-", r"AGE-SECRET-KEY-1[0-9A-Z]{20,}"),
    (":aa", r"(?<![0-9])[0-9]{8,10}:AA[A-Za-z0-9_\-]{32,}"),  # Telegram
)
# Identifiers of a key pair, not its secret half: hidden in free-form values, kept where they are an identity.
_KEY_IDS: Final[tuple[tuple[str, str], ...]] = tuple(
    (lead.lower(), rf"(?<![A-Za-z0-9]){lead}[A-Z2-7]{{16}}(?![A-Za-z0-9])")
    for lead in ("AKIA", "ASIA", "ABIA", "ACCA")
)
_begins_key: Final = re.compile(
    b"|".join(re.escape(needle.encode()) for needle in {needle for needle, _ in _KEYS + _KEY_IDS} | {"eyj"})
).search

_find_keys: Final = re.compile("|".join(p for _, p in _KEYS)).finditer
_find_runs: Final = re.compile(r"[A-Za-z0-9_\-.]{15,}").finditer
_find_private_keys: Final = re.compile(r"-----BEGIN [A-Z0-9 ]{0,40}PRIVATE KEY").finditer
_find_key_ids: Final = re.compile("|".join(p for _, p in _KEY_IDS)).finditer

_URL_PASSWORD: Final = re.compile(r"[A-Za-z][A-Za-z0-9+.\-]{1,30}://[^\s:/@?#\"']{0,256}:([^\s/\"']{1,512})@")
_BEARER: Final = re.compile(r"(?i:bearer)[\s:=]{1,3}([A-Za-z0-9._~+/=\-]{8,})")
_BASIC: Final = re.compile(r"(?i:basic)[\s:=]{1,3}([A-Za-z0-9+/\-_]{6,}={0,2})")
_ASSIGNED: Final = re.compile(
    r"""(?<![\w.\-])([\w.\-]{2,256})(?:\]|\\*["'])?(\s{0,3}(?:=>|:=|[=:>]|%3[AaDd])\s{0,3})"""
)
_ASSIGNED_WORDS: Final = (
    "pass", "pw", "secret", "token", "key", "auth", "cookie", "cred", "jwt", "mnemonic", "seed", "pin", "cv", "otp",
    "psk", "string", "code", "card", "sessid", "sas", "bearer", "assertion", "verifier", "pem", "pan", "ssn",
    "motdepasse", "kennwort", "contrase", "senha", "wachtwoord", "пароль", "密", "パスワード", "비밀",
)  # fmt: skip
_names_secret: Final = re.compile("|".join(map(re.escape, _ASSIGNED_WORDS))).search
_QUOTED: Final = re.compile(r"""(\\*)(["'])""")
_LINE_NAMES: Final = ("authorization", "cookie")
_LINE: Final = re.compile(r"[^\r\n\"'\\]{1,8192}")
_WORD: Final = re.compile(r"[^\s&;,\"'<>\\)}\]]{1,4096}")
# A text translated by one table shows its words of key characters, lower case; by the other its digits.
_WORDS: Final = bytes(
    ord(chr(c).lower()) if (c < 128 and chr(c).isalnum()) or c in b"_-.:" else 32 for c in range(256)
)
_DIGITS: Final = bytes(ord("0") if 48 <= c <= 57 else 32 for c in range(256))
_WORD_MIN: Final = 15  # characters of the shortest key, with its prefix
_CARD_GATE: Final = b"0" * 14
_HIDDEN_LEAD: Final = "[redacted:"  # what redaction itself leaves in a text is not hidden again
_HIDDEN: Final = re.compile(r"\[redacted:[A-Za-z0-9_\-]{16}\]")
_CARD: Final = re.compile(r"(?<![0-9A-Za-z])[0-9](?:[ \-]?[0-9]){13,18}(?![0-9A-Za-z])")


def suspicious(text: str) -> bool:
    """Tell whether `text` might hold something `find_secrets` finds; may be wrong only by saying yes."""
    low = text.lower()  # searching str is twice as fast as searching bytes
    if "bearer" in low or "basic" in low or "-----begin" in low:
        return True
    if (":" in low or "=" in low or ">" in low or "%3" in low) and (
        ("://" in low and "@" in low) or _names_secret(low)
    ):
        return True
    written = text.encode("utf-8", "replace")
    words = [word for word in written.translate(_WORDS).split() if len(word) >= _WORD_MIN]
    if words and _begins_key(b" ".join(words)):
        return True
    return _CARD_GATE in written.translate(_DIGITS, b" -")


def find_secrets(text: str, *, identity: bool = False) -> list[tuple[int, int]]:
    """Return the spans of `text` that are secrets, ordered and apart from each other.

    `identity`: the text names somebody or something (an id), where a key's public identifier may stand.
    """
    if len(text) < TEXT_MIN or not suspicious(text):
        return []
    spans = [m.span() for m in _find_keys(text)]
    if not identity:
        spans += [m.span() for m in _find_key_ids(text)]
    spans += _tokens(text)
    spans += _private_keys(text)
    spans += [m.span(1) for m in _URL_PASSWORD.finditer(text)]
    spans += [m.span(1) for m in _BEARER.finditer(text) if _is_credential(m[1])]
    spans += [m.span(1) for m in _BASIC.finditer(text) if _is_basic(m[1])]
    spans += _assigned(text)
    if not identity:
        spans += [m.span() for m in _CARD.finditer(text) if is_card_number(m[0])]
    if _HIDDEN_LEAD in text:
        hidden = [m.span() for m in _HIDDEN.finditer(text)]
        spans = [span for span in spans if not _inside(span, hidden)]
    return _apart(spans)


def _inside(span: tuple[int, int], others: list[tuple[int, int]]) -> bool:
    """Tell whether `span` lies within one of `others`, which are in order."""
    at = bisect_right(others, (span[0], sys.maxsize)) - 1
    return at >= 0 and span[1] <= others[at][1]


def is_card_number(text: str) -> bool:
    """Tell whether `text` is a payment card's number: issuer's prefix and length, and the Luhn digit."""
    digits = text.replace(" ", "").replace("-", "")
    if not (digits.isascii() and digits.isdigit()):
        return False
    two, four = int(digits[:2]), int(digits[:4])
    sixteen = (
        digits[0] == "4"
        or 51 <= two <= 55
        or 2221 <= four <= 2720
        or four == 6011
        or two == 65
        or 3528 <= four <= 3589
    )
    issued = (len(digits) == 16 and sixteen) or (len(digits) == 15 and two in (34, 37)) or (
        len(digits) == 14 and (two in (36, 38) or 300 <= int(digits[:3]) <= 305))  # fmt: skip
    return issued and _luhn(digits)


def _luhn(digits: str) -> bool:
    values = [int(digit) for digit in reversed(digits)]
    doubled = (value * 2 - 9 * (value > 4) for value in values[1::2])
    return (sum(values[0::2]) + sum(doubled)) % 10 == 0


def _is_credential(body: str) -> bool:
    """Tell a token after "Bearer" from a word of prose, which has no digit and is not long."""
    return len(body) >= 20 or any(character.isdigit() for character in body)


def _is_basic(body: str) -> bool:
    """Tell whether `body` is Base64 of `user:password` (RFC 7617)."""
    body = body.rstrip("=").replace("-", "+").replace("_", "/")
    try:
        return b":" in binascii.a2b_base64(body + "=" * (-len(body) % 4))
    except binascii.Error:
        return False


def _tokens(text: str) -> Iterator[tuple[int, int]]:
    """Yield the spans of JWTs and JWEs: `eyJ` (Base64 of `{"`), then parts with dots between them."""
    if "eyJ" not in text:
        return
    for run in _find_runs(text):
        start = run[0].find("eyJ")
        if start >= 0 and "." in run[0][start + 8 :]:
            yield run.start() + start, run.end()


def _private_keys(text: str) -> Iterator[tuple[int, int]]:
    """Yield the spans of PEM private keys, to the end of `text` where one has no end of its own."""
    reached = 0
    for match in _find_private_keys(text):
        if match.start() >= reached:
            end = text.find("-----END", match.end())
            close = text.find("-----", end + 8) if end >= 0 else -1
            reached = len(text) if close < 0 else close + 5
            yield match.start(), reached


def _assigned(text: str) -> Iterator[tuple[int, int]]:
    """Yield the spans of values assigned to secret names: `password=…`, `"token": "…"`, `<secret>…<`."""
    reached = 0
    for match in _ASSIGNED.finditer(text):
        if match.start() < reached or not is_secret_name(match[1]):
            continue
        span = _value_at(
            text, match.end(), to_line_end=":" in match[2] and match[1].lower().endswith(_LINE_NAMES)
        )
        if span:
            reached = span[1]
            value = text[span[0] : span[1]]
            if not (value.isdigit() and is_counted(match[1], int(value[:9]))):
                yield span


def _value_at(text: str, start: int, *, to_line_end: bool) -> tuple[int, int] | None:
    quote = _QUOTED.match(text, start)
    if quote:
        return quote.end(), _closing(text, quote.end(), quote[2], len(quote[1]))
    value = (_LINE if to_line_end else _WORD).match(text, start)
    return value.span() if value else None


def _closing(text: str, start: int, mark: str, slashes: int) -> int:
    """Return where the text quoted by `mark` behind so many backslashes ends; more of them escape the mark."""
    at = text.find(mark, start)
    while at >= 0:
        before = at
        while before > start and text[before - 1] == "\\" and at - before <= slashes:
            before -= 1
        if at - before <= slashes:
            return before
        at = text.find(mark, at + 1)
    return len(text)


def _apart(spans: list[tuple[int, int]]) -> list[tuple[int, int]]:
    """Return `spans` in order, overlapping and touching ones joined, empty ones left out."""
    joined: list[tuple[int, int]] = []
    for start, end in sorted(span for span in spans if span[0] < span[1]):
        if joined and start <= joined[-1][1]:
            joined[-1] = joined[-1][0], max(end, joined[-1][1])
        else:
            joined.append((start, end))
    return joined
