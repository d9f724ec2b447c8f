"""Requests to S3 by obstore, which takes a fifth of boto3's time.

Its errors are texts, without the headers of the answer: they tell an absent object, a condition that does not
hold and refused credentials, but no Retry-After. So boto3 makes every request that is tried again, and the
first pause after an answer that mostly has one is a second.
"""

import multiprocessing
import os
import re
import time
from datetime import UTC, datetime, timedelta
from functools import cache, partial
from pathlib import Path
from typing import Any

import obstore
from obstore.exceptions import (
    AlreadyExistsError,
    BaseError,
    PermissionDeniedError,
    PreconditionError,
    UnauthenticatedError,
)
from obstore.store import MemoryStore, S3Store

from precomp.errors import ConfigError
from precomp.interfaces import Blob, ByteRange, Condition
from precomp.retry import RetryPolicy
from precomp_plugins._s3.account import Account, Address
from precomp_plugins._s3.answers import Answer
from precomp_plugins._s3.apart import apart
from precomp_plugins._s3.boto import BY_DEFAULT, MARK
from precomp_plugins._wire.headers import encoding_of

__all__ = ["LARGEST_PUT", "ObstoreRequests", "takes", "usable"]

LARGEST_PUT = 2**23  # bytes; its timeout for reading runs while a body is sent, which must not take that long

_PROCESS = os.getpid()
_THREADS = Path("/proc/self/task")
_LONGEST_START = 1.0  # seconds; threads have a name as soon as they run

# obstore asks for credentials anew five minutes before they end: so it asks boto3 every five minutes.
_CREDENTIALS_LAST = timedelta(minutes=10)

_BUSY = frozenset({429, 503})
_BUSY_FOR = 1.0  # seconds; without a word from the service the policy would begin with a fifth of that

_STATUS = re.compile(r"status(?: code)?: (\d{3})")
_CODE = re.compile(r"<Code>(\w+)</Code>")
_MESSAGE = re.compile(r"<Message>(.*?)</Message>", re.DOTALL)
_STATUS_OF: tuple[tuple[type[Exception], int], ...] = (
    (FileNotFoundError, 404),
    (PermissionDeniedError, 403),
    (UnauthenticatedError, 401),
)


def usable() -> bool:
    """Tell whether obstore works in this process.

    Its runtime does not survive a fork: in a child, calls never return. Worse, the child still shares the
    parent's way to be told of connections, and what it connects there makes the parent crash. So nothing is
    tried in a child of a process that had this module: its obstore may have been used, by whomever.
    """
    return os.getpid() == _PROCESS and _has_threads()


@cache
def _has_threads() -> bool:
    """Tell whether the runtime's threads are here: another package may have started them before a fork."""
    obstore.put(MemoryStore(), "a", b"")  # starts them, if nobody did, and connects to nothing
    if not _THREADS.is_dir():  # not on Linux, where a fork is not what everybody does
        forks = multiprocessing.get_start_method(allow_none=True) == "fork"
        return not (forks and multiprocessing.parent_process())
    end = time.monotonic() + _LONGEST_START
    while not any(map(_is_tokio, _THREADS.iterdir())):
        if time.monotonic() > end:
            return False
        time.sleep(0.001)
    return True


def _is_tokio(thread: Path) -> bool:
    try:
        return (thread / "comm").read_text().startswith("tokio")
    except OSError:  # it has ended
        return False


def takes(key: str) -> bool:
    """Tell whether obstore knows such keys: it refuses control characters."""
    return key.isprintable()


