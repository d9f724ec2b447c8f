"""Where `s3://` finds credentials, region and endpoint, and what it says when there are none."""

import json
import pickle
import sys
from pathlib import Path
from typing import Any

import numpy as np
import pytest
from s3_places import alone, layer, put_secret, store_at
from servers.s3 import BUCKET, s3_server
from volumes import make

from precomp import CloudVolume, VolumeFactory
from precomp.errors import ConfigError, CredentialsError
from precomp.interfaces import Blob, CloudPath
from precomp_plugins._s3.account import open_account
from precomp_plugins.s3 import S3Options, open_store

_EUROPE = "https://s3.eu-west-2.amazonaws.com"


@pytest.fixture(autouse=True)
def home(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Path:
    alone(tmp_path / "home", monkeypatch)
    return tmp_path / "home"


def keys(name: str, **more: str) -> dict[str, str]:
    """Credentials that the server does not know."""
    return {"AWS_ACCESS_KEY_ID": name, "AWS_SECRET_ACCESS_KEY": "SECRET-" + name, **more}


def refusal(**options: Any) -> str:
    """What is said when the server does not know the credentials that are found."""
    with pytest.raises(CredentialsError) as caught:
        open_store(CloudPath("s3", BUCKET, "ds/layer"), S3Options(**layer(**options))).get("info")
    assert "SECRET" not in str(caught.value)
    return str(caught.value)


def write_profile(home: Path, name: str, text: str) -> None:
    (home / ".aws").mkdir(exist_ok=True)
    with (home / ".aws" / "config").open("a") as file:
        file.write(f"[profile {name}]\n{text}\n")


def test_the_order_of_places(home: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    """Each place that is filled comes before those filled already."""
    aws = home / ".aws"
    aws.mkdir()
    (aws / "credentials").write_text(
        "[default]\naws_access_key_id = SHARED\naws_secret_access_key = SECRET\n"
    )
    assert "the access key SHARED from the file of AWS credentials" in refusal()
    for name, value in keys("ENVIRONMENT").items():
        monkeypatch.setenv(name, value)
    assert "the access key ENVIRONMENT from the environment" in refusal()
    folder = home / ".cloudvolume" / "secrets"
    path = put_secret(folder, keys("CLOUDVOLUME"))
    assert f"the access key CLOUDVOLUME from {path}" in refusal()
    put_secret(folder, keys("OTHER"), "other-aws-secret.json")
    assert "CLOUDVOLUME" in refusal()
    path = put_secret(folder, keys("OWN"), f"{BUCKET}-aws-secret.json")
    assert f"the access key OWN from {path}" in refusal()
    path = put_secret(home / ".neuroglancer" / "secrets", keys("NEUROGLANCER"))
    assert f"the access key NEUROGLANCER from {path}" in refusal()
    path = put_secret(home / "elsewhere", keys("FILE"))
    assert f"the access key FILE from {path}" in refusal(secrets=str(path))
    assert "the access key GIVEN from secrets=" in refusal(secrets=keys("GIVEN"))
    write_profile(home, "lab", "aws_access_key_id = PROFILE\naws_secret_access_key = SECRET")
    assert "the access key PROFILE from the AWS config file, profile 'lab'" in refusal(profile="lab")
    assert "a request without credentials (anonymous=True)" in refusal(anonymous=True)


def test_none_at_all_lists_every_place(home: Path) -> None:
    with pytest.raises(CredentialsError) as caught:
        CloudVolume(f"s3://{BUCKET}/ds/layer", options=layer())
    text = str(caught.value)
    for place in (
        "secrets=",
        home / ".neuroglancer" / "secrets" / "aws-secret.json",
        home / ".cloudvolume" / "secrets" / f"{BUCKET}-aws-secret.json",
        home / ".cloudvolume" / "secrets" / "aws-secret.json",
        "AWS_ACCESS_KEY_ID in the environment",
        ".aws/credentials",
        ".aws/config",
        "the role of a container or an instance",
        '{"anonymous": True}',
        f"s3://{BUCKET}/ds/layer",
    ):
        assert str(place) in text


def test_half_a_secret_is_told(home: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv("AWS_ACCESS_KEY_ID", "HALF")
    with pytest.raises(CredentialsError, match="boto3 could not get credentials"):
        open_store(CloudPath("s3", BUCKET, "ds/layer"), S3Options())
    path = put_secret(home / ".neuroglancer" / "secrets", {"AWS_ACCESS_KEY_ID": "HALF"})
    with pytest.raises(CredentialsError, match=f"{path}: expected the field AWS_SECRET_ACCESS_KEY"):
        open_store(CloudPath("s3", BUCKET, "ds/layer"), S3Options())


@pytest.mark.parametrize("name", ["AWS_ACCESS_KEY_ID", "AWS_SECRET_ACCESS_KEY", "AWS_SESSION_TOKEN"])
def test_what_cannot_be_sent_is_told_and_not_quoted(monkeypatch: pytest.MonkeyPatch, name: str) -> None:
    """An end of line, mostly: boto3 would quote the header."""
    values = {"AWS_SESSION_TOKEN": "of-a-session", **s3_server().secret}
    bad = {**values, name: "hunter2\nhunter2"}
    monkeypatch.setenv(name, f"{values[name]}\n")
    for other in values.keys() - {name}:
        monkeypatch.setenv(other, values[other])
    for secrets, origin in ((bad, "secrets="), (None, "the environment")):
        with pytest.raises(
            CredentialsError, match=f"from {origin} has a character that none can have"
        ) as caught:
            store_at(secrets=secrets)
        assert "hunter2" not in str(caught.value)
        assert values[name] not in str(caught.value)


def test_a_region_that_cannot_be_sent_is_told(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv("AWS_DEFAULT_REGION", "eu-west-2\n")
    with pytest.raises(ConfigError, match="region: expected its name, found 'eu-west-2"):
        store_at()
    assert store_at(region="us-east-1").get("x") is None


def test_a_session_token_is_sent(monkeypatch: pytest.MonkeyPatch) -> None:
    secret = keys("SESSION", AWS_SESSION_TOKEN="SECRET-TOKEN")
    account = open_account("s3://b", "b", S3Options(secrets=secret))
    assert account.current().token == "SECRET-TOKEN"
    assert "the access key SESSION" in refusal(secrets=secret)


def test_a_credential_process_is_run_again(home: Path) -> None:
    """boto3 refreshes what is about to end."""
    script = home / "give.py"
    script.write_text(
        f"""
import datetime, json, pathlib
count = pathlib.Path({str(home / "count")!r})
number = int(count.read_text()) + 1 if count.exists() else 1
count.write_text(str(number))
secret = json.loads({json.dumps(s3_server().secret)!r})
end = datetime.datetime.now(datetime.UTC) + datetime.timedelta(seconds=30)
print(json.dumps({{"Version": 1, "AccessKeyId": secret["AWS_ACCESS_KEY_ID"], "Expiration": end.isoformat(),
    "SecretAccessKey": secret["AWS_SECRET_ACCESS_KEY"]}}))
"""
    )
    write_profile(home, "process", f"credential_process = {sys.executable} {script}")
    vol = make(f"s3://{BUCKET}/{s3_server().new_folder()}", options=layer(profile="process"))
    vol[...] = 7
    before = int((home / "count").read_text())
    again = CloudVolume(vol.cloudpath, options=layer(profile="process"))
    assert (np.asarray(again[...]) == 7).all()
    assert int((home / "count").read_text()) > before
    account = open_account("s3://b", "b", S3Options(profile="process"))
    assert "the AWS config file's credential_process, profile 'process'" in account.who()


def test_a_credential_process_that_fails(home: Path) -> None:
    write_profile(home, "process", f"credential_process = {sys.executable} -c 'raise SystemExit(1)'")
    with pytest.raises(CredentialsError, match="boto3 could not get credentials"):
        open_store(CloudPath("s3", BUCKET, "ds/layer"), S3Options(**layer(profile="process")))


@pytest.mark.parametrize("variable", ["AWS_ENDPOINT_URL", "AWS_ENDPOINT_URL_S3"])
def test_the_environment_says_where(variable: str, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv(variable, s3_server().url)
    vol = make(f"s3://{BUCKET}/{s3_server().new_folder()}", secrets=s3_server().secret)
    vol[...] = 7
    assert (np.asarray(vol[...]) == 7).all()


def test_an_endpoint_that_is_given_comes_before_the_environment(monkeypatch: pytest.MonkeyPatch) -> None:
    for variable in ("AWS_ENDPOINT_URL", "AWS_ENDPOINT_URL_S3"):
        monkeypatch.setenv(variable, "http://127.0.0.1:9")
    for name, value in {"AWS_SKIP_SIGNATURE": "true", "AWS_S3_EXPRESS": "true", "AWS_BUCKET": "x"}.items():
        monkeypatch.setenv(name, value)  # which boto3 does not know
    vol = make(f"s3://{BUCKET}/{s3_server().new_folder()}", secrets=s3_server().secret, options=layer())
    vol[...] = 7
    assert (np.asarray(vol[...]) == 7).all()


@pytest.mark.parametrize("address", ["http://ada:hunter2@127.0.0.1:1", "ada:hunter2@lab"])
def test_an_address_with_a_user_is_refused(address: str, monkeypatch: pytest.MonkeyPatch) -> None:
    """It would be the name of a cache folder, and stand in errors."""
    with pytest.raises(ConfigError, match="endpoint_url: expected an address") as given:
        CloudVolume(f"s3://{BUCKET}/ds/layer", options={"endpoint_url": address}, secrets=s3_server().secret)
    monkeypatch.setenv("AWS_ENDPOINT_URL_S3", address)
    with pytest.raises(ConfigError, match="expected an address without a user") as found:
        open_store(CloudPath("s3", BUCKET, "ds/layer"), S3Options(secrets=s3_server().secret))
    error: BaseException | None
    for error in (given.value, found.value):
        while error is not None:
            assert "hunter2" not in str(error)
            error = error.__cause__ or error.__context__


def test_a_profile_says_where(home: Path) -> None:
    secret = s3_server().secret
    text = f"aws_access_key_id = {secret['AWS_ACCESS_KEY_ID']}\n"
    text += f"aws_secret_access_key = {secret['AWS_SECRET_ACCESS_KEY']}\nendpoint_url = {s3_server().url}"
    write_profile(home, "lab", text)
    vol = make(f"s3://{BUCKET}/{s3_server().new_folder()}", options={"profile": "lab"})
    vol[...] = 7
    assert (np.asarray(vol[...]) == 7).all()


def test_a_config_says_it_all() -> None:
    table = {**layer(), "secrets": s3_server().secret}
    path = f"s3://{BUCKET}/{s3_server().new_folder()}"
    make(path, options=table)[...] = 7
    factory = VolumeFactory.from_dict({"volumes": {"em": {"cloudpath": path}}, "protocols": {"s3": table}})
    assert (np.asarray(factory.open("em")[...]) == 7).all()
    assert s3_server().secret["AWS_SECRET_ACCESS_KEY"] not in repr(factory) + str(factory.describe())


@pytest.mark.parametrize(
    ("options", "environment", "bucket", "url", "region"),
    [
        ({}, {}, "brains", "https://brains.s3.amazonaws.com", "us-east-1"),
        ({"region": "eu-west-2"}, {}, "brains", "https://brains.s3.eu-west-2.amazonaws.com", "eu-west-2"),
        ({}, {"DEFAULT_REGION": "eu-west-2"}, "ants", "https://ants.s3.eu-west-2.amazonaws.com", "eu-west-2"),
        ({"addressing_style": "path", "region": "eu-west-2"}, {}, "a", _EUROPE, "eu-west-2"),
        ({"region": "eu-west-2"}, {}, "dotted.name", _EUROPE, "eu-west-2"),
        ({"endpoint_url": "http://127.0.0.1:8333"}, {}, "brains", "http://127.0.0.1:8333", "us-east-1"),
        ({"endpoint_url": "https://lab.org/store"}, {}, "brains", "https://lab.org/store", "us-east-1"),
        (
            {"endpoint_url": "https://lab.org", "addressing_style": "virtual"},
            {},
            "brains",
            "https://brains.lab.org",
            "us-east-1",
        ),
        # Like the header Host of a request, without which its signature is wrong.
        ({"endpoint_url": "http://Lab.org:80"}, {}, "brains", "http://lab.org", "us-east-1"),
        ({"endpoint_url": "https://lab.org:443/x/"}, {}, "brains", "https://lab.org/x", "us-east-1"),
        ({"endpoint_url": "https://lab.org:80"}, {}, "brains", "https://lab.org:80", "us-east-1"),
        ({"endpoint_url": "http://[::1]:9000"}, {}, "brains", "http://[::1]:9000", "us-east-1"),
        (
            {"region": "us-west-2"},
            {"USE_DUALSTACK_ENDPOINT": "true"},
            "brains",
            "https://brains.s3.dualstack.us-west-2.amazonaws.com",
            "us-west-2",
        ),
    ],
)
def test_where_boto3_would_go(
    options: dict[str, Any],
    environment: dict[str, str],
    bucket: str,
    url: str,
    region: str,
    monkeypatch: pytest.MonkeyPatch,
) -> None:
    for name, value in environment.items():
        monkeypatch.setenv(f"AWS_{name}", value)
    account = open_account("s3://b", bucket, S3Options(secrets=keys("K"), **options))
    assert account.address(account.client(1)) == (url, f"//{bucket}." in url, region)


@pytest.mark.parametrize(
    ("bucket", "hint"),
    [
        ("brains--use1-az4--x-s3", "use a general purpose bucket"),
        ("arn:aws:s3:us-west-2:123456789012:accesspoint:ap", "give the alias of the access point"),
    ],
)
def test_what_is_signed_in_other_ways(bucket: str, hint: str) -> None:
    with pytest.raises(ConfigError, match=hint) as caught:
        CloudVolume(f"s3://{bucket}/layer", secrets=keys("K"))
    assert bucket in str(caught.value)


def test_the_region_of_a_secret(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv("AWS_DEFAULT_REGION", "eu-west-2")
    secret = keys("K", AWS_REGION="sa-east-1")
    assert open_account("s3://b", "b", S3Options(secrets=secret)).region == "sa-east-1"
    assert open_account("s3://b", "b", S3Options(secrets=secret, region="eu-north-1")).region == "eu-north-1"
    assert open_account("s3://b", "b", S3Options(secrets=keys("K"))).region == "eu-west-2"


def test_certificates_that_cannot_be_read(home: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv("AWS_CA_BUNDLE", str(home / "absent.pem"))
    with pytest.raises(ConfigError, match=r"absent\.pem"):
        open_store(CloudPath("s3", BUCKET, "ds/layer"), S3Options(**layer(secrets=keys("K"))))


def test_no_secret_in_any_repr() -> None:
    options = S3Options(**layer(secrets=s3_server().secret))
    account = open_account("s3://b", "b", options)
    store: Any = open_store(CloudPath("s3", BUCKET, "ds/layer"), options)
    for one in (options, account, store, store._bucket, store._bucket.clients().objects):
        assert s3_server().secret["AWS_SECRET_ACCESS_KEY"] not in repr(one) + str(one)


def test_a_store_travels_with_the_path_of_its_secrets(home: Path) -> None:
    file = put_secret(home / "mine", s3_server().secret)
    store = store_at(secrets=str(file))
    store.put("x", Blob(b"7"))
    data = pickle.dumps(store)
    assert s3_server().secret["AWS_SECRET_ACCESS_KEY"].encode() not in data
    assert pickle.loads(data).get("x").data == b"7"
    with pytest.raises(CredentialsError, match="secrets= does not travel by pickle; put"):
        pickle.dumps(store_at())
