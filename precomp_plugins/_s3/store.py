"""The store of `s3://`."""

import itertools
from collections.abc import Iterable, Iterator, Mapping, Sequence
from functools import lru_cache
from secrets import token_hex
from typing import TYPE_CHECKING, Any

import attrs

from precomp.credentials import travelling
from precomp.errors import ConditionFailedError, StoreError
from precomp.interfaces import Blob, ByteRange, CloudPath, Condition, Stat
from precomp.memory import check_key
from precomp.ranges import cut, merged
from precomp.retry import Limits
from precomp_plugins._s3.answers import Answer
from precomp_plugins._s3.bucket import ABSENT, Bucket
from precomp_plugins._s3.clients import Clients
from precomp_plugins._wire.ahead import Sent

if TYPE_CHECKING:
    from precomp_plugins.s3 import S3Options

__all__ = ["S3Store"]

_BULK = 1000  # keys; S3's limit for a request that deletes
_CHANGES = 10  # times that an object may be replaced while it is looked at
_GAP = 2**18  # bytes; to read so many in vain takes less time than another request
_LOOSE = 2**16  # bytes; a longer range from the start on is rather a limit than a part
_NOTHING = ByteRange(0, 0)

_NO_PART = frozenset({404, 412, 416})
_UNMET = frozenset({404, 412})
_NO_BULK = frozenset({404, 405, 501})


