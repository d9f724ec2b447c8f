"""The machine that the bench runs on."""

import os
import platform
from collections.abc import Iterable, Mapping
from importlib.metadata import PackageNotFoundError, version
from pathlib import Path

import attrs

__all__ = ["Machine", "this_machine"]

_CPU_INFO = Path("/proc/cpuinfo")


@attrs.frozen
class Machine:
    """What the figures depend on.

    Attributes:
        cpu: its model.
        cores: that this process may use.
        memory: bytes.
        system: kernel and C library.
        python: its version.
        packages: versions, by distribution.
    """

    cpu: str
    cores: int
    memory: int
    system: str
    python: str
    packages: Mapping[str, str]


def this_machine(distributions: Iterable[str]) -> Machine:
    """Describe the machine, with the versions of those distributions that are installed."""
    packages = {}
    for name in distributions:
        try:
            packages[name] = version(name)
        except PackageNotFoundError:
            continue
    return Machine(
        cpu=_cpu(),
        cores=len(os.sched_getaffinity(0)) if hasattr(os, "sched_getaffinity") else os.cpu_count() or 1,
        memory=os.sysconf("SC_PAGE_SIZE") * os.sysconf("SC_PHYS_PAGES"),
        system=platform.platform(),
        python=platform.python_version(),
        packages=packages,
    )


def _cpu() -> str:
    if _CPU_INFO.is_file():
        for line in _CPU_INFO.read_text(encoding="utf-8").splitlines():
            name, _, value = line.partition(":")
            if name.strip() == "model name":
                return value.strip()
    return platform.processor() or platform.machine()
