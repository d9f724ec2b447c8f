"""The encoding png: other programs' files, every filter, damage, sizes."""

import io
import struct
import tracemalloc
import zlib
from collections.abc import Sequence
from itertools import cycle, pairwise, product
from typing import Any

import imagecodecs
import numpy as np
import pytest
from numpy.typing import NDArray
from PIL import Image
from volumes import noise

from precomp.errors import ArgumentError
from precomp.interfaces import ChunkSpec
from precomp_plugins.codecs._png.codec import Png

Array = NDArray[Any]

SHAPE = (7, 5, 3)
KINDS = list(product(["uint8", "uint16"], [1, 2, 3, 4]))
COLOUR = {1: 0, 2: 4, 3: 2, 4: 6}


def spec_of(chunk: Array) -> ChunkSpec:
    x, y, z, channels = chunk.shape
    return ChunkSpec((x, y, z, channels), chunk.dtype)


def picture_of(chunk: Array) -> Array:
    """Row y + z * height of the image is row (y, z) of the chunk, by the words of the format."""
    nx, ny, nz, channels = chunk.shape
    picture = np.empty((ny * nz, nx, channels), chunk.dtype)
    for x, y, z in product(range(nx), range(ny), range(nz)):
        picture[y + z * ny, x] = chunk[x, y, z]
    return picture


def chunk_of(kind: bytes, body: bytes) -> bytes:
    return struct.pack(">I", len(body)) + kind + body + struct.pack(">I", zlib.crc32(kind + body))


def paeth(a: int, b: int, c: int) -> int:
    distances = [(abs(b - c), 0, a), (abs(a - c), 1, b), (abs(a + b - 2 * c), 2, c)]
    return min(distances)[2]


