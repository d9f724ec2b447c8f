"""Names on the local disk: the layer's folder, and which keys a file can have."""

import os
from pathlib import PureWindowsPath

from precomp.errors import StoreError
from precomp.interfaces import CloudPath
from precomp.memory import check_key

__all__ = ["check_file_key", "layer_folder"]

_WINDOWS = os.name == "nt"
_NOT_ON_WINDOWS = frozenset('\\:*?"<>|')  # `a:0` would be written to a hidden stream of the file `a`


def layer_folder(path: CloudPath, windows: bool = _WINDOWS) -> str:
    """Return the folder of a `file` cloudpath as the system writes it, `C:\\data\\retina\\image`."""
    folder = f"{path.bucket.rstrip('/')}/{path.path}"
    return str(PureWindowsPath(folder)) if windows else folder.rstrip("/") or "/"


def check_file_key(key: str, suffixes: tuple[str, ...], *, windows: bool = _WINDOWS) -> None:
    """Raise StoreError where no file of this store may have `key`.

    Besides what `check_key` refuses, no part may start with a dot (locks and unfinished files are
    called so) and the last part may not end in one of `suffixes` (which name the compression of
    another key: `notes.gz` is the object `notes`).
    """
    # One substring finds '.', '..' and the reserved dot names: this runs once per chunk.
    slashed = f"/{key}/"
    if "//" in slashed or "/." in slashed or "\0" in key:
        check_key(key)
        raise _refused(key, "a part starts with a dot, as locks and unfinished files do; choose another name")
    if suffixes and key.endswith(suffixes):
        raise _refused(key, f"the suffixes {', '.join(suffixes)} name a file's compression; leave it out")
    if windows and not _NOT_ON_WINDOWS.isdisjoint(key):
        raise _refused(key, "Windows has no such file names; use another system or another protocol")
    if not key.isascii():
        try:
            os.fsencode(key)
        except UnicodeEncodeError as error:
            raise _refused(
                key, f"it cannot be a file's name ({error.reason}); choose another name"
            ) from error


def _refused(key: str, problem: str) -> StoreError:
    return StoreError(f"{key!r} is no key of a file store: {problem}")
