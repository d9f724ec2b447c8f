"""The stream of `compresso`, taken apart and checked, so that its library touches no memory but its own.

A chunk is a mask of boundary voxels, in small windows; a label for each component of the rest, slice by
slice; and a location for each boundary voxel whose label its neighbours to the left and above do not tell.
The decoder counts components and locations while it goes and looks at no end, so both are counted here.

Source: compresso's README and `compresso.hpp`, format versions 0 and 1.
"""

import struct
from typing import Any, NamedTuple

import numpy as np
from numpy.typing import NDArray

from precomp.interfaces import Buffer, ChunkSpec
from precomp_plugins.codecs._compresso.windows import Windows

__all__ = ["Stream", "checked", "count", "opened", "taken_apart"]

_HEADER = struct.Struct("<4sBBHHHBBBQIQB")
_LITERAL = 6  # a location that is followed by a label
_BELOW = 5  # a location that means the voxel of the next slice


class _Header(NamedTuple):
    magic: bytes
    version: int
    width: int
    sx: int
    sy: int
    sz: int
    xstep: int
    ystep: int
    zstep: int
    ids: int
    values: int
    locations: int
    connectivity: int


class Stream(NamedTuple):
    """A stream taken apart and checked.

    Attributes:
        header: of the stream.
        ids: a label for each component, in their order; the stream may have more than there are.
        locations: of boundary voxels, and labels among them.
        windows: the mask of boundary voxels.
        alone: the voxels without a neighbour that a component could come from, as bits of windows.
        unknown: the boundary voxels that have a location, in its order, as bits of windows.
    """

    header: _Header
    ids: NDArray[Any]
    locations: NDArray[Any]
    windows: Windows
    alone: NDArray[Any]
    unknown: NDArray[Any]


