"""Who asks S3 and where, as boto3 finds it: credentials, region, endpoint."""

import os
import ssl
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from functools import cache
from typing import TYPE_CHECKING, Any, NamedTuple
from urllib.parse import urlsplit

import attrs
import boto3
import botocore.exceptions
import botocore.session
from botocore import UNSIGNED
from botocore.config import Config
from botocore.credentials import Credentials, RefreshableCredentials
from botocore.exceptions import (
    BotoCoreError,
    CredentialRetrievalError,
    HTTPClientError,
    NoCredentialsError,
    PartialCredentialsError,
)
from botocore.loaders import create_loader

from precomp import credentials
from precomp.errors import ConfigError, CredentialsError
from precomp.retry import TransientError
from precomp_plugins._wire.certificates import trusted
from precomp_plugins._wire.endpoint import USER_IN_IT
from precomp_plugins._wire.hosts import host_header

if TYPE_CHECKING:
    from precomp_plugins.s3 import S3Options

__all__ = ["Account", "Address", "open_account"]

_REGION = "us-east-1"  # boto3's own where nothing is said
_PROBE = "k"
_EXPRESS = "--x-s3"


class Address(NamedTuple):
    """Where a bucket is: its URL without (`virtual`: with) the bucket's name, and the region signed for."""

    endpoint: str
    virtual: bool
    region: str


class _Caught(Exception):  # noqa: N818  no error: it carries a URL out of boto3
    def __init__(self, url: str) -> None:
        self.url = url


@attrs.frozen(eq=False)
class Account:
    """The credentials to one bucket, and clients of boto3 that use them.

    Attributes:
        place: the cloudpath that it is for, for errors.
        bucket: its name.
        session: boto3's, with the credentials.
        region: where to start from.
        origin: where the credentials are from, for errors; None for anonymous requests.
        ca_bundle: file of the certificates to trust besides the system's.
    """

    place: str
    bucket: str
    session: Any = attrs.field(repr=False)
    region: str
    origin: str | None
    ca_bundle: str | None
    _options: "S3Options" = attrs.field(repr=False, alias="options")

    def who(self) -> str:
        """Say which credentials are used, from where and for which bucket, without what is secret of them."""
        if self.origin is None:
            return f"a request without credentials (anonymous=True) to the bucket {self.bucket!r}"
        try:
            key = self.session.get_credentials().access_key
        except BotoCoreError:
            key = "that could not be refreshed"
        return f"the access key {key} from {self.origin} for the bucket {self.bucket!r}"

    @property
    def refreshes(self) -> bool:
        """Whether boto3 gets other credentials where these have ended."""
        return isinstance(self.session.get_credentials(), RefreshableCredentials)

    def signing(self) -> Callable[[], Any]:
        """Return what gives the credentials as they are at the time; see `current`."""
        if type(self.session.get_credentials()) is not Credentials:
            return self.current
        found = self.current()  # which never change
        return lambda: found

    def current(self) -> Any:
        """Return the credentials as they are now, refreshed if need be: access_key, secret_key, token.

        Raises TransientError where the way to new ones failed, CredentialsError where there are none.
        """
        try:
            found = self.session.get_credentials().get_frozen_credentials()
        except (botocore.exceptions.ConnectionError, HTTPClientError) as error:
            raise TransientError(f"boto3 could not get credentials: {error}") from error
        except BotoCoreError as error:
            raise CredentialsError(f"{self.place}: boto3 could not get credentials: {error}") from error
        _check_sendable(self.place, self.origin, found)
        return found

    def trusted(self) -> ssl.SSLContext:
        """Return which certificates are taken. Raises ConfigError where their file cannot be read."""
        try:
            return trusted(self.ca_bundle)
        except OSError as error:
            raise ConfigError(
                f"{self.place}: ca_bundle: {self.ca_bundle}: {error}; correct AWS_CA_BUNDLE or ~/.aws/config"
            ) from error

    def moved(self, region: str) -> "Account":
        """Return the account to the same bucket in another region."""
        return attrs.evolve(self, region=region)

    def client(self, timeout: float) -> Any:
        """Return a new client of boto3 that tries once and waits `timeout` seconds for a byte.

        Raises ConfigError where boto3 cannot make sense of the options.
        """
        options = self._options
        more: dict[str, Any] = {}
        if self.origin is None:
            more["signature_version"] = UNSIGNED
        if options.addressing_style != "auto":  # else ~/.aws/config may say
            more["s3"] = {"addressing_style": options.addressing_style}
        config = Config(
            connect_timeout=timeout,
            read_timeout=timeout,
            retries={"mode": "standard", "total_max_attempts": 1},  # precomp's policy is the only one
            max_pool_connections=options.concurrency,
            # A checksum of the body would be sent in a form that only some compatible services know.
            request_checksum_calculation="when_required",
            response_checksum_validation="when_required",
            **more,
        )
        client: Any = None
        try:
            with _told(f"{self.place}: endpoint_url, region"):
                client = self.session.client(
                    "s3", region_name=self.region, endpoint_url=options.endpoint_url, config=config
                )
            user = "@" in client.meta.endpoint_url
        except ConfigError as error:
            user = "@" in str(error.__cause__)
            if not user:
                raise
        if user:  # in the environment or a profile; raised here so that nothing of it is chained
            raise ConfigError(f"{self.place}: AWS_ENDPOINT_URL_S3 or its kin: {USER_IN_IT}")
        client.meta.events.register_last("before-parameter-build.s3", _stay)
        return client

    def address(self, client: Any) -> Address:
        """Return where a client of boto3, not yet shared, would ask for an object; nothing is sent."""
        client.meta.events.register_first("before-send.s3", _catch)
        try:
            with _told(f"{self.place}: bucket {self.bucket!r}"):
                client.head_object(Bucket=self.bucket, Key=_PROBE)
        except _Caught as caught:
            url = urlsplit(caught.url)
        finally:
            client.meta.events.unregister("before-send.s3", _catch)
        host = host_header(f"{url.scheme}://{url.netloc}")  # which the signature covers
        folder = url.path.removesuffix(f"/{_PROBE}")
        virtual = not folder.endswith(f"/{self.bucket}")
        folder = folder if virtual else folder.removesuffix(f"/{self.bucket}")
        return Address(f"{url.scheme}://{host}{folder}", virtual, self.region)


