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


class _Made(NamedTuple):
    """What signs requests that differ in their methods and paths only, within a second.

    Attributes:
        second: of their time.
        headers: that are given.
        body: the hash of their body.
        credentials: that sign.
        covered: headers to send.
        lines: the end of a canonical request, behind its path.
        scope: what is signed, up to the request's hash.
        authorization: the header, up to the signature.
        key: that signs.
    """

    second: int
    headers: Mapping[str, str]
    body: str
    credentials: Any
    covered: Mapping[str, str]
    lines: str
    scope: str
    authorization: str
    key: bytes


class Signer:
    """Signs requests to one host for one region. Safe to share between threads."""

    def __init__(self, host: str, region: str, credentials: Callable[[], Any]) -> None:
        """`credentials` returns those of now: access_key, secret_key and token (None where there is none)."""
        self._host, self._region, self._credentials = host, region, credentials
        self._last: _Made | None = None
        self._last_key = _Key("", "", b"")

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
        wanted = (int(time.time() if now is None else now), headers, body, self._credentials())
        last = self._last
        if last is None or last[: len(wanted)] != wanted:  # of chunks that are read it mostly is the same
            self._last = last = self._made(*wanted)
        request = f"{method}\n{path}\n\n{last.lines}"
        text = f"{last.scope}{sha256(request.encode()).hexdigest()}"
        signature = hmac.digest(last.key, text.encode(), "sha256").hex()
        return {**last.covered, "Authorization": f"{last.authorization}{signature}"}

    def _made(self, second: int, headers: Mapping[str, str], body: str, found: Any) -> _Made:
        date = time.strftime("%Y%m%dT%H%M%SZ", time.gmtime(second))
        covered = {**headers, "host": self._host, "x-amz-content-sha256": body, "x-amz-date": date}
        if found.token:
            covered["x-amz-security-token"] = found.token
        names = sorted(covered)
        lines = "".join(f"{name}:{' '.join(covered[name].split())}\n" for name in names)
        signed_names = ";".join(names)
        del covered["host"]  # the connection sends it
        day = date[:8]
        scope = f"{day}/{self._region}/s3/aws4_request"
        return _Made(
            second,
            dict(headers),
            body,
            found,
            covered,
            f"{lines}\n{signed_names}\n{body}",
            f"AWS4-HMAC-SHA256\n{date}\n{scope}\n",
            f"AWS4-HMAC-SHA256 Credential={found.access_key}/{scope}, "
            f"SignedHeaders={signed_names}, Signature=",
            self._key(found.secret_key, day),
        )

    def _key(self, secret: str, day: str) -> bytes:
        last = self._last_key
        if (last.secret, last.day) != (secret, day):
            key = f"AWS4{secret}".encode()
            for part in (day, self._region, "s3", "aws4_request"):
                key = hmac.digest(key, part.encode(), "sha256")
            self._last_key = last = _Key(secret, day, key)
        return last.key
