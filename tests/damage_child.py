"""Decode damaged chunks of one encoding; a child process, since a decoder may kill its own.

Usage: `python damage_child.py ENCODING ROUNDS`. Prints how many were tried and how many refused.
"""

import random
import sys
from collections.abc import Iterator
from typing import Any

import numpy as np
from numpy.typing import NDArray

from precomp.info import Scale, VolumeInfo
from precomp.interfaces import ChunkSpec, DecodesInto
from precomp.plugins import load

SHAPES = ((20, 13, 9), (7, 5, 3), (33, 1, 2))


def voxels(shape: tuple[int, int, int, int], dtype: np.dtype[Any], seed: int) -> NDArray[Any]:
    """Plain regions and busy ones."""
    rng = np.random.default_rng(seed)
    x, y, z, c = np.ogrid[tuple(slice(0, n) for n in shape)]
    plain = (x // 5 + 3 * (y // 4) + 7 * (z // 3) + 20 * c) % 120
    busy = rng.integers(0, 120, shape)
    values: NDArray[Any] = np.where(x + y < 12, plain, busy)
    if dtype.kind == "f":
        values = values / 120
    return np.asfortranarray(values.astype(dtype))


def damaged(data: bytes, rng: random.Random, rounds: int) -> Iterator[bytes]:
    """Cut, flipped, overwritten, moved."""
    size = len(data)
    for cut in range(0, size, size // 100 + 1):
        yield data[:cut]
    for number in range(rounds):
        copy = bytearray(data)
        # The header decides what is trusted, so half of all damage goes there.
        place = rng.randrange(size if number % 2 else min(size, 64))
        match number % 5:
            case 0 | 1:
                copy[place] ^= 1 << rng.randrange(8)
            case 2:
                copy[place : place + 4] = rng.choice([b"\xff\xff\xff\xff", bytes(4), b"\xff\xff\xff\x7f"])
            case 3:
                copy[place : place + 8] = rng.randbytes(8)
            case 4:
                copy = copy[:place] + copy[place + rng.randrange(1, 9) :]
        yield bytes(copy)
    for length in (1, 16, 100, size):
        yield rng.randbytes(length)


def main(encoding: str, rounds: int) -> None:
    plugin = load().codec(encoding)
    tried = refused = 0
    for dtype in plugin.dtypes or ("uint8", "uint64", "float32"):
        for channels in list(plugin.channels or (1, 2))[:3]:
            for seed, size in enumerate(SHAPES):
                spec = ChunkSpec((*size, channels), np.dtype(dtype))
                scale = Scale(
                    *("8_8_40", size, (8, 8, 40), (size,), encoding),
                    compressed_segmentation_block_size=(8, 8, 8),
                )
                codec = plugin.build(VolumeInfo("image", dtype, channels, (scale,)), scale)
                data = bytes(codec.encode(voxels(spec.shape, spec.dtype, seed)))
                for bad in damaged(data, random.Random(seed), rounds):
                    tried += 1
                    try:
                        found = codec.decode(bad, spec)
                    except Exception:  # noqa: BLE001  whatever the codec raises
                        refused += 1
                    else:
                        assert (found.shape, found.dtype) == spec
                        continue
                    if isinstance(codec, DecodesInto):
                        part = np.zeros((3, 1, 1, channels), dtype)
                        x, y, z, c = slice(2, 5), slice(0, 1), slice(1, 2), slice(0, channels)
                        try:
                            codec.decode_into(bad, spec, (x, y, z, c), part)
                        except Exception:  # noqa: BLE001  whatever the codec raises
                            continue
    print(tried, refused)


if __name__ == "__main__":
    main(sys.argv[1], int(sys.argv[2]))
