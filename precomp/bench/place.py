"""Where the layers of the bench are kept: a folder, or a bucket that shows what is in the folder."""

import os
from collections.abc import Iterator, Mapping
from concurrent.futures import ThreadPoolExecutor
from contextlib import contextmanager
from pathlib import Path
from typing import Any, Protocol

import attrs

from precomp.bench.layer import BUCKET, Layer, empty
from precomp.bench.weed import s3_server

__all__ = ["Folder", "Place", "bucket"]

_THREADS = 8


class Place(Protocol):
    """Layers under a folder's name."""

    def publish(self, folder: Path) -> None:
        """Make what is in the local folder of a layer the content of the layer."""

    def clear(self, layer: Layer, folder: Path) -> None:
        """Remove the chunks."""

    def stored(self, layer: Layer, folder: Path) -> int:
        """Return how many bytes all chunks have."""


class Folder:
    """The local disk."""

    def publish(self, folder: Path) -> None:
        """Do nothing: it is there."""

    def clear(self, layer: Layer, folder: Path) -> None:
        """Remove the files."""
        empty(layer.chunk_folder(folder))

    def stored(self, layer: Layer, folder: Path) -> int:
        """Return the size of all files."""
        return sum(path.stat().st_size for path in layer.chunk_folder(folder).iterdir())


@attrs.frozen
class _Bucket:
    client: Any

    def publish(self, folder: Path) -> None:
        files = [path for path in folder.rglob("*") if path.is_file()]

        def send(path: Path) -> None:
            self.client.put_object(Bucket=BUCKET, Key=_key(path), Body=path.read_bytes())

        with ThreadPoolExecutor(_THREADS) as threads:
            list(threads.map(send, files))

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


def _key(path: Path) -> str:
    return path.as_posix().lstrip("/")


@contextmanager
def bucket(folder: Path) -> Iterator[Place]:
    """Run a server of S3 with its files in `folder`; programs started meanwhile find it by themselves."""
    import boto3

    with s3_server(folder) as environment:
        before = dict(os.environ)
        os.environ.update(environment)
        try:
            client = boto3.client("s3")
            try:
                client.create_bucket(Bucket=BUCKET)
                yield _Bucket(client)
            finally:
                client.close()
        finally:
            os.environ.clear()
            os.environ.update(before)
