"""CloudVolume and its parts."""

from precomp.volume.facade import CloudVolume

__all__ = ["CloudVolume"]
