"""Claims `ftp`, as `beta` does, and an encoding of its own."""

import json

from precomp.hookspecs import CodecPlugin, ProtocolPlugin, hookimpl
from precomp.interfaces import Blob
from precomp.memory import MemoryStore


def open_store(path, options):
    """Open a layer whose info tells who opened it."""
    scale = {
        "key": "8",
        "size": [8, 8, 8],
        "resolution": [8, 8, 8],
        "chunk_sizes": [[8, 8, 8]],
        "encoding": "raw",
    }
    info = {"type": "image", "data_type": "uint8", "num_channels": 1, "scales": [scale], "mesh": "alpha"}
    store = MemoryStore()
    store.put("info", Blob(json.dumps(info).encode()))
    return store


@hookimpl
def precomp_register_protocols():
    return [ProtocolPlugin("ftp", open_store, install_hint="alpha")]


@hookimpl
def precomp_register_codecs():
    return [CodecPlugin("alpha", lambda info, scale: None)]
