"""`gs://` when something goes wrong on the way: what is tried again, what is not, what is not lost."""

import gzip
import json
import socket
import ssl
import threading
from collections.abc import Callable, Iterator
from contextlib import suppress
from typing import Any

import numpy as np
import pytest
from faults import Fault, FaultProxy
from servers.gs import gs_server
from slow import slow_reader
from urllib3.exceptions import NewConnectionError
from volumes import make, noise

from precomp import CloudVolume
from precomp.bench.serving import free_port
from precomp.engine.update import update
from precomp.errors import ConditionFailedError, CredentialsError, PrecompError, StoreError
from precomp.interfaces import Blob, ByteRange, CloudPath, Condition
from precomp_plugins._gs.store import GsStore
from precomp_plugins._wire.checksum import crc32c
from precomp_plugins.gs import GsOptions

KEY = "8_8_40/0-64_0-64_0-64"
DATA = np.random.default_rng(0).bytes(300_000)


@pytest.fixture
def proxy() -> Iterator[FaultProxy]:
    with FaultProxy(gs_server().port) as proxy:
        yield proxy


@pytest.fixture
def bucket() -> str:
    return gs_server().new_bucket()


def options(proxy: FaultProxy | None = None, **given: Any) -> dict[str, Any]:
    port = gs_server().port if proxy is None else proxy.port
    return {"endpoint_url": f"http://127.0.0.1:{port}", "anonymous": True, "concurrency": 4, **given}


def store_at(bucket: str, proxy: FaultProxy | None = None, **given: Any) -> GsStore:
    return GsStore(CloudPath("gs", bucket, "ds/layer"), GsOptions(**options(proxy, **given)))


def google(status: int, reason: str, message: str = "of the test") -> Fault:
    """What Google says, word for word but for the message."""
    errors = [{"message": message, "domain": "global", "reason": reason}]
    body = {"error": {"code": status, "message": message, "errors": errors}}
    return Fault.status(status, {"Content-Type": "application/json"}, json.dumps(body).encode())


AT_ONCE = {"Retry-After": "0"}
BEFORE = {
    **{str(code): Fault.status(code, AT_ONCE) for code in (408, 429, 500, 502, 503, 504)},
    "rate limit": google(403, "rateLimitExceeded"),
    "reset": Fault.reset(),
    "stall": Fault.stall(),
}
IN_THE_BODY = {
    "reset in the body": Fault.reset(100),
    "truncated": Fault.truncate(100),
    "nothing of it": Fault.truncate(0),
    "stall in the body": Fault.stall(100),
}


@pytest.mark.parametrize("fault", [*BEFORE, *IN_THE_BODY, "corrupt"])
def test_a_read_is_tried_again(bucket: str, proxy: FaultProxy, fault: str) -> None:
    store_at(bucket).put(KEY, Blob(DATA))
    broken = {**BEFORE, **IN_THE_BODY, "corrupt": Fault.corrupt(200_000)}[fault]
    store = store_at(bucket, proxy, timeout=0.4)
    proxy.plan(broken)
    assert store.get(KEY).data == DATA  # type: ignore[union-attr]
    assert (proxy.left, len(proxy.requests)) == (0, 2)


def test_a_large_object_on_a_slow_line_is_sent_all_the_same(bucket: str) -> None:
    """The timeout is for the time without a byte, not for the whole body."""
    shard = np.random.default_rng(0).bytes(2**24)
    with slow_reader(gs_server().port, pause=0.1) as (port, _):
        store_at(bucket, None, endpoint_url=f"http://127.0.0.1:{port}", timeout=0.8).put(KEY, Blob(shard))
    assert store_at(bucket).get(KEY).data == shard  # type: ignore[union-attr]


@pytest.mark.parametrize("fault", ["503", *IN_THE_BODY])
def test_a_read_of_a_part_is_tried_again(bucket: str, proxy: FaultProxy, fault: str) -> None:
    store_at(bucket).put(KEY, Blob(DATA))
    store = store_at(bucket, proxy, timeout=0.4)
    proxy.plan({**BEFORE, **IN_THE_BODY}[fault])
    assert store.get(KEY, ByteRange(1000, 2000)).data == DATA[1000:2000]  # type: ignore[union-attr]
    assert (proxy.left, len(proxy.requests)) == (0, 2)


