"""What an answer of Google Storage means."""

import json
import zlib

from precomp.errors import CredentialsError, StoreError
from precomp.interfaces import Blob, Buffer, ByteRange
from precomp.retry import RETRIED_STATUS, TransientError, retry_after
from precomp_plugins._gs.identity import Identity
from precomp_plugins._gs.session import Answer
from precomp_plugins._wire.checksum import crc32c
from precomp_plugins._wire.headers import content_span, encoding_of

__all__ = ["failure", "part_of", "says_no_bucket", "whole"]

_RETRIED = RETRIED_STATUS | {408}
_BUSY = frozenset({"rateLimitExceeded", "userRateLimitExceeded"})  # may come as 403
_HELD = frozenset({"retentionPolicyNotMet", "objectUnderActiveHold"})  # likewise, whoever asks
_NO_BUCKET = b"specified bucket does not exist"
_KEPT_ENCODING = "x-goog-stored-content-encoding"


def failure(doing: str, where: str, bucket: str, answer: Answer, identity: Identity) -> Exception:
    """Return the error that an answer stands for: a TransientError where another try may mend it.

    `doing` is what was tried, `written`; `where` is the object's cloudpath.
    """
    status = answer.status
    reason, text = _said(answer)
    told = f"{status}: {text}" if text else str(status)
    if status in _RETRIED or (status == 403 and reason in _BUSY):
        return TransientError(f"the service answered {told}", retry_after(answer.headers.get("retry-after")))
    if status == 400 and "crc32c" in text.lower():
        return TransientError(f"the service got other bytes than were sent ({told})")
    if status in (401, 403) and reason not in _HELD:
        hint = (
            "leave out `anonymous` and give credentials"
            if identity.anonymous
            else "give it a role that may (Storage Object User), or use other credentials; of a bucket that "
            "it may not list, the service says the same of objects that do not exist"
        )
        return CredentialsError(
            f"{where}: cannot be {doing}, the service refused ({told}); it was asked by {identity.who}, for "
            f"the bucket {bucket!r}; {hint}"
        )
    if status == 404:
        return StoreError(f"{where}: cannot be {doing}: {no_bucket(bucket, told)}")
    return StoreError(f"{where}: cannot be {doing}, the service answered {told}")


def no_bucket(bucket: str, told: str) -> str:
    """Return what to say where there is no bucket of this name."""
    return f"there is no bucket {bucket!r} ({told}); check its name, or create it"


def says_no_bucket(answer: Answer) -> bool:
    """Whether an answer of status 404 is about the bucket; where it says nothing, nothing is known."""
    return _NO_BUCKET in answer.text


def whole(answer: Answer) -> Blob:
    """Return the object of an answer of status 200. Raises TransientError where its checksum is wrong."""
    data, encoding = _stored(answer)
    return _blob(answer, memoryview(data), encoding, None)


def part_of(answer: Answer, byte_range: ByteRange) -> Blob:
    """Return a part of the object from an answer of status 206, or of 200 where the range was ignored."""
    start, stop = byte_range
    if answer.status == 200:
        data, encoding = _stored(answer)
        return _blob(answer, memoryview(data)[start:stop], encoding, len(data))
    said = answer.headers.get("content-range")
    span = content_span(said)
    got = start + len(answer.data)
    if span is None or (span.start, span.stop) != (start, min(stop, span.size)) or span.stop != got:
        raise TransientError(
            f"asked for the bytes {start} to {stop}, got {len(answer.data)}, called {said or 'nothing'}"
        )
    encoding = encoding_of(answer.headers.get("content-encoding"))
    kept = encoding_of(answer.headers.get(_KEPT_ENCODING))
    if answer.headers.get(_KEPT_ENCODING) and kept != encoding:
        raise TransientError(f"a part of what is stored as {kept or 'plain'} came as {encoding or 'plain'}")
    if len(answer.data) == span.size:
        _check(answer, answer.data)
    return _blob(answer, answer.data, encoding, span.size)


def _blob(answer: Answer, data: memoryview, encoding: str | None, size: int | None) -> Blob:
    headers = answer.headers
    return Blob(
        data,
        encoding,
        headers.get("content-type"),
        headers.get("cache-control"),
        headers.get("x-goog-generation"),
        size,
    )


def _stored(answer: Answer) -> tuple[Buffer, str | None]:
    """Return the bytes of a whole object as they are stored, and their encoding."""
    data: Buffer = answer.data
    headers = answer.headers
    encoding = encoding_of(headers.get("content-encoding"))
    kept = encoding_of(headers.get(_KEPT_ENCODING)) if headers.get(_KEPT_ENCODING) else encoding
    if encoding is None and kept == "gzip":
        return data, None  # unpacked on the way: right, but the checksum is of other bytes
    if encoding == "gzip" and kept is None:
        data, encoding = _unpacked(answer), None  # packed on the way, as the service does with texts
    _check(answer, data)
    return data, encoding


def _unpacked(answer: Answer) -> bytes:
    size = answer.headers.get("x-goog-stored-content-length", "")
    if not size.isdecimal():
        raise TransientError("the answer was packed on the way, and does not say how long the object is")
    try:
        data = zlib.decompressobj(31).decompress(answer.data, int(size) + 1)
    except zlib.error as error:
        raise TransientError(f"the answer was packed on the way and is damaged: {error}") from error
    if len(data) != int(size):
        raise TransientError(f"the answer was packed on the way: expected {size} bytes, got {len(data)}")
    return data


def _check(answer: Answer, data: Buffer) -> None:
    """Compare the stored bytes of a whole object with their checksum, where there is one."""
    for one in answer.headers.get("x-goog-hash", "").split(","):
        name, _, expected = one.strip().partition("=")
        if name == "crc32c":
            found = crc32c(data)
            if found is not None and found != expected:
                raise TransientError(f"the bytes are damaged: expected the CRC32C {expected}, found {found}")


def _said(answer: Answer) -> tuple[str, str]:
    """Return reason and text of an error, as far as the body tells."""
    try:
        error = json.loads(answer.text)["error"]
        reasons = [str(one.get("reason", "")) for one in error.get("errors", [])]
        return (reasons or [""])[0], _short(str(error.get("message", "")))
    except (ValueError, LookupError, TypeError, AttributeError):
        return "", _short(answer.text.decode("utf-8", "replace"))


def _short(text: str) -> str:
    line = " ".join(text.split())
    return line if len(line) <= 300 else f"{line[:300]} ..."
