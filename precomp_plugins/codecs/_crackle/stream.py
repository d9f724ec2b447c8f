"""The stream of `crackle`, as far as it can be checked and understood without its library.

Source: crackle's README, `header.hpp` and `labels.hpp`.
"""

from functools import cache
from typing import Any, NamedTuple

import numpy as np
from numpy.typing import NDArray

from precomp.interfaces import Buffer, ChunkSpec

__all__ = ["check", "labels_of_slices"]

_SIZES = (24, 29)  # of the header, in format versions 0 and 1
_CHECKED = slice(5, 28)  # bytes of the header that its own checksum covers, which is the next one
_FLAT = 0  # a list of labels, and for each component of each slice a number in it


class _Header(NamedTuple):
    """What a stream says of itself.

    Attributes:
        shape: voxels x, y, z.
        width: bytes of a label.
        signed: whether labels may be negative.
        known: bytes that it has: header, index, labels, cracks and checksums.
        stored_width: bytes of a label in the list.
        form: of the list.
        grid: voxels along x and y of a part of a slice that was encoded by itself.
        labels: where the bytes of the labels are.
    """

    shape: tuple[int, ...]
    width: int
    signed: bool
    known: int
    stored_width: int
    form: int
    grid: int
    labels: slice


def _header(data: Buffer) -> _Header:
    """Raise ValueError where `data` is no stream, or shorter than its index says."""
    version = data[4] if len(data) >= _SIZES[1] and data[:4] == b"crkl" else 2
    if version > 1:
        raise ValueError(f"crackle: expected a stream of version 0 or 1, found {bytes(data[:5])!r}")
    if version and _crc8(bytes(data[_CHECKED])) != data[_CHECKED.stop]:
        raise ValueError("crackle: the header is damaged, its checksum says")
    size = _SIZES[version]
    flags, *shape = (int.from_bytes(data[a:b], "little") for a, b in ((5, 7), (7, 11), (11, 15), (15, 19)))
    labels = int.from_bytes(data[20 : (24, 28)[version]], "little")
    index = memoryview(data)[size : size + 4 * shape[2]]
    markov = flags >> 9 & 15
    start = size + 4 * (shape[2] + version)
    # The crack codes of all slices, and before them the model that predicts them.
    known = start + labels + (5 * 4**markov + 7) // 8 * bool(markov)
    known += version * 4 * (shape[2] + 1)
    if known > len(data):
        raise ValueError(f"crackle: expected at least {known} bytes, found {len(data)}")
    known += int(np.frombuffer(index, "<u4").sum(dtype=np.uint64))
    return _Header(
        shape=tuple(shape),
        width=1 << (flags & 3),
        signed=bool(flags >> 8 & 1),
        known=known,
        stored_width=1 << (flags >> 2 & 3),
        form=flags >> 5 & 3,
        grid=2 ** data[19],
        labels=slice(start, start + labels),
    )


def check(data: Buffer, spec: ChunkSpec) -> _Header:
    """Return the header; ValueError where the stream is not of such a chunk, or not all there.

    The labels are compared with their checksum, which the library does not do.
    """
    header = _header(data)
    expected = (spec.shape[:3], spec.dtype.itemsize, spec.dtype.kind == "i")
    if header[:3] != expected:
        raise ValueError(
            f"crackle: expected {expected} (x, y, z; bytes of a label; signed), found {header[:3]}"
        )
    if header.known != len(data):
        raise ValueError(f"crackle: expected {header.known} bytes, found {len(data)}")
    if data[4]:  # version 0 has no checksums
        from google_crc32c import value

        stored = len(data) - 4 * (header.shape[2] + 1)
        if value(bytes(data[header.labels])) != int.from_bytes(data[stored : stored + 4], "little"):
            raise ValueError("crackle: the labels are damaged, their checksum says")
    return header


@cache
def _crc8_of_each_byte() -> list[int]:
    found = list(range(256))
    for _ in range(8):
        found = [crc >> 1 ^ 0xE7 * (crc & 1) for crc in found]
    return found


def _crc8(data: bytes) -> int:
    table, crc = _crc8_of_each_byte(), 0xFF
    for byte in data:
        crc = table[crc ^ byte]
    return crc


def labels_of_slices(data: Buffer, spec: ChunkSpec, slices: range) -> NDArray[Any] | None:
    """Return the labels of whole slices, each at least once; ValueError as `check`.

    Every component of a slice has a voxel at least, so the labels of the components are those that occur;
    the list beside them may have more. None for streams that are made otherwise.
    """
    header = check(data, spec)
    nx, ny, nz = header.shape
    if header.form != _FLAT or header.grid < max(nx, ny):
        return None
    memory = memoryview(data)[header.labels]
    count = int.from_bytes(memory[:8], "little")
    stored = np.dtype(f"<{'i' if header.signed else 'u'}{header.stored_width}")
    counted = np.dtype(f"<u{_width(nx * ny)}")
    number = np.dtype(f"<u{_width(count)}")
    start = 8 + count * stored.itemsize
    numbers_at = start + nz * counted.itemsize
    if len(memory) < numbers_at:
        raise ValueError(f"crackle: expected at least {numbers_at} bytes of labels, found {len(memory)}")
    each = np.frombuffer(memory, counted, nz, start).astype(np.int64)
    if numbers_at + int(each.sum()) * number.itemsize != len(memory):
        return None
    numbers = np.frombuffer(memory, number, -1, numbers_at)
    ends = each.cumsum()
    wanted = [numbers[ends[z] - each[z] : ends[z]] for z in slices]
    used = np.unique(np.concatenate(wanted))
    if not len(used) or int(used[-1]) >= count:
        raise ValueError(f"crackle: a component's label is number {used[-1:]} of {count}")
    labels: NDArray[Any] = np.frombuffer(memory, stored, count, 8)[used].astype(spec.dtype)
    return labels


def _width(largest: int) -> int:
    """Bytes of a number up to this one."""
    return next(width for width in (1, 2, 4, 8) if largest < 2 ** (8 * width))
