"""Requests for single objects: what is sent, signed, and what the answers mean.

boto3 takes 2 ms of Python for each. Where a service keeps CRC32C checksums, as Amazon's does, no byte that
changes on the way or on a disk gets through: it is told the checksum of what it is to store, and tells it
with what it sends.
"""

import re
import zlib
from base64 import b64encode
from collections.abc import Mapping
from functools import partial
from hashlib import sha256
from urllib.parse import quote, urlsplit

from precomp.interfaces import Blob, Buffer, ByteRange, Condition
from precomp.retry import Limits, retry_after
from precomp_plugins._s3.account import Account, Address
from precomp_plugins._s3.answers import Answer
from precomp_plugins._s3.signature import UNSIGNED, Signer
from precomp_plugins._wire import answers as wire
from precomp_plugins._wire.ahead import Sent
from precomp_plugins._wire.checksum import crc32c
from precomp_plugins._wire.connections import Connections
from precomp_plugins._wire.headers import content_span, encoding_of
from precomp_plugins._wire.proxies import stays_here

__all__ = ["MARK", "ObjectRequests"]

MARK = "precomp-write"
"""The name of the metadata by which a conditional write knows its own object again."""

_BY_DEFAULT = "application/octet-stream"
_NOTHING = sha256(b"").hexdigest()
_CHECKSUM = "x-amz-checksum-crc32c"
_PLAIN = {"Accept-Encoding": "identity"}  # else something on the way may pack it
_CODE = re.compile(r"<Code>(\w+)</Code>")
_MESSAGE = re.compile(r"<Message>(.*?)</Message>", re.DOTALL)
_LONGEST_TEXT = 2**16  # bytes