CALLS: dict[str, tuple[Callable[[GsStore], object], int]] = {
    "put": (lambda store: store.put(KEY, Blob(DATA)), 1),
    "put of a new one": (lambda store: store.put("new", Blob(DATA), condition=Condition(None)), 1),
    "stat": (lambda store: store.stat(KEY), 1),
    "delete": (lambda store: store.delete([KEY]), 1),
    "delete of several": (lambda store: store.delete([KEY, "b", "c"]), 4),  # one looks at the bucket
    "list": (lambda store: list(store.list("")), 1),
    "ranges": (lambda store: store.get_ranges(KEY, [ByteRange(0, 9), ByteRange(20, 30)]), 1),
}


@pytest.mark.parametrize("fault", ["503", "reset", "stall"])
def test_everything_else_is_tried_again(bucket: str, proxy: FaultProxy, fault: str) -> None:
    store = store_at(bucket, proxy, timeout=0.4, concurrency=1)
    for what, (call, requests) in CALLS.items():
        store_at(bucket).delete(["new"])
        store_at(bucket).put(KEY, Blob(b"old" * 100))
        proxy.clear()
        proxy.plan(BEFORE[fault])
        call(store)
        assert proxy.left == 0, what
        assert len(proxy.requests) in (requests, requests + 1), what  # the bucket was looked at before


def test_what_fails_for_good_says_so(bucket: str, proxy: FaultProxy) -> None:
    store = store_at(bucket, proxy, max_attempts=3, concurrency=1)
    for call, _ in CALLS.values():
        proxy.clear()
        proxy.plan(Fault.status(503, AT_ONCE, b"busy"), forever=True)
        with pytest.raises(StoreError, match=r"tried 3 times in .* the service answered 503: busy") as caught:
            call(store)
        assert f"gs://{bucket}/ds/layer/" in str(caught.value)
        assert len(proxy.requests) == 3


def test_the_cause_is_chained(bucket: str, proxy: FaultProxy) -> None:
    proxy.plan(Fault.reset(), forever=True)
    with pytest.raises(StoreError, match=f"gs://{bucket}/ds/layer/{KEY}: tried twice|2 times") as caught:
        store_at(bucket, proxy, max_attempts=2).get(KEY)
    assert isinstance(caught.value.__cause__, ConnectionError)


def test_nobody_listens() -> None:
    store = store_at("bucket", None, endpoint_url=f"http://127.0.0.1:{free_port()}", max_attempts=2)
    with pytest.raises(StoreError, match="tried 2 times") as caught:
        store.get(KEY)
    assert isinstance(caught.value.__cause__, NewConnectionError)


def test_a_host_that_nobody_knows() -> None:
    store = store_at("bucket", None, endpoint_url="http://storage.invalid")
    with pytest.raises(StoreError, match=r"^gs://bucket/ds/layer: there is no host storage\.invalid"):
        store.get(KEY)


def test_an_empty_object_that_grows_while_it_is_read(bucket: str, proxy: FaultProxy) -> None:
    store_at(bucket).put(KEY, Blob(b"grown"))
    proxy.plan(Fault.status(416))
    found = store_at(bucket, proxy).get(KEY, ByteRange(0, 100))
    assert found is not None
    assert (found.data, found.size) == (b"grown", 5)


def test_a_body_that_trickles_in_ends_with_the_deadline(
    bucket: str, proxy: FaultProxy, monkeypatch: pytest.MonkeyPatch
) -> None:
    store_at(bucket).put(KEY, Blob(DATA))
    store = store_at(bucket, proxy)
    patient, short = store._retry, type(store._retry)(max_attempts=1, deadline=0.5)
    monkeypatch.setattr(store, "_retry", short)
    proxy.plan(Fault.slow(0.02, 100), forever=True)
    with pytest.raises(StoreError, match=r"tried once in .*, the last time: "):
        store.get(KEY)
    proxy.clear()
    monkeypatch.setattr(store, "_retry", type(patient)(max_attempts=1))
    assert store.get(KEY).data == DATA  # type: ignore[union-attr]  # and not what was left over


# Packed and unpacked on the way -------------------------------------------------------------------------


def transformed(stored: bytes, sent: bytes, kept: str, encoding: str | None) -> Fault:
    """An answer as Google gives it for an object that it packs or unpacks, whatever range was asked for."""
    headers = {
        "x-goog-hash": f"crc32c={crc32c(stored)}",
        "x-goog-generation": "7",
        "x-goog-stored-content-encoding": kept,
        "x-goog-stored-content-length": str(len(stored)),
        "Warning": "214 UploadServer gzipped",
        **({"Content-Encoding": encoding} if encoding else {}),
    }
    return Fault.status(200, headers, sent)


