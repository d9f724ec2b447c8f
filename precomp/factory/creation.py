"""Layers that do not exist yet: the tables `[volumes.NAME.create]`."""

from collections.abc import Iterable, Mapping
from typing import Any

import attrs

from precomp.create import create_new_info
from precomp.errors import (
    ArgumentError,
    ConfigError,
    InfoError,
    InfoNotFoundError,
    PluginConflictError,
    UnknownEncodingError,
)
from precomp.factory.findings import Absent, Findings, Layered, joined
from precomp.factory.tables import CreateTable
from precomp.info import VolumeInfo
from precomp.interfaces import CloudPath
from precomp.jsonio import structure
from precomp.plugins import Registry
from precomp.volume import CloudVolume
from precomp.volume.check import check_scale, warn_unviewable
from precomp.volume.layer import Layer
from precomp.volume.options import Options

__all__ = ["check_create", "open_or_create"]

_STORAGE = ("encoding", "chunk_size")


def check_create(
    tables: Iterable[tuple[str, Mapping[str, Any]]],
    registry: Registry,
    findings: Findings,
    absent: list[Absent],
) -> dict[str, Any] | None:
    """Return the given arguments of `create_new_info`; None where there are none or problems were noted.

    `tables`: those of a volume, each with its place, the last one on top.
    """
    layered: Layered | None = None
    place = ""
    for owner, table in tables:
        place = joined(owner, ".create")
        own = table.get("create", {})
        if own is None:
            layered = None  # what it inherits is not wanted
        elif "create" in table and isinstance(own, Mapping):
            layered = (layered or Layered(place)).over(place, own)
    if layered is None:
        return None
    layered = attrs.evolve(layered, place=place)
    record = layered.structure(CreateTable, findings)
    if record is None:
        return None
    given = {key: getattr(record, key) for key in layered.values}
    try:
        info = structure(create_new_info(**given), VolumeInfo, "info")
        registry.codec(info.scales[0].encoding_name)
        check_scale(registry, info, 0, "create")
    except ArgumentError as error:
        name, _, text = str(error).partition(": ")
        findings.add(layered.place_of(f".{name}"), text)
    except InfoError as error:
        text = str(error).removeprefix("create: info.scales[0].encoding: ")
        findings.add(layered.place_of(".encoding"), text)
    except (UnknownEncodingError, PluginConflictError) as error:
        absent.append(findings.absent(layered.place_of(".encoding"), error))
    return given


def open_or_create(
    path: CloudPath, given: Mapping[str, Any], place: str, registry: Registry, arguments: Mapping[str, Any]
) -> CloudVolume:
    """Open a layer, or make it where there is none.

    Args:
        path: of the layer.
        given: arguments of `create_new_info`.
        place: of the volume in the config, for errors.
        registry: the plugins to use.
        arguments: of CloudVolume.

    Raises ConfigError where there is a layer, and it is not what `given` says.
    """
    info = create_new_info(**given)
    model = structure(info, VolumeInfo, "info")
    found = _opened(path, registry, arguments)
    if found is not None:
        stored = found._layer.boxes is None  # a service of boxes does not care how voxels would be stored
        _check_same(found, _unchanging(model), [key for key in given if stored or key not in _STORAGE], place)
        return found
    warn_unviewable(check_scale(registry, model, 0, place))
    vol = CloudVolume(str(path), info=info, create=True, registry=registry, **arguments)
    vol.commit_info()
    return vol


def _opened(path: CloudPath, registry: Registry, arguments: Mapping[str, Any]) -> CloudVolume | None:
    """Open a layer; None where there is none."""
    try:
        return CloudVolume(str(path), registry=registry, **arguments)
    except InfoNotFoundError:
        layer = Layer(path, registry, Options(path.scheme, arguments["options"]))
        if layer.boxes is not None or layer.objects().store.stat("info") is None:
            return None
    # Somebody has just made it, or it redirects to nowhere, which is told now.
    return CloudVolume(str(path), registry=registry, **arguments)


def _check_same(vol: CloudVolume, wanted: Mapping[str, Any], given: Iterable[str], place: str) -> None:
    """Compare what never changes in the life of a layer: the type of its voxels and the grid of mip 0."""
    found = _unchanging(vol.metadata)
    wrong = [
        f"{key} is {found[key]!r} there and {wanted[key]!r} here"
        for key in given
        if key in found and found[key] != wanted[key]
    ]
    if wrong:
        raise ConfigError(
            f"{joined(place, '.create')}: the layer {vol.cloudpath} exists and is another one: "
            f"{', '.join(wrong)}; correct what is here, or choose another cloudpath"
        )


def _unchanging(info: VolumeInfo) -> dict[str, Any]:
    base = info.scales[0]
    return {
        "num_channels": info.num_channels,
        "layer_type": info.type,
        "data_type": info.data_type.lower(),
        "encoding": base.encoding_name,
        "resolution": base.resolution,
        "voxel_offset": base.offset,
        "volume_size": base.size,
        "chunk_size": base.chunk_size,
    }
