"""A proxy for tests: it stands before a real HTTP server and breaks what it is told to break.

    with FaultProxy(server_port) as proxy:
        proxy.plan(Fault.status(503, {"Retry-After": "0"}), Fault.truncate(100))
        ...  # a client of http://127.0.0.1:{proxy.port}
        assert proxy.left == 0

What it does not break it forwards byte by byte, the header Host too (S3's signatures cover it), bodies of
known length and chunked ones, `100 Continue` and answers that end with their connection.
"""

import asyncio
import contextlib
import socket
import struct
import threading
from collections.abc import AsyncIterator, Callable, Mapping
from http import HTTPStatus
from typing import NamedTuple, Self, TypeAlias

_PIECE = 2**16  # bytes at a time
_LONGEST_HEAD = 2**20  # bytes


class Request(NamedTuple):
    """What a client asked for; `path` as it stands in the request line, header names in lower case."""

    method: str
    path: str
    headers: Mapping[str, str]


Match: TypeAlias = Callable[[Request], bool]


class Fault(NamedTuple):
    """What happens to one request. `after` and `at` count bytes of the answer's body, chunk frames aside."""

    name: str
    answer: tuple[bytes, bytes] | None = None  # head and body; the server's own where None
    asks: bool = True  # whether the server gets the request
    shows: bool = True  # whether the client gets the answer
    after: int | None = None  # all of it where None
    end: str = ""  # of the connection: close, reset, stall; it is kept where empty
    at: int | None = None  # the byte that is changed
    pause: float = 0.0  # seconds after each piece
    piece: int = _PIECE

    @classmethod
    def passing(cls) -> Self:
        """None: this request goes well."""
        return cls("passing")

    @classmethod
    def status(cls, code: int, headers: Mapping[str, str] | None = None, body: bytes = b"broken") -> Self:
        """The server is not asked, the answer is this one."""
        lines = {"Content-Length": str(len(body)), **(headers or {})}
        fields = "".join(f"{name}: {value}\r\n" for name, value in lines.items())
        reason = HTTPStatus(code).phrase
        return cls(f"{code}", answer=(f"HTTP/1.1 {code} {reason}\r\n{fields}\r\n".encode(), body), asks=False)

    @classmethod
    def reset(cls, after: int | None = None) -> Self:
        """The connection is reset: before the server is asked, or `after` bytes of the answer's body."""
        return cls("reset", asks=after is not None, shows=after is not None, after=after, end="reset")

    @classmethod
    def truncate(cls, after: int) -> Self:
        """The connection is closed in good order `after` bytes of the answer's body."""
        return cls("truncate", after=after, end="close")

    @classmethod
    def stall(cls, after: int | None = None) -> Self:
        """Nothing comes any more: before the server is asked, or `after` bytes of the answer's body."""
        return cls("stall", asks=after is not None, shows=after is not None, after=after, end="stall")

    @classmethod
    def slow(cls, pause: float, piece: int) -> Self:
        """The answer's body comes in pieces, with a pause of so many seconds after each."""
        return cls("slow", pause=pause, piece=piece)

    @classmethod
    def corrupt(cls, at: int) -> Self:
        """All bits of one byte of the answer's body are turned over."""
        return cls("corrupt", at=at)

    @classmethod
    def drop(cls) -> Self:
        """The request went through and the server answered, the client sees a reset connection instead."""
        return cls("drop", shows=False, end="reset")


