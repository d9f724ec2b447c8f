"""A layer: its place, its stores, its info and provenance files, and the I/O of its scales."""

from typing import Any

from precomp import jsonio, url
from precomp.engine.boxes import Boxes
from precomp.engine.cache import ChunkCache
from precomp.engine.objects import Objects
from precomp.errors import (
    ChunkDecodeError,
    InfoError,
    InfoNotFoundError,
    ReadOnlyError,
    UnknownProtocolError,
    UnsupportedError,
)
from precomp.grid import ChunkGrid
from precomp.hookspecs import ProtocolPlugin
from precomp.info import VolumeInfo
from precomp.interfaces import CloudPath, SupportsCutout
from precomp.plugins import Registry
from precomp.provenance import Provenance
from precomp.volume import services
from precomp.volume.box_io import BoxIO
from precomp.volume.caching import Caching
from precomp.volume.check import check_creatable, check_scale, warn_old_type
from precomp.volume.copies import Copies, origin_of
from precomp.volume.document import InfoDocument
from precomp.volume.options import Options
from precomp.volume.redirects import redirected
from precomp.volume.scale_io import ScaleIO
from precomp.volume.settings import Settings, check_compress

__all__ = ["Layer"]

_MAX_DOCUMENT = 16 * 2**20  # bytes; a real info has some kilobytes, parsed it takes up to 30 times as much
_MAX_REDIRECTS = 10


