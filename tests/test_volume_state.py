"""Random lives of a volume on every shipped protocol, against a numpy array."""

import shutil
import tempfile
import uuid

import pytest

from precomp.testing.machine import VolumeStateMachine


class OnFile(VolumeStateMachine):
    """On the local disk."""

    compressions = (None, "gzip", "br", "zstd", True, "")

    def cloudpath(self) -> str:
        self.folder = tempfile.mkdtemp()
        return f"file://{self.folder}/dataset/layer"

    def teardown(self) -> None:
        if hasattr(self, "folder"):
            shutil.rmtree(self.folder)


class InMemory(VolumeStateMachine):
    """In memory."""

    def cloudpath(self) -> str:
        return f"mem://{uuid.uuid4()}/dataset/layer"


class Npz(InMemory):
    """Through a codec that has no partial reads."""

    encoding = "npz"


TestOnFile = OnFile.TestCase
TestInMemory = InMemory.TestCase
TestNpz = pytest.mark.filterwarnings("ignore:Neuroglancer cannot show")(Npz.TestCase)
