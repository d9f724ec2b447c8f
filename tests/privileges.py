"""What permissions forbid, also where the tests run as root."""

import os
from collections.abc import Iterator
from contextlib import contextmanager

__all__ = ["unprivileged"]


@contextmanager
def unprivileged() -> Iterator[None]:
    """Be nobody for a while where the tests run as root, whom no permission stops."""
    if os.geteuid():
        yield
        return
    os.seteuid(65534)
    try:
        yield
    finally:
        os.seteuid(0)
