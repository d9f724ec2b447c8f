"""What is read from a connection: any answer, in any pieces, is what http.client makes of the same bytes."""

import socket
import threading
import time
import tracemalloc
from collections.abc import Callable, Iterator, Sequence
from contextlib import contextmanager, suppress
from http.client import HTTPResponse
from typing import Any

import pytest
from hypothesis import given
from hypothesis import strategies as st

from precomp.errors import StoreError
from precomp.interfaces import ByteRange
from precomp.retry import Limits, TransientError
from precomp.url import parse
from precomp_plugins._http.options import HttpOptions
from precomp_plugins._http.store import HttpStore
from precomp_plugins._wire.connections import Connections
from precomp_plugins._wire.received import FAILURES, receive


def limits(seconds: float = 5.0, timeout: float = 5.0) -> Limits:
    return Limits(timeout, time.monotonic() + seconds)


class Pieces:
    """A socket that gives its bytes in pieces, and then nothing."""

    def __init__(self, data: bytes, cuts: Sequence[int]) -> None:
        ends = sorted({min(cut, len(data)) for cut in cuts} | {len(data)})
        self._pieces = [data[start:end] for start, end in zip([0, *ends], ends, strict=False) if start < end]
        self.timeouts: list[float] = []

    def settimeout(self, seconds: float) -> None:
        self.timeouts.append(seconds)

    def recv(self, most: int) -> bytes:
        if not self._pieces:
            return b""
        piece = self._pieces.pop(0)
        if len(piece) > most:
            self._pieces.insert(0, piece[most:])
        return piece[:most]

    def recv_into(self, memory: Any) -> int:
        piece = self.recv(len(memory))
        memory[: len(piece)] = piece
        return len(piece)

    def makefile(self, mode: str) -> Any:
        import io

        return io.BytesIO(b"".join(self._pieces))

    @property
    def left(self) -> bytes:
        return b"".join(self._pieces)


BODIES = st.binary(max_size=300)
NAMES = st.sampled_from(["X-A", "etag", "Content-Type", "x-amz-checksum-crc32c", "VARY", "Connection"])
VALUES = st.text(st.characters(min_codepoint=33, max_codepoint=126), max_size=12)
BLANKS = st.sampled_from(["", " ", "  ", "\t"])


@st.composite
def answers(draw: st.DrawFn) -> tuple[str, bytes]:
    """The method of a request, and a right answer to it."""
    method = draw(st.sampled_from(["GET", "GET", "GET", "HEAD", "PUT"]))
    status = draw(st.sampled_from([200, 200, 200, 206, 404, 503, 204, 304]))
    version = draw(st.sampled_from(["1.1", "1.1", "1.1", "1.0"]))
    end = draw(st.sampled_from(["\r\n", "\r\n", "\r\n", "\n"]))
    reason = draw(st.sampled_from([" OK", " Not Found", " ", ""]))
    body = draw(BODIES)
    headers: list[str] = [
        f"{name}:{draw(BLANKS)}{value}{draw(BLANKS)}"
        for name, value in draw(st.lists(st.tuples(NAMES, VALUES), max_size=4))
    ]
    fold: bool = draw(st.booleans())
    if headers and fold:
        headers[0] += f"{end} folded"
    framing = draw(st.sampled_from(["length", "length", "length", "chunked", "none"]))
    if framing == "chunked" and version == "1.1":
        cut = draw(st.integers(0, len(body)))
        parts = [part for part in (body[:cut], body[cut:]) if part]
        sent = b"".join(b"%x;name=value\r\n%b\r\n" % (len(part), part) for part in parts)
        sent += b"0\r\n" + draw(st.sampled_from([b"", b"Trailer: x\r\n"])) + b"\r\n"
        headers.insert(draw(st.integers(0, len(headers))), "Transfer-Encoding: chunked")
    else:
        sent = body
        if framing == "length":
            times = draw(st.sampled_from([1, 1, 1, 2]))
            headers.extend([f"Content-Length: {len(body)}"] * times)
    if method == "HEAD" or status in (204, 304):
        sent = b""
    before = draw(st.sampled_from(["", "", "", f"HTTP/1.1 100 Continue{end}{end}"]))
    head = f"{before}HTTP/{version} {status}{reason}{end}{''.join(f'{line}{end}' for line in headers)}{end}"
    return method, head.encode() + sent