def test_what_was_packed_on_the_way_is_unpacked(proxy: FaultProxy) -> None:
    store, packed = store_at("bucket", proxy, max_attempts=1), gzip.compress(DATA)
    proxy.plan(*[transformed(DATA, packed, "identity", "gzip")] * 2)
    assert store.get(KEY) == Blob(DATA, None, None, None, "7")
    assert store.get(KEY, ByteRange(10, 20)) == Blob(DATA[10:20], None, None, None, "7", len(DATA))
    broken = packed[:100] + bytes([packed[100] ^ 255]) + packed[101:]
    for sent in (broken, packed[:-1000], gzip.compress(DATA + b"x"), gzip.compress(DATA[:-1] + b"x")):
        proxy.plan(transformed(DATA, sent, "identity", "gzip"))
        with pytest.raises(StoreError, match=r"packed on the way|are damaged"):
            store.get(KEY)


def test_what_was_unpacked_on_the_way_is_taken_as_it_is(proxy: FaultProxy) -> None:
    store, packed = store_at("bucket", proxy, max_attempts=1), gzip.compress(DATA)
    proxy.plan(*[transformed(packed, DATA, "gzip", None)] * 2)
    assert store.get(KEY) == Blob(DATA, None, None, None, "7")
    assert store.get(KEY, ByteRange(10, 20)) == Blob(DATA[10:20], None, None, None, "7", len(DATA))


def test_a_part_of_something_packed_on_the_way_is_refused(proxy: FaultProxy) -> None:
    headers = {
        "Content-Range": f"bytes 0-9/{len(DATA)}",
        "Content-Encoding": "gzip",
        "x-goog-stored-content-encoding": "identity",
    }
    proxy.plan(Fault.status(206, headers, b"0123456789"))
    with pytest.raises(StoreError, match="stored as plain came as gzip"):
        store_at("bucket", proxy, max_attempts=1).get(KEY, ByteRange(0, 10))


@pytest.mark.parametrize("said", ["bytes 1-10/300000", "bytes 0-9/5", "bytes 0-9/*", "bytes */10", ""])
def test_another_part_than_was_asked_for(proxy: FaultProxy, said: str) -> None:
    proxy.plan(Fault.status(206, {"Content-Range": said}, b"0123456789"))
    with pytest.raises(StoreError, match="asked for the bytes 0 to 10, got 10, called"):
        store_at("bucket", proxy, max_attempts=1).get(KEY, ByteRange(0, 10))


# Refused ------------------------------------------------------------------------------------------------


@pytest.mark.parametrize(
    ("fault", "error", "said"),
    [
        (
            google(401, "required", "Anonymous caller does not have access"),
            CredentialsError,
            "Anonymous caller",
        ),
        (google(403, "forbidden", "x does not have access"), CredentialsError, "x does not have access"),
        (google(403, "accountDisabled", "The account is closed"), CredentialsError, "The account is closed"),
        (google(403, "retentionPolicyNotMet", "Object is retained"), StoreError, "Object is retained"),
        (google(400, "required", "Bucket is a requester pays bucket"), StoreError, "requester pays bucket"),
        (google(404, "notFound", "The specified bucket does not exist."), StoreError, "there is no bucket"),
        (Fault.status(301, {"Location": "http://127.0.0.1:1/"}), StoreError, "301"),
        (Fault.status(410, body=b"<html>" + b"x" * 10_000), StoreError, "410"),
    ],
)
def test_what_is_refused_is_not_tried_again(
    proxy: FaultProxy, fault: Fault, error: type[Exception], said: str
) -> None:
    store = store_at("bucket", proxy, concurrency=1)
    for call, _ in CALLS.values():
        proxy.clear()
        proxy.plan(fault, forever=True)
        with pytest.raises(error, match=said) as caught:
            call(store)
        assert "gs://bucket/ds/layer/" in str(caught.value)
        assert len(str(caught.value)) < 800
        if error is CredentialsError:
            assert "asked by nobody, as the option anonymous says, for the bucket 'bucket'" in str(
                caught.value
            )
        assert len(proxy.requests) == 1


