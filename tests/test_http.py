"""`http://`: the store and volumes on it, over real sockets, on servers as they are and as they break."""

import base64
import gzip
import json
import pickle
import socket
import tempfile
from collections.abc import Callable, Iterator
from pathlib import Path
from typing import Any, ClassVar

import brotli
import numpy as np
import pytest
from faults import Fault, FaultProxy
from servers.http import HttpServer

from precomp.errors import (
    CloudPathError,
    CredentialsError,
    ReadOnlyError,
    StoreError,
    UnsupportedError,
)
from precomp.interfaces import Blob, ByteRange, Store
from precomp.testing import StoreTests
from precomp.url import parse
from precomp_plugins.http import HostOptions, HttpOptions, open_store

KEY = "8_8_40/0-64_0-64_0-64"
DATA = np.random.default_rng(0).bytes(300_000)


@pytest.fixture(autouse=True)
def _no_settings_of_the_machine(monkeypatch: pytest.MonkeyPatch, tmp_path: Path) -> None:
    """Neither proxies nor secrets of whoever runs the tests."""
    for name in ("http_proxy", "https_proxy", "all_proxy", "no_proxy"):
        monkeypatch.delenv(name, raising=False)
        monkeypatch.delenv(name.upper(), raising=False)
    monkeypatch.setenv("HOME", str(tmp_path / "home"))


@pytest.fixture
def server(tmp_path: Path) -> Iterator[HttpServer]:
    root = tmp_path / "www"
    root.mkdir()
    with HttpServer(root) as server:
        yield server


def stored(server: HttpServer, key: str, data: bytes, layer: str = "ds/layer") -> None:
    path = server.root / layer / key
    path.parent.mkdir(parents=True, exist_ok=True)
    path.write_bytes(data)


def opened(server: HttpServer, **options: Any) -> Store:
    return at(server.url, **options)


def at(url: str, **options: Any) -> Store:
    return open_store(parse(f"{url}/ds/layer"), HttpOptions(**{"timeout": 5.0, **options}))


def body(blob: Blob | None) -> bytes | None:
    return None if blob is None else bytes(blob.data)


class _Kit(StoreTests):
    writable = False
    listable = False
    conditional = False
    encodings = ()
    ranges: ClassVar[bool] = True
    lengths: ClassVar[bool] = True
    etags: ClassVar[bool] = True
    head: ClassVar[bool] = True

    @pytest.fixture(autouse=True)
    def _serve(self) -> Iterator[None]:
        with tempfile.TemporaryDirectory() as root, HttpServer(root) as self.server:
            for name in ("ranges", "lengths", "etags", "head"):
                setattr(self.server, name, getattr(self, name))
            self.layers: dict[int, Path] = {}
            yield

    def make_store(self) -> Store:
        layer = f"ds/{len(self.layers)}"
        store = open_store(parse(f"{self.server.url}/{layer}"), HttpOptions())
        self.layers[id(store)] = self.server.root / layer
        return store

    def raw_put(self, store: Store, key: str, data: bytes) -> None:
        path = self.layers[id(store)] / key
        path.parent.mkdir(parents=True, exist_ok=True)
        path.write_bytes(data)

    def make_failing_store(self) -> Store:
        with socket.socket() as unused:
            unused.bind(("127.0.0.1", 0))
            port = unused.getsockname()[1]
        return open_store(parse(f"http://127.0.0.1:{port}/ds/layer"), HttpOptions(max_attempts=1))


class TestKit(_Kit):
    """A server as it should be."""


class TestKitInChunks(_Kit):
    lengths = False


class TestKitPoor(_Kit):
    """The least that a server can do."""

    ranges = lengths = etags = head = False


# What is asked for


def test_a_whole_object_is_asked_for_without_a_range(server: HttpServer) -> None:
    stored(server, KEY, DATA)
    store = opened(server)
    for part in (None, ByteRange(0, 2**20)):  # the second one is only a limit
        assert body(store.get(KEY, part)) == DATA
    for request in server.seen:
        assert "range" not in request.headers
        assert request.headers["accept-encoding"] == "gzip, br"


