"""`gs://`: volumes on Google Storage.

google-cloud-storage says where the service is, google-auth who asks, and urllib3 moves the bytes, over the
JSON API that the SDK speaks too: `alt=media`, multipart uploads with `ifGenerationMatch`, pages, DELETE. The
SDK could do this itself, at a price: with 8 threads and objects of 256 KiB a read costs 2.7 to 4.2 ms of CPU
through it and 0.6 to 0.8 ms here, a write 2.1 to 2.4 ms and 0.7 ms here. And with a listing it asks, in a
thread of its own, for the bucket's metadata, which not everybody may see.
"""

from collections.abc import Iterable
from typing import Any

import attrs

from precomp.errors import ConfigError
from precomp.hookspecs import ProtocolPlugin, hookimpl, instead_of
from precomp.interfaces import CloudPath, Store
from precomp_plugins._wire.endpoint import check_endpoint

__all__ = ["GsOptions", "open_store", "precomp_register_protocols"]


@attrs.frozen
class GsOptions:
    """The config's table `[protocols.gs]`.

    Attributes:
        project: the Google Cloud project; None is `~/.neuroglancer/project_name`, then the credentials' own.
        endpoint_url: of another service with the same API, `http://127.0.0.1:4443`; None is what the
            environment variable STORAGE_EMULATOR_HOST says, else Google's.
        anonymous: ask without credentials, as public buckets allow.
        user_project: the project that pays for requests to a bucket that makes the requester pay.
        max_attempts: how often a request is sent at most.
        timeout: seconds without a byte after which a request has failed.
        concurrency: how many requests at once, where `parallel` is None.
        secrets: a mapping of a service account file's fields, or the path of such a file; None: they are
            looked for.
    """

    project: str | None = None
    endpoint_url: str | None = attrs.field(default=None, validator=check_endpoint)
    anonymous: bool = attrs.field(default=False, metadata=instead_of("secrets"))
    user_project: str | None = None
    max_attempts: int = attrs.field(default=6, validator=attrs.validators.ge(1))
    timeout: float = attrs.field(default=30.0, validator=attrs.validators.gt(0))
    concurrency: int = attrs.field(default=16, validator=attrs.validators.ge(1))
    secrets: Any = attrs.field(default=None, repr=False, metadata=instead_of("anonymous"))

    def __attrs_post_init__(self) -> None:
        if self.anonymous and self.secrets is not None:
            raise ConfigError("anonymous: expected no `secrets` beside it; leave out one or the other")


def open_store(path: CloudPath, options: GsOptions) -> Store:
    """Return the store of the layer's folder. Credentials are looked for; nothing is sent but for these."""
    from precomp_plugins._gs.store import GsStore

    return GsStore(path, options)


@hookimpl
def precomp_register_protocols() -> Iterable[ProtocolPlugin]:
    """Return the protocol `gs`."""
    return [
        ProtocolPlugin(
            "gs",
            open_store,
            options=GsOptions,
            install_hint="pip install 'precomp[gs]'",
            compress="gzip",
            requires=("google.cloud.storage", "urllib3"),
        )
    ]