def test_a_404_is_absence_only_of_an_object(bucket: str, proxy: FaultProxy) -> None:
    store = store_at(bucket, proxy, max_attempts=1)
    listing = Fault.status(503, AT_ONCE)
    proxy.plan(listing, match=lambda request: "maxResults=1&" in request.path)
    with pytest.raises(StoreError, match="503"):
        store.get("absent")  # whether there is a bucket could not be found out
    proxy.plan(google(403, "forbidden"), match=lambda request: "maxResults=1&" in request.path)
    with pytest.raises(CredentialsError):
        store.get("absent")
    assert store.get("absent") is None
    proxy.plan(google(404, "notFound", "The specified bucket does not exist."))
    with pytest.raises(StoreError, match="there is no bucket"):
        store.get("absent")
    proxy.plan(google(404, "notFound", f"No such object: {bucket}/ds/layer/absent"))
    assert store.get("absent") is None


def test_of_an_endless_error_only_the_start_is_read(bucket: str) -> None:
    page, sent = b"no " * 20_000, 0

    def serve() -> None:
        nonlocal sent
        connection = listening.accept()[0]
        with connection, suppress(OSError):
            connection.recv(2**16)
            connection.sendall(b"HTTP/1.1 403 Forbidden\r\n\r\n")
            while sent < 2**30:
                sent += connection.send(page)

    with socket.create_server(("127.0.0.1", 0)) as listening:
        serving = threading.Thread(target=serve)
        serving.start()
        own = options(endpoint_url=f"http://127.0.0.1:{listening.getsockname()[1]}")
        with pytest.raises(CredentialsError, match="the service refused"):
            GsStore(CloudPath("gs", bucket, "ds/layer"), GsOptions(**own)).get("a")
        serving.join()
    assert sent < 2**27  # what the system's buffers take is little


@pytest.mark.parametrize("body", [b'{"items": 7}', b'{"items": [{"name": 7}]}', b'{"nextPageToken": 7}'])
def test_what_is_no_list_of_names_is_no_empty_one(bucket: str, proxy: FaultProxy, body: bytes) -> None:
    proxy.plan(Fault.status(200, body=body), forever=True)
    with pytest.raises(StoreError, match=r"tried 2 times.*the answer is no list of names"):
        list(store_at(bucket, proxy, max_attempts=2).list(""))


def test_an_address_that_is_no_google_storage(proxy: FaultProxy) -> None:
    proxy.plan(Fault.status(200, body=b"<html>hello</html>"), forever=True)
    store = store_at("bucket", proxy, max_attempts=2)
    for call in ("stat", "put", "list"):
        with pytest.raises(StoreError, match="is no JSON"):
            CALLS[call][0](store)
    for keys in ([KEY], [KEY, "b"]):
        with pytest.raises(StoreError, match=r"tried 2 times.* not known to be deleted"):
            store.delete(keys)


def test_absence_is_not_believed_where_a_page_says_that_the_bucket_is_there(proxy: FaultProxy) -> None:
    proxy.plan(google(404, "notFound"), Fault.status(200, body=b"<html>hello</html>"))
    with pytest.raises(StoreError, match="is no JSON"):
        store_at("bucket", proxy, max_attempts=1).get(KEY)


def test_a_certificate_that_is_not_trusted_is_not_tried_again(tmp_path: Any) -> None:
    from servers.tls import tls_server

    with tls_server(tmp_path) as (port, connections):
        store = store_at("bucket", None, endpoint_url=f"https://127.0.0.1:{port}")
        with pytest.raises(
            StoreError, match=r"the certificate of .* is not trusted.*SSL_CERT_FILE"
        ) as caught:
            store.get(KEY)
        assert len(connections) == 1
        assert isinstance(caught.value.__cause__, ssl.SSLCertVerificationError)


# Volumes ------------------------------------------------------------------------------------------------


FAILURES = {
    "503": Fault.status(503, AT_ONCE),
    "reset": Fault.reset(),
    "truncated": Fault.truncate(10),
    "corrupt": Fault.corrupt(5),
    "403": google(403, "forbidden"),
    "401": google(401, "authError"),
    "no bucket": google(404, "notFound", "The specified bucket does not exist."),
    "410": Fault.status(410),
}


@pytest.mark.parametrize("fault", FAILURES)
def test_nothing_is_filled_with_zeros(bucket: str, proxy: FaultProxy, fault: str) -> None:
    make(f"gs://{bucket}/ds/image", options=options())[...] = 9
    vol = CloudVolume(
        f"gs://{bucket}/ds/image", fill_missing=True, options=options(proxy, max_attempts=2, timeout=5)
    )
    key = "8_8_40%2F11-27_3-19_100-116"
    proxy.plan(FAILURES[fault], forever=True, match=lambda request: key in request.path)
    with pytest.raises(PrecompError, match="8_8_40/11-27_3-19_100-116"):
        vol[...]
    assert (vol[-5:11, 3:19, 100:116] == 9).all()