@given(answers(), st.lists(st.integers(0, 700), max_size=12) | st.just(range(2000)))
def test_any_answer_in_any_pieces(answer: tuple[str, bytes], cuts: Sequence[int]) -> None:
    method, data = answer
    model = HTTPResponse(Pieces(data, []), method=method)  # type: ignore[arg-type]
    model.begin()
    received = receive(Pieces(data, cuts), method, limits())
    assert (received.status, received.reason.strip()) == (model.status, model.reason)
    told = {name.lower() for name, _ in model.getheaders()}
    assert set(received.headers) == told
    for name in told - {"content-length"}:
        values = ", ".join(model.headers.get_all(name, []))
        assert received.headers[name].replace(",", " ").split() == values.replace(",", " ").split()
    bodiless = method == "HEAD" or model.status in (204, 304)  # http.client looks for chunks all the same
    assert bytes(received.read()) == (b"" if bodiless else model.read())


@given(answers(), st.lists(st.integers(0, 700), max_size=5), st.data())
def test_an_answer_that_ends_too_soon_is_never_whole(
    answer: tuple[str, bytes], cuts: Sequence[int], data: st.DataObject
) -> None:
    """Save where nobody can tell: where the end of the connection is the end of the body."""
    method, sent = answer
    cut = data.draw(st.integers(0, len(sent) - 1))
    try:
        received = receive(Pieces(sent[:cut], cuts), method, limits())
        body = received.read()
    except FAILURES:
        return
    whole = receive(Pieces(sent, []), method, limits())
    expected = whole.read()
    short = len(body) < len(expected) or set(received.headers) < set(whole.headers)
    if short and received.length is not None:
        assert len(body) < received.length
    elif short:
        assert "transfer-encoding" not in received.headers
        assert not received.is_over


@given(answers(), st.binary(max_size=20), st.integers(0, 300), st.lists(st.integers(0, 700), max_size=5))
def test_a_connection_is_used_again_only_where_nothing_is_left(
    answer: tuple[str, bytes], more: bytes, most: int, cuts: Sequence[int]
) -> None:
    method, data = answer
    sock = Pieces(data, cuts)
    received = receive(sock, method, limits())
    received.read(most)
    if received.is_over:
        assert sock.left == b""
        assert "close" not in received.headers.get("connection", "").lower()
    rest = received.read()
    expected = receive(Pieces(data, []), method, limits()).read()
    assert rest == expected[most:]


# --- by sockets -----------------------------------------------------------------------------------------


@contextmanager
def server(talk: Callable[[socket.socket], None]) -> Iterator[str]:
    """A server that does what `talk` does with each connection, and the start of its URLs."""
    with socket.create_server(("127.0.0.1", 0)) as listening:
        talks: list[threading.Thread] = []

        def serve() -> None:
            with suppress(OSError):
                while True:
                    talks.append(threading.Thread(target=answer, args=(listening.accept()[0],), daemon=True))
                    talks[-1].start()

        def answer(sock: socket.socket) -> None:
            with sock, suppress(OSError):
                talk(sock)

        thread = threading.Thread(target=serve, daemon=True)
        thread.start()
        yield f"http://127.0.0.1:{listening.getsockname()[1]}"
        listening.shutdown(socket.SHUT_RDWR)
        thread.join(5)


def connections() -> Connections:
    return Connections(lambda url: None, lambda: pytest.fail("no TLS here"), "")


def fetched(url: str, within: Limits, body: bytes | None = None) -> tuple[int, bytes]:
    with connections().send("x", "PUT" if body else "GET", url, {}, within, body and [body]) as answer:
        return answer.status, bytes(answer.read())


def asked(sock: socket.socket) -> bytes:
    """The head of the next request."""
    head = b""
    while b"\r\n\r\n" not in head:
        piece = sock.recv(1)
        if not piece:
            raise OSError("gone")
        head += piece
    return head


