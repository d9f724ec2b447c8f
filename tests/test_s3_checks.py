"""What guards the requests of `s3://`: signatures, by boto3's own as a model, and checksums of the bytes."""

import base64
import hashlib
import itertools
import zlib
from collections.abc import Iterator
from datetime import UTC, datetime
from pathlib import Path
from types import SimpleNamespace
from typing import Any
from urllib.parse import quote

import boto3
import botocore.auth
import numpy as np
import pytest
from botocore.awsrequest import AWSRequest
from faults import Fault, FaultProxy, Request
from hypothesis import given
from hypothesis import strategies as st
from s3_places import alone, layer, new_path, put_secret, store_at
from servers.http import CERTIFICATE, HttpServer
from servers.s3 import BUCKET, s3_server
from volumes import make, noise

from precomp.errors import StoreError
from precomp.interfaces import Blob, ByteRange
from precomp_plugins._s3.signature import UNSIGNED, Signer
from precomp_plugins._wire.checksum import crc32c

DATA = bytes(range(256)) * 40
CRC32C = "x-amz-checksum-crc32c"


@pytest.fixture(autouse=True)
def home(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    alone(tmp_path / "home", monkeypatch)
    monkeypatch.setattr("precomp.retry._FIRST_PAUSE", 0.002)


@pytest.fixture
def proxy() -> Iterator[FaultProxy]:
    with FaultProxy(s3_server().port) as proxy:
        yield proxy


def behind(proxy: FaultProxy, path: str, **options: Any) -> Any:
    return store_at(path, **{"endpoint_url": f"http://127.0.0.1:{proxy.port}", **options})


def sdk() -> Any:
    """boto3's client, which asks the server itself."""
    secret = s3_server().secret
    return boto3.client(
        "s3",
        endpoint_url=s3_server().url,
        region_name="us-east-1",
        aws_access_key_id=secret["AWS_ACCESS_KEY_ID"],
        aws_secret_access_key=secret["AWS_SECRET_ACCESS_KEY"],
    )


# --- signatures ---------------------------------------------------------------------------------------


def test_the_signature_of_amazons_own_example() -> None:
    """GET Object of docs.aws.amazon.com/AmazonS3/latest/API/sig-v4-header-based-auth.html."""
    keys = SimpleNamespace(
        access_key="AKIAIOSFODNN7EXAMPLE", secret_key="wJalrXUtnFEMI/K7MDENG/bPxRfiCYEXAMPLEKEY", token=None
    )
    signer = Signer("examplebucket.s3.amazonaws.com", "us-east-1", lambda: keys)
    moment = datetime(2013, 5, 24, tzinfo=UTC).timestamp()
    nothing = hashlib.sha256(b"").hexdigest()
    headers = signer.signed("GET", "/test.txt", {"range": "bytes=0-9"}, nothing, moment)
    assert headers["Authorization"] == (
        "AWS4-HMAC-SHA256 Credential=AKIAIOSFODNN7EXAMPLE/20130524/us-east-1/s3/aws4_request, "
        "SignedHeaders=host;range;x-amz-content-sha256;x-amz-date, "
        "Signature=f0e8bdb87c964420e857bd35b5d6ed310bd44f0170aba48dd91039c6036bdb41"
    )


TEXT = st.text(st.characters(min_codepoint=32, max_codepoint=126), max_size=20)
NAMES = st.sampled_from(["range", "if-match", "content-type", "cache-control", CRC32C, "x-amz-meta-a-b"])
KEYS = st.builds(
    SimpleNamespace,
    access_key=st.sampled_from(["KEY", "OTHER"]),
    secret_key=st.sampled_from(["secret/of+us", "another"]),
    token=st.none() | st.text("abc/+=", min_size=1),
)


@given(
    method=st.sampled_from(["GET", "PUT", "HEAD"]),
    key=st.text(st.characters(exclude_categories=["Cs", "Cc"]), min_size=1, max_size=20),
    sent=st.lists(
        st.tuples(KEYS, st.dictionaries(NAMES, TEXT), st.binary(max_size=9) | st.none()),
        min_size=1,
        max_size=3,
    ),
    region=st.sampled_from(["us-east-1", "eu-central-1"]),
    days=st.lists(st.integers(0, 40_000), min_size=1, max_size=3),
)
def test_signatures_are_those_of_boto3(
    method: str,
    key: str,
    sent: list[tuple[SimpleNamespace, dict[str, str], bytes | None]],
    region: str,
    days: list[int],
) -> None:
    signer = Signer("b.example.org:8333", region, lambda: keys)
    path = f"/b/{quote(key, safe='/~')}"
    for day, (keys, headers, body) in itertools.product(days, sent):
        covered = UNSIGNED if body is None else hashlib.sha256(body).hexdigest()
        found = signer.signed(method, path, headers, covered, day * 86400.0)
        assert found["Authorization"] == by_boto3(keys, region, method, path, headers, covered, found)
        assert headers.items() <= found.items()


def by_boto3(
    keys: Any,
    region: str,
    method: str,
    path: str,
    headers: dict[str, str],
    covered: str,
    found: dict[str, str],
) -> str:
    request = AWSRequest(method, f"http://b.example.org:8333{path}", headers={**headers})
    request.headers["X-Amz-Content-SHA256"] = covered
    request.headers["X-Amz-Date"] = request.context["timestamp"] = found["x-amz-date"]
    if keys.token:
        request.headers["X-Amz-Security-Token"] = keys.token
    model = botocore.auth.S3SigV4Auth(keys, "s3", region)
    request.context["payload_signing_enabled"] = False
    text = model.string_to_sign(request, model.canonical_request(request))
    model._inject_signature_to_request(request, model.signature(text, request))
    authorization: str = request.headers["Authorization"]
    return authorization


@pytest.mark.parametrize("key", ["a b", "ü/ñ", "a%2Fb", "a+b&c=d", "#?;:@!$'()*,~", "x\ty"])
def test_the_server_takes_signatures_of_odd_keys(key: str) -> None:
    store: Any = store_at()
    store.put(key, Blob(DATA))
    assert bytes(store.get(key).data) == DATA
    assert bytes(store.get(key, ByteRange(5, 9)).data) == DATA[5:9]
    assert store.stat(key).size == len(DATA)


# --- checksums ----------------------------------------------------------------------------------------


def test_the_service_is_told_the_checksum_and_keeps_it(proxy: FaultProxy) -> None:
    path = s3_server().new_folder()
    behind(proxy, path).put("x", Blob(DATA))
    assert proxy.requests[-1].headers[CRC32C] == crc32c(DATA)
    kept = sdk().head_object(Bucket=BUCKET, Key=f"{path}/x", ChecksumMode="ENABLED")
    assert kept["ChecksumCRC32C"] == crc32c(DATA)


def test_a_known_answer() -> None:
    """Of RFC 3720, B.4: 32 bytes of zeros."""
    assert crc32c(bytes(32)) == base64.b64encode((0x8A9136AA).to_bytes(4, "big")).decode()
    assert crc32c(memoryview(bytearray(32))) == crc32c(bytes(32))


@pytest.mark.parametrize("at", [0, 5000, len(DATA) - 1])
@pytest.mark.parametrize("by", ["precomp", "boto3"])
def test_a_byte_that_changes_on_the_way_is_fetched_again(proxy: FaultProxy, at: int, by: str) -> None:
    path = s3_server().new_folder()
    if by == "precomp":
        store_at(path).put("x", Blob(DATA))
    else:
        sdk().put_object(Bucket=BUCKET, Key=f"{path}/x", Body=DATA, ChecksumAlgorithm="CRC32")
    store = behind(proxy, path)
    for wanted in (None, ByteRange(0, 10**6)):  # the latter is a limit, as for chunks
        proxy.plan(Fault.corrupt(at), Fault.corrupt(at))
        assert bytes(store.get("x", wanted).data) == DATA
        assert proxy.left == 0
    proxy.plan(Fault.corrupt(at), forever=True)
    with pytest.raises(StoreError, match=r"/x: tried 6 times .* the bytes are damaged: expected"):
        store.get("x")


def test_voxels_are_right_where_bytes_change_on_the_way(proxy: FaultProxy) -> None:
    options = layer(endpoint_url=f"http://127.0.0.1:{proxy.port}")
    vol = make(new_path(), options=options, secrets=s3_server().secret, compress=False)
    voxels = noise(vol.shape)
    vol[...] = voxels
    faults = [Fault.corrupt(at) if at % 2 else Fault.passing() for at in range(1, 99, 7)]
    proxy.plan(*faults, match=lambda request: request.method == "GET")
    np.testing.assert_array_equal(vol[...], voxels)


def knows_no_checksums(status: int, told: bytes) -> tuple[Fault, Any]:
    body = b"<Error><Code>NotImplemented</Code><Message>%b</Message></Error>" % told

    def asked(request: Request) -> bool:
        return any(name.startswith("x-amz-checksum") for name in request.headers)

    return Fault.status(status, body=body), asked


@pytest.mark.parametrize(
    ("status", "told"),
    [
        (400, b"Unsupported header 'x-amz-checksum-crc32c' received for this API call."),
        (501, b"Header 'x-amz-checksum-mode' with value 'ENABLED' not implemented"),
        (501, b"A header you provided implies functionality that is not implemented."),
    ],
)
def test_a_service_that_knows_no_checksums_is_not_asked_for_them(
    proxy: FaultProxy, status: int, told: bytes
) -> None:
    fault, asked = knows_no_checksums(status, told)
    proxy.plan(fault, match=asked, forever=True)
    for first in ("put", "get"):
        store = behind(proxy, s3_server().new_folder())
        proxy.requests.clear()
        if first == "put":
            store.put("x", Blob(DATA))
            assert bytes(store.get("x").data) == DATA
        else:
            assert store.get("x") is None
            store.put("x", Blob(DATA))
        assert sum(map(asked, proxy.requests)) == 1


def test_what_a_service_cannot_do_at_all_is_an_error(proxy: FaultProxy) -> None:
    proxy.plan(knows_no_checksums(501, b"not implemented")[0], forever=True)
    with pytest.raises(StoreError, match="501 NotImplemented: not implemented"):
        behind(proxy, s3_server().new_folder()).put("x", Blob(DATA))
    assert len(proxy.requests) == 2


def test_checksums_of_parts_are_not_of_the_whole(proxy: FaultProxy) -> None:
    """Of an object that was uploaded in parts; their number stands behind a hyphen."""
    kept = base64.b64encode(zlib.crc32(b"of the parts").to_bytes(4, "big")).decode()
    head = f'HTTP/1.1 200 OK\r\nETag: "a-2"\r\nContent-Length: 4\r\n{CRC32C}: {kept}-2\r\n\r\n'
    proxy.plan(Fault("parts", (head.encode(), b"BODY"), asks=False))
    assert bytes(behind(proxy, "ds/layer").get("x").data) == b"BODY"
    assert len(proxy.requests) == 1


# --- the way there --------------------------------------------------------------------------------------


def test_a_proxy_of_the_environment(proxy: FaultProxy, monkeypatch: pytest.MonkeyPatch) -> None:
    path = s3_server().new_folder()
    monkeypatch.setenv("http_proxy", f"http://me:pass%20word@127.0.0.1:{proxy.port}")
    monkeypatch.setenv("no_proxy", "127.0.0.1")
    proxy.plan(Fault.status(404, body=b"<Error><Code>NoSuchKey</Code></Error>"))
    assert store_at(path, endpoint_url="http://s3.invalid").get("x") is None
    (request,) = proxy.requests
    assert request.path == f"http://s3.invalid/{BUCKET}/{path}/x"
    login = base64.b64encode(b"me:pass word").decode()
    assert request.headers["proxy-authorization"] == f"Basic {login}"
    assert store_at(path).get("x") is None  # past the proxy
    assert len(proxy.requests) == 1


def test_a_host_that_is_not_there_is_told_at_once() -> None:
    with pytest.raises(StoreError, match=r"s3://tests/ds/layer/x: there is no host s3\.invalid"):
        store_at("ds/layer", endpoint_url="http://s3.invalid").get("x")


def test_https_with_certificates_of_ones_own(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    """On a server that does not look at signatures."""
    (tmp_path / "www" / BUCKET / "ds" / "layer").mkdir(parents=True)
    (tmp_path / "www" / BUCKET / "ds" / "layer" / "x").write_bytes(DATA)
    with HttpServer(tmp_path / "www", tls=True) as server:
        with pytest.raises(StoreError, match=r"/x: the certificate of .* is not trusted.*AWS_CA_BUNDLE"):
            store_at("ds/layer", endpoint_url=server.url).get("x")
        monkeypatch.setenv("AWS_CA_BUNDLE", str(CERTIFICATE))
        store: Any = store_at("ds/layer", endpoint_url=server.url)
        assert bytes(store.get("x").data) == DATA
        assert bytes(store.get("x", ByteRange(3, 7)).data) == DATA[3:7]
        assert {request.headers["x-amz-content-sha256"] for request in server.seen} == {
            hashlib.sha256(b"").hexdigest()
        }


def test_secrets_of_a_file_sign(tmp_path: Path) -> None:
    file = put_secret(tmp_path / "secrets", s3_server().secret)
    store: Any = store_at(secrets=str(file))
    store.put("x", Blob(DATA))
    assert bytes(store.get("x").data) == DATA
