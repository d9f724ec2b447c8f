"""What the system says of a file, as errors of precomp."""

import errno

from precomp.errors import StoreError

__all__ = ["failure"]

_ADVICE = {
    errno.EACCES: "check the permissions of the file and its folders",
    errno.EPERM: "check the permissions of the file and its folders",
    errno.EROFS: "the file system is read-only, write elsewhere or remount it",
    errno.ENOSPC: "make room on the disk",
    errno.EDQUOT: "make room or ask for a larger quota",
    errno.EFBIG: "raise the limit of a file's size (ulimit -f)",
    errno.EMFILE: "raise the limit of open files (ulimit -n)",
    errno.ENAMETOOLONG: "file names end at 255 bytes, choose a shorter key",
    errno.EISDIR: "expected a file, found a folder, remove it or choose another key",
    errno.ENOTDIR: "expected a folder, found a file, remove it or choose another key",
    errno.ELOOP: "expected a file, found a symbolic link, remove it",
    errno.ETIMEDOUT: "somebody holds it, perhaps a stopped process: go on with that or end it",
    errno.ENOLCK: "the file system keeps no locks, mount it with them",
}


def failure(action: str, key: str, path: str, error: OSError) -> StoreError:
    """Return the StoreError for a failed call, to be raised `from error`."""
    advice = _ADVICE.get(error.errno or 0, "see the cause above")
    return StoreError(f"{key!r}: cannot {action} {path}: {error.strerror or error}; {advice}")
