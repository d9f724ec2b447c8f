"""Requests to S3 by boto3: for what obstore cannot do, after a failure, and in a forked child.

It takes some 2 ms of Python per request, but tells exactly what S3 answered.
"""

import time
from collections.abc import Collection, Iterator, Mapping, Sequence
from contextlib import closing, contextmanager
from typing import Any

import attrs
import urllib3
from botocore.exceptions import (
    BotoCoreError,
    ChecksumError,
    ClientError,
    ConnectionError,
    CredentialRetrievalError,
    HTTPClientError,
    IncompleteReadError,
    NoCredentialsError,
    SSOError,
    TokenRetrievalError,
)
from botocore.parsers import ResponseParserError

from precomp.errors import CredentialsError, StoreError
from precomp.interfaces import Blob, ByteRange, Condition
from precomp.retry import retry_after
from precomp_plugins._s3.answers import Answer
from precomp_plugins._wire.headers import content_span, encoding_of

__all__ = ["BY_DEFAULT", "MARK", "BotoRequests"]

BY_DEFAULT = "application/octet-stream"
MARK = "precomp-write"
"""The name of the metadata by which a conditional write knows its own object again."""

_BLOCK = 2**18  # bytes; after each one the time is looked at
_ON_THE_WAY = (
    *(ChecksumError, ConnectionError, HTTPClientError, IncompleteReadError, ResponseParserError),
    urllib3.exceptions.HTTPError,  # of the body of an error's answer, which boto3 reads unguarded
)
_OF_CREDENTIALS = (CredentialRetrievalError, NoCredentialsError, SSOError, TokenRetrievalError)


@attrs.frozen(eq=False)
class BotoRequests:
    """Single requests for the objects of a bucket. Each raises Answer where S3 does not say yes.

    Attributes:
        client: of boto3.
        bucket: its name.
        payer: what makes the requester pay, if asked to.
        until: the time (`time.monotonic`) when all has to be over.
    """

    client: Any
    bucket: str
    payer: Mapping[str, str]
    until: float

    def get(self, key: str, byte_range: ByteRange | None, version: str | None = None) -> Blob:
        """Return an object or a part of it, if it still has `version`."""
        more = dict(self.payer)
        if byte_range is not None:
            more["Range"] = f"bytes={byte_range.start}-{byte_range.stop - 1}"
        if version is not None:
            more["IfMatch"] = version
        with _answers():
            found = self.client.get_object(Bucket=self.bucket, Key=key, **more)
            with closing(found["Body"]) as body:  # `with` alone gives what is inside, unguarded
                data = self._read(body, _length(found))
        if byte_range is None:
            return _blob(found, data, None)
        if "ContentRange" in found:
            return _blob(found, data, _size_of_all(found["ContentRange"], byte_range, len(data)))
        # The service ignores ranges.
        return _blob(found, data[byte_range.start : byte_range.stop], len(data))

    def _read(self, body: Any, size: int) -> memoryview:
        data = bytearray(size)
        view, done = memoryview(data), 0
        # What has come in, and no more: a block that trickles in would keep the time from being looked at.
        read = getattr(getattr(body, "_raw_stream", None), "read1", body.read)
        while done < size:
            try:
                block = read(min(_BLOCK, size - done))
            except urllib3.exceptions.HTTPError as error:
                raise Answer(
                    None, message=f"the body broke off after {done} of {size} bytes: {error}"
                ) from error
            if not block:
                raise Answer(None, message=f"the body ended after {done} of {size} bytes")
            view[done : done + len(block)] = block
            done += len(block)
            if time.monotonic() > self.until:
                raise Answer(None, message=f"the body was too slow, {done} of {size} bytes came in time")
        return view.toreadonly()

    def head(self, key: str) -> Blob:
        """Return what is known of an object, without its bytes but with its size."""
        with _answers():
            found = self.client.head_object(Bucket=self.bucket, Key=key, **self.payer)
        return _blob(found, b"", _length(found))

    def marked(self, key: str) -> tuple[str | None, str | None]:
        """Return an object's mark, if it has one, and its version."""
        with _answers():
            found = self.client.head_object(Bucket=self.bucket, Key=key, **self.payer)
        return found.get("Metadata", {}).get(MARK), found.get("ETag")

    def put(self, key: str, blob: Blob, condition: Condition | None, mark: str | None) -> str | None:
        """Store an object, with a mark if there is one, and return its version."""
        more: dict[str, Any] = dict(self.payer)
        if mark is not None:
            more["Metadata"] = {MARK: mark}
        if blob.content_encoding is not None:
            more["ContentEncoding"] = blob.content_encoding
        if blob.cache_control is not None:
            more["CacheControl"] = blob.cache_control
        if condition is not None:
            more |= {"IfNoneMatch": "*"} if condition.version is None else {"IfMatch": condition.version}
        with _answers():
            done = self.client.put_object(
                Bucket=self.bucket,
                Key=key,
                Body=bytes(blob.data),
                ContentType=blob.content_type or BY_DEFAULT,
                **more,
            )
        version: str | None = done.get("ETag")
        if version is None:  # whoever answered, it was not S3
            raise Answer(None, message="the answer has no ETag, so that it is not known to be stored")
        return version

    def delete(self, key: str) -> None:
        """Remove an object; an absent one is fine."""
        with _answers():
            about = self.client.delete_object(Bucket=self.bucket, Key=key, **self.payer)["ResponseMetadata"]
        empty = about.get("HTTPHeaders", {}).get("content-length") == "0"
        if about.get("HTTPStatusCode") != 204 and not empty:  # whoever answered, it was not S3
            raise Answer(None, message="the answer has a body, so that it is not known to be deleted")

    def delete_all(self, keys: Sequence[str]) -> tuple[Collection[str], Sequence[Answer]]:
        """Remove up to a thousand objects at once.

        Returns the keys of which S3 says that they are gone, and what it says of those that it refuses to
        remove. Of any other nothing is known.
        """
        wanted = {"Objects": [{"Key": key} for key in keys]}
        with _answers():
            done = self.client.delete_objects(Bucket=self.bucket, Delete=wanted, **self.payer)
        gone, refused = {one.get("Key") for one in done.get("Deleted", ())}, []
        for error in done.get("Errors", ()):
            key, code = error.get("Key"), error.get("Code", "")
            if code == "NoSuchKey":
                gone.add(key)
            else:
                refused.append(Answer(_STATUS.get(code, 400), code, f"{key}: {error.get('Message', '')}"))
        return gone, refused

    def page(self, prefix: str, after: str | None) -> tuple[list[str], str | None]:
        """Return a page of the keys that start with `prefix`, and what names the next page, if any."""
        more = dict(self.payer) | ({} if after is None else {"ContinuationToken": after})
        with _answers():
            found = self.client.list_objects_v2(Bucket=self.bucket, Prefix=prefix, **more)
        more_to_come, next_page = found.get("IsTruncated"), found.get("NextContinuationToken")
        if more_to_come is None or (more_to_come and next_page is None):  # else names would be missing
            raise Answer(None, message="the answer is no list of keys, or does not tell how it goes on")
        return [item["Key"] for item in found.get("Contents", ())], next_page

    def region(self) -> str | None:
        """Return the region of the bucket, as far as S3 tells. Raises Answer where there is no bucket."""
        try:
            found = self.client.head_bucket(Bucket=self.bucket)
        except ClientError as error:
            if error.response["ResponseMetadata"].get("HTTPStatusCode") not in (301, 400, 403):
                raise _answer(error) from error
            found = error.response
        except (BotoCoreError, ResponseParserError, urllib3.exceptions.HTTPError) as error:
            raise _failure(error) from error
        region: str | None = found["ResponseMetadata"].get("HTTPHeaders", {}).get("x-amz-bucket-region")
        return region