def filtered(rows: Sequence[bytes], step: int, numbers: Sequence[int]) -> bytes:
    """The specification's filters, byte by byte."""
    out = bytearray()
    above = bytes(len(rows[0]))
    for row, number in zip(rows, cycle(numbers), strict=False):
        out.append(number)
        for i, value in enumerate(row):
            a, c = (row[i - step], above[i - step]) if i >= step else (0, 0)
            b = above[i]
            out.append((value - (0, a, b, (a + b) // 2, paeth(a, b, c))[number]) % 256)
        above = row
    return bytes(out)


def png_by_hand(
    chunk: Array, numbers: Sequence[int], extra: bytes = b"", parts: int = 1, stream: bytes | None = None
) -> bytes:
    """A PNG of one image data chunk or several, whose rows have these filters in turn."""
    picture = picture_of(chunk)
    height, width, channels = picture.shape
    rows = [row.astype(row.dtype.newbyteorder(">")).tobytes() for row in picture]
    size = picture.itemsize
    header = struct.pack(">IIBBBBB", width, height, 8 * size, COLOUR[channels], 0, 0, 0)
    if stream is None:
        stream = zlib.compress(filtered(rows, size * channels, numbers))
    cuts = [len(stream) * i // parts for i in range(parts + 1)]
    data = b"".join(chunk_of(b"IDAT", stream[a:b]) for a, b in pairwise(cuts))
    return b"\x89PNG\r\n\x1a\n" + chunk_of(b"IHDR", header) + extra + data + chunk_of(b"IEND", b"")


@pytest.mark.parametrize("numbers", [[0], [1], [2], [3], [4], [0, 2], [2, 4], [0, 1, 2, 3, 4]], ids=str)
@pytest.mark.parametrize(("dtype", "channels"), KINDS)
def test_every_filter_is_read(dtype: str, channels: int, numbers: list[int]) -> None:
    chunk = noise((*SHAPE, channels), dtype)
    assert np.array_equal(Png().decode(png_by_hand(chunk, numbers), spec_of(chunk)), chunk)


def test_a_filter_that_changes_late_is_read() -> None:
    chunk = noise((4, 30, 2, 1))
    data = png_by_hand(chunk, [2] * 40 + [4] * 20)
    assert np.array_equal(Png().decode(data, spec_of(chunk)), chunk)


@pytest.mark.parametrize("numbers", [[2], [4]])
def test_image_data_in_many_parts_and_notes_between_are_read(numbers: list[int]) -> None:
    chunk = noise((*SHAPE, 3))
    extra = chunk_of(b"tRNS", struct.pack(">HHH", *map(int, chunk[0, 0, 0]))) + chunk_of(b"gAMA", bytes(4))
    extra += chunk_of(b"tEXt", b"Comment\0" + 1000 * b"x") + chunk_of(b"PLTE", bytes(6))
    data = png_by_hand(chunk, numbers, extra, parts=9)
    assert np.array_equal(Png().decode(data, spec_of(chunk)), chunk)


@pytest.mark.parametrize(("dtype", "channels"), KINDS)
def test_libpng_and_we_read_each_other(dtype: str, channels: int) -> None:
    chunk = noise((*SHAPE, channels), dtype)
    picture = picture_of(chunk)
    ours = imagecodecs.png_decode(Png().encode(chunk))
    assert np.array_equal(ours.reshape(picture.shape), picture)
    theirs = imagecodecs.png_encode(picture if channels > 1 else picture[..., 0])
    assert np.array_equal(Png().decode(theirs, spec_of(chunk)), chunk)


@pytest.mark.parametrize(("mode", "channels"), [("L", 1), ("LA", 2), ("RGB", 3), ("RGBA", 4)])
def test_pillow_reads_ours(mode: str, channels: int) -> None:
    chunk = noise((*SHAPE, channels))
    with Image.open(io.BytesIO(Png().encode(chunk))) as image:
        assert (image.mode, image.size) == (mode, (7, 15))
        assert np.array_equal(np.asarray(image).reshape(15, 7, channels), picture_of(chunk))


def test_an_interlaced_file_is_read() -> None:
    """Adam7: the pixels of seven passes, each an image of its own. Pillow writes none."""
    chunk = noise((8, 4, 2, 1))
    picture = picture_of(chunk)[..., 0]
    passes = ["0088", "4088", "0448", "2044", "0224", "1022", "0112"]  # first x and y, steps of x and y
    parts = [picture[int(y) :: int(dy), int(x) :: int(dx)] for x, y, dx, dy in passes]
    rows = b"".join(b"\0" + row.tobytes() for part in parts for row in part)
    header = struct.pack(">IIBBBBB", 8, 8, 8, 0, 0, 0, 1)
    body = chunk_of(b"IDAT", zlib.compress(rows)) + chunk_of(b"IEND", b"")
    data = b"\x89PNG\r\n\x1a\n" + chunk_of(b"IHDR", header) + body
    assert np.array_equal(Png().decode(data, spec_of(chunk)), chunk)


def test_an_image_divided_into_other_rows_is_read() -> None:
    chunk = noise((6, 4, 5, 1))
    other = np.asarray(picture_of(chunk)).reshape(12, 10)
    assert np.array_equal(Png().decode(imagecodecs.png_encode(other), spec_of(chunk)), chunk)


@pytest.mark.parametrize("level", [None, *range(10)])
def test_every_level_keeps_the_voxels(level: int | None) -> None:
    chunk = noise((*SHAPE, 2), "uint16")
    assert np.array_equal(Png(level).decode(Png(level).encode(chunk), spec_of(chunk)), chunk)


def test_the_level_is_honoured() -> None:
    x, y, z = np.ogrid[:64, :64, :16]
    smooth = 90 + 40 * np.sin(x / 9) + 30 * np.cos(y / 11 + z / 5)
    chunk = (smooth + np.random.default_rng(0).normal(0, 4, (64, 64, 16)))[..., np.newaxis].astype(np.uint8)
    sizes = {level: len(Png(level).encode(chunk)) for level in (None, 0, 1, 6, 9)}
    assert sizes[0] > chunk.nbytes  # not compressed at all
    assert sizes[9] <= sizes[6] < sizes[1] < 0.8 * chunk.nbytes
    assert sizes[None] < 0.8 * chunk.nbytes


def test_a_tall_chunk_is_divided_into_rows_that_libpng_takes() -> None:
    chunk = np.zeros((1, 1_000_001 * 2, 1, 1), np.uint8)
    chunk[::7] = 3
    data = Png().encode(chunk)
    assert max(struct.unpack(">II", data[16:24])) <= 1_000_000
    assert imagecodecs.png_decode(data).size == chunk.size
    assert np.array_equal(Png().decode(data, spec_of(chunk)), chunk)
    with pytest.raises(ArgumentError, match="png: a chunk of 1000003 x 1 x 1 voxels fits no image"):
        Png().encode(np.zeros((1_000_003, 1, 1, 1), np.uint8))  # a prime


@pytest.mark.parametrize(
    ("stored", "wanted"),
    [
        (noise((7, 5, 3, 1)), ((7, 5, 3, 2), "uint8")),
        (noise((7, 5, 3, 2)), ((7, 5, 3, 1), "uint8")),
        (noise((7, 5, 3, 1)), ((7, 5, 3, 1), "uint16")),
        (noise((7, 5, 3, 1), "uint16"), ((7, 5, 3, 1), "uint8")),
        (noise((7, 5, 3, 1), "uint16"), ((7, 5, 3, 2), "uint8")),
        (noise((7, 5, 3, 1)), ((7, 5, 4, 1), "uint8")),
    ],
)
def test_another_kind_of_image_is_refused(stored: Array, wanted: Any) -> None:
    shape, dtype = wanted
    with pytest.raises(ValueError, match=r"expected \d+ pixels .* bits, colour type \d, found"):
        Png().decode(Png().encode(stored), ChunkSpec(shape, np.dtype(dtype)))


def test_palettes_and_single_bits_are_refused() -> None:
    for mode in ("P", "1"):
        file = io.BytesIO()
        Image.new(mode, (7, 15)).save(file, "png")
        with pytest.raises(ValueError, match="found 7 x 15"):
            Png().decode(file.getvalue(), ChunkSpec((7, 5, 3, 1), np.dtype("uint8")))


@pytest.mark.parametrize("numbers", [[2], [4]])
def test_image_data_of_another_length_is_refused_with_little_memory(numbers: list[int]) -> None:
    """Too short, and a bomb of 64 MiB."""
    chunk = noise((*SHAPE, 1))
    rows = filtered([row.tobytes() for row in picture_of(chunk)], 1, numbers)
    spec = spec_of(chunk)
    with pytest.raises(ValueError, match="found 119 bytes"):
        Png().decode(png_by_hand(chunk, numbers, stream=zlib.compress(rows[:-1])), spec)
    bomb = png_by_hand(chunk, numbers, stream=zlib.compress(rows + bytes(2**26)))
    tracemalloc.start()
    try:
        with pytest.raises(ValueError, match="found 121 bytes"):
            Png().decode(bomb, spec)
        assert tracemalloc.get_traced_memory()[1] < 2**20
    finally:
        tracemalloc.stop()


@pytest.mark.parametrize("numbers", [[2], [4]])
@pytest.mark.parametrize("dtype", ["uint8", "uint16"])
def test_a_flipped_bit_is_found(dtype: str, numbers: list[int]) -> None:
    """By the checksum of its chunk, if by nothing else."""
    chunk = noise((5, 3, 2, 1), dtype)
    data = png_by_hand(chunk, numbers, chunk_of(b"tEXt", b"a\0b"))
    for position, bit in product(range(len(data)), range(8)):
        damaged = bytearray(data)
        damaged[position] ^= 1 << bit
        with pytest.raises(ValueError):
            Png().decode(damaged, spec_of(chunk))


@pytest.mark.parametrize("numbers", [[2], [4]])
def test_damage_under_right_checksums_is_an_error_or_voxels(numbers: list[int]) -> None:
    """Of the right shape: whoever wrote the file may have meant it."""
    chunk = noise((5, 3, 2, 1))
    rows = filtered([row.tobytes() for row in picture_of(chunk)], 1, numbers)
    stream, refused = zlib.compress(rows), 0
    for position, bit in product(range(len(stream)), range(8)):
        damaged = bytearray(stream)
        damaged[position] ^= 1 << bit
        try:
            found = Png().decode(png_by_hand(chunk, numbers, stream=bytes(damaged)), spec_of(chunk))
        except (ValueError, imagecodecs.PngError):
            refused += 1
        else:
            assert (found.shape, found.dtype) == (chunk.shape, chunk.dtype)
    assert refused > 0.5 * 8 * len(stream)
