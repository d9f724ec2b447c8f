"""The decoder inside the package compressed-segmentation, called past its wrapper, which holds Python's lock.

Called like this it lets threads decode at once, and writes straight into the array of the caller. It is a C++
function of no promised name, so it is used only where it is found and decodes a known stream rightly.
"""

from collections.abc import Callable, Sequence
from ctypes import CDLL, c_ssize_t, c_void_p
from functools import cache

import numpy as np
from numpy.typing import NDArray

__all__ = ["decoder"]

Decode = Callable[[NDArray[np.uint32], Sequence[int], Sequence[int], NDArray[np.unsignedinteger]], None]

_NAME = "_ZN21compress_segmentation17DecompressChannelI{}EEvPKjPKlS4_S4_PT_l"
_LABELS = {4: "j", 8: "m"}  # how C++ spells the type of a label


@cache
def decoder(label_bytes: int) -> Decode | None:
    """Return the function that decodes a channel's words: it takes them, size, block and where to write.

    None where the package has none that is right. It trusts its input.
    """
    import compressed_segmentation

    try:
        function = CDLL(compressed_segmentation.__file__)[_NAME.format(_LABELS[label_bytes])]
    except (AttributeError, OSError):
        return None
    function.restype = None
    function.argtypes = [c_void_p] * 5 + [c_ssize_t]
    triple, strides = c_ssize_t * 3, c_ssize_t * 4

    def decode(
        words: NDArray[np.uint32], size: Sequence[int], block: Sequence[int], out: NDArray[np.unsignedinteger]
    ) -> None:
        steps = strides(*(step // out.itemsize for step in out.strides), 0)
        function(words.ctypes.data, triple(*size), triple(*block), steps, out.ctypes.data, 0)

    return decode if _is_right(decode, label_bytes) else None


def _is_right(decode: Decode, label_bytes: int) -> bool:
    """Whether it decodes 5 x 3 x 2 voxels in two blocks of 4 x 4 x 4, of one bit and of none."""
    labels = np.array([7, 2 ** (8 * label_bytes - 2) + 3], f"<u{label_bytes}")
    values = np.array([0b0110_0011_0101, 0b1001], "<u4")  # rows of x, from the right
    end = 4 + len(values)
    table = labels.view("<u4")
    heads = np.array([end | 1 << 24, 4, end + label_bytes // 4, 0], "<u4")
    words = np.concatenate([heads, values, table])
    expected = np.full((5, 3, 2), labels[1])
    for z, y, x in np.ndindex(2, 3, 4):
        bit = x + 4 * (y + 4 * z)
        expected[x, y, z] = labels[int(values[bit // 32]) >> bit % 32 & 1]
    found = np.zeros((7, 5, 4), labels.dtype)[1:6, 1:4, 1:3]
    decode(words, found.shape, (4, 4, 4), found)
    return bool(np.array_equal(found, expected))
