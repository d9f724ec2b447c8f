"""Small volumes and arrays for the tests."""

from collections.abc import Sequence
from typing import Any

import numpy as np
from hypothesis import strategies as st
from numpy.typing import NDArray

from precomp import CloudVolume

__all__ = ["make", "noise", "parts"]


def noise(shape: Sequence[int], dtype: str = "uint8", seed: int = 0) -> NDArray[Any]:
    """Random voxels, shape (x, y, z, channel), that use the dtype's whole range."""
    rng = np.random.default_rng(seed)
    kind = np.dtype(dtype)
    if kind.kind == "f":
        return rng.standard_normal(tuple(shape)).astype(kind)
    info = np.iinfo(kind)
    return rng.integers(info.min, info.max, tuple(shape), dtype=kind, endpoint=True)


def make(
    path: object,
    size: Sequence[int] = (40, 30, 20),
    *,
    dtype: str = "uint8",
    channels: int = 1,
    encoding: str = "raw",
    chunk_size: Sequence[int] = (16, 16, 16),
    voxel_offset: Sequence[int] = (-5, 3, 100),
    layer_type: str = "image",
    max_mip: int = 0,
    **options: Any,
) -> CloudVolume:
    """A committed, empty volume."""
    info = CloudVolume.create_new_info(
        channels,
        layer_type,
        dtype,
        encoding,
        (8, 8, 40),
        voxel_offset,
        size,
        chunk_size=chunk_size,
        max_mip=max_mip,
    )
    vol = CloudVolume(str(path), info=info, **options)
    vol.commit_info()
    return vol


@st.composite
def parts(draw: st.DrawFn, size: Sequence[int]) -> tuple[slice, ...]:
    """A box inside an array of `size`, thin or thick along each axis, at times with a step."""
    part = []
    for length in size:
        low = draw(st.integers(0, length - 1))
        high = draw(st.integers(low + 1, min(length, low + draw(st.sampled_from([1, 3, 40, 200])))))
        part.append(slice(low, high, draw(st.sampled_from([1, 1, 2, 7]))))
    return tuple(part)
