"""Requests that are sent before anybody waits for their answers."""

import gc
import socket
import threading
import time
from collections import Counter
from collections.abc import Callable, Iterator
from contextlib import contextmanager, suppress
from pathlib import Path
from typing import Any

import numpy as np
import pytest
from faults import Fault, FaultProxy
from hypothesis import given
from hypothesis import strategies as st
from servers.gs import gs_server
from servers.http import CERTIFICATE, HttpServer

from precomp import CloudVolume
from precomp.engine.ahead import asked_ahead
from precomp.engine.workers import Listed, for_each, threads_for
from precomp.errors import CredentialsError, EmptyVolumeError, StoreError
from precomp.interfaces import AsksAhead, Blob, ByteRange, CloudPath
from precomp.retry import Limits, TransientError
from precomp.testing.checks import content
from precomp_plugins._gs.store import GsStore
from precomp_plugins._wire.connections import Connections
from precomp_plugins.gs import GsOptions

NOBODY = Connections(lambda _: None, lambda: pytest.fail("there is no TLS here"), "")


def limits() -> Limits:
    return Limits(5.0, time.monotonic() + 5.0)


class Asked:
    """A context that counts how often it was entered, and how many of its kind are open."""

    def __init__(self, counts: Counter[str], part: int) -> None:
        self.counts, self.part, self.entered = counts, part, 0
        counts["asked"] += 1
        counts["most"] = max(counts["most"], counts["asked"])

    def __enter__(self) -> None:
        self.entered += 1

    def __exit__(self, *_: object) -> None:
        self.counts["asked"] -= 1


@given(st.integers(0, 30), st.integers(1, 9), st.integers(0, 40), st.sets(st.integers(0, 29)))
def test_each_part_comes_in_turn_with_its_context(
    length: int, count: int, taken: int, unasked: set[int]
) -> None:
    counts, every = Counter[str](), dict[int, Asked]()

    def ask(part: int) -> Asked | None:
        if part in unasked:
            return None
        every[part] = Asked(counts, part)
        return every[part]

    parts, found = asked_ahead(iter(range(length)), ask, count), list[int]()
    for part, context in parts:
        assert context is every.get(part) or part in unasked
        ahead = set(range(part, min(part + count, length)))
        assert {one for one in every if one >= part} == ahead - unasked
        with context:
            found.append(part)
        if len(found) == taken:
            break
    parts.close()
    assert found == list(range(min(length, taken or length)))
    assert counts["most"] <= count
    assert counts["asked"] == 0  # each was left, be it used or not
    assert {one.entered for one in every.values()} <= {1}


class Late(Asked):
    """A context that tells whether its answer is here."""

    def __init__(self, counts: Counter[str], part: int, here: bool) -> None:
        super().__init__(counts, part)
        self.here, self.left = here, False

    def __exit__(self, *_: object) -> None:
        super().__exit__()
        self.left = True

    def is_here(self, seconds: float) -> bool:
        self.counts["seconds"] += round(seconds)
        return self.here


@given(st.integers(0, 20), st.integers(1, 9), st.dictionaries(st.integers(0, 19), st.integers(1, 3)))
def test_what_is_late_is_asked_for_once_more_and_keeps_nobody_waiting(
    length: int, count: int, late: dict[int, int]
) -> None:
    """`late`: how often the answer to a part does not come."""
    counts, asked, every = Counter[str](), Counter[int](), list[Late]()

    def ask(part: int) -> Late:
        asked[part] += 1
        every.append(Late(counts, part, here=asked[part] > late.get(part, 0)))
        return every[-1]

    found = list[int]()
    parts: Any = asked_ahead(iter(range(length)), ask, count)
    for part, context in parts:
        with context:
            assert context.part == part
            assert not context.left
            found.append(part)
        if not context.here and asked[part] == 1:
            assert not any(other.here for other in every if not other.left)
    assert sorted(found) == list(range(length))
    assert counts["asked"] == 0
    assert counts["most"] <= count
    assert set(asked.values()) <= {1, 2}
    assert {part for part, times in asked.items() if times == 2} <= late.keys()
    assert counts["seconds"] <= length  # of each at most one


@pytest.mark.parametrize("workers", [2, 7, 16])
@pytest.mark.parametrize("fails", [False, True])
def test_threads_work_on_what_they_asked_for(workers: int, fails: bool) -> None:
    asking: dict[int, int] = {}
    done, ticks = Counter[int](), list[int]()

    @contextmanager
    def used(part: int) -> Iterator[None]:
        assert asking[part] == threading.get_ident()
        yield
        done[part] += 1

    def ask(part: int) -> Any:
        asking[part] = threading.get_ident()
        return used(part)

    def task(part: int) -> None:
        if fails and part == 50:
            raise KeyError(part)
        if fails and part > 50:
            time.sleep(0.02)  # the others are told of it meanwhile

    parts = Listed(range(100))
    if fails:
        with pytest.raises(KeyError):
            for_each(parts, lambda: task, workers, ticks.append, ask=ask)
        assert 50 not in done
        assert len(asking) < 100  # and nobody is asked any more
    else:
        for_each(parts, lambda: task, workers, ticks.append, ask=ask)
        assert done == Counter(range(100))
        assert sum(ticks) == 100


