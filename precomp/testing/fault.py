"""`Fault`: one kind of trouble that `FaultyStore` makes, and when."""

import fnmatch
from collections.abc import Mapping
from typing import Any, Literal, TypeAlias

import attrs

from precomp.errors import ArgumentError, StoreError

__all__ = ["Fault", "FaultKind"]

FaultKind: TypeAlias = Literal["before", "after", "truncate", "absent", "delay"]

_METHODS = ("get", "get_ranges", "put", "delete", "list", "stat", "update")
_READS = ("get", "get_ranges")
_APPLIES: Mapping[FaultKind, tuple[str, ...]] = {
    "before": _METHODS,
    "after": _METHODS,
    "truncate": _READS,
    "absent": (*_READS, "list", "stat"),
    "delay": _METHODS,
}


@attrs.frozen
class Fault:
    """One kind of trouble, and when it strikes.

    Attributes:
        kind: `before`: raises, and nothing is done; `after`: it is done, and the answer is lost in an
            error; `truncate`: `get` and `get_ranges` return half of the bytes; `absent`: the object is
            not found; `delay`: the call takes `seconds` longer.
        method: which calls may be struck, `get`, `put`, ...; None: all that the kind applies to.
        key: which keys, as a pattern (`8_8_40/*`); of `list` it is the prefix.
        skip: how many such calls pass first.
        times: how many are struck then.
        error: what `before` and `after` raise.
        seconds: of `delay`.
    """

    kind: FaultKind = attrs.field()
    method: str | None = attrs.field(default=None)
    key: str = "*"
    skip: int = 0
    times: int = 1
    error: Exception = attrs.field(factory=lambda: StoreError("injected fault"))
    seconds: float = 0.01

    @kind.validator
    def _known(self, _: Any, kind: str) -> None:
        if kind not in _APPLIES:
            raise ArgumentError(f"kind: expected one of {', '.join(_APPLIES)}, got {kind!r}")

    @method.validator
    def _applies(self, _: Any, method: str | None) -> None:
        if method is not None and method not in _APPLIES[self.kind]:
            raise ArgumentError(
                f"method: a fault {self.kind!r} strikes {', '.join(_APPLIES[self.kind])}, got {method!r}"
            )

    def strikes(self, method: str, key: str) -> bool:
        """Whether a call is one of those that the fault may strike."""
        applies = method in _APPLIES[self.kind] if self.method is None else method == self.method
        return applies and fnmatch.fnmatchcase(key, self.key)