def _stay(context: dict[str, Any], **_: Any) -> None:
    """Keep boto3 from following redirects by itself: one that names no region it would follow for ever."""
    context.setdefault("s3_redirect", {})["redirected"] = True


def _catch(request: Any, **_: Any) -> None:
    raise _Caught(request.url)


def open_account(place: str, bucket: str, options: "S3Options") -> Account:
    """Find the credentials to a bucket: `secrets=`, the secrets' folders, then what boto3 finds itself.

    Raises CredentialsError where there are none, which lists the places, or where one cannot be read.
    """
    _check_kind(place, bucket)
    with _told(f"{place}: profile"):
        core = botocore.session.Session(profile=options.profile)
        core.get_scoped_config()  # raises for a profile that is not there
        core.register_component("data_loader", _loader(core.get_config_variable("data_path")))
        region = options.region or core.get_config_variable("region")
        ca_bundle = core.get_config_variable("ca_bundle") or os.environ.get("REQUESTS_CA_BUNDLE")
    origin: str | None = None
    if not options.anonymous:
        secret = None
        if options.secrets is not None or options.profile is None:
            secret = credentials.find("aws", bucket, options.secrets)
        if secret is not None:
            core.set_credentials(
                secret.required("AWS_ACCESS_KEY_ID"),
                secret.required("AWS_SECRET_ACCESS_KEY"),
                secret.text("AWS_SESSION_TOKEN"),
            )
            region = options.region or secret.text("AWS_REGION") or region
            origin = secret.origin
        else:
            origin = _found_by_boto3(place, bucket, core, options.profile)
        found = core.get_credentials()
        if not isinstance(found, RefreshableCredentials):  # those may take a request to have them at all
            _check_sendable(place, origin, found.get_frozen_credentials())
    if not (region or "").isprintable():
        raise ConfigError(f"{place}: region: expected its name, found {region!r}; correct it where it is set")
    session = boto3.Session(botocore_session=core)
    return Account(place, bucket, session, region or _REGION, origin, ca_bundle, options)


def _check_kind(place: str, bucket: str) -> None:
    """Raise ConfigError for what boto3 takes for a bucket, but signs in other ways than a bucket."""
    if bucket.startswith("arn:"):
        raise ConfigError(f"{place}: an ARN is no bucket's name; give the alias of the access point instead")
    if bucket.endswith(_EXPRESS):
        raise ConfigError(
            f"{place}: {bucket!r} is a directory bucket (S3 Express), to which one logs in by sessions; "
            "precomp does not: use a general purpose bucket"
        )


def _check_sendable(place: str, origin: str | None, found: Any) -> None:
    """Raise CredentialsError for what cannot be sent, which boto3 would quote."""
    pairs = (("access key", found.access_key), ("secret key", found.secret_key), ("token", found.token))
    for name, text in pairs:
        if not (text or "").isprintable():
            raise CredentialsError(
                f"{place}: the {name} from {origin} has a character that none can have, such as the end of a "
                "line; correct it there"
            )


@cache
def _loader(data_path: str | None) -> Any:
    """Return what reads boto3's description of S3, once for all stores: that is most of opening one."""
    return create_loader(data_path)


def _found_by_boto3(place: str, bucket: str, core: Any, profile: str | None) -> str:
    """Have boto3 find credentials and return where it did."""
    try:
        found = core.get_credentials()
    except BotoCoreError as error:
        raise CredentialsError(
            f"{place}: boto3 could not get credentials for the bucket {bucket!r}: {error}"
        ) from error
    if found is None:
        files = [str(file) for file in ([] if profile else credentials.places("aws", bucket))]
        own = [core.get_config_variable(name) for name in ("credentials_file", "config_file")]
        looked = ["secrets=", *files, "AWS_ACCESS_KEY_ID in the environment", *own]
        raise CredentialsError(
            f"{place}: no credentials for bucket {bucket!r}; looked at {', '.join(looked)} and the role of "
            "a container or an instance. Put them there, or, where the bucket is public, open it "
            'with options={"anonymous": True} (in a config: [protocols.s3] anonymous = true)'
        )
    method = _METHODS.get(found.method, f"boto3 ({found.method})")
    return f"{method}, profile {profile!r}" if profile else method


_METHODS = {
    "env": "the environment",
    "shared-credentials-file": "the file of AWS credentials",
    "config-file": "the AWS config file",
    "custom-process": "the AWS config file's credential_process",
    "assume-role": "an assumed role",
    "assume-role-with-web-identity": "a role assumed with a web identity",
    "sso": "AWS SSO",
    "container-role": "the container's role",
    "iam-role": "the instance's role",
}


@contextmanager
def _told(what: str) -> Iterator[None]:
    """Turn what boto3 makes of wrong options into errors of precomp."""
    try:
        yield
    except (NoCredentialsError, PartialCredentialsError, CredentialRetrievalError) as error:
        raise CredentialsError(f"{what}: boto3 could not get credentials: {error}") from error
    except (BotoCoreError, ValueError) as error:
        raise ConfigError(f"{what}: {error}; correct the option, the environment or ~/.aws/config") from error