class ObstoreRequests:
    """Single requests for the objects of a bucket. Each raises Answer where S3 does not say yes."""

    def __init__(
        self, account: Account, address: Address, policy: RetryPolicy, *, requester_pays: bool
    ) -> None:
        """`policy` gives the time limits; nothing is tried again here."""
        self._store = S3Store(
            account.bucket,
            # obstore looks into the environment for what is left out, and boto3 is to have the last word.
            config={
                "endpoint": address.endpoint,
                "aws_endpoint_url_s3": address.endpoint,
                "virtual_hosted_style_request": address.virtual,
                "region": address.region,
                "skip_signature": account.origin is None,
                "request_payer": requester_pays,
                # TLS guards the bytes; without it S3 compares what it got with what was signed.
                "unsigned_payload": address.endpoint.startswith("https://"),
                "conditional_put": "etag",
                "s3_express": False,
            },
            client_options=_client_options(account, address, policy),
            retry_config={"max_retries": 0},
            credential_provider=None if account.origin is None else _provider(account),
        )

    def get(self, key: str, byte_range: ByteRange | None, version: str | None = None) -> Blob:
        """Return an object or a part of it, if it still has `version`."""
        options: dict[str, Any] = {}
        if byte_range is not None:
            options["range"] = byte_range
        if version is not None:
            options["if_match"] = version

        def fetch() -> tuple[Any, memoryview]:
            found = obstore.get(self._store, key, options=options)  # type: ignore[arg-type]
            return found, memoryview(found.bytes())

        try:
            found, data = apart(fetch)
        except (BaseError, OSError, ValueError) as error:
            raise _answer(error) from None
        meta, (start, stop) = found.meta, found.range
        if len(data) != stop - start:
            raise Answer(None, message=f"the body has {len(data)} of {stop - start} bytes")
        return _blob(found.attributes, meta["e_tag"], data, None if byte_range is None else meta["size"])

    def head(self, key: str) -> Blob:
        """Return what is known of an object, without its bytes but with its size."""
        try:
            found = apart(lambda: obstore.get(self._store, key, options={"head": True}))
        except (BaseError, OSError, ValueError) as error:
            raise _answer(error) from None
        return _blob(found.attributes, found.meta["e_tag"], b"", found.meta["size"])

    def put(self, key: str, blob: Blob, condition: Condition | None, mark: str | None) -> str | None:
        """Store an object, with a mark if there is one, and return its version."""
        attributes = {"Content-Type": blob.content_type or BY_DEFAULT}
        if mark is not None:
            attributes[MARK] = mark
        if blob.content_encoding is not None:
            attributes["Content-Encoding"] = blob.content_encoding
        if blob.cache_control is not None:
            attributes["Cache-Control"] = blob.cache_control
        mode: Any = "overwrite"
        if condition is not None:
            mode = "create" if condition.version is None else {"e_tag": condition.version}
        data = blob.data
        if isinstance(data, memoryview) and (data.format != "B" or data.ndim != 1):
            data = data.cast("B")
        put = partial(obstore.put, self._store, key, data, use_multipart=False)
        try:
            # What was given up must not be stored after what comes next.
            done = apart(lambda: put(attributes=attributes, mode=mode), to_its_end=True)
        except (BaseError, OSError, ValueError) as error:
            raise _answer(error) from None
        return done["e_tag"]


def _client_options(account: Account, address: Address, policy: RetryPolicy) -> Any:
    timeout = timedelta(seconds=min(policy.timeout, policy.deadline))
    options = {
        "allow_http": address.endpoint.startswith("http://"),
        "connect_timeout": timeout,
        "read_timeout": timeout,
        "timeout": timedelta(seconds=policy.deadline),
    }
    if account.ca_bundle is not None:
        try:
            options["root_certificate"] = Path(account.ca_bundle).read_bytes()
        except OSError as error:
            raise ConfigError(
                f"{account.place}: ca_bundle: {error}; correct AWS_CA_BUNDLE or ~/.aws/config"
            ) from error
    return options


def _provider(account: Account) -> Any:
    def give() -> dict[str, Any]:
        now = account.frozen()
        return {
            "access_key_id": now.access_key,
            "secret_access_key": now.secret_key,
            "token": now.token,
            "expires_at": datetime.now(UTC) + _CREDENTIALS_LAST,
        }

    return give


def _blob(attributes: Any, version: str | None, data: memoryview | bytes, size: int | None) -> Blob:
    get = attributes.get
    encoding = encoding_of(get("Content-Encoding"))
    return Blob(data, encoding, get("Content-Type"), get("Cache-Control"), version, size)


def _answer(error: Exception) -> Answer:
    """Return what S3 answered. Not chained to obstore's error, whose text may quote a session token."""
    text = str(error)
    statuses, codes, messages = _STATUS.findall(text), _CODE.findall(text), _MESSAGE.findall(text)
    status = int(statuses[-1]) if statuses else None
    status = next((known for kind, known in _STATUS_OF if isinstance(error, kind)), status)
    if isinstance(error, (AlreadyExistsError, PreconditionError)) and status not in (404, 409):
        status = 412
    message = messages[-1] if messages else text.partition("\n")[0]
    return Answer(status, codes[-1] if codes else "", message, _BUSY_FOR if status in _BUSY else None)
