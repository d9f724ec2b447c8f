"""The encoding `fpzip`: floats, whole or some of their bits, for float32 and any number of channels.

Nothing in a stream tells that its bytes are damaged, and damaged bytes make the library write where it
should not, so it decodes in a helper process.
"""

from typing import Any

import attrs
import numpy as np
from numpy.typing import NDArray

from precomp.errors import ArgumentError, MissingDependencyError
from precomp.hookspecs import CodecPlugin, hookimpl
from precomp.info import Scale, VolumeInfo
from precomp.interfaces import Buffer, ChunkSpec

__all__ = ["Fpzip", "precomp_register_codecs"]

_INSTALL = "pip install 'precomp[fpzip]'"
_MOST = 2**31 - 1  # voxels: the library counts with C's int


@attrs.frozen
class Fpzip:
    """Codec of the encoding `fpzip`.

    Attributes:
        precision: 2 to 32, the bits that are kept of a voxel; 0 for all.
    """

    precision: int = 0

    def encode(self, chunk: NDArray[Any]) -> bytes:
        """Return the stream; ArgumentError where the chunk is too large."""
        from precomp_plugins.codecs import _fpzip_library

        if chunk.size > _MOST:
            raise ArgumentError(f"fpzip: at most {_MOST} voxels in a chunk; choose a smaller chunk_size")
        voxels = np.asfortranarray(chunk)
        size = voxels.nbytes + 1024  # noise is a little longer than it was
        while (stream := self._write(_fpzip_library, voxels, size)) is None:
            size *= 2
        return stream

    def _write(self, library: Any, voxels: NDArray[Any], size: int) -> bytes | None:
        stream: bytes | None = library.write(voxels.ctypes.data, voxels.shape, self.precision, size)
        return stream

    def decode(self, data: Buffer, spec: ChunkSpec) -> NDArray[Any]:
        """Return the chunk; ValueError where it is damaged, truncated or of another shape."""
        from precomp_plugins.codecs._helper import decode_outside

        if spec.nbytes // 4 > _MOST:
            raise ValueError(f"fpzip: at most {_MOST} voxels in a chunk")
        voxels = decode_outside("fpzip", data, spec.nbytes, shape=spec.shape)
        return np.ndarray(spec.shape, spec.dtype, voxels, order="F")


def _build(info: VolumeInfo, scale: Scale) -> Fpzip:
    from precomp_plugins.codecs import _fpzip_library

    try:
        _fpzip_library.library()
    except ImportError as error:
        raise MissingDependencyError(f"encoding fpzip needs fpzip: {_INSTALL} ({error})") from error
    return Fpzip(scale.fpzip_precision or 0)


@hookimpl
def precomp_register_codecs() -> list[CodecPlugin]:
    """Provide `fpzip`."""
    return [
        CodecPlugin(
            "fpzip",
            _build,
            dtypes=("float32",),
            lossy=True,
            install_hint=_INSTALL,
            compressible=False,
            requires=("fpzip",),
        )
    ]
