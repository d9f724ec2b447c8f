"""VolumeCutout: what reading a volume returns, an array that knows where it came from."""

import os
import re
from collections.abc import Sequence
from typing import Any, Self, TypeAlias

import numpy as np
from numpy.typing import NDArray

from precomp.errors import ArgumentError
from precomp.geometry import Bbox
from precomp.imaging import Axis, save_slices

__all__ = ["VolumeCutout"]

Corners: TypeAlias = tuple[Sequence[int], Sequence[int]]


class VolumeCutout(np.ndarray[Any, np.dtype[Any]]):
    """An array of voxels, shape (x, y, z, channel), with its place in a volume.

    All numpy works on it. What derives from it keeps the names of its origin, but `bounds` only while
    it is known that the first three axes are still x, y and z of that box: after slicing in steps of 1
    (`cut[..., 0]`, which drops the channel axis, included), `copy`, `astype`, `view` and elementwise
    operations that keep the shape. Everything else (a transpose, a reshape, fancy indexing, arithmetic of
    two different boxes) has bounds None. Sums and the like are plain scalars, `np.asarray(cut)` is a
    plain array.

    Attributes:
        dataset_name: dataset, '' where unknown.
        layer: layer, '' where unknown.
        mip: level of detail, 0 is the finest; None where unknown.
        layer_type: 'image' or 'segmentation', '' where unknown.

    >>> cut = VolumeCutout.wrap(np.zeros((4, 4, 4, 1), "uint8"), dataset_name="retina", layer="image", mip=0,
    ...                         layer_type="image", bounds=Bbox((8, 8, 8), (12, 12, 12)))
    >>> cut[1:3].bounds == Bbox((9, 8, 8), (11, 12, 12)), cut.T.bounds
    (True, None)
    """

    dataset_name: str = ""
    layer: str = ""
    mip: int | None = None
    layer_type: str = ""
    _bounds: Bbox | Corners | None = None

    @classmethod
    def wrap(
        cls,
        array: NDArray[Any],
        *,
        dataset_name: str,
        layer: str,
        mip: int,
        layer_type: str,
        bounds: Bbox | Corners | None,
    ) -> Self:
        """Return a view of `array`, shape (x, y, z, channel), that fills `bounds`; nothing is copied.

        `bounds` is a Bbox, or its two corners, which cost less to make; None where the array is no solid
        box (read with a step above 1, say). Raises ArgumentError where array and box differ in shape.
        """
        cut = np.asarray(array).view(cls)
        cut.dataset_name, cut.layer, cut.mip, cut.layer_type = dataset_name, layer, mip, layer_type
        cut._bounds = bounds
        if cut.ndim != 4 or (bounds is not None and not _fill(cut.shape, bounds)):
            raise ArgumentError(
                f"array: expected shape (x, y, z, channel) that fills {bounds}, found {cut.shape}; "
                "pass the box that the voxels were read from"
            )
        return cut

    def __array_finalize__(self, parent: NDArray[Any] | None) -> None:
        if isinstance(parent, VolumeCutout):
            # numpy permutes axes after this call, so nothing is known of the box here.
            self.__dict__.update(parent.__dict__, _bounds=None)

    @property
    def bounds(self) -> Bbox | None:
        """The voxels of the volume that the first three axes cover; None where that is not known."""
        box = self._bounds
        # `cut.shape = ...` changes an array in place and tells nobody.
        if box is None or self.ndim not in (3, 4) or not _fill(self.shape, box):
            return None
        if isinstance(box, tuple):
            box = self._bounds = Bbox(*box)
        return box

    @property
    def num_channels(self) -> int | None:
        """The length of the fourth axis; None where there are not four."""
        return int(self.shape[3]) if self.ndim == 4 else None

    def __getitem__(self, index: Any) -> Any:
        part = super().__getitem__(index)
        if isinstance(part, VolumeCutout) and (box := self.bounds) is not None:
            part._bounds = _sliced(box, index, self.ndim)
        return part

    def __array_ufunc__(self, ufunc: np.ufunc, method: Any, *inputs: Any, **kwargs: Any) -> Any:
        given = kwargs.get("out", ())
        kwargs = {name: _plain(value) for name, value in kwargs.items()}
        if given:
            kwargs["out"] = tuple(map(_plain, given))
        results = getattr(ufunc, method)(*map(_plain, inputs), **kwargs)
        cuts = [value for value in inputs if isinstance(value, VolumeCutout)]
        elementwise = method == "__call__" and ufunc.signature is None
        if not isinstance(results, tuple):
            return given[0] if given else _adopted(results, cuts, elementwise)
        pairs = zip(results, given or [None] * len(results), strict=True)
        return tuple(_adopted(new, cuts, elementwise) if out is None else out for new, out in pairs)

    def _same_box(self, result: Any) -> Any:
        if isinstance(result, VolumeCutout) and result.shape == self.shape:
            result._bounds = self.bounds
        return result

    def copy(self, *args: Any, **kwargs: Any) -> Any:
        """As `numpy.ndarray.copy`; keeps `bounds`."""
        return self._same_box(super().copy(*args, **kwargs))

    def astype(self, *args: Any, **kwargs: Any) -> Any:
        """As `numpy.ndarray.astype`; keeps `bounds`."""
        return self._same_box(super().astype(*args, **kwargs))

    def view(self, *args: Any, **kwargs: Any) -> Any:
        """As `numpy.ndarray.view`; keeps `bounds` where the shape stays."""
        return self._same_box(super().view(*args, **kwargs))

    def sort(self, *args: Any, **kwargs: Any) -> None:
        """As `numpy.ndarray.sort`; voxels move, so no `bounds` are left (`numpy.sort` calls this)."""
        super().sort(*args, **kwargs)
        self._bounds = None

    def partition(self, *args: Any, **kwargs: Any) -> None:
        """As `numpy.ndarray.partition`; no `bounds` are left."""
        super().partition(*args, **kwargs)
        self._bounds = None

    def __copy__(self) -> Any:
        return self._same_box(super().__copy__())

    def __deepcopy__(self, memo: dict[int, Any] | None, /) -> Any:
        return self._same_box(super().__deepcopy__(memo))

    def __reduce__(self) -> Any:
        reduced: Any = super().__reduce__()
        make, arguments, state = reduced
        return make, arguments, (state, self.__dict__)

    def __setstate__(self, state: Any, /) -> None:
        super().__setstate__(state[0])
        self.__dict__.update(state[1])

    def save_images(
        self,
        directory: str | os.PathLike[str] | None = None,
        axis: Axis = "z",
        channel: int | None = None,
        image_format: str = "PNG",
    ) -> str:
        """Write every slice along `axis` to a file, as Neuroglancer shows it, and return the directory.

        Files are `00000.png`, ... by increasing coordinate. `directory` None means
        `./saved_images/DATASET/LAYER/MIP/BBOX`. Segmentations are coloured, 0 black; three uint8 channels
        are RGB. Orientation and the treatment of other dtypes: `precomp.imaging.save_slices`.

        Raises ArgumentError for a cutout without voxels or known axes, an unknown axis, channel or format,
        MissingDependencyError without Pillow and StoreError where a file cannot be written.
        """
        voxels, box = np.asarray(self), self.bounds
        if voxels.ndim == 3 and box is not None:
            voxels = voxels[..., np.newaxis]
        if voxels.ndim != 4:
            raise ArgumentError(
                f"expected a cutout of shape (x, y, z, channel), found {self.shape}; slice it with ranges, "
                "as in cut[:, :, 5:6], so that it keeps its axes"
            )
        if directory is None:
            if box is None:
                raise ArgumentError("directory: expected a path, as this array has no bounds to name one")
            names = map(_as_folder, (self.dataset_name, self.layer, str(self.mip), box.to_filename()))
            directory = os.path.join(".", "saved_images", *names)
        labels = self.layer_type == "segmentation"
        return save_slices(
            voxels, directory, axis=axis, channel=channel, image_format=image_format, labels=labels
        )