def test_other_workers_stop(bucket: str, proxy: FaultProxy) -> None:
    vol = make(f"gs://{bucket}/ds/image", (256, 256, 16), options=options(proxy, max_attempts=1))
    proxy.clear()
    proxy.plan(Fault.status(410), forever=True)
    with pytest.raises(StoreError, match="410"):
        vol[...]
    assert len(proxy.requests) <= 8  # of 256 chunks: what four workers had begun, and little more


def test_a_delete_that_fails_ends_the_others(bucket: str, proxy: FaultProxy) -> None:
    """And it is told, not that the others were given up."""
    store = store_at(bucket, proxy)
    busy, refused = (lambda request, key=key: f"%2F{key}" in request.path for key in ("busy", "refused"))
    proxy.plan(Fault.status(503, {"Retry-After": "60"}), match=busy, forever=True)
    proxy.plan(google(403, "forbidden"), match=refused, forever=True)
    with pytest.raises(CredentialsError, match="/refused: cannot be deleted"):
        store.delete(["busy", "refused"])
    assert sum(map(busy, proxy.requests)) <= 1


def test_a_whole_volume_through_many_faults(bucket: str, proxy: FaultProxy) -> None:
    every_kind = [
        Fault.status(503, AT_ONCE),
        Fault.reset(),
        Fault.truncate(20),
        Fault.drop(),
        Fault.passing(),
    ]
    vol = make(f"gs://{bucket}/ds/image", options=options(proxy), non_aligned_writes=True)
    voxels = noise(vol.shape)
    proxy.plan(*every_kind * 2)
    vol[...] = voxels
    proxy.plan(*every_kind)
    vol[3:9, 10:20, 105:110] = 7
    voxels[8:14, 7:17, 5:10] = 7
    proxy.plan(*every_kind)
    np.testing.assert_array_equal(vol[...], voxels)


# Answers that were lost ---------------------------------------------------------------------------------


def test_a_put_whose_answer_was_lost(bucket: str, proxy: FaultProxy) -> None:
    store = store_at(bucket, proxy)
    proxy.plan(Fault.drop())
    version = store.put(KEY, Blob(b"new"))
    assert store.get(KEY) == Blob(
        b"new", None, "application/octet-stream", store.get(KEY).cache_control, version
    )  # type: ignore[union-attr]


@pytest.mark.parametrize("lost", [Fault.drop(), Fault.truncate(3), Fault.stall(3), Fault.reset(3)])
def test_a_conditional_put_whose_answer_was_lost_is_known_again(
    bucket: str, proxy: FaultProxy, lost: Fault
) -> None:
    store = store_at(bucket, proxy, timeout=0.4)
    proxy.plan(lost)
    first = store.put(KEY, Blob(b"one"), condition=Condition(None))
    assert proxy.left == 0
    assert store.stat(KEY).version == first  # type: ignore[union-attr]
    proxy.plan(lost)
    second = store.put(KEY, Blob(b"two"), condition=Condition(first))
    found = store.get(KEY)
    assert found is not None
    assert (found.data, found.version) == (b"two", second)


def test_the_same_bytes_of_another_writer_are_not_taken_for_ours(bucket: str, proxy: FaultProxy) -> None:
    store, other = store_at(bucket, proxy), store_at(bucket)
    before = store.put(KEY, Blob(b"4"))
    proxy.plan(Fault.reset())  # before it gets there
    other.put(KEY, Blob(b"5"), condition=Condition(before))
    with pytest.raises(ConditionFailedError, match="nothing was written"):
        store.put(KEY, Blob(b"5"), condition=Condition(before))
    assert proxy.left == 0


def test_no_update_is_lost_with_the_answers(bucket: str, proxy: FaultProxy) -> None:
    store = store_at(bucket, proxy)
    proxy.plan(*[Fault.drop(), Fault.passing(), Fault.reset()] * 8, match=lambda one: one.method == "POST")
    for _ in range(12):
        update(store, KEY, lambda blob: Blob(b"%d" % (int(bytes(blob.data)) + 1 if blob else 1)))
    assert store.get(KEY).data == b"12"  # type: ignore[union-attr]
    assert proxy.left < 12
