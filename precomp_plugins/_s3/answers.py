"""What S3 answers where a request does not go well, and which error it comes to."""

from collections.abc import Callable

from precomp.errors import CredentialsError, StoreError
from precomp.retry import RETRIED_STATUS, TransientError

__all__ = ["EXPIRED", "UNCOVERED", "Answer", "judged"]

_ELSEWHERE = frozenset(
    {
        "AuthorizationHeaderMalformed",
        "IllegalLocationConstraintException",
        "PermanentRedirect",
        "TemporaryRedirect",
    }
)
_MOVED = frozenset({301, 307})
EXPIRED = frozenset({"ExpiredToken", "RequestExpired", "TokenRefreshRequired"})
"""Codes of credentials that were right: a refreshed one may do."""

UNCOVERED = "XAmzContentSHA256Mismatch"
"""Code for a body that is not what the signature says of it, or of which that does not say enough."""

# Codes with a status of 400 or 409 that do not tell that another try may mend it.
_TRANSIENT = frozenset(
    {
        *("BadDigest", "ConditionalRequestConflict", "IncompleteBody", "InternalError", "OperationAborted"),
        *("RequestTimeout", "SlowDown", "ServiceUnavailable", UNCOVERED),
    }
)
_REFUSED = frozenset({"InvalidToken", "InvalidAccessKeyId", "SignatureDoesNotMatch", *EXPIRED})


class Answer(Exception):  # noqa: N818  an answer is no error to a store that has asked whether there is an object
    """An answer that is no success, or that there was none.

    Attributes:
        status: the HTTP status; None where no whole answer came.
        code: S3's own, `NoSuchKey`; empty where it sent none.
        message: S3's own, or what went wrong on the way. Holds no secret.
        retry_after: seconds that the service asks to wait.
    """

    def __init__(
        self, status: int | None, code: str = "", message: str = "", retry_after: float | None = None
    ) -> None:
        self.status, self.code, self.message, self.retry_after = status, code, message, retry_after
        said = " ".join(str(part) for part in (status, code) if part)
        super().__init__(f"S3 answered {said}: {message}" if said else message)

    @property
    def is_elsewhere(self) -> bool:
        """Whether the bucket is, or may be, in another region than the one asked: to HEAD S3 says no word."""
        wordless = self.status == 400 and not self.code
        return self.code in _ELSEWHERE or self.status in _MOVED or wordless


def judged(answer: Answer, place: str, who: Callable[[], str], region: str) -> Exception:
    """Return the error that an answer comes to: a TransientError where another try may mend it.

    `place` is the object's cloudpath; `who()` says with which credentials it was asked for, in `region`.
    """
    status, code = answer.status, answer.code
    if status is None or status in RETRIED_STATUS or code in _TRANSIENT:
        return TransientError(str(answer), answer.retry_after)
    if status in (401, 403) or code in _REFUSED:
        return CredentialsError(
            f"{place}: S3 refused {who()} ({answer}); check that it is right and may do this. Of an object "
            "that is not there S3 says the same to whoever may not list the bucket"
        )
    if answer.is_elsewhere:
        return StoreError(
            f"{place}: {answer}; it was asked in the region {region}, and S3 does not tell where the bucket "
            "is: set the option region to that of the bucket, and see that path and endpoint_url are right"
        )
    return StoreError(f"{place}: {answer}; correct the path or the options, or ask the bucket's owner")
