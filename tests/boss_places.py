"""Channels in the BOSS of the tests, and arrays to put into them."""

import json
import uuid
from pathlib import Path
from typing import Any

import numpy as np
from numpy.typing import NDArray
from servers.boss import FULL, boss_server
from volumes import noise

from precomp import CloudVolume

__all__ = ["DTYPES", "SIZE", "new_info", "new_name", "options", "put_secret", "sparse", "stored", "volume"]

DTYPES = ("uint8", "uint16", "uint64")
SIZE = (40, 30, 20)


def put_secret(home: Path) -> None:
    """Write the secret file of a user who may do everything."""
    file = home / ".neuroglancer/secrets/boss-secret.json"
    file.parent.mkdir(parents=True, exist_ok=True)
    file.write_text(json.dumps({"protocol": "http", "host": boss_server().host, "token": FULL}))


def options(**given: Any) -> dict[str, Any]:
    return {"protocol": "http", "host": boss_server().host, "token": FULL, **given}


def new_name() -> str:
    return f"c{uuid.uuid4().hex}/retina/em"


def volume(dtype: str = "uint8", *, opened: Any = None, **given: Any) -> CloudVolume:
    """Open a new channel."""
    path = boss_server().add(new_name(), **{"stop": SIZE, "datatype": dtype, **given})
    return CloudVolume(path, options=options(), **(opened or {}))


def sparse(shape: Any, dtype: str, seed: int = 0) -> NDArray[Any]:
    """Random voxels of the whole range of a type, half of them 0."""
    return noise(shape, dtype, seed) * np.random.default_rng(seed + 1).integers(0, 2, shape).astype(dtype)


def stored(vol: CloudVolume, level: int = 0, t: int = 0) -> NDArray[Any]:
    """What the server has, x, y, z."""
    return boss_server().voxels(vol.cloudpath.removeprefix("boss://"), level, t).T


def new_info(**given: Any) -> dict[str, Any]:
    """The info of a layer that the BOSS can hold."""
    fields = {
        "num_channels": 1,
        "layer_type": "image",
        "data_type": "uint8",
        "encoding": "raw",
        "resolution": (4, 4, 40),
        "voxel_offset": (0, 0, 0),
        "volume_size": SIZE,
        **given,
    }
    return CloudVolume.create_new_info(**fields)
