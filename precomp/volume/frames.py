"""Boxes in the voxels of one mip and of another."""

from typing import Any

from precomp.geometry import Bbox
from precomp.volume.coordinates import convert_box
from precomp.volume.indexing import parse_box
from precomp.volume.properties import Mip, Properties

__all__ = ["Frames"]


class Frames(Properties):
    """The part of CloudVolume that converts boxes. Each mip has coordinates of its own."""

    def bbox_to_mip(self, bbox: Any, mip: Mip, to_mip: Mip) -> Bbox:
        """Return the smallest box of voxels of `to_mip` that covers `bbox`, in voxels of `mip`."""
        box = bbox if isinstance(bbox, Bbox) else self._box(bbox, mip)
        return convert_box(box, self.mip_resolution(mip), self.mip_resolution(to_mip))

    def slices_from_global_coords(self, slices: Any) -> tuple[slice, slice, slice]:
        """Turn slices (or a Bbox) of mip 0 into slices of the working mip; from inside, they stay inside.

        Offset and size of a mip are rounded, so that the last column of mip 0 may have no voxel in it.
        """
        given = slices if isinstance(slices, Bbox) else self._box(slices, 0)
        box = self.bbox_to_mip(given, 0, self._mip)
        inside = self.mip_bounds(0).contains_bbox(given)
        return (box.clamp(self.bounds) if inside else box).to_slices()

    def _box(self, bbox: Any, mip: Mip) -> Bbox:
        bounds = self.mip_bounds(mip)
        return bounds if bbox is None else parse_box(bbox, bounds.minpt, bounds.maxpt, self.num_channels)
