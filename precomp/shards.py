"""The sharding of new scales: chosen, taken as given, or made after that of another scale."""

from collections.abc import Mapping
from typing import Any

import attrs

from precomp.errors import ArgumentError
from precomp.info import Scale, ShardingSpec, Size, VolumeInfo
from precomp.jsonio import plain, structure, unstructure
from precomp.shard_layout import MEMORY, SHARD_BYTES, choose_bits, morton_bits

__all__ = ["fitted", "sharded"]


@attrs.frozen
class _Aims:
    """What a sharding is chosen for.

    Attributes:
        shard_bytes: of the decoded chunks of a shard, at the most.
        memory: that the writing of one shard may take.
    """

    shard_bytes: Size = SHARD_BYTES
    memory: Size = MEMORY


def sharded(info: VolumeInfo, sharding: Any) -> VolumeInfo:
    """Return the info with the scales sharded as `create_new_info` was told. Raises ArgumentError."""
    if sharding is None or sharding is False:
        return info
    if isinstance(sharding, ShardingSpec):
        sharding = unstructure(sharding)
    if sharding is not True and not isinstance(sharding, Mapping):
        raise ArgumentError(
            f"sharding: expected True, False, a ShardingSpec, its JSON or the aims shard_bytes and memory, "
            f"got {sharding!r}"
        )
    for scale in info.scales:
        if (bits := morton_bits(_grid(scale))) > 64:
            raise ArgumentError(
                f"sharding: the {_grid(scale)} chunks of scale {scale.key} take {bits} bits to number, 64 at "
                "most will do; choose a larger chunk_size"
            )
    given = {} if sharding is True else plain(dict(sharding), "sharding")
    if given and not given.keys() <= {"shard_bytes", "memory"}:
        spec = structure(given, ShardingSpec, "sharding", ArgumentError)
        scales = tuple(attrs.evolve(scale, sharding=spec) for scale in info.scales)
    else:
        aims = structure(given, _Aims, "sharding", ArgumentError)
        scales = tuple(attrs.evolve(scale, sharding=_chosen(info, scale, aims)) for scale in info.scales)
    return attrs.evolve(info, scales=scales)


def _chosen(info: VolumeInfo, scale: Scale, aims: _Aims) -> ShardingSpec:
    x, y, z = scale.chunk_size
    chunk_bytes = x * y * z * info.num_channels * info.dtype.itemsize
    preshift, minishard, shard = choose_bits(_grid(scale), chunk_bytes, aims.shard_bytes, aims.memory)
    # Micrographs hardly shrink, and parts of plain chunks can be read; labels shrink to a tenth.
    shrinks = scale.encoding_name in ("raw", "compressed_segmentation") and info.type == "segmentation"
    stated = {  # all of it: not every reader knows what is meant where nothing is said
        "@type": "neuroglancer_uint64_sharded_v1",
        "preshift_bits": preshift,
        "hash": "identity",
        "minishard_bits": minishard,
        "shard_bits": shard,
        "minishard_index_encoding": "gzip",
        "data_encoding": "gzip" if shrinks else "raw",
    }
    spec: ShardingSpec = structure(stated, ShardingSpec, "sharding", ArgumentError)
    return spec


def fitted(base: Scale, new: Scale) -> ShardingSpec | None:
    """Return the sharding of a new scale that is to be like another one's."""
    spec = base.sharding
    if spec is None or spec.hash != "identity":
        return spec
    if spec.preshift_bits + spec.minishard_bits + spec.shard_bits < morton_bits(_grid(base)):
        return spec  # several runs of numbers to a shard: somebody had a reason
    bits = morton_bits(_grid(new))
    preshift = min(spec.preshift_bits, bits)
    minishard = min(spec.minishard_bits, bits - preshift)
    return attrs.evolve(
        spec,
        preshift_bits=preshift,
        minishard_bits=minishard,
        shard_bits=min(bits - preshift - minishard, 64 - minishard),
    )


def _grid(scale: Scale) -> tuple[int, int, int]:
    (nx, ny, nz), (cx, cy, cz) = scale.size, scale.chunk_size
    return -(-nx // cx), -(-ny // cy), -(-nz // cz)
