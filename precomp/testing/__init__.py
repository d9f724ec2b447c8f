"""For authors of plugins and for tests: what every plugin must keep to, and tools to try it with.

Needs `pip install 'precomp[testing]'`. Subclass `StoreTests`, `CutoutTests`, `CodecTests`,
`CompressorTests`, `PluginTests` and `VolumeStateMachine` in a test module of your own, and run pytest.
Strategies for hypothesis are in `precomp.testing.strategies`.
"""

from precomp.errors import MissingDependencyError

try:
    import hypothesis  # noqa: F401
    import pytest  # noqa: F401
except ImportError as error:
    raise MissingDependencyError(
        f"precomp.testing needs pytest and hypothesis ({error}); pip install 'precomp[testing]'"
    ) from error

from precomp.memory import MemoryStore
from precomp.testing import strategies
from precomp.testing.boxes import CutoutTests
from precomp.testing.codec import CodecTests, Golden
from precomp.testing.compressors import CompressorTests
from precomp.testing.fault import Fault
from precomp.testing.faulty import FaultyStore
from precomp.testing.machine import VolumeStateMachine
from precomp.testing.plugin import PluginTests
from precomp.testing.store import StoreTests

__all__ = [
    "CodecTests",
    "CompressorTests",
    "CutoutTests",
    "Fault",
    "FaultyStore",
    "Golden",
    "MemoryStore",
    "PluginTests",
    "StoreTests",
    "VolumeStateMachine",
    "strategies",
]