class FaultProxy:
    """Forwards to `127.0.0.1:server_port`; `port` is its own.

    Attributes:
        port: where clients connect.
        requests: what was asked for so far, in the order in which it came.
    """

    def __init__(self, server_port: int) -> None:
        self.port = 0
        self.requests: list[Request] = []
        self._server_port = server_port
        self._plans: list[tuple[Match, list[Fault], bool]] = []
        self._planning = threading.Lock()
        self._failures: list[Exception] = []
        self._tasks: set[asyncio.Task[None]] = set()
        self._ready = threading.Event()
        self._thread = threading.Thread(target=lambda: asyncio.run(self._run()), name="faults", daemon=True)

    def plan(self, *faults: Fault, match: Match = lambda request: True, forever: bool = False) -> None:
        """Break the next requests that match, one fault each, in this order; `forever` repeats the last.

        Of several plans the first with a fault left that matches a request serves it.
        """
        with self._planning:
            self._plans.append((match, list(faults), forever))

    def clear(self) -> None:
        """Forget all plans and requests."""
        with self._planning:
            self._plans.clear()
            self.requests.clear()

    @property
    def left(self) -> int:
        """How many faults have not happened yet, those that are repeated aside."""
        with self._planning:
            return sum(len(faults) for _, faults, forever in self._plans if not forever)

    def __enter__(self) -> Self:
        self._thread.start()
        assert self._ready.wait(10), "the proxy does not start"
        return self

    def __exit__(self, *_: object) -> None:
        self._loop.call_soon_threadsafe(self._stop.set)
        self._thread.join(10)
        assert not self._thread.is_alive(), "the proxy does not stop"
        if self._failures:
            raise self._failures[0]

    async def _run(self) -> None:
        self._loop, self._stop = asyncio.get_running_loop(), asyncio.Event()
        server = await asyncio.start_server(self._connected, "127.0.0.1", 0, limit=_LONGEST_HEAD)
        self.port = server.sockets[0].getsockname()[1]
        self._ready.set()
        await self._stop.wait()
        await asyncio.sleep(0.01)  # asyncio leaks a connection that is just coming in when the server closes
        server.close()
        tasks = list(self._tasks)
        for task in tasks:
            task.cancel()
        await asyncio.gather(*tasks, return_exceptions=True)
        await asyncio.sleep(0)  # closed transports free their sockets now

    async def _connected(self, reader: asyncio.StreamReader, writer: asyncio.StreamWriter) -> None:
        """Serve the requests of one client's connection, with one connection to the server."""
        task = asyncio.current_task()
        assert task is not None
        self._tasks.add(task)
        writer.transport.set_write_buffer_limits(0)  # what is drained has left
        server: tuple[asyncio.StreamReader, asyncio.StreamWriter] | None = None
        try:
            while head := await _head(reader):
                request = _parsed(head)
                fault = self._next(request)
                if fault.answer is not None:
                    kept = await _answered(fault.answer, request, reader, writer)
                elif not fault.asks:
                    await _drained(reader, request)
                    kept = await _ended(fault, reader, writer)
                else:
                    if server is None or server[0].at_eof():
                        server = await asyncio.open_connection(
                            "127.0.0.1", self._server_port, limit=_LONGEST_HEAD
                        )
                    kept = await _forwarded(head, request, fault, (reader, writer), server)
                if not kept:
                    break
        except (ConnectionError, asyncio.IncompleteReadError):
            pass  # one of the two has gone, and so goes the other
        except asyncio.CancelledError:  # by _run: an ended task is all that it waits for
            pass
        except Exception as error:  # noqa: BLE001  the test is told
            self._failures.append(error)
        finally:
            for one in [writer, *(server or ())[1:]]:
                one.transport.abort()  # all that is to be sent has been
            self._tasks.discard(task)

    def _next(self, request: Request) -> Fault:
        with self._planning:
            self.requests.append(request)
            for match, faults, forever in self._plans:
                if faults and match(request):
                    return faults[0] if forever and len(faults) == 1 else faults.pop(0)
        return Fault.passing()


async def _head(reader: asyncio.StreamReader) -> bytes:
    """The next message up to its empty line; nothing where the connection ends before."""
    try:
        return await reader.readuntil(b"\r\n\r\n")
    except asyncio.IncompleteReadError as error:
        if error.partial:
            raise
        return b""


def _fields(head: bytes) -> dict[str, str]:
    found: dict[str, str] = {}
    for line in head.decode("latin-1").split("\r\n")[1:]:
        name, _, value = line.partition(":")
        if name:
            before = found.get(name.lower())
            found[name.lower()] = value.strip() if before is None else f"{before}, {value.strip()}"
    return found


def _parsed(head: bytes) -> Request:
    method, path, _ = head.partition(b"\r\n")[0].decode("latin-1").split(" ")
    return Request(method, path, _fields(head))


async def _pieces(
    reader: asyncio.StreamReader, headers: Mapping[str, str], until_close: bool = False
) -> AsyncIterator[tuple[bytes, bool]]:
    """Yield a body's bytes as they come, and whether they are payload or a chunk's frame."""
    if "chunked" in headers.get("transfer-encoding", "").lower():
        size = -1
        while size:
            frame = await reader.readuntil(b"\r\n")
            yield frame, False
            size = int(frame.partition(b";")[0], 16)
            async for piece in _counted(reader, size):
                yield piece, True
            if size:
                yield await reader.readexactly(2), False
        frame = b""
        while frame != b"\r\n":  # trailers
            frame = await reader.readuntil(b"\r\n")
            yield frame, False
    elif "content-length" in headers:
        async for piece in _counted(reader, int(headers["content-length"])):
            yield piece, True
    elif until_close:
        while piece := await reader.read(_PIECE):
            yield piece, True


