"""The store of `gs://`: objects of Google Storage below one folder of a bucket."""

import threading
from collections.abc import Callable, Iterable, Iterator, Sequence
from concurrent.futures import ThreadPoolExecutor, wait
from typing import TYPE_CHECKING, Any, TypeVar

import attrs

from precomp.credentials import travelling
from precomp.errors import StoreError
from precomp.interfaces import Blob, ByteRange, CloudPath, Condition, Stat
from precomp.memory import check_key
from precomp.ranges import cut, merged
from precomp.retry import Limits, RetryPolicy, stop_retrying_at
from precomp_plugins._gs.identity import find_identity
from precomp_plugins._gs.objects import Objects
from precomp_plugins._gs.session import given_endpoint
from precomp_plugins._gs.upload import Upload
from precomp_plugins._wire.ahead import Sent
from precomp_plugins._wire.headers import encoding_of

if TYPE_CHECKING:
    from precomp_plugins.gs import GsOptions

__all__ = ["GsStore"]

T = TypeVar("T")

_GAP = 2**19  # bytes; rather fetched and dropped than paid for with another request
_LOOKS = 16  # at most, for ranges of an object that is replaced again and again meanwhile


class GsStore:
    """Objects below the folder `path`; see precomp.interfaces.Store.

    Versions are the service's generations. What was written is seen by everybody at once, in lists too.
    Safe to share between threads and after a fork: connections belong to a process, and the next one opens
    its own. By pickle it goes without secrets, which are looked for again.

    Attributes:
        workers: how many threads pay, as requests wait for the network.
        origin: the address of the service where it is not Google's.
    """

    def __init__(self, path: CloudPath, options: "GsOptions") -> None:
        """Look for credentials, which raises CredentialsError where there are none. Sends nothing."""
        self._path, self._options = path, options
        self._objects = Objects(path, options, find_identity(path.bucket, options))
        self._retry = RetryPolicy(options.max_attempts, options.timeout)
        self.workers = options.concurrency
        self.origin = given_endpoint(options, str(path))

    def __repr__(self) -> str:
        return f"GsStore({str(self._path)!r})"

    def __reduce__(self) -> tuple[Any, ...]:
        secrets = travelling(str(self._path), self._options.secrets)
        return type(self), (self._path, attrs.evolve(self._options, secrets=secrets))

    def get(self, key: str, byte_range: ByteRange | None = None) -> Blob | None:
        """Return the object or the part of it inside `byte_range` as stored; None means absent."""
        target = self._objects.target(key)
        if byte_range is None:
            return self._insist(key, lambda limits: self._objects.get(limits, key, target))
        return self._get_part(key, target, byte_range)

    @property
    def is_near(self) -> bool:
        """Whether `ask` is worth its while; see precomp.interfaces.AsksAhead."""
        return self._objects.is_near

    def ask(self, key: str, byte_range: ByteRange | None = None) -> Sent | None:
        """Send what a `get` will send; see precomp.interfaces.AsksAhead."""
        return self._objects.ask(self._retry.limits(), self._objects.target(key), byte_range)

    def get_ranges(self, key: str, ranges: Sequence[ByteRange]) -> Sequence[Blob] | None:
        """Return several parts of the object as stored, all of one generation; None means absent."""
        wanted, target = merged(ranges, _GAP) or [ByteRange(0, 0)], self._objects.target(key)
        for _ in range(_LOOKS):
            first = self._get_part(key, target, wanted[0])
            if first is None:
                return None
            same = f"{target}&generation={first.version}"  # which is absent once it is replaced
            parts = [(wanted[0].start, first)]
            for span in wanted[1:]:
                part = self._get_part(key, same, span)
                if part is None or part.version != first.version:
                    break
                parts.append((span.start, part))
            else:
                return [cut(parts, one) for one in ranges]
        raise StoreError(
            f"{self._objects.place}{key}: it was replaced {_LOOKS} times while it was read; read it when "
            "nobody writes, or read whole chunks"
        )

    def put(self, key: str, blob: Blob, *, condition: Condition | None = None) -> str:
        """Store `blob` whole or not at all and return its generation.

        Raises ConditionFailedError, and writes nothing, where `condition` does not hold. Where the answer to
        a conditional write was lost, the object tells whether it is this one.
        """
        self._objects.target(key)
        generation = None if condition is None else condition.version or "0"
        if condition is not None and not (generation or "").isdecimal():
            self._objects.condition_failed(key, condition)  # no object can have such a version
        upload = Upload(self._objects.name(key), blob, generation)
        return self._insist(key, lambda limits: self._objects.put(limits, key, upload, condition))

    def delete(self, keys: Iterable[str]) -> None:
        """Remove the objects, several at once; absent ones are fine."""
        targets = {key: self._objects.target(key, "") for key in keys}
        if len(targets) < 2:
            for key, target in targets.items():
                self._delete(key, target)
            return
        stop, failed = threading.Event(), list[BaseException]()

        def delete(key: str, target: str) -> None:
            if not stop.is_set():
                try:
                    self._delete(key, target)
                except BaseException as error:  # noqa: BLE001  the first one is raised below
                    failed.append(error)
                    stop.set()

        workers = min(self.workers, len(targets))
        with ThreadPoolExecutor(workers, "precomp-gs", stop_retrying_at, (stop,)) as pool:
            try:
                wait([pool.submit(delete, *item) for item in targets.items()])
            finally:
                stop.set()  # an interrupt ends the others too
        if failed:
            try:
                raise failed[0]
            finally:
                failed.clear()  # the error's traceback holds this frame: no cycle

    def list(self, prefix: str) -> Iterator[str]:
        """Yield every key that starts with `prefix`, page by page."""
        if "/" in prefix:
            check_key(prefix.rpartition("/")[0])
        self._objects.target(f"{prefix}x")  # raises for what UTF-8 cannot write
        return self._list(prefix)

    def stat(self, key: str) -> Stat | None:
        """Return size, generation and encoding; None means absent."""
        found = self._insist(key, lambda limits: self._objects.look(limits, key, "contentEncoding"))
        if found is None:
            return None
        return Stat(int(found["size"]), str(found["generation"]), encoding_of(found.get("contentEncoding")))

    def _get_part(self, key: str, target: str, wanted: ByteRange) -> Blob | None:
        if wanted.start < 0:
            raise StoreError(
                f"{self._objects.place}{key}: a byte range starts at 0 or later, found {wanted.start}; "
                "correct the range"
            )
        return self._insist(key, lambda limits: self._objects.get_part(limits, key, target, wanted))

    def _delete(self, key: str, target: str) -> None:
        self._insist(key, lambda limits: self._objects.delete(limits, key, target))

    def _list(self, prefix: str) -> Iterator[str]:
        token: str | None = None
        while True:
            keys, token = self._page(prefix, token)
            # What no store may have is passed over; in Google's console names with a final slash are folders.
            yield from (key for key in keys if "//" not in f"/{key}/")
            if token is None:
                return

    def _page(self, prefix: str, token: str | None) -> tuple[Sequence[str], str | None]:
        return self._insist(f"{prefix}*", lambda limits: self._objects.page(limits, prefix, token))

    def _insist(self, key: str, attempt: Callable[[Limits], T]) -> T:
        return self._retry.call(self._objects.place + key, attempt)
