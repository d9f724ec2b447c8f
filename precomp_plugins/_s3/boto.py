"""Requests to S3 by boto3: lists, deletes and regions. It takes some 2 ms of Python for each."""

from collections.abc import Collection, Iterator, Mapping, Sequence
from contextlib import contextmanager
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
from precomp.retry import retry_after
from precomp_plugins._s3.answers import Answer

__all__ = ["BotoRequests"]

_ON_THE_WAY = (
    *(ChecksumError, ConnectionError, HTTPClientError, IncompleteReadError, ResponseParserError),
    urllib3.exceptions.HTTPError,  # of the body of an error's answer, which boto3 reads unguarded
)
_OF_CREDENTIALS = (CredentialRetrievalError, NoCredentialsError, SSOError, TokenRetrievalError)


@attrs.frozen(eq=False)
class BotoRequests:
    """Single requests for the objects of a bucket. Each raises Answer where S3 does not say yes.

    Attributes:
        place: of the bucket's layer, for errors.
        client: of boto3.
        bucket: its name.
        payer: what makes the requester pay, if asked to.
    """

    place: str
    client: Any
    bucket: str
    payer: Mapping[str, str]

    def delete(self, key: str) -> None:
        """Remove an object; an absent one is fine."""
        with _answers(self.place):
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
        with _answers(self.place):
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
        with _answers(self.place):
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
            raise _failure(self.place, error) from error
        region: str | None = found["ResponseMetadata"].get("HTTPHeaders", {}).get("x-amz-bucket-region")
        return region


# Codes in the answer of a request for many objects, which has one status of its own.
_STATUS = {"AccessDenied": 403, "InternalError": 500, "ServiceUnavailable": 503, "SlowDown": 503}


@contextmanager
def _answers(place: str) -> Iterator[None]:
    try:
        yield
    except ClientError as error:
        raise _answer(error) from error
    except (BotoCoreError, ResponseParserError, urllib3.exceptions.HTTPError) as error:
        raise _failure(place, error) from error


def _answer(error: ClientError) -> Answer:
    about, said = error.response.get("ResponseMetadata", {}), error.response.get("Error", {})
    status, code = about.get("HTTPStatusCode"), str(said.get("Code", ""))
    code = "" if code == str(status) else code  # boto3's own, for an answer without a body
    pause = retry_after(about.get("HTTPHeaders", {}).get("retry-after"))
    return Answer(status, code, str(said.get("Message", "")), pause)


def _failure(place: str, error: Exception) -> Exception:
    if isinstance(error, _ON_THE_WAY):
        return Answer(None, message=str(error))
    if isinstance(error, _OF_CREDENTIALS):
        return CredentialsError(f"{place}: boto3 could not get credentials: {error}")
    return StoreError(f"{place}: boto3 could not make the request: {error}")
