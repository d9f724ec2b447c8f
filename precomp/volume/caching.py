"""Whether and where a volume keeps copies of its objects on the local disk."""

import os

import attrs

from precomp.interfaces import CloudPath

__all__ = ["CACHE_BYTES", "Caching"]

CACHE_BYTES = 10 * 2**30
"""How much is kept where nothing else is said."""


def _absolute(where: bool | str | os.PathLike[str]) -> bool | str:
    return where if isinstance(where, bool) else os.path.abspath(os.path.expanduser(os.fspath(where)))


@attrs.frozen
class Caching:
    """Whether and where copies are kept.

    Attributes:
        where: True: the default folder, or a folder, which counts from the working directory of now;
            False: nowhere.
        limit: bytes at the most; None for any number.
        validate: whether the version of a copy is compared before it is used.
    """

    where: bool | str = attrs.field(default=False, converter=_absolute)
    limit: int | None = CACHE_BYTES
    validate: bool = False

    def folder(self, path: CloudPath, layer: CloudPath, origin: str) -> str | None:
        """Return the folder for the copies of `path`, which is `layer` or where its info points to.

        None where none is kept: a folder that was named holds one place only.
        """
        from precomp.engine.disk.claim import default_folder

        if isinstance(self.where, str):
            return self.where if path == layer else None
        return default_folder(path, origin) if self.where else None
