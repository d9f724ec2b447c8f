"""One request to Google Storage each: what is sent for an object, and what the answer means."""

import json
from typing import TYPE_CHECKING, Any, NoReturn
from urllib.parse import quote, urlsplit

from precomp.errors import ConditionFailedError, StoreError
from precomp.interfaces import Blob, ByteRange, CloudPath, Condition
from precomp.memory import check_key
from precomp.retry import Limits, TransientError
from precomp_plugins._gs.answers import failure, part_of, says_no_bucket, whole
from precomp_plugins._gs.identity import Identity
from precomp_plugins._gs.session import Answer, Session, endpoint_of
from precomp_plugins._gs.upload import MARK, Upload
from precomp_plugins._wire.ahead import Sent
from precomp_plugins._wire.headers import encoding_of
from precomp_plugins._wire.hosts import Body

if TYPE_CHECKING:
    from precomp_plugins.gs import GsOptions

__all__ = ["Objects"]

# Without it the service unpacks what is stored as gzip, and then ignores Range.
_HEADERS = {"accept-encoding": "gzip"}
_NOTHING = (b"", b"{}", b"null")  # the last one of emulators
_PAGE = 1000  # names; the service gives no more at once


class Objects:
    """The objects below one folder, one attempt a call: a TransientError asks for another.

    Attributes:
        place: of the folder, `gs://bucket/dataset/layer/`.
    """

    def __init__(self, path: CloudPath, options: "GsOptions", identity: Identity) -> None:
        self.place = f"{path}/"
        self._path, self._options, self._identity = path, options, identity
        self._prefix = f"{path.path}/" if path.path else ""
        self._endpoint = endpoint_of(identity, options, str(path))
        self._session = self._new_session()
        bucket, pays = quote(path.bucket, safe=""), options.user_project
        self._pays = f"&userProject={quote(pays, safe='')}" if pays else ""
        base = urlsplit(self._endpoint).path.rstrip("/")
        self._objects = f"{base}/storage/v1/b/{bucket}/o"
        self._uploads = f"{base}/upload/storage/v1/b/{bucket}/o?uploadType=multipart"
        self._there = False  # whether the bucket is known to exist

    def target(self, key: str, query: str = "alt=media") -> str:
        """Return the address of an object, without the host. Raises StoreError for what is no key."""
        check_key(key)
        try:
            # Keys mostly have but one character to quote, and all others safe is the quicker way.
            name = quote(self._prefix + key, safe="/").replace("/", "%2F")
            return f"{self._objects}/{name}?{query}{self._pays}"
        except UnicodeEncodeError as error:
            raise StoreError(f"{key!r} is no key: UTF-8 cannot write it; correct it") from error

    def name(self, key: str) -> str:
        """Return the name that the service knows an object by."""
        return self._prefix + key

    def get(self, limits: Limits, key: str, target: str) -> Blob | None:
        """Return the whole object; None means absent."""
        answer = self._send(limits, "GET", target, _HEADERS)
        if answer.status == 200:
            return whole(answer)
        self._expect_absent(limits, "read", key, answer)
        return None

    def get_part(self, limits: Limits, key: str, target: str, wanted: ByteRange) -> Blob | None:
        """Return a part of the object; None means absent."""
        start, stop = wanted
        if start >= stop:
            return self._nothing_of(limits, key)
        answer = self._send(limits, "GET", target, _headers_for(wanted))
        if answer.status in (200, 206):
            return part_of(answer, wanted)
        if answer.status == 416:
            return self._nothing_of(limits, key, start)
        self._expect_absent(limits, "read", key, answer)
        return None

    def ask(self, limits: Limits, target: str, wanted: ByteRange | None) -> Sent | None:
        """Send what `get` or `get_part` will send; see Connections.ask."""
        return self._connected().ask(limits, target, _HEADERS if wanted is None else _headers_for(wanted))

    @property
    def is_near(self) -> bool:
        """Whether `ask` sends something."""
        return self._connected().is_near

    def look(self, limits: Limits, key: str, *more: str) -> dict[str, Any] | None:
        """Return size, generation and `more` of an object, where it has that; None means absent."""
        fields = ",".join(("size", "generation", *more))
        answer = self._send(limits, "GET", self.target(key, f"fields={fields}"), {})
        if answer.status == 200:
            return _decoded(answer, "size", "generation")
        self._expect_absent(limits, "looked at", key, answer)
        return None

    def put(self, limits: Limits, key: str, upload: Upload, condition: Condition | None) -> str:
        """Store an object and return its generation. Raises ConditionFailedError."""
        upload.sent += 1
        target = f"{self._uploads}&fields=generation{upload.query}{self._pays}"
        answer = self._send(limits, "POST", target, upload.headers, upload.body)
        if answer.status == 200:
            self._there = True
            return str(_decoded(answer, "generation")["generation"])
        if answer.status == 412 and condition is not None:
            # An earlier attempt whose answer was lost may have written what is there now.
            found = self.look(limits, key, "metadata") if upload.sent > 1 else None
            if found is not None and (found.get("metadata") or {}).get(MARK) == upload.mark:
                return str(found["generation"])
            self.condition_failed(key, condition)
        raise self._failure("written", key, answer)

    def delete(self, limits: Limits, key: str, target: str) -> None:
        """Remove an object, which may be absent."""
        answer = self._send(limits, "DELETE", target, {})
        if answer.status in (200, 204):
            if answer.text.strip() not in _NOTHING:  # whoever answered, it was not the service
                raise TransientError("the answer has a body, so that it is not known to be deleted")
            return
        self._expect_absent(limits, "deleted", key, answer)

    def page(self, limits: Limits, prefix: str, token: str | None) -> tuple[list[str], str | None]:
        """Return one page of the names that start with `prefix`, and the token of the next."""
        after = "" if token is None else f"&pageToken={quote(token, safe='')}"
        query = f"prefix={quote(self._prefix + prefix, safe='')}&maxResults={_PAGE}{after}"
        target = f"{self._objects}?{query}&fields=items(name),nextPageToken{self._pays}"
        answer = self._send(limits, "GET", target, {})
        if answer.status != 200:
            raise self._failure("listed", f"{prefix}*", answer)
        found = _decoded(answer)
        try:
            keys = [one["name"][len(self._prefix) :] for one in found.get("items") or ()]
        except (TypeError, LookupError) as error:
            raise TransientError("the answer is no list of names") from error
        following = found.get("nextPageToken") or None
        if not isinstance(following, str | None):
            raise TransientError("the answer is no list of names: its nextPageToken is no text")
        return keys, following

    def condition_failed(self, key: str, condition: Condition) -> NoReturn:
        """Raise the error for a condition that does not hold."""
        expected = "no object" if condition.version is None else f"the generation {condition.version}"
        raise ConditionFailedError(
            f"{self.place}{key}: expected {expected}, found another; nothing was written, read it again"
        )

    def _connected(self) -> Session:
        """Return this process's session."""
        if not self._session.is_ours():
            self._session = self._new_session()
        return self._session

    def _new_session(self) -> Session:
        return Session(self._identity, self._endpoint, self._options.timeout, str(self._path))

    def _send(
        self, limits: Limits, method: str, target: str, headers: dict[str, str], body: Body = None
    ) -> Answer:
        return self._connected().send(limits, method, target, headers, body)

    def _nothing_of(self, limits: Limits, key: str, start: int | None = None) -> Blob | None:
        """Return no byte of an object, which has none from `start` on, with what is known of it."""
        found = self.look(limits, key, "contentEncoding", "contentType", "cacheControl")
        if found is None:
            return None
        size = int(found["size"])
        if start is not None and start < size:
            raise TransientError(f"it grew to {size} bytes while it was read")
        return Blob(
            b"",
            encoding_of(found.get("contentEncoding")),
            found.get("contentType") or None,
            found.get("cacheControl") or None,
            str(found["generation"]),
            size,
        )

    def _expect_absent(self, limits: Limits, doing: str, key: str, answer: Answer) -> None:
        """Return where the object does not exist; raise whatever else the answer means.

        The status is 404 for a bucket that does not exist, too. The text tells, but not wherever it should:
        so the bucket is looked at, once.
        """
        if answer.status != 404 or says_no_bucket(answer):
            raise self._failure(doing, key, answer)
        if not self._there:
            query = f"maxResults=1&fields=kind&prefix={quote(self._prefix, safe='')}{self._pays}"
            looked = self._send(limits, "GET", f"{self._objects}?{query}", {})
            if looked.status != 200:
                raise self._failure(doing, key, looked)
            _decoded(looked)
            self._there = True

    def _failure(self, doing: str, key: str, answer: Answer) -> Exception:
        return failure(doing, self.place + key, self._path.bucket, answer, self._identity)


def _headers_for(wanted: ByteRange) -> dict[str, str]:
    return {**_HEADERS, "range": f"bytes={wanted.start}-{wanted.stop - 1}"}


def _decoded(answer: Answer, *required: str) -> dict[str, Any]:
    try:
        found = json.loads(answer.text)
    except ValueError as error:
        raise TransientError(f"the answer is no JSON: {error}") from error
    if not isinstance(found, dict) or not all(str(found.get(name, "")).isdecimal() for name in required):
        raise TransientError(
            f"the answer is no JSON object with numbers for {', '.join(required) or 'names'}"
        )
    return found
