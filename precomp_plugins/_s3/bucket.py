"""Requests to one bucket under the policy of attempts, and the errors that they come to in the end."""

import os
from collections.abc import Callable, Collection
from typing import TYPE_CHECKING, Any, TypeVar
from urllib.parse import urlsplit

from precomp.errors import CredentialsError, StoreError
from precomp.interfaces import CloudPath
from precomp.retry import Limits, RetryPolicy, TransientError
from precomp_plugins._s3.answers import Answer, judged
from precomp_plugins._s3.clients import Clients
from precomp_plugins._s3.obstore import takes

if TYPE_CHECKING:
    from precomp_plugins.s3 import S3Options

__all__ = ["ABSENT", "Bucket"]

_T = TypeVar("_T")

ABSENT = frozenset({404})

_AMAZON = (".amazonaws.com", ".amazonaws.com.cn")


class Bucket:
    """The bucket of a layer. Safe to share between threads, and after a fork: clients belong to a process."""

    def __init__(self, path: CloudPath, options: "S3Options") -> None:
        """Raises CredentialsError where there are no credentials, ConfigError for wrong options."""
        self._path, self._options = path, options
        self._place, self._printable = str(path), takes(path.path)
        self._policy = RetryPolicy(options.max_attempts, options.timeout)
        self._is_there = False  # as far as is known
        self._opened = self._open()

    def _open(self) -> tuple[int, Clients]:
        return os.getpid(), Clients(self._place, self._path.bucket, self._options, self._policy)

    def _clients(self) -> Clients:
        process, clients = self._opened
        if process != os.getpid():
            self._opened = _, clients = self._open()
        return clients

    @property
    def origin(self) -> str:
        """The address of the service where it is not Amazon's own, else nothing."""
        endpoint = self._clients().endpoint
        return "" if f".{urlsplit(endpoint).hostname}".endswith(_AMAZON) else endpoint

    def ask(
        self,
        key: str,
        request: Callable[[Any], _T],
        expected: Collection[int],
        *,
        careful: bool = False,
        failed: Callable[[Answer], object] | None = None,
    ) -> _T:
        """Return what a request returns, after some attempts if need be.

        Args:
            key: for errors.
            request: is called with `Requests`; where `careful`, with `BotoRequests`.
            expected: statuses whose Answer is raised as it is. What is raised for another is what `judged`
                makes of it.
            careful: leave the first attempt to boto3, too.
            failed: is told each answer that another attempt followed.
        """
        clients, place = self._clients(), f"{self._place}/{key}"
        careful = careful or not (self._printable and takes(key))

        def attempt(limits: Limits) -> _T:
            nonlocal careful
            requests = clients.careful(limits) if careful else clients.quick(limits)
            careful = True
            try:
                return request(requests)
            except Answer as answer:
                if answer.status in expected:
                    raise
                if failed is not None:
                    failed(answer)
                learnt = clients.learn(answer, limits)
                error = TransientError(str(answer)) if learnt else self.error(key, answer)
                raise error from (answer.__cause__ or answer)
            except (CredentialsError, StoreError) as error:  # of boto3 itself, which does not name the object
                raise type(error)(f"{place}: {error}") from error.__cause__

        return self._policy.call(place, attempt)

    def find(
        self,
        key: str,
        request: Callable[[Any], _T],
        expected: Collection[int] = ABSENT,
        *,
        careful: bool = False,
    ) -> _T | None:
        """Return what a request returns; None where there is no object, but a bucket that it could be in."""
        try:
            return self.ask(key, request, expected, careful=careful)
        except Answer as answer:
            if answer.status != 404:
                raise
            self.check(key, answer)
            return None

    def check(self, key: str, answer: Answer) -> None:
        """Raise StoreError where the bucket is what S3 did not find. To a HEAD it does not say so."""
        if answer.code == "NoSuchKey":
            return
        if answer.code != "NoSuchBucket" and (self._is_there or self._looks_there(key)):
            self._is_there = True
            return
        raise StoreError(
            f"{self._place}/{key}: there is no bucket {self._path.bucket!r} at {self._clients().endpoint}; "
            "create it, or correct the path or endpoint_url"
        ) from answer

    def _looks_there(self, key: str) -> bool:
        try:
            self.ask(key, lambda requests: requests.region(), ABSENT, careful=True)
        except Answer:
            return False
        return True

    def error(self, key: str, answer: Answer) -> Exception:
        """Return the error that an answer comes to."""
        clients = self._clients()
        return judged(answer, f"{self._place}/{key}", clients.account.who, clients.region)
