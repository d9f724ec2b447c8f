"""The report as markdown and as JSON."""

import json
from collections.abc import Iterable, Sequence
from typing import Any

import attrs

from precomp.bench.peers import LIMIT, OURS
from precomp.bench.results import Growth, Measured, Report

__all__ = ["as_json", "as_markdown", "three_digits"]

_METHOD = """\
Figures are medians of {repeat} rounds; memory is measured once. `x PEER` is how many times as long, or as \
much, the peer takes as precomp: the median over the rounds, in brackets the target. `limit` is bare numpy \
on the same files."""


def as_json(report: Report) -> str:
    """Return all that was measured; the figures of single rounds in seconds, bytes or multiples."""
    content = attrs.asdict(report, recurse=True)
    content["rows"] = [_row_as_dict(measured) for measured in report.rows]
    return json.dumps(content, indent=1)


def _row_as_dict(measured: Measured) -> dict[str, Any]:
    row = measured.row
    peers = [name for name in measured.rounds if name != OURS]
    return {
        **attrs.asdict(row),
        "values": {name: _value(measured, name) for name in measured.rounds},
        "ratios": {name: measured.ratio(name) for name in peers},
        "reached": measured.reached(),
        "rounds": dict(measured.rounds),
        "stored": dict(measured.stored),
    }


def _value(measured: Measured, name: str) -> float | None:
    median = measured.median(name)
    return None if median is None else measured.row.shown(median)


def as_markdown(report: Report) -> str:
    """Return the tables, and what they were measured on."""
    machine = report.machine
    packages = ", ".join(f"{name} {version}" for name, version in machine.packages.items())
    parts = [
        f"{report.date}, {machine.cpu}, {machine.cores} cores, {machine.memory / 2**30:.0f} GiB, "
        f"{machine.system}, Python {machine.python}; {packages}. Size {report.size}, files in "
        f"{report.folder}, data {report.data}."
    ]
    parts += [f"Note: {note}." for note in report.notes]
    if report.rows:
        parts += [_METHOD.format(repeat=report.repeat), _rows_table(report)]
    if sizes := _sizes_table(report):
        parts += ["Bytes stored, as a part of the array:", sizes]
    if report.growth:
        parts += ["How cost grows (precomp alone):", _growth_table(report.growth)]
    return "\n\n".join(parts) + "\n"


def _rows_table(report: Report) -> str:
    peers = [name for name in report.contestants if name not in (OURS, LIMIT)]
    head = ["row", "", "unit", *report.contestants, *(f"x {name}" for name in peers), "target"]
    lines = []
    for measured in report.rows:
        row = measured.row
        values = [three_digits(_value(measured, name)) for name in report.contestants]
        if row.most is not None:
            values[report.contestants.index(OURS)] += f" (≤ {row.most:g})"
        ratios = [_ratio(measured, peer) for peer in peers]
        verdict = {True: "reached", False: "**missed**", None: ""}[measured.reached()]
        lines.append([row.name, row.title, row.unit, *values, *ratios, verdict])
    return _table(head, lines)


def _ratio(measured: Measured, peer: str) -> str:
    ratio, target = measured.ratio(peer), measured.row.targets.get(peer)
    if ratio is None:
        return ""
    if target is None:
        return f"{ratio:.2f}"
    return f"{ratio:.2f} ({target:g})" if ratio >= target else f"**{ratio:.2f}** ({target:g})"


def _sizes_table(report: Report) -> str:
    """Those rows only in which contestants differ by what they make of the voxels."""
    lines = []
    for measured in report.rows:
        layer = measured.row.layer
        if measured.stored and (layer.compress or layer.encoding != "raw"):
            sizes = [measured.stored.get(name) for name in report.contestants]
            cells = ["" if size is None else f"{size / layer.nbytes:.3f}" for size in sizes]
            lines.append([measured.row.name, *cells])
    return _table(["row", *report.contestants], lines) if lines else ""


def _growth_table(growth: Sequence[Growth]) -> str:
    """One work below the other, each in the order in which it was measured."""
    works = list(dict.fromkeys(one.what for one in growth))
    growth = sorted(growth, key=lambda one: works.index(one.what))
    lines = [
        [one.what, f"{one.number:,} {one.of}", f"{three_digits(one.amount)} {one.unit}"] for one in growth
    ]
    return _table(["work", "at", "cost"], lines)


def three_digits(value: float | None) -> str:
    """Return a figure with no more digits than mean anything; nothing for None."""
    if value is None:
        return ""
    return f"{value:.0f}" if value >= 99.95 else f"{value:#.3g}"


def _table(head: Sequence[str], lines: Iterable[Sequence[str]]) -> str:
    rows = [head, ["---"] * len(head), *lines]
    return "\n".join(f"| {' | '.join(cells)} |" for cells in rows)
