"""Plots as SVG made here: readings with their limit band, and gaps as gaps. Pure."""

import itertools
from collections.abc import Iterable
from html import escape

import numpy as np
from numpy.typing import NDArray

_WIDTH, _HEIGHT = 720, 150
_LEFT, _RIGHT, _TOP, _BOTTOM = 44, 8, 8, 22
#: No more points than pixels: of each column of pixels the smallest and the largest are drawn.
_MOST_POINTS = _WIDTH
_PAD = 0.12


def line_segments(
    *, time_ms: NDArray[np.int64], value: NDArray[np.float64], gap_ms: float
) -> list[tuple[NDArray[np.int64], NDArray[np.float64]]]:
    """Pieces of a series between gaps.

    Parameters
    ----------
    time_ms, value : ndarray, shape (n,)
        Sorted times [ms] and values; NaN is a gap.
    gap_ms : float
        Readings further apart than this are not joined. [ms]
    """
    good = np.isfinite(value)
    time_ms, value = time_ms[good], value[good]
    if time_ms.size == 0:
        return []
    # A NaN between two readings breaks the line even when they are close.
    order = np.flatnonzero(good)
    breaks = np.flatnonzero((np.diff(time_ms) > gap_ms) | (np.diff(order) > 1)) + 1
    return list(zip(np.split(time_ms, breaks), np.split(value, breaks), strict=True))


def _thinned(
    time_ms: NDArray[np.int64], value: NDArray[np.float64]
) -> tuple[NDArray[np.int64], NDArray[np.float64]]:
    """At most two points a column: extremes are never lost."""
    if time_ms.size <= _MOST_POINTS:
        return time_ms, value
    edges = np.linspace(0, time_ms.size, _MOST_POINTS // 2 + 1).astype(np.int64)
    kept = set()
    for low, high in itertools.pairwise(edges):
        kept |= {int(low + np.argmin(value[low:high])), int(low + np.argmax(value[low:high]))}
    index = np.array(sorted(kept))
    return time_ms[index], value[index]


def plot(
    *,
    label: str,
    time_ms: NDArray[np.int64],
    value: NDArray[np.float64],
    samples: Iterable[tuple[int, float]],
    from_ms: int,
    to_ms: int,
    limit: tuple[float | None, float | None],
    gap_ms: float,
    tick_labels: list[tuple[int, str]],
) -> str:
    """SVG of one quantity.

    Parameters
    ----------
    time_ms, value : ndarray, shape (n,)
        The probe's readings.
    samples : iterable of (time_ms, value)
        Tests by hand, as diamonds.
    limit : (low, high)
        The band of the standard; None for an open end.
    tick_labels : list of (time_ms, text)
        Marks of the time axis.
    """
    points = list(samples)
    heights = [
        *value[np.isfinite(value)],
        *(height for _, height in points),
        *(end for end in limit if end is not None),
    ]
    low, high = (float(min(heights)), float(max(heights))) if heights else (0.0, 1.0)
    pad = (high - low or 1.0) * _PAD
    low, high = low - pad, high + pad

    def x(instant_ms: float) -> float:
        return _LEFT + (instant_ms - from_ms) / (to_ms - from_ms) * (_WIDTH - _LEFT - _RIGHT)

    def y(height: float) -> float:
        return _TOP + (high - height) / (high - low) * (_HEIGHT - _TOP - _BOTTOM)

    parts = [
        f'<svg class="plot" viewBox="0 0 {_WIDTH} {_HEIGHT}" role="img" aria-label="{escape(label, quote=True)}">'
    ]
    band_top = _TOP if limit[1] is None else y(limit[1])
    band_bottom = _HEIGHT - _BOTTOM if limit[0] is None else y(limit[0])
    if limit != (None, None):
        parts.append(
            f'<rect class="band" x="{_LEFT}" y="{band_top:.1f}" width="{_WIDTH - _LEFT - _RIGHT}" '
            f'height="{max(0.0, band_bottom - band_top):.1f}"/>'
        )
    for end in limit:
        if end is not None:
            parts.append(
                f'<line class="limit" x1="{_LEFT}" x2="{_WIDTH - _RIGHT}" y1="{y(end):.1f}" y2="{y(end):.1f}"/>'
            )
            parts.append(
                f'<text class="axis" x="{_LEFT - 6}" y="{y(end) + 4:.1f}" text-anchor="end">{end:g}</text>'
            )
    for instant, text in tick_labels:
        parts.append(
            f'<line class="tick" x1="{x(instant):.1f}" x2="{x(instant):.1f}" y1="{_TOP}" y2="{_HEIGHT - _BOTTOM}"/>'
        )
        parts.append(
            f'<text class="axis" x="{x(instant):.1f}" y="{_HEIGHT - 6}" text-anchor="middle">{escape(text)}</text>'
        )
    for times, values in line_segments(time_ms=time_ms, value=value, gap_ms=gap_ms):
        thin_times, thin_values = _thinned(times, values)
        if thin_times.size == 1:
            parts.append(
                f'<circle class="dot" cx="{x(thin_times[0]):.1f}" cy="{y(thin_values[0]):.1f}" r="1.5"/>'
            )
        else:
            path = " ".join(f"{x(t):.1f},{y(v):.1f}" for t, v in zip(thin_times, thin_values, strict=True))
            parts.append(f'<polyline class="line" points="{path}"/>')
    for instant, height in points:
        cx, cy = x(instant), y(height)
        parts.append(
            f'<path class="sample" d="M{cx:.1f} {cy - 5:.1f}l5 5l-5 5l-5 -5z"><title>{height:g}</title></path>'
        )
    return "".join([*parts, "</svg>"])
