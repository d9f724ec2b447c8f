"""VolumeFactory and open_volume: from a name to an open volume."""

import copy
import os
from collections.abc import Mapping, Sequence
from typing import Any

import attrs

from precomp import plugins, url
from precomp.errors import ArgumentError, ConfigError, PrecompError, did_you_mean
from precomp.factory import sources
from precomp.factory.config import Config, Link, is_path, parse
from precomp.factory.creation import open_or_create
from precomp.factory.findings import Findings, joined
from precomp.factory.report import describe
from precomp.factory.resolve import Resolved, resolve
from precomp.factory.tables import VolumeTable
from precomp.factory.unused import check_disabled, check_protocols
from precomp.jsonio import plain
from precomp.jsonio.problems import member, shown
from precomp.jsonio.secrets import hidden, secrets_in
from precomp.plugins import Registry
from precomp.volume import CloudVolume

__all__ = ["VolumeFactory", "open_volume"]

# What `open` takes: a volume's table, but for what only makes sense beside other tables.
_ARGUMENTS = tuple(field.name for field in attrs.fields(VolumeTable) if field.name != "like")


class VolumeFactory:
    """Opens the volumes of a config. Immutable, safe to share between threads.

    A config that is wrong raises one ConfigError, which lists all that is wrong with it. No store is
    opened before `open`. What a volume needs of a plugin that is missing, broken or in conflict matters
    only then, so that the other volumes can be used.

    By pickle it travels as it was written: the other side fills in its own environment variables.

    >>> from precomp import VolumeFactory
    >>> size = {"resolution": [8, 8, 40], "voxel_offset": [0, 0, 0], "volume_size": [64, 64, 64]}
    >>> new = {"num_channels": 1, "layer_type": "image", "data_type": "uint8", "encoding": "raw", **size}
    >>> factory = VolumeFactory.from_dict({"volumes": {"em": {"cloudpath": "mem://lab/em", "create": new}}})
    >>> factory.names
    ('em',)
    >>> factory.open("em", fill_missing=True)[0:2, 0:2, 5].shape
    (2, 2, 1, 1)
    """

    def __init__(self, config: Any, name: str, folder: str, registry: Registry | None = None) -> None:
        """Check a config; use `from_file` or `from_dict` instead."""
        findings = Findings()
        self._config = parse(config, name, folder, findings)
        used = _load(self._config, findings) if registry is None else plugins.chosen(registry)
        self._registry = used.configured({**used.options, **self._config.protocols})
        self._unused = check_protocols(self._config, self._registry, findings)
        self._unused += check_disabled(self._config, self._registry)
        resolved = {
            volume: resolve(self._config, links, self._registry, findings)
            for volume, links in self._config.volumes.items()
            if links
        }
        if findings.lines:
            raise ConfigError("\n".join(findings.lines))
        self._given = copy.deepcopy(config), name, folder, registry
        self._secrets = frozenset(findings.secrets)
        self._volumes = {volume: found for volume, found in resolved.items() if found is not None}

    @classmethod
    def from_file(cls, path: str | os.PathLike[str], *, registry: Registry | None = None) -> "VolumeFactory":
        """Read a config file, `.toml` or `.json`.

        `registry`: the plugins to use; None is what the config's `[plugins]` says. Raises ConfigError.
        """
        config = sources.read(path)
        label = str(path)
        folder = os.path.dirname(os.path.abspath(os.path.expanduser(label)))
        return cls(config, label, folder, registry)

    @classmethod
    def from_dict(
        cls,
        config: Mapping[str, Any],
        *,
        name: str = "config",
        folder: str | os.PathLike[str] = ".",
        registry: Registry | None = None,
    ) -> "VolumeFactory":
        """Take a config as a dict: the tables of a file, in plain values.

        Args:
            config: is copied.
            name: what errors call it.
            folder: what relative local cloudpaths count from.
            registry: the plugins to use; None is what the config's `plugins` says.

        Raises ConfigError.
        """
        return cls(config, name, os.path.abspath(folder), registry)

    def __reduce__(self) -> tuple[Any, ...]:
        return type(self), self._given

    def __repr__(self) -> str:
        """Show the config's name and the names of the volumes."""
        return f"VolumeFactory({self._config.label!r}, names={self.names!r})"

    @property
    def names(self) -> tuple[str, ...]:
        """The volumes, in the order of the config."""
        return tuple(self._volumes)

    @property
    def registry(self) -> Registry:
        """The plugins that the volumes use, with the options of `[protocols]`."""
        return self._registry

    def describe(self) -> dict[str, Any]:
        """Return what each volume resolves to, in plain values, with `***` for secrets.

        The key `problems` lists what the volumes need of plugins and do not get, tables of protocols that
        neither a plugin nor a volume knows, and disabled plugins that are not installed.
        """
        return describe(self._config.label, self._volumes, self._registry, self._secrets, self._unused)

    def open(self, name: str | os.PathLike[str], /, **overrides: Any) -> CloudVolume:
        """Open the volume `name`, or the layer at a cloudpath or local path (anything with a slash).

        A path gets the options of `[defaults]` and `[protocols.SCHEME]`; relative ones count from the
        working directory. `overrides` are keys of a volume's table, `mip=1`, and come before what
        stands there.

        Raises ConfigError for an unknown name, for a volume that needs an absent plugin and for a layer
        that is not what `create` says; ArgumentError for wrong overrides; and what CloudVolume raises.
        """
        volume = self._find(name, overrides)
        if volume.absent:
            raise ConfigError(str(volume.absent[0])) from volume.absent[0].error
        arguments = {**volume.settings, "options": volume.options}
        try:
            if volume.create is None:
                return CloudVolume(str(volume.path), registry=self._registry, **arguments)
            return open_or_create(volume.path, volume.create, volume.place, self._registry, arguments)
        except PrecompError as error:
            if name in self._volumes:
                error.add_note(f"while opening {name!r} of {self._config.label}")
            raise

    def _find(self, name: str | os.PathLike[str], overrides: Mapping[str, Any]) -> Resolved:
        text = _text(name)
        links: Sequence[Link] = ()
        if is_path(text):
            if "cloudpath" in overrides:
                raise ArgumentError(
                    f"open({text!r}): cloudpath: the path is given twice, and this one is "
                    f"{shown(overrides['cloudpath'])}; leave one of them out"
                )
            self._registry.protocol(url.parse(text).scheme)  # the plain error, as no config is to blame
            overrides = {"cloudpath": text, **overrides}
        elif text not in self._volumes:
            known = ", ".join(self.names) or "none"
            raise ConfigError(
                f"{self._config.label}: there is no volume {text!r}{did_you_mean(text, self.names)}, "
                f"expected {known}; a local folder of that name is {'./' + text!r}"
            )
        elif not overrides:
            return self._volumes[text]
        else:
            links = self._config.volumes[text]
        place, findings = f"open({text!r}):", Findings(self._secrets | secrets_in(overrides))
        if "like" in overrides:
            raise ArgumentError(f"{place} like: it belongs into a config, and is no argument")
        for key in overrides.keys() - set(_ARGUMENTS):
            hint = did_you_mean(key, _ARGUMENTS)
            findings.add(joined(place, member(key)), f"unknown field{hint}, expected {', '.join(_ARGUMENTS)}")
        table = {key: _plain(value, f"{place} {key}", findings) for key, value in overrides.items()}
        found = resolve(self._config, [*links, Link(place, table)], self._registry, findings)
        if found is None or findings.lines:
            raise ArgumentError("\n".join(findings.lines))
        return found


