"""An encoding, a compression and a mesh format."""

import lzma
import zlib

import numpy as np


class Delta:
    """Differences between neighbours along x, as little-endian integers in a zlib stream."""

    def encode(self, chunk):
        voxels = chunk.ravel(order="F")
        steps = np.diff(voxels, prepend=voxels.dtype.type(0))  # wraps around, and back again below
        return zlib.compress(steps.astype(steps.dtype.newbyteorder("<")).tobytes(), 1)

    def decode(self, data, spec):
        stream = zlib.decompressobj()
        plain = stream.decompress(data, spec.nbytes + 1)
        if len(plain) != spec.nbytes or not stream.eof or stream.unused_data:
            raise ValueError(f"delta: expected one stream of {spec.nbytes} bytes")
        steps = np.frombuffer(plain, spec.dtype.newbyteorder("<"))
        return np.cumsum(steps, dtype=spec.dtype).reshape(spec.shape, order="F")


class Xz:
    """One stream of LZMA2."""

    def __init__(self, level):
        self._level = level

    def compress(self, data):
        return lzma.compress(data, preset=self._level)

    def decompress(self, data, max_size):
        decoder = lzma.LZMADecompressor(lzma.FORMAT_XZ)
        try:
            plain = decoder.decompress(data, max_size + 1)
        except lzma.LZMAError as error:
            raise ValueError(f"xz: {error}") from error
        if len(plain) > max_size or not decoder.eof or decoder.unused_data:
            raise ValueError(f"xz: expected one whole stream of at most {max_size} bytes")
        return plain


class Ply:
    """The Stanford format, as text."""

    def export(self, mesh):
        lines = [
            *("ply", "format ascii 1.0", f"element vertex {len(mesh.vertices)}"),
            *(f"property float {axis}" for axis in "xyz"),
            *(f"element face {len(mesh.faces)}", "property list uchar uint vertex_indices", "end_header"),
            *("{:.9g} {:.9g} {:.9g}".format(*vertex) for vertex in mesh.vertices.tolist()),
            *("3 {} {} {}".format(*face) for face in mesh.faces.tolist()),
        ]
        return ("\n".join(lines) + "\n").encode("ascii")
