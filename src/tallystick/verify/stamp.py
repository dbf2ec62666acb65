"""Time stamps of authorities (RFC 3161): that a checkpoint of the instance log existed before a moment.

The only module of the room that needs `rfc3161-client`, and only when a stamp is checked. A kept stamp is a text of ours:

    tallystick/time-stamp@v1
    authority NAME
    answer <TimeStampResp in base64>

    <the stamped checkpoint, or the anchor (tlog-proof@v1) of an organization's checkpoint under it>
"""

from __future__ import annotations

from datetime import UTC, datetime
from types import ModuleType
from typing import Final

from msgspec import Struct

from tallystick.errors import Misconfigured, Refused, Tampered
from tallystick.merkle.note import decode_base64, encode_base64

STAMP_HEADER: Final = "tallystick/time-stamp@v1"
ANSWER_BYTES_MAX: Final = 64 << 10
NAME_CHARS_MAX: Final = 200


class Stamp(Struct, frozen=True):
    """A stamp as it was kept, unchecked: the authority's name, its answer in DER, and what stands below."""

    authority: str
    answer: bytes
    below: str

    def format(self) -> str:
        """Return the text to keep."""
        return (
            f"{STAMP_HEADER}\nauthority {self.authority}\nanswer {encode_base64(self.answer)}\n\n{self.below}"
        )


def parse_stamp(text: str) -> Stamp:
    """Read a kept stamp without checking it; raises Refused for any other text."""
    head, blank, below = text.partition("\n\n")
    lines = head.split("\n")
    if len(lines) != 3 or lines[0] != STAMP_HEADER or not blank or not below:
        raise _malformed("it has not the form that docs/reference/policy.md describes")
    name, encoded = lines[1].removeprefix("authority "), lines[2].removeprefix("answer ")
    answer = decode_base64(encoded)
    if name == lines[1] or not 0 < len(name) <= NAME_CHARS_MAX or encoded == lines[2]:
        raise _malformed("its lines must be: authority NAME, answer BASE64")
    if answer is None or not 0 < len(answer) <= ANSWER_BYTES_MAX:
        raise _malformed(f"its answer is not 1 to {ANSWER_BYTES_MAX} bytes in base64")
    return Stamp(name, answer, below)


def stamped_at(answer: bytes, text: bytes, root: bytes, *, nonce: int | None = None) -> datetime:
    """Return the moment before which `text` existed, by the authority whose root certificate in DER is `root`.

    `answer` is its TimeStampResp in DER; with `nonce` it must be the one of our request. Raises Tampered when the answer
    is not the authority's over `text`, Refused when it or the certificate cannot be read, Misconfigured without
    `rfc3161-client`. The certificate must have been valid at the stamped moment, not now.
    """
    client = _client()
    from cryptography import x509

    try:
        parsed = client.decode_timestamp_response(answer)
        certificate = x509.load_der_x509_certificate(root)
    except ValueError as error:
        raise Refused(
            f"the time stamp or the authority's certificate cannot be read: {error}", rule="stamp"
        ) from None
    builder = client.VerifierBuilder().add_root_certificate(certificate)
    if nonce is not None:
        builder = builder.nonce(nonce)
    try:
        builder.build().verify_message(parsed, text)
        return parsed.tst_info.gen_time.astimezone(UTC)
    except (client.VerificationError, ValueError) as error:
        raise Tampered(
            f"the time stamp is not the authority's over this checkpoint: {error}", rule="stamp"
        ) from None


def _client() -> ModuleType:
    try:
        import rfc3161_client
    except ImportError:
        raise Misconfigured(
            "time stamps need the package rfc3161-client: install tallystick[timestamps]",
            rule="missing_package",
        ) from None
    return rfc3161_client


def _malformed(why: str) -> Refused:
    return Refused(f"this is not a kept time stamp: {why}", rule="stamp")