def opened(data: Buffer, spec: ChunkSpec) -> Stream:
    """Take a stream apart; ValueError where it is damaged or of another kind."""
    header = _header(data, spec)
    window = np.dtype(f"<u{_window_bytes(header)}")
    label = np.dtype(f"<u{header.width}")
    index = _index_bytes(header) * header.sz * 2 * header.version
    sizes = [header.ids * header.width, header.values * window.itemsize, header.locations * header.width]
    rest = len(data) - _HEADER.size - sum(sizes) - index
    if rest < 0 or rest % window.itemsize:
        raise ValueError(f"compresso: the parts that the header tells of do not make up {len(data)} bytes")
    start = _HEADER.size + sizes[0]
    values = np.frombuffer(data, window, header.values, start)
    locations = np.frombuffer(data, label, header.locations, start + sizes[1])
    runs = np.frombuffer(data, window, rest // window.itemsize, start + sizes[1] + sizes[2])
    windows = Windows(
        _unrolled(header, values, runs), header[3:6], (header.xstep, header.ystep, header.zstep)
    )
    alone = windows.before(0) & windows.before(1) & windows.inside()
    unknown = windows.bits & alone
    if header.connectivity == 6:
        unknown &= windows.before(2)
    _check_locations(locations, count(unknown), count(unknown[-1] & windows.last_slice()))
    if header.version and header.sz and np.frombuffer(data[-index // 2 :], f"<u{_index_bytes(header)}", 1)[0]:
        raise ValueError("compresso: expected the locations of the first slice to come first")
    ids = np.frombuffer(data, label, header.ids, _HEADER.size)
    return Stream(header, ids, locations, windows, alone, unknown)


def checked(data: Buffer, spec: ChunkSpec) -> tuple[bytes, int | None]:
    """Return a stream that is safe to decode; ValueError where `data` is damaged or of another kind.

    It is `data` itself, with some labels more where it has fewer than the mask may ask for. All of those are
    the label that is returned, too: where it is decoded, labels were missing.
    """
    header, ids, locations, windows, alone, _ = opened(data, spec)
    most = count(alone & ~windows.bits)
    if most <= header.ids:
        return bytes(data), None
    strange = _strange(ids, locations, ids.dtype)
    more = np.full(most - header.ids, strange, ids.dtype)
    view, start = memoryview(data), _HEADER.size + ids.nbytes
    head = _HEADER.pack(*header._replace(ids=most))
    return b"".join((head, view[_HEADER.size : start], more.data, view[start:])), strange


def _strange(ids: NDArray[Any], locations: NDArray[Any], label: np.dtype[Any]) -> int:
    """A label that a whole stream does not have; the largest where it has all."""
    largest = int(np.iinfo(label).max)
    used = np.unique(np.concatenate([ids, locations, locations - label.type(_LITERAL + 1)]))
    candidates = np.arange(max(largest - len(used), 0), largest + 1, dtype=np.uint64)
    free = np.setdiff1d(candidates, used, assume_unique=True)
    return int(free[-1]) if len(free) else largest


def _header(data: Buffer, spec: ChunkSpec) -> _Header:
    if len(data) < _HEADER.size:
        raise ValueError(f"compresso: expected a header of {_HEADER.size} bytes, found {len(data)} bytes")
    header = _Header(*_HEADER.unpack_from(data))
    if header.magic != b"cpso" or header.version > 1:
        raise ValueError(f"compresso: expected a stream of version 0 or 1, found {bytes(data[:5])!r}")
    expected = (spec.dtype.itemsize, *spec.shape[:3])
    if header[2:6] != expected:
        raise ValueError(f"compresso: expected {expected} (bytes a label, x, y, z), found {header[2:6]}")
    if not 1 <= header.xstep * header.ystep * header.zstep <= 64 or header.connectivity not in (4, 6):
        raise ValueError(f"compresso: impossible windows or connectivity in the header {header}")
    return header


def _window_bytes(header: _Header) -> int:
    voxels = header.xstep * header.ystep * header.zstep
    return next(size for size in (1, 2, 4, 8) if voxels <= 8 * size)


def _index_bytes(header: _Header) -> int:
    """Of a number in the index of slices, which is wide enough for twice as many as a slice has voxels."""
    return next(size for size in (1, 2, 4, 8) if 2 * header.sx * header.sy < 2 ** (8 * size) - 1)


def _unrolled(header: _Header, values: NDArray[Any], runs: NDArray[Any]) -> NDArray[Any]:
    """The windows (z, y, x)."""
    steps = header.zstep, header.ystep, header.xstep
    grid = [-(-n // step) for n, step in zip((header.sz, header.sy, header.sx), steps, strict=True)]
    blocks = grid[0] * grid[1] * grid[2]
    counts = np.where(runs & 1, runs >> 1, 1).astype(np.uint64)
    if counts.sum(dtype=np.float64) != blocks:
        raise ValueError(f"compresso: expected {blocks} windows, found {counts.sum()}")
    numbers = np.where(runs & 1, 0, runs >> 1)
    if len(values) <= int(numbers.max(initial=0)):
        raise ValueError(f"compresso: expected {len(values)} kinds of windows, found more")
    return np.repeat(values[numbers], counts.astype(np.int64)).reshape(grid)


def count(bits: NDArray[Any]) -> int:
    """Return how many bits are set."""
    return int(np.bitwise_count(bits).sum(dtype=np.int64))


def _check_locations(locations: NDArray[Any], wanted: int, below: int) -> None:
    """`wanted` is how many there are to be, `below` how many of them at the end in the last slice."""
    codes, _ = taken_apart(locations)
    if len(codes) != wanted:
        raise ValueError(f"compresso: expected {wanted} locations, found {len(codes)}")
    if below and (codes[-below:] == _BELOW).any():  # the last slice has none below
        raise ValueError("compresso: a location points out of the chunk")


def taken_apart(locations: NDArray[Any]) -> tuple[NDArray[Any], NDArray[Any]]:
    """Return the locations without the labels that follow some, and all labels that are told here."""
    if not (locations == _LITERAL).any():
        return locations, locations[locations > _LITERAL] - locations.dtype.type(_LITERAL + 1)
    codes, labels, place, numbers = [], [], 0, locations.tolist()
    while place < len(numbers):
        code = numbers[place]
        codes.append(code)
        place += 1
        if code == _LITERAL:
            labels += numbers[place : place + 1]
            place += 1
        elif code > _LITERAL:
            labels.append(code - _LITERAL - 1)
    if place != len(numbers):
        raise ValueError("compresso: the last location lacks its label")
    return np.array(codes, np.uint64), np.array(labels, locations.dtype)
