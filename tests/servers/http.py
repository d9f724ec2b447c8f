"""A small web server for tests, which serves a folder and can be made as odd as servers are."""

import hashlib
import os
import re
import ssl
import threading
from collections.abc import Mapping
from http.server import BaseHTTPRequestHandler, ThreadingHTTPServer
from pathlib import Path
from typing import Any, NamedTuple, Self
from urllib.parse import unquote

CERTIFICATE = Path(__file__).parent / "localhost.pem"
"""Certificate and key for 127.0.0.1 and localhost, signed by itself; not secret."""


class Seen(NamedTuple):
    """A request as it came; header names in lower case; `client` is the port at the other end."""

    method: str
    path: str
    headers: Mapping[str, str]
    client: int


class HttpServer:
    """Serves the files below `root`. A file `NAME.gz` (or `.br`) stands for NAME with a Content-Encoding.

    Attributes:
        seen: the requests so far.
        ranges: whether ranges are served; otherwise they are ignored.
        negotiates: whether a compressed twin is sent only to those that accept it, beside a plain file.
        etags: whether answers carry an ETag.
        lengths: False sends bodies in chunks, without their length.
        head: False answers HEAD with 501.
        login: what the header Authorization must say.
        redirects: a start of paths, and the address that is put in its place.
        answers: path to status and body, instead of a file.
        range_of: how a range that is asked for is changed before it is served.
    """

    def __init__(self, root: str | os.PathLike[str], tls: bool = False) -> None:
        """`tls` serves https, with the certificate CERTIFICATE."""
        self.root = Path(root)
        self.seen: list[Seen] = []
        self.ranges = self.etags = self.lengths = self.head = True
        self.negotiates = False
        self.login: str | None = None
        self.redirects: dict[str, str] = {}
        self.answers: dict[str, tuple[int, bytes]] = {}
        self.range_of = lambda start, stop: (start, stop)
        handler = type("Handler", (_Handler,), {"web": self})
        self._server = _Server(("127.0.0.1", 0), handler)
        self._scheme = "https" if tls else "http"
        if tls:
            context = ssl.SSLContext(ssl.PROTOCOL_TLS_SERVER)
            context.load_cert_chain(CERTIFICATE)
            self._server.socket = context.wrap_socket(self._server.socket, server_side=True)
        self.port = self._server.server_port
        self._thread = threading.Thread(target=self._server.serve_forever, args=(0.01,), name="http-server")

    @property
    def host(self) -> str:
        return f"127.0.0.1:{self.port}"

    @property
    def url(self) -> str:
        return f"{self._scheme}://{self.host}"

    def __enter__(self) -> Self:
        self._thread.start()
        return self

    def __exit__(self, *_: object) -> None:
        self._server.shutdown()
        self._thread.join()
        self._server.server_close()


class _Server(ThreadingHTTPServer):
    daemon_threads = True
    block_on_close = False
    request_queue_size = 128

    def handle_error(self, request: Any, client_address: Any) -> None:
        """A client that goes away is none of the server's business."""


class _Handler(BaseHTTPRequestHandler):
    protocol_version = "HTTP/1.1"
    disable_nagle_algorithm = True
    wbufsize = -1
    web: HttpServer

    def do_GET(self) -> None:
        web = self.web
        headers = {name.lower(): value for name, value in self.headers.items()}
        web.seen.append(Seen(self.command, self.path, headers, self.client_address[1]))
        if web.login is not None and self.headers["Authorization"] != web.login:
            return self.answer(401, b"who are you?")
        for start, target in web.redirects.items():
            if self.path.startswith(start):
                return self.answer(302, b"there", {"Location": target + self.path[len(start) :]})
        if self.path in web.answers:
            return self.answer(*web.answers[self.path])
        if self.command == "HEAD" and not web.head:
            return self.answer(501, b"")
        return self.file(web.root / unquote(self.path, errors="surrogateescape").lstrip("/"))

    do_HEAD = do_CONNECT = do_GET  # noqa: N815

    def file(self, path: Path) -> None:
        accepted = self.headers["Accept-Encoding"] or ""
        found: tuple[Path, str | None] = path, None
        for suffix, coding in ((".gz", "gzip"), (".br", "br")):
            twin = Path(f"{path}{suffix}")
            if twin.is_file() and (coding in accepted or not self.web.negotiates):
                found = twin, coding
        try:
            data = found[0].read_bytes()
        except OSError:
            return self.answer(404, b"nothing here")
        headers = {"Content-Type": "application/octet-stream"}
        if found[1]:
            headers["Content-Encoding"] = found[1]
        if self.web.etags:
            headers["ETag"] = f'"{hashlib.md5(data).hexdigest()}"'
        match = re.fullmatch(r"bytes=(\d+)-(\d+)", self.headers["Range"] or "")
        if not match or not self.web.ranges:
            return self.answer(200, data, headers)
        start, stop = self.web.range_of(int(match[1]), int(match[2]) + 1)
        if start >= len(data):
            return self.answer(416, b"", {"Content-Range": f"bytes */{len(data)}"})
        stop = min(stop, len(data))
        headers["Content-Range"] = f"bytes {start}-{stop - 1}/{len(data)}"
        return self.answer(206, data[start:stop], headers)

    def answer(self, status: int, body: bytes, headers: Mapping[str, str] | None = None) -> None:
        self.send_response(status)
        for name, value in (headers or {}).items():
            self.send_header(name, value)
        if self.web.lengths:
            self.send_header("Content-Length", str(len(body)))
            self.end_headers()
            if self.command != "HEAD":
                self.wfile.write(body)
            return
        self.send_header("Transfer-Encoding", "chunked")
        self.end_headers()
        if self.command != "HEAD":
            for start in range(0, len(body), 50_000):
                piece = body[start : start + 50_000]
                self.wfile.write(b"%x\r\n%b\r\n" % (len(piece), piece))
            self.wfile.write(b"0\r\n\r\n")

    def log_message(self, *_: Any) -> None:
        pass
