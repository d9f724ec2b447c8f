"""The body of an upload to Google Storage: what is to be kept with the object, and its bytes."""

import json
import secrets

from precomp.interfaces import Blob
from precomp_plugins._wire.checksum import crc32c

__all__ = ["MARK", "Upload"]

MARK = "precomp-write"
"""The name of the metadata by which a conditional write knows its own object again."""

_CONTENT_TYPE = "application/octet-stream"


class Upload:
    """One object on its way: a multipart upload, so that all of it is there at once or nothing.

    Attributes:
        query: what belongs to the address.
        headers: of the request.
        body: of the request, in parts.
        mark: the random text that is kept with an object that is written on a condition; else None.
        sent: how often it was tried.
    """

    def __init__(self, name: str, blob: Blob, generation: str | None) -> None:
        """`generation` that the object must still have, "0" where there must be none; None: no condition."""
        data = memoryview(blob.data).cast("B")
        self.mark = secrets.token_hex(16) if generation is not None else None
        self.sent = 0
        content_type = blob.content_type or _CONTENT_TYPE
        resource = {
            "name": name,
            "contentType": content_type,
            "contentEncoding": blob.content_encoding,
            "cacheControl": blob.cache_control,
            "crc32c": crc32c(data),
            "metadata": self.mark and {MARK: self.mark},
        }
        boundary = secrets.token_hex(16)  # which stands in no chunk, as nobody can guess it
        self.query = "" if generation is None else f"&ifGenerationMatch={generation}"
        self.headers = {"content-type": f'multipart/related; boundary="{boundary}"'}
        known = json.dumps({key: value for key, value in resource.items() if value is not None})
        start = (
            f"--{boundary}\r\ncontent-type: application/json; charset=UTF-8\r\n\r\n{known}\r\n"
            f"--{boundary}\r\ncontent-type: {content_type}\r\n\r\n"
        )
        self.body = (start.encode(), data, f"\r\n--{boundary}--\r\n".encode())
