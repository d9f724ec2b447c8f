"""A small web server with ranges: `python -m precomp.bench.web FOLDER PORT`."""

import asyncio
import re
import sys
from collections.abc import Iterator, Mapping
from contextlib import contextmanager, suppress
from pathlib import Path

from precomp.bench.serving import free_port, serving

__all__ = ["URL", "main", "web_server"]

URL = "PRECOMP_BENCH_URL"
"""The environment variable that says where the server is; behind it follows the path of a file."""

_REQUEST = re.compile(rb"(GET|HEAD) (/[^ ?]*) HTTP/1\.1\r\n")
_RANGE = re.compile(rb"\r\nrange: *bytes=(\d+)-(\d*)\r\n", re.IGNORECASE)


@contextmanager
def web_server(folder: Path, files: Path) -> Iterator[Mapping[str, str]]:
    """Serve what is below `files`; give the environment that names the server. Its log is in `folder`."""
    port = free_port()
    command = [sys.executable, "-P", "-m", "precomp.bench.web", str(files), str(port)]
    with serving(command, port, folder / "web.log"):
        yield {URL: f"http://127.0.0.1:{port}"}


def main(folder: str, port: str) -> None:
    """Serve until killed."""
    asyncio.run(_serve(Path(folder), int(port)))


async def _serve(folder: Path, port: int) -> None:
    async def connected(reader: asyncio.StreamReader, writer: asyncio.StreamWriter) -> None:
        with suppress(ConnectionError, asyncio.IncompleteReadError):
            while True:
                await _answer(folder, await reader.readuntil(b"\r\n\r\n"), writer)
        writer.close()

    server = await asyncio.start_server(connected, "127.0.0.1", port, backlog=512)
    await server.serve_forever()


async def _answer(folder: Path, head: bytes, writer: asyncio.StreamWriter) -> None:
    request = _REQUEST.match(head)
    path = Path(request[2].decode()) if request else None
    if path is None or not path.is_relative_to(folder) or ".." in path.parts or not path.is_file():
        writer.write(b"HTTP/1.1 404 Not Found\r\nContent-Length: 0\r\n\r\n")
        return
    with path.open("rb") as file:
        status = path.stat()
        start, stop, line = 0, status.st_size, b"200 OK"
        wanted = _RANGE.search(head)
        if wanted:
            start = int(wanted[1])
            stop = min(int(wanted[2]) + 1 if wanted[2] else stop, stop)
            line = b"206 Partial Content\r\nContent-Range: bytes %d-%d/%d" % (start, stop - 1, status.st_size)
        writer.write(
            b'HTTP/1.1 %b\r\nETag: "%x-%x"\r\nAccept-Ranges: bytes\r\nContent-Length: %d\r\n\r\n'
            % (line, status.st_mtime_ns, status.st_size, stop - start)
        )
        if stop > start and head.startswith(b"GET"):
            await asyncio.get_running_loop().sendfile(writer.transport, file, start, stop - start)


if __name__ == "__main__":
    main(*sys.argv[1:])
