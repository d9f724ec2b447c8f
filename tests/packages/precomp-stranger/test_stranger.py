"""The stranger's own tests: those of the kit, and a random life of a volume."""

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
RAMP = np.array([[3, 4], [1, 9]], np.uint16).reshape(2, 2, 1, 1)  # x varies fastest: 3, 1, 4, 9


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
    golden = (Golden(zlib.compress(bytes.fromhex("0300 feff 0300 0500")), RAMP),)


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
