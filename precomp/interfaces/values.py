"""The plain values that cross the border between the core and plugins."""

from typing import Any, NamedTuple, TypeAlias

import numpy as np

__all__ = ["Blob", "Buffer", "ByteRange", "ChunkSpec", "CloudPath", "Condition", "Slices3", "Slices4", "Stat"]

Buffer: TypeAlias = bytes | bytearray | memoryview
Slices3: TypeAlias = tuple[slice, slice, slice]
Slices4: TypeAlias = tuple[slice, slice, slice, slice]


class CloudPath(NamedTuple):
    """The address of a layer, taken apart; `precomp.url.parse` makes it from text.

    Attributes:
        scheme: the protocol, lower case: `gs`, `file`, ...
        bucket: bucket or host. For `file` it is the folder two above the layer, absolute.
        path: the layer's folder below the bucket, without slashes at its ends (`retina/image`).
    """

    scheme: str
    bucket: str
    path: str

    def __str__(self) -> str:
        """The canonical text, `gs://bucket/dataset/layer`, without a final slash."""
        bucket = self.bucket.rstrip("/") if self.scheme == "file" else self.bucket
        return f"{self.scheme}://{bucket}/{self.path}" if self.path else f"{self.scheme}://{self.bucket}"

    @property
    def layer(self) -> str:
        """The last part of the path, `image`."""
        return self.path.rpartition("/")[2]

    @property
    def dataset(self) -> str:
        """The last part but one, `retina`; empty where the path has one part."""
        return self.path.rpartition("/")[0].rpartition("/")[2]


class ByteRange(NamedTuple):
    """Bytes `start` to `stop` (exclusive) of an object as stored, before decompression."""

    start: int
    stop: int


class Blob(NamedTuple):
    """An object's bytes with what the store knows of them.

    Attributes:
        data: the stored bytes (still compressed where `content_encoding` says so).
        content_encoding: `gzip`, `br`, `zstd` or None for plain.
        content_type: a MIME type, for stores that keep one.
        cache_control: a Cache-Control text, for stores that keep one.
        version: what a `Condition` compares; None where the store has no versions.
        size: the whole object's stored size, set on ranged reads, so that a truncated or
            overlong object is found even when only a part of it was fetched.
    """

    data: Buffer
    content_encoding: str | None = None
    content_type: str | None = None
    cache_control: str | None = None
    version: str | None = None
    size: int | None = None


class Stat(NamedTuple):
    """What is known of an object without reading it: stored size in bytes, version, encoding."""

    size: int
    version: str | None = None
    content_encoding: str | None = None


class Condition(NamedTuple):
    """When a `put` may happen: while the object still has `version`; None: while there is none."""

    version: str | None


class ChunkSpec(NamedTuple):
    """A stored chunk: its shape (x, y, z, channel), truncated at the volume's edge, and its dtype."""

    shape: tuple[int, int, int, int]
    dtype: np.dtype[Any]

    @property
    def nbytes(self) -> int:
        """Size of the decoded chunk in bytes."""
        x, y, z, c = self.shape
        return x * y * z * c * self.dtype.itemsize