def test_a_part_is_asked_for_plain(server: HttpServer) -> None:
    stored(server, KEY, DATA)
    assert body(opened(server).get(KEY, ByteRange(1000, 2000))) == DATA[1000:2000]
    assert server.seen[0].headers["range"] == "bytes=1000-1999"
    assert server.seen[0].headers["accept-encoding"] == "identity"


def test_a_long_object_is_not_fetched_for_its_start_twice(server: HttpServer) -> None:
    stored(server, KEY, DATA)
    store = opened(server)
    for _ in range(2):
        blob = store.get(KEY, ByteRange(0, 100_000))
        assert body(blob) == DATA[:100_000]
        assert blob is not None
        assert blob.size == len(DATA)
    assert [request.headers.get("range") for request in server.seen] == [None, "bytes=0-99999"]


def test_ranges_near_each_other_are_one_request(server: HttpServer) -> None:
    stored(server, KEY, DATA)
    store: Any = opened(server)
    wanted = [ByteRange(5000, 6000), ByteRange(7, 7), ByteRange(0, 10), ByteRange(299_999, 300_005)]
    found = store.get_ranges(KEY, wanted)
    assert [body(blob) for blob in found] == [DATA[start:stop] for start, stop in wanted]
    assert {blob.size for blob in found} == {len(DATA)}
    assert len(server.seen) == 1


def test_ranges_far_apart_are_of_one_version(server: HttpServer) -> None:
    versions = [bytes([number]) * 2_000_000 for number in range(3)]
    stored(server, KEY, versions[0])
    store: Any = opened(server)
    wanted = [ByteRange(0, 10), ByteRange(1_900_000, 1_900_010)]

    def replaced(start: int, stop: int) -> tuple[int, int]:
        if len(server.seen) == 1:  # between the first part and the second one
            stored(server, KEY, versions[1])
        return start, stop

    server.range_of = replaced
    assert [body(blob) for blob in store.get_ranges(KEY, wanted)] == [bytes([1]) * 10] * 2
    assert len(server.seen) == 4


def test_distant_ranges_beyond_the_end(server: HttpServer) -> None:
    stored(server, KEY, DATA)
    store: Any = opened(server)
    found = store.get_ranges(KEY, [ByteRange(10**9, 10**9 + 5), ByteRange(0, 10)])
    assert [(body(blob), blob.size) for blob in found] == [(b"", len(DATA)), (DATA[:10], len(DATA))]


def test_without_versions_distant_ranges_are_cut_from_the_whole(server: HttpServer) -> None:
    stored(server, KEY, DATA * 10)
    server.etags = False
    store: Any = opened(server)
    found = store.get_ranges(KEY, [ByteRange(0, 10), ByteRange(2_900_000, 2_900_010)])
    assert [body(blob) for blob in found] == [DATA[:10], (DATA * 10)[2_900_000:2_900_010]]
    assert server.seen[-1].headers.get("range") is None


def test_a_server_that_ignores_ranges_is_asked_for_none_again(server: HttpServer) -> None:
    stored(server, KEY, DATA)
    stored(server, "mesh/1", DATA)
    server.ranges = False
    store = opened(server)
    for _ in range(2):
        assert body(store.get(KEY, ByteRange(1000, 2000))) == DATA[1000:2000]
    store.get("mesh/1", ByteRange(1, 2))
    assert ["range" in request.headers for request in server.seen] == [True, False, True]


@pytest.mark.parametrize(
    "change",
    [
        lambda start, stop: (start + 1, stop + 1),
        lambda start, stop: (start, stop - 1),
        lambda start, stop: (start, stop + 1),
        lambda start, stop: (0, stop),
        lambda start, stop: (10**9, 10**9 + 1),  # 416 for what is there
    ],
)
def test_another_part_than_asked_for_is_not_trusted(
    server: HttpServer, change: Callable[[int, int], tuple[int, int]]
) -> None:
    stored(server, KEY, DATA)
    server.range_of = change
    store = opened(server)
    for _ in range(2):
        assert body(store.get(KEY, ByteRange(1000, 2000))) == DATA[1000:2000]
    assert ["range" in request.headers for request in server.seen] == [True, False, False]


