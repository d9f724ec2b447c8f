"""Arrays on disk that appear whole or not at all."""

import os
from collections.abc import Iterator
from contextlib import contextmanager
from typing import Any

import numpy as np
from numpy.typing import NDArray

from precomp.errors import StoreError

__all__ = ["mapped_file"]


@contextmanager
def mapped_file(path: Any, shape: tuple[int, ...], dtype: np.dtype[Any]) -> Iterator[NDArray[Any]]:
    """Yield a Fortran order array mapped to a temporary file that becomes `path` at the end.

    A path that ends in `.npy` gets numpy's header, any other the bare voxels. Raises StoreError.
    """
    final = os.fspath(path)
    folder, name = os.path.split(final)
    temporary = os.path.join(folder, f".{name}.{os.getpid()}.tmp")
    try:
        if 0 in shape:
            raise OSError(f"a box of shape {shape} has no voxels to map")
        array: NDArray[Any]
        if name.endswith(".npy"):
            array = np.lib.format.open_memmap(
                temporary, mode="w+", dtype=dtype, shape=shape, fortran_order=True
            )
        else:
            array = np.memmap(temporary, dtype=dtype, mode="w+", shape=shape, order="F")
        yield array
        array.flush()
        del array
        os.replace(temporary, final)
    except OSError as error:
        if isinstance(error, StoreError):
            raise
        raise StoreError(f"{final}: the file cannot be written: {error}") from error
    finally:
        if os.path.exists(temporary):
            os.unlink(temporary)
