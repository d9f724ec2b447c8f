"""The memory of this process, as Linux counts it."""

import os
from pathlib import Path

__all__ = ["is_known", "peak", "reset_peak", "resident"]

_STATUS = Path("/proc/self/status")
_CLEAR = Path("/proc/self/clear_refs")


def is_known() -> bool:
    """Whether this system tells."""
    return _STATUS.is_file()


def resident() -> int:
    """Bytes in memory now."""
    return _field("VmRSS:")


def peak() -> int:
    """The most bytes that were in memory at once since the last reset, or since the process began."""
    return _field("VmHWM:")


def reset_peak() -> None:
    """Count the peak from now on. Where this is not allowed it counts from the start of the process."""
    if os.access(_CLEAR, os.W_OK):
        _CLEAR.write_text("5")


def _field(name: str) -> int:
    for line in _STATUS.read_text().splitlines():
        if line.startswith(name):
            return int(line.split()[1]) * 1024
    raise LookupError(f"{_STATUS}: expected a line {name}")
