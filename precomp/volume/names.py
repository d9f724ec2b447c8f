"""A volume's public names: a misspelt option is an error, not one more attribute."""

from typing import Any

from precomp.errors import did_you_mean

__all__ = ["KnownNames"]

_OURS = __name__.partition(".")[0]
_NEARLY_SAME = 0.9  # one letter too many, too few or exchanged in a name of ten


class KnownNames:
    """Refuses to set public attributes that the class does not have."""

    def __setattr__(self, name: str, value: Any) -> None:
        """Set an attribute. Raises AttributeError for a public one that the class does not have.

        A class that somebody derives has what its body or its annotations name. It may set others too, so
        that `self.x = ...` in its methods works as everywhere, but for what must be a misspelt option.
        """
        kind = type(self)
        if not (name.startswith("_") or _has(kind, name)):
            options = [known for known in dir(kind) if _is_option(kind, known)]
            if kind.__module__.partition(".")[0] == _OURS:
                raise AttributeError(
                    f"{kind.__name__} has no attribute {name!r}{did_you_mean(name, options)}"
                )
            import difflib

            if difflib.get_close_matches(name, options, 1, _NEARLY_SAME):
                raise AttributeError(
                    f"{kind.__name__} has no attribute {name!r}{did_you_mean(name, options)}; if it is meant "
                    f"to have one, name it in the body of the class, as in '{name}: object'"
                )
        super().__setattr__(name, value)


def _has(kind: type, name: str) -> bool:
    return hasattr(kind, name) or any(name in vars(base).get("__annotations__", ()) for base in kind.__mro__)


def _is_option(kind: type, name: str) -> bool:
    found = getattr(kind, name)
    return not name.startswith("_") and hasattr(type(found), "__set__") and getattr(found, "fset", True)
