"""Draws the long dropout of a real station, as the quality checks see it: `docs/images/station_b.svg`.

Usage: python benchmarks/station_b_plot.py STATION_B.csv OUT.svg

Each panel shows the least and the greatest value of each column of pixels, so that no reading is lost in the picture.
"""

import argparse
import csv
from dataclasses import dataclass
from datetime import UTC, datetime, timedelta
from pathlib import Path

import numpy as np
from numpy.typing import NDArray

from analytics.grid import Grid
from analytics.quality import Check, Checked
from analytics.quality.intervals import flag_intervals
from analytics.quality.on_grid import grid_flags
from analytics.standards.quality_rules import QualityRules
from gateway.contract.quantities import Quantity

_STEP_MS = 1_200_000
_CHANNELS = {
    "B_CL2_VAL": Quantity.FREE_CHLORINE_MG_L,
    "B_PH_VAL": Quantity.PH,
    "B_TURB_VAL": Quantity.TURBIDITY_NTU,
    "B_COND_VAL": Quantity.CONDUCTIVITY_US_CM,
}
_RULES = QualityRules(zero_dropout_above=0.2, zero_floor=0.02, zero_pinned_s=21_600.0)
_WIDTH, _LEFT, _RIGHT, _HEIGHT, _GAP = 960, 60, 20, 120, 46
_INNER = _WIDTH - _LEFT - _RIGHT
_DAY_STEPS = 72
_LIMIT_MG_L = 0.3
_INK, _LINE, _SHADE, _RULE = "#1f2933", "#1b6ca8", "#f6c1bc", "#b3261e"


@dataclass(frozen=True)
class Panel:
    """One channel over a span of steps."""

    title: str
    value: NDArray[np.float64]
    first: int
    after: int
    low: float
    high: float
    limit: float | None = None
    every_days: int = 7


def _read(path: Path) -> tuple[datetime, dict[str, NDArray[np.float64]]]:
    with path.open(encoding="utf-8", newline="") as file:
        rows = list(csv.DictReader(file))
    start = datetime.strptime(rows[0]["TimeStep"], "%m/%d/%Y %H:%M:%S").replace(tzinfo=UTC)
    names = [*_CHANNELS, "B_PLNT_CL2_VAL"]
    return start, {name: np.array([float(row[name] or "nan") for row in rows]) for name in names}


def _dropouts(start: datetime, columns: dict[str, NDArray[np.float64]]) -> list[tuple[int, int]]:
    """Steps [first, after) of each dropout of the station's chlorine."""
    value = np.array([columns[name] for name in _CHANNELS])
    start_ms = int(start.timestamp() * 1000)
    grid = Grid(start_ms, _STEP_MS, value, np.zeros(value.shape, dtype=np.uint32))
    series = [
        Checked(quantity, _RULES if quantity == Quantity.FREE_CHLORINE_MG_L else QualityRules(), 0, 1200.0)
        for quantity in _CHANNELS.values()
    ]
    found = flag_intervals(grid_flags(grid, series=series), grid)
    chosen = (found.series == 0) & (found.check == Check.ZERO_DROPOUT)
    first = (found.start_ms[chosen] - start_ms) // _STEP_MS
    last = (found.end_ms[chosen] - start_ms) // _STEP_MS
    return [(int(a), int(b) + 1) for a, b in zip(first, last, strict=True)]


@dataclass(frozen=True)
class Scale:
    """From steps and values to pixels."""

    panel: Panel
    top: int

    def x(self, step: float) -> float:
        """Pixels from the left."""
        return _LEFT + (step - self.panel.first) / (self.panel.after - self.panel.first) * _INNER

    def y(self, value: float) -> float:
        """Pixels from the top, within the panel."""
        share = (value - self.panel.low) / (self.panel.high - self.panel.low)
        return self.top + _HEIGHT * (1 - min(max(share, 0.0), 1.0))


