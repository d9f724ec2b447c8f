"""The fault proxy does what the tests that stand on it believe it does."""

import http.client
import socket
import threading
import time
from collections.abc import Iterator
from http.server import BaseHTTPRequestHandler, ThreadingHTTPServer
from typing import Any

import pytest
from faults import Fault, FaultProxy

BODY = bytes(range(256)) * 1200  # more than one piece


class Echo(BaseHTTPRequestHandler):
    """Answers GET with BODY, of known length, in chunks or until the end, and PUT with what was put."""

    protocol_version = "HTTP/1.1"
    expected: list[str]

    def do_GET(self) -> None:
        self.expected.append(self.headers["Host"])
        self.send_response(200)
        if self.path == "/chunked":
            self.send_header("Transfer-Encoding", "chunked")
            self.end_headers()
            for start in range(0, len(BODY), 100_000):
                piece = BODY[start : start + 100_000]
                self.wfile.write(b"%x;ext=1\r\n%b\r\n" % (len(piece), piece))
            self.wfile.write(b"0\r\nTrailer: 1\r\n\r\n")
        elif self.path == "/until-close":
            self.send_header("Connection", "close")
            self.end_headers()
            self.wfile.write(BODY)
        else:
            self.send_header("Content-Length", str(len(BODY)))
            self.end_headers()
            self.wfile.write(BODY)

    def do_HEAD(self) -> None:
        self.send_response(200)
        self.send_header("Content-Length", str(len(BODY)))
        self.end_headers()

    def do_PUT(self) -> None:  # Expect: 100-continue is answered by the base class
        if self.headers["Transfer-Encoding"] == "chunked":
            data = b""
            while size := int(self.rfile.readline(), 16):
                data += self.rfile.read(size)
                self.rfile.readline()
            self.rfile.readline()
        else:
            data = self.rfile.read(int(self.headers["Content-Length"]))
        self.expected.append(f"PUT {len(data)}")
        self.send_response(200)
        self.send_header("Content-Length", str(len(data)))
        self.end_headers()
        self.wfile.write(data)

    def log_message(self, *_: Any) -> None:
        pass


@pytest.fixture
def seen() -> list[str]:
    """What the server behind the proxy got."""
    return []


@pytest.fixture
def proxy(seen: list[str]) -> Iterator[FaultProxy]:
    handler = type("Handler", (Echo,), {"expected": seen})
    with ThreadingHTTPServer(("127.0.0.1", 0), handler) as server:
        server.daemon_threads = True
        thread = threading.Thread(target=server.serve_forever, args=(0.01,))
        thread.start()
        try:
            with FaultProxy(server.server_port) as proxy:
                yield proxy
        finally:
            server.shutdown()
            thread.join()


@pytest.fixture
def client(proxy: FaultProxy) -> Iterator[http.client.HTTPConnection]:
    connection = http.client.HTTPConnection("127.0.0.1", proxy.port, timeout=5)
    yield connection
    connection.close()


def get(client: http.client.HTTPConnection, path: str = "/a") -> bytes:
    client.request("GET", path)
    return client.getresponse().read()


def test_what_is_not_broken_passes(
    proxy: FaultProxy, client: http.client.HTTPConnection, seen: list[str]
) -> None:
    client.connect()
    port = client.sock.getsockname()
    for path in ("/a%20b?c=%2F", "/chunked", "/a"):
        assert get(client, path) == BODY
    client.request("HEAD", "/a")
    assert client.getresponse().read() == b""
    client.request("PUT", "/a", BODY, {"Host": "some.where"})
    assert client.getresponse().read() == BODY
    client.request("PUT", "/a", iter([b"one", b"two"]), encode_chunked=True)
    assert client.getresponse().read() == b"onetwo"
    assert client.sock.getsockname() == port, "the connection was not kept"
    assert get(client, "/until-close") == BODY
    assert seen[0] == f"127.0.0.1:{proxy.port}", "the header Host is the client's own"
    assert [(request.method, request.path) for request in proxy.requests[:2]] == [
        ("GET", "/a%20b?c=%2F"),
        ("GET", "/chunked"),
    ]
    assert proxy.requests[4].headers["host"] == "some.where"


def test_a_client_may_wait_for_leave_to_send(proxy: FaultProxy, seen: list[str]) -> None:
    with socket.create_connection(("127.0.0.1", proxy.port), timeout=5) as plain:
        for _ in range(2):  # on one connection
            plain.sendall(b"PUT / HTTP/1.1\r\nHost: a\r\nContent-Length: 3\r\nExpect: 100-continue\r\n\r\n")
            assert plain.recv(1000).startswith(b"HTTP/1.1 100 ")
            plain.sendall(b"abc")
            assert plain.recv(1000).startswith(b"HTTP/1.1 200 ")
            assert plain.recv(1000) == b"abc"
    assert seen == ["PUT 3"] * 2


