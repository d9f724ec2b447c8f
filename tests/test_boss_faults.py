"""`boss://` when something goes wrong: on the way, at the service, with the token."""

import json
import os
import struct
import sys
import uuid
from collections.abc import Callable, Iterator
from pathlib import Path
from typing import Any

import blosc
import numpy as np
import pytest
from faults import Fault, FaultProxy, Request
from intern.remote.boss import BossRemote
from servers.boss import FULL, PUBLIC, READER, boss_server
from slow import slow_reader
from volumes import noise

from precomp import CloudVolume
from precomp.bench.serving import free_port
from precomp.errors import (
    ChunkDecodeError,
    CredentialsError,
    InfoNotFoundError,
    MissingDependencyError,
    PrecompError,
    StoreError,
)
from precomp.interfaces import CloudPath
from precomp_plugins._boss.login import Login, find_login
from precomp_plugins.boss import BossOptions, open_service

SIZE = (40, 30, 20)
AT_ONCE = {"Retry-After": "0"}


@pytest.fixture
def home(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Path:
    """A user's folder without secrets."""
    monkeypatch.setenv("HOME", str(tmp_path))
    for name in ("PROTOCOL", "HOST", "TOKEN"):
        monkeypatch.delenv(f"INTERN_{name}", raising=False)
    return tmp_path


@pytest.fixture
def proxy() -> Iterator[FaultProxy]:
    with FaultProxy(boss_server().port) as proxy:
        yield proxy


def options(proxy: FaultProxy | None = None, **given: Any) -> dict[str, Any]:
    host = boss_server().host if proxy is None else f"127.0.0.1:{proxy.port}"
    return {"protocol": "http", "host": host, "token": FULL, **given}


def new_path(**given: Any) -> str:
    return boss_server().add(f"c{uuid.uuid4().hex}/retina/em", **{"stop": SIZE, **given})


def told(status: int, code: int, message: str) -> Fault:
    """What the BOSS says."""
    body = {"status": status, "code": code, "message": message}
    return Fault.status(status, {"Content-Type": "application/json"}, json.dumps(body).encode())


def cutout(request: Request) -> bool:
    return "/cutout/" in request.path


def of(method: str) -> Callable[[Request], bool]:
    return lambda request: request.method == method


def failing(what: Callable[[], Any], kind: type[PrecompError]) -> str:
    """Return the text of the error, which and whose causes have no token in them."""
    with pytest.raises(kind) as caught:
        what()
    assert type(caught.value) is kind
    error: BaseException | None = caught.value
    while error is not None:
        assert "hunter2" not in str(error) + repr(error)
        error = error.__cause__
    return str(caught.value)


MENDED = {
    **{str(code): Fault.status(code, AT_ONCE) for code in (429, 500, 502, 503, 504)},
    "reset": Fault.reset(),
    "stall": Fault.stall(),
    "lost answer": Fault.drop(),
}
IN_THE_BODY = {
    "reset in the body": Fault.reset(100),
    "truncated body": Fault.truncate(100),
    "nothing of the body": Fault.truncate(0),
    "stall in the body": Fault.stall(100),
    "length in the header of blosc": Fault.corrupt(12),
}


class TestTriedAgain:
    @pytest.mark.parametrize("fault", [*MENDED.values(), *IN_THE_BODY.values()], ids=[*MENDED, *IN_THE_BODY])
    def test_a_read(self, fault: Fault, proxy: FaultProxy) -> None:
        path = new_path(datatype="uint16")
        CloudVolume(path, options=options())[...] = (voxels := noise(SIZE, "uint16"))
        vol = CloudVolume(path, options=options(proxy, timeout=0.5))
        proxy.plan(fault, match=cutout)
        assert np.array_equal(vol[...][..., 0], voxels)
        assert proxy.left == 0

    @pytest.mark.parametrize("method", ["PUT", "POST"])
    @pytest.mark.parametrize("fault", MENDED.values(), ids=MENDED)
    def test_a_write(self, fault: Fault, method: str, proxy: FaultProxy) -> None:
        path = new_path(datatype="uint64")
        vol = CloudVolume(path, options=options(proxy, timeout=0.5))
        vol[...] = 7
        proxy.plan(fault, match=of(method))
        vol[...] = (voxels := noise(SIZE, "uint64") * np.arange(2, dtype=np.uint64).repeat(10))
        assert proxy.left == 0
        assert np.array_equal(boss_server().voxels(path[7:]).T, voxels)

    @pytest.mark.parametrize("fault", [Fault.status(503, AT_ONCE), Fault.truncate(10), Fault.reset()])
    def test_the_info(self, fault: Fault, proxy: FaultProxy) -> None:
        proxy.plan(fault, Fault.passing(), fault, Fault.passing(), fault)
        assert CloudVolume(new_path(), options=options(proxy)).shape == (*SIZE, 1)
        assert proxy.left == 0

    @pytest.mark.parametrize("which", ["/collection/c", "/coord/", "/experiment/", "/channel/"])
    @pytest.mark.parametrize("fault", [Fault.drop(), Fault.status(503, AT_ONCE)], ids=["lost answer", "503"])
    def test_creating(self, fault: Fault, which: str, proxy: FaultProxy) -> None:
        info = CloudVolume.create_new_info(1, "image", "uint8", "raw", (4, 4, 40), (0, 0, 0), SIZE)
        path = f"boss://c{uuid.uuid4().hex}/retina/em"
        proxy.plan(fault, match=lambda request: request.method == "POST" and which in request.path)
        vol = CloudVolume(path, info=info, create=True, options=options(proxy))
        vol.commit_info()
        assert proxy.left == 0
        vol[...] = 5
        assert CloudVolume(path, options=options())[...].min() == 5

    def test_not_for_ever(self, proxy: FaultProxy) -> None:
        vol = CloudVolume(new_path(), options=options(proxy, max_attempts=3))
        proxy.clear()
        proxy.plan(Fault.status(503, AT_ONCE, b"busy today"), forever=True)
        text = failing(lambda: vol[1:3, 2:4, 3:5], StoreError)
        assert f"{vol.cloudpath}, mip 0, box 1-3_2-4_3-5: tried 3 times" in text
        assert "503: busy today" in text
        assert len(proxy.requests) == 3

    def test_an_address_where_nobody_is(self) -> None:
        given = options(host=f"127.0.0.1:{free_port()}", max_attempts=2)
        text = failing(lambda: CloudVolume("boss://a/b/c", options=given), StoreError)
        assert "channel a/b/c: tried 2 times" in text


class TestSlowLines:
    def test_what_is_sent_slowly_is_sent_all_the_same(self) -> None:
        """The timeout is for the time without a byte, not for the whole body."""
        vol = CloudVolume(new_path(stop=(2048, 1024, 8)), options=options())
        voxels = noise((2048, 1024, 8)) | np.uint8(1)  # nothing of it can be compressed
        with slow_reader(boss_server().port, pause=0.1) as (port, _):
            vol = CloudVolume(vol.cloudpath, options=options(timeout=0.8, host=f"127.0.0.1:{port}"))
            vol[...] = voxels
        assert np.array_equal(boss_server().voxels(vol.cloudpath[7:]).T, voxels)

    def test_but_not_for_ever(self, monkeypatch: pytest.MonkeyPatch) -> None:
        monkeypatch.setattr("precomp_plugins._boss.channel._DEADLINE", 0.5)
        path = new_path(stop=(2048, 1024, 8))
        with slow_reader(boss_server().port, pause=0.1) as (port, _):
            vol = CloudVolume(path, options=options(host=f"127.0.0.1:{port}"))
            text = failing(lambda: vol.__setitem__(..., noise((2048, 1024, 8)) | np.uint8(1)), StoreError)
        assert "too slow to send" in text

    def test_connections_are_kept(self) -> None:
        path = new_path()
        with slow_reader(boss_server().port, pause=0) as (port, seen):
            vol = CloudVolume(path, options=options(host=f"127.0.0.1:{port}"))
            for x in range(5):
                vol[x, 0, 0] = 7
                assert vol[x, 0, 0] == 7
        assert len(seen) == 1


class TestNotTriedAgain:
    @pytest.mark.parametrize(
        ("fault", "kind", "expected"),
        [
            (told(400, 1001, "Incorrect cutout arguments"), StoreError, "400, code 1001: Incorrect cutout"),
            (
                told(401, 3004, "Not logged in"),
                CredentialsError,
                "401, code 3004: Not logged in; it was asked with",
            ),
            (
                told(403, 3001, "No permission"),
                CredentialsError,
                "403, code 3001: No permission; it was asked with",
            ),
            (
                told(404, 4000, "em does not exist."),
                StoreError,
                "404, code 4000: em does not exist; it was deleted",
            ),
            (
                told(413, 2000, "over 500MB"),
                StoreError,
                "413, code 2000: over 500MB; the request is too large",
            ),
            (told(409, 2006, "odd state"), StoreError, "409, code 2006: odd state"),
            (told(404, 5000, "IO error"), StoreError, "404, code 5000: IO error; try again later"),
            (
                Fault.status(400, {}, b"plain HTTP on a port for HTTPS"),
                StoreError,
                "400: plain HTTP on a port for HTTPS; this is no answer of the BOSS's own",
            ),
            (Fault.status(418, {}, b"<p>teapot</p>"), StoreError, "418: <p>teapot</p>"),
            (Fault.status(302, {"Location": "https://b.c/?x=hunter2"}), StoreError, "leads to https://b.c/;"),
        ],
        ids=lambda value: value.name if isinstance(value, Fault) else None,
    )
    @pytest.mark.parametrize("method", ["GET", "PUT", "POST"])
    def test_other_answers(
        self, fault: Fault, kind: type[PrecompError], expected: str, method: str, proxy: FaultProxy
    ) -> None:
        path = new_path()
        vol = CloudVolume(path, options=options(proxy))
        proxy.clear()
        proxy.plan(fault, match=of(method))
        ramp = np.arange(8, dtype=np.uint8).reshape(2, 2, 2)
        doing = {
            "GET": lambda: vol[0:2, 0:2, 0:2],
            "PUT": lambda: vol.__setitem__(np.s_[0:2, 0:2, 0:2], ramp),
            "POST": lambda: vol.__setitem__(np.s_[0:2, 0:2, 0:2], ramp),
        }
        text = failing(doing[method], kind)
        assert expected in text
        assert text.startswith(f"{path}, mip 0, box 0-2_0-2_0-2: the channel {path[7:]} cannot be ")
        assert len([request for request in proxy.requests if request.method == method]) == 1
        if kind is CredentialsError:
            assert "the token of the option token" in text

    @pytest.mark.parametrize(
        "fault",
        [
            Fault.status(404, {"Content-Type": "text/html"}, b"<h1>Not found</h1>"),
            told(404, 5000, "an IO error inside"),
            Fault.status(200, {}, b"<h1>Welcome</h1>"),
            Fault.status(200, {}, b"[" * 10**5),
        ],
        ids=["html", "io error", "another service", "nothing but brackets"],
    )
    def test_what_is_no_word_of_absence(self, fault: Fault, proxy: FaultProxy) -> None:
        proxy.plan(fault)
        failing(lambda: CloudVolume(new_path(), options=options(proxy)), StoreError)

    def test_absence(self, proxy: FaultProxy) -> None:
        proxy.plan(told(404, 4000, "em does not exist."))
        path = new_path()
        text = failing(lambda: CloudVolume(path, options=options(proxy)), InfoNotFoundError)
        assert f"there is no channel {path[7:]} at 127.0.0.1:{proxy.port}" in text

    def test_an_error_in_one_of_many_requests(
        self, proxy: FaultProxy, monkeypatch: pytest.MonkeyPatch
    ) -> None:
        monkeypatch.setattr("precomp_plugins._boss.channel._REQUEST_BYTES", SIZE[0] * SIZE[1] * 16)
        vol = CloudVolume(new_path(stop=(40, 30, 320)), options=options(proxy))
        proxy.plan(*[Fault.passing()] * 7, told(400, 1001, "odd"), match=cutout)
        failing(lambda: vol[...], StoreError)
        proxy.plan(*[Fault.passing()] * 7, told(400, 1001, "odd"), match=of("POST"))
        failing(lambda: vol.__setitem__(..., 1), StoreError)

    @pytest.mark.parametrize("size", [1, 2**31 - 1])
    def test_a_body_that_is_something_else(self, size: int, proxy: FaultProxy) -> None:
        vol = CloudVolume(new_path(), options=options(proxy))
        body = bytearray(blosc.compress(bytes(8), typesize=1))
        struct.pack_into("<I", body, 4, size)
        proxy.plan(Fault.status(200, {}, bytes(body)), match=cutout)
        assert f"the answer holds {size}" in failing(lambda: vol[0:2, 0:2, 0:2], ChunkDecodeError)

    def test_an_error_that_is_too_long(self, proxy: FaultProxy) -> None:
        vol = CloudVolume(new_path(), options=options(proxy))
        page = b"Sorry. " + bytes(10**6) * 3
        proxy.plan(Fault.status(503, AT_ONCE, page), Fault.status(418, {}, page), match=cutout)
        text = failing(lambda: vol[0:2, 0:2, 0:2], StoreError)
        assert "answered 418: Sorry." in text
        assert len(text) < 1000

    def test_a_server_that_echoes_the_token(self, proxy: FaultProxy) -> None:
        proxy.plan(Fault.status(401, {}, f"what is Token {FULL}?".encode()))
        text = failing(lambda: CloudVolume(new_path(), options=options(proxy)), CredentialsError)
        assert "401: what is Token ***?" in text

    def test_a_server_without_https(self) -> None:
        text = failing(lambda: CloudVolume(new_path(), options=options(protocol="https")), StoreError)
        assert "does not speak https" in text
        assert "correct host and protocol" in text

    def test_a_body_that_is_too_long(self, proxy: FaultProxy) -> None:
        vol = CloudVolume(new_path(), options=options(proxy))
        proxy.plan(Fault.status(200, {}, bytes(10**6)), match=cutout)
        assert "more than there can be" in failing(lambda: vol[0:2, 0:2, 0:2], StoreError)

    def test_random_bytes_are_never_voxels(self, proxy: FaultProxy) -> None:
        vol = CloudVolume(new_path(), options=options(proxy, max_attempts=1))
        packed = blosc.compress(np.arange(8, dtype=np.uint8).tobytes() * 500, typesize=1)
        rng = np.random.default_rng(0)
        for _ in range(20):
            body = packed[:16] + rng.bytes(len(packed) - 16)
            proxy.plan(Fault.status(200, {}, body), match=cutout)
            failing(lambda: vol[0:20, 0:20, 0:10], StoreError)


class TestWho:
    def test_public_reads_what_is_public_and_writes_nothing(self) -> None:
        path, private = new_path(), new_path(public=False)
        vol = CloudVolume(path, options=options(token=PUBLIC))
        assert vol[0:2, 0:2, 0:2].max() == 0
        text = failing(lambda: vol.__setitem__(np.s_[0:2, 0:2, 0:2], 1), CredentialsError)
        assert "the public token; it reads public channels only" in text
        text = failing(lambda: CloudVolume(private, options=options(token=PUBLIC)), CredentialsError)
        assert "403, code 3001" in text

    def test_a_wrong_token(self) -> None:
        text = failing(
            lambda: CloudVolume(new_path(), options=options(token="wrong-hunter2")), CredentialsError
        )
        assert "401: Invalid token; it was asked with the token of the option token" in text

    def test_who_may_not_write(self) -> None:
        vol = CloudVolume(new_path(), options=options(token=READER))
        text = failing(lambda: vol.delete(vol.bounds), CredentialsError)
        assert "cannot be erased" in text
        assert "ask the owner of the channel" in text

    def test_a_netrc_does_not_come_first(self, home: Path) -> None:
        (home / ".netrc").write_text("machine 127.0.0.1 login somebody password else")
        (home / ".netrc").chmod(0o600)
        assert CloudVolume(new_path(), options=options()).shape == (*SIZE, 1)

    def test_nothing_shows_the_token(self) -> None:
        vol = CloudVolume(new_path(), options=options())
        service = vol._layer.boxes.service  # type: ignore[union-attr]
        shown = [repr(one) for one in (vol, vars(vol), service, vars(service), vars(service._session))]
        assert "hunter2" not in "".join(shown) + repr(BossOptions(**options()))


FILE = {"protocol": "http", "host": "a.org", "token": "file-hunter2"}
INTERN = "[Default]\nprotocol = https\nhost = b.org\ntoken = {}\n"


def put_file(home: Path, fields: Any = FILE) -> str:
    path = home / ".neuroglancer/secrets/boss-secret.json"
    path.parent.mkdir(parents=True)
    path.write_text(json.dumps(fields))
    return str(path)


def put_intern(home: Path, text: str) -> str:
    path = home / ".intern/intern.cfg"
    path.parent.mkdir()
    path.write_text(text)
    return str(path)


def find(**given: Any) -> Login:
    return find_login(CloudPath("boss", "a", "b/c"), BossOptions(**given))


class TestPlaces:
    def test_their_order(self, home: Path, monkeypatch: pytest.MonkeyPatch) -> None:
        for field, value in {"PROTOCOL": "https", "HOST": "c.org", "TOKEN": "environment-hunter2"}.items():
            monkeypatch.setenv(f"INTERN_{field}", value)
        assert find() == Login(
            "https", "c.org", "environment-hunter2", "the environment variable INTERN_TOKEN"
        )
        path = put_intern(home, INTERN.format("intern-hunter2"))
        assert find() == Login("https", "b.org", "intern-hunter2", path)
        own = home / ".cloudvolume/secrets/a-boss-secret.json"
        own.parent.mkdir(parents=True)
        own.write_text(json.dumps({**FILE, "host": "own.org"}))
        assert find() == Login("http", "own.org", "file-hunter2", str(own))
        path = put_file(home)
        assert find() == Login("http", "a.org", "file-hunter2", path)
        assert find(protocol="https") == Login("https", "a.org", "file-hunter2", path)
        assert find(token="own") == Login("https", "api.bossdb.io", "own", "the option token")
        assert find(token="own", host="d.org:80", protocol="http") == Login(
            "http", "d.org:80", "own", "the option token"
        )
        secret = {"host": "e.org", "token": "t"}
        assert find(token="own", secrets=secret) == Login("https", "e.org", "t", "secrets=")
        assert find(secrets={"token": "t"}, host="f.org") == Login("https", "f.org", "t", "secrets=")
        assert find(secrets=path) == Login("http", "a.org", "file-hunter2", path)

    def test_a_token_stays_with_its_host(self, home: Path) -> None:
        path, other = put_file(home), put_intern(home, INTERN.format("intern-hunter2"))
        assert find(host="b.org") == Login("https", "b.org", "intern-hunter2", other)
        text = failing(lambda: find(host="z.org"), CredentialsError)
        assert f"{path} has a token for a.org, and not for z.org; {other} has a token for b.org" in text
        text = failing(lambda: find(host="z.org", secrets=path), CredentialsError)
        assert "sent to its own host only" in text

    def test_none_at_all_lists_them(self, home: Path) -> None:
        text = failing(lambda: find(), CredentialsError)
        for place in ("secrets=", "the option token", f"{home}/.neuroglancer/secrets/boss-secret.json"):
            assert place in text
        for place in (f"{home}/.intern/intern.cfg", "INTERN_PROTOCOL", "token = 'public'"):
            assert place in text

    @pytest.mark.parametrize(
        ("written", "token"),
        [
            ("100%hunter2", "100%hunter2"),
            ("100%%hunter2", "100%hunter2"),
            ("%(host)s", "b.org"),
            ("%(x)s", "%(x)s"),
        ],
    )
    def test_a_percent_sign_in_the_file_of_intern(self, written: str, token: str, home: Path) -> None:
        put_intern(home, INTERN.format(written))
        assert find().token == token

    def test_the_section_of_the_volume_service_comes_first(self, home: Path) -> None:
        own = INTERN.replace("Default", "Volume Service").format("own").replace("b.org", "own.org")
        put_intern(home, INTERN.format("x") + own)
        assert find().host == "own.org"

    @pytest.mark.parametrize(
        ("text", "expected"),
        [
            ("token = hunter2", "expected the INI file of intern"),
            ("[Default]\ntoken = hunter2\n", "found none with protocol, host"),
            ("[Other]\ntoken = hunter2\n", "found none with protocol, host, token"),
        ],
    )
    def test_a_broken_file_of_intern_is_named(self, text: str, expected: str, home: Path) -> None:
        path = put_intern(home, text)
        told = failing(find, CredentialsError)
        assert told.startswith(path)
        assert expected in told

    @pytest.mark.parametrize(
        ("change", "expected"),
        [
            ({"host": "https://a.org"}, "host: expected a name such as"),
            ({"host": "hunter2@a.org"}, "host: expected a name such as"),
            ({"host": "a.org/v1"}, "host: expected a name such as"),
            ({"protocol": "ftp"}, "protocol: expected https or http"),
            ({"token": "hunter2 hunter2"}, "token: expected letters"),
            ({"token": "hunter2\r\nX-Other: 1"}, "token: expected letters"),
            ({"token": None}, "expected the field token"),
            ({"host": None}, "expected the field host"),
        ],
    )
    def test_a_secret_that_cannot_be_one(self, change: dict[str, Any], expected: str, home: Path) -> None:
        path = put_file(home, {**FILE, **change})
        text = failing(find, CredentialsError)
        assert text.startswith(path)
        assert expected in text

    def test_they_are_used(self, home: Path) -> None:
        path = new_path()
        host, port = boss_server().host.split(":")
        put_intern(home, f"[Default]\nprotocol = http\nhost = {host}:{port}\ntoken = {FULL}\n")
        vol = CloudVolume(path)
        vol[0:2, 0:2, 0:2] = 3
        assert vol[0:2, 0:2, 0:2].min() == 3


class TestIntern:
    """What intern itself reads and writes is the same: the server is one for intern, too."""

    @pytest.mark.parametrize("dtype", ["uint8", "uint16", "uint64"])
    def test_both_ways(self, dtype: str) -> None:
        path = new_path(datatype=dtype)
        vol = CloudVolume(path, options=options())
        remote = BossRemote({"protocol": "http", "host": boss_server().host, "token": READER})
        collection, experiment, channel = path[7:].split("/")
        resource = remote.get_channel(channel, collection, experiment)
        vol[3:9, 4:9, 5:9] = (voxels := noise((6, 5, 4), dtype))
        ranges = [3, 9], [4, 9], [5, 9]
        assert np.array_equal(remote.get_cutout(resource, 0, *ranges, parallel=False).T, voxels)
        writer = BossRemote(
            {"protocol": "http", "host": boss_server().host, "token": FULL.replace("%", "%%")}
        )
        other = noise((6, 5, 4), dtype, 1) | np.ones(1, dtype)
        writer.create_cutout(resource, 0, *ranges, np.ascontiguousarray(other.T))
        assert np.array_equal(vol[3:9, 4:9, 5:9][..., 0], other)


@pytest.mark.parametrize("gone", ["intern", "blosc"])
def test_without_intern_it_says_how_to_install_it(gone: str, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setitem(sys.modules, gone, None)
    with pytest.raises(MissingDependencyError, match=r"pip install 'precomp\[boss\]'"):
        open_service(CloudPath("boss", "a", "b/c"), BossOptions(**options()))


def test_a_child_of_this_process_is_not_the_parent() -> None:
    """The sockets of a parent are not used by its children."""
    vol = CloudVolume(new_path(), options=options())
    session = vol._layer.boxes.service._session  # type: ignore[union-attr]
    assert list(session._remotes) == [os.getpid()]
