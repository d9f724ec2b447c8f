"""The store of `http://` and `https://`: objects of a web server, read only."""

import importlib.util
import re
from collections.abc import Iterable, Iterator, Sequence
from functools import partial
from typing import NoReturn, TypeVar
from urllib.parse import quote, urlsplit

from precomp.errors import CloudPathError, ReadOnlyError, StoreError, UnsupportedError
from precomp.interfaces import Blob, ByteRange, CloudPath, Condition, Modify, Stat
from precomp.memory import check_key
from precomp.ranges import Parts, cut, merged
from precomp.retry import Limits, RetryPolicy
from precomp_plugins._http.client import Client
from precomp_plugins._http.login import Logins
from precomp_plugins._http.options import HttpOptions
from precomp_plugins._http.parts import check_same, folder_of, is_strong, part_blob, whole_blob
from precomp_plugins._wire.ahead import Sent
from precomp_plugins._wire.answers import Answer
from precomp_plugins._wire.headers import encoding_of

__all__ = ["HttpStore"]

T = TypeVar("T")

_ABSENT = frozenset({404, 410})
_NO_HEAD = frozenset({400, 405, 501})  # of servers that know GET only
_NO_BUCKET = (b"NoSuchBucket", b"The specified bucket does not exist")
_MESSAGE = 2**14  # bytes of an error's body that are looked at
_GAP = 2**19  # bytes; rather fetched and dropped than paid for with another request
_LOOSE = 2**16  # bytes; a longer range from the start on is rather a limit than a part
# What may stand in a path as it is, besides letters, digits and -._~; a + means a blank to some servers.
_PLAIN = "/:@!$&'()*,;="


