"""What the BOSS tells of a channel, as the info of a Precomputed layer.

Sources: the REST API v1 of the BOSS as intern 1.4 speaks it. A level halves x and y, and z too where the
hierarchy is isotropic; its extent rounds up (get_downsampled_extent_dims of its spdb). A channel has the
levels from its base resolution on, as many as its experiment has.
"""

from collections.abc import Mapping
from fractions import Fraction
from typing import Any, Literal

import attrs

from precomp.errors import InfoError, StoreError
from precomp.info import VolumeInfo
from precomp.jsonio import structure

__all__ = [
    "CUBOID",
    "LEVELS",
    "Channel",
    "Experiment",
    "Frame",
    "Known",
    "described",
    "hierarchy_of",
    "parsed",
]

CUBOID = (512, 512, 16)
"""What the BOSS stores voxels in, x, y, z, counted from coordinate 0."""

LEVELS = 10
"""How many there are at most: an address has one digit for the level."""

DATA_TYPES = ("uint8", "uint16", "uint64")
_NANOMETRES = {"nanometers": 1, "micrometers": 10**3, "millimeters": 10**6, "centimeters": 10**7}
_TYPES = {"image": "image", "annotation": "segmentation"}
_STEPS = {"anisotropic": (2, 2, 1), "isotropic": (2, 2, 2)}


@attrs.frozen
class Channel:
    """A channel. Fields are the BOSS's own."""

    type: Literal["image", "annotation"]
    datatype: Literal["uint8", "uint16", "uint64"]
    base_resolution: int = 0
    default_time_sample: int = 0
    extra: Mapping[str, Any] = attrs.field(factory=dict)


@attrs.frozen
class Experiment:
    """An experiment. Fields are the BOSS's own."""

    coord_frame: str
    num_hierarchy_levels: int
    hierarchy_method: Literal["anisotropic", "isotropic"]
    num_time_samples: int = 1
    extra: Mapping[str, Any] = attrs.field(factory=dict)


@attrs.frozen
class Frame:
    """A coordinate frame. Fields are the BOSS's own; stops are exclusive."""

    x_start: int
    x_stop: int
    y_start: int
    y_stop: int
    z_start: int
    z_stop: int
    x_voxel_size: int | float
    y_voxel_size: int | float
    z_voxel_size: int | float
    voxel_unit: Literal["nanometers", "micrometers", "millimeters", "centimeters"]
    extra: Mapping[str, Any] = attrs.field(factory=dict)

    @property
    def start(self) -> tuple[int, int, int]:
        """The first voxel of level 0."""
        return self.x_start, self.y_start, self.z_start

    @property
    def stop(self) -> tuple[int, int, int]:
        """One past the last voxel of level 0."""
        return self.x_stop, self.y_stop, self.z_stop

    @property
    def resolution(self) -> tuple[Fraction, Fraction, Fraction]:
        """Nanometres per voxel of level 0, exactly: 0.1 is a tenth."""
        unit = _NANOMETRES[self.voxel_unit]
        x, y, z = self.x_voxel_size, self.y_voxel_size, self.z_voxel_size
        return Fraction(str(x)) * unit, Fraction(str(y)) * unit, Fraction(str(z)) * unit


@attrs.frozen
class Known:
    """What the BOSS tells of a channel and of what it belongs to."""

    channel: Channel
    experiment: Experiment
    frame: Frame

    def factor(self, mip: int) -> tuple[int, int, int]:
        """How many voxels of level 0 a voxel of `mip` is long."""
        x, y, z = _STEPS[self.experiment.hierarchy_method]
        level = self.channel.base_resolution + mip
        return x**level, y**level, z**level


def parsed(kind: type[Any], answer: Any, place: str) -> Any:
    """Return an answer as a record. Raises StoreError, naming the fields, where it is something else."""
    if isinstance(answer, Mapping):
        lowered = ("type", "datatype", "hierarchy_method", "voxel_unit")  # as intern does
        answer = {
            key: value.lower() if key in lowered and isinstance(value, str) else value
            for key, value in answer.items()
        }
    return structure(answer, kind, f"{place}: {kind.__name__.lower()}", StoreError)


def described(known: Known) -> dict[str, Any]:
    """Return the info: one scale for each level of the hierarchy."""
    return {
        "type": _TYPES[known.channel.type],
        "data_type": known.channel.datatype,
        "num_channels": 1,
        "scales": [_scale(known, mip) for mip in range(known.experiment.num_hierarchy_levels)],
    }


def _scale(known: Known, mip: int) -> dict[str, Any]:
    factor, frame = known.factor(mip), known.frame
    start = [low // step for low, step in zip(frame.start, factor, strict=True)]
    stop = [-(-high // step) for high, step in zip(frame.stop, factor, strict=True)]
    resolution = [_number(nm * step) for nm, step in zip(frame.resolution, factor, strict=True)]
    return {
        "key": "_".join(map(str, resolution)),
        "size": [high - low for low, high in zip(start, stop, strict=True)],
        "voxel_offset": start,
        "resolution": resolution,
        "chunk_sizes": [list(CUBOID)],
        "encoding": "raw",
    }


def _number(value: Fraction) -> int | float:
    return value.numerator if value.denominator == 1 else float(value)


def hierarchy_of(info: VolumeInfo, place: str) -> str:
    """Return the hierarchy method of an info's scales. Raises InfoError where the BOSS has none like it."""
    base = info.scales[0].resolution
    for method, steps in (("anisotropic", (2, 2, 1)), ("isotropic", (2, 2, 2))):
        if all(
            list(scale.resolution) == [nm * step**mip for nm, step in zip(base, steps, strict=True)]
            for mip, scale in enumerate(info.scales)
        ):
            return method
    found = ", ".join(scale.key for scale in info.scales)
    raise InfoError(
        f"{place}: expected scales that each halve the one before, in x and y (factor=(2, 2, 1)) or in all "
        f"three (factor=(2, 2, 2)), as the BOSS has no others, found {found}; leave out what does not fit"
    )