def _length(found: Mapping[str, Any]) -> int:
    if "ContentLength" not in found:
        raise Answer(None, message="the answer does not say how long the object is")
    length: int = found["ContentLength"]
    return length


def _size_of_all(header: str, wanted: ByteRange, got: int) -> int:
    """Return the object's size by Content-Range. Raises Answer where this is another part than was wanted."""
    span = content_span(header)
    right = span is not None and (span.start, span.stop) == (wanted.start, min(wanted.stop, span.size))
    if span is None or not right or got != span.stop - span.start:
        raise Answer(None, message=f"asked for bytes {wanted.start} to {wanted.stop}, got {got}: {header}")
    return span.size


# Codes in the answer of a request for many objects, which has one status of its own.
_STATUS = {"AccessDenied": 403, "InternalError": 500, "ServiceUnavailable": 503, "SlowDown": 503}


def _blob(found: Mapping[str, Any], data: memoryview | bytes, size: int | None) -> Blob:
    return Blob(
        data,
        encoding_of(found.get("ContentEncoding") or None),
        found.get("ContentType"),
        found.get("CacheControl"),
        found.get("ETag"),
        size,
    )


@contextmanager
def _answers() -> Iterator[None]:
    try:
        yield
    except ClientError as error:
        raise _answer(error) from error
    except (BotoCoreError, ResponseParserError, urllib3.exceptions.HTTPError) as error:
        raise _failure(error) from error


def _answer(error: ClientError) -> Answer:
    about, said = error.response.get("ResponseMetadata", {}), error.response.get("Error", {})
    status, code = about.get("HTTPStatusCode"), str(said.get("Code", ""))
    code = "" if code == str(status) else code  # boto3's own, for an answer without a body
    pause = retry_after(about.get("HTTPHeaders", {}).get("retry-after"))
    return Answer(status, code, str(said.get("Message", "")), pause)


def _failure(error: Exception) -> Exception:
    if isinstance(error, _ON_THE_WAY):
        return Answer(None, message=str(error))
    if isinstance(error, _OF_CREDENTIALS):
        return CredentialsError(f"boto3 could not get credentials: {error}")
    return StoreError(f"boto3 could not make the request: {error}")
