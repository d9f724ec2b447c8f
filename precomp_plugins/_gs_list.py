"""Listing by google-cloud-storage, a page at a time, with errors as everywhere."""

from collections.abc import Sequence
from typing import Any

import google.api_core.exceptions
import google.auth.exceptions
import requests

from precomp.errors import CredentialsError
from precomp.retry import Limits, TransientError
from precomp_plugins._gs_session import Answer

__all__ = ["Page", "list_page"]

_PAGE = 1000  # names; the service gives no more at once

Page = tuple[Sequence[str], str | None]
"""Names of objects, and the token of the next page."""


def list_page(
    client: Any, bucket: str, user_project: str | None, prefix: str, token: str | None, limits: Limits
) -> Page | Answer:
    """Return one page of the names that start with `prefix`, or the answer of a service that refused.

    Raises TransientError where it could not be asked, CredentialsError where there is no token to be had.
    """
    try:
        found = client.list_blobs(
            client.bucket(bucket, user_project=user_project),
            prefix=prefix,
            page_token=token,
            page_size=_PAGE,
            fields="items(name),nextPageToken",
            timeout=limits.timeout,
            retry=None,
        )
        page = next(found.pages, ())
        return [blob.name for blob in page], found.next_page_token
    except google.api_core.exceptions.GoogleAPICallError as error:
        response = error.response
        if response is None:
            raise TransientError(str(error)) from error
        headers = {name.lower(): value for name, value in response.headers.items()}
        return Answer(response.status_code, headers, response.content)
    except (requests.exceptions.RequestException, google.auth.exceptions.TransportError) as error:
        raise TransientError(f"{type(error).__name__}: {error}") from error
    except ValueError as error:  # a body that is no JSON
        raise TransientError(f"the listing cannot be read: {error}") from error
    except google.auth.exceptions.GoogleAuthError as error:
        if error.retryable:
            raise TransientError(f"no token could be fetched: {error}") from error
        said = str(error.args[0] if error.args else error)[:300]
        raise CredentialsError(f"gs://{bucket}: no token was given: {said}") from error
