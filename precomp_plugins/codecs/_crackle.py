"""The encoding `crackle`: cracks between segments, for integers with one channel. Slices decode on their own.

A stream has checksums, but most of them are compared when it is decoded, and damaged ones make the library
write where it should not; so it decodes in a helper process.
"""

from typing import Any, NamedTuple

import numpy as np
from numpy.typing import NDArray

from precomp.interfaces import Buffer, ChunkSpec, Slices4

__all__ = ["Crackle"]

_SIZES = (24, 29)  # of the header, in format versions 0 and 1


class _Header(NamedTuple):
    """What a stream says of itself.

    Attributes:
        shape: voxels x, y, z.
        width: bytes of a label.
        signed: whether labels may be negative.
        known: bytes that it has at least: header, index, labels, checksums, and where the cracks end.
    """

    shape: tuple[int, ...]
    width: int
    signed: bool
    known: int


def _header(data: Buffer) -> _Header:
    """Raise ValueError where `data` is no stream, or shorter or longer than its index says.

    Source: crackle's README and `header.hpp`.
    """
    version = data[4] if len(data) >= _SIZES[1] and data[:4] == b"crkl" else 2
    if version > 1:
        raise ValueError(f"crackle: expected a stream of version 0 or 1, found {bytes(data[:5])!r}")
    size = _SIZES[version]
    flags, *shape = (int.from_bytes(data[a:b], "little") for a, b in ((5, 7), (7, 11), (11, 15), (15, 19)))
    labels = int.from_bytes(data[20 : (24, 28)[version]], "little")
    index = memoryview(data)[size : size + 4 * shape[2]]
    markov = flags >> 9 & 15
    # The crack codes of all slices, and before them the model that predicts them.
    known = size + 4 * (shape[2] + version) + labels + (5 * 4**markov + 7) // 8 * bool(markov)
    known += version * 4 * (shape[2] + 1)
    if known > len(data):
        raise ValueError(f"crackle: expected at least {known} bytes, found {len(data)}")
    known += int(np.frombuffer(index, "<u4").sum(dtype=np.uint64))
    return _Header(tuple(shape), 1 << (flags & 3), bool(flags >> 8 & 1), known)


class Crackle:
    """Codec and DecodesInto of the encoding `crackle`."""

    def encode(self, chunk: NDArray[Any]) -> bytes:
        """Return the stream."""
        import crackle

        voxels = np.asfortranarray(chunk[..., 0])
        stream: bytes = crackle.compress(
            voxels if voxels.flags.writeable else voxels.copy(order="F"), parallel=1
        )
        return stream

    def decode(self, data: Buffer, spec: ChunkSpec) -> NDArray[Any]:
        """Return the chunk; ValueError where it is damaged, truncated or of another size or dtype."""
        out = np.empty(spec.shape, spec.dtype, order="F")
        x, y, z, c = (slice(0, n) for n in spec.shape)
        self.decode_into(data, spec, (x, y, z, c), out)
        return out

    def decode_into(self, data: Buffer, spec: ChunkSpec, box: Slices4, out: NDArray[Any]) -> None:
        """Decode the slices of a box; ValueError as `decode`."""
        from precomp_plugins.codecs._helper.pool import decode_outside

        _check(data, spec)
        x, y, z, c = box
        wanted = range(spec.shape[2])[z]
        if not out.size:
            return
        shape = (*spec.shape[:2], wanted[-1] + 1 - wanted[0])

        def paste(voxels: memoryview) -> None:
            slices = np.ndarray((*shape, 1), spec.dtype, voxels, order="F")
            out[...] = slices[x, y, :: wanted.step, c]

        size = spec.dtype.itemsize * shape[0] * shape[1] * shape[2]
        decode_outside("crackle", data, size, paste, z=[wanted[0], wanted[-1] + 1], shape=shape)


def _check(data: Buffer, spec: ChunkSpec) -> None:
    header = _header(data)
    expected = (spec.shape[:3], spec.dtype.itemsize, spec.dtype.kind == "i")
    if header[:3] != expected:
        raise ValueError(
            f"crackle: expected {expected} (x, y, z; bytes of a label; signed), found {header[:3]}"
        )
    if header.known != len(data):
        raise ValueError(f"crackle: expected {header.known} bytes, found {len(data)}")
