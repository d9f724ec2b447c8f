"""`s3://` when requests do not go well, through a proxy that breaks them."""

import hashlib
import json
import sys
import threading
import time
from collections.abc import Iterator
from contextlib import contextmanager
from functools import partial
from http.server import BaseHTTPRequestHandler, ThreadingHTTPServer
from pathlib import Path
from typing import Any

import numpy as np
import pytest
from faults import Fault, FaultProxy, Request
from s3_places import alone, layer, new_path, put_secret, store_at
from servers.s3 import BUCKET, s3_server
from volumes import make

from precomp import CloudVolume, retry
from precomp.engine.update import update
from precomp.errors import ChunkDecodeError, ConditionFailedError, CredentialsError, StoreError
from precomp.interfaces import Blob, ByteRange, Condition
from precomp.retry import RetryPolicy
from precomp_plugins._s3 import bucket
from precomp_plugins._s3.signature import UNSIGNED

DATA = bytes(range(256)) * 40
STATUSES = [Fault.status(code) for code in (429, 500, 502, 503, 504)]
ON_THE_WAY = [Fault.reset(), Fault.stall()]
IN_THE_BODY = [Fault.reset(100), Fault.truncate(100), Fault.stall(100), Fault.truncate(0)]


def patience(fault: Fault) -> dict[str, float]:
    """Options that make a stall short, and no other answer late."""
    return {"timeout": 1.0} if fault.name == "stall" else {}


def is_of_checksums(header: str) -> bool:
    return header.startswith("x-amz-checksum")


def name_of(fault: Fault) -> str:
    return f"{fault.name}-{fault.after}"


