"""The clients of one store in one process: our own for single objects, boto3 for all else."""

import math
from typing import TYPE_CHECKING

from precomp.errors import PrecompError
from precomp.retry import Limits, RetryPolicy
from precomp_plugins._s3.account import Account, Address, open_account
from precomp_plugins._s3.answers import EXPIRED, UNCOVERED, Answer
from precomp_plugins._s3.boto import BotoRequests
from precomp_plugins._s3.requests import ObjectRequests
from precomp_plugins._wire.connections import Connections
from precomp_plugins._wire.proxies import environment_proxy

if TYPE_CHECKING:
    from precomp_plugins.s3 import S3Options

__all__ = ["Clients"]

_PAYER = "requester"
_DISTRUSTED = "if it is right, name its authority's file in AWS_CA_BUNDLE or as ca_bundle in ~/.aws/config"


class Clients:
    """Makes no request to S3 until asked, but boto3 may ask others for credentials. For many threads.

    Attributes:
        account: who asks.
        objects: makes requests for single objects.
    """

    def __init__(self, place: str, bucket: str, options: "S3Options", policy: RetryPolicy) -> None:
        """Raises CredentialsError, ConfigError; `place` is the cloudpath, for errors."""
        self._policy = policy
        self._payer = _PAYER if options.requester_pays else None
        self.account: Account = open_account(place, bucket, options)
        if self.account.ca_bundle is not None:
            self.account.trusted()  # which raises where the file is wrong
        self._connections = Connections(environment_proxy, self.account.trusted, _DISTRUSTED)
        self._refused: tuple[str, str | None] | None = None  # access key and token that have ended
        self._start()

    def _start(self) -> None:
        client, timeout = self.account.client(self._policy.timeout), _rounded(self._policy.timeout)
        self._address: Address = self.account.address(client)
        self._boto_clients = {timeout: client}
        self.objects = ObjectRequests(self.account, self._address, self._connections, self._payer)

    @property
    def endpoint(self) -> str:
        """Where the requests go, for errors."""
        return self._address.endpoint

    @property
    def region(self) -> str:
        """That the requests are signed for."""
        return self._address.region

    def service(self, limits: Limits) -> BotoRequests:
        """Return requests by boto3, which keep to `limits`."""
        # A client's timeout is fixed. The last attempt before the end has a shorter one.
        timeout = _rounded(limits.timeout)
        client = self._boto_clients.get(timeout)
        if client is None:
            client = self._boto_clients.setdefault(timeout, self.account.client(timeout))
        payer = {"RequestPayer": self._payer} if self._payer else {}
        return BotoRequests(self.account.place, client, self.account.bucket, payer)

    def learn(self, answer: Answer, limits: Limits) -> bool:
        """Mend what an answer tells of; True where another try may go better then."""
        if answer.code in EXPIRED and self.account.refreshes:
            now = self.account.current()
            before, self._refused = self._refused, (now.access_key, now.token)
            return before != self._refused  # by then others may have been given
        if self.objects.checks and _may_mean_checksums(answer):
            self.objects.checks = False  # not all services that speak S3 know of them
            return True
        if answer.code == UNCOVERED and not self.objects.covers:
            self.objects.covers = True  # not all of them take bodies that signatures do not cover
            return True
        if answer.is_elsewhere:
            try:
                region = self.service(limits).region()
            except (Answer, PrecompError):  # what is known is the better error
                return False
            if region is not None and region != self._address.region:
                self.account = self.account.moved(region)
                self._start()
                return True
        return False


def _may_mean_checksums(answer: Answer) -> bool:
    """Whether a service refuses the headers of checksums; with 501 many do not say which header it is."""
    return answer.status == 501 or (answer.status == 400 and "checksum" in answer.message.lower())


def _rounded(timeout: float) -> float:
    return math.ceil(timeout * 4) / 4
