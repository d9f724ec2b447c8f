"""Voxels to image files: what `VolumeCutout.save_images` uses. Sits below `precomp.cutout`.

Orientation is Neuroglancer's, whose panels turn the x-right, y-down view of `xy` by a quarter about x
for `xz` and about y for `yz` (its `src/data_panel_layout.ts`, AXES_RELATIVE_ORIENTATION):

    axis z    x to the right, y down
    axis y    x to the right, z down
    axis x    z to the LEFT, y down
"""

import io
import operator
import os
from collections.abc import Callable
from types import ModuleType
from typing import Any, Literal, TypeAlias

import numpy as np
from numpy.typing import NDArray

from precomp.errors import ArgumentError, MissingDependencyError, StoreError
from precomp.files import replace_file
from precomp.geometry.arguments import axis_number

__all__ = ["Axis", "label_colors", "save_slices"]

Axis: TypeAlias = Literal["x", "y", "z", 0, 1, 2]


def save_slices(
    voxels: NDArray[Any],
    directory: str | os.PathLike[str],
    *,
    axis: Axis = "z",
    channel: int | None = None,
    image_format: str = "PNG",
    labels: bool = False,
) -> str:
    """Write each slice of `voxels`, shape (x, y, z, channel), along `axis` to a file; return the directory.

    Files are `00000.png`, `00001.png`, ... in order of increasing coordinate, the suffix being
    `image_format` in lower case. The directory is created; files of other names in it stay. A file
    appears when all of it is there.

    - `channel` None takes the only channel, or three uint8 channels as RGB.
    - uint8 is written as it is, uint16 too where the format is PNG or TIFF. All else becomes 8 bits:
      the least finite value of the whole array is 0, the greatest 255. NaN is 0, infinities are the ends.
    - With `labels`, integers are coloured by `label_colors`.

    Raises ArgumentError for an array without voxels, an unknown axis, channel or format,
    MissingDependencyError without Pillow and StoreError where a file cannot be written.
    """
    planes = _planes(_pick(voxels, channel, labels), axis)
    if not planes.size:
        raise ArgumentError(
            f"expected at least one voxel, found shape {voxels.shape}; there is nothing to save"
        )
    image_module, pillow_format, suffix = _pillow(image_format)
    to_pixels = _pixel_maker(planes, labels, keep16=pillow_format in {"PNG", "TIFF"})
    folder = _make_folder(directory)
    for number, plane in enumerate(planes):
        pixels, content = to_pixels(plane), io.BytesIO()
        try:
            image_module.fromarray(pixels).save(content, format=pillow_format)
        except Exception as error:  # Pillow's writers raise many kinds
            raise ArgumentError(
                f"image_format: {image_format!r} cannot hold {pixels.dtype} pixels of shape {pixels.shape} "
                f"({error}); pass 'PNG'"
            ) from error
        path = os.path.join(folder, f"{number:05d}{suffix}")
        try:
            replace_file(path, content.getbuffer())
        except OSError as error:
            raise StoreError(
                f"{path}: could not be written ({error}); free space or pass directory="
            ) from error
    return folder


def label_colors(labels: NDArray[Any]) -> NDArray[np.uint8]:
    """Return a colour per label, shape `labels.shape + (3,)`: 0 is black, all others are well visible.

    A label has the same colour everywhere and always: its red, green and blue are bytes of a 64-bit
    hash (the finalizer of MurmurHash3), moved up to 64..255.
    """
    h = labels.astype(np.uint64)
    with np.errstate(over="ignore"):
        for factor in (0xFF51AFD7ED558CCD, 0xC4CEB9FE1A85EC53):
            h ^= h >> np.uint64(33)
            h *= np.uint64(factor)
    h ^= h >> np.uint64(33)
    parts = np.stack([h >> np.uint64(shift) & np.uint64(255) for shift in (0, 8, 16)], axis=-1)
    colors = (parts * 3 // 4 + 64).astype(np.uint8)
    colors[labels == 0] = 0
    return colors


def _pick(voxels: NDArray[Any], channel: int | None, labels: bool) -> NDArray[Any]:
    """Return the channels to show: shape (x, y, z), or (x, y, z, 3) for RGB."""
    count = voxels.shape[3]
    if channel is None:
        if count == 3 and voxels.dtype == np.uint8 and not labels:
            return voxels
        if count != 1:
            raise ArgumentError(
                f"channel: expected one of {list(range(count))}, found None; only 1 channel, or 3 of a uint8 "
                "image (as RGB), can be saved without a choice"
            )
        channel = 0
    try:
        picked = operator.index(channel)
    except TypeError:
        picked = -1
    if not 0 <= picked < count:
        raise ArgumentError(f"channel: expected one of {list(range(count))}, found {channel!r}")
    return voxels[..., picked]


def _planes(voxels: NDArray[Any], axis: Axis) -> NDArray[Any]:
    """Return a view of shape (slice, row, column) or (slice, row, column, 3)."""
    rgb = (3,) * (voxels.ndim - 3)
    match axis_number(axis):
        case 2:
            return voxels.transpose(2, 1, 0, *rgb)
        case 1:
            return voxels.transpose(1, 2, 0, *rgb)
        case _:
            return voxels[:, :, ::-1]


def _pixel_maker(planes: NDArray[Any], labels: bool, keep16: bool) -> Callable[[NDArray[Any]], NDArray[Any]]:
    """Return the function from a plane to contiguous uint8 or uint16 pixels."""
    dtype = planes.dtype.newbyteorder("=")
    if labels and dtype.kind in "iu":
        return label_colors
    if dtype == np.uint8 or (dtype == np.uint16 and keep16):
        return lambda plane: np.ascontiguousarray(plane, dtype)
    if dtype.kind == "b":
        return lambda plane: plane * np.uint8(255)
    finite = planes if dtype.kind in "iu" else planes[np.isfinite(planes)]
    low, high = (float(finite.min()), float(finite.max())) if finite.size else (0.0, 0.0)
    if low == high:
        return lambda plane: np.zeros(plane.shape, np.uint8)

    def stretch(plane: NDArray[Any]) -> NDArray[np.uint8]:
        share = (np.clip(plane.astype(np.float64), low, high) - low) / (high - low)
        return np.rint(np.nan_to_num(share) * 255).astype(np.uint8)

    return stretch


def _pillow(image_format: str) -> tuple[ModuleType, str, str]:
    """Return Pillow's Image module, its name of the format, and the suffix."""
    try:
        from PIL import Image
    except ImportError as error:
        raise MissingDependencyError("saving images needs Pillow: pip install 'precomp[images]'") from error
    suffix = f".{image_format}".lower()
    pillow_format = Image.registered_extensions().get(suffix)
    if pillow_format not in Image.SAVE:
        raise ArgumentError(
            f"image_format: Pillow writes no {image_format!r} files; pass 'PNG', 'JPEG' or 'TIFF'"
        )
    return Image, pillow_format, suffix


def _make_folder(directory: str | os.PathLike[str]) -> str:
    try:
        folder = os.fsdecode(directory)  # bytes are the name of a folder to the system, too
        os.makedirs(folder, exist_ok=True)
        return folder
    except (TypeError, ValueError) as error:
        raise ArgumentError(f"directory: expected a path, found {directory!r} ({error})") from error
    except OSError as error:
        raise StoreError(f"{directory}: the folder could not be made ({error}); pass directory=") from error
