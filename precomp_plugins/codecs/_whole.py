"""A whole chunk, by a codec that decodes boxes."""

from typing import Any

import numpy as np
from numpy.typing import NDArray

from precomp.interfaces import Buffer, ChunkSpec, DecodesInto

__all__ = ["decode_whole"]


def decode_whole(codec: DecodesInto, data: Buffer, spec: ChunkSpec) -> NDArray[Any]:
    """Return the chunk, shape (x, y, z, channel), in Fortran order. Raises as the codec does."""
    out = np.empty(spec.shape, spec.dtype, order="F")
    x, y, z, c = (slice(0, n) for n in spec.shape)
    codec.decode_into(data, spec, (x, y, z, c), out)
    return out
