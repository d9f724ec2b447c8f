"""Volumes and meshes of the demo: written, read back, compared."""

import time
from pathlib import Path
from typing import Any

import attrs
import numpy as np
from numpy.typing import NDArray

from precomp.cli.demo.surface import surface
from precomp.errors import StoreError
from precomp.mesh.legacy import encode_fragment, encode_manifest
from precomp.volume import CloudVolume
from precomp.volume.pyramid import downsample

__all__ = ["RoundTrip", "round_trip", "round_trip_meshes"]

_RESOLUTION = (8, 8, 40)  # nm, as sections cut with a diamond knife have it
_FACTOR = (2, 2, 1)
_MAX_MIP = 2
_MESHES = 3


@attrs.frozen
class RoundTrip:
    """A layer that was written and came back the same.

    Attributes:
        volume: opened anew after writing, at mip 0.
        nbytes: of the voxels of all mips.
        write_seconds: for all mips.
        read_seconds: for all mips; the files come from the system's cache.
    """

    volume: CloudVolume
    nbytes: int
    write_seconds: float
    read_seconds: float

    @property
    def write_speed(self) -> float:
        """Megabytes (10**6 bytes) of voxels per second."""
        return self.nbytes / 1e6 / self.write_seconds

    @property
    def read_speed(self) -> float:
        """Megabytes (10**6 bytes) of voxels per second."""
        return self.nbytes / 1e6 / self.read_seconds


def round_trip(cloudpath: str, voxels: NDArray[Any]) -> RoundTrip:
    """Write `voxels` (x, y, z) and coarser mips as a new layer, read all back and compare.

    uint8 becomes an image, all else a segmentation. Raises StoreError where a voxel differs.
    """
    layer_type = "image" if voxels.dtype == np.uint8 else "segmentation"
    mesh = None if layer_type == "image" else "mesh"
    info = CloudVolume.create_new_info(
        num_channels=1,
        layer_type=layer_type,
        data_type=voxels.dtype.name,
        encoding="raw",
        resolution=_RESOLUTION,
        voxel_offset=(0, 0, 0),
        volume_size=voxels.shape,
        mesh=mesh,
        chunk_size=(128, 128, 64),
        max_mip=_MAX_MIP,
        factor=_FACTOR,
    )
    vol = CloudVolume(cloudpath, info=info, provenance={"description": "made up by `precomp demo`"})
    vol.commit_info()
    vol.commit_provenance()
    levels = [voxels[..., np.newaxis]]
    for mip in vol.available_mips[1:]:
        levels.append(downsample(levels[-1], _FACTOR, (0, 0, 0), vol.mip_volume_size(mip), layer_type))

    start = time.perf_counter()
    for vol.mip, level in enumerate(levels):
        vol[...] = level
    written = time.perf_counter()
    vol = CloudVolume(cloudpath)
    seconds = 0.0
    for mip, level in enumerate(levels):
        begin = time.perf_counter()
        found = vol.download(vol.mip_bounds(mip), mip)
        seconds += time.perf_counter() - begin
        _compare(f"{cloudpath} mip {mip}", found, level)
    return RoundTrip(vol, sum(level.nbytes for level in levels), written - start, seconds)


def _compare(name: str, found: NDArray[Any], written: NDArray[Any]) -> None:
    if found.shape != written.shape or found.dtype != written.dtype:
        raise StoreError(
            f"{name}: wrote {written.dtype} {written.shape}, read back {found.dtype} {found.shape}"
        )
    different = np.asarray(found) != written
    if different.any():
        place = tuple(np.argwhere(different)[0].tolist())
        raise StoreError(
            f"{name}: {np.count_nonzero(different)} of {different.size} values came back changed, first "
            f"{place}: wrote {written[place]}, read {found[place]}; check the disk, then report this"
        )


def round_trip_meshes(vol: CloudVolume, folder: Path) -> list[int]:
    """Mesh the largest segments of the coarsest mip, write them to `folder`, read them back, compare.

    Returns the segments. Raises StoreError where a mesh differs.
    """
    mip = vol.available_mips[-1]
    labels = np.asarray(vol.download(vol.mip_bounds(mip), mip))[..., 0]
    sizes = np.bincount(labels.ravel(order="K"))
    sizes[0] = 0
    segids = [int(segid) for segid in np.argsort(sizes)[: -_MESHES - 1 : -1] if sizes[segid]]
    folder.mkdir()
    (folder / "info").write_text('{"@type": "neuroglancer_legacy_mesh"}')
    for segid in segids:
        mesh = surface(labels == segid, vol.mip_resolution(mip), vol.mip_voxel_offset(mip), segid)
        (folder / f"{segid}:0").write_bytes(encode_manifest([f"{segid}:0:0"]))
        (folder / f"{segid}:0:0").write_bytes(encode_fragment(mesh))
        if vol.mesh.get(segid) != mesh:
            raise StoreError(f"{folder}: the mesh of segment {segid} came back changed; check the disk")
    return segids