def _fill(shape: Sequence[int], box: Bbox | Corners) -> bool:
    """Tell whether an array's first three axes are as long as the box."""
    (x0, y0, z0), (x1, y1, z1) = box if isinstance(box, tuple) else (box.minpt, box.maxpt)
    return tuple(shape[:3]) == (x1 - x0, y1 - y0, z1 - z0)


def _plain(value: Any) -> Any:
    return np.asarray(value) if isinstance(value, VolumeCutout) else value


def _adopted(result: Any, cuts: list[VolumeCutout], elementwise: bool) -> Any:
    """Return a ufunc's plain result as a cutout that takes after `cuts`; scalars stay what they are."""
    if not cuts or type(result) is not np.ndarray:
        return result
    cut = result.view(VolumeCutout)
    cut.__array_finalize__(cuts[0])
    boxes = {source.bounds for source in cuts}
    if elementwise and len(boxes) == 1 and all(source.shape == cut.shape for source in cuts):
        cut._bounds = boxes.pop()
    return cut


def _sliced(box: Bbox, index: Any, ndim: int) -> Bbox | None:
    """Return the box of `array[index]`; None where axes x, y, z are not sliced in steps of 1."""
    items = index if isinstance(index, tuple) else (index,)
    if not all(isinstance(item, (slice, int, np.integer, type(Ellipsis))) for item in items):
        return None  # a mask takes several axes, a list reorders one, None makes one
    for place, item in enumerate(items):
        if item is Ellipsis:
            items = items[:place] + (slice(None),) * (ndim + 1 - len(items)) + items[place + 1 :]
            break
    items += (slice(None),) * (3 - len(items))
    minpt, maxpt = [], []
    for item, low, high in zip(items, box.minpt, box.maxpt, strict=False):
        start, stop, step = item.indices(high - low) if isinstance(item, slice) else (0, 0, 0)
        if step != 1:
            return None
        minpt.append(low + start)
        maxpt.append(low + max(start, stop))
    return Bbox(minpt, maxpt)


def _as_folder(name: str) -> str:
    name = re.sub(r"[/\\:\0]", "_", name)
    return name if name.strip(".") else "_"
