"""The checks before compresso's library sees a stream: on packed windows, against the plain mask."""

import struct
from typing import Any

import compresso
import numpy as np
import pytest
from hypothesis import given
from hypothesis import strategies as st
from numpy.typing import NDArray

from precomp.interfaces import ChunkSpec
from precomp_plugins.codecs._compresso import codec as module
from precomp_plugins.codecs._compresso.codec import Compresso
from precomp_plugins.codecs._compresso.windows import Windows

Triple = tuple[int, int, int]
SIZES = st.tuples(*[st.integers(1, 9)] * 3)
STEPS = st.sampled_from(
    [(4, 4, 1), (8, 8, 1), (4, 4, 4), (3, 2, 1), (2, 3, 5), (1, 1, 1), (8, 1, 1), (1, 7, 2)]
)


def dtype_of(steps: Triple) -> np.dtype[Any]:
    voxels = int(np.prod(steps))
    return np.dtype(f"u{next(size for size in (1, 2, 4, 8) if voxels <= 8 * size)}")


def packed(mask: NDArray[np.bool_], steps: Triple, beyond: bool) -> NDArray[Any]:
    """The mask (x, y, z) as windows; `beyond`: what the bits outside are."""
    grid = [-(-n // step) for n, step in zip(mask.shape, steps, strict=True)]
    padded = np.full([n * step for n, step in zip(grid, steps, strict=True)], beyond)
    padded[tuple(map(slice, mask.shape))] = mask
    bits = np.zeros(grid[::-1], dtype_of(steps))
    for x, y, z in np.argwhere(padded):
        (gx, bx), (gy, by), (gz, bz) = (
            divmod(int(n), step) for n, step in zip((x, y, z), steps, strict=True)
        )
        bits[gz, gy, gx] |= bits.dtype.type(1 << bx + steps[0] * (by + steps[1] * bz))
    return bits


@given(st.data(), SIZES, STEPS, st.booleans())
def test_windows_say_what_the_mask_says(
    data: st.DataObject, size: Triple, steps: Triple, beyond: bool
) -> None:
    seed = data.draw(st.integers(0, 2**32 - 1))
    mask = np.random.default_rng(seed).random(size) < 0.5
    windows = Windows(packed(mask, steps, beyond), size, steps)
    inside = windows.inside()
    assert np.array_equal(inside, packed(np.ones(size, bool), steps, False))
    assert np.array_equal(windows.bits & inside, packed(mask, steps, False))
    for axis in range(3):
        before = np.roll(mask, 1, axis)
        before[(slice(None),) * axis + (0,)] = True
        assert np.array_equal(windows.before(axis) & inside, packed(before, steps, False))
    last = np.zeros(size, bool)
    last[..., -1] = True
    assert np.array_equal((inside & windows.last_slice())[-1], packed(last, steps, False)[-1])


@given(st.data(), SIZES, STEPS, st.sampled_from([4, 6]), st.sampled_from(["u1", "u2", "u4", "u8"]))
def test_what_the_library_wrote_is_read(
    data: st.DataObject, size: Triple, steps: Triple, connectivity: int, dtype: str
) -> None:
    """With any windows and both connectivities, where precomp itself writes but one kind."""
    rng = np.random.default_rng(data.draw(st.integers(0, 2**32 - 1)))
    labels = np.asfortranarray(rng.integers(0, 4, size, dtype).repeat(2, 0)[: size[0]])
    stream = compresso.compress(
        labels, steps=steps, connectivity=connectivity, random_access_z_index=connectivity == 4
    )
    found = Compresso().decode(stream, ChunkSpec((*size, 1), labels.dtype))
    assert np.array_equal(found[..., 0], labels)


def test_without_helpers_it_is_the_same(monkeypatch: pytest.MonkeyPatch) -> None:
    """As on Windows, which has no fork."""
    chunk = np.asfortranarray(np.random.default_rng(0).integers(0, 4, (7, 6, 5, 1), "u8"))
    chunk.setflags(write=False)
    spec, stream = ChunkSpec(chunk.shape, chunk.dtype), Compresso().encode(chunk)
    monkeypatch.setattr(module, "_HELPERS", False)
    assert Compresso().encode(chunk) == stream
    assert np.array_equal(Compresso().decode(stream, spec), chunk)
    with pytest.raises(ValueError, match="compresso"):
        Compresso().decode(stream[:-1], spec)


def test_an_index_that_points_elsewhere_is_damage() -> None:
    rng = np.random.default_rng(0)
    chunk = np.asfortranarray(rng.integers(0, 4, (16, 16, 8, 1), "u4"))
    stream = bytearray(Compresso().encode(chunk))
    spec = ChunkSpec(chunk.shape, chunk.dtype)
    assert np.array_equal(Compresso().decode(bytes(stream), spec), chunk)
    width = 2  # bytes of a number: 2 * 16 * 16 do not fit in one
    struct.pack_into("<H", stream, len(stream) - width * 8, 40_000)  # where the locations of slice 0 begin
    with pytest.raises(ValueError, match="expected the locations of the first slice"):
        Compresso().decode(bytes(stream), spec)
