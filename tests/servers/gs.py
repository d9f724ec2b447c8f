"""Google Storage's JSON API: fake-gcs-server, one a test process, with objects in its memory.

It has no credentials, no requester that pays and, unlike Google, says 404 in the same words for buckets and
objects. It slows down past some thousand objects a bucket, so each test gets buckets of its own.
"""

import atexit
import functools
import os
import socket
import subprocess
import time
import uuid
from typing import Any

from google.auth.credentials import AnonymousCredentials
from google.cloud import storage

from precomp.bench import emulator
from precomp.bench.serving import free_port

__all__ = ["GsServer", "gs_server"]

_PATIENCE = 30  # seconds


class GsServer:
    """A running server.

    Attributes:
        port: on 127.0.0.1.
        url: what endpoint_url and STORAGE_EMULATOR_HOST take.
    """

    def __init__(self) -> None:
        for _ in range(5):  # somebody may be quicker to take the port
            self.port = free_port()
            self.url = f"http://127.0.0.1:{self.port}"
            command = emulator.command(self.port)
            self._process = subprocess.Popen(command, stdout=subprocess.DEVNULL, stderr=subprocess.DEVNULL)
            if self._answers():
                break
        else:
            raise RuntimeError(f"fake-gcs-server does not start: {command}")
        self._owner = os.getpid()
        atexit.register(self.stop)
        self.client = self.new_client()

    def new_client(self) -> Any:
        """Return the bare SDK's client."""
        return storage.Client(
            project="tests", credentials=AnonymousCredentials(), client_options={"api_endpoint": self.url}
        )

    def new_bucket(self) -> str:
        """Make a bucket and return its name."""
        name = f"bucket-{uuid.uuid4().hex}"
        self.client.create_bucket(name)
        return name

    def stop(self) -> None:
        """End it, if this process started it."""
        if os.getpid() == self._owner:
            self.client.close()
            self._process.kill()
            self._process.wait()

    def _answers(self) -> bool:
        end = time.monotonic() + _PATIENCE
        while self._process.poll() is None and time.monotonic() < end:
            try:
                socket.create_connection(("127.0.0.1", self.port), 1).close()
            except OSError:
                time.sleep(0.01)
                continue
            return self._process.poll() is None  # and not somebody else's
        return False


@functools.cache
def gs_server() -> GsServer:
    """Return this process's server."""
    return GsServer()
