"""CloudVolume: a Precomputed layer as something to index. A facade; it handles no bytes."""

from collections.abc import Mapping, Sequence
from typing import Any, Unpack

from numpy.typing import ArrayLike

from precomp import create, plugins, url
from precomp.errors import PrecompError
from precomp.interfaces import CloudPath
from precomp.plugins import Registry
from precomp.volume.caching import CACHE_BYTES
from precomp.volume.check import check_scale, warn_unviewable
from precomp.volume.document import InfoDocument
from precomp.volume.documents import Documents
from precomp.volume.downloads import Downloads
from precomp.volume.layer import Layer
from precomp.volume.options import Options, Secrets, take_user
from precomp.volume.properties import Mip
from precomp.volume.segments import Segments
from precomp.volume.settings import Cache, CdnCache, Compress, Parallel, Settings, checked_create

__all__ = ["CloudVolume"]


class CloudVolume(Downloads, Documents, Segments):
    """A Neuroglancer Precomputed layer, indexed with absolute voxel coordinates.

    `vol[x, y, z]` gives a VolumeCutout of shape (x, y, z, channel), Fortran order, in the volume's dtype;
    `vol[x, y, z] = array` stores one.

    >>> from precomp import CloudVolume
    >>> info = CloudVolume.create_new_info(1, "image", "uint8", "raw", (8, 8, 40), (0, 0, 0), (128, 128, 64))
    >>> vol = CloudVolume("mem://bucket/dataset/image", info=info)
    >>> vol.commit_info()
    >>> vol[0:64, 0:64, 0:64] = 7
    >>> vol[10:12, 20:22, 5].shape
    (2, 2, 1, 1)

    Args:
        cloudpath: `gs://bucket/dataset/layer`, `file:///folder/dataset/layer`, a local path, ...
        mip: level to read from and write to, 0 is the finest; or a resolution such as (8, 8, 40).
        bounded: outside the volume, True raises OutOfBoundsError and False reads background.
        fill_missing: a chunk that is not stored: True reads background, False raises EmptyVolumeError.
            Never hides a broken chunk or a failed request.
        info: makes a new layer of this info; nothing is fetched, or written before `commit_info()`.
        provenance: a dict or JSON text for the new layer.
        autocrop: cut requests, and arrays to be written, down to the volume's bounds.
        background_color: what stands for background.
        non_aligned_writes: allow writes off the chunk grid. They read, change and write the chunks at
            the edge under a lock, or on the condition that nobody wrote in between.
        delete_black_uploads: delete whole chunks that are all background instead of storing them.
        progress: True shows bars, False none; None shows them for long work on a terminal.
        compress: None is the protocol's default, False or '' none, True gzip, or 'gzip', 'br', 'zstd'.
        cdn_cache: Cache-Control of the chunks: False no-cache, True an hour, N seconds, or the text.
        parallel: number of worker threads, True for one per core, None for what suits the protocol.
        lru_bytes: how many bytes of decoded chunks to keep in memory; what others write is then not seen.
        cache: keep copies of stored objects on the local disk: True in the default folder, or a folder.
        cache_bytes: how many bytes of them; the least recently used are dropped. None for any number.
        cache_validate: compare the version of a copy with the store's each time before it is used.
        create: `commit_info()` may create the layer, at a service that keeps no info files (the BOSS).
        options: of the protocol, `{"fsync": True}` for file.
        secrets: what to log in with, a dict of a secret file's fields or its path; short for
            `options={"secrets": ...}`. None: they are looked for in the usual places.
        registry: the plugins to use; None is all that are installed.

    Raises:
        InfoNotFoundError: there is no layer.
        InfoError: its info breaks the format.
        ScaleNotFoundError: there is no such mip.
        CloudPathError, UnknownProtocolError: the path is none, or nothing serves it.
    """

    __iter__ = None  # an index is a coordinate: there is no first element to start from

    def __init__(
        self,
        cloudpath: Any,
        mip: Mip = 0,
        bounded: bool = True,
        fill_missing: bool = False,
        info: Mapping[str, Any] | None = None,
        *,
        provenance: Mapping[str, Any] | str | None = None,
        autocrop: bool = False,
        background_color: int | float = 0,
        non_aligned_writes: bool = False,
        delete_black_uploads: bool = False,
        progress: bool | None = None,
        compress: Compress = None,
        cdn_cache: CdnCache = False,
        parallel: Parallel = None,
        lru_bytes: int = 0,
        cache: Cache = False,
        cache_bytes: int | None = CACHE_BYTES,
        cache_validate: bool = False,
        create: bool = False,
        options: Mapping[str, Any] | None = None,
        secrets: Secrets = None,
        registry: Registry | None = None,
    ) -> None:
        self._mip = 0
        self._settings = Settings(
            bounded=bounded,
            fill_missing=fill_missing,
            autocrop=autocrop,
            background_color=background_color,
            non_aligned_writes=non_aligned_writes,
            delete_black_uploads=delete_black_uploads,
            progress=progress,
            compress=compress,
            cdn_cache=cdn_cache,
            parallel=parallel,
            lru_bytes=lru_bytes,
            cache=cache,
            cache_bytes=cache_bytes,
            cache_validate=cache_validate,
        )
        path, options = take_user(url.parse(cloudpath), options)
        plugins_used = plugins.chosen(registry)
        self._options = Options.given(path.scheme, options, secrets)
        self._create = checked_create(create, info)
        self._open(path, plugins_used, info, provenance)
        self.mip = mip

    def _open(self, path: CloudPath, registry: Registry, info: Any = None, provenance: Any = None) -> None:
        layer, settings = Layer(path, registry, self._options, create=self._create), self._settings
        layer.caching = self._layer.caching if hasattr(self, "_layer") else settings.caching
        if info is None:
            layer.refresh_info()
        else:
            layer.set_info(info)
        if provenance is not None:
            layer.set_provenance(provenance)
        layer.document.model_at(self._mip)
        layer.check_settings(settings)
        layer.cache.resize(self.lru_bytes if hasattr(self, "_layer") else self._settings.lru_bytes)
        self._layer = layer

    def __repr__(self) -> str:
        """Show path, mip, shape and type."""
        try:
            what = f" {self.dtype} {tuple(self.shape)}"
        except PrecompError:  # after a wrong edit of the info; a debugger shows the volume all the same
            what = ""
        return f"CloudVolume({self.cloudpath!r}, mip={self._mip}){what}"

    @property
    def mip(self) -> int:
        """The level read from and written to; 0 is the finest. Also takes a resolution in nm."""
        return self._mip

    @mip.setter
    def mip(self, value: Mip) -> None:
        self._mip = self._number(value)

    @classmethod
    def create_new_info(
        cls,
        num_channels: int,
        layer_type: str,
        data_type: str,
        encoding: str,
        resolution: Sequence[float],
        voxel_offset: Sequence[int],
        volume_size: Sequence[int],
        mesh: str | bool | None = None,
        chunk_size: Sequence[int] = (64, 64, 64),
        max_mip: int = 0,
        factor: Sequence[int] = (2, 2, 1),
        *,
        skeletons: str | bool | None = None,
        compressed_segmentation_block_size: Sequence[int] = (8, 8, 8),
        sharding: Any = None,
        registry: Registry | None = None,
        **settings: Unpack[create.EncodingSettings],
    ) -> dict[str, Any]:
        """Return the info of a new layer as a plain dict; nothing is written.

        Args:
            num_channels: 1 for grey values and labels, 3 for RGB.
            layer_type: `image` or `segmentation`.
            data_type: uint8 int8 uint16 int16 uint32 int32 uint64 or float32.
            encoding: of the chunks: `raw`, `jpeg`, `npz`, ...
            resolution: size of a voxel in nm, x, y, z.
            voxel_offset: coordinates of the first voxel; may be negative.
            volume_size: in voxels of mip 0.
            mesh: folder of the meshes; True is `mesh`.
            chunk_size: of a stored chunk, in voxels.
            max_mip: how many coarser scales to add.
            factor: how much coarser each is than the one before, x, y, z.
            skeletons: folder of the skeletons; True is `skeletons`.
            compressed_segmentation_block_size: used by that encoding only.
            sharding: True chooses one (see docs/sharding.md); a ShardingSpec, its JSON, or aims.
            registry: the plugins that the encoding is looked for in; None is all that are installed.
            settings: jpeg_quality, png_level, jxl_quality, jxl_effort, jxl_decodingspeed, fpzip_precision,
                zfpc_rate, zfpc_precision, zfpc_tolerance, zfpc_correlated_dims: for those encodings, see
                "Encodings" in the docs.

        Raises ArgumentError, UnknownEncodingError, InfoError. Warns where Neuroglancer cannot show it.
        """
        info = create.create_new_info(
            num_channels,
            layer_type,
            data_type,
            encoding,
            resolution,
            voxel_offset,
            volume_size,
            mesh=mesh,
            skeletons=skeletons,
            chunk_size=chunk_size,
            compressed_segmentation_block_size=compressed_segmentation_block_size,
            max_mip=max_mip,
            factor=factor,
            **settings,
            sharding=sharding,
        )
        model = InfoDocument(info, "create_new_info").model()
        warn_unviewable(check_scale(plugins.chosen(registry), model, 0, "create_new_info"))
        return info

    @classmethod
    def from_numpy(
        cls,
        arr: ArrayLike,
        vol_path: Any,
        resolution: Sequence[float] = (4, 4, 40),
        voxel_offset: Sequence[int] = (0, 0, 0),
        chunk_size: Sequence[int] = (128, 128, 64),
        layer_type: str | None = None,
        max_mip: int = 0,
        encoding: str = "raw",
        compress: Compress = None,
        progress: bool | None = False,
        options: Mapping[str, Any] | None = None,
        secrets: Secrets = None,
        registry: Registry | None = None,
    ) -> "CloudVolume":
        """Make a layer of an array (x, y, z) or (x, y, z, channel), write it and return the volume.

        `layer_type` None means segmentation for uint32 and uint64, image for all others. Coarser mips
        are filled too: means of the voxels of an image, the most frequent label of a segmentation.
        `options` and `secrets` are those of CloudVolume.
        """
        from precomp.volume.pyramid import as_new_layer, fill  # as most volumes are only opened

        voxels, kind = as_new_layer(arr, layer_type)
        info = cls.create_new_info(
            voxels.shape[3],
            kind,
            voxels.dtype.name,
            encoding,
            resolution,
            voxel_offset,
            voxels.shape[:3],
            chunk_size=chunk_size,
            max_mip=max_mip,
            registry=registry,
        )
        opened: dict[str, Any] = {"options": options, "secrets": secrets, "registry": registry}
        vol = cls(vol_path, info=info, compress=compress, progress=progress, create=True, **opened)
        fill(vol, voxels)
        return vol

    @staticmethod
    def extract_path(cloudpath: Any) -> url.ExtractedPath:
        """Take a cloudpath apart: protocol, bucket_name, dataset_name, layer_name.

        Raises CloudPathError, which shows the grammar, and UnknownProtocolError.
        """
        return url.extract_path(cloudpath, plugins.load().schemes)

    def transfer_to(
        self,
        cloudpath: Any,
        bbox: Any = None,
        mip: Mip | None = None,
        compress: Compress = None,
        options: Mapping[str, Any] | None = None,
        secrets: Secrets = None,
    ) -> "CloudVolume":
        """Copy the chunks of a box (None: all) of one mip to another place, and return that volume.

        Where nothing is at `cloudpath`, info and provenance are copied first. Where both scales store
        chunks alike the stored bytes are copied, with the compression that they have unless `compress` is
        given (False: plain); else voxels are read and written, with bounded memory. A chunk missing here
        raises EmptyVolumeError; with fill_missing it is missing there too, or background where voxels are
        written. `options` and `secrets` are the target's. Raises ArgumentError, AlignmentError,
        OutOfBoundsError, ScaleNotFoundError.
        """
        from precomp.volume.transfer import open_or_make, transfer

        number = self._mip if mip is None else self._number(mip)
        box = self._box(bbox, number)
        target, is_new = open_or_make(self, cloudpath, compress, options, secrets)
        target.mip = self.mip_resolution(number)
        transfer(self, number, target, box, recompress=compress is not None, is_new=is_new)
        return target