@pytest.mark.parametrize(("suffix", "pack"), [(".gz", gzip.compress), (".br", brotli.compress)])
def test_compressed_objects_come_as_they_are(
    server: HttpServer, suffix: str, pack: Callable[[bytes], bytes]
) -> None:
    packed = pack(b"voxels" * 100_000)
    stored(server, KEY + suffix, packed)
    store: Any = opened(server)
    encoding = {".gz": "gzip", ".br": "br"}[suffix]
    blob = store.get(KEY)
    assert blob[:2] == (packed, encoding)
    assert store.stat(KEY)[::2] == (len(packed), encoding)
    for part in (store.get(KEY, ByteRange(10, 20)), *store.get_ranges(KEY, [ByteRange(10, 20)] * 2)):
        assert (body(part), part.content_encoding, part.size) == (packed[10:20], encoding, len(packed))
    ranged = [request.headers["range"] for request in server.seen if "range" in request.headers]
    assert ranged == ["bytes=10-19"], "that a range is of compressed bytes is found out once"


def test_a_compressed_twin_is_taken_whole_and_a_part_plain(server: HttpServer) -> None:
    server.negotiates = True
    stored(server, KEY, b"voxels" * 1000)
    stored(server, KEY + ".gz", gzip.compress(b"voxels" * 1000))
    store = opened(server)
    blob = store.get(KEY)
    assert blob is not None
    assert blob.content_encoding == "gzip"
    part = store.get(KEY, ByteRange(6, 12))
    assert part is not None
    assert (body(part), part.content_encoding, part.size) == (b"voxels", None, 6000)


def test_no_suffix_is_probed(server: HttpServer) -> None:
    assert opened(server).get(KEY) is None
    assert [request.path for request in server.seen] == [f"/ds/layer/{KEY}"]


@pytest.mark.parametrize(
    ("path", "key", "sent"),
    [
        ("/a%20b/100%25", "c d", "/a%20b/100%25/c%20d"),
        ("/a b/100%", "c%20d", "/a%20b/100%25/c%2520d"),
        ("/a+b/x:y", "a+b#1?c", "/a+b/x:y/a%2Bb%231%3Fc"),
        ("/ünï/%C3%BC", "神", "/%C3%BCn%C3%AF/%C3%BC/%E7%A5%9E"),
        ("", "info", "/info"),
    ],
)
def test_addresses_are_sent_as_given_and_keys_quoted(
    server: HttpServer, path: str, key: str, sent: str
) -> None:
    assert open_store(parse(server.url + path), HttpOptions()).get(key) is None
    assert server.seen[0].path == sent


def test_connections_are_kept(server: HttpServer) -> None:
    stored(server, KEY, DATA)
    store = opened(server)
    for _ in range(2):
        store.get(KEY)
        store.get(KEY, ByteRange(5, 10))
        store.get(KEY, ByteRange(10**9, 10**9 + 1))
        store.get("absent")
        store.stat(KEY)
        store.stat("absent")
    assert len(server.seen) == 12
    assert len({request.client for request in server.seen}) == 1


# What is read only, and what cannot be done


def test_nothing_is_sent_to_a_read_only_place(server: HttpServer) -> None:
    store: Any = opened(server)
    for write in (
        lambda: store.put(KEY, Blob(b"x")),
        lambda: store.delete([KEY]),
        lambda: store.update(KEY, lambda _: Blob(b"x")),
    ):
        with pytest.raises(ReadOnlyError, match=f"{server.url}/ds/layer/{KEY}.*read only"):
            write()
    with pytest.raises(UnsupportedError, match="cannot list"):
        store.list("8_8_40/")
    assert server.seen == []


# What is absent, and what is refused