class ObjectRequests:
    """Single requests for the objects of a bucket. Each raises Answer where S3 does not say yes.

    Attributes:
        checks: whether checksums are sent and asked for, which not all compatible services understand.
        covers: whether signatures cover all bodies, and not only those that need it.
    """

    def __init__(
        self, account: Account, address: Address, connections: Connections, payer: str | None
    ) -> None:
        """`payer` is what says in a header that the requester pays."""
        endpoint = urlsplit(address.endpoint)
        folder = endpoint.path.rstrip("/")
        self._bucket, self._connections = account.bucket, connections
        self._front = f"{endpoint.scheme}://{endpoint.netloc}"
        self._folder = folder if address.virtual else f"{folder}/{quote(account.bucket, safe='')}"
        self._in_clear = endpoint.scheme == "http"
        self._here = self._in_clear and stays_here(self._front)
        self._common = {"x-amz-request-payer": payer} if payer else {}
        self._signer: Signer | None = None
        if account.origin is not None:
            self._signer = Signer(endpoint.netloc, address.region, account.signing())
        self.checks, self.covers = True, False

    def get(
        self,
        limits: Limits,
        key: str,
        part: ByteRange | None,
        version: str | None = None,
        *,
        loose: bool = False,
    ) -> Blob:
        """Return an object or a part of it, if it still has `version`.

        `loose`: the part starts with the object and mostly holds all of it, which is asked for, as the
        checksum is told only then.
        """
        headers = self._reading(part, loose=loose)
        if version is not None:
            headers["if-match"] = version
        with self._answered(limits, "GET", key, headers) as answer:
            if answer.length is None and "transfer-encoding" not in answer.headers:
                raise Answer(None, message="the answer does not say how long the object is")
            if answer.status == 206:
                data, _ = answer.whole(None)
                size = _size_of_all(answer.header("content-range"), part or ByteRange(0, 0), len(data))
            else:  # ranges may be ignored
                data, size = answer.whole(part)
        if size == len(data):
            _check(answer, data)
        return _blob(answer, data, None if part is None else size)

    def ask(self, limits: Limits, key: str, part: ByteRange | None, *, loose: bool) -> Sent | None:
        """Send now what `get` will send; see Connections.ask."""
        headers, path = self._reading(part, loose=loose), self._path(key)
        seal = partial(self._sealed, "GET", path, None)
        return self._connections.ask(self._front + path, headers, limits, seal)

    @property
    def is_near(self) -> bool:
        """Whether `ask` sends something."""
        return self._connections.is_near(self._front)

    def head(self, limits: Limits, key: str) -> tuple[Blob, str | None]:
        """Return what is known of an object, without its bytes but with its size, and its mark."""
        with self._answered(limits, "HEAD", key, dict(self._common)) as answer:
            answer.read()  # nothing
        if answer.length is None:
            raise Answer(None, message="the answer does not say how long the object is")
        return _blob(answer, b"", answer.length), answer.header(f"x-amz-meta-{MARK}")

    def put(
        self, limits: Limits, key: str, blob: Blob, condition: Condition | None, mark: str | None
    ) -> str | None:
        """Store an object, with a mark if there is one, and return its version."""
        headers = {**self._common, "content-type": blob.content_type or _BY_DEFAULT}
        if mark is not None:
            headers[f"x-amz-meta-{MARK}"] = mark
        if blob.content_encoding is not None:
            headers["content-encoding"] = blob.content_encoding
        if blob.cache_control is not None:
            headers["cache-control"] = blob.cache_control
        if condition is not None and condition.version is None:
            headers["if-none-match"] = "*"
        elif condition is not None and condition.version is not None:
            headers["if-match"] = condition.version
        checksum = crc32c(blob.data) if self.checks else None
        if checksum is not None:
            headers[_CHECKSUM] = checksum
        with self._answered(limits, "PUT", key, headers, memoryview(blob.data).cast("B")) as answer:
            answer.drain()
        version = answer.header("etag")
        if version is None:  # whoever answered, it was not S3
            raise Answer(None, message="the answer has no ETag, so that it is not known to be stored")
        return version

    def _answered(
        self,
        limits: Limits,
        method: str,
        key: str,
        headers: Mapping[str, str],
        body: memoryview | None = None,
    ) -> wire.Answer:
        """Send a request, and return its answer where that is a yes."""
        path = self._path(key)
        answer = self._connections.send(
            f"s3://{self._bucket}/{key}",
            method,
            self._front + path,
            headers,
            limits,
            None if body is None else (body,),
            partial(self._sealed, method, path, body),
        )
        if answer.status in (200, 206):
            return answer
        with answer:
            text = bytes(answer.read(_LONGEST_TEXT)).decode("utf-8", "replace")
            code, message = _CODE.search(text), _MESSAGE.search(text)
            pause = retry_after(answer.header("retry-after"))
        raise Answer(answer.status, code[1] if code else "", message[1] if message else "", pause)

    def _reading(self, part: ByteRange | None, *, loose: bool) -> dict[str, str]:
        headers = dict(self._common)
        if part is not None and not loose:
            headers["range"] = f"bytes={part.start}-{part.stop - 1}"
        elif self.checks:
            headers["x-amz-checksum-mode"] = "ENABLED"
        return headers

    def _path(self, key: str) -> str:
        return f"{self._folder}/{quote(key, safe='/~')}"

    def _sealed(
        self, method: str, path: str, body: memoryview | None, headers: Mapping[str, str]
    ) -> Mapping[str, str]:
        """Return the headers with all that is sent beside them: the signature first of all."""
        if self._signer is not None:
            covered = _NOTHING
            if body is not None:
                covered = sha256(body).hexdigest() if self._covers_body(headers) else UNSIGNED
            headers = self._signer.signed(method, path, headers, covered)
        return {**_PLAIN, **headers}

    def _covers_body(self, headers: Mapping[str, str]) -> bool:
        """Whether the signature has to guard a body. TLS does, and a checksum where nobody is on the way."""
        return self.covers or (self._in_clear and not (self._here and _CHECKSUM in headers))


def _check(answer: wire.Answer, data: Buffer) -> None:
    """Compare a whole object with its checksum, where there is one. Raises Answer."""
    expected, found = answer.header(_CHECKSUM), None
    if expected is not None:
        found = crc32c(data)
    else:
        expected = answer.header("x-amz-checksum-crc32")  # as boto3 and Amazon's own tools store it
        if expected is not None:
            found = b64encode(zlib.crc32(data).to_bytes(4, "big")).decode()
    # One with a hyphen is of the checksums of an upload's parts.
    if found is not None and expected is not None and "-" not in expected and found != expected:
        raise Answer(None, message=f"the bytes are damaged: expected the checksum {expected}, found {found}")


def _size_of_all(header: str | None, wanted: ByteRange, got: int) -> int:
    """Return the object's size by Content-Range. Raises Answer where this is another part than was wanted."""
    span = content_span(header)
    right = span is not None and (span.start, span.stop) == (wanted.start, min(wanted.stop, span.size))
    if span is None or not right or got != span.stop - span.start:
        raise Answer(None, message=f"asked for bytes {wanted.start} to {wanted.stop}, got {got}: {header}")
    return span.size


def _blob(answer: wire.Answer, data: Buffer, size: int | None) -> Blob:
    header = answer.headers.get
    encoding = encoding_of(header("content-encoding"))
    return Blob(data, encoding, header("content-type"), header("cache-control"), header("etag"), size)
