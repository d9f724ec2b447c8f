"""Arrays on disk that appear whole or not at all."""

import errno
import math
import os
import sys
from collections.abc import Iterator
from contextlib import contextmanager
from typing import Any

import numpy as np
from numpy.typing import NDArray

from precomp.errors import ArgumentError, PrecompError, StoreError

__all__ = ["mapped_file"]


@contextmanager
def mapped_file(path: Any, shape: tuple[int, ...], dtype: np.dtype[Any]) -> Iterator[NDArray[Any]]:
    """Yield a Fortran order array mapped to a temporary file that becomes `path` at the end.

    A path that ends in `.npy` gets numpy's header, any other the bare voxels. Raises ArgumentError,
    StoreError.
    """
    if not isinstance(path, (str, os.PathLike)) or "\0" in str(path) or not os.fspath(path):
        raise ArgumentError(f"path: expected the path of a file, got {path!r}")
    final = os.fspath(path)
    folder, name = os.path.split(final)
    if not os.path.isdir(folder or "."):
        raise ArgumentError(f"path: expected a file in an existing folder, got {final!r}; create {folder!r}")
    if os.path.isdir(final):
        raise ArgumentError(f"path: expected a file, got the folder {final!r}; add a name to it")
    temporary = os.path.join(folder, f".{os.urandom(8).hex()}.tmp")  # nobody else's, thread or process
    try:
        if 0 in shape:
            raise OSError(f"a box of shape {shape} has no voxels to map")
        if math.prod(shape) * dtype.itemsize > sys.maxsize:
            raise OSError(errno.EFBIG, os.strerror(errno.EFBIG))
        array: NDArray[Any]
        if name.endswith(".npy"):
            array = np.lib.format.open_memmap(
                temporary, mode="w+", dtype=dtype, shape=shape, fortran_order=True
            )
        else:
            array = np.memmap(temporary, dtype=dtype, mode="w+", shape=shape, order="F")
        _reserve(temporary)
        yield array
        array.flush()
        del array
        os.replace(temporary, final)
    except OSError as error:
        if isinstance(error, PrecompError):
            raise
        raise StoreError(f"{final}: the file cannot be written: {error}") from error
    finally:
        if os.path.exists(temporary):
            os.unlink(temporary)


def _reserve(path: str) -> None:
    """Take the disk space that the file needs: a page that finds none later would kill the process."""
    if not hasattr(os, "posix_fallocate"):
        return
    with open(path, "rb+") as file:
        try:
            os.posix_fallocate(file.fileno(), 0, os.path.getsize(path))
        except OSError as error:
            if error.errno not in (errno.EOPNOTSUPP, errno.EINVAL):  # this file system cannot
                raise
