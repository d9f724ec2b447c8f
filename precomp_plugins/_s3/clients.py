"""The clients of one store in one process: obstore for the first attempt, boto3 for all others."""

import math
from typing import TYPE_CHECKING, Protocol

from precomp.errors import PrecompError
from precomp.interfaces import Blob, ByteRange, Condition
from precomp.retry import Limits, RetryPolicy
from precomp_plugins._s3 import obstore
from precomp_plugins._s3.account import Account, Address, open_account
from precomp_plugins._s3.answers import EXPIRED, Answer
from precomp_plugins._s3.boto import BotoRequests
from precomp_plugins._s3.obstore import ObstoreRequests

if TYPE_CHECKING:
    from precomp_plugins.s3 import S3Options

__all__ = ["Clients", "Requests"]


class Requests(Protocol):
    """Single requests that both make, obstore and boto3. Each raises Answer where S3 does not say yes."""

    def get(self, key: str, byte_range: ByteRange | None, version: str | None = None) -> Blob:
        """Return an object or a part of it, if it still has `version`."""
        ...

    def head(self, key: str) -> Blob:
        """Return what is known of an object, without its bytes but with its size."""
        ...

    def put(self, key: str, blob: Blob, condition: Condition | None, mark: str | None) -> str | None:
        """Store an object, with a mark if there is one, and return its version."""
        ...


class Clients:
    """Makes no request to S3 until asked, but boto3 may ask others for credentials. For many threads."""

    def __init__(self, place: str, bucket: str, options: "S3Options", policy: RetryPolicy) -> None:
        """Raises CredentialsError, ConfigError; `place` is the cloudpath, for errors."""
        self._options, self._policy = options, policy
        self.account: Account = open_account(place, bucket, options)
        self._payer = {"RequestPayer": "requester"} if options.requester_pays else {}
        self._start()

    def _start(self) -> None:
        client, timeout = self.account.client(self._policy.timeout), _rounded(self._policy.timeout)
        self._address: Address = self.account.address(client)
        self._boto_clients = {timeout: client}
        self._obstore: ObstoreRequests | None = None

    @property
    def endpoint(self) -> str:
        """Where the requests go, for errors."""
        return self._address.endpoint

    @property
    def region(self) -> str:
        """That the requests are signed for."""
        return self._address.region

    def quick(self, limits: Limits) -> Requests:
        """Return requests by obstore, where it works in this process."""
        if not obstore.usable():
            return self.careful(limits)
        requests = self._obstore
        if requests is None:
            requests = self._obstore = ObstoreRequests(
                self.account, self._address, self._policy, requester_pays=self._options.requester_pays
            )
        return requests

    def careful(self, limits: Limits) -> BotoRequests:
        """Return requests by boto3, which keep to `limits`."""
        # A client's timeout is fixed. The last attempt before the end has a shorter one.
        timeout = _rounded(limits.timeout)
        client = self._boto_clients.get(timeout)
        if client is None:
            client = self._boto_clients.setdefault(timeout, self.account.client(timeout))
        return BotoRequests(client, self.account.bucket, self._payer, limits.until)

    def learn(self, answer: Answer, limits: Limits) -> bool:
        """Mend what an answer tells of; True where another try may go better then."""
        if answer.code in EXPIRED and self.account.refreshes and self._obstore is not None:
            self._obstore = None  # it keeps credentials for minutes
            return True
        if answer.is_elsewhere:
            try:
                region = self.careful(limits).region()
            except (Answer, PrecompError):  # what is known is the better error
                return False
            if region is not None and region != self._address.region:
                self.account = self.account.moved(region)
                self._start()
                return True
        return False


def _rounded(timeout: float) -> float:
    return math.ceil(timeout * 4) / 4
