"""Where configs are looked for, and how their files are read."""

import os
import sys
from pathlib import Path
from typing import Any

from precomp.errors import ArgumentError, ConfigError
from precomp.jsonio import loads

__all__ = ["VARIABLE", "find", "places", "read"]

VARIABLE = "PRECOMP_CONFIG"
_NAME = "precomp.toml"


def places() -> list[str]:
    """The files that are looked for where the environment variable names none, in order."""
    home = os.path.expanduser("~")
    if os.name == "nt":
        folders = [os.environ.get("APPDATA", "")]
    else:
        folders = [os.environ.get("XDG_CONFIG_HOME", "")]
        if not os.path.isabs(folders[0]):  # then it has to be ignored, says the XDG specification
            folders = [os.path.join(home, ".config")]
        if sys.platform == "darwin":
            folders.append(os.path.join(home, "Library", "Application Support"))
    return [_NAME, *(os.path.join(folder, "precomp", _NAME) for folder in folders if os.path.isabs(folder))]


def find() -> str | None:
    """Return the config file to use: that of PRECOMP_CONFIG, or the first of `places` that is there."""
    named = os.environ.get(VARIABLE)
    return named or next((place for place in places() if os.path.isfile(place)), None)


def read(path: str | os.PathLike[str]) -> Any:
    """Return the plain values of a TOML or JSON file, which its suffix tells apart.

    Raises ConfigError, naming file, line and column, and ArgumentError for what is no path.
    """
    if not isinstance(path, (str, os.PathLike)):
        raise ArgumentError(f"config: expected a file, a dict or a VolumeFactory, got {path!r}")
    label = str(path)
    suffix = Path(label).suffix.lower()
    if suffix not in (".toml", ".json"):
        raise ConfigError(f"{label}: expected the name of a config file to end in .toml or .json")
    try:
        data = Path(os.path.expanduser(label)).read_bytes()
    except FileNotFoundError as error:
        raise ConfigError(f"{label}: there is no such config file{_who_named(label)}") from error
    except (OSError, ValueError) as error:  # the latter for NUL in the name
        raise ConfigError(f"{label}: the config file cannot be read: {error}{_who_named(label)}") from error
    return loads(data, label, ConfigError, unique=True) if suffix == ".json" else _toml(data, label)


def _who_named(label: str) -> str:
    return f"; the environment variable {VARIABLE} names it" if label == os.environ.get(VARIABLE) else ""


def _toml(data: bytes, label: str) -> Any:
    import tomllib  # takes a tenth of the time of `import precomp`

    try:
        # With the line's end, what is wrong in the last line has a line number.
        return tomllib.loads(data.decode("utf-8-sig") + "\n")
    except UnicodeDecodeError as error:
        raise ConfigError(
            f"{label}: expected UTF-8 text, but byte {error.start} is 0x{data[error.start]:02x}; "
            "save the file as UTF-8"
        ) from error
    except ValueError as error:
        raise ConfigError(f"{label}: this is not TOML: {error}; repair the file") from error
    except RecursionError as error:
        raise ConfigError(f"{label}: lists and tables are nested too deep; repair the file") from error
