"""The functions inside the package compressed-segmentation, called past its wrapper.

The wrapper holds Python's lock; without it threads work at once, and decode straight into the caller's array.
These are C++ functions of no promised names: each is used only where it is found and does a known stream
rightly.
"""

from collections.abc import Callable, Sequence
from ctypes import CDLL, c_int, c_ssize_t, c_void_p, string_at
from functools import cache

import numpy as np
from numpy.typing import NDArray

__all__ = ["decoder", "encoder"]

Labels = NDArray[np.unsignedinteger]
Decode = Callable[[NDArray[np.uint32], Sequence[int], Sequence[int], Labels], None]
Encode = Callable[[Labels, Sequence[int]], bytes]

_DECODE = "_ZN21compress_segmentation17DecompressChannelI{}EEvPKjPKlS4_S4_PT_l"
_ENCODE = "_ZN21compress_segmentation15CompressChannelI{}EEiPKT_PKlS5_S5_PSt6vectorIjSaIjEE"
_DELETE = "_ZdlPv"
_LABELS = {4: "j", 8: "m"}  # how C++ spells the type of a label
_MOST_MEMORY = 6  # times the labels: indices and tables as long as them, in a vector that doubles


@cache
def decoder(label_bytes: int) -> Decode | None:
    """Return the function that decodes a channel's words: it takes them, size, block and where to write.

    None where the package has none that is right. It trusts its input.
    """
    import compressed_segmentation

    try:
        function = CDLL(compressed_segmentation.__file__)[_DECODE.format(_LABELS[label_bytes])]
    except (AttributeError, OSError):
        return None
    function.restype = None
    function.argtypes = [c_void_p] * 5 + [c_ssize_t]
    triple, strides = c_ssize_t * 3, c_ssize_t * 4

    def decode(words: NDArray[np.uint32], size: Sequence[int], block: Sequence[int], out: Labels) -> None:
        steps = strides(*(step // out.itemsize for step in out.strides), 0)
        function(words.ctypes.data, triple(*size), triple(*block), steps, out.ctypes.data, 0)

    return decode if _is_right(decode, label_bytes) else None


@cache
def encoder(label_bytes: int) -> Encode | None:
    """Return the function that encodes a channel: it takes its labels and the block, and returns its words.

    None where the package has none that is right. Labels are (x, y, z), aligned, in native byte order. It
    hangs on blocks of more than 2**16 labels, and raises OverflowError where tables lie beyond the first
    2**24 words.
    """
    import compressed_segmentation

    library = CDLL(compressed_segmentation.__file__)
    try:
        function, delete = library[_ENCODE.format(_LABELS[label_bytes])], library[_DELETE]
    except AttributeError:
        return None
    function.restype, function.argtypes = c_int, [c_void_p] * 5
    delete.restype, delete.argtypes = None, [c_void_p]
    triple = c_ssize_t * 3

    def encode(labels: Labels, block: Sequence[int]) -> bytes:
        # A C++ exception would end the process; without a touch this costs nothing, and raises MemoryError.
        np.empty(_MOST_MEMORY * labels.nbytes + 2**20, np.uint8)
        steps = triple(*(step // labels.itemsize for step in labels.strides))
        vector = (c_void_p * 3)()  # an empty std::vector: begin, end, end of the memory
        try:
            failed = function(labels.ctypes.data, steps, triple(*labels.shape), triple(*block), vector)
            if failed:
                raise OverflowError("too many labels")
            return string_at(vector[0] or 0, (vector[1] or 0) - (vector[0] or 0))
        finally:
            delete(vector[0])

    return encode if _encodes(encode, label_bytes) else None


def _encodes(encode: Encode, label_bytes: int) -> bool:
    """Whether it makes the same of 5 x 3 x 2 voxels with three labels as the package's own function."""
    import compressed_segmentation

    labels = np.array([7, 2 ** (8 * label_bytes - 2) + 3, 9], f"u{label_bytes}")
    chunk = np.asfortranarray(labels[np.arange(30).reshape(5, 3, 2) ** 2 % 3])
    expected = compressed_segmentation.compress(chunk, (4, 4, 4), order="F")
    inside = np.zeros((7, 5, 4), chunk.dtype, order="F")[1:6, 1:4, 1:3]
    inside[...] = chunk
    return encode(inside, (4, 4, 4)) == bytes(expected[4:])


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
