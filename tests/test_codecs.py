"""The codecs raw, jpeg, npz and npz_uint8: layouts, golden bytes, damaged input, other programs."""

import io
import json
import sys
import tracemalloc
import zlib
from collections.abc import Callable, Sequence
from contextlib import suppress
from functools import partial
from itertools import product
from pathlib import Path
from types import ModuleType
from typing import Any

import numpy as np
import pluggy
import pytest
import tensorstore
from hypothesis import given, settings
from hypothesis import strategies as st
from numpy.typing import NDArray
from PIL import Image

from precomp import hookspecs
from precomp.errors import ArgumentError, MissingDependencyError
from precomp.hookspecs import CodecPlugin
from precomp.info import READABLE_DATA_TYPES, Scale, VolumeInfo
from precomp.interfaces import ChunkSpec, Codec, DecodesInto, HasLayout
from precomp_plugins.codecs import _npz
from precomp_plugins.codecs import jpeg as jpeg_module
from precomp_plugins.codecs import npz as npz_module
from precomp_plugins.codecs import raw as raw_module
from precomp_plugins.codecs._jpeg import Jpeg
from precomp_plugins.codecs._npz import Npz, NpzUint8
from precomp_plugins.codecs._raw import Raw

Array = NDArray[Any]
Shape = tuple[int, int, int, int]

LAYOUTS = ("C", "F", "sliced", "reversed", "read-only")


def lay_out(chunk: Array, layout: str) -> Array:
    """The same voxels in another memory order."""
    if layout == "sliced":
        wide = np.zeros([2 * n for n in chunk.shape], chunk.dtype)
        wide[::2, 1::2, ::2, 1::2] = chunk
        return wide[::2, 1::2, ::2, 1::2]
    if layout == "reversed":
        return np.ascontiguousarray(chunk[::-1, :, ::-1])[::-1, :, ::-1]
    laid = np.array(chunk, order="C" if layout == "C" else "F")
    laid.flags.writeable = layout != "read-only"
    return laid


def noise(shape: Sequence[int], dtype: str, seed: int) -> Array:
    """Any bits that the dtype can have, NaN and infinity too."""
    rng = np.random.default_rng(seed)
    if dtype == "bool":
        return rng.integers(0, 2, shape).astype(bool)
    bits = np.frombuffer(rng.bytes(int(np.prod(shape)) * np.dtype(dtype).itemsize), dtype)
    return bits.reshape(shape)


def spec_of(chunk: Array) -> ChunkSpec:
    x, y, z, channels = chunk.shape
    return ChunkSpec((x, y, z, channels), chunk.dtype)


def same_bits(found: Array, expected: Array) -> bool:
    """Equal shape, dtype and bits; `==` would call NaN unequal."""
    return (found.shape, found.dtype, found.tobytes()) == (expected.shape, expected.dtype, expected.tobytes())


def shapes(channels: Sequence[int] = (1, 2, 3, 4)) -> st.SearchStrategy[Shape]:
    return st.tuples(st.integers(1, 7), st.integers(1, 6), st.integers(1, 5), st.sampled_from(channels))


any_dtype = st.sampled_from(READABLE_DATA_TYPES)
any_layout = st.sampled_from(LAYOUTS)
any_seed = st.integers(0, 2**32 - 1)


def peak_memory(work: Callable[[], object]) -> int:
    """Bytes that Python and numpy allocate at most during `work`, on top of what was there."""
    tracemalloc.start()
    try:
        with suppress(ValueError):
            work()
        return tracemalloc.get_traced_memory()[1]
    finally:
        tracemalloc.stop()


# ---------------------------------------------------------------- declarations


def declared(module: ModuleType) -> dict[str, CodecPlugin]:
    """The codecs a module provides, asked for as the core asks: through pluggy."""
    manager = pluggy.PluginManager("precomp")
    manager.add_hookspecs(hookspecs)
    manager.register(module)
    manager.check_pending()
    (plugins,) = manager.hook.precomp_register_codecs()
    return {plugin.encoding: plugin for plugin in plugins}


def build(plugin: CodecPlugin, dtype: str = "uint8", channels: int = 1, quality: int | None = None) -> Codec:
    scale = Scale(
        key="8_8_40",
        size=(64, 64, 64),
        resolution=(8, 8, 40),
        chunk_sizes=((64, 64, 64),),
        encoding=plugin.encoding,
        jpeg_quality=quality,
    )
    return plugin.build(VolumeInfo("image", dtype, channels, (scale,)), scale)


