"""The ratios as a picture: a bar for each row and peer, on a logarithmic scale, as SVG."""

import math
from collections.abc import Iterator, Mapping, Sequence
from typing import NamedTuple
from xml.sax.saxutils import escape

from precomp.bench.peers import LIMIT, OURS
from precomp.bench.results import Measured, Report

__all__ = ["as_svg"]

_WIDTH, _LEFT, _RIGHT = 860, 330, 70  # pixels: all, for the titles, for the last figures
_BAR, _GAP, _TOP = 11, 9, 62
_FIGURE = 36  # pixels that one takes behind a bar
_SIDES = (0.5, 2.0)  # the scale reaches at least from one to the other
# The picture brings a ground of its own, so that it is as readable on a dark page as on a light one.
_GROUND, _INK, _FAINT, _TARGET = "#ffffff", "#24292f", "#d0d7de", "#bc4c00"
_COLOURS = ("#0969da", "#6e7781", "#8250df", "#1a7f37")


class _Bar(NamedTuple):
    """The ratio of one peer in one row, and what it should be at least."""

    colour: str
    ratio: float
    target: float | None


class _Group(NamedTuple):
    """The bars of one row."""

    title: str
    bars: list[_Bar]


def as_svg(report: Report) -> str:
    """Return the picture: a line at 1, and a mark where the target of a bar is."""
    colours = dict(zip((n for n in report.contestants if n not in (OURS, LIMIT)), _COLOURS, strict=False))
    groups = [group for measured in report.rows if (group := _group(measured, colours)).bars]
    bars = [bar for group in groups for bar in group.bars]
    scale = _Scale([*(bar.ratio for bar in bars), *(bar.target for bar in bars if bar.target is not None)])
    height = _TOP + len(bars) * _BAR + len(groups) * _GAP + 16
    parts = [
        f'<svg xmlns="http://www.w3.org/2000/svg" viewBox="0 0 {_WIDTH} {height}" width="{_WIDTH}" '
        f'height="{height}" font-family="sans-serif" font-size="11" fill="{_INK}">',
        "<title>Time or memory of each peer, in multiples of precomp's</title>",
        f'<rect width="{_WIDTH}" height="{height}" rx="6" fill="{_GROUND}"/>',
        *_legend(colours),
        *_axis(scale, height),
        *_groups(groups, scale),
        "</svg>",
    ]
    return "\n".join(parts) + "\n"


def _group(measured: Measured, colours: Mapping[str, str]) -> _Group:
    ratios = {peer: ratio for peer in colours if (ratio := measured.ratio(peer)) is not None}
    targets = measured.row.targets
    bars = [_Bar(colours[peer], ratio, targets.get(peer)) for peer, ratio in ratios.items()]
    return _Group(measured.row.title, bars)


class _Scale:
    """From ratios to pixels."""

    def __init__(self, ratios: Sequence[float]) -> None:
        self.low = math.floor(math.log2(min([_SIDES[0], *ratios])))
        self.high = math.ceil(math.log2(max([_SIDES[1], *ratios])))

    def x(self, ratio: float) -> float:
        """Return where a ratio is."""
        span = _WIDTH - _LEFT - _RIGHT
        return _LEFT + span * (math.log2(ratio) - self.low) / (self.high - self.low)


def _text(x: float, y: float, text: str, anchor: str = "start", style: str = "") -> str:
    return f'<text x="{x:.1f}" y="{y:.1f}" text-anchor="{anchor}"{style}>{escape(text)}</text>'


def _line(x: float, top: float, bottom: float, colour: str, width: float = 1) -> str:
    return f'<path d="M{x:.1f} {top:.1f}V{bottom:.1f}" stroke="{colour}" stroke-width="{width:g}"/>'


def _legend(colours: Mapping[str, str]) -> Iterator[str]:
    yield _text(12, 22, "time or memory, in multiples of precomp's", style=' font-weight="bold"')
    x = float(_LEFT)
    for peer, colour in colours.items():
        yield f'<rect x="{x}" y="13" width="10" height="10" fill="{colour}"/>'
        yield _text(x + 15, 22, peer)
        x += 40 + 7 * len(peer)
    yield _line(x + 5, 12, 24, _TARGET, 3)
    yield _text(x + 13, 22, "target")


def _axis(scale: _Scale, height: int) -> Iterator[str]:
    for power in range(scale.low, scale.high + 1):
        ratio = 2.0**power
        yield _text(scale.x(ratio), _TOP - 14, f"{ratio:g}", "middle")
        yield _line(scale.x(ratio), _TOP - 8, height - 12, _INK if power == 0 else _FAINT)


def _groups(groups: Sequence[_Group], scale: _Scale) -> Iterator[str]:
    y = float(_TOP)
    for title, bars in groups:
        yield _text(12, y + len(bars) * _BAR / 2 + 4, title)
        for bar in bars:
            left, right = sorted((scale.x(1), scale.x(bar.ratio)))
            size = f'width="{right - left:.1f}" height="{_BAR - 2}"'
            yield f'<rect x="{left:.1f}" y="{y:.1f}" {size} fill="{bar.colour}"/>'
            if bar.target is not None:
                mark = scale.x(bar.target)
                yield _line(mark, y - 1.5, y + _BAR - 0.5, _TARGET, 3)
                right = mark if right < mark < right + _FIGURE else right
            yield _text(right + 6, y + _BAR - 2.5, f"{bar.ratio:.2f}", style=' font-size="10"')
            y += _BAR
        y += _GAP