class Scripted:
    """A server on a socket, which tells what it has got and answers when it is told to."""

    def __init__(self) -> None:
        self.listening = socket.create_server(("127.0.0.1", 0))
        self.listening.settimeout(5)
        self.url = f"http://127.0.0.1:{self.listening.getsockname()[1]}"
        self.open: list[socket.socket] = []

    def accept(self) -> socket.socket:
        connection = self.listening.accept()[0]
        connection.settimeout(5)
        self.open.append(connection)
        return connection

    def close(self) -> None:
        for connection in (*self.open, self.listening):
            connection.close()


@pytest.fixture
def server() -> Iterator[Scripted]:
    scripted = Scripted()
    yield scripted
    scripted.close()


def heard(connection: socket.socket) -> bytes:
    return connection.recv(2**16).partition(b" HTTP")[0]


def near(server: Scripted) -> Connections:
    """Connections that have had an answer of the server, and so know that it is near."""
    connections = Connections(lambda _: None, lambda: pytest.fail("there is no TLS here"), "")

    def answer() -> None:
        connection = server.accept()
        heard(connection)
        connection.sendall(b"HTTP/1.1 200 OK\r\ncontent-length: 2\r\n\r\nhi")

    serving = threading.Thread(target=answer)
    serving.start()
    with connections.send("it", "GET", f"{server.url}/known", {}, limits()) as known:
        assert bytes(known.read()) == b"hi"
    serving.join()
    connections._hosts[server.url]._connecting = 0.0001  # however busy this machine is
    return connections


def test_an_answer_goes_to_the_same_request_only(server: Scripted) -> None:
    connections = near(server)
    url, headers = f"{server.url}/one", {"range": "bytes=0-9"}
    sent = connections.ask(url, headers, limits())
    assert sent is not None
    assert heard(server.open[0]) == b"GET /one"  # though nobody waits for it yet
    others = [
        ("PUT", url, headers),
        ("GET", f"{server.url}/two", headers),
        ("GET", url, {"range": "bytes=0-8"}),
        ("GET", url, {}),
    ]
    with sent:
        for method, place, wanted in others:
            with pytest.raises(TransientError):  # it has a connection of its own, on which nothing comes
                connections.send("it", method, place, wanted, Limits(0.05, time.monotonic() + 0.05))
        found = list[bytes]()
        elsewhere = threading.Thread(target=lambda: _expect_nothing(connections, url, headers, found))
        elsewhere.start()
        elsewhere.join()
        assert found == [b"nothing"]
        server.open[0].sendall(b"HTTP/1.1 200 OK\r\ncontent-length: 3\r\n\r\none")
        with connections.send("it", "GET", url, headers, limits()) as answer:
            assert bytes(answer.read()) == b"one"
        with pytest.raises(TransientError):  # it was taken
            connections.send("it", "GET", url, headers, Limits(0.05, time.monotonic() + 0.05))


def _expect_nothing(connections: Connections, url: str, headers: dict[str, str], found: list[bytes]) -> None:
    try:
        with connections.send("it", "GET", url, headers, Limits(0.05, time.monotonic() + 0.05)) as answer:
            found.append(bytes(answer.read()))
    except TransientError:
        found.append(b"nothing")


@pytest.mark.parametrize("entered", [False, True])
def test_what_nobody_takes_is_given_up(server: Scripted, entered: bool) -> None:
    connections = near(server)
    sent = connections.ask(f"{server.url}/one", {}, limits())
    assert sent is not None
    heard(server.open[0])
    if entered:
        with sent:
            pass
    else:
        del sent
        gc.collect()
    assert server.open[0].recv(1) == b""  # it is closed, so that its answer goes to nobody
    assert not connections._hosts[server.url]._idle


def test_a_way_that_fails_is_told_by_the_request_itself(server: Scripted) -> None:
    connections = near(server)
    server.close()
    with pytest.raises(TransientError, match=r"connection to 127\.0\.0\.1"):
        connections.send("it", "GET", f"{server.url}/one", {}, limits())
    assert connections.ask(f"{server.url}/one", {}, limits()) is None
    assert NOBODY.ask(f"{server.url}/one", {}, limits()) is None  # who does not know the host
    assert not NOBODY.is_near(server.url)


