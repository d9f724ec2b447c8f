"""Hypothesis strategies: infos with all that is found in the wild, chunks of voxels, boxes, keys."""

import string
from collections.abc import Iterable, Sequence
from typing import Any, TypeAlias

import numpy as np
from hypothesis import strategies as st
from hypothesis.extra import numpy as npst
from numpy.typing import NDArray

from precomp.create import scale_key
from precomp.geometry import Bbox
from precomp.info import CREATABLE_DATA_TYPES, READABLE_DATA_TYPES, VolumeInfo
from precomp.jsonio import structure
from precomp.testing.names import LEGAL_KEYS

__all__ = [
    "boxes",
    "chunks",
    "infos",
    "json_values",
    "keys",
    "scales",
    "sharding_specs",
    "volume_infos",
]

Json: TypeAlias = dict[str, Any]

_ENCODINGS = ("raw", "jpeg", "png", "compressed_segmentation", "compresso", "somebody-elses")
_FAR = 2**40  # voxels, more than any volume has
_FOLDERS = st.none() | st.text(string.ascii_lowercase + "_", min_size=1, max_size=8)


def json_values(max_leaves: int = 10) -> st.SearchStrategy[Any]:
    """Any value that JSON can hold."""
    scalars = (
        st.none()
        | st.booleans()
        | st.integers()
        | st.floats(allow_nan=False, allow_infinity=False)
        | st.text(max_size=10)
    )
    return st.recursive(
        scalars,
        lambda inner: st.lists(inner, max_size=3) | st.dictionaries(st.text(max_size=6), inner, max_size=3),
        max_leaves=max_leaves,
    )


def sharding_specs() -> st.SearchStrategy[Json]:
    """The `sharding` of a scale."""
    compressions = st.sampled_from(["raw", "gzip"])
    required = {
        "@type": st.just("neuroglancer_uint64_sharded_v1"),
        "preshift_bits": st.integers(0, 64),
        "hash": st.sampled_from(["identity", "murmurhash3_x86_128"]),
        "minishard_bits": st.integers(0, 32),
        "shard_bits": st.integers(0, 32),
    }
    return _objects(required, {"minishard_index_encoding": compressions, "data_encoding": compressions})


def scales() -> st.SearchStrategy[Json]:
    """One entry of `scales`: negative offsets, fractional resolutions, optional fields absent or null."""
    sizes = _triples(st.integers(1, _FAR))
    resolutions = _triples(st.integers(1, 10_000) | st.floats(0.1, 10_000))
    keys = resolutions.map(scale_key)
    required = {
        "key": keys | keys.map("../elsewhere/{}".format),
        "size": sizes,
        "resolution": resolutions,
        "chunk_sizes": st.lists(sizes, min_size=1, max_size=2),
        "encoding": _cased(_ENCODINGS),
    }
    optional = {
        "voxel_offset": st.none() | _triples(st.integers(-_FAR, _FAR)),
        "sharding": st.none() | sharding_specs(),
        "compressed_segmentation_block_size": st.none() | sizes,
        "jpeg_quality": st.none() | st.integers(0, 100),
        "png_level": st.none() | st.integers(0, 9),
        "jxl_quality": st.none() | st.integers(0, 100),
        "fpzip_precision": st.none() | st.integers(2, 32),
        "zfpc_tolerance": st.none() | st.floats(-1, 1),
        "zfpc_correlated_dims": st.none() | st.lists(st.booleans(), min_size=4, max_size=4).filter(any),
    }
    return _objects(required, optional).map(_with_block_size)


def infos(max_scales: int = 3) -> st.SearchStrategy[Json]:
    """A valid info, as a new plain dict each time, with unknown fields, nulls and upper-case names."""
    required = {
        "type": st.sampled_from(["image", "segmentation"]),
        "data_type": _cased(READABLE_DATA_TYPES),
        "num_channels": st.integers(1, 4),
        "scales": st.lists(scales(), min_size=1, max_size=max_scales, unique_by=lambda scale: scale["key"]),
    }
    return _objects(required, {"mesh": _FOLDERS, "skeletons": _FOLDERS, "segment_properties": _FOLDERS})


def volume_infos(max_scales: int = 3) -> st.SearchStrategy[VolumeInfo]:
    """The record of a valid info."""
    return infos(max_scales).map(lambda info: structure(info, VolumeInfo, "info"))


def keys() -> st.SearchStrategy[str]:
    """A key of an object: typical ones, and any text that is legal."""
    letters = st.characters(exclude_characters="/\0", exclude_categories=["Cs"])
    parts = st.text(letters, min_size=1, max_size=12).filter(lambda part: part not in (".", ".."))
    return st.sampled_from(LEGAL_KEYS) | st.lists(parts, min_size=1, max_size=3).map("/".join)


def chunks(
    dtypes: Iterable[str] = CREATABLE_DATA_TYPES, channels: Iterable[int] = (1, 2, 3), max_side: int = 8
) -> st.SearchStrategy[NDArray[Any]]:
    """The voxels of a chunk, shape (x, y, z, channel), in any memory order, NaN and infinity included."""
    sides = st.integers(1, max_side)
    shapes = st.tuples(sides, sides, sides, st.sampled_from(tuple(channels)))
    arrays = st.sampled_from(tuple(dtypes)).flatmap(lambda dtype: npst.arrays(dtype, shapes))
    orders = st.sampled_from([np.ascontiguousarray, np.asfortranarray, _strided])
    return st.builds(lambda array, order: order(array), arrays, orders)


def boxes(within: Bbox | Sequence[int] | None = None) -> st.SearchStrategy[Bbox]:
    """A box of one voxel or more, inside a Bbox, or inside the shape (x, y, z) of a volume at 0, 0, 0."""
    if within is None:
        within = Bbox((-_FAR,) * 3, (_FAR,) * 3)
    bounds = within if isinstance(within, Bbox) else Bbox((0, 0, 0), tuple(within)[:3])
    sides = [_intervals(int(a), int(b)) for a, b in zip(bounds.minpt, bounds.maxpt, strict=True)]
    return st.tuples(*sides).map(lambda axes: Bbox([low for low, _ in axes], [high for _, high in axes]))


def _intervals(start: int, stop: int) -> st.SearchStrategy[tuple[int, int]]:
    lows = st.integers(start, stop - 1)
    return lows.flatmap(lambda low: st.tuples(st.just(low), st.integers(low + 1, stop)))


def _strided(array: NDArray[Any]) -> NDArray[Any]:
    """The same voxels, between others."""
    wide = np.zeros([2 * length for length in array.shape], array.dtype)
    part = wide[::2, 1::2, ::2, 1::2]
    part[...] = array
    return part


def _with_block_size(scale: Json) -> Json:
    name = "compressed_segmentation_block_size"
    if scale["encoding"].lower() == "compressed_segmentation" and scale.get(name) is None:
        return scale | {name: [8, 8, 8]}
    return scale


def _objects(required: Json, optional: Json) -> st.SearchStrategy[Json]:
    """Objects of these fields and, now and then, unknown ones."""
    names = {*required, *optional}
    unknown = st.dictionaries(
        st.text(max_size=8).filter(lambda name: name not in names), json_values(), max_size=2
    )
    known = st.fixed_dictionaries(required, optional=optional)
    return st.builds(lambda extra, fields: {**extra, **fields}, unknown, known)


def _triples(items: st.SearchStrategy[Any]) -> st.SearchStrategy[list[Any]]:
    return st.lists(items, min_size=3, max_size=3)


def _cased(names: Iterable[str]) -> st.SearchStrategy[str]:
    return st.sampled_from([*names, *(name.upper() for name in names)])
