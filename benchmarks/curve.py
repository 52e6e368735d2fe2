"""The cost of one live tick against what is stored and against what changed, as curves in one SVG of our own making."""

import math
from collections.abc import Callable, Sequence
from dataclasses import dataclass, replace
from pathlib import Path

#: What is varied, one at a time; the others stay at the usual city.
_SERIES, _HOURS, _CHANGED = 15_000, 24, 150
_MORE_SERIES = (1_500, 5_000, 15_000, 45_000)
_MORE_HOURS = (6, 12, 24, 48)
_MORE_CHANGED = (50, 150, 500, 1_500)
_WIDTH, _HEIGHT, _LEFT, _TOP, _GAP = 280, 220, 64, 44, 84
_INSET = 28
_LETTERS = ' font-family="system-ui, sans-serif" font-size="12" fill="#24292f"'


@dataclass(frozen=True, slots=True)
class Load:
    """What is in memory, in series and hours of one reading a minute, and how many series got a reading since."""

    n_series: int
    hours: int
    n_changed: int


@dataclass(frozen=True, slots=True)
class Curve:
    """Points of (x, milliseconds), x ascending and above 0."""

    title: str
    x_label: str
    points: Sequence[tuple[float, float]]


def measure_curves(measure_ms: Callable[[Load], float]) -> list[Curve]:
    """Time a tick under loads that differ in how many series are stored, how long each is, and how many changed.

    `measure_ms` gives the time of one tick under a load [ms].
    """
    usual = Load(_SERIES, _HOURS, _CHANGED)
    varied: dict[tuple[str, str], list[tuple[int, Load]]] = {
        (f"{_CHANGED} changed, more stored", f"series stored, {_HOURS} h each"): [
            (number, replace(usual, n_series=number)) for number in _MORE_SERIES
        ],
        (f"{_CHANGED} changed, kept for longer", f"hours of {_SERIES:,} series"): [
            (hours, replace(usual, hours=hours)) for hours in _MORE_HOURS
        ],
        ("more changed", f"series changed, of {_SERIES:,} with {_HOURS} h"): [
            (number, replace(usual, n_changed=number)) for number in _MORE_CHANGED
        ],
    }
    return [
        Curve(title, x_label, [(at, measure_ms(load)) for at, load in loads])
        for (title, x_label), loads in varied.items()
    ]


def write_svg(curves: Sequence[Curve], path: Path) -> None:
    """Draw the curves side by side: x logarithmic, milliseconds linear from 0, the same scale for all."""
    top_ms = _round_up(max(ms for curve in curves for _, ms in curve.points))
    width = len(curves) * (_WIDTH + _GAP) + _LEFT - _GAP + 32
    height = _TOP + _HEIGHT + 56
    parts = [
        f'<svg xmlns="http://www.w3.org/2000/svg" viewBox="0 0 {width} {height}" role="img"{_LETTERS}>',
        "<title>Time of one live tick against what is stored and what changed</title>",
        f'<rect width="{width}" height="{height}" fill="#ffffff"/>',
    ]
    for number, curve in enumerate(curves):
        parts += _panel(curve, left=_LEFT + number * (_WIDTH + _GAP), top_ms=top_ms)
    path.parent.mkdir(parents=True, exist_ok=True)
    path.write_text("\n".join([*parts, "</svg>", ""]), encoding="utf-8")


def _panel(curve: Curve, *, left: float, top_ms: float) -> list[str]:
    low, high = (math.log10(curve.points[place][0]) for place in (0, -1))
    bottom = _TOP + _HEIGHT

    def x_of(value: float) -> float:
        share = (math.log10(value) - low) / (high - low) if high > low else 0.5
        return left + _INSET + share * (_WIDTH - 2 * _INSET)

    def y_of(ms: float) -> float:
        return bottom - ms / top_ms * _HEIGHT

    parts = [f'<text x="{left}" y="{_TOP - 18}" font-weight="600">{curve.title}</text>']
    for step in range(5):
        ms = top_ms * step / 4
        y = y_of(ms)
        parts.append(f'<path d="M{left} {y:.1f}h{_WIDTH}" stroke="#d0d7de"/>')
        parts.append(f'<text x="{left - 8}" y="{y + 4:.1f}" text-anchor="end">{ms:g} ms</text>')
    line = " ".join(f"{x_of(value):.1f},{y_of(ms):.1f}" for value, ms in curve.points)
    parts.append(f'<polyline points="{line}" fill="none" stroke="#0969da" stroke-width="2"/>')
    for value, ms in curve.points:
        x, y = x_of(value), y_of(ms)
        parts.append(f'<circle cx="{x:.1f}" cy="{y:.1f}" r="3.5" fill="#0969da"/>')
        parts.append(f'<text x="{x:.1f}" y="{y - 9:.1f}" text-anchor="middle">{ms:.1f}</text>')
        parts.append(f'<text x="{x:.1f}" y="{bottom + 18}" text-anchor="middle">{_short(value)}</text>')
    middle = left + _WIDTH / 2
    parts.append(f'<text x="{middle}" y="{bottom + 40}" text-anchor="middle">{curve.x_label}</text>')
    return parts


def _short(value: float) -> str:
    return f"{value:,.0f}"


def _round_up(ms: float) -> float:
    """The next of 1, 2, 4, 6, 8, 10 times a power of ten that leaves room above the highest point."""
    needed = max(ms * 1.15, 1e-3)
    power = 10.0 ** math.floor(math.log10(needed))
    return next(factor * power for factor in (1, 2, 4, 6, 8, 10) if factor * power >= needed)
