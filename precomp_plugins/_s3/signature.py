"""Signatures of requests to S3: AWS Signature Version 4, as its header Authorization.

By https://docs.aws.amazon.com/AmazonS3/latest/API/sig-v4-header-based-auth.html. boto3 makes the same ones,
but takes a fifth of a millisecond for each, as long as a chunk is under way. The credentials are boto3's.
"""

import hmac
import time
from collections.abc import Callable, Mapping
from hashlib import sha256
from typing import Any, NamedTuple

__all__ = ["UNSIGNED", "Signer"]

UNSIGNED = "UNSIGNED-PAYLOAD"
"""Stands for the hash of a body that the signature does not cover."""


class _Key(NamedTuple):
    """What signs for a day, and what it was made from."""

    secret: str
    day: str
    key: bytes


class Signer:
    """Signs requests to one host for one region. Safe to share between threads."""

    def __init__(self, host: str, region: str, credentials: Callable[[], Any]) -> None:
        """`credentials` returns those of now: access_key, secret_key and token (None where there is none)."""
        self._host, self._region, self._credentials = host, region, credentials
        self._last = _Key("", "", b"")

    def signed(
        self, method: str, path: str, headers: Mapping[str, str], body: str, now: float | None = None
    ) -> dict[str, str]:
        """Return `headers` and those that sign them.

        Args:
            method: of the request.
            path: as it is sent, quoted; without a query.
            headers: all that the signature is to cover, names in lower case, besides the host.
            body: the SHA-256 of the body in hexadecimal, or UNSIGNED.
            now: seconds since 1970, the time of the request; None means the present.
        """
        found = self._credentials()
        date = time.strftime("%Y%m%dT%H%M%SZ", time.gmtime(now))
        covered = {**headers, "host": self._host, "x-amz-content-sha256": body, "x-amz-date": date}
        if found.token:
            covered["x-amz-security-token"] = found.token
        names = sorted(covered)
        lines = "".join(f"{name}:{' '.join(covered[name].split())}\n" for name in names)
        signed_names = ";".join(names)
        request = f"{method}\n{path}\n\n{lines}\n{signed_names}\n{body}"
        day = date[:8]
        scope = f"{day}/{self._region}/s3/aws4_request"
        text = f"AWS4-HMAC-SHA256\n{date}\n{scope}\n{sha256(request.encode()).hexdigest()}"
        signature = hmac.digest(self._key(found.secret_key, day), text.encode(), "sha256").hex()
        del covered["host"]  # the connection sends it
        covered["Authorization"] = (
            f"AWS4-HMAC-SHA256 Credential={found.access_key}/{scope}, "
            f"SignedHeaders={signed_names}, Signature={signature}"
        )
        return covered

    def _key(self, secret: str, day: str) -> bytes:
        last = self._last
        if (last.secret, last.day) != (secret, day):
            key = f"AWS4{secret}".encode()
            for part in (day, self._region, "s3", "aws4_request"):
                key = hmac.digest(key, part.encode(), "sha256")
            self._last = last = _Key(secret, day, key)
        return last.key
