"""The options of a volume's protocol: checked by the plugin's class, and sent along without secrets."""

import os
from collections.abc import Mapping
from typing import Any, TypeAlias
from urllib.parse import unquote

import attrs

from precomp.errors import ArgumentError, ConfigError, CredentialsError
from precomp.interfaces import CloudPath
from precomp.jsonio import attempt
from precomp.jsonio.problems import member
from precomp.jsonio.secrets import hidden, secrets_in
from precomp.plugins import Registry
from precomp.plugins.nearest import replaced
from precomp.plugins.portable import left_out, portable

__all__ = ["Options", "Secrets", "take_user"]

Secrets: TypeAlias = Mapping[str, Any] | str | os.PathLike[str] | None
"""What `secrets=` takes: the fields of a secret file, its path, or None for those that are found."""


def _table(given: Any) -> Mapping[str, Any]:
    if not (given is None or isinstance(given, Mapping)):
        raise ArgumentError(
            f"options: expected a dict of the protocol's options, got {type(given).__name__}; "
            "pass {'name': value}"
        )
    return dict(given or {})


@attrs.frozen(eq=False)
class Options:
    """The options that a volume is given itself; they come before those of the registry, key by key.

    By pickle go no secrets: variables of a config are filled in again by the other side, and what is
    secret and written out is left out, so that the volume cannot be used there.

    Attributes:
        scheme: of the protocol that they are for.
        table: plain values.
    """

    scheme: str
    table: Mapping[str, Any] = attrs.field(default=None, converter=_table, repr=False)

    @classmethod
    def given(cls, scheme: str, options: Any, secrets: Any) -> "Options":
        """Return the options with `secrets=` of CloudVolume among them. Raises ArgumentError."""
        made = cls(scheme, options)
        if secrets is None:
            return made
        if not isinstance(secrets, (Mapping, str, os.PathLike)):
            raise ArgumentError(
                "secrets: expected a dict of the fields of a secret file, or the path of one, got "
                f"{type(secrets).__name__}"
            )
        if made.table.get("secrets") is not None:
            raise ArgumentError(
                "secrets: given twice, by itself and among the options; leave one of them out"
            )
        plain = os.fspath(secrets) if isinstance(secrets, os.PathLike) else secrets
        return cls(scheme, {**made.table, "secrets": plain})

    def __reduce__(self) -> tuple[Any, ...]:
        return Options, (self.scheme, portable(self.table))

    def __deepcopy__(self, memo: object) -> "Options":
        return self  # immutable, and a copy in this process loses nothing

    def structured(self, scheme: str, registry: Registry) -> Any:
        """Return the options of a layer of `scheme` as the plugin's record; None where it has none.

        Raises ConfigError, naming the plugin where its class is to blame, and CredentialsError where a
        secret did not come along by pickle.
        """
        own = self.table if scheme == self.scheme else {}
        kind = registry.protocol(scheme).options
        gone = replaced(kind, own)
        further = {key: item for key, item in registry.options.get(scheme, {}).items() if key not in gone}
        table = {**further, **own}
        places = {key: "options" if key in own else f"protocols.{scheme}" for key in table}
        for path, why in left_out(table):
            raise CredentialsError(f"{scheme}: option {path.removeprefix('.')}: {why}")
        if own.get("secrets") is not None and not _takes_secrets(kind):
            raise ConfigError(f"secrets: the protocol {scheme!r} takes none; leave them out")
        if kind is None:
            for key, place in places.items():
                raise ConfigError(
                    f"{place}{member(key)}: the protocol {scheme!r} has no options; leave it out"
                )
            return None
        try:
            record, found = attempt(table, kind, "options", ConfigError)
        except ConfigError as error:
            raise ConfigError(
                f"{scheme}: {registry.origin('protocol', scheme)}: {error}"
            ) from error.__cause__
        if found:
            # Nothing is chained: the texts of the causes are not without secrets.
            secrets, missing = secrets_in(table), f"protocols.{scheme}"
            whole = "options" if own else missing  # what is wrong with all of them, not with one
            lines = [
                f"{_place(places, path, missing if path else whole)}{path}: {text}" for path, text in found
            ]
            raise ConfigError(hidden("\n".join(lines), secrets))
        return record


def take_user(path: CloudPath, options: Any) -> tuple[CloudPath, Any]:
    """Return the path without the user of `https://user:password@host/...`, and options with it.

    A path is shown, pickled and made a folder of; options know what is secret. Raises ArgumentError.
    """
    user, at, host = path.bucket.rpartition("@")
    if not at or path.scheme not in ("http", "https"):
        return path, options
    name, _, password = user.partition(":")
    table = _table(options)
    hosts = _table(table.get("hosts"))
    if host in hosts:
        raise ArgumentError(
            f"{path.scheme}://{host}: given two logins, one before its name and one in options['hosts']; "
            "leave one of them out"
        )
    login = {"user": unquote(name), "password": unquote(password)}
    return path._replace(bucket=host), {**table, "hosts": {**hosts, host: login}}


def _takes_secrets(kind: type[Any] | None) -> bool:
    return (
        kind is not None and attrs.has(kind) and any(field.name == "secrets" for field in attrs.fields(kind))
    )


def _place(places: Mapping[str, str], path: str, missing: str) -> str:
    """Return where the option at `path` comes from; where it would be best put, if from nowhere."""
    steps = {member(key): place for key, place in places.items()}
    leading = (step for step in steps if path.startswith(step) and path[len(step) :][:1] in ("", ".", "["))
    return next((steps[step] for step in leading), missing)