@pytest.mark.parametrize(
    ("module", "encoding", "kind", "dtypes", "channels", "lossy", "viewable", "compressible"),
    [
        (raw_module, "raw", Raw, None, None, False, True, True),
        (jpeg_module, "jpeg", Jpeg, ("uint8",), (1, 3), True, True, False),
        (npz_module, "npz", Npz, None, None, False, False, True),
        (npz_module, "npz_uint8", NpzUint8, ("float32",), None, True, False, True),
    ],
)
def test_declarations(
    module: ModuleType,
    encoding: str,
    kind: type[Codec],
    dtypes: object,
    channels: object,
    lossy: bool,
    viewable: bool,
    compressible: bool,
) -> None:
    plugin = declared(module)[encoding]
    assert (plugin.dtypes, plugin.channels) == (dtypes, channels)
    assert (plugin.lossy, plugin.viewable, plugin.compressible) == (lossy, viewable, compressible)
    codec = build(plugin)
    assert isinstance(codec, kind)
    assert isinstance(codec, HasLayout) is (encoding == "raw")
    assert not isinstance(codec, DecodesInto)


def test_jpeg_without_its_package_says_what_to_install(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setitem(sys.modules, "simplejpeg", None)
    plugin = declared(jpeg_module)["jpeg"]
    with pytest.raises(MissingDependencyError, match=r"pip install 'precomp\[jpeg\]'") as caught:
        build(plugin)
    assert isinstance(caught.value.__cause__, ImportError)
    assert plugin.install_hint == "pip install 'precomp[jpeg]'"


# ------------------------------------------------------------------------- raw


def test_raw_golden_bytes() -> None:
    """Voxel (x, y, z, c) holds 0x1000*c + 0x100*z + 0x10*y + x: x is fastest, then y, z, channel."""
    x, y, z, c = np.meshgrid(range(2), range(3), range(2), range(2), indexing="ij")
    chunk = (0x1000 * c + 0x100 * z + 0x10 * y + x).astype(np.uint16)
    golden = bytes.fromhex(
        "0000 0100 1000 1100 2000 2100  0001 0101 1001 1101 2001 2101"
        "0010 0110 1010 1110 2010 2110  0011 0111 1011 1111 2011 2111"
    )
    assert bytes(Raw().encode(chunk)) == golden
    assert np.array_equal(Raw().decode(golden, ChunkSpec((2, 3, 2, 2), np.dtype("uint16"))), chunk)


def raw_model(chunk: Array) -> bytes:
    """Voxel by voxel, as the specification words it."""
    nx, ny, nz, nc = chunk.shape
    little = chunk.astype(chunk.dtype.newbyteorder("<"))
    order = product(range(nc), range(nz), range(ny), range(nx))
    return b"".join(little[x, y, z, c].tobytes() for c, z, y, x in order)


@settings(deadline=None, max_examples=150)
@given(shapes(), any_dtype, any_layout, any_seed)
def test_raw_is_the_model(shape: Shape, dtype: str, layout: str, seed: int) -> None:
    chunk = noise(shape, dtype, seed)
    laid = lay_out(chunk, layout)
    encoded = Raw().encode(laid)
    assert bytes(encoded) == raw_model(chunk)
    assert same_bits(laid, chunk)
    assert same_bits(Raw().decode(encoded, spec_of(chunk)), chunk)


def test_raw_encodes_stored_order_without_a_copy_and_read_only() -> None:
    chunk = np.asfortranarray(noise((4, 3, 2, 2), "uint32", 0))
    encoded = Raw().encode(chunk)
    assert np.shares_memory(np.asarray(encoded), chunk)
    assert encoded.readonly
    assert (encoded.format, encoded.ndim, len(encoded)) == ("B", 1, chunk.nbytes)
    other = np.ascontiguousarray(chunk)
    assert not np.shares_memory(np.asarray(Raw().encode(other)), other)


@pytest.mark.parametrize("kind", [bytes, bytearray, memoryview])
def test_raw_decodes_without_a_copy(kind: type[Any]) -> None:
    chunk = noise((4, 3, 2, 2), "uint32", 1)
    data = kind(bytes(Raw().encode(chunk)))
    decoded = Raw().decode(data, spec_of(chunk))
    assert np.array_equal(decoded, chunk)
    assert np.shares_memory(decoded, np.frombuffer(data, np.uint8))
    assert decoded.flags.f_contiguous


def test_raw_stores_a_bool_as_0_or_1_and_reads_every_other_byte_as_true() -> None:
    chunk = np.array([True, False, True]).reshape(3, 1, 1, 1)
    assert bytes(Raw().encode(chunk)) == b"\x01\x00\x01"
    masks = Raw().decode(b"\xff\x00\x02", spec_of(chunk))
    assert masks.dtype == bool
    assert masks.tobytes() == b"\x01\x00\x01"
    assert Raw().layout(spec_of(chunk)).dtype == np.uint8  # which numpy turns into such a bool


@pytest.mark.parametrize("dtype", ["uint16", "uint64", "float32"])
def test_raw_serves_a_big_endian_caller(dtype: str) -> None:
    """The way of a big-endian machine, whose native dtypes are these."""
    chunk = np.arange(24).reshape(4, 3, 2, 1).astype(dtype)
    big = chunk.astype(chunk.dtype.newbyteorder(">"))
    encoded = bytes(Raw().encode(big))
    assert encoded == raw_model(chunk)
    decoded = Raw().decode(encoded, spec_of(big))
    assert decoded.dtype == big.dtype
    assert np.array_equal(decoded, chunk)
    assert Raw().layout(spec_of(big)).dtype == chunk.dtype


@pytest.mark.parametrize("length", [0, 1, 47, 49, 96])
def test_raw_refuses_every_other_length(length: int) -> None:
    spec = ChunkSpec((2, 3, 4, 1), np.dtype("uint16"))
    with pytest.raises(ValueError, match=rf"expected 48 bytes .* found {length}$"):
        Raw().decode(bytes(length), spec)


@given(shapes(), any_dtype, any_seed)
def test_raw_tells_where_each_voxel_is(shape: Shape, dtype: str, seed: int) -> None:
    chunk = noise(shape, dtype, seed)
    stored, layout = raw_model(chunk), Raw().layout(spec_of(chunk))
    assert layout.size == len(stored)
    seen = np.ndarray(shape, layout.dtype, stored, layout.start, layout.strides)
    assert same_bits(seen.astype(chunk.dtype), chunk)


# ------------------------------------------------------------------------ jpeg

COLOURS = np.array([[200, 30, 40], [20, 190, 60], [10, 50, 220], [240, 230, 20]], np.uint8)


def painted(channels: int) -> Array:
    """16 x 8 x 2 voxels: each half of x in each z has a colour of its own."""
    chunk = np.empty((16, 8, 2, channels), np.uint8)
    for number, (i, z) in enumerate(product(range(2), range(2))):
        chunk[8 * i : 8 * i + 8, :, z] = COLOURS[number, :channels]
    return chunk


def picture(channels: int) -> Array:
    """The image of `painted`, written by hand: 16 columns; 8 rows of z = 0, then 8 of z = 1."""
    image = np.empty((16, 16, channels), np.uint8)
    image[:8, :8], image[8:, :8] = COLOURS[0, :channels], COLOURS[1, :channels]
    image[:8, 8:], image[8:, 8:] = COLOURS[2, :channels], COLOURS[3, :channels]
    return image


def pillow_jpeg(image: Array, **options: Any) -> bytes:
    file = io.BytesIO()
    Image.fromarray(image.squeeze(-1) if image.shape[-1] == 1 else image).save(
        file, "jpeg", **{"quality": 100, "subsampling": 0, **options}
    )
    return file.getvalue()


def close(found: Array, expected: Array, tolerance: int = 3) -> bool:
    same = (found.shape, found.dtype) == (expected.shape, expected.dtype)
    return same and int(np.abs(found.astype(int) - expected.astype(int)).max()) <= tolerance


@pytest.mark.parametrize("channels", [1, 3])
@pytest.mark.parametrize("width", [16, 128, 8, 256, 1, 32])
def test_jpeg_reads_pillows_picture(channels: int, width: int) -> None:
    """Axis order and interleaved components, in every division into rows."""
    image = picture(channels).reshape(-1, width, channels)
    # Narrow or wide images mix the colours within 8 x 8 blocks a little.
    found = Jpeg().decode(pillow_jpeg(image), spec_of(painted(channels)))
    assert close(found, painted(channels), 6)


@pytest.mark.parametrize("channels", [1, 3])
@pytest.mark.parametrize("options", [{"progressive": True}, {"optimize": True}, {"restart_marker_rows": 1}])
def test_jpeg_reads_other_kinds(channels: int, options: dict[str, Any]) -> None:
    data = pillow_jpeg(picture(channels), **options)
    assert close(Jpeg().decode(data, spec_of(painted(channels))), painted(channels))


def test_jpeg_reads_subsampled_and_untransformed_colour() -> None:
    for options in ({"subsampling": 2}, {"keep_rgb": True}):
        data = pillow_jpeg(picture(3), **options)
        # Subsampling blurs the colours' borders; away from them all is as painted.
        inner = np.s_[2:6, 2:6, :]
        assert close(Jpeg().decode(data, spec_of(painted(3)))[inner], painted(3)[inner])


@pytest.mark.parametrize(("channels", "mode"), [(1, "L"), (3, "RGB")])
@pytest.mark.parametrize("layout", LAYOUTS)
def test_pillow_opens_our_jpeg(channels: int, mode: str, layout: str) -> None:
    with Image.open(io.BytesIO(Jpeg(100).encode(lay_out(painted(channels), layout)))) as image:
        assert (image.format, image.mode, image.size) == ("JPEG", mode, (16, 16))
        sampling = [component[1:3] for component in image.layer]  # type: ignore[attr-defined]
        assert sampling == [(1, 1)] * channels  # 4:4:4
        assert close(np.asarray(image).reshape(16, 16, channels), picture(channels))


@settings(deadline=None, max_examples=60)
@given(shapes(channels=(1, 3)), any_layout, any_seed)
def test_jpeg_round_trip(shape: Shape, layout: str, seed: int) -> None:
    x, y, z, c = np.meshgrid(*map(range, shape), indexing="ij")
    chunk = (seed % 150 + 5 * x + 4 * y + 3 * z + 10 * c).astype(np.uint8)
    encoded = Jpeg(100).encode(lay_out(chunk, layout))
    assert encoded == Jpeg(100).encode(chunk)
    assert close(Jpeg().decode(encoded, spec_of(chunk)), chunk, 4)


@pytest.mark.parametrize(("asked", "quality"), [(None, 85), (0, 0), (30, 30), (100, 100)])
def test_jpeg_quality_is_the_scales(asked: int | None, quality: int) -> None:
    """Pillow and simplejpeg share libjpeg's quality scale, so their quantization tables agree."""
    codec = build(declared(jpeg_module)["jpeg"], channels=3, quality=asked)
    with (
        Image.open(io.BytesIO(bytes(codec.encode(painted(3))))) as ours,
        # Pillow reads quality 0 as "default"; libjpeg makes it 1.
        Image.open(io.BytesIO(pillow_jpeg(picture(3), quality=max(quality, 1)))) as theirs,
    ):
        assert ours.quantization == theirs.quantization  # type: ignore[attr-defined]


@pytest.mark.parametrize(
    ("shape", "size"),
    [
        ((4, 5, 6), (4, 30)),
        ((2, 40_000, 2), (4, 40_000)),
        ((256, 256, 256), (512, 32_768)),
        ((3, 7, 20_011), (21, 20_011)),
        ((70_000, 1, 1), (35_000, 2)),
        ((65_500, 1, 1), (65_500, 1)),
        ((1, 1, 65_501), (17, 3_853)),
    ],
)
def test_jpeg_divides_tall_chunks_into_rows_that_fit(
    shape: tuple[int, int, int], size: tuple[int, int]
) -> None:
    x, y, z = np.meshgrid(*map(np.arange, shape), indexing="ij", sparse=True)
    chunk = (100 + x // 2000 + y // 2000 + z // 2000 + 0 * (x + y + z)).astype(np.uint8)[..., np.newaxis]
    encoded = Jpeg(95).encode(chunk)
    with Image.open(io.BytesIO(encoded)) as image:
        assert image.size == size
    assert close(Jpeg().decode(encoded, spec_of(chunk)), chunk, 6)


def test_jpeg_says_when_a_chunk_fits_no_image() -> None:
    with pytest.raises(ArgumentError, match=r"65521 x 1 x 1 .* 65500 x 65500 .*chunk_size"):
        Jpeg().encode(np.zeros((65_521, 1, 1, 1), np.uint8))  # a prime


@pytest.mark.parametrize(
    ("image", "channels"),
    [
        (picture(1), 3),
        (picture(3), 1),
        (picture(1)[:15], 1),
        (picture(3)[:, :15], 3),
        (np.concatenate([picture(1)] * 2), 1),
    ],
)
def test_jpeg_refuses_other_sizes_and_components(image: Array, channels: int) -> None:
    with pytest.raises(ValueError, match=r"expected 256 pixels .* found \d+ x \d+ in"):
        Jpeg().decode(pillow_jpeg(image), spec_of(painted(channels)))


def test_jpeg_refuses_four_components() -> None:
    file = io.BytesIO()
    Image.fromarray(picture(3)).convert("CMYK").save(file, "jpeg")
    for channels in (1, 3):
        with pytest.raises(ValueError, match="found 16 x 16 in CMYK"):
            Jpeg().decode(file.getvalue(), spec_of(painted(channels)))


@pytest.mark.parametrize("channels", [1, 3])
@pytest.mark.parametrize("progressive", [False, True])
def test_jpeg_refuses_truncation_at_every_byte(channels: int, progressive: bool) -> None:
    data = pillow_jpeg(picture(channels), progressive=progressive)
    spec = spec_of(painted(channels))
    assert close(Jpeg().decode(data, spec), painted(channels))
    for length in range(len(data)):
        with pytest.raises(ValueError):
            Jpeg().decode(data[:length], spec)


def test_jpeg_with_a_flipped_bit_is_refused_or_of_the_right_shape() -> None:
    """JPEG has no checksum: some damage cannot be seen, none may crash or change the shape."""
    chunk = noise((16, 8, 2, 3), "uint8", 5)
    data, refused = Jpeg().encode(chunk), 0
    for position, bit in product(range(len(data)), range(8)):
        damaged = bytearray(data)
        damaged[position] ^= 1 << bit
        try:
            decoded = Jpeg().decode(damaged, spec_of(chunk))
        except ValueError:
            refused += 1
        else:
            assert (decoded.shape, decoded.dtype) == (chunk.shape, chunk.dtype)
    assert refused > 1000


def test_jpeg_claiming_gigapixels_is_refused_before_memory_is_taken() -> None:
    data = bytearray(pillow_jpeg(picture(3)))
    frame = data.index(b"\xff\xc0")
    data[frame + 5 : frame + 9] = (65_500).to_bytes(2, "big") * 2
    with pytest.raises(ValueError, match="found 65500 x 65500"):
        Jpeg().decode(data, spec_of(painted(3)))
    assert peak_memory(partial(Jpeg().decode, data, spec_of(painted(3)))) < 2**20


# --------------------------------------------------------- npz and npz_uint8

# Written by cloud-volume 12.15: np.arange(12, dtype="uint16").reshape(3, 2, 2, 1), Fortran order.
CLOUDVOLUME_NPZ = bytes.fromhex(
    "789c9bec17ea1b10c9c850c650ad9e925a9c5ca46ea5a06e536aa4aea3a09e965f54529498179f5f94920a120f292a4d"
    "050a17672416a402b91ac63a0a466064a8a9a350ab400ee062606061e06060626063e06260646065e06460666067e066"
    "0000f4661bcb"
)


def npz_of(array: Array, **options: Any) -> bytes:
    """What the other programs do: numpy.save, then zlib."""
    file = io.BytesIO()
    np.lib.format.write_array(file, array, **options)
    return zlib.compress(file.getvalue())


def test_npz_is_read_in_spite_of_a_parser_that_fails_now_and_then(monkeypatch: pytest.MonkeyPatch) -> None:
    """Python 3.11 raises SystemError where two threads parse at a time, which no test can bring about."""
    chunk = noise((5, 4, 3, 1), "uint16", 7)
    data, calls = Npz().encode(chunk), []
    read = np.lib.format.read_array_header_1_0

    def failing(file: Any) -> Any:
        calls.append(1)
        if len(calls) < 5:
            raise SystemError("AST constructor recursion depth mismatch (before=20, after=17)")
        return read(file)

    monkeypatch.setattr(np.lib.format, "read_array_header_1_0", failing)
    monkeypatch.setattr(_npz, "_known", {})
    for _ in range(2):
        assert same_bits(Npz().decode(data, spec_of(chunk)), chunk)
    assert len(calls) == 5  # the second time the header is known


def test_npz_reads_cloud_volumes_bytes() -> None:
    chunk = np.arange(12, dtype=np.uint16).reshape(3, 2, 2, 1)
    assert same_bits(Npz().decode(CLOUDVOLUME_NPZ, spec_of(chunk)), chunk)


@settings(deadline=None, max_examples=100)
@given(shapes(), any_dtype, any_layout, any_seed)
def test_npz_round_trip_and_numpy_reads_it(shape: Shape, dtype: str, layout: str, seed: int) -> None:
    chunk = noise(shape, dtype, seed)
    encoded = Npz().encode(lay_out(chunk, layout))
    assert encoded == Npz().encode(chunk)
    assert same_bits(Npz().decode(encoded, spec_of(chunk)), chunk)
    npy = zlib.decompress(encoded)
    assert npy[:8] == b"\x93NUMPY\x01\x00"
    loaded = np.load(io.BytesIO(npy), allow_pickle=False)
    assert same_bits(loaded, chunk)
    assert loaded.dtype.byteorder in "<=|"


@pytest.mark.parametrize("version", [(1, 0), (2, 0), (3, 0)])
@pytest.mark.parametrize("byte_order", ["little", "big"])
@pytest.mark.parametrize("memory_order", "CF")
@pytest.mark.parametrize("channels", [1, 3])
def test_npz_reads_every_npy(
    version: tuple[int, int], byte_order: Any, memory_order: Any, channels: int
) -> None:
    chunk = noise((4, 3, 2, channels), "uint32", 7)
    stored = np.array(chunk, chunk.dtype.newbyteorder(byte_order), order=memory_order)
    decoded = Npz().decode(npz_of(stored, version=version), spec_of(chunk))
    assert same_bits(decoded, chunk)


@pytest.mark.parametrize("shape", [(4, 3, 2, 1), (1, 3, 2, 1), (1, 1, 4, 1), (1, 1, 1, 1)])
@pytest.mark.parametrize("memory_order", "CF")
def test_npz_reads_chunks_without_a_channel_axis(shape: Shape, memory_order: Any) -> None:
    chunk = noise(shape, "uint16", 8)
    for stored in (chunk[..., 0], chunk[np.newaxis, ..., 0]):
        data = npz_of(np.array(stored, order=memory_order))
        assert same_bits(Npz().decode(data, spec_of(chunk)), chunk)


CHUNK = noise((4, 3, 2, 2), "uint16", 9)


@pytest.mark.parametrize(
    "stored",
    [
        CHUNK.astype("uint32"),
        CHUNK.astype("int16"),
        CHUNK.astype("<M8[s]"),
        CHUNK.view([("a", "<u2")]),
        CHUNK.transpose(3, 0, 1, 2),
        CHUNK.reshape(4, 3, 4, 1),
        CHUNK[..., :1],
        CHUNK.ravel(),
        np.uint16(3).reshape(()),
    ],
)
def test_npz_refuses_other_shapes_and_dtypes(stored: Array) -> None:
    with pytest.raises(ValueError, match=r"expected uint16, shape \(4, 3, 2, 2\), found"):
        Npz().decode(npz_of(stored), spec_of(CHUNK))


def test_npz_never_unpickles() -> None:
    data = npz_of(CHUNK.astype(object), allow_pickle=True)
    with pytest.raises(ValueError, match="found object"):
        Npz().decode(data, spec_of(CHUNK))


def npy_of(array: Array) -> bytes:
    return zlib.decompress(npz_of(array))


@pytest.mark.parametrize(
    "npy",
    [
        b"",
        b"\x93NUMPY",
        b"\x93NUMPY\x09\x00" + npy_of(CHUNK)[8:],
        b"\x93NUMPY\x02\x00" + b"\xff" * 4 + npy_of(CHUNK)[10:],
        npy_of(CHUNK)[10:],
        npy_of(CHUNK)[:-1],
        npy_of(CHUNK) + b"\0",
        npy_of(CHUNK) * 2,
        npy_of(CHUNK).replace(b"(4, 3, 2, 2)", b"(4, 3, 2,-2)"),
        npy_of(CHUNK).replace(b"(4, 3, 2, 2)", b"__import__()"),
        npy_of(CHUNK)[:10] + b" " * 70_000 + npy_of(CHUNK)[10:],
        np.random.default_rng(0).bytes(500),
    ],
)
def test_npz_refuses_broken_npy(npy: bytes) -> None:
    with pytest.raises(ValueError):
        Npz().decode(zlib.compress(npy), spec_of(CHUNK))


def test_npz_refuses_truncation_at_every_byte_and_anything_after_the_stream() -> None:
    data = Npz().encode(CHUNK)
    for length in range(len(data)):
        with pytest.raises(ValueError):
            Npz().decode(data[:length], spec_of(CHUNK))
    for after in (b"\0", b"x", data):
        with pytest.raises(ValueError, match="more after the end"):
            Npz().decode(data + after, spec_of(CHUNK))


@pytest.mark.parametrize("make", [Npz().encode, npz_of])
def test_npz_with_a_flipped_bit_is_refused_or_harmless(make: Callable[[Array], bytes]) -> None:
    """Some bits of a zlib stream mean nothing; no other flip gets past its checksum."""
    data = make(CHUNK)
    for position, bit in product(range(len(data)), range(8)):
        damaged = bytearray(data)
        damaged[position] ^= 1 << bit
        with suppress(ValueError):
            assert same_bits(Npz().decode(damaged, spec_of(CHUNK)), CHUNK)


def test_npz_bombs_take_little_memory() -> None:
    longer = zlib.compress(npy_of(CHUNK) + bytes(2**26))
    claiming = npz_of(np.zeros((2**13, 2**13), np.uint8))
    for data in (longer, claiming):
        with pytest.raises(ValueError):
            Npz().decode(data, spec_of(CHUNK))
        assert peak_memory(partial(Npz().decode, data, spec_of(CHUNK))) < 2**20


STEPS = np.arange(256, dtype=np.uint8).reshape(8, 8, 4, 1)


def test_npz_uint8_keeps_every_step() -> None:
    chunk = STEPS.astype(np.float32) / np.float32(255)
    encoded = NpzUint8().encode(chunk)
    assert same_bits(np.load(io.BytesIO(zlib.decompress(encoded))), STEPS)
    decoded = NpzUint8().decode(encoded, spec_of(chunk))
    assert same_bits(decoded, chunk)
    assert (decoded.min(), decoded.max()) == (0, 1)


def test_npz_uint8_reads_what_others_write() -> None:
    spec = ChunkSpec((8, 8, 4, 1), np.dtype("float32"))
    for stored in (STEPS, STEPS[..., 0], np.asfortranarray(STEPS)):
        assert np.array_equal(NpzUint8().decode(npz_of(stored), spec), STEPS.astype(np.float32) / 255)
    with pytest.raises(ValueError, match="expected uint8"):
        NpzUint8().decode(npz_of(STEPS.astype(np.float32)), spec)


@settings(deadline=None, max_examples=50)
@given(shapes(), any_layout, any_seed)
def test_npz_uint8_rounds_to_the_nearest_step(shape: Shape, layout: str, seed: int) -> None:
    chunk = np.random.default_rng(seed).random(shape, np.float32)
    encoded = NpzUint8().encode(lay_out(chunk, layout))
    decoded = NpzUint8().decode(encoded, spec_of(chunk))
    assert (decoded.shape, decoded.dtype) == (chunk.shape, chunk.dtype)
    assert np.abs(decoded - chunk).max() <= 0.5001 / 255
    assert NpzUint8().encode(decoded) == encoded


@pytest.mark.parametrize("bad", [np.nan, np.inf, -np.inf, -0.001, 1.001, 255.0])
def test_npz_uint8_refuses_what_it_cannot_hold(bad: float) -> None:
    chunk = np.full((3, 2, 2, 1), 0.5, np.float32)
    chunk[1, 1, 0] = bad
    with pytest.raises(ArgumentError, match=r"expected voxels of 0 to 1, found .*clip"):
        NpzUint8().encode(chunk)


# ------------------------------------------------------------ all, and the others

CODECS: list[tuple[Codec, ChunkSpec]] = [
    (Raw(), ChunkSpec((4, 3, 2, 1), np.dtype("uint8"))),
    (Jpeg(), ChunkSpec((4, 3, 2, 1), np.dtype("uint8"))),
    (Jpeg(), ChunkSpec((4, 3, 2, 3), np.dtype("uint8"))),
    (Npz(), ChunkSpec((4, 3, 2, 1), np.dtype("uint8"))),
    (NpzUint8(), ChunkSpec((4, 3, 2, 1), np.dtype("float32"))),
]


@settings(deadline=None, max_examples=200)
@given(
    st.sampled_from(CODECS),
    st.binary(max_size=300),
    st.sampled_from([b"", b"\xff\xd8\xff", b"x\x9c", b"x\x01"]),
)
def test_garbage_is_a_value_error(codec: tuple[Codec, ChunkSpec], garbage: bytes, magic: bytes) -> None:
    codec_, spec = codec
    data = magic + garbage
    if isinstance(codec_, Raw) and len(data) == spec.nbytes:
        return
    with pytest.raises(ValueError):
        codec_.decode(data, spec)


def layer_info(encoding: str, chunk: Array, offset: Sequence[int]) -> dict[str, Any]:
    size = list(chunk.shape[:3])
    return {
        "@type": "neuroglancer_multiscale_volume",
        "type": "image",
        "data_type": chunk.dtype.name,
        "num_channels": chunk.shape[3],
        "scales": [
            {
                "key": "8_8_40",
                "size": size,
                "resolution": [8, 8, 40],
                "voxel_offset": list(offset),
                "chunk_sizes": [size],
                "encoding": encoding,
                **({"jpeg_quality": 100} if encoding == "jpeg" else {}),
            }
        ],
    }


OFFSET = (-2, 3, 10)


def chunk_file(folder: Path, shape: Sequence[int]) -> Path:
    """The one chunk of the layer, under the name that the specification gives it."""
    name = "_".join(f"{start}-{start + n}" for start, n in zip(OFFSET, shape, strict=False))
    return folder / "8_8_40" / name


def open_tensorstore(folder: Path, encoding: str, chunk: Array, create: bool) -> Any:
    info = layer_info(encoding, chunk, OFFSET)
    if not create:
        (folder / "8_8_40").mkdir(parents=True)
        (folder / "info").write_text(json.dumps(info))
        metadata = {}
    else:
        (scale,) = info.pop("scales")
        del info["@type"]
        scale["chunk_size"] = scale.pop("chunk_sizes")[0]
        metadata = {"multiscale_metadata": info, "scale_metadata": scale}
    spec = {
        "driver": "neuroglancer_precomputed",
        "kvstore": {"driver": "file", "path": f"{folder}/"},
        **metadata,
    }
    return tensorstore.open(spec, create=create, open=not create).result()


INTEROP = [
    *[
        ("raw", dtype, channels)
        for dtype in ("uint8", "uint16", "int32", "uint64", "float32")
        for channels in (1, 3)
    ],
    ("jpeg", "uint8", 1),
    ("jpeg", "uint8", 3),
]


def ramp(dtype: str, channels: int) -> Array:
    """Different along every axis, and smooth enough for jpeg."""
    x, y, z, c = np.meshgrid(range(20), range(13), range(7), range(channels), indexing="ij")
    values: Array = 3 * x + 4 * y + 10 * z + 30 * c
    return values.astype(dtype)


@pytest.mark.parametrize(("encoding", "dtype", "channels"), INTEROP)
def test_tensorstore_reads_ours_and_we_read_its(
    tmp_path: Path, encoding: str, dtype: str, channels: int
) -> None:
    chunk = ramp(dtype, channels)
    codec: Codec = Raw() if encoding == "raw" else Jpeg(100)
    tolerance = 0 if encoding == "raw" else 4

    ours = open_tensorstore(tmp_path / "ours", encoding, chunk, create=False)
    chunk_file(tmp_path / "ours", chunk.shape).write_bytes(codec.encode(chunk))
    assert close(ours.read().result(), chunk, tolerance)

    theirs = open_tensorstore(tmp_path / "theirs", encoding, chunk, create=True)
    theirs.write(chunk).result()
    data = chunk_file(tmp_path / "theirs", chunk.shape).read_bytes()
    assert close(codec.decode(data, spec_of(chunk)), chunk, tolerance)


def test_tensorstore_reads_a_jpeg_divided_into_other_rows(tmp_path: Path) -> None:
    chunk = np.zeros((2, 40_000, 2, 1), np.uint8)
    chunk[..., 0] = (np.arange(40_000) // 400)[np.newaxis, :, np.newaxis]
    theirs = open_tensorstore(tmp_path, "jpeg", chunk, create=False)
    chunk_file(tmp_path, chunk.shape).write_bytes(Jpeg(100).encode(chunk))
    assert close(theirs.read().result(), chunk)


def test_jpeg_refuses_a_file_of_very_many_scans() -> None:
    """Each costs as much as decoding the image once."""
    chunk = noise((16, 16, 4, 1), "uint8", 0)
    image = Image.fromarray(np.asarray(chunk.transpose(2, 1, 0, 3)).reshape(64, 16))
    with io.BytesIO() as file:
        image.save(file, "JPEG", progressive=True)
        progressive = file.getvalue()
    assert Jpeg().decode(progressive, spec_of(chunk)).shape == chunk.shape
    last = progressive.rindex(b"\xff\xda")
    many = progressive[:last] + 600 * progressive[last:-2] + progressive[-2:]
    with pytest.raises(ValueError, match="at most 500 scans"):
        Jpeg().decode(many, spec_of(chunk))
