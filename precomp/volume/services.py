"""What holds for layers at a service of boxes (see precomp.interfaces.SupportsCutout) and not for others."""

from typing import Protocol

from precomp.errors import UnsupportedError
from precomp.info import VolumeInfo
from precomp.interfaces import CloudPath
from precomp.volume.settings import Settings

__all__ = ["HasWorkers", "check_create", "check_settings", "no_files", "no_provenance"]


class HasWorkers(Protocol):
    """What knows how many threads pay: objects, boxes, or a scale of one of them."""

    @property
    def workers(self) -> int | None:
        """How many threads to use; None where it does not say."""
        ...


def no_files(path: CloudPath) -> str:
    """Return the text of the error for what needs objects under keys."""
    return (
        f"{path}: {path.scheme} serves boxes of voxels and keeps no files, so that there are no chunks to "
        "list or to keep copies of, and no meshes; for these, copy the layer elsewhere with transfer_to"
    )


def no_provenance(path: CloudPath) -> str:
    """Return the text of the error for a provenance that is to be saved."""
    return (
        f"{path}: {path.scheme} keeps no provenance file, so this one cannot be saved; write it into the "
        "descriptions of the service, or keep it elsewhere"
    )


def check_create(path: CloudPath, info: VolumeInfo, *, fetched: bool, allowed: bool) -> None:
    """Raise UnsupportedError where an info cannot be saved, since it may not create the layer.

    Args:
        path: of the layer.
        info: to be saved.
        fetched: whether it came from the service.
        allowed: whether the volume was made with `create=True`.
    """
    if fetched:
        raise UnsupportedError(
            f"{path}: {path.scheme} keeps no info file: what vol.info says comes from the service, and "
            "cannot be saved; change the layer there, then call refresh_info()"
        )
    if not allowed:
        raise UnsupportedError(
            f"{path}: {path.scheme} keeps no info file, so there is none to be saved; to create the layer "
            "that the info describes, pass create=True to CloudVolume"
        )
    sharded = [scale.key for scale in info.scales if scale.sharding is not None]
    if sharded:
        raise UnsupportedError(
            f"{path}: {path.scheme} serves boxes of voxels, where sharding does not apply; leave it out of "
            f"the scales {', '.join(sharded)}"
        )


def check_settings(path: CloudPath, settings: Settings) -> None:
    """Raise UnsupportedError for options that are about stored chunks, where there are none."""
    default = Settings()
    wrong = {
        "compress": bool(settings.compress),
        "cdn_cache": settings.cdn_cache is not False,
        "delete_black_uploads": settings.delete_black_uploads,
        "lru_bytes": settings.lru_bytes > 0,
        "cache": bool(settings.cache),
        "cache_validate": settings.cache_validate,
    }
    found = [f"{name}={getattr(settings, name)!r}" for name, is_set in wrong.items() if is_set]
    if found:
        back = ", ".join(
            f"{one.partition('=')[0]}={getattr(default, one.partition('=')[0])!r}" for one in found
        )
        raise UnsupportedError(
            f"{path}: {', '.join(found)}: {path.scheme} serves boxes of voxels and no stored chunks, so this "
            f"does not apply; leave it out ({back})"
        )
