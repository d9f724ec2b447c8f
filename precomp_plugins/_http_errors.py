"""What urllib3 raises, as the errors of precomp."""

import socket
import ssl
from collections.abc import Iterator
from urllib.parse import urlsplit

from urllib3 import exceptions

from precomp.errors import CredentialsError, PrecompError, StoreError
from precomp.retry import TransientError

__all__ = ["transport_failure"]

_UNKNOWN_HOST = frozenset({socket.EAI_NONAME, getattr(socket, "EAI_NODATA", socket.EAI_NONAME)})


def transport_failure(url: str, error: exceptions.HTTPError) -> TransientError | PrecompError:
    """Return what to raise from `error`: a TransientError where another try may go well.

    No message of urllib3's own is quoted where it could hold more of an address than the host.
    """
    host = urlsplit(url).netloc.rpartition("@")[2]
    causes = list(_causes(error))
    for cause in causes:
        if isinstance(cause, socket.gaierror) and cause.errno in _UNKNOWN_HOST:
            return StoreError(f"{host}: there is no host of that name, or no network: {cause.strerror}")
        if isinstance(cause, ssl.SSLCertVerificationError):
            return StoreError(
                f"{host}: its certificate is not trusted: {cause.verify_message}; give the option ca_file, "
                "or verify=False if nobody can be in between"
            )
        if isinstance(cause, OSError) and "407" in str(cause):
            return CredentialsError(
                f"{host}: the proxy refused: {cause}; write user and password into its address"
            )
    if isinstance(error, exceptions.LocationValueError):
        return StoreError(f"{host}: no request can be sent to this address: {error}")
    if isinstance(error, exceptions.TimeoutError) and not isinstance(error, exceptions.NewConnectionError):
        return TransientError(f"{host}: nothing came in time ({type(error).__name__})")
    return TransientError(f"{host}: the connection failed ({_told(causes)})")


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


def _told(causes: list[BaseException]) -> str:
    last = causes[-1]
    text = str(last)
    return f"{type(last).__name__}: {text}" if text else type(last).__name__