class HttpStore:
    """The objects below one address.

    A whole object is asked for without a range, so that servers may send it compressed. A range is asked
    for as one, plain, and what comes is checked: a server that sends the whole object, or a part of a
    compressed one, is asked for whole objects from then on, folder by folder.

    Attributes:
        workers: how many requests pay at a time.
    """

    def __init__(self, place: str, base: str, client: Client, policy: RetryPolicy, workers: int) -> None:
        """`place` is the layer's name for errors, `base` its URL with a final slash."""
        self.workers = workers
        self._place, self._base, self._client, self._policy = place, base, client, policy
        self._whole: set[str] = set()  # folders whose objects do not come in ranges
        self._long: set[str] = set()  # folders with objects of which only a part was wanted from the start on
        self._there = False  # whether it is known that the server has the bucket
        coding = "gzip, br" if importlib.util.find_spec("brotli") else "gzip"
        self._any_coding = {"Accept-Encoding": coding}

    @classmethod
    def opened(cls, path: CloudPath, options: HttpOptions) -> "HttpStore":
        """Return the store of a layer's folder."""
        host = path.bucket
        if "@" in host:  # of CloudVolume's own path it was taken
            raise CloudPathError(
                f"{path.scheme}://***@{host.rpartition('@')[2]}: expected an address without a user, as "
                "it is shown in errors; give the login in the option hosts"
            )
        try:
            usable = bool(urlsplit(f"{path.scheme}://{host}/").hostname) and urlsplit(f"//{host}").port != 0
        except ValueError:
            usable = False
        if not usable:
            raise CloudPathError(
                f"{path}: expected HOST or HOST:PORT behind {path.scheme}://, found {host!r}"
            )
        lone_percent = re.compile(r"%(?![0-9A-Fa-f]{2})")
        folder = quote(lone_percent.sub("%25", path.path), safe=f"{_PLAIN}+%~")
        base = f"{path.scheme}://{host}/{folder}/" if folder else f"{path.scheme}://{host}/"
        policy = RetryPolicy(options.max_attempts, options.timeout)
        return cls(str(path), base, Client(options, Logins.of(path, options)), policy, options.concurrency)

    def __repr__(self) -> str:
        return f"HttpStore({self._place!r})"

    def __reduce__(self) -> NoReturn:
        raise UnsupportedError(
            f"{self!r}: a store knows secrets and belongs to its process; pickle the volume, which "
            "opens it anew"
        )

    def get(self, key: str, byte_range: ByteRange | None = None) -> Blob | None:
        """Return the object or the part of it inside `byte_range`; None means absent."""
        check_key(key)
        folder = folder_of(key)
        if byte_range is None:
            return self._call(key, partial(self._get_whole, key, None))
        start, stop = self._checked(key, byte_range)
        if start >= stop:
            return self._nothing(key)
        if self._is_whole(folder, byte_range):
            return self._call(key, partial(self._get_whole, key, byte_range))
        return self._call(key, partial(self._get_range, key, byte_range))

    def _is_whole(self, folder: str, part: ByteRange | None) -> bool:
        """Whether all of an object is asked for, of which this part is wanted."""
        if part is None or folder in self._whole:
            return True
        # A range from the start on mostly says how much is wanted at most.
        return part.start == 0 and part.stop > _LOOSE and folder not in self._long

    @property
    def is_near(self) -> bool:
        """Whether `ask` is worth its while; see precomp.interfaces.AsksAhead."""
        return self._client.is_near(self._base)

    def ask(self, key: str, byte_range: ByteRange | None = None) -> Sent | None:
        """Send what a `get` will send; see precomp.interfaces.AsksAhead."""
        check_key(key)
        whole = self._is_whole(folder_of(key), byte_range)
        headers = self._any_coding if whole or byte_range is None else _headers_for(byte_range)
        return self._client.ask(self._url(key), headers, self._policy.limits())

    def get_ranges(self, key: str, ranges: Sequence[ByteRange]) -> Sequence[Blob] | None:
        """Return several parts, all of the same version; None means absent."""
        check_key(key)
        wanted = [one for one in ranges if self._checked(key, one).start < one.stop]
        if not wanted:
            empty = self._nothing(key)
            return None if empty is None else [empty] * len(ranges)
        found = self._call(key, partial(self._get_spans, key, merged(wanted, _GAP)))
        return None if found is None else [cut(found, one) for one in ranges]

    def stat(self, key: str) -> Stat | None:
        """Return size, version and encoding; None means absent."""
        check_key(key)
        return self._call(key, partial(self._head, key))

    def list(self, prefix: str) -> Iterator[str]:
        """Raise UnsupportedError: HTTP has no way to list."""
        raise UnsupportedError(
            f"{self._place}/{prefix}: http cannot list what there is; read by key, or open the layer by the "
            "protocol of its store (s3://, gs://)"
        )

    def put(self, key: str, blob: Blob, *, condition: Condition | None = None) -> str | None:
        """Raise ReadOnlyError; nothing is sent."""
        self._read_only("write", key)

    def update(self, key: str, modify: Modify) -> None:
        """Raise ReadOnlyError; nothing is sent."""
        self._read_only("write", key)

    def delete(self, keys: Iterable[str]) -> None:
        """Raise ReadOnlyError; nothing is sent."""
        for key in keys:
            self._read_only("delete", key)

    def _read_only(self, verb: str, key: str) -> NoReturn:
        check_key(key)
        raise ReadOnlyError(
            f"{self._name(key)}: cannot {verb} it, http is read only and nothing was sent; open the layer by "
            "the protocol of its store (s3://, gs://, file://)"
        )

    def _checked(self, key: str, part: ByteRange) -> ByteRange:
        if part.start < 0:
            raise StoreError(
                f"{self._name(key)}: a byte range starts at 0 or later, found {part.start}; correct the range"
            )
        return part

    def _name(self, key: str) -> str:
        return f"{self._place}/{key}"

    def _call(self, key: str, attempt: "partial[T]") -> T:
        return self._policy.call(self._name(key), attempt)

    def _send(self, key: str, method: str, headers: dict[str, str], limits: Limits) -> Answer:
        return self._client.send(self._name(key), method, self._url(key), headers, limits)

    def _url(self, key: str) -> str:
        return self._base + quote(key, safe=_PLAIN)

    def _get_whole(self, key: str, part: ByteRange | None, limits: Limits) -> Blob | None:
        """Ask for all of the object, and take a part of it."""
        with self._send(key, "GET", self._any_coding, limits) as answer:
            return self._taken(key, answer, part)

    def _taken(self, key: str, answer: Answer, part: ByteRange | None) -> Blob | None:
        if answer.status in _ABSENT:
            self._check_bucket(key, answer)
            return None
        if answer.status != 200:
            raise self._unexpected(key, answer)
        self._there = True
        blob = whole_blob(answer, part)
        if part is not None and blob.size is not None and blob.size > part.stop:
            self._long.add(folder_of(key))
        return blob

    def _get_range(self, key: str, part: ByteRange, limits: Limits) -> Blob | None:
        """Ask for a part of the object, and for all of it where what comes is not just that part."""
        with self._send(key, "GET", _headers_for(part), limits) as answer:
            if answer.status in (206, 416):
                blob = part_blob(answer, part)
                if blob is not None:
                    return blob
            else:
                if answer.status == 200:  # there are no ranges here
                    self._whole.add(folder_of(key))
                return self._taken(key, answer, part)
        self._whole.add(folder_of(key))
        return self._get_whole(key, part, limits)

    def _get_spans(self, key: str, spans: Sequence[ByteRange], limits: Limits) -> Parts | None:
        """Ask for several parts, one request each; for all of the object where it may change meanwhile."""
        parts: list[tuple[int, Blob]] = []
        for span in spans if folder_of(key) not in self._whole else ():
            blob = self._get_range(key, span, limits)
            if blob is None:
                return None
            parts.append((span.start, blob))
            if len(spans) > 1 and blob.data and not is_strong(blob.version):
                break
        else:
            if parts:
                check_same(parts)
                return parts
        blob = self._get_whole(key, ByteRange(0, spans[-1].stop), limits)
        return None if blob is None else [(0, blob)]

    def _head(self, key: str, limits: Limits) -> Stat | None:
        with self._send(key, "HEAD", self._any_coding, limits) as answer:
            answer.read()  # nothing, but the connection is free then
            if answer.status == 200 and answer.length is not None:
                return Stat(
                    answer.length, answer.header("etag"), encoding_of(answer.header("content-encoding"))
                )
            if answer.status in _ABSENT and self._there:
                return None
            if answer.status not in (200, *_ABSENT, *_NO_HEAD):
                raise self._unexpected(key, answer)
        # An answer to HEAD has no text that would tell a missing object from a missing bucket.
        blob = self._get_whole(key, None, limits)
        return None if blob is None else Stat(len(blob.data), blob.version, blob.content_encoding)

    def _nothing(self, key: str) -> Blob | None:
        """No byte of an object: HTTP has no such range."""
        stat = self.stat(key)
        return (
            None if stat is None else Blob(b"", stat.content_encoding, version=stat.version, size=stat.size)
        )

    def _check_bucket(self, key: str, answer: Answer) -> None:
        text = bytes(answer.read(_MESSAGE))
        if any(word in text for word in _NO_BUCKET):
            raise StoreError(
                f"{self._name(key)}: the server says that there is no such bucket; correct the path"
            )
        answer.drain()
        self._there = True

    def _unexpected(self, key: str, answer: Answer) -> StoreError:
        return StoreError(
            f"{self._name(key)}: expected the object, or 404 where there is none, found {answer.told}; "
            "whether it is there is not known"
        )


def _headers_for(part: ByteRange) -> dict[str, str]:
    return {"Range": f"bytes={part.start}-{part.stop - 1}", "Accept-Encoding": "identity"}