@pytest.mark.parametrize("status", [404, 410])
def test_only_an_object_that_is_not_there_is_absent(server: HttpServer, status: int) -> None:
    server.answers[f"/ds/layer/{KEY}"] = status, b"gone"
    store: Any = opened(server)
    assert store.get(KEY) is None
    assert store.get(KEY, ByteRange(1, 2)) is None
    assert store.get_ranges(KEY, [ByteRange(1, 2)]) is None
    assert store.stat(KEY) is None


@pytest.mark.parametrize(
    "text",
    [b"<Error><Code>NoSuchBucket</Code></Error>", b'{"message": "The specified bucket does not exist."}'],
)
def test_a_missing_bucket_is_no_missing_object(server: HttpServer, text: bytes) -> None:
    server.answers[f"/ds/layer/{KEY}"] = 404, text
    store = opened(server)
    for look in (lambda: store.get(KEY), lambda: store.get(KEY, ByteRange(1, 2)), lambda: store.stat(KEY)):
        with pytest.raises(StoreError, match=f"{KEY}.*no such bucket"):
            look()


@pytest.mark.parametrize("status", [204, 300, 304, 400, 405, 418, 451, 505])
def test_any_other_answer_is_an_error_at_once(server: HttpServer, status: int) -> None:
    server.answers[f"/ds/layer/{KEY}"] = status, b"" if status in (204, 304) else b"what?"
    store = opened(server)
    for look in (lambda: store.get(KEY), lambda: store.get(KEY, ByteRange(1, 2))):
        server.seen.clear()
        with pytest.raises(StoreError, match=f"{server.url}/ds/layer/{KEY}.*{status}"):
            look()
        assert len(server.seen) == 1


def test_a_refusal_is_never_absence(server: HttpServer) -> None:
    server.answers[f"/ds/layer/{KEY}"] = 403, b"<Code>AccessDenied</Code>"
    store = opened(server)
    for look in (lambda: store.get(KEY), lambda: store.get(KEY, ByteRange(1, 2)), lambda: store.stat(KEY)):
        server.seen.clear()
        with pytest.raises(
            CredentialsError, match=rf"{KEY}.*403.*without a login.*{server.host}.*ListBucket"
        ):
            look()
        assert len(server.seen) == 1


# Logins


def basic(user: str, password: str) -> str:
    return "Basic " + base64.b64encode(f"{user}:{password}".encode()).decode()


@pytest.mark.parametrize(
    ("login", "header"),
    [
        ({"token": "s3cr3t-t0ken"}, "Bearer s3cr3t-t0ken"),
        ({"user": "ada", "password": "s3cr3t:wörd"}, basic("ada", "s3cr3t:wörd")),
        ({"headers": {"Authorization": "Key s3cr3t"}}, "Key s3cr3t"),
    ],
)
def test_a_host_is_logged_in_to(
    server: HttpServer, login: dict[str, Any], header: str, tmp_path: Path
) -> None:
    stored(server, KEY, DATA)
    server.login = header
    file = tmp_path / "a-secret.json"
    file.write_text(json.dumps({server.host: login}))
    for options in (
        {"hosts": {server.host: HostOptions(**login)}},
        {"secrets": {server.host: login}},
        {"secrets": str(file)},
    ):
        store = opened(server, **options)
        assert body(store.get(KEY)) == DATA
        assert "s3cr3t" not in repr(store) + repr(HttpOptions(**options))
    usual = Path.home() / ".neuroglancer" / "secrets" / "http-secret.json"
    usual.parent.mkdir(parents=True)
    usual.write_text(file.read_text())
    assert body(opened(server).get(KEY)) == DATA


def test_a_refused_login_is_told_without_the_secret(server: HttpServer) -> None:
    server.login = "Bearer another"
    for login, told in (
        (HostOptions(token="s3cr3t"), f"hosts: {server.host}"),
        (HostOptions(user="ada", password="s3cr3t"), f"hosts: {server.host} (user ada)"),
    ):
        server.seen.clear()
        with pytest.raises(CredentialsError) as raised:
            opened(server, hosts={server.host: login}).get(KEY)
        assert "401" in str(raised.value)
        assert told in str(raised.value)
        assert f"{server.url}/ds/layer/{KEY}" in str(raised.value)
        assert "s3cr3t" not in str(raised.value)
        assert len(server.seen) == 1, "it is not tried again"