class S3Store:
    """Objects of a bucket whose keys start with the layer's path. Versions are ETags.

    By pickle go the path and the options; the other side looks for credentials itself.

    Attributes:
        workers: how many threads pay.
    """

    def __init__(self, path: CloudPath, options: "S3Options") -> None:
        """Raises CredentialsError where there are no credentials, ConfigError for wrong options."""
        self.workers = options.concurrency
        self._path, self._options = path, options
        self._prefix = f"{path.path}/" if path.path else ""
        self._bucket = Bucket(path, options)
        self._long: set[str] = set()  # folders with objects of which only a part was wanted from the start on

    @property
    def origin(self) -> str:
        """The address of the service where it is not Amazon's own; caches keep one apart from another."""
        return self._bucket.origin

    def __repr__(self) -> str:
        return f"S3Store({str(self._path)!r})"

    def __reduce__(self) -> tuple[Any, ...]:
        secrets = travelling(str(self._path), self._options.secrets)
        return S3Store, (self._path, attrs.evolve(self._options, secrets=secrets))

    def get(self, key: str, byte_range: ByteRange | None = None) -> Blob | None:
        """Return the object or the part of it inside `byte_range`; None means absent."""
        full = self._full(key)
        if byte_range is None:
            return self._bucket.find(key, lambda clients, limits: clients.objects.get(limits, full, None))
        return self._part(key, full, byte_range)

    def get_ranges(self, key: str, ranges: Sequence[ByteRange]) -> Sequence[Blob] | None:
        """Return several parts of the object, all of one ETag; None means absent."""
        full = self._full(key)
        for _ in range(_CHANGES):
            try:
                return self._parts(key, full, ranges)
            except Answer as answer:  # it was replaced between two parts
                replaced = answer
        raise self._never_still(key) from replaced

    def _parts(self, key: str, full: str, ranges: Sequence[ByteRange]) -> Sequence[Blob] | None:
        fetched: list[tuple[int, Blob]] = []
        version: str | None = None
        for span in merged(ranges, _GAP) or [_NOTHING]:
            blob = self._part(key, full, span, version)
            if blob is None:
                return None
            if version not in (None, blob.version):  # where nothing is fetched, nothing is compared by S3
                raise Answer(412, message="it was replaced meanwhile")
            version = blob.version
            fetched.append((span.start, blob))
        return [cut(fetched, wanted) for wanted in ranges]

    def _part(self, key: str, full: str, part: ByteRange, version: str | None = None) -> Blob | None:
        """Return a part of an object. Raises Answer where it has another version than the one given."""
        start, stop = part
        if start < 0:
            raise StoreError(f"{self._path}/{key}: a byte range starts at 0 or later, found {start}")

        loose = self._is_loose(key, part)

        def fetch(clients: Clients, limits: Limits) -> Blob:
            blob = clients.objects.get(limits, full, part, version, loose=loose)
            if loose and blob.size is not None and blob.size > stop:
                self._long.add(key.rpartition("/")[0])
            return blob

        for _ in range(_CHANGES):
            if start < stop:
                try:
                    return self._bucket.find(key, fetch, _NO_PART)
                except Answer as answer:
                    if answer.status == 412:
                        raise
            # S3 has no word for a part without bytes.
            blob = self._head(key, full)
            if blob is None or start >= stop or blob.size is None or blob.size <= start:
                return blob
        raise self._never_still(key)

    def _is_loose(self, key: str, part: ByteRange) -> bool:
        return part.start == 0 and part.stop >= _LOOSE and key.rpartition("/")[0] not in self._long

    @property
    def is_near(self) -> bool:
        """Whether `ask` is worth its while; see precomp.interfaces.AsksAhead."""
        return self._bucket.clients().objects.is_near

    def ask(self, key: str, byte_range: ByteRange | None = None) -> Sent | None:
        """Send what a `get` will send; see precomp.interfaces.AsksAhead."""
        loose = byte_range is not None and self._is_loose(key, byte_range)
        limits, full = self._bucket.policy.limits(), self._full(key)
        return self._bucket.clients().objects.ask(limits, full, byte_range, loose=loose)

    def stat(self, key: str) -> Stat | None:
        """Return size, version and encoding; None means absent."""
        blob = self._head(key, self._full(key))
        return None if blob is None else Stat(blob.size or 0, blob.version, blob.content_encoding)

    def _head(self, key: str, full: str) -> Blob | None:
        found = self._bucket.find(key, lambda clients, limits: clients.objects.head(limits, full))
        return None if found is None else found[0]

    def put(self, key: str, blob: Blob, *, condition: Condition | None = None) -> str | None:
        """Store `blob` whole or not at all and return its version.

        Raises ConditionFailedError, and writes nothing, where `condition` does not hold. Where the answer to
        a conditional put was lost, the object tells whether it is this one.
        """
        full = self._full(key)
        self._check_headers(key, blob)
        if condition is not None and not _is_header(condition.version):
            raise self._unmet(key, condition)  # no object can have such a version
        mark = None if condition is None else token_hex(16)
        failed: list[Exception] = []

        def send(clients: Clients, limits: Limits) -> str | None:
            return clients.objects.put(limits, full, blob, condition, mark)

        try:
            return self._bucket.ask(key, send, _UNMET, failed.append)
        except Answer as answer:
            if answer.status == 404:
                self._bucket.check(key, answer)
            if condition is None:
                raise self._bucket.error(key, answer) from answer
            found, version = self._marked(key, full) if failed else (None, None)
            if found == mark:
                return version
            raise self._unmet(key, condition) from answer

    def _check_headers(self, key: str, blob: Blob) -> None:
        for text in (blob.content_type, blob.content_encoding, blob.cache_control):
            if not _is_header(text):
                raise StoreError(
                    f"{self._path}/{key}: expected headers of printable ASCII characters, found {text!r}; "
                    "correct cdn_cache, or the plugin that gave it"
                )

    def _unmet(self, key: str, condition: Condition) -> ConditionFailedError:
        expected = "no object" if condition.version is None else f"version {condition.version}"
        return ConditionFailedError(
            f"{self._path}/{key}: expected {expected}, found something else; nothing was written, "
            "read the object again"
        )

    def _marked(self, key: str, full: str) -> tuple[str | None, str | None]:
        """Return the mark and the version of what is stored now."""

        found = self._bucket.find(key, lambda clients, limits: clients.objects.head(limits, full))
        return (None, None) if found is None else (found[1], found[0].version)

    def delete(self, keys: Iterable[str]) -> None:
        """Remove the objects, a thousand at once; absent ones are fine."""
        rest = iter(keys)
        while batch := list(itertools.islice(rest, _BULK)):
            names = {self._full(key): key for key in batch}
            many = {
                full: key for full, key in names.items() if full.isprintable()
            }  # XML cannot hold any character
            left = self._delete_all(many) if len(many) > 1 else many
            for full in [*left, *(names.keys() - many.keys())]:
                self._delete(names[full], full)

    def _delete(self, key: str, full: str) -> None:
        self._bucket.find(key, lambda clients, limits: clients.service(limits).delete(full))

    def _delete_all(self, names: Mapping[str, str]) -> Iterable[str]:
        """Remove objects by one request; return those of which the service does not say that it did."""
        left = list(names)

        def remove(clients: Clients, limits: Limits) -> None:
            nonlocal left
            gone, refused = clients.service(limits).delete_all(left)
            left = [full for full in left if full not in gone]
            if refused:
                raise refused[0]

        first = names[left[0]]
        try:
            self._bucket.ask(f"{first} and {len(names) - 1} more", remove, _NO_BULK)
        except Answer as answer:  # it has no such request
            if answer.status == 404:
                self._bucket.check(first, answer)
        return left

    def list(self, prefix: str) -> Iterator[str]:
        """Yield every key that starts with `prefix`, page by page. What no store may have is passed over."""
        if "/" in prefix:
            check_key(prefix.rpartition("/")[0])
        _check_utf8(prefix)
        return self._listed(prefix)

    def _listed(self, prefix: str) -> Iterator[str]:
        start, after = self._prefix + prefix, None
        while True:
            found, after = self._page(prefix, start, after)
            for full in found:
                key = full[len(self._prefix) :]
                if "//" not in f"/{key}/":  # consoles make folders, whose names end with a slash
                    yield key
            if after is None:
                return

    def _page(self, prefix: str, start: str, after: str | None) -> tuple[Sequence[str], str | None]:
        def fetch(clients: Clients, limits: Limits) -> tuple[Sequence[str], str | None]:
            return clients.service(limits).page(start, after)

        try:
            return self._bucket.ask(f"{prefix}*", fetch, ABSENT)
        except Answer as answer:
            self._bucket.check(prefix, answer)
            raise self._bucket.error(prefix, answer) from answer

    def _full(self, key: str) -> str:
        check_key(key)
        _check_utf8(key)
        return self._prefix + key

    def _never_still(self, key: str) -> StoreError:
        return StoreError(
            f"{self._path}/{key}: others replaced it {_CHANGES} times while it was read; try again later"
        )


@lru_cache(maxsize=64)  # all chunks of a scale have the same
def _is_header(text: str | None) -> bool:
    return text is None or (text.isascii() and text.isprintable())


def _check_utf8(key: str) -> None:
    if not key.isascii():
        try:
            key.encode()
        except UnicodeEncodeError as error:
            raise StoreError(f"{key!r} is no key: UTF-8 cannot write it; correct it") from error
