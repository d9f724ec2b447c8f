"""The registry: names to declarations, fixed once it is made."""

from collections.abc import Callable, Iterable, Iterator, Mapping, Sequence
from types import MappingProxyType
from typing import Any, TypeAlias

import attrs

from precomp.errors import ArgumentError, ConfigError, PluginConflictError, did_you_mean
from precomp.hookspecs import CodecPlugin, CompressorPlugin, MeshExporterPlugin, ProtocolPlugin
from precomp.interfaces import Compressor
from precomp.plugins.making import make
from precomp.plugins.portable import portable
from precomp.plugins.probe import Probed, probe
from precomp.plugins.records import KINDS, Declaration, Plugin

__all__ = ["Registry"]


@attrs.frozen
class _Claim:
    plugin: Plugin
    record: Any


# kind and name -> who claims it; more than one is a conflict
_Claims: TypeAlias = Mapping[tuple[str, str], Sequence[_Claim]]
_Options: TypeAlias = Mapping[str, Mapping[str, Any]]
_Recipe: TypeAlias = tuple[Callable[..., "Registry"], tuple[Any, ...]]


def _frozen(options: _Options) -> _Options:
    return MappingProxyType({scheme: MappingProxyType(dict(table)) for scheme, table in options.items()})


@attrs.frozen(eq=False)
class Registry:
    """Everything that plugins provide. Immutable, safe to share between threads.

    A lookup by name raises UnknownProtocolError or UnknownEncodingError where no loaded plugin
    provides the name: the message lists what is known, what failed to load and why, and what is
    disabled. It raises PluginConflictError where several do and `prefer` does not decide.

    One that `precomp.plugins.load` made may be pickled: the other side loads its own plugins, with the
    same ones disabled and preferred. Of the options go no secrets. One of objects at hand raises
    ArgumentError.

    Attributes:
        plugins: every plugin that was found, whatever became of it.
        declared: what each of `plugins` declares, in the same order; nothing where it is not loaded.
        options: of protocols, scheme to table; see `configured`.
        suffixes: of files, for each outer compression, `{"gzip": (".gz",), ...}`; the first is written.
    """

    plugins: tuple[Plugin, ...]
    declared: tuple[tuple[Declaration, ...], ...] = attrs.field(repr=False)
    _claims: _Claims = attrs.field(repr=False)
    _recipe: _Recipe | None = attrs.field(default=None, repr=False)
    options: _Options = attrs.field(factory=dict, converter=_frozen, repr=False)  # may hold secrets
    _built: dict[str, Compressor] = attrs.field(factory=dict, init=False, repr=False)
    suffixes: Mapping[str, tuple[str, ...]] = attrs.field(init=False, repr=False)

    @classmethod
    def of(cls, plugins: Iterable[object], prefer: Iterable[str] = ()) -> "Registry":
        """Make a registry of plugin modules or objects at hand, for tests and for embedding.

        They are checked as installed ones are; their distribution reads `in-memory`, their entry
        point is their `__name__` or the name of their class.
        """
        return cls.assemble(map(_probe_object, plugins), prefer)

    @classmethod
    def assemble(
        cls, probed: Iterable[Probed], prefer: Iterable[str] = (), recipe: _Recipe | None = None
    ) -> "Registry":
        """Make a registry of plugins that were probed; `prefer` is that of `precomp.plugins.load`.

        `recipe`: what to call, with which arguments, for such a registry in another process.
        """
        found, wanted = tuple(probed), tuple(prefer)
        _check_prefer(wanted, [one.plugin for one in found])
        claims: dict[tuple[str, str], list[_Claim]] = {}
        for one in found:
            for declared in one.declarations:
                claim = _Claim(one.plugin, declared.record)
                claims.setdefault((declared.kind, declared.name), []).append(claim)
        settled = {key: _settle(rivals, wanted) for key, rivals in claims.items()}
        return cls(
            tuple(_judge(one.plugin, settled) for one in found),
            tuple(one.declarations for one in found),
            MappingProxyType(settled),
            recipe,
        )

    def configured(self, options: _Options) -> "Registry":
        """Return this registry with options for its protocols: scheme to table, `{"file": {"fsync": True}}`.

        Each layer that is opened with the registry gets those of its scheme; what the volume itself
        is given comes first, key by key. They are checked when a layer is opened.
        """
        return attrs.evolve(self, options=options)

    def __reduce__(self) -> tuple[Any, ...]:
        if self._recipe is None:
            names = ", ".join(plugin.entry for plugin in self.plugins)
            raise ArgumentError(
                f"registry: one made in memory, of {names}, cannot be sent to another process; install its "
                "plugins (entry points of the group 'precomp'), or open the volume over there"
            )
        return _again, (*self._recipe, {scheme: portable(table) for scheme, table in self.options.items()})

    def __deepcopy__(self, memo: object) -> "Registry":
        return self  # immutable

    @property
    def schemes(self) -> tuple[str, ...]:
        """The protocols that are provided, sorted."""
        return self._names("protocol")

    @property
    def encodings(self) -> tuple[str, ...]:
        """The chunk encodings that are provided, sorted."""
        return self._names("encoding")

    @suffixes.default
    def _suffixes_of_the_compressors(self) -> Mapping[str, tuple[str, ...]]:
        table = {}
        for name in self._names("compressor"):
            claims = self._claims["compressor", name]
            table[name] = tuple(dict.fromkeys(suffix for claim in claims for suffix in claim.record.suffixes))
        return MappingProxyType(table)

    def protocol(self, scheme: str) -> ProtocolPlugin:
        """Return what serves cloudpaths of `scheme`; raises as the class says."""
        record: ProtocolPlugin = self._find("protocol", scheme).record
        return record

    def codec(self, encoding: str) -> CodecPlugin:
        """Return what provides the chunk encoding; raises as the class says."""
        record: CodecPlugin = self._find("encoding", encoding).record
        return record

    def exporter(self, name: str) -> MeshExporterPlugin:
        """Return what writes the mesh file format; raises as the class says."""
        record: MeshExporterPlugin = self._find("exporter", name).record
        return record

    def compressor_plugin(self, name: str) -> CompressorPlugin:
        """Return what provides the outer compression; raises as the class says."""
        record: CompressorPlugin = self._find("compressor", name).record
        return record

    def compressor(self, name: str) -> Compressor:
        """Return the compressor at its default level, built once; cheap enough for every object.

        Raises as `make` does.
        """
        built = self._built.get(name)
        return built if built is not None else self._built.setdefault(name, self.make("compressor", name))

    def make(self, kind: str, name: str, *arguments: Any, place: str = "") -> Any:
        """Call the `open` or `build` of a `protocol`, `encoding`, ... and return what it makes.

        `place` stands in front of errors. Raises as the class says, MissingDependencyError where a package
        is not installed, and where the plugin's code fails or returns something else an error that
        names it: StoreError for a protocol, MeshError for an exporter, PluginError for the others.
        """
        claim = self._find(kind, name)
        what = f"{place}: {kind}" if place else kind
        return make(KINDS[kind], f"{what} {name!r} of {claim.plugin}", claim.record, arguments)

    def origin(self, kind: str, name: str) -> Plugin:
        """Return the plugin that provides a `protocol`, `encoding`, ... `name`; raises as the class says."""
        return self._find(kind, name).plugin

    def _names(self, kind: str) -> tuple[str, ...]:
        return tuple(sorted(name for claimed, name in self._claims if claimed == kind))

    def _find(self, kind: str, name: str) -> _Claim:
        claims = self._claims.get((kind, name), ())
        if len(claims) == 1:
            return claims[0]
        if not claims:
            raise KINDS[kind].unknown("\n  ".join(self._unknown(kind, name)))
        rivals = " and by ".join(str(claim.plugin) for claim in claims)
        raise PluginConflictError(f"{kind} {name!r} is claimed by {rivals}; {self._way_out(claims)}")

    def _way_out(self, claims: Sequence[_Claim]) -> str:
        first, *others = [claim.plugin.full_name for claim in claims]
        if self._recipe is None:
            return f"make the registry with prefer=[{first!r}] or without one of them"
        return (
            f"for the first one pass registry=precomp.plugins.load(prefer=[{first!r}]), or say so in "
            "`prefer` of a config's [plugins], or set the environment variable "
            f"PRECOMP_DISABLE_PLUGINS={','.join(others)}"
        )

    def _unknown(self, kind: str, name: str) -> Iterator[str]:
        known = self._names(kind)
        yield f"unknown {kind} {name!r}{did_you_mean(name, known)}; known: {', '.join(known) or 'none'}"
        for plugin in self.plugins:
            if plugin.state in ("failed", "blocked"):
                yield f"{plugin.state}: {plugin}: {plugin.detail}"
        others = f"any other {kind} comes with another package or a later version of precomp"
        yield f"{others}; `precomp plugins` lists what is installed"


