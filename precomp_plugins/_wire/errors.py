"""What connections raise, as the errors of precomp."""

import re
import socket
import ssl
from collections.abc import Iterator
from urllib.parse import urlsplit

from urllib3 import exceptions

from precomp.errors import CredentialsError, PrecompError, StoreError
from precomp.retry import TransientError

__all__ = ["transport_failure"]

_TUNNEL = re.compile(r"Tunnel connection failed: (4(?!29)\d\d.*)")  # http.client's words
_UNKNOWN_HOST = frozenset({socket.EAI_NONAME, getattr(socket, "EAI_NODATA", socket.EAI_NONAME)})


def transport_failure(
    url: str, error: Exception, what: str, distrusted: str, proxy: str | None
) -> TransientError | PrecompError:
    """Return what to raise from `error`: a TransientError where another try may go well.

    `url` is what was asked for, `what` the name of what was wanted, `distrusted` what to do about a
    certificate that is not trusted, `proxy` the host and port of the proxy on the way, if there is one.
    """
    host = urlsplit(url).netloc.rpartition("@")[2]
    unknown = host if proxy is None else f"{proxy}, the proxy to {host}"  # which looks for the host itself
    causes = list(_causes(error))
    for cause in causes:
        if isinstance(cause, socket.gaierror) and cause.errno in _UNKNOWN_HOST:
            return StoreError(
                f"{what}: there is no host {unknown}, or no network ({cause.strerror}); correct the address"
            )
        if isinstance(cause, ssl.SSLCertVerificationError):
            return StoreError(
                f"{what}: the certificate of {host} is not trusted: {cause.verify_message}; {distrusted}"
            )
        if isinstance(cause, OSError) and (refusal := _TUNNEL.search(str(cause))):
            return CredentialsError(
                f"{what}: the proxy does not let through to {host}: {refusal[1]}; write user and "
                "password into its address, or go by another"
            )
    way = host if proxy is None else f"{host} by the proxy {proxy}"
    if isinstance(error, exceptions.LocationValueError):
        return StoreError(f"{what}: no request can be sent to the host {host}: {error}")
    if isinstance(error, (TimeoutError, exceptions.TimeoutError)) and not isinstance(
        error, exceptions.NewConnectionError
    ):
        return TransientError(f"nothing came from {way} in time ({type(error).__name__})")
    return TransientError(f"the connection to {way} failed ({_told(causes[-1])})")


def _causes(error: BaseException) -> Iterator[BaseException]:
    """Yield an error and what it stands for, by chain or as an argument."""
    todo, seen = [error], set[int]()
    while todo:
        one = todo.pop(0)
        if id(one) in seen:
            continue
        seen.add(id(one))
        yield one
        inner = [getattr(one, "original_error", None), one.__cause__, one.__context__, *one.args]
        todo += [cause for cause in inner if isinstance(cause, BaseException)]


def _told(cause: BaseException) -> str:
    text = str(cause)
    return f"{type(cause).__name__}: {text}" if text else type(cause).__name__
