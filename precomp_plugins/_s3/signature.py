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

_BLOCK = 64  # bytes, of SHA-256
UNSIGNED = "UNSIGNED-PAYLOAD"
"""Stands for the hash of a body that the signature does not cover."""


class _Key(NamedTuple):
    """What signs for a day, and what it was made from."""

    secret: str
    day: str
    key: bytes


class _Moment(NamedTuple):
    """What signs requests within a second.

    Attributes:
        second: of their time.
        credentials: that sign.
        date: as a header has it.
        scope: what is signed, up to the request's hash.
        authorization: the header, up to the names of what is signed.
        pads: of the key that signs, see `_pads`.
    """

    second: int
    credentials: Any
    date: str
    scope: str
    authorization: str
    pads: tuple[bytes, bytes]


class _Made(NamedTuple):
    """What is signed of requests that differ in their methods and paths only.

    Attributes:
        moment: of their time.
        headers: that are given.
        body: the hash of their body.
        covered: headers to send.
        lines: the end of a canonical request, behind its path.
        authorization: the header, up to the signature.
    """

    moment: _Moment
    headers: Mapping[str, str]
    body: str
    covered: Mapping[str, str]
    lines: str
    authorization: str


class Signer:
    """Signs requests to one host for one region. Safe to share between threads."""

    def __init__(self, host: str, region: str, credentials: Callable[[], Any]) -> None:
        """`credentials` returns those of now: access_key, secret_key and token (None where there is none)."""
        self._host, self._region, self._credentials = host, region, credentials
        self._moment: _Moment | None = None
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
        second, found = int(time.time() if now is None else now), self._credentials()
        moment, last = self._moment, self._last
        if moment is None or moment.second != second or moment.credentials != found:
            self._moment = moment = self._begun(second, found)
        # Of chunks that are read the headers mostly are the same.
        if last is None or last.moment is not moment or last.body != body or last.headers != headers:
            self._last = last = self._made(moment, headers, body)
        request = f"{method}\n{path}\n\n{last.lines}"
        text = f"{moment.scope}{sha256(request.encode()).hexdigest()}"
        inner, outer = moment.pads
        signature = sha256(outer + sha256(inner + text.encode()).digest()).hexdigest()
        return {**last.covered, "Authorization": f"{last.authorization}{signature}"}

    def _begun(self, second: int, found: Any) -> _Moment:
        date = time.strftime("%Y%m%dT%H%M%SZ", time.gmtime(second))
        day = date[:8]
        scope = f"{day}/{self._region}/s3/aws4_request"
        return _Moment(
            second,
            found,
            date,
            f"AWS4-HMAC-SHA256\n{date}\n{scope}\n",
            f"AWS4-HMAC-SHA256 Credential={found.access_key}/{scope}, SignedHeaders=",
            _pads(self._key(found.secret_key, day)),
        )

    def _made(self, moment: _Moment, headers: Mapping[str, str], body: str) -> _Made:
        covered = {**headers, "host": self._host, "x-amz-content-sha256": body, "x-amz-date": moment.date}
        if moment.credentials.token:
            covered["x-amz-security-token"] = moment.credentials.token
        names = sorted(covered)
        lines = "".join([f"{name}:{_canonical(covered[name])}\n" for name in names])
        signed_names = ";".join(names)
        del covered["host"]  # the connection sends it
        return _Made(
            moment,
            dict(headers),
            body,
            covered,
            f"{lines}\n{signed_names}\n{body}",
            f"{moment.authorization}{signed_names}, Signature=",
        )

    def _key(self, secret: str, day: str) -> bytes:
        last = self._last_key
        if (last.secret, last.day) != (secret, day):
            key = f"AWS4{secret}".encode()
            for part in (day, self._region, "s3", "aws4_request"):
                key = hmac.digest(key, part.encode(), "sha256")
            self._last_key = last = _Key(secret, day, key)
        return last.key


def _pads(key: bytes) -> tuple[bytes, bytes]:
    """Return what HMAC (RFC 2104) puts before a text, and before the hash of both.

    The module hmac lets another thread run in between, and takes four times as long.
    """
    block = key.ljust(_BLOCK, b"\0")
    return bytes(byte ^ 0x36 for byte in block), bytes(byte ^ 0x5C for byte in block)


def _canonical(value: str) -> str:
    return " ".join(value.split()) if " " in value else value
