"""A new channel for the layer that an info describes, with what it belongs to."""

import attrs

from precomp.errors import InfoError
from precomp.info import VolumeInfo
from precomp_plugins._boss.model import (
    DATA_TYPES,
    LEVELS,
    Channel,
    Experiment,
    Frame,
    Known,
    described,
    hierarchy_of,
)
from precomp_plugins._boss.resources import Resources

__all__ = ["create"]

_TYPES = {"image": "image", "segmentation": "annotation"}


def create(resources: Resources, info: VolumeInfo, frame_name: str | None, t: int | None) -> None:
    """Create what is not there of collection, coordinate frame, experiment and channel.

    What is there is used where it is as `info` says: raises InfoError where it is not, and where the BOSS
    cannot hold such a layer, both before anything is created.
    """
    place = resources.place
    wanted = _wanted(place, info, t)
    name = frame_name or "_".join(resources.names[:2])
    experiment = resources.get_experiment()
    frame = resources.get_frame(name if experiment is None else experiment.coord_frame)
    channel = None if experiment is None else resources.get_channel()
    found = Known(channel or wanted.channel, experiment or wanted.experiment, frame or wanted.frame)
    _compare(place, wanted, found)
    if experiment is None:
        if not resources.get_collection():
            resources.make_collection()
        if frame is None:
            resources.make_frame(name, _fields(wanted.frame))
        fields = {**_fields(wanted.experiment), "coord_frame": name}
        resources.make_experiment({**fields, "time_step": 0, "time_step_unit": "seconds"})
    if channel is None:
        resources.make_channel(_fields(wanted.channel))
    _compare(place, wanted, resources.known())  # somebody else may have been quicker


def _wanted(place: str, info: VolumeInfo, t: int | None) -> Known:
    """What the BOSS would tell of such a channel. Raises InfoError where it cannot have one."""
    base = info.scales[0]
    data_type = info.data_type.lower()
    if data_type not in DATA_TYPES:
        raise InfoError(
            f"{place}: the BOSS holds {', '.join(DATA_TYPES)}, not {data_type}; convert the voxels"
        )
    if info.num_channels != 1:
        raise InfoError(
            f"{place}: a channel of the BOSS holds one value a voxel, not {info.num_channels}; "
            "make a channel of each"
        )
    if min(base.offset) < 0:
        raise InfoError(f"{place}: the BOSS has no negative coordinates, the volume starts at {base.offset}")
    if len(info.scales) > LEVELS:
        raise InfoError(f"{place}: the BOSS has {LEVELS} levels at most, the info {len(info.scales)} scales")
    (x0, y0, z0), (nx, ny, nz), (x, y, z) = base.offset, base.size, base.resolution
    frame = Frame(x0, x0 + nx, y0, y0 + ny, z0, z0 + nz, x, y, z, "nanometers")
    method = hierarchy_of(info, place)
    experiment = Experiment("", len(info.scales), method, 1 if t is None else t + 1)  # type: ignore[arg-type]
    return Known(Channel(_TYPES[info.type], data_type), experiment, frame)  # type: ignore[arg-type]


def _compare(place: str, wanted: Known, found: Known) -> None:
    """Raise InfoError where there is a layer, or an experiment or frame for it, that is another one."""
    old, new = described(found), described(wanted)
    count = len(new["scales"])
    wrong = [f"{key}: {old[key]}, not {new[key]}" for key in ("type", "data_type") if old[key] != new[key]]
    wrong += [
        f"{key}: {old['scales'][0][key]}, not {new['scales'][0][key]}"
        for key in ("resolution", "voxel_offset", "size")
        if old["scales"][0][key] != new["scales"][0][key]
    ]
    resolutions = [[scale["resolution"] for scale in info["scales"][:count]] for info in (old, new)]
    if resolutions[0] != resolutions[1] and not wrong:
        wrong.append(f"resolutions: {resolutions[0]}, not {resolutions[1]}")
    if found.experiment.num_time_samples < wanted.experiment.num_time_samples:
        there, needed = found.experiment.num_time_samples, wanted.experiment.num_time_samples
        wrong.append(f"time samples: {there}, not {needed}")
    if wrong:
        raise InfoError(
            f"{place}: the BOSS has an experiment, coordinate frame or channel of this name already, with "
            f"{'; '.join(wrong)}; choose other names (the option coord_frame names the frame), or make the "
            "info fit"
        )


def _fields(record: Frame | Experiment | Channel) -> dict[str, object]:
    return attrs.asdict(record, filter=lambda field, _: field.name != "extra")
