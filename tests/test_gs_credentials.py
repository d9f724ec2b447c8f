"""`gs://` and who asks: where credentials come from, tokens, what is said where some are refused."""

import json
import os
import pickle
import threading
import traceback
from collections.abc import Callable, Iterator
from concurrent.futures import ThreadPoolExecutor
from pathlib import Path
from typing import Any
from urllib.parse import urlsplit

import google.auth
import pytest
from faults import Fault, FaultProxy
from servers.google import GoogleFront
from servers.gs import gs_server
from volumes import make, noise

from precomp import CloudVolume
from precomp.credentials import places
from precomp.errors import ConfigError, CredentialsError, StoreError
from precomp.interfaces import Blob, CloudPath
from precomp_plugins._gs.store import GsStore
from precomp_plugins.gs import GsOptions

EMAIL = "reader@lab.iam.gserviceaccount.com"


@pytest.fixture(autouse=True)
def home(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Path:
    """A user without any credentials, on a machine that is not in Google's cloud."""
    for name in os.environ:
        if name.startswith(("GOOGLE_", "CLOUDSDK_", "STORAGE_EMULATOR", "GCLOUD_")):
            monkeypatch.delenv(name)
    monkeypatch.setenv("HOME", str(tmp_path))
    monkeypatch.setenv("CLOUDSDK_CONFIG", str(tmp_path / "gcloud"))
    monkeypatch.setenv("NO_GCE_CHECK", "true")
    return tmp_path


@pytest.fixture
def front() -> Iterator[GoogleFront]:
    with GoogleFront(gs_server().url) as front:
        yield front


@pytest.fixture
def bucket() -> str:
    return gs_server().new_bucket()


def store_at(front: GoogleFront, bucket: str = "bucket", **given: Any) -> GsStore:
    return GsStore(CloudPath("gs", bucket, "ds/layer"), GsOptions(endpoint_url=front.url, **given))


def write(path: Path, content: Any) -> Path:
    path.parent.mkdir(parents=True, exist_ok=True)
    path.write_text(json.dumps(content), encoding="utf-8")
    return path


def refused(call: Callable[[], object], error: type[Exception] = CredentialsError) -> str:
    """What it says, once it is sure that no token and no key stands in what is printed of it."""
    with pytest.raises(error) as caught:
        call()
    printed = "".join(traceback.format_exception(caught.value))
    assert "hunter2" not in printed
    assert "PRIVATE" not in printed
    return str(caught.value)


# Where they come from -----------------------------------------------------------------------------------


def test_a_volume_of_a_service_account(front: GoogleFront, bucket: str) -> None:
    account = front.account(EMAIL)
    vol = make(f"gs://{bucket}/ds/image", secrets=account, options={"endpoint_url": front.url})
    voxels = noise(vol.shape)
    vol[...] = voxels
    assert (vol[...] == voxels).all()
    vol.delete(vol.bounds)
    assert vol.exists(vol.bounds)
    assert list(vol._layer.objects().store.list("")) == ["info"]
    assert len(front.issued) == 1  # not one a request
    assert front.refused == 0
    assert len(front.requests) > 40
    assert "hunter2" not in repr(vol) + repr(vars(vol)) + repr(vars(vol._layer.objects().store))


@pytest.mark.parametrize("number", [0, 1, 2])
def test_files_are_found_where_they_are_looked_for(front: GoogleFront, bucket: str, number: int) -> None:
    path = write(places("google", bucket)[number], front.account(EMAIL))
    store = store_at(front, bucket)
    store.put("k", Blob(b"x"))
    front.forbidden.add(EMAIL)
    said = refused(lambda: store.get("k"))
    assert f"asked by the service account {EMAIL} of {path}, for the bucket {bucket!r}" in said


def test_what_is_given_comes_before_what_is_found(front: GoogleFront, bucket: str, home: Path) -> None:
    write(places("google")[0], front.account("found@lab"))
    mine = write(home / "mine.json", front.account("mine@lab"))
    front.forbidden |= {"found@lab", "mine@lab", "given@lab"}
    given = front.account("given@lab")
    for secrets, who in ((given, "given@lab of secrets="), (str(mine), f"mine@lab of {mine}")):
        assert f"asked by the service account {who}," in refused(
            lambda s=secrets: store_at(front, bucket, secrets=s).get("k")  # type: ignore[misc]
        )
    assert "asked by nobody, as the option anonymous says" in refused(
        lambda: store_at(front, bucket, anonymous=True).get("k")
    )


def test_the_file_that_google_looks_for(
    front: GoogleFront, bucket: str, home: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    file = write(home / "adc.json", front.account(EMAIL))
    monkeypatch.setenv("GOOGLE_APPLICATION_CREDENTIALS", str(file))
    store_at(front, bucket).put("k", Blob(b"x"))
    front.forbidden.add(EMAIL)
    said = refused(lambda: store_at(front, bucket).get("k"))
    assert f"asked by {EMAIL} of GOOGLE_APPLICATION_CREDENTIALS={file}, for the bucket" in said
    file.unlink()
    said = refused(lambda: store_at(front, bucket))
    assert f"GOOGLE_APPLICATION_CREDENTIALS (set to {file})" in said


@pytest.mark.parametrize("length", [10, 2000], ids=["short", "longer than a name"])
def test_a_secret_where_a_path_is_expected_is_not_quoted(
    front: GoogleFront, monkeypatch: pytest.MonkeyPatch, length: int
) -> None:
    monkeypatch.setenv("GOOGLE_APPLICATION_CREDENTIALS", json.dumps({"private_key": "hunter2" * length}))
    with pytest.raises(CredentialsError) as caught:
        store_at(front)
    assert "hunter2" not in "".join(traceback.format_exception(caught.value))
    assert "GOOGLE_APPLICATION_CREDENTIALS (set to what is no file)" in str(caught.value)


def test_none_at_all(home: Path) -> None:
    said = refused(lambda: CloudVolume("gs://lab-bucket/ds/image"))
    assert said.startswith("gs://lab-bucket: no credentials were found in any of: secrets=; ")
    for place in places("google", "lab-bucket"):
        assert str(place) in said
    for word in ("GOOGLE_APPLICATION_CREDENTIALS (not set)", "gcloud auth", "metadata service"):
        assert word in said
    assert "set the option anonymous = true" in said


def test_nobody_where_an_address_is_given(
    front: GoogleFront, bucket: str, monkeypatch: pytest.MonkeyPatch
) -> None:
    plain = GsStore(CloudPath("gs", bucket, "a"), GsOptions(endpoint_url=gs_server().url))
    plain.put("k", Blob(b"x"))
    assert "nobody, as none were found and endpoint_url is given" in refused(lambda: store_at(front).get("k"))
    for address in (front.url, front.url.removeprefix("http://")):
        monkeypatch.setenv("STORAGE_EMULATOR_HOST", address)
        store = GsStore(CloudPath("gs", bucket, "a"), GsOptions())
        assert "nobody, as is usual where STORAGE_EMULATOR_HOST is set" in refused(lambda s=store: s.get("k"))  # type: ignore[misc]
    account = front.account(EMAIL)
    logged_in = GsStore(CloudPath("gs", bucket, "a"), GsOptions(secrets=account))
    assert logged_in.get("k") is not None


@pytest.mark.parametrize("address", ["http://", "http://[::1", "http://127.0.0.1:99999", "http://a b"])
def test_an_address_that_is_none_is_told(monkeypatch: pytest.MonkeyPatch, address: str) -> None:
    path = CloudPath("gs", "bucket", "a")
    with pytest.raises(
        ConfigError, match=r"^gs://bucket/a: endpoint_url or .* expected http://HOST:PORT, found"
    ):
        GsStore(path, GsOptions(endpoint_url=address, anonymous=True))
    monkeypatch.setenv("STORAGE_EMULATOR_HOST", address)
    with pytest.raises(ConfigError, match="expected http://HOST:PORT, found"):
        GsStore(path, GsOptions())


def test_anonymous_looks_nowhere(front: GoogleFront, monkeypatch: pytest.MonkeyPatch) -> None:
    places("google")[0].mkdir(parents=True)  # which could not be read
    monkeypatch.setattr(google.auth, "default", None)
    GsStore(CloudPath("gs", "bucket", "a"), GsOptions(anonymous=True))


@pytest.mark.parametrize(
    ("changed", "problem"),
    [
        ({"type": None}, "expected the field type"),
        (
            {"type": "external_account"},
            "expected service_account or authorized_user, found 'external_account'",
        ),
        ({"client_email": None}, "expected the field client_email"),
        ({"private_key": "hunter2"}, "private_key: expected a key in PEM"),
        ({"private_key": None}, "expected the field private_key"),
        ({"token_uri": None}, "expected the field token_uri"),
        ({"type": "authorized_user", "client_id": "x"}, "expected the field client_secret"),
    ],
)
def test_broken_files(front: GoogleFront, changed: dict[str, Any], problem: str) -> None:
    path = write(places("google")[0], {**front.account(EMAIL), **changed})
    said = refused(lambda: store_at(front))
    assert said.startswith(f"{path}: ")
    assert problem in said


def test_the_project(front: GoogleFront, home: Path) -> None:
    from precomp_plugins._gs.identity import find_identity

    options = GsOptions(endpoint_url=front.url, secrets=front.account(EMAIL))
    assert find_identity("bucket", options).project == "the-project"
    (home / ".neuroglancer").mkdir()
    (home / ".neuroglancer" / "project_name").write_text("of-the-file\n")
    assert find_identity("bucket", options).project == "of-the-file"
    chosen = GsOptions(endpoint_url=front.url, secrets=front.account(EMAIL), project="chosen")
    assert find_identity("bucket", chosen).project == "chosen"


# Tokens -------------------------------------------------------------------------------------------------


def test_one_token_for_many_threads(front: GoogleFront, bucket: str) -> None:
    store = store_at(front, bucket, secrets=front.account(EMAIL))
    start = threading.Barrier(8)

    def put(number: int) -> None:
        start.wait(30)
        store.put(f"{number}", Blob(b"x"))

    with ThreadPoolExecutor(8) as pool:
        list(pool.map(put, range(8)))
    assert len(front.issued) == 1
    front.revoke()
    with ThreadPoolExecutor(8) as pool:
        list(pool.map(put, range(8)))
    assert len(front.issued) == 2
    assert sorted(store.list("")) == [str(number) for number in range(8)]


def test_a_token_is_fetched_anew_when_it_expires(front: GoogleFront, bucket: str) -> None:
    front.lifetime = 1  # which google-auth takes for expired
    store = store_at(front, bucket, secrets=front.account(EMAIL))
    store.put("k", Blob(b"x"))
    front.lifetime = 3600
    for _ in range(3):
        assert store.get("k") is not None
    assert len(front.issued) == 2
    assert front.refused == 0


def test_a_key_that_was_withdrawn(front: GoogleFront, bucket: str) -> None:
    store = store_at(front, bucket, secrets=front.account(EMAIL))
    store.put("k", Blob(b"x"))
    front.dismiss(EMAIL)
    front.revoke()
    said = refused(lambda: store.get("k"))
    assert f"no token was given to the service account {EMAIL} of secrets=: invalid_grant" in said
    assert front.refused == 1


def test_a_token_that_is_refused_is_tried_once_more(front: GoogleFront, bucket: str) -> None:
    store = store_at(front, bucket, secrets=front.account(EMAIL))
    store.put("k", Blob(b"x"))
    issued, front.revoke = len(front.issued), lambda: None  # type: ignore[method-assign]
    front._owners.clear()
    front._owners = _Never()  # what it gives is worth nothing from now on
    said = refused(lambda: store.get("k"))
    assert "the service refused (401: Invalid Credentials)" in said
    assert (len(front.issued), front.refused) == (issued + 1, 2)


class _Never(dict[str, str]):
    def get(self, *_: object) -> None:  # type: ignore[override]
        return None


def test_a_token_service_that_does_not_answer_is_asked_again(front: GoogleFront, bucket: str) -> None:
    account = {**front.account(EMAIL), "token_uri": "http://127.0.0.1:1/token"}
    store = store_at(front, bucket, secrets=account, max_attempts=2)
    said = refused(lambda: store.get("k"), StoreError)
    assert "tried 2 times" in said
    assert "no token could be fetched" in said


@pytest.fixture
def tokens(front: GoogleFront) -> Iterator[FaultProxy]:
    """Stands before the token service."""
    with FaultProxy(urlsplit(front.url).port or 0) as proxy:
        yield proxy


def account_behind(front: GoogleFront, tokens: FaultProxy) -> dict[str, str]:
    return {**front.account(EMAIL), "token_uri": f"http://127.0.0.1:{tokens.port}/token"}


BUSY = {
    "503": Fault.status(503, {"Retry-After": "0"}),
    "429": Fault.status(429, {"Retry-After": "0"}),
    "its fault": Fault.status(400, body=b'{"error": "server_error"}'),
    "reset": Fault.reset(),
}


@pytest.mark.parametrize("fault", BUSY.values(), ids=BUSY)
def test_a_token_is_asked_for_as_often_as_max_attempts_says(
    front: GoogleFront, bucket: str, tokens: FaultProxy, fault: Fault
) -> None:
    """google-auth would ask three times in each attempt."""
    store = store_at(front, bucket, secrets=account_behind(front, tokens), max_attempts=2)
    tokens.plan(fault)
    store.put("k", Blob(b"x"))
    assert len(tokens.requests) == 2
    store = store_at(front, bucket, secrets=account_behind(front, tokens), max_attempts=2)
    tokens.clear()
    tokens.plan(fault, forever=True)
    said = refused(lambda: store.get("k"), StoreError)
    assert "tried 2 times" in said
    assert "no token could be fetched" in said
    assert len(tokens.requests) == 2


def test_a_token_service_that_says_no_is_asked_once(
    front: GoogleFront, bucket: str, tokens: FaultProxy
) -> None:
    store = store_at(front, bucket, secrets=account_behind(front, tokens))
    tokens.plan(Fault.status(400, body=b'{"error": "invalid_grant"}'), forever=True)
    assert "invalid_grant" in refused(lambda: store.get("k"))
    assert len(tokens.requests) == 1


def test_what_the_service_echoes_is_not_shown(front: GoogleFront, bucket: str) -> None:
    store = store_at(front, bucket, secrets=front.account(EMAIL))
    store.put("k", Blob(b"x"))
    front.pays = front.issued[0]  # any request is refused now
    front._wrong = lambda *_: (410, front.issued[0].encode())  # type: ignore[method-assign]
    assert "410: ***" in refused(lambda: store.get("k"), StoreError)


def test_uploads_have_a_checksum_that_google_compares(front: GoogleFront, bucket: str) -> None:
    store = store_at(front, bucket, secrets=front.account(EMAIL))
    store.put("k", Blob(b"123456789"))
    parts = front.last_body.split(b"\r\n\r\n")
    sent = json.loads(parts[1].partition(b"\r\n")[0])
    assert sent == {
        "name": "ds/layer/k",
        "contentType": "application/octet-stream",
        "crc32c": "4waSgw==",  # of these digits, as everywhere
    }


# Who pays -----------------------------------------------------------------------------------------------


def test_every_request_names_who_pays(front: GoogleFront, bucket: str) -> None:
    front.pays = "my project"
    account = front.account(EMAIL)
    assert "requester pays" in refused(lambda: store_at(front, bucket, secrets=account).get("k"), StoreError)
    store = store_at(front, bucket, secrets=account, user_project="my project")
    assert store.get("k") is None
    store.put("k", Blob(b"x" * 100))
    for look in (store.get, store.stat):
        assert look("k") is not None
    assert list(store.list("")) == ["k"]
    store.delete(["k", "l"])
    assert front.refused == 1


def test_broken_ones_of_google_are_not_passed_over(front: GoogleFront, home: Path) -> None:
    """Nobody is asked for instead, whatever the address."""
    write(home / "gcloud" / "application_default_credentials.json", {"type": "service_account", "hunter2": 1})
    said = refused(lambda: store_at(front))
    assert "no credentials were found in any of" in said
    assert "application_default_credentials.json" in said


def test_an_address_with_a_user_is_refused(monkeypatch: pytest.MonkeyPatch) -> None:
    """It would be the name of a cache folder, and stand in errors."""
    address = "https://me:hunter2@host"
    said = refused(lambda: CloudVolume("gs://b/d/l", options={"endpoint_url": address}), ValueError)
    assert "without a user" in said
    monkeypatch.setenv("STORAGE_EMULATOR_HOST", address)
    said = refused(lambda: CloudVolume("gs://b/d/l"), ValueError)
    assert "STORAGE_EMULATOR_HOST: expected an address without a user" in said


def test_a_store_travels_with_the_path_of_its_secrets(front: GoogleFront, bucket: str, home: Path) -> None:
    file = write(home / "mine.json", front.account(EMAIL))
    store = store_at(front, bucket, secrets=file)
    store.put("k", Blob(b"x"))
    data = pickle.dumps(store)
    assert b"PRIVATE" not in data
    assert pickle.loads(data).get("k").data == b"x"
    assert len(front.issued) == 2