@pytest.fixture(autouse=True)
def home(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Path:
    alone(tmp_path / "home", monkeypatch)
    put_secret(tmp_path / "home" / ".neuroglancer" / "secrets", s3_server().secret)
    return tmp_path / "home"


@pytest.fixture
def proxy() -> Iterator[FaultProxy]:
    s3_server()
    with FaultProxy(s3_server().port) as proxy:
        yield proxy


@pytest.fixture
def path() -> str:
    return s3_server().new_folder()


def behind(proxy: FaultProxy, path: str, **options: Any) -> Any:
    """A store of a layer that the proxy stands before."""
    return store_at(path, **{"endpoint_url": f"http://127.0.0.1:{proxy.port}", **options})


def data_of(blob: Blob | None) -> bytes | None:
    return None if blob is None else bytes(blob.data)


# --- attempts ------------------------------------------------------------------------------------------


@pytest.mark.parametrize("fault", [*STATUSES, *ON_THE_WAY, *IN_THE_BODY], ids=name_of)
def test_a_get_is_tried_again(proxy: FaultProxy, path: str, fault: Fault) -> None:
    store = behind(proxy, path, **patience(fault))
    store.put("x", Blob(DATA))
    proxy.clear()
    proxy.plan(fault, fault)
    assert data_of(store.get("x")) == DATA
    assert (len(proxy.requests), proxy.left) == (3, 0)


@pytest.mark.parametrize("fault", [STATUSES[3], *ON_THE_WAY[:1], *IN_THE_BODY[:2]], ids=name_of)
def test_a_part_is_tried_again(proxy: FaultProxy, path: str, fault: Fault) -> None:
    store = behind(proxy, path, **patience(fault))
    store.put("x", Blob(DATA))
    proxy.plan(fault, fault)
    parts = store.get_ranges("x", [ByteRange(9000, 9500), ByteRange(0, 300)])
    assert [data_of(part) for part in parts] == [DATA[9000:9500], DATA[:300]]
    assert proxy.left == 0


@pytest.mark.parametrize("fault", IN_THE_BODY, ids=name_of)
def test_a_broken_error_is_asked_for_again(proxy: FaultProxy, path: str, fault: Fault) -> None:
    """What S3 says of an absent object has a body, too, which boto3 reads elsewhere."""
    store = behind(proxy, path, **patience(fault))
    for attempt in (lambda: store.get("x"), lambda: store.get("x", ByteRange(0, 9)), lambda: store.stat("x")):
        proxy.clear()
        proxy.plan(STATUSES[3], fault, match=lambda request: request.path.endswith("/x"))
        assert attempt() is None
        assert proxy.left == 0


@pytest.mark.parametrize("fault", [*STATUSES, *ON_THE_WAY, Fault.drop()], ids=name_of)
def test_a_put_is_tried_again(proxy: FaultProxy, path: str, fault: Fault) -> None:
    store = behind(proxy, path, **patience(fault))
    proxy.plan(fault, fault)
    version = store.put("x", Blob(DATA, "gzip"))
    assert (len(proxy.requests), proxy.left) == (3, 0)
    blob = store_at(path).get("x")
    assert (data_of(blob), blob.version, blob.content_encoding) == (DATA, version, "gzip")


@pytest.mark.parametrize("fault", [STATUSES[3], *ON_THE_WAY, Fault.drop()], ids=name_of)
def test_all_else_is_tried_again(proxy: FaultProxy, path: str, fault: Fault) -> None:
    store = behind(proxy, path, **patience(fault))
    for key in "abcd":
        store.put(key, Blob(DATA))
    proxy.clear()
    for call in (
        lambda: store.stat("a").size == len(DATA),
        lambda: sorted(store.list("")) == ["a", "b", "c", "d"],
        lambda: store.delete(["a"]) is None,
        lambda: store.delete(["b", "c"]) is None,
    ):
        proxy.plan(fault)
        assert call()
        assert proxy.left == 0
    assert len(proxy.requests) == 8
    assert list(store.list("")) == ["d"]


def test_attempts_are_counted_and_the_error_says_all(proxy: FaultProxy, path: str) -> None:
    store = behind(proxy, path, max_attempts=3)
    proxy.plan(Fault.status(503), forever=True)
    for call in (lambda: store.get("x"), lambda: store.put("x", Blob(DATA)), lambda: store.stat("x")):
        proxy.requests.clear()
        with pytest.raises(StoreError, match=f"s3://{BUCKET}/{path}/x: tried 3 times in .* 503") as caught:
            call()
        assert len(proxy.requests) == 3
        assert caught.value.__cause__ is not None


def test_one_attempt_is_one(proxy: FaultProxy, path: str) -> None:
    store = behind(proxy, path, max_attempts=1)
    proxy.plan(Fault.reset(), forever=True)
    with pytest.raises(StoreError, match="tried once"):
        store.get("x")
    assert len(proxy.requests) == 1


def test_the_service_is_given_the_time_it_asks_for(proxy: FaultProxy, path: str) -> None:
    store = behind(proxy, path)
    busy = Fault.status(503, {"Retry-After": "1"})
    proxy.plan(busy)
    start = time.monotonic()
    assert store.get("x") is None
    assert time.monotonic() - start >= 1
    assert len(proxy.requests) == 2


def test_a_busy_service_says_how_long_to_wait(
    proxy: FaultProxy, path: str, monkeypatch: pytest.MonkeyPatch
) -> None:
    pauses: list[float] = []

    def pause(seconds: float) -> bool:
        pauses.append(seconds)
        return False

    monkeypatch.setattr(retry, "stopped_within", pause)
    store = behind(proxy, path)
    for code in (429, 503, 500):
        pauses.clear()
        proxy.plan(Fault.status(code, {"Retry-After": "7"}), Fault.status(code))
        assert store.get("x") is None
        assert [int(pause) for pause in pauses] == [7, 0]


def test_a_slow_answer_is_no_failure(proxy: FaultProxy, path: str) -> None:
    store = behind(proxy, path, timeout=1.5)
    store.put("x", Blob(DATA))
    proxy.clear()
    proxy.plan(Fault.slow(0.4, 2500))  # longer than the timeout in all
    assert data_of(store.get("x")) == DATA
    assert len(proxy.requests) == 1


@pytest.mark.parametrize("key", ["x", "line\nbreak"], ids=["plain", "odd"])
@pytest.mark.parametrize(
    "fault", [Fault.slow(0.05, 100), Fault.stall(), Fault.stall(100), Fault.status(503, {"Retry-After": "1"})]
)
def test_all_attempts_end_with_the_deadline(
    proxy: FaultProxy, path: str, key: str, fault: Fault, monkeypatch: pytest.MonkeyPatch
) -> None:
    """Whatever still comes in by then, and however many attempts are left."""
    monkeypatch.setattr(bucket, "RetryPolicy", partial(RetryPolicy, deadline=0.7))
    store = behind(proxy, path, timeout=60.0)
    store.put(key, Blob(DATA))
    proxy.clear()
    proxy.plan(fault, forever=True)
    with pytest.raises(StoreError, match=r"tried once in .* 0\.7 s in all") as caught:
        store.get(key)
    assert f"{len(DATA)} of {len(DATA)}" not in str(caught.value)  # it did not wait for all of it
    assert len(proxy.requests) == 1
    proxy.clear()
    assert data_of(store.get(key)) == DATA  # and not what was left over


def test_what_is_wrong_is_not_tried_again(proxy: FaultProxy, path: str) -> None:
    store = behind(proxy, path)
    proxy.plan(
        Fault.status(400, body=b"<Error><Code>KeyTooLongError</Code><Message>too long</Message></Error>")
    )
    with pytest.raises(StoreError, match=f"{path}/x: S3 answered 400 KeyTooLongError: too long"):
        store.get("x")
    assert len(proxy.requests) == 1


def test_the_other_threads_stop(proxy: FaultProxy) -> None:
    vol = make(
        new_path(),
        (256, 16, 16),
        options=layer(endpoint_url=f"http://127.0.0.1:{proxy.port}", max_attempts=1),
    )
    proxy.clear()
    proxy.plan(Fault.status(500), forever=True)
    with pytest.raises(StoreError, match="8_8_40/"):
        vol[...] = 7
    assert len(proxy.requests) <= 2 * 4


def test_a_broken_request_is_no_missing_chunk(proxy: FaultProxy) -> None:
    options = layer(endpoint_url=f"http://127.0.0.1:{proxy.port}", max_attempts=2)
    vol = make(new_path(), options=options, fill_missing=True)
    vol[...] = 7
    proxy.plan(Fault.status(500), forever=True)
    with pytest.raises(StoreError, match="tried 2 times"):
        vol[...]
    with pytest.raises(StoreError, match="tried 2 times"):
        vol.exists(vol.bounds)


def test_a_changed_byte_is_found_in_a_compressed_chunk(proxy: FaultProxy) -> None:
    """Where no checksum tells of it, that of gzip does."""
    options = layer(endpoint_url=f"http://127.0.0.1:{proxy.port}")
    refused = Fault.status(501, body=b"<Code>NotImplemented</Code><Message>x-amz-checksum-mode</Message>")
    proxy.plan(refused, forever=True, match=lambda one: any(map(is_of_checksums, one.headers)))
    vol = make(new_path(), (16, 16, 16), options=options)
    vol[...] = np.arange(16**3, dtype=np.uint8).reshape((16, 16, 16))
    proxy.plan(Fault.corrupt(30))
    with pytest.raises(ChunkDecodeError, match="8_8_40/-5-11_3-19_100-116"):
        vol[...]


# --- conditions whose answer is lost ----------------------------------------------------------------


def of_puts(request: Request) -> bool:
    return request.method == "PUT"


def test_a_lost_answer_is_settled_by_reading_back(proxy: FaultProxy, path: str) -> None:
    store = behind(proxy, path)
    proxy.plan(Fault.drop(), match=of_puts)
    version = store.put("x", Blob(DATA, "gzip"), condition=Condition(None))
    assert [request.method for request in proxy.requests] == ["PUT", "PUT", "HEAD"]
    proxy.plan(Fault.drop(), match=of_puts)
    new = store.put("x", Blob(DATA[::-1]), condition=Condition(version))
    blob = store.get("x")
    assert (data_of(blob), blob.version, blob.content_encoding) == (DATA[::-1], new, None)
    assert proxy.left == 0


def test_the_same_bytes_of_another_writer_are_not_taken_for_ours(proxy: FaultProxy, path: str) -> None:
    store, other = behind(proxy, path), store_at(path)
    before = store.put("x", Blob(b"4"))
    for lost in ([Fault.reset()], [Fault.reset(), Fault.reset()]):
        proxy.plan(*lost, match=of_puts)
        now = other.put("x", Blob(b"5"), condition=Condition(before))
        with pytest.raises(ConditionFailedError, match="nothing was written"):
            store.put("x", Blob(b"5"), condition=Condition(before))
        assert proxy.left == 0
        before = other.put("x", Blob(b"4"), condition=Condition(now))


def test_no_update_is_lost_with_the_answers(proxy: FaultProxy, path: str) -> None:
    store = behind(proxy, path, max_attempts=12)
    proxy.plan(*[Fault.drop(), Fault.passing(), Fault.reset()] * 8, match=of_puts)
    for _ in range(12):
        update(store, "x", lambda blob: Blob(b"%d" % (int(bytes(blob.data)) + 1 if blob else 1)))
    assert data_of(store.get("x")) == b"12"
    assert proxy.left < 12


def test_only_a_write_on_a_condition_has_a_mark(path: str) -> None:
    store = store_at(path)
    store.put("x", Blob(DATA))
    store.put("y", Blob(DATA), condition=Condition(None))
    meta = {
        key: s3_server().client.head_object(Bucket=BUCKET, Key=f"{path}/{key}")["Metadata"] for key in "xy"
    }
    assert meta["x"] == {}
    assert list(meta["y"]) == ["precomp-write"]
    assert store.get("y") == store_at(path).get("y")


@pytest.mark.parametrize("condition", [Condition(None), Condition('"0123456789abcdef0123456789abcdef"')])
def test_a_lost_request_is_not_taken_for_done(proxy: FaultProxy, path: str, condition: Condition) -> None:
    store_at(path).put("x", Blob(b"of another writer"))
    store = behind(proxy, path)
    proxy.plan(Fault.reset(), match=of_puts)
    with pytest.raises(ConditionFailedError, match="nothing was written"):
        store.put("x", Blob(DATA), condition=condition)
    assert data_of(store.get("x")) == b"of another writer"


def test_a_condition_that_fails_at_once_is_not_read_back(proxy: FaultProxy, path: str) -> None:
    store = behind(proxy, path)
    store.put("x", Blob(DATA))
    proxy.clear()
    with pytest.raises(ConditionFailedError):
        store.put("x", Blob(DATA), condition=Condition(None))
    assert [request.method for request in proxy.requests] == ["PUT"]


# --- what is refused, and what is not there ---------------------------------------------------------


def test_a_wrong_secret_is_told_and_not_tried_again(proxy: FaultProxy, path: str) -> None:
    secret = {**s3_server().secret, "AWS_SECRET_ACCESS_KEY": "of-nobody"}
    store = behind(proxy, path, secrets=secret)
    for call in (
        lambda: store.get("x"),
        lambda: store.put("x", Blob(DATA)),
        lambda: store.put("x", Blob(DATA), condition=Condition(None)),
        lambda: store.stat("x"),
        lambda: store.delete(["x"]),
        lambda: store.delete(["x", "y"]),
        lambda: list(store.list("")),
    ):
        proxy.requests.clear()
        with pytest.raises(CredentialsError, match=f"{secret['AWS_ACCESS_KEY_ID']} from secrets=") as caught:
            call()
        assert len(proxy.requests) == 1
        error: BaseException | None = caught.value
        assert f"{path}/" in str(error)
        assert repr(BUCKET) in str(error)
        while error is not None:
            assert "of-nobody" not in repr(error) + str(error)
            error = error.__cause__ or error.__context__


def test_a_missing_bucket_is_no_missing_object() -> None:
    store = store_at("ds/layer", "no-such-bucket", secrets=s3_server().other_secret)
    for call in (
        lambda: store.get("x"),
        lambda: store.get("x", ByteRange(0, 9)),
        lambda: store.stat("x"),
        lambda: store.delete(["x"]),
        lambda: store.delete(["x", "y"]),
        lambda: list(store.list("")),
    ):
        with pytest.raises(StoreError, match=f"no bucket 'no-such-bucket' at {s3_server().url}") as caught:
            call()
        assert not isinstance(caught.value, ConditionFailedError)
    with pytest.raises(StoreError, match="no bucket"):
        CloudVolume(
            "s3://no-such-bucket/ds/layer", fill_missing=True, options=layer(secrets=s3_server().other_secret)
        )


def test_a_put_into_a_missing_bucket(proxy: FaultProxy, path: str) -> None:
    """The server of the tests would make it, or refuse."""
    store = behind(proxy, path)
    body = b"<Error><Code>NoSuchBucket</Code><Message>The specified bucket does not exist</Message></Error>"
    for condition in (None, Condition(None), Condition('"a"')):
        proxy.plan(Fault.status(404, body=body))
        with pytest.raises(StoreError, match="no bucket") as caught:
            store.put("x", Blob(DATA), condition=condition)
        assert not isinstance(caught.value, ConditionFailedError)


def test_a_bare_404_is_asked_about(proxy: FaultProxy, path: str) -> None:
    """As some servers give it: it does not say whether the object or the bucket is missing."""
    store = behind(proxy, path)
    proxy.plan(Fault.status(404, body=b""), Fault.passing(), Fault.status(404, body=b""))
    assert store.get("x") is None
    assert store.get("y") is None
    assert [request.method for request in proxy.requests] == ["GET", "HEAD", "GET"]
    store = behind(proxy, path)
    proxy.plan(Fault.status(404, body=b""), forever=True)
    with pytest.raises(StoreError, match="no bucket"):
        store.get("x")


def test_a_service_without_ranges_is_sliced(proxy: FaultProxy, path: str) -> None:
    store = behind(proxy, path)
    proxy.plan(
        Fault.status(200, {"ETag": '"a"', "Last-Modified": "Wed, 25 Nov 2026 23:00:00 GMT"}, DATA),
        forever=True,
    )
    blob = store.get("x", ByteRange(300, 900))
    assert blob is not None
    assert (data_of(blob), blob.size) == (DATA[300:900], len(DATA))


@pytest.mark.parametrize("said", ["bytes 0-599/10240", "bytes 300-899/*", "bytes 300-899/700", "pages 1-2/3"])
def test_another_part_than_asked_for_is_not_taken(proxy: FaultProxy, path: str, said: str) -> None:
    store = behind(proxy, path)
    store.put("x", Blob(DATA))
    other = Fault.status(206, {"ETag": '"a"', "Content-Range": said}, DATA[:600])
    proxy.plan(other, other)
    assert data_of(store.get("x", ByteRange(300, 900))) == DATA[300:900]
    assert proxy.left == 0


def test_an_object_of_no_length_is_told(proxy: FaultProxy, path: str) -> None:
    """Some proxies send in chunks what had a length."""
    head = b'HTTP/1.1 200 OK\r\nETag: "a"\r\nTransfer-Encoding: chunked\r\n\r\n'
    proxy.plan(Fault("chunked", (head, b"4\r\nBODY\r\n0\r\n\r\n"), asks=False), forever=True)
    store = behind(proxy, path, max_attempts=2)
    assert data_of(store.get("x")) == b"BODY"
    assert data_of(store.get("x", ByteRange(0, 3))) == b"BOD"
    with pytest.raises(StoreError, match=r"/x: tried 2 times .* does not say how long"):
        store.stat("x")
    proxy.clear()
    head = b'HTTP/1.1 200 OK\r\nETag: "a"\r\n\r\n'  # so that nobody knows whether all of it has come
    proxy.plan(Fault("unknown", (head, b"BODY"), asks=False, end="close"), forever=True)
    with pytest.raises(StoreError, match=r"/x: tried 2 times .* does not say how long"):
        store.get("x")


@pytest.mark.parametrize("status", [301, 302, 307])
def test_a_redirect_that_names_no_region_is_an_error(proxy: FaultProxy, path: str, status: int) -> None:
    """boto3 by itself would follow it until Python's stack is full."""
    proxy.plan(Fault.status(status), forever=True)
    store = behind(proxy, path, max_attempts=2)
    for call in (lambda: store.get("x"), lambda: store.put("x", Blob(DATA)), lambda: list(store.list(""))):
        proxy.requests.clear()
        with pytest.raises(StoreError, match=str(status)):
            call()
        assert len(proxy.requests) <= 4


@pytest.mark.parametrize(
    "answer",
    [
        "<html>please log in</html>",
        "<ListBucketResult><IsTruncated>true</IsTruncated><NextMarker>b</NextMarker></ListBucketResult>",
    ],
)
def test_what_is_no_list_of_keys_is_no_empty_one(proxy: FaultProxy, path: str, answer: str) -> None:
    proxy.plan(Fault.status(200, body=answer.encode()), forever=True)
    with pytest.raises(StoreError, match=r"\*: tried 2 times .* no list of keys"):
        list(behind(proxy, path, max_attempts=2).list(""))


def test_a_page_that_answers_a_put_is_no_success(proxy: FaultProxy, path: str) -> None:
    proxy.plan(Fault.status(200, body=b"<html>please log in</html>"), forever=True)
    with pytest.raises(StoreError, match=r"/x: tried 2 times .* no ETag"):
        behind(proxy, path, max_attempts=2).put("x", Blob(DATA))


def test_what_is_not_deleted_among_many_is_named(proxy: FaultProxy, path: str) -> None:
    refused = "<Error><Key>ds/b</Key><Code>AccessDenied</Code><Message>no</Message></Error>"
    proxy.plan(Fault.status(200, body=f"<DeleteResult>{refused}</DeleteResult>".encode()))
    with pytest.raises(CredentialsError, match=r"a and 1 more: .* AccessDenied: ds/b: no"):
        behind(proxy, path).delete(["a", "b"])


def bulk(request: Request) -> bool:
    return request.method == "POST"


DELETED_A = "<DeleteResult><Deleted><Key>{0}/a</Key></Deleted>{1}</DeleteResult>"
BUSY = "<Error><Key>{0}/b</Key><Code>InternalError</Code><Message>busy</Message></Error>"


@pytest.mark.parametrize(
    ("body", "methods"),
    [
        ("<html>please log in</html>", ["POST", *["DELETE"] * 3]),  # what it does not say it did not do
        ("<DeleteResult></DeleteResult>", ["POST", *["DELETE"] * 3]),
        (DELETED_A, ["POST", *["DELETE"] * 2]),
        (DELETED_A.replace("{1}", BUSY), ["POST", "POST"]),  # all but a
        ("<DeleteResult><Deleted><Key>", ["POST", "POST"]),  # cut short
        ("", ["POST", *["DELETE"] * 3]),
        ("<DeleteResult><Error></Error></DeleteResult>", None),
    ],
)
def test_an_answer_to_a_delete_of_many_is_no_success_by_its_status(
    proxy: FaultProxy, path: str, body: str, methods: list[str] | None
) -> None:
    store = behind(proxy, path)
    for key in "abcd":
        store.put(key, Blob(DATA))
    proxy.clear()
    proxy.plan(Fault.status(200, body=body.format(path, "").encode()), match=bulk)
    if methods is None:
        with pytest.raises(StoreError, match=f"{path}/a and 2 more: S3 answered 400: None"):
            store.delete("abc")
        return
    store.delete("abc")
    assert [request.method for request in proxy.requests] == methods
    assert sorted(store.list("")) == (["a", "d"] if "/a<" in body else ["d"])  # a was not, whatever it said


def test_a_page_that_answers_a_delete_is_no_success(proxy: FaultProxy, path: str) -> None:
    store = behind(proxy, path, max_attempts=2)
    store.put("a", Blob(DATA))
    proxy.plan(Fault.status(200, body=b"<html>please log in</html>"), forever=True)
    for keys in (["a"], ["a", "b"]):
        with pytest.raises(StoreError, match=r"/a: tried 2 times .* not known to be deleted"):
            store.delete(keys)
    proxy.clear()
    proxy.plan(Fault.status(200, body=b""))  # as some services say it
    store.delete(["b"])


def test_a_service_that_deletes_one_by_one(proxy: FaultProxy, path: str) -> None:
    store = behind(proxy, path)
    for key in "abc":
        store.put(key, Blob(DATA))
    proxy.plan(Fault.status(501), match=bulk)
    store.delete("ab")
    assert list(store.list("")) == ["c"]


def test_the_requester_pays(proxy: FaultProxy, path: str) -> None:
    store = behind(proxy, path, requester_pays=True)
    for key in ("x", "line\nbreak"):
        store.put(key, Blob(DATA))
        store.get(key)
        store.stat(key)
        store.delete([key])
    store.delete(["x", "y"])
    assert list(store.list("")) == []
    assert {request.headers.get("x-amz-request-payer") for request in proxy.requests} == {"requester"}


EXPIRED = b"<Error><Code>ExpiredToken</Code><Message>The provided token has expired.</Message></Error>"


def test_an_expired_token_is_refused(proxy: FaultProxy, path: str) -> None:
    store = behind(proxy, path, secrets={**s3_server().secret, "AWS_SESSION_TOKEN": "TOKEN"})
    proxy.plan(Fault.status(400, body=EXPIRED), forever=True)
    with pytest.raises(CredentialsError, match=r"/x: S3 refused .* from secrets= .*ExpiredToken") as caught:
        store.get("x")
    assert len(proxy.requests) == 1
    assert "TOKEN" not in str(caught.value)


def test_an_expired_token_is_refreshed(proxy: FaultProxy, path: str, home: Path) -> None:
    script, profile = home / "give.py", home / ".aws" / "config"
    secret = s3_server().secret
    given = {"AccessKeyId": secret["AWS_ACCESS_KEY_ID"], "SecretAccessKey": secret["AWS_SECRET_ACCESS_KEY"]}
    script.write_text(
        f"print('''{json.dumps({'Version': 1, 'Expiration': '2100-01-01T00:00:00Z', **given})}''')"
    )
    profile.parent.mkdir()
    profile.write_text(f"[profile lab]\ncredential_process = {sys.executable} {script}\n")
    store = behind(proxy, path, secrets=None, profile="lab")
    proxy.plan(Fault.status(400, body=EXPIRED))
    assert store.get("x") is None
    assert len(proxy.requests) == 2
    proxy.plan(Fault.status(400, body=EXPIRED), forever=True)
    with pytest.raises(CredentialsError, match="ExpiredToken"):
        store.get("x")


def signed_content(proxy: FaultProxy, path: str, **options: Any) -> str:
    """What the signature of an upload says of its content."""
    behind(proxy, path, **options).put("x", Blob(DATA))
    assert data_of(store_at(path).get("x")) == DATA
    return proxy.requests[-1].headers["x-amz-content-sha256"]


def test_without_tls_the_content_is_signed(
    proxy: FaultProxy, path: str, monkeypatch: pytest.MonkeyPatch
) -> None:
    content = hashlib.sha256(DATA).hexdigest()
    elsewhere = f"http://0.0.0.0:{proxy.port}"  # which leads here, but not every such address does
    assert signed_content(proxy, path, endpoint_url=elsewhere) == content
    proxy.plan(Fault.status(501), match=lambda one: any(map(is_of_checksums, one.headers)))
    assert signed_content(proxy, path) == content  # as no checksum guards it


def test_on_one_machine_a_checksum_guards_the_content(proxy: FaultProxy, path: str) -> None:
    assert signed_content(proxy, path) == UNSIGNED
    assert any(map(is_of_checksums, proxy.requests[-1].headers))


def test_a_service_that_wants_all_content_signed_gets_it(proxy: FaultProxy, path: str) -> None:
    body = b"<Error><Code>XAmzContentSHA256Mismatch</Code></Error>"
    fault = Fault.status(400, body=body)
    proxy.plan(fault, forever=True, match=lambda one: one.headers["x-amz-content-sha256"] == UNSIGNED)
    store = behind(proxy, path)
    for key in "xy":
        store.put(key, Blob(DATA))
        assert data_of(store_at(path).get(key)) == DATA
    assert len(proxy.requests) == 3


class Elsewhere(BaseHTTPRequestHandler):
    """A bucket in eu-west-1, which answers to nobody who signs for another region."""

    protocol_version = "HTTP/1.1"

    def do_GET(self) -> None:
        right = "/eu-west-1/s3/" in self.headers["Authorization"]
        body = DATA if right else b"<Error><Code>AuthorizationHeaderMalformed</Code></Error>"
        self.server.asked.append((self.command, right))  # type: ignore[attr-defined]
        self.send_response(200 if right else 400)
        if self.server.tells:  # type: ignore[attr-defined]
            self.send_header("x-amz-bucket-region", "eu-west-1")
        self.send_header("Last-Modified", "Wed, 25 Nov 2026 23:00:00 GMT")
        self.send_header("Content-Length", str(len(body)))
        self.end_headers()
        if self.command == "GET":
            self.wfile.write(body)

    do_HEAD = do_GET  # noqa: N815

    def log_message(self, *_: Any) -> None:
        """Say nothing."""


@contextmanager
def serving(tells: bool = True) -> Iterator[ThreadingHTTPServer]:
    """`tells`: whether it says where the bucket is."""
    with ThreadingHTTPServer(("127.0.0.1", 0), Elsewhere) as server:
        server.asked, server.tells = [], tells  # type: ignore[attr-defined]
        server.daemon_threads = True
        server.block_on_close = False
        thread = threading.Thread(target=server.serve_forever)
        thread.start()
        try:
            yield server
        finally:
            server.shutdown()
            thread.join()


def test_a_bucket_in_another_region_is_found() -> None:
    with serving() as server:
        store = store_at(endpoint_url=f"http://127.0.0.1:{server.server_port}", region="us-west-2")
        assert data_of(store.get("x")) == DATA
        server.asked.clear()  # type: ignore[attr-defined]
        assert data_of(store.get("x")) == DATA
        assert server.asked == [("GET", True)]  # type: ignore[attr-defined]


def test_a_bucket_in_another_region_is_found_by_a_head() -> None:
    """Whose answer has no body that would say what is wrong."""
    with serving() as server:
        store = store_at(endpoint_url=f"http://127.0.0.1:{server.server_port}", region="us-west-2")
        stat = store.stat("x")
        assert stat is not None
        assert stat.size == len(DATA)


def test_where_nobody_tells_the_region_the_error_asks_for_it() -> None:
    with serving(tells=False) as server:
        store = store_at(endpoint_url=f"http://127.0.0.1:{server.server_port}", region="us-west-2")
        for call in (lambda: store.stat("x"), lambda: store.get("x")):
            server.asked.clear()  # type: ignore[attr-defined]
            with pytest.raises(StoreError, match=r"/x: S3 answered 400.* us-west-2.* set the option region"):
                call()
            assert len(server.asked) == 2  # type: ignore[attr-defined]  # for the region, too
