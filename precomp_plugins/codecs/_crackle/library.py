"""The library crackle as a helper calls it, so that a slice which it did not decode is noticed.

It decodes slices in threads of its own and drops what they raise, a wrong checksum too: such a slice is left
as the memory was before. So its result is put into memory that was filled before, and where a slice looks
like the filling all is decoded once more over another one.

Imported by the helper process, so nothing of precomp is imported here.
"""

import ctypes
from collections.abc import Sequence
from typing import Any

import numpy as np
from numpy.typing import NDArray

from precomp_plugins.codecs._helper.lend import lent

__all__ = ["decode", "notices_damage"]

_FILLINGS = (0xA5, 0x5A)


def decode(data: bytes, room: memoryview, z: Sequence[int], shape: Sequence[int]) -> None:
    """Decode the slices from z[0] up to z[1] into `room`, in Fortran order.

    Raises ValueError where they are not of `shape` or a checksum is wrong. Garbage may kill the process.
    """
    blank = _decoded(data, room, z, shape, _FILLINGS[0])
    if blank.any():
        blank &= _decoded(data, room, z, shape, _FILLINGS[1])
    if blank.any():
        raise ValueError(f"crackle: slice {z[0] + int(blank.argmax())} is damaged, its checksum says")


def _decoded(
    data: bytes, room: memoryview, z: Sequence[int], shape: Sequence[int], filling: int
) -> NDArray[np.bool_]:
    """Decode over a filling; tell which slices look like that."""
    import crackle

    address = ctypes.addressof(ctypes.c_char.from_buffer(room))
    ctypes.memset(address, filling, len(room))
    with lent(address, len(room)):
        labels: NDArray[Any] = crackle.codec.decompress_range(data, *z, 1)
    if list(labels.shape) != list(shape) or labels.nbytes != len(room):
        raise ValueError(f"crackle: expected {shape}, found {labels.dtype} of {labels.shape}")
    if labels.ctypes.data != address:
        raise ValueError("crackle: the library decoded elsewhere, so nothing tells whether that is all")
    bits = labels.view(f"u{labels.itemsize}")
    like = bits.dtype.type(int.from_bytes(bytes([filling]) * bits.itemsize, "little"))
    blank: NDArray[np.bool_] = bits[0, 0] == like
    for number in np.flatnonzero(blank):
        blank[number] = (bits[..., number] == like).all()
    if not labels.flags.f_contiguous:
        np.ndarray(labels.shape, labels.dtype, room, order="F")[...] = labels.copy()
    return blank


def notices_damage() -> bool:
    """Whether this build of the library decodes a small stream, and is caught with a wrong checksum."""
    import crackle

    for width in (1, 2, 4, 8):
        labels = np.asfortranarray(np.arange(24, dtype=f"u{width}").reshape(2, 3, 4) % 5)
        whole: bytes = crackle.compress(labels, parallel=1)
        room = memoryview(bytearray(labels.nbytes))
        decode(whole, room, (0, 4), labels.shape)
        if not np.array_equal(np.ndarray(labels.shape, labels.dtype, room, order="F"), labels):
            return False
        try:
            decode(whole[:-1] + bytes([whole[-1] ^ 1]), room, (0, 4), labels.shape)
        except ValueError:
            continue
        return False
    return True
