"""Programs that serve something on this machine, for as long as they are needed."""

import contextlib
import socket
import subprocess
import time
from collections.abc import Iterator, Sequence
from contextlib import contextmanager
from pathlib import Path

from precomp.bench.check import BenchError

__all__ = ["free_port", "serving"]

_PATIENCE = 60  # seconds


def free_port() -> int:
    """Return a port of 127.0.0.1 on which nobody listens."""
    with socket.socket() as probe:
        probe.bind(("127.0.0.1", 0))
        port: int = probe.getsockname()[1]
        return port


@contextmanager
def serving(command: Sequence[str], port: int, log: Path) -> Iterator[None]:
    """Run a program that listens at `port` of 127.0.0.1 and writes to the file `log`; kill it in the end."""
    with log.open("w") as file:
        server = subprocess.Popen(command, stdin=subprocess.DEVNULL, stdout=file, stderr=file)
        try:
            if not _listens(server, port):
                raise BenchError(f"{command[0]} does not start: {log.read_text()[-2000:]}")
            yield
        finally:
            server.kill()  # some take their time over anything gentler
            server.wait()


def _listens(server: "subprocess.Popen[bytes]", port: int) -> bool:
    """Wait for it."""
    end = time.monotonic() + _PATIENCE
    while server.poll() is None and time.monotonic() < end:
        with contextlib.suppress(OSError), socket.create_connection(("127.0.0.1", port), 1):
            return True
        time.sleep(0.05)
    return False
