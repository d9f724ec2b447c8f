"""Requests to one bucket under the policy of attempts, and the errors that they come to in the end."""

import os
from collections.abc import Callable, Collection
from typing import TYPE_CHECKING, TypeVar
from urllib.parse import urlsplit

from precomp.errors import StoreError
from precomp.interfaces import CloudPath
from precomp.retry import Limits, RetryPolicy, TransientError
from precomp_plugins._s3 import answers
from precomp_plugins._s3.answers import Answer
from precomp_plugins._s3.clients import Clients

if TYPE_CHECKING:
    from precomp_plugins.s3 import S3Options

__all__ = ["ABSENT", "Bucket"]

_T = TypeVar("_T")

ABSENT = frozenset({404})

_AMAZON = (".amazonaws.com", ".amazonaws.com.cn")


class Bucket:
    """The bucket of a layer. Safe to share between threads, and after a fork: clients belong to a process.

    Attributes:
        policy: how long is insisted.
    """

    def __init__(self, path: CloudPath, options: "S3Options") -> None:
        """Raises CredentialsError where there are no credentials, ConfigError for wrong options."""
        self._path, self._options = path, options
        self._place = str(path)
        self.policy = RetryPolicy(options.max_attempts, options.timeout)
        self._is_there = False  # as far as is known
        self._opened = self._open()

    def _open(self) -> tuple[int, Clients]:
        return os.getpid(), Clients(self._place, self._path.bucket, self._options, self.policy)

    def clients(self) -> Clients:
        """Return those of this process."""
        process, clients = self._opened
        if process != os.getpid():
            self._opened = _, clients = self._open()
        return clients

    @property
    def origin(self) -> str:
        """The address of the service where it is not Amazon's own, else nothing."""
        endpoint = self.clients().endpoint
        return "" if f".{urlsplit(endpoint).hostname}".endswith(_AMAZON) else endpoint

    def ask(
        self,
        key: str,
        request: "Callable[[Clients, Limits], _T]",
        expected: Collection[int],
        failed: Callable[[Exception], object] = bool,
    ) -> _T:
        """Return what a request returns, after some attempts if need be.

        Args:
            key: for errors.
            request: makes one attempt, within limits.
            expected: statuses whose Answer is raised as it is. What is raised for another is what `judged`
                makes of it.
            failed: is told what each attempt came to that another one followed.
        """
        clients = self.clients()

        def attempt(limits: Limits) -> _T:
            try:
                return request(clients, limits)
            except TransientError as error:
                failed(error)
                raise
            except Answer as answer:
                if answer.status in expected:
                    raise
                failed(answer)
                learnt = clients.learn(answer, limits)
                judged = TransientError(str(answer)) if learnt else self.error(key, answer)
                raise judged from (answer.__cause__ or answer)

        return self.policy.call(f"{self._place}/{key}", attempt)

    def find(
        self,
        key: str,
        request: "Callable[[Clients, Limits], _T]",
        expected: Collection[int] = ABSENT,
    ) -> _T | None:
        """Return what a request returns; None where there is no object, but a bucket that it could be in."""
        try:
            return self.ask(key, request, expected)
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
            f"{self._place}/{key}: there is no bucket {self._path.bucket!r} at {self.clients().endpoint}; "
            "create it, or correct the path or endpoint_url"
        ) from answer

    def _looks_there(self, key: str) -> bool:
        try:
            self.ask(key, lambda clients, limits: clients.service(limits).region(), ABSENT)
        except Answer:
            return False
        return True

    def error(self, key: str, answer: Answer) -> Exception:
        """Return the error that an answer comes to."""
        clients = self.clients()
        return answers.judged(answer, f"{self._place}/{key}", clients.account.who, clients.region)