def test_without_a_login_every_place_is_listed(server: HttpServer) -> None:
    server.login = "Bearer another"
    with pytest.raises(CredentialsError) as raised:
        opened(server, hosts={"other.example.org": HostOptions(token="s3cr3t")}).get(KEY)
    for place in (
        ".neuroglancer/secrets/http-secret.json",
        ".cloudvolume/secrets/http-secret.json",
        "'hosts'",
    ):
        assert place in str(raised.value)
    assert "authorization" not in server.seen[0].headers


@pytest.mark.parametrize(
    ("options", "told"),
    [
        ({"hosts": {"h": HostOptions(token="s3cr3t", user="ada", password="x")}}, "found both"),
        ({"hosts": {"h": HostOptions(user="ada")}}, "belong together"),
        ({"hosts": {"h": HostOptions(token="s3cr3t\nX: 1")}}, "Authorization may hold printable"),
        ({"hosts": {"h": HostOptions(headers={"a b": "s3cr3t"})}}, "'a b'"),
        ({"headers": {"Authorization": "s3cr3t"}}, "for one host"),
        ({"secrets": {"token": "s3cr3t"}}, "below the name of a host"),
        ({"secrets": {"h": {"tokn": "s3cr3t"}}}, "tokn"),
        ({"secrets": {"h": {"token": 5}}}, "token"),
    ],
)
def test_a_login_without_sense_is_refused(options: dict[str, Any], told: str) -> None:
    with pytest.raises(CredentialsError, match=told) as raised:
        at("http://h", **options)
    assert "s3cr3t" not in str(raised.value)


def test_headers_of_ones_own(server: HttpServer) -> None:
    store = opened(
        server,
        headers={"User-Agent": "me", "X-A": "1"},
        hosts={server.host: HostOptions(headers={"X-A": "2"})},
    )
    store.get(KEY)
    assert server.seen[0].headers["user-agent"] == "me"
    assert server.seen[0].headers["x-a"] == "2"


# Redirects and proxies


def test_redirects_are_followed_and_logins_stay_with_their_host(server: HttpServer, tmp_path: Path) -> None:
    (tmp_path / "other").mkdir()
    with HttpServer(tmp_path / "other") as other:
        stored(other, KEY, DATA, "moved")
        server.redirects["/ds/layer/"] = f"{other.url}/moved/"
        logins = {server.host: HostOptions(token="for-the-first", headers={"X-Key": "1"})}
        store = opened(server, hosts=logins)
        for part in (None, ByteRange(10, 20)):
            assert body(store.get(KEY, part)) == (DATA if part is None else DATA[10:20])
        assert store.stat(KEY) is not None
        assert all(request.headers["authorization"] == "Bearer for-the-first" for request in server.seen)
        assert not any({"authorization", "x-key"} & set(request.headers) for request in other.seen)
        assert other.seen[1].headers["range"] == "bytes=10-19"
        store = opened(server, hosts={**logins, other.host: HostOptions(token="for-the-other")})
        store.get(KEY)
        assert other.seen[-1].headers["authorization"] == "Bearer for-the-other"


def test_a_relative_redirect(server: HttpServer) -> None:
    stored(server, KEY, DATA, "there")
    server.redirects["/ds/layer/8_8_40/"] = "../../../there/8_8_40/"
    assert body(opened(server).get(KEY)) == DATA


@pytest.mark.parametrize(
    ("target", "told"),
    [
        ("/ds/layer/", "redirects"),
        ("ftp://h/", "no http address"),
        ("http://user:s3cr3t@h/", "no http address"),
        ("file:///etc/", "no http address"),
        ("http://[::1/", "no address"),
        ("http://h:99999/?X-Amz-Signature=s3cr3t", "no address"),
    ],
)
def test_a_redirect_without_sense_is_an_error(server: HttpServer, target: str, told: str) -> None:
    server.redirects["/ds/layer/"] = target
    with pytest.raises(StoreError, match=told) as raised:
        opened(server).get(KEY)
    assert KEY in str(raised.value)
    assert "s3cr3t" not in str(raised.value) + str(raised.value.__cause__)
    assert len(server.seen) <= 10


