"""Stores and volumes in the S3 of the tests."""

import json
import os
from pathlib import Path
from typing import Any

import pytest
from servers.s3 import BUCKET, s3_server

from precomp.interfaces import CloudPath
from precomp_plugins._s3.store import S3Store
from precomp_plugins.s3 import S3Options

__all__ = ["alone", "layer", "new_path", "put_secret", "store_at"]


def alone(home: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    """Leave nothing of this machine's own credentials to be found."""
    home.mkdir(exist_ok=True)
    monkeypatch.setenv("HOME", str(home))
    for name in list(os.environ):
        if name.startswith("AWS_"):
            monkeypatch.delenv(name)
    monkeypatch.setenv("AWS_EC2_METADATA_DISABLED", "true")


def put_secret(folder: Path, values: Any, name: str = "aws-secret.json") -> Path:
    """Write a secret file and return its path."""
    folder.mkdir(parents=True, exist_ok=True)
    (folder / name).write_text(json.dumps(values))
    return folder / name


def store_at(path: str | None = None, bucket: str = BUCKET, **options: Any) -> S3Store:
    """Return a store of a layer in which nobody else writes."""
    options = {"endpoint_url": s3_server().url, "secrets": s3_server().secret, "concurrency": 4, **options}
    return S3Store(CloudPath("s3", bucket, path or s3_server().new_folder()), S3Options(**options))


def new_path() -> str:
    """Return the cloudpath of a layer in which nobody else writes."""
    return f"s3://{BUCKET}/{s3_server().new_folder()}"


def layer(**options: Any) -> dict[str, Any]:
    """Return the options of a volume in the server of the tests, credentials aside."""
    return {"endpoint_url": s3_server().url, "concurrency": 4, **options}
