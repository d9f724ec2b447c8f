"""What is known of a plugin, and of the four kinds of things that plugins provide."""

import re
from collections.abc import Mapping
from types import MappingProxyType
from typing import Any, Literal, TypeAlias

import attrs

from precomp.errors import (
    MeshError,
    PluginError,
    PrecompError,
    StoreError,
    UnknownEncodingError,
    UnknownProtocolError,
)
from precomp.hookspecs import CodecPlugin, CompressorPlugin, MeshExporterPlugin, ProtocolPlugin

__all__ = ["KINDS", "Declaration", "Kind", "Plugin", "State", "canonical"]

State: TypeAlias = Literal["loaded", "failed", "blocked", "conflicting"]


@attrs.frozen
class Plugin:
    """One plugin, where it comes from and what became of it.

    Attributes:
        entry: the name of its entry point.
        distribution: the name of the distribution that brings it.
        version: the version of that distribution.
        state: `loaded`; `failed`: it cannot be imported or its hooks are wrong; `blocked`: it was
            disabled and not even imported; `conflicting`: another plugin claims one of its names.
        detail: one line that says why; empty where there is nothing to say.
        provides: pairs of kind (a key of `KINDS`) and name.
    """

    entry: str
    distribution: str
    version: str
    state: State = "loaded"
    detail: str = ""
    provides: tuple[tuple[str, str], ...] = ()

    def __str__(self) -> str:
        """The origin, `precomp 0.1.0 (entry point 'file')`."""
        return f"{self.distribution} {self.version} (entry point {self.entry!r})"

    @property
    def full_name(self) -> str:
        """The name by which it is preferred and disabled, `precomp:file`."""
        return f"{self.distribution}:{self.entry}"

    def answers_to(self, text: str, *, distribution_alone: bool = False) -> bool:
        """Whether `text` is `entry`, `distribution:entry` or, where that will do, `distribution`."""
        names = [self.entry, self.full_name]
        if distribution_alone:
            names.append(self.distribution)
        return canonical(text) in map(canonical, names)


def canonical(name: str) -> str:
    """Return a name of a distribution or plugin such that spellings of one name are equal (PEP 503)."""
    return re.sub(r"[-_.]+", "-", name.strip()).lower()


@attrs.frozen
class Kind:
    """One kind of thing that a plugin provides.

    Attributes:
        hook: the hook that registers it.
        record: the class of its declarations.
        name: the field of a declaration that names it.
        factory: the field of a declaration that makes it.
        makes: what `factory` returns, a protocol of `precomp.interfaces`.
        methods: it has one of these sets of methods.
        unknown: what is raised where a name is not provided.
        failure: what is raised where `factory` raises something foreign, or makes something else.
    """

    hook: str
    record: type[Any]
    name: str
    factory: str
    makes: str
    methods: tuple[tuple[str, ...], ...]
    unknown: type[PrecompError]
    failure: type[PrecompError]


_STORE = ("get", "put", "delete", "list", "stat")
_BOXES = ("read_info", "read_box", "write_box", "create")

KINDS: Mapping[str, Kind] = MappingProxyType(
    {
        "protocol": Kind(
            "precomp_register_protocols",
            ProtocolPlugin,
            "scheme",
            "open",
            "a Store",
            (_STORE, _BOXES),
            UnknownProtocolError,
            StoreError,
        ),
        "encoding": Kind(
            "precomp_register_codecs",
            CodecPlugin,
            "encoding",
            "build",
            "a Codec",
            (("encode", "decode"),),
            UnknownEncodingError,
            PluginError,
        ),
        "compressor": Kind(
            "precomp_register_compressors",
            CompressorPlugin,
            "name",
            "build",
            "a Compressor",
            (("compress", "decompress"),),
            UnknownEncodingError,
            PluginError,
        ),
        "exporter": Kind(
            "precomp_register_mesh_exporters",
            MeshExporterPlugin,
            "name",
            "build",
            "a MeshExporter",
            (("export",),),
            UnknownEncodingError,
            MeshError,
        ),
    }
)


@attrs.frozen
class Declaration:
    """A record that a hook returned, under the kind and name it claims."""

    kind: str
    name: str
    record: Any
