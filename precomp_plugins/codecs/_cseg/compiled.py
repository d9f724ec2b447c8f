"""The loops of decoding.py and encoding.py, compiled by numba where that is installed and pays.

Loading numba takes half a second, and compiling for the first time on a machine some seconds more, so that
the library serves until a process has had work enough for it.
"""

import threading
from collections.abc import Callable
from math import prod
from typing import Any

import numpy as np
from numpy.typing import NDArray

from precomp_plugins.codecs._cseg import decoding, encoding
from precomp_plugins.codecs._cseg.stream import Triple, Words

__all__ = ["MOST_VOXELS", "decoder", "encoder", "is_line"]

Labels = NDArray[Any]
Decode = Callable[[Words, Triple, Triple, Triple, Labels], int]
Encode = Callable[[Labels, Triple], bytes]

MOST_VOXELS = 2**16
"""Of a block that can be encoded here."""

_ENOUGH = 2**26  # voxels; decoding so many by the library takes about as long as loading numba
_DECODED = 7  # as many voxels are decoded by the library in the time in which one is encoded
_spent = 0
_loading = threading.Lock()
_loaded: dict[tuple[str, int], Any] = {}


def decoder(label_bytes: int, voxels: int) -> Decode | None:
    """Return a function that decodes a box, where it pays; `voxels` is how many are to be decoded now.

    It takes a channel's words (two for each block at the least), its blocks, those blocks' size, the box's
    first voxel and where the box is to go, an `is_line`. It returns 0, or what is wrong with the stream.
    """
    found: Decode | None = _get("decode", label_bytes, voxels)
    return found


def encoder(label_bytes: int, voxels: int) -> Encode | None:
    """Return a function that encodes a channel, where it pays; `voxels` is how many are to be encoded now.

    It takes labels, an `is_line`, and the size of blocks, of at most MOST_VOXELS voxels, and returns words.
    Raises OverflowError where tables lie beyond the first 2**24 words.
    """
    found: Encode | None = _get("encode", label_bytes, _DECODED * voxels)
    return found


def is_line(labels: Labels) -> bool:
    """Whether labels (x, y, z) lie such that the functions here can reach them."""
    size = labels.itemsize
    return (
        labels.strides[0] == size
        and labels.flags.aligned
        and labels.dtype.isnative
        and all(step > 0 and not step % size for step in labels.strides)
    )


def _get(kind: str, label_bytes: int, work: int) -> Any:
    global _spent
    try:
        return _loaded[kind, label_bytes]
    except KeyError:
        _spent += work  # what is lost between threads does not matter
    if _spent < _ENOUGH or not _loading.acquire(blocking=False):  # others go on meanwhile
        return None
    try:
        if (kind, label_bytes) not in _loaded:
            _loaded[kind, label_bytes] = _load(kind, label_bytes)
        return _loaded[kind, label_bytes]
    finally:
        _loading.release()


def _load(kind: str, label_bytes: int) -> Any:
    """Return a function, ready to be called; None where there is no numba that does what it should."""
    try:
        import numba
        from numba.core.errors import NumbaError
        from numba.extending import register_jitable
    except (ImportError, RuntimeError, SystemError):  # also of one that does not know this numpy
        return None
    config: Any = numba.config
    if config.DISABLE_JIT:
        return None
    types: Any = numba.types
    label, number = {4: types.uint32, 8: types.uint64}[label_bytes], types.int64
    three, two = types.UniTuple(number, 3), types.UniTuple(number, 2)
    out, read_only = types.Array(label, 1, "C"), types.Array(types.uint32, 1, "C", readonly=True)
    labels, words = types.Array(label, 1, "C", readonly=True), types.Array(types.uint32, 1, "C")
    module, signature = {
        "decode": (decoding, number(read_only, three, three, three, three, out, two, out)),
        "encode": (encoding, number(labels, three, two, three, words)),
    }[kind]
    try:
        for helper in module.HELPERS:
            register_jitable(helper)
        compiled = _compiled(numba.njit(nogil=True, cache=True)(getattr(module, kind)), signature)
        made = _decoding(compiled) if kind == "decode" else _encoding(compiled)
        return made if _is_right(kind, made, label_bytes) else None
    except (NumbaError, RuntimeError, OSError):  # the latter where nothing can be kept for the next process
        return None


def _compiled(function: Any, signature: Any) -> Any:
    """Return numba's function, compiled for one signature, or as it was kept on the disk."""
    try:
        function.compile(signature)
    except (RuntimeError, OSError):
        raise
    except Exception:  # noqa: BLE001  what was kept is damaged: whatever unpickling comes upon
        function._cache.flush()
        function.compile(signature)
    function.disable_compile()
    return function


def _decoding(compiled: Callable[..., int]) -> Decode:
    def decode(words: Words, grid: Triple, block: Triple, start: Triple, out: Labels) -> int:
        memory = np.empty(16, out.dtype)
        return compiled(words, grid, block, start, out.shape, _line(out), _steps(out), memory)

    return decode


def _encoding(compiled: Callable[..., int]) -> Encode:
    def encode(voxels: Labels, block: Triple) -> bytes:
        blocks = prod(-(-n // b) for n, b in zip(voxels.shape, block, strict=True))
        most = 2 + prod(block) // 2 + 1 + prod(block) * (voxels.itemsize // 4)  # of a block
        words = np.empty(blocks * most, np.uint32)
        used = compiled(_line(voxels), voxels.shape, _steps(voxels), block, words)
        if used == encoding.TOO_FAR:
            raise OverflowError("too many labels")
        return words[:used].tobytes()

    return encode


def _steps(labels: Labels) -> tuple[int, int]:
    _, y, z = labels.strides
    return y // labels.itemsize, z // labels.itemsize


class _Line:
    """All memory from the first label to the last one, for numpy to make an array of."""

    def __init__(self, labels: Labels) -> None:
        self._labels = labels  # which keeps the memory
        interface = labels.__array_interface__
        last = sum((n - 1) * step for n, step in zip(labels.shape, labels.strides, strict=True))
        self.__array_interface__ = {
            **interface,
            "shape": (last // labels.itemsize + 1,),
            "strides": None,
        }


def _line(labels: Labels) -> Labels:
    return np.asarray(_Line(labels))


def _is_right(kind: str, made: Any, label_bytes: int) -> bool:
    """Whether it does 5 x 3 x 2 voxels of up to three labels in blocks of 4 x 4 x 4 as Python does."""
    labels = np.array([7, 2 ** (8 * label_bytes - 2) + 3, 9], f"u{label_bytes}")
    voxels = np.asfortranarray(labels[np.arange(30).reshape(5, 3, 2) ** 2 % 3])
    with np.errstate(over="ignore"):
        stream = _encoding(encoding.encode)(voxels, (4, 4, 4))
    if kind == "encode":
        return bool(made(voxels, (4, 4, 4)) == stream)
    out = np.zeros_like(voxels)
    wrong = made(np.frombuffer(stream, np.uint32), (2, 1, 1), (4, 4, 4), (0, 0, 0), out)
    return not wrong and np.array_equal(out, voxels)