def test_a_range_before_the_start_is_refused_before_anything_is_sent(server: HttpServer) -> None:
    stored(server, KEY, DATA)
    for call in (
        lambda: opened(server).get(KEY, ByteRange(-3, 5)),
        lambda: opened(server).get_ranges(KEY, [ByteRange(0, 5), ByteRange(-3, 5)]),
    ):
        with pytest.raises(StoreError, match=f"{KEY}: a byte range starts at 0"):
            call()
    assert server.seen == []


@pytest.mark.parametrize("how", ["option", "environment"])
def test_a_proxy_is_used(server: HttpServer, monkeypatch: pytest.MonkeyPatch, how: str) -> None:
    address = f"http://ada:w%40rd@{server.host}"
    if how == "environment":
        monkeypatch.setenv("http_proxy", address)
        monkeypatch.setenv("no_proxy", "direct.example.org")
    store = at("http://far.example.org", **({"proxy": address} if how == "option" else {}))
    assert store.get(KEY) is None
    (request,) = server.seen
    assert request.path == f"http://far.example.org/ds/layer/{KEY}"
    assert request.headers["host"] == "far.example.org"
    assert request.headers["proxy-authorization"] == basic("ada", "w@rd")


def test_a_proxy_of_the_environment_can_be_passed_by(
    server: HttpServer, monkeypatch: pytest.MonkeyPatch
) -> None:
    stored(server, KEY, DATA)
    monkeypatch.setenv("http_proxy", "http://127.0.0.1:1")
    assert body(opened(server, proxy="").get(KEY)) == DATA
    monkeypatch.setenv("no_proxy", "127.0.0.1")
    assert body(opened(server).get(KEY)) == DATA


def test_a_proxy_that_refuses_is_told(server: HttpServer) -> None:
    server.answers["http://h/ds/layer/a"] = 407, b""
    with pytest.raises(CredentialsError, match="the proxy answered 407"):
        at("http://h", proxy=server.url).get("a")


@pytest.mark.parametrize("status", [403, 407])
def test_a_proxy_that_lets_nobody_through_is_told(server: HttpServer, status: int) -> None:
    server.answers["h:443"] = status, b""
    with pytest.raises(CredentialsError, match=rf"https://h/ds/layer/a: the proxy .* h: {status}"):
        at("https://h", proxy=server.url).get("a")
    assert len(server.seen) == 1


@pytest.mark.parametrize("address", ["socks5://ada:s3cr3t@h", "http://ada:s3cr3t@h:port", "http://"])
def test_what_is_no_proxy_is_told_without_its_password(address: str) -> None:
    with pytest.raises(StoreError, match="proxy: expected") as raised:
        at("http://h", proxy=address)
    assert "s3cr3t" not in str(raised.value)
    assert raised.value.__cause__ is None


# Failures


@pytest.fixture
def proxy(server: HttpServer) -> Iterator[FaultProxy]:
    stored(server, KEY, DATA)
    with FaultProxy(server.port) as proxy:
        yield proxy


def behind(proxy: FaultProxy, **options: Any) -> Any:
    return at(f"http://127.0.0.1:{proxy.port}", **options)