def saying(data: bytes) -> Callable[[socket.socket], None]:
    def talk(sock: socket.socket) -> None:
        while True:
            asked(sock)
            sock.sendall(data)

    return talk


HOSTILE = {
    "two lengths": b"HTTP/1.1 200 OK\r\nContent-Length: 3\r\nContent-Length: 4\r\n\r\nabcd",
    "a negative length": b"HTTP/1.1 200 OK\r\nContent-Length: -3\r\n\r\nabcd",
    "no number": b"HTTP/1.1 200 OK\r\nContent-Length: 0x3\r\n\r\nabcd",
    "a number of 5000 digits": b"HTTP/1.1 200 OK\r\nContent-Length: " + b"9" * 5000 + b"\r\n\r\nabcd",
    "no http": b"SSH-2.0-OpenSSH_9.2\r\n\r\n",
    "an older http": b"ICY 200 OK\r\nContent-Length: 4\r\n\r\nabcd",
    "an endless line": b"HTTP/1.1 200 OK\r\nX: " + b"x" * 200_000 + b"\r\n\r\n",
    "too many headers": b"HTTP/1.1 200 OK\r\n" + b"X: y\r\n" * 20_000 + b"\r\n",
    "no size of a chunk": b"HTTP/1.1 200 OK\r\nTransfer-Encoding: chunked\r\n\r\nzz\r\nabcd\r\n0\r\n\r\n",
}


@pytest.mark.parametrize("data", HOSTILE.values(), ids=list(HOSTILE))
def test_nonsense_is_an_error(data: bytes) -> None:
    with server(saying(data)) as url:
        store = HttpStore.opened(parse(f"{url}/ds/layer"), HttpOptions(max_attempts=2, timeout=2.0))
        for part in (None, ByteRange(1, 3)):
            with pytest.raises(StoreError, match="/ds/layer/x: tried 2 times"):
                store.get("x", part)


def test_what_is_announced_takes_no_memory_until_it_comes() -> None:
    with server(saying(b"HTTP/1.1 200 OK\r\nContent-Length: 9000000000000\r\n\r\nabcd")) as url:
        tracemalloc.start()
        try:
            with pytest.raises(TransientError):
                fetched(f"{url}/x", limits(0.3, 0.2))
            assert tracemalloc.get_traced_memory()[1] < 2**27
        finally:
            tracemalloc.stop()


@pytest.mark.parametrize(
    "start", [b"HTTP/1.1 200 OK\r\nX: ", b"HTTP/1.1 200 OK\r\nContent-Length: 900\r\n\r\n"]
)
def test_the_deadline_ends_what_trickles(start: bytes) -> None:
    def talk(sock: socket.socket) -> None:
        asked(sock)
        sock.sendall(start)
        while True:
            time.sleep(0.05)
            sock.sendall(b"x")

    with server(talk) as url:
        begun = time.monotonic()
        with pytest.raises(TransientError, match=r"when the time was over|nothing came"):
            fetched(f"{url}/x", limits(0.5))
        assert time.monotonic() - begun < 3


@pytest.mark.parametrize("hint", [b"HTTP/1.1 103 Early Hints\r\n\r\n", b"HTTP/1.1 100 Continue\n\n"])
def test_answers_about_answers_end_with_the_deadline(hint: bytes) -> None:
    def talk(sock: socket.socket) -> None:
        asked(sock)
        while True:
            sock.sendall(hint)
            time.sleep(0.01)

    with server(talk) as url, pytest.raises(TransientError):
        connections().send("x", "GET", f"{url}/x", {}, limits(0.5))


def test_connections_are_used_again_and_closed_ones_are_not() -> None:
    seen: list[int] = []

    def talk(sock: socket.socket) -> None:
        for number in range(3):
            asked(sock)
            seen.append(sock.getpeername()[1])
            sock.sendall(b"HTTP/1.1 200 OK\r\nContent-Length: 1\r\n\r\n%d" % number)

    one = connections()
    with server(talk) as url:
        found = []
        for number in range(7):
            with one.send("x", "GET", f"{url}/x", {}, limits()) as answer:
                found.append(bytes(answer.read()))
            if number % 3 == 2:
                time.sleep(0.1)  # until it is closed
    assert found == [b"0", b"1", b"2", b"0", b"1", b"2", b"0"]
    assert len(set(seen)) == 3