def test_a_host_that_was_near_is_not_waited_for_long(
    server: Scripted, monkeypatch: pytest.MonkeyPatch
) -> None:
    """Else each request of many would wait for it, one after the other, before any of them is tried again."""
    connections = near(server)
    host, patience = connections._hosts[server.url], list[float]()

    def gone(timeout: float) -> Any:
        patience.append(timeout)
        raise TimeoutError("nothing came")

    monkeypatch.setattr(host, "_made", gone)
    host._idle.pop().close()
    asked = [connections.ask(f"{server.url}/{n}", {}, Limits(30.0, time.monotonic() + 90)) for n in range(8)]
    assert asked == [None] * 8
    assert len(patience) == 1
    assert patience[0] <= 1
    assert not connections.is_near(server.url)
    monkeypatch.undo()
    monkeypatch.setattr(host, "_near", 10.0)  # seconds
    assert not connections.is_near(server.url)  # as nobody has seen it since
    with suppress(TransientError):
        connections.send("it", "GET", server.url, {}, Limits(0.05, time.monotonic() + 0.05))
    assert connections.is_near(server.url)  # the connection at least was made


def test_what_was_asked_for_soon_is_waited_for_as_long_as_all_else(server: Scripted) -> None:
    connections = near(server)
    sent = connections.ask(f"{server.url}/one", {}, Limits(30.0, time.monotonic() + 90))
    heard(server.open[0])
    answering = threading.Timer(
        1.3, server.open[0].sendall, [b"HTTP/1.1 200 OK\r\ncontent-length: 3\r\n\r\none"]
    )
    answering.start()
    assert sent is not None
    with sent, connections.send("it", "GET", f"{server.url}/one", {}, limits()) as answer:
        assert bytes(answer.read()) == b"one"
    answering.join()


@pytest.mark.parametrize("error", [TransientError("no token"), StoreError("no key"), OSError("no")])
def test_headers_that_cannot_be_made_now_are_made_later(server: Scripted, error: Exception) -> None:
    connections = near(server)

    def fails(headers: Any) -> Any:
        raise error

    assert connections.ask(f"{server.url}/one", {}, limits(), fails) is None
    assert connections.is_near(server.url)
    with pytest.raises((TransientError, StoreError)):
        connections.send("it", "GET", f"{server.url}/one", {}, limits(), None, fails)


def test_to_a_far_host_nothing_is_sent(server: Scripted) -> None:
    connections = near(server)
    host = connections._hosts[server.url]
    host._connecting = 0.1  # seconds
    assert not connections.is_near(f"{server.url}/one")
    assert connections.ask(f"{server.url}/one", {}, limits()) is None
    server.open[0].settimeout(0.05)
    with pytest.raises(TimeoutError):
        server.open[0].recv(1)


def served(
    folder: Path, web: HttpServer, server: FaultProxy | None = None, **options: Any
) -> tuple[CloudVolume, np.ndarray[Any, Any]]:
    """A volume of 5 x 4 x 3 chunks behind a web server that is near, or a proxy before it; and its voxels."""
    url = web.url if server is None else f"http://127.0.0.1:{server.port}"
    shape = (75, 61, 40)
    info = CloudVolume.create_new_info(
        num_channels=1, layer_type="image", data_type="uint8", encoding="raw", resolution=[1, 1, 1],
        voxel_offset=[-3, 5, 7], chunk_size=[16, 16, 16], volume_size=shape,
    )  # fmt: skip
    local = CloudVolume(f"file://{folder}/layer", info=info, compress=False)
    local.commit_info()
    voxels = np.random.default_rng(0).integers(1, 255, (*shape, 1), "u1")
    local[:, :, :] = voxels
    remote = CloudVolume(f"{url}/layer", **options)
    store: Any = remote._layer.objects().store
    store._client._connected()._hosts[url]._connecting = 0.0001
    assert isinstance(store, AsksAhead)
    assert store.is_near
    web.seen.clear()
    return remote, voxels


@pytest.mark.parametrize("lru", [0, 2**30])
@pytest.mark.parametrize("tls", [False, True])
def test_each_chunk_is_asked_for_once(tmp_path: Path, lru: int, tls: bool) -> None:
    with HttpServer(tmp_path, tls) as web:
        options = {"ca_file": str(CERTIFICATE)} if tls else {}
        vol, voxels = served(tmp_path, web, lru_bytes=lru, options=options)
        assert (vol[:, :, :] == voxels).all()
        asked = Counter(seen.path for seen in web.seen)
        assert len(asked) == 5 * 4 * 3
        assert set(asked.values()) == {1}
        assert len({seen.client for seen in web.seen}) <= 16
        assert (vol[-3:72:3, 6:60:2, 8:40] == voxels[::3, 1:55:2, 1:33]).all()
        assert (vol[10:40, 20:50, 10:30] == voxels[13:43, 15:45, 3:23]).all()
        assert len(web.seen) == 60 if lru else len(web.seen) > 60
        assert max(Counter(seen.path for seen in web.seen).values()) <= 3


