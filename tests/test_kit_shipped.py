"""The plugins that ship keep to the contract: they pass the kit that other plugins are tested with."""

import io
import os
import struct
import uuid
import zlib
from importlib.metadata import distribution
from pathlib import Path
from typing import Any, ClassVar

import numpy as np
from numpy.typing import NDArray

from precomp.hookspecs import ENTRY_POINT_GROUP
from precomp.interfaces import Blob, Store
from precomp.memory import open_shared
from precomp.testing import CodecTests, CompressorTests, Golden, PluginTests, StoreTests
from precomp_plugins._file.store import FileStore
from precomp_plugins.codecs import (
    compressed_segmentation,
    compresso,
    crackle,
    fpzip,
    jpeg,
    jxl,
    npz,
    png,
    raw,
    zfpc,
)
from precomp_plugins.compressors import br, gzip, zstd

PNG = bytes.fromhex(
    "89504e470d0a1a0a0000000d49484452000000020000000c1004000000b225789c000000174944415408d763646060906060"
    "646064616002429a32002178008a46af80500000000049454e44ae426082"
)
Shape = tuple[int, int, int, int]
RAMP = np.arange(48, dtype=np.uint16).reshape((2, 3, 4, 2), order="F")


class TestFile(StoreTests):
    """`file://`, whose folder is a look behind the store's back."""

    picklable = True

    def make_store(self) -> Store:
        self.layer = self.new_folder()
        return FileStore(self.layer)

    def raw_put(self, store: Store, key: str, data: bytes) -> None:
        path = Path(self.layer, key)
        path.parent.mkdir(parents=True)
        path.write_bytes(data)

    def raw_get(self, store: Store, key: str) -> bytes:
        return Path(self.layer, key).read_bytes()

    def make_failing_store(self) -> Store:
        loop = Path(self.new_folder(), "loop")
        os.symlink(loop, loop)
        return FileStore(loop)


class TestMemory(StoreTests):
    """`mem://`, whose folders are views of one tree."""

    keeps_headers = True
    picklable = True

    def make_store(self) -> Store:
        self.bucket = str(uuid.uuid4())
        return open_shared(f"{self.bucket}/layer")

    def raw_put(self, store: Store, key: str, data: bytes) -> None:
        open_shared(self.bucket).put(f"layer/{key}", Blob(data))

    def raw_get(self, store: Store, key: str) -> bytes | None:
        blob = open_shared(self.bucket).get(f"layer/{key}")
        return None if blob is None else bytes(blob.data)


class TestRaw(CodecTests):
    plugin = raw.precomp_register_codecs()[0]
    golden = (Golden(struct.pack("<48H", *range(48)), RAMP),)


class TestOldTypes(CodecTests):
    """What is read and not created."""

    plugin = raw.precomp_register_codecs()[0]
    dtypes = ("bool", "int64", "float64")


class TestJpeg(CodecTests):
    plugin = jpeg.precomp_register_codecs()[0]


class TestPng(CodecTests):
    plugin = png.precomp_register_codecs()[0]
    # Written by libpng: 2 x 12 pixels of grey and alpha, 16 bits; voxel (x, y, z, c) is its number.
    golden = (Golden(PNG, RAMP),)


LABELS = np.array([1, 2**40 + 3, 7], np.uint64)[np.arange(24) % 3].reshape((2, 3, 4, 1), order="F")
# One channel, from word 1 on, of one block of 8 x 8 x 8: indices of 2 bits at word 2, their table at word 34.
# A word holds two rows of x.
ROWS = [sum((2 * row + x) % 3 << 2 * x for x in range(2)) for row in range(12)]
PAIRS = [
    ROWS[3 * z + y] | ROWS[3 * z + y + 1] << 16 if y == 0 else ROWS[3 * z + y]
    for z in range(4)
    for y in (0, 2)
]
WORDS = [word for z in range(4) for word in (*PAIRS[2 * z : 2 * z + 2], 0, 0)] + 16 * [0]
CSEG = struct.pack("<3I32I3Q", 1, 34 | 2 << 24, 2, *WORDS, 1, 2**40 + 3, 7)


class TestCompressedSegmentation(CodecTests):
    plugin = compressed_segmentation.precomp_register_codecs()[0]
    golden = (Golden(CSEG, LABELS),)
    refuses_more = False  # headers may leave words unused
    tells_size = False


