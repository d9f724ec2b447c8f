"""Labels of a part of a chunk: exactly those of its voxels."""

import random
import tracemalloc
from collections.abc import Iterator, Sequence
from typing import Any

import numpy as np
from numpy.typing import NDArray

from precomp.interfaces import ChunkSpec, ListsLabels
from precomp.testing.codec.base import Case, CodecKit
from precomp.testing.codec.damage import flipped
from precomp.testing.codec.parts import boxes

__all__ = ["LabelTests"]

_SIZES = ((7, 5, 3), (16, 16, 16), (20, 13, 17))
_FLIPS = 50
_MOST_MEMORY = 2**24  # bytes that damaged data of a small chunk may claim


class LabelTests(CodecKit):
    """`ListsLabels`; skipped for a codec that does not list labels."""

    def test_labels_in(self) -> None:
        """Are those of the voxels in the box, none of others, of padding, or listed in vain."""
        self.needs(ListsLabels)
        told = 0
        for what, codec, spec, chunk in self.segments():
            assert isinstance(codec, ListsLabels)
            data = bytes(codec.encode(chunk))
            voxels = codec.decode(data, spec)
            for box in boxes(spec.shape):
                labels = codec.labels_in(data, spec, box)
                if labels is not None:
                    told += 1
                    _expect(labels, voxels[box], f"labels_in, {what}, box {box}")
        assert told, "labels_in: found None for every box of every chunk"

    def test_labels_in_refuses_damage(self) -> None:
        """As `decode` does; it may leave that to `decode` and return None."""
        self.needs(ListsLabels)
        rng = random.Random(0)
        for what, codec, spec, chunk in self.segments(_SIZES[:1]):
            assert isinstance(codec, ListsLabels)
            data = bytes(codec.encode(chunk))
            for cut in (0, 1, len(data) // 2, len(data) - 1):
                labels = _survived(codec, data[:cut], spec, what)
                assert labels is None, (
                    f"labels_in of the first {cut} of {len(data)} bytes, {what}: expected an error or None"
                )
            for _ in range(_FLIPS):
                _survived(codec, flipped(data, rng), spec, what)

    def segments(self, sizes: Sequence[tuple[int, int, int]] = _SIZES) -> Iterator[Case]:
        """Yield chunks of one label, of few in blocks, and of noise, of each dtype and number of channels."""
        rng = np.random.default_rng(0)
        for what, codec, spec, noise in self.cases(sizes):
            few = self.sample((5, 1, 1, 1), spec.dtype).ravel()
            some = rng.integers(0, 5, [-(-length // 4) for length in spec.shape[:3]] + [spec.shape[3]])
            for axis in range(3):
                some = np.repeat(some, 4, axis)
            x, y, z, _ = spec.shape
            for kind, chunk in (
                ("one label", np.full(spec.shape, few[0], spec.dtype, order="F")),
                ("few labels", np.asfortranarray(few[some[:x, :y, :z]])),
                ("noise", noise),
            ):
                yield Case(f"{what}, {kind}", codec, spec, chunk)


def _expect(labels: Any, voxels: NDArray[Any], what: str) -> None:
    __tracebackhide__ = True
    _expect_kind(labels, voxels.dtype, what)
    there, listed = set(voxels.ravel().tolist()), set(labels.tolist())
    few = {"in no voxel": listed - there, "not listed": there - listed}
    wrong = [f"{name}: {sorted(found)[:5]}" for name, found in few.items() if found]
    assert not wrong, f"{what}: {'; '.join(wrong)}"


def _expect_kind(labels: Any, dtype: np.dtype[Any], what: str) -> None:
    __tracebackhide__ = True
    assert isinstance(labels, np.ndarray), f"{what}: expected an array or None, found {labels!r}"
    right = labels.ndim == 1 and labels.dtype == dtype
    assert right, f"{what}: expected one axis of {dtype}, found {labels.dtype}, shape {labels.shape}"


def _survived(codec: ListsLabels, data: bytes, spec: ChunkSpec, what: str) -> NDArray[Any] | None:
    """Return what a codec lists of damaged data, None for an error; it takes little memory."""
    __tracebackhide__ = True
    x, y, z, c = (slice(0, length) for length in spec.shape)
    tracemalloc.start()
    try:
        labels = codec.labels_in(data, spec, (x, y, z, c))
    except Exception:  # noqa: BLE001  the contract leaves the class of the error to the codec
        labels = None
    finally:
        peak = tracemalloc.get_traced_memory()[1]
        tracemalloc.stop()
    assert peak < _MOST_MEMORY, (
        f"labels_in of {len(data)} damaged bytes, {what}: it took {peak:,} bytes of memory; check sizes "
        "before memory is allocated for them"
    )
    if labels is not None:
        _expect_kind(labels, spec.dtype, f"labels_in of damaged bytes, {what}")
    return labels
