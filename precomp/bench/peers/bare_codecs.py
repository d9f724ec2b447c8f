"""The encodings by their libraries alone: a chunk (x, y, z, 1) to bytes and back, with nothing checked."""

from collections.abc import Callable, Mapping
from typing import Any, TypeAlias

import numpy as np
from numpy.typing import NDArray

from precomp.bench.layer import JPEG_QUALITY, Int3, Layer

__all__ = ["DECODE", "ENCODE"]

_BLOCK = (8, 8, 8)
Encode: TypeAlias = Callable[[NDArray[Any]], Any]
Decode: TypeAlias = Callable[[Layer, bytes, Int3], NDArray[Any]]


def _rows(chunk: NDArray[Any]) -> NDArray[Any]:
    """As a picture of x columns and y * z rows."""
    x, y, z, _ = chunk.shape
    return np.ascontiguousarray(chunk.transpose(3, 2, 1, 0)).reshape(z * y, x, 1)


def _chunk(picture: NDArray[Any], shape: Int3) -> NDArray[Any]:
    x, y, z = shape
    return picture.reshape(z, y, x, 1).transpose(2, 1, 0, 3)


def _to_jpeg(chunk: NDArray[Any]) -> Any:
    import simplejpeg

    return simplejpeg.encode_jpeg(_rows(chunk), JPEG_QUALITY, "Gray", "444")


def _from_jpeg(layer: Layer, data: bytes, shape: Int3) -> NDArray[Any]:
    import simplejpeg

    return _chunk(simplejpeg.decode_jpeg(data, "Gray"), shape)


def _to_png(chunk: NDArray[Any]) -> Any:
    import imagecodecs

    return imagecodecs.png_encode(_rows(chunk)[..., 0], level=1)


def _from_png(layer: Layer, data: bytes, shape: Int3) -> NDArray[Any]:
    import imagecodecs

    return _chunk(imagecodecs.png_decode(data), shape)


def _to_cseg(chunk: NDArray[Any]) -> Any:
    import compressed_segmentation

    return compressed_segmentation.compress(np.asfortranarray(chunk), _BLOCK, order="F")


def _from_cseg(layer: Layer, data: bytes, shape: Int3) -> NDArray[Any]:
    import compressed_segmentation

    labels: NDArray[Any] = compressed_segmentation.decompress(data, (*shape, 1), layer.dtype, _BLOCK, "F")
    return labels


def _to_compresso(chunk: NDArray[Any]) -> Any:
    import compresso

    return compresso.compress(np.asfortranarray(chunk[..., 0]))


def _from_compresso(layer: Layer, data: bytes, shape: Int3) -> NDArray[Any]:
    import compresso

    labels: NDArray[Any] = compresso.decompress(data)
    return labels[..., np.newaxis]


def _to_crackle(chunk: NDArray[Any]) -> Any:
    import crackle

    return crackle.compress(np.asfortranarray(chunk[..., 0]), parallel=1)


def _from_crackle(layer: Layer, data: bytes, shape: Int3) -> NDArray[Any]:
    import crackle

    labels: NDArray[Any] = crackle.decompress(data, parallel=1)
    return labels[..., np.newaxis]


def _to_fpzip(chunk: NDArray[Any]) -> Any:
    import fpzip

    return fpzip.compress(np.asfortranarray(chunk), order="F")


def _from_fpzip(layer: Layer, data: bytes, shape: Int3) -> NDArray[Any]:
    import fpzip

    voxels: NDArray[Any] = fpzip.decompress(data, order="F")
    return voxels


ENCODE: Mapping[str, Encode] = {
    "jpeg": _to_jpeg,
    "png": _to_png,
    "compressed_segmentation": _to_cseg,
    "compresso": _to_compresso,
    "crackle": _to_crackle,
    "fpzip": _to_fpzip,
}

DECODE: Mapping[str, Decode] = {
    "jpeg": _from_jpeg,
    "png": _from_png,
    "compressed_segmentation": _from_cseg,
    "compresso": _from_compresso,
    "crackle": _from_crackle,
    "fpzip": _from_fpzip,
}