# Written by compresso 3.3, which is what cloud-volume calls.
CPSO = bytes.fromhex(
    "6370736f01080200030004000404010400000000000000010000001400000000000000040700000000000000070000000000"
    "000007000000000000000700000000000000330108000000000000000a000000000100000e00000000000000080000000000"
    "00000a0000000001000008000000000000000a000000000100000e0000000000000008000000000000000a00000000010000"
    "08000000000000000a000000000100000e0000000000000008000000000000000a0000000001000008000000000000000a00"
    "0000000100000e0000000000000008000000000000000a0000000001000009000101010100050505"
)


class TestCompresso(CodecTests):
    plugin = compresso.precomp_register_codecs()[0]
    golden = (Golden(CPSO, LABELS),)


class TestCompressoOfSegments(TestCompresso):
    """Regions larger than a voxel."""

    def sample(self, shape: Shape, dtype: np.dtype[Any], seed: int = 0) -> NDArray[Any]:
        x, y, z, c = np.ogrid[tuple(slice(0, n) for n in shape)]
        return np.asfortranarray(((x + seed) // 3 + 5 * (y // 4) + 7 * (z // 2) + 11 * c).astype(dtype))


# Written by crackle-codec 0.55, which is what cloud-volume calls.
CRKL = bytes.fromhex(
    "63726b6c019f000200000003000000040000001f3c00000000000000ad050000000500000005000000050000000edb884c03"
    "0000000000000001000000000000000700000000000000030000000001000006060606000201000201000201000201000201"
    "0002010002010002010100000000010000000001000000000100000000285a03b52813a4862813a4862813a4862813a486"
)


class TestCrackle(CodecTests):
    plugin = crackle.precomp_register_codecs()[0]
    dtypes = ("uint8", "uint64")
    golden = (Golden(CRKL, LABELS),)


class TestCrackleOfSegments(TestCompressoOfSegments):
    plugin = crackle.precomp_register_codecs()[0]
    dtypes = ("uint16", "uint32")
    golden = ()


EIGHTHS = np.asfortranarray(RAMP / np.float32(8))
# Written by fpzip 1.2.5 and zfpc 0.1.2 (tolerance 0.01), which are what cloud-volume calls.
FPZ = bytes.fromhex(
    "66707929870ef0ff0001fe000002fd000003fc000001fe00814f9c4e7a655311cd57a60187e0ed52417baa7957062e13cd20"
    "09a1787ed1177d3f40044379cf86c2578107985540fe7e600e3606db0c8d8990232e7eec1f70713180"
)
ZFPC = bytes.fromhex(
    "7a6670630023020000000300000004000000020000000f270000000000000058000000000000007a6670051e0003200001c0"
    "ca052d01a800116015800100500010008000c000000000000020040000000000000000000000000000000000000000000000"
    "000000000000000000000000000000000000000000000000000000"
)


class TestFpzip(CodecTests):
    plugin = fpzip.precomp_register_codecs()[0]
    golden = (Golden(FPZ, EIGHTHS),)
    tolerance = 0.0


class TestZfpc(CodecTests):
    plugin = zfpc.precomp_register_codecs()[0]
    golden = (Golden(ZFPC, EIGHTHS),)
    tolerance = 0.0


class TestZfpcOfPlanes(TestZfpc):
    channels = (2,)
    tolerance = 0.01
    scale_fields: ClassVar = {"zfpc_tolerance": 0.01, "zfpc_correlated_dims": (True, True, False, False)}


class TestJxl(CodecTests):
    plugin = jxl.precomp_register_codecs()[0]
    tolerance = 0.1  # small images lose more; swapped axes would show without loss
    refuses_more = False  # other boxes may follow


class TestJxlWithoutLoss(TestJxl):
    tolerance = 0.0
    scale_fields: ClassVar = {"jxl_quality": 100}


def npz_by_numpy(chunk: NDArray[Any]) -> bytes:
    file = io.BytesIO()
    np.save(file, chunk)
    return zlib.compress(file.getvalue())


class TestNpz(CodecTests):
    plugin = npz.precomp_register_codecs()[0]
    golden = (Golden(npz_by_numpy(RAMP), RAMP),)


class TestNpzUint8(CodecTests):
    plugin = npz.precomp_register_codecs()[1]
    tolerance = 0.5001 / 255


class TestGzip(CompressorTests):
    plugin = gzip.precomp_register_compressors()[0]


class TestBr(CompressorTests):
    plugin = br.precomp_register_compressors()[0]


class TestZstd(CompressorTests):
    plugin = zstd.precomp_register_compressors()[0]


class Shipped(PluginTests):
    distribution = "precomp"


for _found in distribution("precomp").entry_points.select(group=ENTRY_POINT_GROUP):
    _name = f"TestPlugin{_found.name.title()}"
    globals()[_name] = type(_name, (Shipped,), {"entry": _found.value, "__module__": __name__})