def _draw(panel: Panel, *, top: int, start: datetime, dropouts: list[tuple[int, int]]) -> list[str]:
    scale = Scale(panel, top)
    parts = [f'<text x="{_LEFT}" y="{top - 8}" class="t">{panel.title}</text>']
    for first, after in dropouts:
        left, right = scale.x(max(first, panel.first)), scale.x(min(after, panel.after))
        if left < right:
            size = f'width="{right - left:.1f}" height="{_HEIGHT}"'
            parts.append(f'<rect x="{left:.1f}" y="{top}" {size} fill="{_SHADE}"/>')
    frame = f'width="{_INNER}" height="{_HEIGHT}" fill="none" stroke="#9aa5b1"'
    parts.append(f'<rect x="{_LEFT}" y="{top}" {frame}/>')
    parts += [
        f'<text x="{_LEFT - 6}" y="{scale.y(mark) + 4:.1f}" class="a e">{mark:g}</text>'
        for mark in (panel.low, panel.high)
    ]
    if panel.limit is not None:
        y = f"{scale.y(panel.limit):.1f}"
        line = f'y1="{y}" y2="{y}" stroke="{_RULE}" stroke-dasharray="4 3"'
        parts.append(f'<line x1="{_LEFT}" x2="{_LEFT + _INNER}" {line}/>')
        parts.append(
            f'<text x="{_LEFT + 4}" y="{scale.y(panel.limit) - 4:.1f}" class="a">{panel.limit:g}</text>'
        )
    for step in range(panel.first, panel.after, _DAY_STEPS * panel.every_days):
        if scale.x(step) < _WIDTH - 2 * _RIGHT:
            day = start + timedelta(milliseconds=step * _STEP_MS)
            x, below = f"{scale.x(step):.1f}", top + _HEIGHT + 14
            parts.append(f'<text x="{x}" y="{below}" class="a">{day:%d %b}</text>')
    parts.append(f'<path d="{_curve(scale)}" fill="none" stroke="{_LINE}" stroke-width="1.2"/>')
    return parts


def _curve(scale: Scale) -> str:
    """First, least, greatest and last value of each column of pixels; a gap lifts the pen."""
    panel = scale.panel
    span = panel.after - panel.first
    commands = []
    pen = "M"
    for pixel in range(_INNER):
        first = panel.first + pixel * span // _INNER
        after = max(panel.first + (pixel + 1) * span // _INNER, first + 1)
        part = panel.value[first:after]
        part = part[~np.isnan(part)]
        if not len(part):
            pen = "M"
            continue
        shown = (float(part[0]), float(part.min()), float(part.max()), float(part[-1]))
        for value in dict.fromkeys(shown):
            commands.append(f"{pen}{_LEFT + pixel} {scale.y(value):.1f}")
            pen = "L"
    return "".join(commands)


def draw(path: Path) -> str:
    """The picture as SVG."""
    start, columns = _read(path)
    dropouts = _dropouts(start, columns)
    chlorine = columns["B_CL2_VAL"]
    n = len(chlorine)
    fall = dropouts[0][0]
    midnight = fall - fall % _DAY_STEPS
    zoom = (midnight - _DAY_STEPS, midnight + 2 * _DAY_STEPS)
    panels = [
        Panel("Free chlorine at the station, mg/L; shaded: dropout", chlorine, 0, n, 0.0, 4.0, _LIMIT_MG_L),
        Panel(
            "The fall, mg/L: 0.54, 0.25, then 0.01 for 37 h, then 0.00",
            chlorine,
            *zoom,
            0.0,
            0.7,
            _LIMIT_MG_L,
            1,
        ),
        Panel("Free chlorine at the plant that feeds it, mg/L", columns["B_PLNT_CL2_VAL"], 0, n, 0.0, 5.0),
        Panel("pH at the station", columns["B_PH_VAL"], 0, n, 6.5, 8.5),
    ]
    parts: list[str] = []
    for number, panel in enumerate(panels):
        parts += _draw(panel, top=30 + number * (_HEIGHT + _GAP), start=start, dropouts=dropouts)
    height = 30 + len(panels) * (_HEIGHT + _GAP)
    style = f".t{{font:600 13px sans-serif;fill:{_INK}}}.a{{font:11px sans-serif;fill:{_INK}}}.e{{text-anchor:end}}"
    return "\n".join(
        [
            f'<svg xmlns="http://www.w3.org/2000/svg" viewBox="0 0 {_WIDTH} {height}" role="img">',
            "<title>The dropout of a chlorine probe from 26 February to 28 March 2006</title>",
            f'<style>{style}</style><rect width="{_WIDTH}" height="{height}" fill="#fff"/>',
            *parts,
            "</svg>",
            "",
        ]
    )


if __name__ == "__main__":
    parser = argparse.ArgumentParser(description=__doc__)
    parser.add_argument("station_b", type=Path)
    parser.add_argument("out", type=Path)
    arguments = parser.parse_args()
    arguments.out.write_text(draw(arguments.station_b), encoding="utf-8")
