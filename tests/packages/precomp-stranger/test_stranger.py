"""The stranger's own tests: those of the kit, and a random life of a volume."""

import struct
import tempfile
import zlib
from typing import ClassVar

import numpy as np
import precomp_stranger
import pytest
from hypothesis import settings

from precomp.interfaces import CloudPath
from precomp.testing import (
    CodecTests,
    CompressorTests,
    Golden,
    PluginTests,
    StoreTests,
    VolumeStateMachine,
)

SCRATCH = tempfile.mkdtemp(prefix="stranger-")
SQUARES = np.array([n * n for n in range(24)], np.uint16).reshape((2, 3, 4, 1), order="F")
STEPS = struct.pack("<24H", 0, *range(1, 47, 2))  # between squares, x varying fastest, are the odd numbers


def opened(folder):
    options = precomp_stranger.StrangerOptions(folder)
    return precomp_stranger.open_store(CloudPath("stranger", "bucket", "dataset/layer"), options)


class TestStore(StoreTests):
    keeps_headers = True
    max_examples = 10

    def make_store(self):
        self.folder = self.new_folder()
        return opened(self.folder)

    def raw_get(self, store, key):
        blob = opened(self.folder).get(key)
        return blob and bytes(blob.data)

    def make_failing_store(self):
        store = opened(self.new_folder())
        store._db.close()
        return store


class TestDelta(CodecTests):
    plugin = precomp_stranger.precomp_register_codecs()[0]
    golden = (Golden(zlib.compress(STEPS), SQUARES),)


class TestXz(CompressorTests):
    plugin = precomp_stranger.precomp_register_compressors()[0]


class TestPlugin(PluginTests):
    entry = "precomp_stranger"
    distribution = "precomp-stranger"
    sdks = ("sqlite3", "lzma", "precomp_stranger.store", "precomp_stranger.formats")


class Life(VolumeStateMachine):
    encoding = "delta"
    dtypes = precomp_stranger.INTEGERS
    compressions = (None, "xz")
    options: ClassVar = {"folder": SCRATCH}
    number = 0

    def cloudpath(self):
        Life.number += 1
        return f"stranger://life-{self.number}/dataset/layer"


Life.TestCase.settings = settings(deadline=None, max_examples=10, stateful_step_count=12)
TestLife = pytest.mark.filterwarnings("ignore:Neuroglancer cannot show")(Life.TestCase)
