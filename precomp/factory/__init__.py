"""Volumes by name: from a config file, or a dict, to open CloudVolumes.

A config has the tables `volumes`, `protocols`, `plugins` and `defaults`, in TOML or JSON. It is read by
`sources`, its `${VARIABLES}` are filled in by `environment`, its shape is checked by `config`, and
`resolve` lays its tables over each other. Only `volumes` opens anything.
"""

from precomp.factory.volumes import VolumeFactory, open_volume

__all__ = ["VolumeFactory", "open_volume"]
