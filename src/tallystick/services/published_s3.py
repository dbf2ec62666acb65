"""Publishing to S3 and what speaks its protocol, with Object Lock where it is wanted. Needs the extra `s3`."""

from __future__ import annotations

from collections.abc import Callable
from datetime import datetime, timedelta
from types import ModuleType
from typing import Any
from urllib.parse import urlsplit

from tallystick.errors import AuditError, Misconfigured, TryLater
from tallystick.services.publishing import other_bytes

_ABSENT = ("NoSuchKey", "404", "NotFound")
_EXISTS = ("PreconditionFailed", "ConditionalRequestConflict", "412", "409")


class Bucket:
    """A bucket's part under a prefix.

    With `lock_days` each object is locked in compliance mode: until then nobody, the account's owner included, can remove or
    replace this version of it. The bucket must have been made with Object Lock.
    """

    def __init__(
        self, client: Any, bucket: str, prefix: str, *, now: Callable[[], datetime], lock_days: int = 0
    ) -> None:
        self._client = client
        self._bucket = bucket
        self._prefix = prefix
        self._lock_days = lock_days
        self._now = now

    @classmethod
    def open(cls, address: str, *, now: Callable[[], datetime], lock_days: int) -> Bucket:
        """Open `s3://bucket/prefix` with the usual settings of the AWS SDK (environment, profile, role)."""
        parts = urlsplit(address)
        if not parts.netloc:
            raise Misconfigured(f"{address!r} names no bucket. Write s3://bucket/prefix.")
        prefix = parts.path.strip("/")
        try:
            client = _boto3().client("s3")
        except Exception as error:
            raise _classify(error) from error
        return cls(client, parts.netloc, f"{prefix}/" if prefix else "", now=now, lock_days=lock_days)

    def read(self, path: str) -> bytes | None:
        """Return an object's bytes, None when it is not there."""
        try:
            return self._client.get_object(Bucket=self._bucket, Key=self._prefix + path)["Body"].read()
        except Exception as error:
            if _code(error) in _ABSENT:
                return None
            raise _classify(error) from error

    def write(self, path: str, content: bytes, *, immutable: bool) -> bool:
        """Write an object; an immutable one only where there is none, which the service itself makes sure of."""
        if not immutable and self.read(path) == content:
            return False
        wish: dict[str, Any] = {
            "Bucket": self._bucket, "Key": self._prefix + path, "Body": content,
            "ContentType": "application/octet-stream" if immutable else "text/plain; charset=utf-8",
            "CacheControl": "max-age=31536000, immutable" if immutable else "max-age=5",
        }  # fmt: skip
        if immutable:
            wish["IfNoneMatch"] = "*"
        if self._lock_days:
            wish |= self._lock()
        try:
            self._client.put_object(**wish)
        except Exception as error:
            if immutable and _code(error) in _EXISTS:
                if self.read(path) == content:
                    return False
                raise other_bytes(path) from error
            raise _classify(error) from error
        return True

    def _lock(self) -> dict[str, Any]:
        until = self._now() + timedelta(days=self._lock_days)
        return {
            "ObjectLockMode": "COMPLIANCE", "ObjectLockRetainUntilDate": until, "ChecksumAlgorithm": "SHA256",
        }  # fmt: skip


def _code(error: Exception) -> str:
    response = getattr(error, "response", None)
    return str(response.get("Error", {}).get("Code", "")) if isinstance(response, dict) else ""


def _classify(error: Exception) -> AuditError:
    if isinstance(error, AuditError):
        return error
    code, name = _code(error), type(error).__name__
    if (
        code in ("AccessDenied", "InvalidAccessKeyId", "SignatureDoesNotMatch", "NoSuchBucket")
        or "Credential" in name
    ):
        return Misconfigured(
            f"S3 refused: {code or name}. Check the bucket's name and the credentials. Nothing was published."
        )
    return TryLater(
        f"S3 did not take it: {code or name}. What was published before is still there.",
        retry_after_seconds=60,
    )


def _boto3() -> ModuleType:
    try:
        import boto3
    except ImportError:
        raise Misconfigured("Publishing to S3 needs the package boto3: install tallystick[s3].") from None
    return boto3
