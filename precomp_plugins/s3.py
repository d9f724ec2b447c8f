"""`s3://`: volumes in Amazon S3, and in whatever speaks its protocol."""

from collections.abc import Iterable
from typing import Any

import attrs

from precomp.errors import ConfigError, MissingDependencyError
from precomp.hookspecs import ProtocolPlugin, hookimpl, instead_of
from precomp.interfaces import CloudPath, Store
from precomp_plugins._wire.endpoint import check_endpoint

__all__ = ["S3Options", "open_store", "precomp_register_protocols"]

_INSTALL = "pip install 'precomp[s3]'"
_STYLES = ("auto", "path", "virtual")


@attrs.frozen
class S3Options:
    """The config's table `[protocols.s3]`. What is None is what boto3 finds in the environment or `~/.aws`.

    Attributes:
        endpoint_url: of a service other than Amazon's, `http://127.0.0.1:8333`.
        region: of the bucket, `eu-central-1`.
        profile: of `~/.aws/config`. The secrets' folders are then not looked into.
        anonymous: send no credentials, as for a public bucket.
        requester_pays: pay for the requests, where the bucket's owner does not.
        addressing_style: `path` (`host/bucket`), `virtual` (`bucket.host`) or `auto`, boto3's choice.
        max_attempts: how often a request is sent at most, the first time included.
        timeout: seconds without a byte after which an attempt has failed.
        concurrency: requests under way at once, where a volume's `parallel` says nothing.
        secrets: the fields of an `aws-secret.json`, or the path of such a file.
    """

    endpoint_url: str | None = attrs.field(default=None, validator=check_endpoint)
    region: str | None = None
    profile: str | None = attrs.field(default=None, metadata=instead_of("anonymous", "secrets"))
    anonymous: bool = attrs.field(default=False, metadata=instead_of("profile", "secrets"))
    requester_pays: bool = False
    addressing_style: str = attrs.field(default="auto", validator=attrs.validators.in_(_STYLES))
    max_attempts: int = attrs.field(default=6, validator=attrs.validators.ge(1))
    timeout: float = attrs.field(default=30.0, validator=attrs.validators.gt(0))
    concurrency: int = attrs.field(default=32, validator=attrs.validators.ge(1))
    secrets: Any = attrs.field(default=None, repr=False, metadata=instead_of("anonymous"))

    def __attrs_post_init__(self) -> None:
        if self.anonymous and (self.secrets is not None or self.profile is not None):
            raise ConfigError(
                "anonymous: expected no `secrets` and no `profile` beside it; leave out one or the other"
            )


def open_store(path: CloudPath, options: S3Options) -> Store:
    """Return the store of the layer's folder; nothing is requested from S3 yet.

    Raises MissingDependencyError, and CredentialsError where there are no credentials.
    """
    try:
        import boto3  # noqa: F401
        import certifi  # noqa: F401
        import google_crc32c  # noqa: F401
    except ImportError as error:
        raise MissingDependencyError(f"{path}: a package for s3 is missing ({error}): {_INSTALL}") from error
    from precomp_plugins._s3.store import S3Store

    return S3Store(path, options)


@hookimpl
def precomp_register_protocols() -> Iterable[ProtocolPlugin]:
    """Return the protocol `s3`."""
    return [
        ProtocolPlugin(
            "s3",
            open_store,
            options=S3Options,
            install_hint=_INSTALL,
            compress="gzip",
            workers=16,
            requires=("boto3", "certifi", "google_crc32c"),
        )
    ]
