"""Coarser mips against a plain loop over blocks: which mean, and which label wins."""

import itertools
from collections import Counter
from typing import Any

import numpy as np
import pytest
from hypothesis import given
from hypothesis import strategies as st
from numpy.typing import NDArray

from precomp.volume.pyramid import downsample


def most_frequent(block: list[Any]) -> Any:
    """Of the most frequent labels, the one that comes first; a block runs through x, then y, then z."""
    counts = Counter(block)
    return next(label for label in block if counts[label] == max(counts.values()))


def by_loop(voxels: NDArray[Any], factor: Any, start: Any, size: Any) -> NDArray[Any]:
    shrunk = np.zeros((*size, voxels.shape[3]), voxels.dtype)
    for x, y, z, channel in np.ndindex(shrunk.shape):
        block = []
        for k, j, i in itertools.product(*map(range, factor[::-1])):
            place = [s + f * n + o for s, f, n, o in zip(start, factor, (x, y, z), (i, j, k), strict=True)]
            if all(0 <= p < n for p, n in zip(place, voxels.shape[:3], strict=True)):
                block.append(voxels[(*place, channel)].item())
        shrunk[x, y, z, channel] = most_frequent(block)
    return shrunk


@pytest.mark.parametrize(
    ("block", "label"),
    [
        # [x][y]: 1 is at (0, 0), 2 at (1, 0), 3 at (0, 1), 4 at (1, 1)
        ([[1, 3], [2, 4]], 1),
        ([[1, 3], [2, 2]], 2),
        ([[3, 2], [2, 3]], 3),  # two of each: (0, 0) comes first
        ([[2, 3], [3, 2]], 2),
        ([[9, 1], [1, 1]], 1),
        ([[1, 7], [7, 1]], 1),
        ([[0, 5], [5, 0]], 0),  # 0 is a label like any other
        ([[2**64 - 1, 2**64 - 2], [2**64 - 2, 5]], 2**64 - 2),
    ],
)
def test_the_label_of_a_block(block: Any, label: int) -> None:
    voxels = np.array(block, np.uint64).reshape(2, 2, 1, 1)
    assert downsample(voxels, (2, 2, 1), (0, 0, 0), (1, 1, 1), "segmentation").item() == label


def test_ties_go_to_the_first_in_x_then_y_then_z() -> None:
    places = [place[::-1] for place in itertools.product(range(2), repeat=3)]  # x runs fastest
    for four in itertools.combinations(range(8), 4):
        for sevens in itertools.combinations(four, 2):
            voxels = np.arange(100, 108, dtype=np.uint64).reshape(2, 2, 2, 1)
            for number in four:  # two of 7, two of 8, one of each other
                voxels[places[number]] = 7 if number in sevens else 8
            label = downsample(voxels, (2, 2, 2), (0, 0, 0), (1, 1, 1), "segmentation").item()
            assert label == (7 if four[0] in sevens else 8)


@given(
    shape=st.tuples(*[st.integers(1, 5)] * 3, st.integers(1, 2)),
    factor=st.tuples(*[st.integers(1, 3)] * 3),
    shift=st.tuples(*[st.integers(0, 2)] * 3),
    seed=st.integers(0, 2**32),
)
def test_labels_by_a_plain_loop(shape: Any, factor: Any, shift: Any, seed: int) -> None:
    voxels = np.random.default_rng(seed).integers(0, 4, shape).astype(np.uint32)
    start = [-(s % f) for s, f in zip(shift, factor, strict=True)]
    size = [-((s - n) // f) for n, s, f in zip(shape, start, factor, strict=False)]
    found = downsample(voxels, factor, start, size, "segmentation")
    assert found.dtype == voxels.dtype
    assert found.flags.f_contiguous
    np.testing.assert_array_equal(found, by_loop(voxels, factor, start, size))
