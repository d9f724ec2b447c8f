"""What `vol.mesh` returns: the meshes of a layer, fetched, merged and saved."""

import operator
import os
from collections.abc import Callable, Iterable
from concurrent.futures import ThreadPoolExecutor
from functools import cached_property
from itertools import chain
from typing import Any, Literal, SupportsIndex, TypeAlias, TypeVar, overload

import attrs

from precomp.engine.objects import Objects
from precomp.errors import (
    ArgumentError,
    ChunkDecodeError,
    MeshError,
    PrecompError,
    StoreError,
    UnsupportedError,
)
from precomp.files import replace_file
from precomp.interfaces import Buffer, MeshExporter
from precomp.jsonio import loads
from precomp.mesh.legacy import decode_fragment, decode_manifest
from precomp.mesh.model import Mesh
from precomp.plugins import Registry

__all__ = ["Meshes", "SegmentIds"]

SegmentIds: TypeAlias = SupportsIndex | Iterable[SupportsIndex]
"""One segment or several: Python or numpy integers from 0 to 2**64 - 1."""

_MULTIRESOLUTION = "neuroglancer_multilod_draco"

_Item = TypeVar("_Item")
_Result = TypeVar("_Result")


@attrs.frozen
class Meshes:
    """The legacy meshes of one layer.

    Attributes:
        objects: the layer's store and compressors; a `repr` shows their place.
        folder: the mesh folder, relative to the layer, without slashes at its ends; '' is the
            layer's own folder, None a layer without meshes.
        registry: the plugins, of which the file formats are taken.
        workers: how many manifests or fragments are fetched at a time.
    """

    objects: Objects = attrs.field(repr=lambda objects: repr(objects.place))
    folder: str | None
    registry: Registry = attrs.field(repr=False)
    workers: int = 1

    @overload
    def get(self, segids: SegmentIds, fuse: Literal[True] = True) -> Mesh: ...
    @overload
    def get(self, segids: SegmentIds, fuse: Literal[False]) -> dict[int, Mesh]: ...
    @overload
    def get(self, segids: SegmentIds, fuse: bool) -> Mesh | dict[int, Mesh]: ...
    def get(self, segids: SegmentIds, fuse: bool = True) -> Mesh | dict[int, Mesh]:
        """Return the mesh of one segment, or one merged mesh of several; a repeated id counts once.

        With `fuse=False` it is a dict from segment id to its mesh instead. Fragments and segments
        follow each other in the order given. Vertices that fragments share at their seams are kept
        in each. A manifest that lists no fragment gives an empty mesh.

        Raises ArgumentError for what is no segment id, MeshError, naming segment and key, where a
        manifest or fragment is absent or damaged, StoreError, naming the segment too, where it cannot
        be fetched, and UnsupportedError for multi-resolution meshes.
        """
        parts = self._fetch(_segment_ids(segids))
        if fuse:
            return _fused(parts)
        return {segid: Mesh.concatenate(meshes, segid) for segid, meshes in parts.items()}

    def save(
        self,
        segids: SegmentIds,
        filepath: str | os.PathLike[str] | None = None,
        file_format: str = "obj",
    ) -> str:
        """Write one segment, or several merged, to a file and return its path.

        `filepath` None means `./ID.obj`, or `./FIRST_LAST.obj` for several ids, first and last as
        given. An existing directory takes a file of that name; any other path is the file, and the
        format's suffix is added where it lacks. An existing file is replaced, in one step and only
        once the new one is complete.

        Raises as `get` does, UnknownEncodingError for an unknown format, MeshError where its plugin
        fails, ArgumentError where the file's folder does not exist and StoreError where the file cannot
        be written.
        """
        if not isinstance(file_format, str):
            raise ArgumentError(
                f"file_format: expected the name of a format, as 'obj', found {file_format!r}"
            )
        suffix = self.registry.exporter(file_format).suffix
        exporter: MeshExporter = self.registry.make("exporter", file_format)
        ids = _segment_ids(segids)
        target = _target(filepath, ids, suffix)
        mesh = _fused(self._fetch(ids))
        what = f"{target}: the exporter {file_format!r} of {self.registry.origin('exporter', file_format)}"
        _write(target, _exported(exporter, mesh, what))
        return target

    def _fetch(self, ids: list[int]) -> dict[int, list[Mesh]]:
        unique = list(dict.fromkeys(ids))
        wanted = []
        for segid, names in zip(unique, self._map(self._manifest, unique), strict=True):
            if names is None:
                raise self._absent(segid)
            # Old writers list the manifest among its own fragments.
            wanted += [(segid, name) for name in names if name != f"{segid}:0"]
        parts: dict[int, list[Mesh]] = {segid: [] for segid in unique}
        for (segid, _), part in zip(wanted, self._map(self._fragment, wanted), strict=True):
            parts[segid].append(part)
        return parts

    def _map(self, function: Callable[[_Item], _Result], items: list[_Item]) -> list[_Result]:
        workers = min(self.workers, len(items))
        if workers < 2:
            return [function(item) for item in items]
        with ThreadPoolExecutor(workers) as pool:
            return list(pool.map(function, items))

    def _manifest(self, segid: int) -> list[str] | None:
        return self._load(segid, f"{segid}:0", decode_manifest)

    def _fragment(self, wanted: tuple[int, str]) -> Mesh:
        segid, name = wanted
        mesh = self._load(segid, name, decode_fragment)
        if mesh is None:
            raise MeshError(
                f"segment {segid}: {self._key(name)}: the manifest {segid}:0 lists this fragment, "
                "but there is none; mesh the segment again"
            )
        return mesh

    def _load(self, segid: int, name: str, decode: Callable[[Buffer, str], _Result]) -> _Result | None:
        key = self._key(name)
        try:
            data = self._read(key)
        except ChunkDecodeError as error:
            raise MeshError(f"segment {segid}: {error}") from error
        except StoreError as error:
            raise StoreError(f"segment {segid}: {error}") from error
        return None if data is None else decode(data, f"segment {segid}: {key}")

    def _read(self, key: str) -> Buffer | None:
        blob = self.objects.store.get(key)
        if blob is None:
            return None
        # Meshes compress 2 to 10 times; what claims far more is a bomb.
        return self.objects.plain(key, blob, 64 * len(blob.data) + 2**24)

    def _key(self, name: str) -> str:
        if self.folder is None:
            raise MeshError(
                'this layer has no mesh folder; expected its info to name one, as in "mesh": "mesh": '
                "add the field if there are meshes"
            )
        return f"{self.folder}/{name}" if self.folder else name

    def _absent(self, segid: int) -> PrecompError:
        key = self._key(f"{segid}:0")
        if self._multiresolution:
            return UnsupportedError(
                f"segment {segid}: there is no legacy manifest {key}, and {self._key('info')} says "
                f"{_MULTIRESOLUTION}; multi-resolution meshes are not read by this version"
            )
        return MeshError(
            f"segment {segid}: there is no manifest {key}; check the id, or mesh the segment first"
        )

    @cached_property
    def _multiresolution(self) -> bool:
        key = self._key("info")
        try:
            info = loads(bytes(self._read(key) or b"{}"), key, MeshError)
        except (ChunkDecodeError, MeshError):
            return False  # the absent manifest is the error to report, not this optional file
        return isinstance(info, dict) and info.get("@type") == _MULTIRESOLUTION


