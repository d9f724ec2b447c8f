"""Ways to a host: through proxies, by TLS, with addresses of all kinds."""

import socket
import ssl
import threading
import time
from collections.abc import Iterator
from contextlib import contextmanager, suppress
from pathlib import Path
from typing import Any

import pytest
from servers.http import CERTIFICATE, HttpServer

from precomp.errors import StoreError
from precomp.retry import Limits, TransientError
from precomp_plugins._wire.connections import Connections
from precomp_plugins._wire.proxies import stays_here

DATA = bytes(range(256)) * 999


def limits() -> Limits:
    return Limits(5.0, time.monotonic() + 10)


def trusted() -> ssl.SSLContext:
    return ssl.create_default_context(cafile=str(CERTIFICATE))


def fetched(connections: Connections, url: str) -> tuple[int, bytes]:
    with connections.send("x", "GET", url, {}, limits()) as answer:
        return answer.status, bytes(answer.read())


@pytest.fixture
def root(tmp_path: Path) -> Path:
    (tmp_path / "x").write_bytes(DATA)
    return tmp_path


@contextmanager
def tunnels(*, tls: bool) -> Iterator[tuple[str, list[bytes]]]:
    """A proxy that connects to whatever it is asked for, its address, and the heads that it was sent."""
    heads: list[bytes] = []

    def pump(source: Any, target: Any) -> None:
        with suppress(OSError):
            while piece := source.recv(2**16):
                target.sendall(piece)
            target.shutdown(socket.SHUT_WR)

    def serve(client: Any) -> None:
        with suppress(OSError), client:
            head = b""
            while b"\r\n\r\n" not in head:
                head += client.recv(1)
            heads.append(head)
            host, _, port = head.split()[1].decode().rpartition(":")
            with socket.create_connection((host.strip("[]"), int(port))) as server:
                client.sendall(b"HTTP/1.1 200 Connection established\r\nX: y\r\n\r\n")
                back = threading.Thread(target=pump, args=(server, client), daemon=True)
                back.start()
                pump(client, server)
                back.join(5)

    context = ssl.SSLContext(ssl.PROTOCOL_TLS_SERVER)
    context.load_cert_chain(CERTIFICATE)
    with socket.create_server(("127.0.0.1", 0)) as listening:

        def accept() -> None:
            with suppress(OSError):
                while True:
                    client = listening.accept()[0]
                    if tls:
                        client = context.wrap_socket(client, server_side=True)
                    threading.Thread(target=serve, args=(client,), daemon=True).start()

        thread = threading.Thread(target=accept, daemon=True)
        thread.start()
        yield f"{'https' if tls else 'http'}://ada:w%40rd@localhost:{listening.getsockname()[1]}", heads
        listening.shutdown(socket.SHUT_RDWR)
        thread.join(5)


@pytest.mark.parametrize("tls", [False, True], ids=["http", "https"])
def test_https_by_a_tunnel(root: Path, tls: bool) -> None:
    with HttpServer(root, tls=True) as server, tunnels(tls=tls) as (proxy, heads):
        connections = Connections(lambda url: proxy, trusted, "")
        for _ in range(2):
            assert fetched(connections, f"{server.url}/x") == (200, DATA)
        (head,) = heads  # the tunnel is used again
        assert head.startswith(f"CONNECT {server.host} HTTP/1.".encode())
        assert b"proxy-authorization: Basic YWRhOndAcmQ=\r\n" in head.replace(b"Proxy-A", b"proxy-a")
        assert not any("proxy-authorization" in request.headers for request in server.seen)
        assert len({request.client for request in server.seen}) == 1


def test_http_by_a_proxy_that_is_spoken_to_by_tls(root: Path) -> None:
    """It wants to see the whole address."""
    with HttpServer(root, tls=True) as server:
        server.answers["http://far.example.org/x"] = 200, DATA
        proxy = f"https://ada:w%40rd@{server.host}"
        assert fetched(Connections(lambda url: proxy, trusted, ""), "http://far.example.org/x") == (200, DATA)
        (request,) = server.seen
        assert request.headers["host"] == "far.example.org"
        assert request.headers["proxy-authorization"] == "Basic YWRhOndAcmQ="


