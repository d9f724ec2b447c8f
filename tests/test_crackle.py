"""Damaged streams of crackle: all have checksums, so none may be taken for whole."""

from typing import Any

import crackle
import numpy as np
import pytest
from numpy.typing import NDArray

from precomp.interfaces import ChunkSpec
from precomp_plugins.codecs._crackle import library
from precomp_plugins.codecs._crackle.codec import Crackle

SHAPE = (20, 13, 6)


def labels(dtype: str, order: Any = "F") -> NDArray[Any]:
    voxels = np.random.default_rng(0).integers(0, 9, SHAPE).astype(dtype)
    voxels[:10] = 3
    return np.array(voxels, order=order)


@pytest.mark.parametrize("more", [{}, {"allow_pins": True}, {"markov_model_order": 2}], ids=str)
@pytest.mark.parametrize(("dtype", "order"), [("uint8", "F"), ("uint64", "F"), ("uint32", "C")])
def test_every_damaged_byte_is_noticed(dtype: str, order: Any, more: dict[str, Any]) -> None:
    """The library itself compares no checksum of labels, and loses what it finds of slices."""
    voxels = labels(dtype, order)
    stream, spec = crackle.compress(voxels, parallel=1, **more), ChunkSpec((*SHAPE, 1), voxels.dtype)
    codec, refused = Crackle(), 0
    assert np.array_equal(codec.decode(stream, spec)[..., 0], voxels)
    rng = np.random.default_rng(1)
    places = [*range(29), *rng.integers(29, len(stream), 150).tolist(), *range(len(stream) - 28, len(stream))]
    for place in places:
        damaged = bytearray(stream)
        damaged[place] ^= 1 << int(rng.integers(8))
        try:
            found = codec.decode(bytes(damaged), spec)
        except ValueError:
            refused += 1
        else:  # some bits mean nothing
            assert np.array_equal(found[..., 0], voxels), place
    assert refused > 0.95 * len(places)


@pytest.mark.parametrize("dtype", ["uint8", "uint16", "uint32", "uint64"])
@pytest.mark.parametrize("order", ["C", "F"])
def test_voxels_that_look_like_memory_left_blank(dtype: str, order: Any) -> None:
    """Slices of the values by which it is told that nothing was decoded."""
    size = np.dtype(dtype).itemsize
    one, two = (int.from_bytes(bytes([filling]) * size, "little") for filling in library._FILLINGS)
    for slices in ([one, two, one, 7, two, 0], [one] * 6, [two] * 6, [0] * 6):
        voxels = np.array(np.broadcast_to(np.array(slices, dtype), SHAPE), order=order)
        stream, spec = crackle.compress(voxels, parallel=1), ChunkSpec((*SHAPE, 1), voxels.dtype)
        assert np.array_equal(Crackle().decode(stream, spec)[..., 0], voxels)
        part = np.zeros((20, 13, 2, 1), dtype)
        Crackle().decode_into(stream, spec, np.s_[:, :, 1:3, :], part)
        assert np.array_equal(part[..., 0], voxels[..., 1:3])


def test_a_library_that_hides_its_errors_otherwise_is_not_used(monkeypatch: pytest.MonkeyPatch) -> None:
    """One that decodes into memory of its own, where nothing would tell of a slice left blank."""
    assert library.notices_damage()
    decompress = crackle.codec.decompress_range
    monkeypatch.setattr(crackle.codec, "decompress_range", lambda *arguments: decompress(*arguments).copy())
    with pytest.raises(ValueError, match="decoded elsewhere"):
        library.notices_damage()
