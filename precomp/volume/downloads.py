"""Boxes and points of a volume, as voxels, masks, small numbers or labels."""

from collections.abc import Iterable, Sequence
from typing import Any, Literal, overload

from numpy.typing import NDArray

from precomp.cutout import VolumeCutout
from precomp.volume.access import Access
from precomp.volume.coordinates import box_around, checked_resolution
from precomp.volume.files import mapped_file
from precomp.volume.indexing import as_index, checked_segids
from precomp.volume.properties import Mip
from precomp.volume.settings import Parallel

__all__ = ["Downloads"]


class Downloads(Access):
    """The part of CloudVolume that is asked for boxes and points by name."""

    @overload
    def download(
        self,
        bbox: Any,
        mip: Mip | None = None,
        parallel: Parallel = None,
        segids: int | Iterable[int] | None = None,
        *,
        label: int | None = None,
        renumber: Literal[False] = False,
    ) -> VolumeCutout: ...
    @overload
    def download(
        self,
        bbox: Any,
        mip: Mip | None = None,
        parallel: Parallel = None,
        segids: int | Iterable[int] | None = None,
        *,
        renumber: Literal[True],
    ) -> tuple[VolumeCutout, dict[int, int]]: ...
    def download(
        self,
        bbox: Any,
        mip: Mip | None = None,
        parallel: Parallel = None,
        segids: int | Iterable[int] | None = None,
        *,
        label: int | None = None,
        renumber: bool = False,
    ) -> VolumeCutout | tuple[VolumeCutout, dict[int, int]]:
        """Read a Bbox or slices, in voxels of `mip` (the working one where None).

        Of a segmentation may be asked for:

        - `segids`, one id or several: voxels of all others are zero; the BOSS does not even send them.
        - `label`: a mask instead, a cutout of bool, True where a voxel has this label.
        - `renumber=True`: a pair instead, a cutout of uint8, uint16 or uint32, and the map from labels to its
          numbers. 0 stays 0, all others that occur are 1, 2, ... in ascending order; of `segids`, if given.

        Neither a mask nor small numbers take memory for the whole box in the volume's dtype.
        Raises ArgumentError, OutOfBoundsError, EmptyVolumeError, ChunkDecodeError, TooLargeError, StoreError.
        """
        number = self._mip if mip is None else self._number(mip)
        wanted = None if segids is None else checked_segids(segids, self.layer_type)
        if label is None and not renumber:
            return self._read(as_index(bbox), number, parallel, wanted)
        from precomp.volume import labels  # as most volumes are read as they are

        one = labels.checked(label, renumber, segids, self.layer_type)
        io = self._layer.scale(number)
        request, reading = self._request(io, as_index(bbox)), self._reading(io, wanted)
        workers, bar = self._threads(io, request.shape, parallel), self._reading_bar
        if one is not None:
            return self._cutout(labels.mask_of(reading, request, one, workers, bar), io, request, number)
        small, numbers = labels.renumbered(reading, request, workers, bar)
        return self._cutout(small, io, request, number), numbers

    def download_point(
        self, pt: Sequence[float], size: int | Sequence[int] = 256, mip: Mip | None = None
    ) -> VolumeCutout:
        """Read `size` voxels of `mip` around a point given in voxels of mip 0."""
        number = self._mip if mip is None else self._number(mip)
        box = box_around(pt, size, self.mip_resolution(0), self.mip_resolution(number))
        return self.download(box, number)

    def download_to_file(self, path: Any, bbox: Any, mip: Mip | None = None) -> None:
        """Read a box straight into a file, through a memory map: `.npy`, else raw Fortran order bytes.

        The file appears when all of it is there. Raises as `download` does.
        """
        io = self._layer.scale(self._mip if mip is None else self._number(mip))
        request = self._request(io, as_index(bbox))
        with mapped_file(path, request.shape, io.info.dtype) as out:
            self._fetch(io, request, out=out)

    def unique(self, bbox: Any, mip: Mip | None = None, parallel: Parallel = None) -> NDArray[Any]:
        """Return the labels (or values) that the voxels of a box have, as `numpy.unique(vol[box])` does.

        They are an array of one axis and the volume's dtype, ascending, 0 among them where it occurs. Chunks
        are read one by one, so that any box will do. Of those that lie in it as a whole
        `compressed_segmentation`, `compresso` and `crackle` tell the labels without making voxels. Raises as
        `download` does.
        """
        from precomp.volume import labels

        io = self._layer.scale(self._mip if mip is None else self._number(mip))
        request = self._request(io, as_index(bbox))
        workers = self._threads(io, request.shape, parallel)
        return labels.labels_of(self._reading(io), request, workers, self._reading_bar)

    def scattered_points(
        self,
        points: Any,
        mip: Mip | None = None,
        coord_resolution: Sequence[float] | None = None,
        parallel: Parallel = None,
    ) -> NDArray[Any]:
        """Read single voxels at many points; each chunk is fetched once, however many of them it holds.

        Args:
            points: (n, 3) numbers x, y, z, or one point; voxels of mip 0, as for `download_point`. Fractions
                are cut off. They may come in any order, and again.
            mip: to read from; None is the working one.
            coord_resolution: nm of the voxels that points are given in, where that is not mip 0's:
                `vol.resolution` for voxels of the working mip, (1, 1, 1) for nm.
            parallel: number of threads, as for the volume.

        Returns:
            Shape (n, channel), in the order of the points, in the volume's dtype: what
            `numpy.asarray(vol[:])[x, y, z]` gives.

        Raises ArgumentError, OutOfBoundsError, which names the point (with `bounded=False` it is background),
        and all else as `download` does.
        """
        from precomp.volume import points as many

        number = self._mip if mip is None else self._number(mip)
        io = self._layer.scale(number)
        given = many.as_points(points)
        own = self.mip_resolution(0) if coord_resolution is None else checked_resolution(coord_resolution)
        voxels = many.to_voxels(given, own, self.mip_resolution(number))
        if self._settings.bounded:
            many.check_inside(given, voxels, io.grid)
        workers = self._threads(io, (len(voxels), io.info.num_channels), parallel)
        return many.voxels_at(self._reading(io), voxels, workers, self._reading_bar)