def test_an_answer_of_its_own(proxy: FaultProxy, client: http.client.HTTPConnection, seen: list[str]) -> None:
    proxy.plan(Fault.status(503, {"Retry-After": "7"}), Fault.status(429, body=b"slow down"))
    client.request("PUT", "/a", BODY)
    answer = client.getresponse()
    assert (answer.status, answer.headers["Retry-After"], answer.read()) == (503, "7", b"broken")
    client.request("HEAD", "/a")
    answer = client.getresponse()
    assert (answer.status, answer.read()) == (429, b"")
    assert seen == []
    assert get(client) == BODY
    assert proxy.left == 0


def test_faults_are_for_requests_that_match(proxy: FaultProxy, client: http.client.HTTPConnection) -> None:
    proxy.plan(Fault.passing(), Fault.status(500), match=lambda request: request.path == "/b")
    proxy.plan(Fault.status(404), match=lambda request: request.path == "/c", forever=True)
    found = []
    for path in ("/a", "/b", "/a", "/b", "/b", "/c", "/c"):
        client.request("GET", path)
        answer = client.getresponse()
        answer.read()
        found.append(answer.status)
    assert found == [200, 200, 200, 500, 200, 404, 404]
    proxy.clear()
    assert get(client, "/c") == BODY
    assert [request.path for request in proxy.requests] == ["/c"]


@pytest.mark.parametrize("path", ["/known", "/chunked", "/until-close"])
def test_a_body_is_cut(proxy: FaultProxy, client: http.client.HTTPConnection, path: str) -> None:
    proxy.plan(*[Fault.truncate(after) for after in (0, 100, 70_000)])
    for after in (0, 100, 70_000):
        client.request("GET", path)
        answer = client.getresponse()
        assert answer.read(after) == BODY[:after]
        if path == "/until-close":  # nobody can tell
            assert answer.read() == b""
        else:
            with pytest.raises(http.client.IncompleteRead):
                answer.read()
        client.close()


def test_connections_are_reset(
    proxy: FaultProxy, client: http.client.HTTPConnection, seen: list[str]
) -> None:
    proxy.plan(Fault.reset(), Fault.reset(after=1000))
    with pytest.raises(ConnectionResetError):
        get(client)
    client.close()
    assert seen == []
    client.request("GET", "/a")
    answer = client.getresponse()
    assert answer.read(1000) == BODY[:1000]
    with pytest.raises(ConnectionResetError):
        answer.read()
    client.close()
    assert get(client) == BODY


def test_a_request_goes_through_and_its_answer_is_lost(
    proxy: FaultProxy, client: http.client.HTTPConnection, seen: list[str]
) -> None:
    proxy.plan(Fault.drop())
    client.request("PUT", "/a", BODY)
    with pytest.raises(ConnectionResetError):
        client.getresponse()
    assert seen == [f"PUT {len(BODY)}"]


@pytest.mark.parametrize("after", [None, 1000])
def test_nothing_comes_any_more(proxy: FaultProxy, seen: list[str], after: int | None) -> None:
    proxy.plan(Fault.stall(after))
    client = http.client.HTTPConnection("127.0.0.1", proxy.port, timeout=0.2)
    try:
        client.request("GET", "/a")
        if after is not None:
            answer = client.getresponse()
            assert answer.read(after) == BODY[:after]
            with pytest.raises(TimeoutError):
                answer.read(1)
        else:
            with pytest.raises(TimeoutError):
                client.getresponse()
        assert len(seen) == (after is not None)
    finally:
        client.close()


def test_a_slow_body_is_whole(proxy: FaultProxy, client: http.client.HTTPConnection) -> None:
    proxy.plan(Fault.slow(pause=0.01, piece=len(BODY) // 10))
    start = time.monotonic()
    assert get(client) == BODY
    assert time.monotonic() - start >= 0.1


@pytest.mark.parametrize("path", ["/known", "/chunked"])
def test_one_byte_is_changed(proxy: FaultProxy, client: http.client.HTTPConnection, path: str) -> None:
    proxy.plan(Fault.corrupt(at=200_003))
    found = get(client, path)
    assert len(found) == len(BODY)
    assert [at for at in range(len(BODY)) if found[at] != BODY[at]] == [200_003]
    assert get(client, path) == BODY


def test_a_server_that_is_not_there(proxy: FaultProxy) -> None:
    with socket.socket() as unused:
        unused.bind(("127.0.0.1", 0))
        with FaultProxy(unused.getsockname()[1]) as lonely:
            client = http.client.HTTPConnection("127.0.0.1", lonely.port, timeout=5)
            with pytest.raises((ConnectionError, http.client.HTTPException)):
                get(client)
            client.close()


def test_a_stalled_client_does_not_hold_up_the_end(seen: list[str]) -> None:
    with socket.create_server(("127.0.0.1", 0)) as silent, FaultProxy(silent.getsockname()[1]) as proxy:
        client = http.client.HTTPConnection("127.0.0.1", proxy.port, timeout=5)
        client.request("GET", "/a")
        silent.accept()[0].close()
        other = http.client.HTTPConnection("127.0.0.1", proxy.port, timeout=5)
        proxy.plan(Fault.stall(), match=lambda request: request.path == "/b")
        other.request("GET", "/b")
    client.close()
    other.close()