async def _counted(reader: asyncio.StreamReader, size: int) -> AsyncIterator[bytes]:
    while size:
        piece = await reader.read(min(size, _PIECE))
        if not piece:
            raise asyncio.IncompleteReadError(b"", size)
        size -= len(piece)
        yield piece


async def _drained(reader: asyncio.StreamReader, request: Request) -> None:
    """Read a request's body, unless its client waits for leave to send it."""
    if "expect" not in request.headers:
        async for _ in _pieces(reader, request.headers):
            pass


async def _answered(
    answer: tuple[bytes, bytes], request: Request, reader: asyncio.StreamReader, writer: asyncio.StreamWriter
) -> bool:
    await _drained(reader, request)
    head, body = answer
    writer.write(head if request.method == "HEAD" else head + body)
    await writer.drain()
    return "expect" not in request.headers


async def _forwarded(
    head: bytes,
    request: Request,
    fault: Fault,
    client: tuple[asyncio.StreamReader, asyncio.StreamWriter],
    server: tuple[asyncio.StreamReader, asyncio.StreamWriter],
) -> bool:
    """Take a request to the server and its answer back; False where the connection is not to be kept."""

    async def send_body() -> None:
        async for piece, _ in _pieces(client[0], request.headers):
            server[1].write(piece)
            await server[1].drain()

    server[1].write(head)
    sending = asyncio.create_task(send_body())
    try:
        answer = await server[0].readuntil(b"\r\n\r\n")
        while _code(answer) // 100 == 1:  # 100 Continue and its kind
            client[1].write(answer)
            answer = await server[0].readuntil(b"\r\n\r\n")
        headers = _fields(answer)
        empty = request.method == "HEAD" or _code(answer) in (204, 304)
        pieces = _pieces(server[0], {} if empty else headers, until_close=not empty)
        whole = await _shown(fault, answer, pieces, client[1])
        if fault.end:
            return await _ended(fault, *client)
        framed = empty or bool({"content-length", "transfer-encoding"} & set(headers))
        if not (whole and framed) or headers.get("connection", "").lower() == "close":
            return False
        await asyncio.wait({sending}, timeout=1)
        return sending.done()
    finally:
        sending.cancel()
        await asyncio.gather(sending, return_exceptions=True)


def _code(head: bytes) -> int:
    return int(head.split(b" ", 2)[1])


async def _shown(
    fault: Fault, head: bytes, pieces: AsyncIterator[tuple[bytes, bool]], writer: asyncio.StreamWriter
) -> bool:
    """Send an answer to the client as far as the fault lets it; False where that is not all of it."""
    if fault.shows:
        writer.write(head)
    done = 0
    async for found, payload in pieces:
        piece = found
        if payload:
            if fault.at is not None and done <= fault.at < done + len(piece):
                here = fault.at - done
                piece = piece[:here] + bytes([piece[here] ^ 0xFF]) + piece[here + 1 :]
            piece = piece if fault.after is None else piece[: max(fault.after - done, 0)]
            done += len(found)
        if not fault.shows:
            continue
        for start in range(0, len(piece), fault.piece):
            writer.write(piece[start : start + fault.piece])
            await writer.drain()
            await asyncio.sleep(fault.pause)
        if len(piece) < len(found):
            return False
    await writer.drain()
    return True


async def _ended(fault: Fault, reader: asyncio.StreamReader, writer: asyncio.StreamWriter) -> bool:
    await writer.drain()
    if fault.end == "stall":
        while await reader.read(_PIECE):  # until the client has enough of it
            pass
    elif fault.end == "reset":
        plain = writer.get_extra_info("socket")
        plain.setsockopt(socket.SOL_SOCKET, socket.SO_LINGER, struct.pack("ii", 1, 0))
        writer.transport.abort()
    else:  # closing alone says nothing while a forked child has the socket too
        with contextlib.suppress(OSError):  # not connected any more: the client closed first
            writer.write_eof()
    return False
