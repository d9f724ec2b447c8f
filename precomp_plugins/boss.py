"""`boss://`: channels of the BOSS (bossdb.org), read and written as boxes of voxels.

intern's BossRemote knows where the service is, who asks, and how requests look. They are sent here: intern
itself has no timeout, tries nothing again, does not notice a body that is cut short, forks for large boxes,
and sends nothing at all where the sum of an array is 0, as of a uint64 array that wraps.
"""

import re
from collections.abc import Iterable
from typing import Any, Literal

import attrs

from precomp.errors import MissingDependencyError
from precomp.hookspecs import ProtocolPlugin, hookimpl, instead_of
from precomp.interfaces import CloudPath, SupportsCutout

__all__ = ["BossOptions", "open_service", "precomp_register_protocols"]

_INSTALL = "pip install 'precomp[boss]'"


def _name(_: object, field: "attrs.Attribute[Any]", value: str | None) -> None:
    if value is not None and not re.fullmatch(r"[\w-]+", value, re.ASCII):  # it becomes a part of an address
        raise ValueError(f"{field.name}: expected a name of letters, digits, _ and -")


@attrs.frozen
class BossOptions:
    """The config's table `[protocols.boss]`.

    Attributes:
        protocol: `https` or `http`; None is what the secret says, else https.
        host: of the service, `api.bossdb.io`; None is what the secret says. Secrets of others are not used.
        token: what to log in with; `public` reads public channels.
        t: the time sample to read and write; None is the channel's default.
        coord_frame: what to call the coordinate frame of an experiment that is created; None is
            `COLLECTION_EXPERIMENT`.
        max_attempts: how often a request is sent at most.
        timeout: seconds without a byte after which a request has failed.
        concurrency: how many requests at once, where `parallel` is None; each takes 130 MB of memory at most.
        secrets: a mapping of the fields `protocol`, `host` and `token`, or the path of such a file; None:
            they are looked for.
    """

    protocol: Literal["http", "https"] | None = None
    host: str | None = None
    token: str | None = attrs.field(default=None, repr=False, metadata=instead_of("secrets"))
    t: int | None = attrs.field(default=None, validator=attrs.validators.optional(attrs.validators.ge(0)))
    coord_frame: str | None = attrs.field(default=None, validator=_name)
    max_attempts: int = attrs.field(default=6, validator=attrs.validators.ge(1))
    timeout: float = attrs.field(default=30.0, validator=attrs.validators.gt(0))
    concurrency: int = attrs.field(default=4, validator=attrs.validators.ge(1))
    secrets: Any = attrs.field(default=None, repr=False, metadata=instead_of("token"))


def open_service(path: CloudPath, options: BossOptions) -> SupportsCutout:
    """Return the service of one channel. Credentials are looked for; nothing is sent."""
    try:
        import blosc  # noqa: F401
        import intern  # noqa: F401
    except ImportError as error:
        raise MissingDependencyError(f"boss:// needs intern ({error}): {_INSTALL}") from error
    from precomp_plugins._boss.channel import BossChannel

    return BossChannel(path, options)


@hookimpl
def precomp_register_protocols() -> Iterable[ProtocolPlugin]:
    """Return the protocol `boss`."""
    return [
        ProtocolPlugin(
            "boss", open_service, options=BossOptions, install_hint=_INSTALL, requires=("intern", "blosc")
        )
    ]