@pytest.fixture(autouse=True)
def _short_pauses(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr("precomp.retry._FIRST_PAUSE", 0.002)


PART = ByteRange(1000, 200_000)
FAULTS = {
    **{str(code): Fault.status(code, {"Retry-After": "0"}) for code in (429, 500, 502, 503, 504)},
    "reset": Fault.reset(),
    "reset in the body": Fault.reset(after=100_000),
    "truncated": Fault.truncate(after=100_000),
    "truncated at once": Fault.truncate(after=0),
    "stalled": Fault.stall(),
    "stalled in the body": Fault.stall(after=100_000),
    "dropped": Fault.drop(),
}


@pytest.mark.parametrize("chunked", [False, True], ids=["known", "chunked"])
@pytest.mark.parametrize("fault", FAULTS.values(), ids=list(FAULTS))
def test_what_fails_once_or_twice_is_tried_again(
    server: HttpServer, proxy: FaultProxy, fault: Fault, chunked: bool
) -> None:
    server.lengths = not chunked
    store = behind(proxy, timeout=0.3 if fault.end == "stall" else 5)
    for look, expected in (
        (lambda: body(store.get(KEY)), DATA),
        (lambda: body(store.get(KEY, PART)), DATA[1000:200_000]),
        (lambda: body(store.get_ranges(KEY, [PART])[0]), DATA[1000:200_000]),
    ):
        proxy.plan(fault, fault)
        assert look() == expected
        assert proxy.left == 0


@pytest.mark.parametrize("fault", FAULTS.values(), ids=list(FAULTS))
def test_what_fails_on_and_on_is_one_error(proxy: FaultProxy, fault: Fault) -> None:
    store = behind(proxy, timeout=0.1, max_attempts=3)
    proxy.plan(fault, forever=True)
    with pytest.raises(
        StoreError, match=f"http://127.0.0.1:{proxy.port}/ds/layer/{KEY}: tried 3 times"
    ) as raised:
        store.get(KEY)
    assert raised.value.__cause__ is not None
    assert len(proxy.requests) == 3


def test_a_stat_is_tried_again(proxy: FaultProxy) -> None:
    store = behind(proxy, timeout=0.3)
    proxy.plan(Fault.status(503), Fault.reset(), Fault.stall())
    assert store.stat(KEY).size == len(DATA)
    assert proxy.left == 0


def test_a_slow_body_is_no_failure(proxy: FaultProxy) -> None:
    proxy.plan(Fault.slow(pause=0.2, piece=20_000))  # 3 s in all
    assert body(behind(proxy, timeout=2).get(KEY)) == DATA
    assert len(proxy.requests) == 1


def test_the_deadline_ends_a_body_that_drips(proxy: FaultProxy, monkeypatch: pytest.MonkeyPatch) -> None:
    store = behind(proxy, timeout=5)
    store._policy = type(store._policy)(max_attempts=6, timeout=5, deadline=0.5)
    proxy.plan(Fault.slow(pause=0.05, piece=1000))  # 15 s in all
    with pytest.raises(StoreError, match="tried once"):
        store.get(KEY)


def test_a_host_that_is_not_there_is_told_at_once() -> None:
    with pytest.raises(
        StoreError, match=r"http://no-such-host.invalid/ds/layer/.*: there is no host no-such-host.invalid"
    ):
        at("http://no-such-host.invalid").get(KEY)


def test_a_refusal_is_not_tried_again(proxy: FaultProxy) -> None:
    proxy.plan(Fault.status(403), forever=True)
    with pytest.raises(CredentialsError):
        behind(proxy).get(KEY)
    assert len(proxy.requests) == 1


@pytest.mark.parametrize("host", ["h:port", "h:99999", "[::1", ":80", "[h]x"])
def test_what_is_no_host_is_refused_at_once(host: str) -> None:
    with pytest.raises(CloudPathError, match="expected HOST"):
        at(f"http://{host}")


def test_a_refusal_whose_text_is_cut_off_is_a_refusal(proxy: FaultProxy, server: HttpServer) -> None:
    server.login = "Bearer x"
    proxy.plan(Fault.truncate(after=3))
    with pytest.raises(CredentialsError):
        behind(proxy).get(KEY)
    assert len(proxy.requests) == 1


def test_a_store_is_not_pickled_with_its_secrets(server: HttpServer) -> None:
    store = opened(server, hosts={server.host: HostOptions(token="s3cr3t")})
    with pytest.raises(UnsupportedError, match="pickle the volume"):
        pickle.dumps(store)