class Layer:
    """The place of a layer and everything that is opened there. Opens nothing until asked."""

    _indices: Any = None  # of shards, an IndexCache

    def __init__(
        self, path: CloudPath, registry: Registry, options: Options | None = None, *, create: bool = False
    ) -> None:
        """`options` are those of one scheme; they come before those of the registry.

        `create`: whether `commit_info` may create the layer at a service of boxes.
        """
        self.path = path
        self.registry = registry
        try:
            self.protocol: ProtocolPlugin = registry.protocol(path.scheme)
        except UnknownProtocolError as error:
            raise UnknownProtocolError(f"{path}: {error}") from error
        self._given = Options(path.scheme) if options is None else options
        self._options = {path.scheme: self._given.structured(path.scheme, registry)}
        self._create = create
        self._opened: dict[CloudPath, Objects | Boxes] = {}
        self._scales: dict[int, ScaleIO | BoxIO] = {}
        self._document: InfoDocument | None = None
        self._provenance: Provenance | None = None
        self._fetched = False
        self.cache = ChunkCache()
        self._copies = Copies(registry, Caching())

    def __getstate__(self) -> dict[str, Any]:
        """Travel without what is opened, and without secrets; stores belong to a process."""
        return {
            "path": self.path,
            "registry": self.registry,
            "_given": self._given,
            "_create": self._create,
            "_document": self._document,
            "_provenance": self._provenance,
            "_fetched": self._fetched,
            "_cache_limit": self.cache.limit,
            "_caching": self.caching,
        }

    def __setstate__(self, state: dict[str, Any]) -> None:
        """Open anew in this process."""
        limit, caching = state.pop("_cache_limit"), state.pop("_caching")
        self.__dict__.update(state, _options={}, _opened={}, _scales={}, cache=ChunkCache(limit))
        self.protocol = self.registry.protocol(self.path.scheme)
        self._copies = Copies(self.registry, caching)

    @property
    def caching(self) -> Caching:
        """Whether and where copies of objects are kept on the local disk. To set it opens all stores anew."""
        return self._copies.caching

    @caching.setter
    def caching(self, value: Caching) -> None:
        self._copies = Copies(self.registry, value)
        self._scales.clear()

    def objects(self, path: CloudPath | None = None) -> Objects:
        """Return the objects of this layer's folder, or of another folder.

        Raises UnsupportedError where a service has boxes instead.
        """
        return self._copies.objects(self.path if path is None else path, self.path, self._remote)

    def origin(self, path: CloudPath) -> str:
        """What tells services apart that serve one cloudpath; empty for the usual one."""
        return origin_of(self._remote(path))

    @property
    def boxes(self) -> Boxes | None:
        """The service that has the layer in boxes; None where it is in objects."""
        found = self._place(self.path)
        return found if isinstance(found, Boxes) else None

    def check_settings(self, settings: Settings) -> None:
        """Raise UnsupportedError or another for settings without sense; what is not open yet stays so."""
        check_compress(settings.compress, self.registry)
        if isinstance(self._opened.get(self.path), Boxes):
            services.check_settings(self.path, settings)

    def _remote(self, path: CloudPath) -> Objects:
        """The objects where they come from."""
        if isinstance(found := self._place(path), Boxes):
            raise UnsupportedError(services.no_files(path))
        return found

    def _place(self, path: CloudPath) -> Objects | Boxes:
        found = self._opened.get(path)
        if found is None:
            found = self._opened.setdefault(path, self._open(path))
        return found

    def _open(self, path: CloudPath) -> Objects | Boxes:
        if path.scheme not in self._options:
            self._options[path.scheme] = self._given.structured(path.scheme, self.registry)
        store = self.registry.make("protocol", path.scheme, path, self._options[path.scheme], place=str(path))
        # hasattr first: to ask isinstance for a Protocol takes as long as to read a small info.
        if hasattr(store, "read_box") and isinstance(store, SupportsCutout):
            return Boxes(store, str(path))
        set_suffixes = getattr(store, "set_suffixes", None)  # of a UsesSuffixes, likewise
        if set_suffixes is not None:
            set_suffixes(self.registry.suffixes)
        return Objects(store, self.registry.compressor, str(path))

    def workers(self, *places: services.HasWorkers) -> int | None:
        """How many threads these places would have; None where none of them has latency."""
        known = [found for one in places if (found := one.workers) is not None]
        return max(known, default=self.protocol.workers)

    @property
    def document(self) -> InfoDocument:
        """The info; fetched on first use. Raises InfoNotFoundError, InfoError, StoreError."""
        if self._document is None:
            self.refresh_info()
        assert self._document is not None
        return self._document

    def set_info(self, raw: Any) -> None:
        """Take a copy of `raw` for the info, without saving it. Raises InfoError."""
        raw = jsonio.unstructure(raw) if isinstance(raw, VolumeInfo) else raw
        self._document = InfoDocument.copy_of(raw, f"{self.path}/info")
        self._scales.clear()
        self._fetched = False

    def refresh_info(self) -> None:
        """Fetch the info anew and follow redirects; the layer moves to where they end."""
        path, seen = self.path, [self.path]
        while True:
            try:
                data = self._fetch_info(path)
                raw = jsonio.loads(data, f"{path}/info")
            except (InfoNotFoundError, InfoError) as error:
                if path is self.path:
                    raise
                raise type(error)(f"{error}\n{self.path}/info redirects there: correct it") from error
            target = raw.get("redirect") if isinstance(raw, dict) else None
            if not target:
                break
            path = redirected(path, target, self.registry)
            trail = " -> ".join(str(place) for place in [*seen, path])
            if path in seen:
                raise InfoError(f"{self.path}/info: its redirects form a cycle: {trail}; break it")
            if len(seen) > _MAX_REDIRECTS:
                raise InfoError(f"{self.path}/info: more than {_MAX_REDIRECTS} redirects: {trail}")
            seen.append(path)
        self._document = InfoDocument.of_json(raw, data, f"{path}/info")
        self.path, self.protocol = path, self.registry.protocol(path.scheme)
        self._scales.clear()
        self._fetched = True
        if self.caching.where and self.boxes is None:
            from precomp.volume.disk_cache import keep_info

            keep_info(self.path, data, self.objects)
        warn_old_type(self._document.model(), self._document.name)

    def commit_info(self, draft: InfoDocument | None = None) -> None:
        """Save the info, or a draft of another, having checked all of it.

        At a service of boxes it creates the layer, where that was allowed and the info did not come from
        there. Raises InfoError, UnknownEncodingError, StoreError, ReadOnlyError, UnsupportedError.
        """
        document = self.document if draft is None else draft
        info = document.checked()
        if (boxes := self.boxes) is not None:
            services.check_create(self.path, info, fetched=self._fetched, allowed=self._create)
            boxes.service.create(document.raw)
            self.refresh_info()
            return
        for mip in range(len(info.scales)):
            check_scale(self.registry, info, mip, document.name)
            url.resolve(self.path, info.scales[mip].key)
        for what in ("mesh", "skeletons", "segment_properties"):
            if folder := getattr(info, what):
                url.resolve(self.path, folder, f"info.{what}")
        if not self._fetched:
            check_creatable(info, document.name)
        self._save("info", jsonio.dumps(document.raw, "info"))

    @property
    def provenance(self) -> Provenance:
        """The provenance; fetched on first use, empty where there is no such file."""
        if self._provenance is None:
            self.refresh_provenance()
        assert self._provenance is not None
        return self._provenance

    def set_provenance(self, value: Any) -> None:
        """Take a Provenance, a dict or JSON text, without saving it. Raises InfoError."""
        self._provenance = jsonio.provenance(value, f"{self.path}/provenance")

    def refresh_provenance(self) -> None:
        """Fetch the provenance anew."""
        data = self._read(self.path, "provenance") if self.boxes is None else None
        self.set_provenance({} if data is None else data)
        if data is not None and self.caching.where:
            from precomp.volume.disk_cache import keep_provenance

            keep_provenance(data, self.objects())

    def commit_provenance(self) -> None:
        """Save the provenance, having checked it. Raises UnsupportedError where a service keeps none."""
        if self.boxes is not None:
            raise UnsupportedError(services.no_provenance(self.path))
        checked = jsonio.provenance(self.provenance, f"{self.path}/provenance")
        self._save("provenance", checked.serialize().encode())

    def scale(self, mip: int) -> ScaleIO | BoxIO:
        """Return the I/O of one scale. Raises ScaleNotFoundError, InfoError, UnsupportedError."""
        info = self.document.model_at(mip)
        found = self._scales.get(mip)
        if found is None or found.info is not info:
            found = self._scales[mip] = self._open_scale(info, mip)
        return found

    def check_writable(self) -> None:
        """Raise ReadOnlyError where nothing can be written; before a chunk is read to be written in part."""
        if self.protocol.read_only:
            raise ReadOnlyError(
                f"{self.path}: {self.path.scheme} is read only, and nothing was sent; open the layer by the "
                "protocol of its store"
            )

    def _open_scale(self, info: VolumeInfo, mip: int) -> ScaleIO | BoxIO:
        scale = info.scales[mip]
        if (boxes := self.boxes) is not None:
            return BoxIO(info, mip, boxes)
        place, folder = url.resolve(self.path, scale.key)
        grid = ChunkGrid.of(scale, folder)  # the store's name for the scale's key
        objects, shards = self.objects(place), None
        if scale.sharding is not None:
            from precomp.volume.sharded import open_shards  # most volumes have no use for it

            shards = open_shards(self._remote(place), info, mip, grid, self.document.name, self._indices)
            self._indices = shards.reader.cache
            objects = self._copies.of_shards(place, self.path, self._remote(place), shards)
        return ScaleIO(self.registry, self.document.name, info, mip, grid, objects, self.cache, shards)

    def _fetch_info(self, path: CloudPath) -> bytes:
        place = self._place(path)
        if isinstance(place, Boxes):
            return jsonio.dumps(place.service.read_info(), "info")
        data = self._read(path, "info")
        if data is None:
            raise InfoNotFoundError(
                f"{path}/info: there is no info file, so there is no layer here; check the path, or create "
                "the layer with CloudVolume(path, info=CloudVolume.create_new_info(...)).commit_info()"
            )
        return data

    def _read(self, path: CloudPath, key: str) -> bytes | None:
        try:
            data = self._remote(path).read(key, _MAX_DOCUMENT)  # a copy of it would make all else wrong
        except ChunkDecodeError as error:
            raise InfoError(str(error)) from error
        return None if data is None else bytes(data)

    def _save(self, key: str, data: bytes) -> None:
        self.objects().write(key, data, content_type="application/json", cache_control="no-cache")