def open_volume(
    name_or_cloudpath: str | os.PathLike[str],
    config: VolumeFactory | Mapping[str, Any] | str | os.PathLike[str] | None = None,
    **overrides: Any,
) -> CloudVolume:
    """Open a volume by its name in a config, or a layer by its path, with the options of a config.

    Args:
        name_or_cloudpath: a text with a slash is a path, any other is a name.
        config: a file, a dict or a VolumeFactory. None is the file that the environment variable
            PRECOMP_CONFIG names, else `./precomp.toml`, else `precomp/precomp.toml` in the user's config
            folder (`$XDG_CONFIG_HOME`, `~/.config`, `%APPDATA%`), else, for paths, an empty config.
        overrides: as for `VolumeFactory.open`.

    Raises ConfigError where the config is wrong or has no such name, and as `VolumeFactory.open` does.
    """
    if isinstance(config, VolumeFactory):
        factory = config
    elif isinstance(config, Mapping):
        factory = VolumeFactory.from_dict(config)
    elif (file := sources.find() if config is None else config) is not None:
        factory = VolumeFactory.from_file(file)
    elif is_path(text := _text(name_or_cloudpath)):
        factory = VolumeFactory.from_dict({})
    else:
        raise ConfigError(
            f"{text!r}: there is no config file that could name it: {sources.VARIABLE} is not set, and there "
            f"is no {' and no '.join(sources.places())}; a local folder of that name is {'./' + text!r}"
        )
    return factory.open(name_or_cloudpath, **overrides)


def _load(config: Config, findings: Findings) -> Registry:
    """The plugins as the config wants them; a wrong wish is noted."""
    wanted = config.plugins
    try:
        return plugins.load(wanted.disable, wanted.prefer)
    except ConfigError as error:
        place = config.place(".plugins.prefer")
        if not findings.has(place):
            findings.add(place, str(error).removeprefix("prefer: "))
        return plugins.load(wanted.disable)


def _text(name: object) -> str:
    if not isinstance(name, (str, os.PathLike)):
        raise ArgumentError(f"expected the name of a volume, a cloudpath or a local path, got {name!r}")
    return name if isinstance(name, str) else _path_text(name)


def _path_text(path: os.PathLike[str]) -> str:
    """Return a path's text, such that nobody takes it for a name."""
    text = os.fspath(path)
    return text if is_path(text) else os.path.join(os.curdir, text)


def _plain(value: Any, place: str, findings: Findings) -> Any:
    try:
        return plain(_path_text(value) if isinstance(value, os.PathLike) else value, place)
    except ArgumentError as error:
        refused = ArgumentError(hidden(str(error), findings.secrets))
    raise refused
