"""Draws the memory of ingest over a run of faults, from the CSV of `ingest_endurance.py`: an SVG.

Usage: python -m benchmarks.ingest_plot MEMORY.csv OUT.svg
"""

import argparse
import csv
from collections.abc import Sequence
from dataclasses import dataclass
from pathlib import Path

_WIDTH, _LEFT, _RIGHT, _TOP, _HEIGHT, _GAP = 960, 70, 20, 30, 160, 60
_INNER = _WIDTH - _LEFT - _RIGHT
_INK, _LINE, _RULE = "#1f2933", "#1b6ca8", "#b3261e"
_STEPS = (1, 2, 5)


@dataclass(frozen=True)
class Sample:
    """One second of the run; `event` is what was done to it then."""

    at_s: float
    rss_mib: float
    broker_rss_mib: float
    waiting: int
    event: str


def read_samples(path: Path) -> list[Sample]:
    """Samples of the CSV."""
    with path.open(encoding="utf-8", newline="") as file:
        return [
            Sample(
                float(row["at_s"]),
                float(row["ingest_rss_mib"]),
                float(row["broker_rss_mib"]),
                int(row["waiting_messages"]),
                row["event"],
            )
            for row in csv.DictReader(file)
        ]


def draw(samples: Sequence[Sample]) -> str:
    """The picture as SVG: memory of ingest, memory of the broker, and messages without a receipt."""
    rows = (
        ("Memory of ingest, MiB", [one.rss_mib for one in samples]),
        ("Memory of the broker, MiB", [one.broker_rss_mib for one in samples]),
        ("Messages that wait for a receipt", [float(one.waiting) for one in samples]),
    )
    end_s = max(samples[-1].at_s, 1.0)
    parts: list[str] = []
    for number, (title, values) in enumerate(rows):
        top = _TOP + number * (_HEIGHT + _GAP)
        parts += _panel(title, [one.at_s for one in samples], values, end_s=end_s, top=top)
        parts += _events(samples, end_s=end_s, top=top, is_named=number == 0)
    height = _TOP + len(rows) * (_HEIGHT + _GAP)
    style = f".t{{font:600 13px sans-serif;fill:{_INK}}}.a{{font:11px sans-serif;fill:{_INK}}}.e{{text-anchor:end}}"
    return "\n".join(
        [
            f'<svg xmlns="http://www.w3.org/2000/svg" viewBox="0 0 {_WIDTH} {height}" role="img">',
            "<title>Memory of ingest and of the broker while servers are stopped, killed and started again</title>",
            f'<style>{style}</style><rect width="{_WIDTH}" height="{height}" fill="#fff"/>',
            *parts,
            "</svg>",
            "",
        ]
    )


def _panel(title: str, at_s: list[float], values: list[float], *, end_s: float, top: int) -> list[str]:
    high = _round_up(max(*values, 1.0))
    bottom = top + _HEIGHT
    path = " ".join(
        f"{'L' if number else 'M'}{_x(at, end_s):.1f} {bottom - value / high * _HEIGHT:.1f}"
        for number, (at, value) in enumerate(zip(at_s, values, strict=True))
    )
    every_s = _round_up(end_s / 8)
    marks = [number * every_s for number in range(int(end_s / every_s) + 1)]
    return [
        f'<text x="{_LEFT}" y="{top - 8}" class="t">{title}</text>',
        f'<rect x="{_LEFT}" y="{top}" width="{_INNER}" height="{_HEIGHT}" fill="none" stroke="#9aa5b1"/>',
        f'<text x="{_LEFT - 6}" y="{bottom + 4}" class="a e">0</text>',
        f'<text x="{_LEFT - 6}" y="{top + 4}" class="a e">{high:,g}</text>',
        *(f'<text x="{_x(mark, end_s):.1f}" y="{bottom + 14}" class="a">{mark:g} s</text>' for mark in marks),
        f'<path d="{path}" fill="none" stroke="{_LINE}" stroke-width="1.2"/>',
    ]


def _events(samples: Sequence[Sample], *, end_s: float, top: int, is_named: bool) -> list[str]:
    parts = []
    for number, sample in enumerate(one for one in samples if one.event):
        x = f"{_x(sample.at_s, end_s):.1f}"
        parts.append(
            f'<line x1="{x}" x2="{x}" y1="{top}" y2="{top + _HEIGHT}" stroke="{_RULE}" stroke-dasharray="4 3"/>'
        )
        if is_named:
            y = top + 14 + number % 4 * 14
            parts.append(f'<text x="{float(x) + 4:.1f}" y="{y}" class="a">{sample.event}</text>')
    return parts


def _x(at_s: float, end_s: float) -> float:
    return _LEFT + at_s / end_s * _INNER


def _round_up(value: float) -> float:
    """The next of 1, 2, 5, 10, 20, 50, …"""
    scale = 1.0
    while True:
        for step in _STEPS:
            if step * scale >= value:
                return step * scale
        scale *= 10


if __name__ == "__main__":
    parser = argparse.ArgumentParser(description=__doc__)
    parser.add_argument("memory", type=Path)
    parser.add_argument("out", type=Path)
    given = parser.parse_args()
    given.out.write_text(draw(read_samples(given.memory)), encoding="utf-8")
