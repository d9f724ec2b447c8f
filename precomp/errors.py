"""Every error precomp raises: one class per condition, each also the builtin a caller would catch.

    PrecompError
    |-- CloudPathError, UnknownProtocolError, UnknownEncodingError   (ValueError)
    |-- InfoNotFoundError, ScaleNotFoundError                        (LookupError)
    |-- InfoError, ConfigError, ArgumentError                        (ValueError)
    |-- OutOfBoundsError, AlignmentError                             (ValueError)
    |-- EmptyVolumeError                                             (LookupError)
    |-- ChunkDecodeError, MeshError                                  (ValueError)
    |-- TooLargeError                                                (MemoryError)
    |-- StoreError, ReadOnlyError, CredentialsError                  (OSError)
    |   `-- ConditionFailedError                                     (StoreError)
    |-- PluginConflictError                                          (ValueError)
    |-- PluginError                                                  (RuntimeError)
    |-- UnsupportedError                                             (NotImplementedError)
    `-- MissingDependencyError                                       (ImportError)

    PrecompWarning (a UserWarning): what is allowed but will surprise somebody

A message names the key or argument, what was found, what was expected and what to do next.
"""

from collections.abc import Iterable

__all__ = [
    "AlignmentError",
    "ArgumentError",
    "ChunkDecodeError",
    "CloudPathError",
    "ConditionFailedError",
    "ConfigError",
    "CredentialsError",
    "EmptyVolumeError",
    "InfoError",
    "InfoNotFoundError",
    "MeshError",
    "MissingDependencyError",
    "OutOfBoundsError",
    "PluginConflictError",
    "PluginError",
    "PrecompError",
    "PrecompWarning",
    "ReadOnlyError",
    "ScaleNotFoundError",
    "StoreError",
    "TooLargeError",
    "UnknownEncodingError",
    "UnknownProtocolError",
    "UnsupportedError",
    "did_you_mean",
]


def did_you_mean(word: str, known: Iterable[str]) -> str:
    """Return ` (did you mean 'NEAREST'?)` for a message, or nothing where no known word is near."""
    import difflib  # as few runs need it, and each import of precomp would take the longer

    names = {name.lower(): name for name in sorted(known, reverse=True)}
    nearest = difflib.get_close_matches(word.lower(), sorted(names), 1)
    return f" (did you mean {names[nearest[0]]!r}?)" if nearest else ""


class PrecompError(Exception):
    """The base of every error that precomp raises."""


class PrecompWarning(UserWarning):
    """Something is allowed, but other programs will not read it or it costs more than it seems to."""


class ArgumentError(PrecompError, ValueError):
    """An argument has the wrong shape, dtype, type or value."""


class CloudPathError(PrecompError, ValueError):
    """A text is not a cloudpath."""


class UnknownProtocolError(PrecompError, ValueError):
    """No loaded plugin serves the scheme of a cloudpath."""


class UnknownEncodingError(PrecompError, ValueError):
    """No loaded plugin provides an encoding, a compressor or an exporter of that name."""


class InfoNotFoundError(PrecompError, LookupError):
    """There is no info file where a layer was expected."""


class InfoError(PrecompError, ValueError):
    """An info or provenance file (or dict) breaks the format."""


class ScaleNotFoundError(PrecompError, LookupError):
    """The layer has no such mip or resolution."""


class OutOfBoundsError(PrecompError, ValueError):
    """A request reaches outside the volume."""


class AlignmentError(PrecompError, ValueError):
    """A write does not lie on the chunk grid."""


class EmptyVolumeError(PrecompError, LookupError):
    """A chunk inside the bounds is not stored."""


class ChunkDecodeError(PrecompError, ValueError):
    """A stored chunk is damaged or is not what the info says."""


class TooLargeError(PrecompError, MemoryError):
    """A request needs more memory than there is."""


class StoreError(PrecompError, OSError):
    """A store could not read, write, list or delete."""


class ConditionFailedError(StoreError):
    """A conditional write found another version in place; nothing was written."""


class CredentialsError(PrecompError, OSError):
    """Credentials are missing or were refused."""


class ReadOnlyError(PrecompError, OSError):
    """A write, commit or delete on something that cannot be written."""


class MissingDependencyError(PrecompError, ImportError):
    """An optional package is not installed; the message holds the install line."""


class PluginConflictError(PrecompError, ValueError):
    """Two plugins claim one name, and that name was asked for."""


class PluginError(PrecompError, RuntimeError):
    """A plugin's code failed, or returned what it must not, before there was anything to read or write."""


class MeshError(PrecompError, ValueError):
    """A mesh manifest or fragment is absent or damaged."""


class ConfigError(PrecompError, ValueError):
    """A config file or option is wrong."""


class UnsupportedError(PrecompError, NotImplementedError):
    """The format allows it, this version of precomp does not do it yet."""