@pytest.mark.parametrize("read", [None, 0, 5])
@pytest.mark.parametrize(
    "data",
    [
        b"HTTP/1.1 200 OK\r\nContent-Length: 10\r\n\r\n0123456789",
        b"HTTP/1.1 200 OK\r\nContent-Length: 10\r\n\r\n0123456789 and more",
        b"HTTP/1.1 200 OK\r\nContent-Length: 10\r\nConnection: close\r\n\r\n0123456789",
        b"HTTP/1.1 200 OK\r\nTransfer-Encoding: chunked\r\n\r\na\r\n0123456789\r\n0\r\n\r\n",
        b"HTTP/1.0 200 OK\r\nContent-Length: 10\r\n\r\n0123456789",
    ],
)
def test_no_answer_is_mixed_up_with_the_rest_of_another(data: bytes, read: int | None) -> None:
    one = connections()
    with server(saying(data)) as url:
        for _ in range(3):
            with one.send("x", "GET", f"{url}/x", {}, limits()) as answer:
                expected = b"0123456789" if read is None else b"0123456789"[:read]
                assert bytes(answer.read(read)) == expected
        for _ in range(2):
            with one.send("x", "HEAD", f"{url}/x", {}, limits()) as answer:  # it has a body, as it must not
                assert (answer.status, bytes(answer.read())) == (200, b"")


@pytest.mark.parametrize(
    "headers",
    [{"X": "a\r\nY: b"}, {"X": "a\nb"}, {"X\r\nY": "a"}, {"X": "ü"}],
    ids=["crlf", "lf", "name", "ü"],
)
def test_a_request_is_never_two(headers: dict[str, str]) -> None:
    seen: list[bytes] = []

    def talk(sock: socket.socket) -> None:
        seen.append(asked(sock))

    with server(talk) as url, pytest.raises(StoreError, match="x: no request can be sent"):
        connections().send("x", "GET", f"{url}/x", headers, limits())
    assert seen == []


def test_an_answer_before_the_body_was_sent_is_heard() -> None:
    def talk(sock: socket.socket) -> None:
        asked(sock)
        sock.sendall(b"HTTP/1.1 403 Forbidden\r\nContent-Length: 2\r\nConnection: close\r\n\r\nno")
        time.sleep(0.2)
        sock.shutdown(socket.SHUT_WR)

    def drained(sock: socket.socket) -> None:
        talk(sock)
        while sock.recv(2**16):
            pass

    with server(drained) as url:
        assert fetched(f"{url}/x", limits(), bytes(2**25)) == (403, b"no")


def test_sending_ends_with_the_deadline() -> None:
    def talk(sock: socket.socket) -> None:
        time.sleep(30)

    with server(talk) as url:
        begun = time.monotonic()
        with pytest.raises(TransientError):
            connections().send("x", "PUT", f"{url}/x", {}, limits(0.5, 0.4), [bytes(2**26)])
        assert time.monotonic() - begun < 5


def test_many_threads_share_connections() -> None:
    def talk(sock: socket.socket) -> None:
        while True:
            path = asked(sock).split()[1]
            sock.sendall(b"HTTP/1.1 200 OK\r\nContent-Length: %d\r\n\r\n%b" % (len(path), path))

    one = connections()
    wrong: list[Any] = []

    def ask(url: str, number: int) -> None:
        for turn in range(40):
            path = f"/{number}/{turn}/{'x' * turn}"
            with one.send("x", "GET", url + path, {}, limits()) as answer:
                if bytes(answer.read()).decode() != path:
                    wrong.append(path)

    with server(talk) as url:
        threads = [threading.Thread(target=ask, args=(url, number)) for number in range(16)]
        for thread in threads:
            thread.start()
        for thread in threads:
            thread.join(60)
    assert wrong == []