def _segment_ids(segids: SegmentIds) -> list[int]:
    items: list[Any]
    try:
        items = [segids] if isinstance(segids, str | bytes) else list(segids)  # type: ignore[arg-type]
    except TypeError:  # one id, a numpy array without axes included
        items = [segids]
    if not items:
        raise ArgumentError(
            "segids: expected at least one segment id, found none; pass an id or a list of ids"
        )
    return [_segment_id(item) for item in items]


def _segment_id(value: Any) -> int:
    try:
        segid = -1 if isinstance(value, bool) else operator.index(value)
    except TypeError:
        segid = -1
    if not 0 <= segid < 2**64:
        raise ArgumentError(
            f"segids: expected integers from 0 to 2**64 - 1, found {value!r}; pass an int or a list of ints"
        )
    return segid


def _fused(parts: dict[int, list[Mesh]]) -> Mesh:
    segid = next(iter(parts)) if len(parts) == 1 else None
    return Mesh.concatenate(chain.from_iterable(parts.values()), segid)


def _exported(exporter: MeshExporter, mesh: Mesh, what: str) -> Buffer:
    try:
        content = exporter.export(mesh)
    except PrecompError:
        raise
    except Exception as error:  # a plugin's exporter may raise anything
        raise MeshError(f"{what} failed ({error}); report it to the authors of the plugin") from error
    if not isinstance(content, (bytes, bytearray, memoryview)):
        raise MeshError(
            f"{what} returned {type(content).__name__}, expected bytes; report it to the plugin's authors"
        )
    return content


def _target(filepath: str | os.PathLike[str] | None, ids: list[int], suffix: str) -> str:
    name = f"{ids[0]}{suffix}" if len(ids) == 1 else f"{ids[0]}_{ids[-1]}{suffix}"
    if filepath is None:
        return os.path.join(".", name)
    try:
        path = os.fsdecode(filepath)
    except TypeError as error:
        raise ArgumentError(f"filepath: expected a path, found {filepath!r}; pass text or a Path") from error
    if not path:
        raise ArgumentError("filepath: expected a path, found ''; None means one named after the segments")
    if os.path.isdir(path):
        return os.path.join(path, name)
    folder = os.path.dirname(path)
    if not os.path.isdir(folder or "."):
        raise ArgumentError(
            f"filepath: expected a file in an existing folder, found {path!r}; create {folder!r}"
        )
    return path if path.lower().endswith(suffix.lower()) else path + suffix


def _write(target: str, content: Buffer) -> None:
    try:
        replace_file(target, content)
    except (OSError, ValueError) as error:  # ValueError: NUL in the name
        raise StoreError(f"{target}: could not write the mesh ({error}); nothing was left there") from error