def test_a_connection_that_hangs_keeps_nobody_waiting(tmp_path: Path) -> None:
    with HttpServer(tmp_path) as web, FaultProxy(web.port) as proxy:
        vol, voxels = served(tmp_path, web, server=proxy, options={"timeout": 10**6})
        hanging = {f"/layer/1_1_1/{x}-{x + 16}_21-37_7-23" for x in (-3, 13, 45)}
        proxy.plan(Fault.stall(), Fault.stall(), Fault.stall(), match=lambda one: one.path in hanging)
        assert (vol[:, :, :] == voxels).all()
        asked = Counter(one.path for one in proxy.requests if "1_1_1" in one.path)
        assert len(asked) == 5 * 4 * 3
        assert {path: count for path, count in asked.items() if count > 1} == dict.fromkeys(hanging, 2)


def test_chunks_that_are_missing_or_broken(tmp_path: Path) -> None:
    with HttpServer(tmp_path) as web:
        vol, voxels = served(tmp_path, web, fill_missing=False)
        gone = next((tmp_path / "layer" / "1_1_1").glob("13-29_21-37_23-39"))
        gone.unlink()
        with pytest.raises(EmptyVolumeError, match="13-29_21-37_23-39"):
            vol[:, :, :]
        vol.fill_missing = True
        voxels[16:32, 16:32, 16:32] = 0
        web.seen.clear()
        assert (vol[15:28, 23:36, 25:38] == 0).all()  # a part of it
        assert len(web.seen) == 1
        assert (vol[:, :, :] == voxels).all()
        web.answers["/layer/1_1_1/29-45_21-37_23-39"] = (403, b"not you")
        with pytest.raises(CredentialsError, match="29-45_21-37_23-39"):
            vol[:, :, :]
        del web.answers["/layer/1_1_1/29-45_21-37_23-39"]
        assert (vol[:, :, :] == voxels).all()


@pytest.mark.parametrize("processors", [1, 2, 6, 64])
def test_how_many_threads(processors: int, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr("os.sched_getaffinity", lambda _: set(range(processors)), raising=False)
    for requests in range(1, 40):
        threads = threads_for(requests)
        assert 1 <= threads <= min(processors, requests)
        assert threads <= 2 or 2 * threads <= requests
    assert threads_for(16) == min(processors, 8)


def test_few_threads_do_it(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr("precomp.engine.workers.threads_for", lambda requests: min(2, requests))
    started = list[str]()
    start = threading.Thread.start

    def counted(thread: threading.Thread) -> None:
        if thread.name.startswith("precomp"):
            started.append(thread.name)
        start(thread)

    with HttpServer(tmp_path) as web:
        vol, voxels = served(tmp_path, web)
        monkeypatch.setattr(threading.Thread, "start", counted)
        assert (vol[:, :, :] == voxels).all()
    assert started == ["precomp-0"]  # beside the caller's


def test_a_store_of_somebody_else_is_asked() -> None:
    from kit_wrong import AsksAheadOfGet
    from test_workers import opened

    class Store(AsksAheadOfGet):
        workers = 4
        asks = 0

        def ask(self, key: str, byte_range: ByteRange | None = None) -> Any:
            type(self).asks += 1
            return super().ask(key, byte_range)

    store: Any = Store()
    vol = opened(store)
    vol[:, :, :] = 3
    assert (vol[:, :, :] == 3).all()
    assert Store.asks == 3


def test_a_token_that_has_just_ended_is_left_to_the_read(monkeypatch: pytest.MonkeyPatch) -> None:
    def refuses(error: Exception) -> Callable[[Limits], Any]:
        def login(limits: Limits) -> Any:
            raise error

        return login

    store = GsStore(
        CloudPath("gs", gs_server().new_bucket(), "layer"),
        GsOptions(endpoint_url=f"http://127.0.0.1:{gs_server().port}", anonymous=True),
    )
    store.put("a", Blob(b"voxels"))
    session = store._objects._session
    session._network.connections._hosts[session._service]._connecting = 0.0001
    with store.ask("a") or pytest.fail("nothing was sent"):
        content(store.get("a"), b"voxels", "get of what was asked for")
    login = session._login
    for error in (TransientError("no answer"), CredentialsError("refused")):
        monkeypatch.setattr(session, "_login", refuses(error))
        assert store.ask("a") is None
    monkeypatch.setattr(session, "_login", login)
    content(store.get("a"), b"voxels", "get after it")