def _again(load: Callable[..., Registry], arguments: tuple[Any, ...], options: _Options) -> Registry:
    """Make the registry of a pickle."""
    registry = load(*arguments)
    return registry.configured(options) if options else registry


def _probe_object(plugin: object) -> Probed:
    name = getattr(plugin, "__name__", type(plugin).__name__)
    return probe(Plugin(name, "in-memory", "0"), lambda: plugin)


def _check_prefer(prefer: Sequence[str], plugins: Sequence[Plugin]) -> None:
    for text in prefer:
        if not any(plugin.answers_to(text, distribution_alone=True) for plugin in plugins):
            names = {name for plugin in plugins for name in (plugin.entry, plugin.distribution)}
            raise ConfigError(
                f"prefer: no plugin or distribution is called {text!r}{did_you_mean(text, names)}; "
                f"expected one of {', '.join(sorted(names))}, or distribution:plugin"
            )


def _settle(claims: Sequence[_Claim], prefer: Sequence[str]) -> tuple[_Claim, ...]:
    for text in prefer:
        chosen = [claim for claim in claims if claim.plugin.answers_to(text, distribution_alone=True)]
        claims = chosen or claims
    return tuple(claims)


def _judge(plugin: Plugin, settled: _Claims) -> Plugin:
    """Return the plugin with what became of its names."""
    conflicting, notes = False, []
    for kind, name in plugin.provides:
        claims = settled[kind, name]
        rivals = [claim.plugin for claim in claims if claim.plugin is not plugin]
        if rivals:
            conflicting = conflicting or len(rivals) < len(claims)
            verb = "is also claimed by" if len(rivals) < len(claims) else "is left to"
            notes.append(f"{kind} {name!r} {verb} {' and '.join(map(str, rivals))}")
    if not notes:
        return plugin
    return attrs.evolve(plugin, state="conflicting" if conflicting else "loaded", detail="; ".join(notes))
