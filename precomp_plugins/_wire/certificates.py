"""Whose certificates are trusted."""

import functools
import ssl

import certifi
from urllib3.util.ssl_ import create_urllib3_context

__all__ = ["trusted"]


@functools.cache  # as it takes longer than a request
def trusted(file: str | None = None) -> ssl.SSLContext:
    """Trust what this machine trusts (SSL_CERT_FILE too), and what browsers do, and those in a file.

    Raises OSError where it cannot be read.
    """
    context = create_urllib3_context()
    context.load_default_certs()
    context.load_verify_locations(certifi.where())
    if file is not None:
        context.load_verify_locations(file)
    return context
