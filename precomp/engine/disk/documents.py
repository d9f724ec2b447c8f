"""The info of a sharded volume as a cache folder keeps it: there each chunk is a file of its own."""

from precomp import jsonio
from precomp.errors import InfoError

__all__ = ["as_kept"]


def as_kept(key: str, data: bytes) -> bytes:
    """Return what to keep of an info or provenance file, so that the folder can be opened as a volume.

    A scale's `sharding` is kept under another name, for it is still to be seen when that changes.
    """
    if key != "info" or b'"sharding"' not in data:
        return data
    try:
        info = jsonio.loads(data, key)
        sharded = [scale for scale in info["scales"] if scale.get("sharding") is not None]
    except (InfoError, AttributeError, KeyError, TypeError):
        return data  # whoever reads it as an info tells what is wrong with it
    for scale in sharded:
        scale["remote_sharding"] = scale.pop("sharding")
    return jsonio.dumps(info, key) if sharded else data
