"""What is wrong with a config, and tables laid over each other that know where each key was written."""

from collections.abc import Collection, Iterable, Mapping
from typing import Any

import attrs

from precomp.errors import ConfigError, PrecompError
from precomp.jsonio import attempt
from precomp.jsonio.problems import member
from precomp.jsonio.secrets import hidden

__all__ = ["Absent", "Findings", "Layered", "joined"]


def joined(place: str, path: str) -> str:
    """Lengthen a place, `precomp.toml: volumes` or `precomp.toml:`, by the path `.em.mip`."""
    return f"{place} {path.removeprefix('.')}" if place.endswith(":") else place + path


@attrs.frozen
class Absent:
    """What a volume needs of a plugin that is missing, broken or in conflict; other volumes do without."""

    place: str
    error: PrecompError

    def __str__(self) -> str:
        """Show where it is asked for and what is the matter."""
        return f"{self.place}: {self.error}"


class Findings:
    """The problems found so far: the first of each place, without secrets.

    Attributes:
        secrets: texts that are not to be shown.
    """

    def __init__(self, secrets: Iterable[str] = ()) -> None:
        self._found: dict[str, str] = {}
        self.secrets = set(secrets)

    def add(self, place: str, text: object) -> None:
        """Note a problem, unless there is one at this place."""
        lines = hidden(str(text), self.secrets).splitlines()  # a secret may have several, too
        self._found.setdefault(place, "; ".join(" ".join(line.split()) for line in lines))

    def absent(self, place: str, error: PrecompError) -> Absent:
        """Return what is absent, told without secrets."""
        text = hidden(str(error), self.secrets)
        return Absent(place, error if text == str(error) else type(error)(text))

    def has(self, place: str) -> bool:
        """Whether there is a problem at this place or below."""
        return any(_leads_to(place, found) for found in self._found)

    @property
    def lines(self) -> list[str]:
        """What to show of each problem: the place, a colon and the text."""
        return [f"{place}: {text}" for place, text in self._found.items()]

    def structure(self, data: Any, cls: Any, place: str) -> Any:
        """Return `data` as a `cls`, or None where it has problems, which are noted."""
        record, found = attempt(data, cls, "options", ConfigError)
        for path, text in found:
            self.add(joined(place, path), text)
        return record


@attrs.frozen
class Layered:
    """One table made of several, the later ones on top.

    Attributes:
        place: where a missing key would have to be written.
        values: of all keys.
        places: from a key to the table that gave it.
    """

    place: str
    values: Mapping[str, Any] = attrs.field(factory=dict)
    places: Mapping[str, str] = attrs.field(factory=dict)

    def over(self, place: str, table: Mapping[str, Any]) -> "Layered":
        """Lay another table on top of this one."""
        places = dict.fromkeys(table, place)
        return Layered(self.place, {**self.values, **table}, {**self.places, **places})

    def without(self, keys: Collection[str]) -> "Layered":
        """Leave some keys out."""
        values, places = (
            {key: item for key, item in table.items() if key not in keys}
            for table in (self.values, self.places)
        )
        return Layered(self.place, values, places)

    def structure(self, cls: Any, findings: Findings, *, partial: bool = False) -> Any:
        """Return a `cls` of the values, or None where they have problems, which are noted.

        `partial`: what is missing may still come from another table, and is no problem.
        """
        record, found = attempt(dict(self.values), cls, "options", ConfigError)
        for path, text in found:
            if self._key(path) is not None or not partial:
                findings.add(self.place_of(path), text)
        return record

    def place_of(self, path: str) -> str:
        """Return where the value at `path` (`.volume_size[2]`) is written, or would have to be."""
        key = self._key(path)
        return joined(self.place if key is None else self.places[key], path)

    def _key(self, path: str) -> str | None:
        return next((key for key in self.values if _leads_to(member(key), path)), None)


def _leads_to(step: str, path: str) -> bool:
    return path.startswith(step) and path[len(step) : len(step) + 1] in ("", ".", "[")
