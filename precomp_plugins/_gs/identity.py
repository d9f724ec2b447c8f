"""Who asks Google Storage: credentials, in the order in which they are looked for."""

import os
import warnings
from typing import TYPE_CHECKING, Any

import attrs
import google.auth
import google.auth.exceptions
import google.oauth2.credentials
from google.auth.credentials import AnonymousCredentials
from google.oauth2 import service_account

from precomp import credentials
from precomp.credentials import Secret
from precomp.errors import CredentialsError

if TYPE_CHECKING:
    from precomp_plugins.gs import GsOptions

__all__ = ["EMULATOR", "Identity", "find_identity"]

EMULATOR = "STORAGE_EMULATOR_HOST"
_FILE = "GOOGLE_APPLICATION_CREDENTIALS"
_NOT_FOUND = "Your default credentials were not found"  # any other text of google-auth tells of broken ones
_SCOPES = ("https://www.googleapis.com/auth/devstorage.read_write",)


@attrs.frozen
class Identity:
    """Who asks.

    Attributes:
        credentials: of google-auth.
        who: what to call it in errors, `the service account me@lab.iam.gserviceaccount.com of /a/b.json`.
        project: that it belongs to.
        anonymous: whether it is nobody.
    """

    credentials: Any = attrs.field(repr=False)
    who: str
    project: str | None = None
    anonymous: bool = False


def find_identity(bucket: str, options: "GsOptions") -> Identity:
    """Return who asks for a bucket.

    Nobody where the options say so; else the `secrets` given, those of the files of precomp.credentials,
    those that google-auth finds. Nobody again where none are found and the endpoint is not Google's own.
    Raises CredentialsError, which lists every place where none are found, and names the one that is broken.
    """
    if options.anonymous:
        return _nobody("as the option anonymous says")
    secret = credentials.find("google", bucket, options.secrets)
    found = _of_secret(secret) if secret is not None else None
    if found is None and options.endpoint_url is None and os.environ.get(EMULATOR):
        return _nobody(f"as is usual where {EMULATOR} is set")  # to google-cloud-storage, too
    if found is None:
        file = os.environ.get(_FILE)
        if file and _shown(file) is None:
            raise CredentialsError(_nothing_found(bucket, ""))  # google-auth would quote what it is
        try:
            found = _of_google_auth()
        except (google.auth.exceptions.GoogleAuthError, OSError, ValueError) as error:
            none = str(error).startswith(_NOT_FOUND)
            if none and options.endpoint_url is not None:
                return _nobody("as none were found and endpoint_url is given")
            raise CredentialsError(_nothing_found(bucket, "" if none else f": {error}")) from error
    return attrs.evolve(found, project=options.project or credentials.project_name() or found.project)


def _nobody(why: str) -> Identity:
    return Identity(AnonymousCredentials(), f"nobody, {why}", anonymous=True)


def _of_secret(secret: Secret) -> Identity:
    kind = secret.required("type")
    if kind == "authorized_user":
        fields = {name: secret.required(name) for name in ("client_id", "client_secret", "refresh_token")}
        made = google.oauth2.credentials.Credentials.from_authorized_user_info(fields)
        return Identity(made, f"the user of {secret.origin}", secret.text("quota_project_id"))
    if kind != "service_account":
        raise CredentialsError(
            f"{secret.origin}: type: expected service_account or authorized_user, found {kind!r}; for other "
            f"kinds of credentials leave this file out and set {_FILE}"
        )
    fields = {name: secret.required(name) for name in ("client_email", "private_key", "token_uri")}
    optional = {name: secret.text(name) for name in ("private_key_id", "project_id", "universe_domain")}
    fields |= {name: text for name, text in optional.items() if text is not None}
    try:
        made = service_account.Credentials.from_service_account_info(fields, scopes=_SCOPES)
    except ValueError:
        # Not chained: the cause may quote what it cannot read.
        raise CredentialsError(
            f"{secret.origin}: private_key: expected a key in PEM, found what cannot be read; "
            "download the file again"
        ) from None
    return Identity(
        made, f"the service account {fields['client_email']} of {secret.origin}", secret.text("project_id")
    )


def _of_google_auth() -> Identity:
    with warnings.catch_warnings():
        # That a user's own login has no project to pay for quotas is no news for Google Storage.
        warnings.filterwarnings("ignore", message="Your application has authenticated using end user")
        made, project = google.auth.default(scopes=_SCOPES)
    file = os.environ.get(_FILE)
    origin = f"{_FILE}={file}" if file else "Google's application default credentials"
    email = getattr(made, "service_account_email", None) or getattr(made, "account", None)
    return Identity(made, f"{email or type(made).__module__} of {origin}", project)


def _shown(file: str) -> str | None:
    """Return the path that the environment names; None where it may be the secret itself, by mistake."""
    return file if os.path.exists(file) or credentials.path_of(file) is not None else None


def _nothing_found(bucket: str, problem: str) -> str:
    files = [f"the file {path}" for path in credentials.places("google", bucket)]
    file = os.environ.get(_FILE)
    variable = f"set to {_shown(file) or 'what is no file'}" if file else "not set"
    places = [
        "secrets=",
        *(files or ["no file, as the user has no home"]),
        f"the environment variable {_FILE} ({variable})",
        "the login of gcloud (gcloud auth application-default login)",
        "the metadata service of a machine in Google's cloud",
    ]
    return (
        f"gs://{bucket}: no credentials were found in any of: {'; '.join(places)}{problem}; put a service "
        "account's file in the first of these places, or set the option anonymous = true for a public bucket"
    )