@pytest.mark.skipif(not socket.has_ipv6, reason="no IPv6 here")
def test_an_address_of_ipv6(root: Path) -> None:
    try:
        listening = socket.create_server(("::1", 0), family=socket.AF_INET6)
    except OSError:
        pytest.skip("no IPv6 here")
    with listening, HttpServer(root) as server:
        port = listening.getsockname()[1]

        def forward() -> None:
            client = listening.accept()[0]
            with client, socket.create_connection(("127.0.0.1", server.port)) as other:
                other.sendall(client.recv(2**16))
                while piece := other.recv(2**16):
                    client.sendall(piece)

        threading.Thread(target=forward, daemon=True).start()
        assert fetched(Connections(lambda url: None, trusted, ""), f"http://[::1]:{port}/x") == (200, DATA)
        assert server.seen[0].headers["host"] == f"[::1]:{port}"


@pytest.mark.parametrize(
    ("url", "host"),
    [
        ("http://far.example.org:80/x", "far.example.org"),
        ("http://far.example.org:8080/x", "far.example.org:8080"),
        ("http://FAR.example.org/x", "far.example.org"),
    ],
)
def test_the_host_is_named_as_it_is_usual(root: Path, url: str, host: str) -> None:
    with HttpServer(root) as server:
        fetched(Connections(lambda url: server.url, trusted, ""), url)
        (request,) = server.seen
        assert (request.headers["host"], request.path) == (host, f"http://{host}/x")


def test_what_is_open_is_closed_with_the_store(root: Path) -> None:
    """An open socket that is forgotten raises a ResourceWarning, which is an error in these tests."""
    with HttpServer(root) as server:
        connections = Connections(lambda url: None, trusted, "")
        assert fetched(connections, f"{server.url}/x") == (200, DATA)
        kept = connections._hosts[server.url]._idle[0]
        sock = kept.sock
        assert sock.fileno() >= 0
        del connections, kept
        assert sock.fileno() == -1


@pytest.mark.parametrize("scheme", ["http", "https"])
def test_a_proxy_that_is_not_there_is_named(scheme: str) -> None:
    """Not its password, and not the host alone, which may be in the best of health."""
    with socket.create_server(("127.0.0.1", 0)) as free:
        port = free.getsockname()[1]
    for address, error, told in (
        (f"127.0.0.1:{port}", TransientError, f"to far.example.org by the proxy 127.0.0.1:{port} failed"),
        ("no-such-host.invalid:3128", StoreError, "no host no-such-host.invalid:3128, the proxy to far"),
    ):
        connections = Connections(lambda _, at=address: f"http://ada:pass-word@{at}", trusted, "")
        with pytest.raises(error, match=told) as caught:
            fetched(connections, f"{scheme}://far.example.org/x")
        assert "pass-word" not in str(caught.value)


def test_what_goes_by_a_proxy_does_not_stay_here(monkeypatch: pytest.MonkeyPatch) -> None:
    for name in ("http_proxy", "HTTP_PROXY", "no_proxy", "NO_PROXY", "all_proxy", "ALL_PROXY"):
        monkeypatch.delenv(name, raising=False)
    ours = ["http://127.0.0.1:8333", "http://127.9.9.9", "http://localhost:8333/x", "http://[::1]:8333"]
    others = ["http://0.0.0.0", "http://10.0.0.1", "http://localhost.example.org", "http://[fe80::1]"]
    assert [stays_here(url) for url in ours + others] == [True] * 4 + [False] * 4
    monkeypatch.setenv("HTTP_PROXY", "http://proxy.example.org:3128")
    assert not any(map(stays_here, ours))
    monkeypatch.setenv("NO_PROXY", "127.0.0.1")
    assert stays_here(ours[0])
    assert not stays_here(ours[2])
