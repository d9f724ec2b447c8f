"""The option `endpoint_url` of s3 and gs. Imports no SDK."""

from typing import Any

import attrs

__all__ = ["USER_IN_IT", "check_endpoint"]

USER_IN_IT = "expected an address without a user in it; see docs/credentials.md"
"""What to say of an address with a user: it is shown in errors, and caches are named by it."""


def check_endpoint(_: object, field: "attrs.Attribute[Any]", value: str | None) -> None:
    """Validate a field that holds an address or None. What is wrong is not quoted: it may hold a password."""
    if value is None:
        return
    if not value.startswith(("http://", "https://")):
        raise ValueError(f"{field.name}: expected an address that starts with https:// or http://")
    if "@" in value:
        raise ValueError(f"{field.name}: {USER_IN_IT}")
