"""Local files that appear whole or not at all."""

import os
from contextlib import suppress

from precomp.interfaces import Buffer

__all__ = ["replace_file"]


def replace_file(path: str, content: Buffer) -> None:
    """Write a file under a temporary name beside it, then move it: an old one stays until the new is whole.

    Raises OSError, and ValueError for a name that no file can have; nothing is left behind then.
    """
    folder, name = os.path.split(path)
    temporary = os.path.join(folder, f".{name}.{os.urandom(8).hex()}")
    try:
        with open(temporary, "xb") as file:
            file.write(content)
        os.replace(temporary, path)
    except BaseException:  # an interrupt leaves nothing either
        with suppress(OSError, ValueError):
            os.unlink(temporary)
        raise
