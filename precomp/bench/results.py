"""What came out of a run, as records that go into the JSON as they are."""

import statistics
from collections.abc import Mapping, Sequence

import attrs

from precomp.bench.machine import Machine
from precomp.bench.peers import OURS
from precomp.bench.rows import Row

__all__ = ["Growth", "Measured", "Report"]


@attrs.frozen
class Measured:
    """A row and its figures.

    Attributes:
        row: what was measured.
        rounds: by contestant, one figure per round: seconds of a single work, bytes for `MB`, multiples
            of the array for `x`. The first of each were measured in the same round, and so on.
        stored: by contestant, bytes of the chunk files that it wrote.
    """

    row: Row
    rounds: Mapping[str, Sequence[float]]
    stored: Mapping[str, int] = attrs.field(factory=dict)

    def median(self, name: str) -> float | None:
        """Return the median figure of a contestant, None where it has none."""
        return statistics.median(self.rounds[name]) if name in self.rounds else None

    def ratio(self, peer: str) -> float | None:
        """Return how many times as much a peer takes as precomp: the median over the rounds.

        Of each round the two figures are compared with each other, as what slows the machine down for a
        while slows both.
        """
        if peer not in self.rounds or OURS not in self.rounds or peer == OURS:
            return None
        pairs = zip(self.rounds[peer], self.rounds[OURS], strict=True)
        return statistics.median(theirs / ours for theirs, ours in pairs)

    def reached(self) -> bool | None:
        """Whether every target whose figures are there is reached; None where there is none."""
        ratios = [(self.ratio(peer), target) for peer, target in self.row.targets.items()]
        found = [ratio >= target for ratio, target in ratios if ratio is not None]
        own = self.median(OURS)
        if self.row.most is not None and own is not None:
            found.append(self.row.shown(own) <= self.row.most)
        return all(found) if found else None


@attrs.frozen
class Growth:
    """A figure of the section on how cost grows.

    Attributes:
        what: was done.
        number: of what the cost may grow with.
        of: what that is, `chunks`.
        amount: in `unit`, the median of the rounds.
        unit: of the amount.
    """

    what: str
    number: int
    of: str
    amount: float
    unit: str


@attrs.frozen
class Report:
    """A whole run.

    Attributes:
        machine: that it ran on.
        date: when it began, ISO 8601.
        size: of the rows, `full` or `quick`.
        repeat: rounds that count.
        folder: where the files were.
        data: where the voxels were from.
        contestants: in the order of the columns.
        rows: in the order of the table.
        growth: empty unless it was asked for.
        notes: what was left out.
    """

    machine: Machine
    date: str
    size: str
    repeat: int
    folder: str
    data: str
    contestants: Sequence[str]
    rows: Sequence[Measured] = ()
    growth: Sequence[Growth] = ()
    notes: Sequence[str] = ()
