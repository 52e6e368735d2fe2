"""Our indicator of a pool over a period, out of 100, for inspectors: every deduction listed. Pure.

It is not the hygiene credit grade and never called so: the grade is the authority's, after its own visits. The formula
is published in ``docs/indicator.md``; this file is its only other copy, and a test keeps the two the same.

Like the official score it is points obtained over points applicable: what cannot be known is left out of both. Only
silence is not left out: who does not measure has not shown that the water is in standard.
"""

from collections.abc import Sequence
from dataclasses import dataclass

import numpy as np
from numpy.typing import NDArray

from analytics.indicator.items import (
    CLOSURE_POINTS_EACH,
    OUT_FACTOR,
    OVERDUE_FACTOR,
    SILENCE_FACTOR,
    Item,
    ItemKind,
    Loss,
)
from analytics.indicator.words import Finding, found, left_out_because

Floats = NDArray[np.float64]
Durations = NDArray[np.int64]


@dataclass(frozen=True, slots=True)
class Figures:
    """What the items of pools in a period are computed from: a row for each pool and period, a column for each item.

    Attributes
    ----------
    good_ms, bad_ms, silent_ms, unverified_ms : ndarray of int64, shape (rows, items)
        Open time. For water: in standard, out, silent, unverified. For monitoring, summed over its quantities: heard,
        none, silent, unverified. For duties, summed over their quantities: kept, overdue, none, unverified. For closure:
        judged, that is in standard or out, none, none, none. [ms]
    events : ndarray of int64, shape (rows, items)
        For closure: verified exceedances of closure limits in open time; else 0.
    """

    good_ms: Durations
    bad_ms: Durations
    silent_ms: Durations
    unverified_ms: Durations
    events: NDArray[np.int64]

    @classmethod
    def none(cls, n_rows: int, items: Sequence[Item]) -> "Figures":
        """Nothing known, to be filled in."""
        good, bad, silent, unverified, events = (
            np.zeros((n_rows, len(items)), dtype=np.int64) for _ in range(5)
        )
        return cls(good, bad, silent, unverified, events)


@dataclass(frozen=True, slots=True)
class Points:
    """Points of many pools: shape (rows, items), and (rows,) for `score`.

    `applicable`: what could be had; `lost_bad` (out, overdue, closure) and `lost_silent`: what was lost of it.
    `score`: 100 × (applicable - lost) / applicable, NaN where nothing is applicable.
    """

    applicable: Floats
    lost_bad: Floats
    lost_silent: Floats
    score: Floats


def points(items: Sequence[Item], figures: Figures) -> Points:
    """Points of many pools at once, by the published formula.

    Parameters
    ----------
    items : sequence of Item
        The columns of `figures`.
    figures : Figures
        Shape (rows, items); not negative.

    Raises
    ------
    ValueError
        If the figures are not of these items, or a figure is negative.
    """
    every = (figures.good_ms, figures.bad_ms, figures.silent_ms, figures.unverified_ms, figures.events)
    if any(column.ndim != 2 or column.shape[1] != len(items) for column in every):  # noqa: PLR2004 - rows and items
        raise ValueError(f"figures must have one column for each of the {len(items)} items")
    if any(bool((column < 0).any()) for column in every):
        raise ValueError("figures must not be negative")
    full = np.array([item.points for item in items], dtype=np.float64)
    bad_factor = np.array([_BAD_FACTOR[item.kind] for item in items])
    silence_factor = np.array([SILENCE_FACTOR if item.kind is ItemKind.MONITORING else 1.0 for item in items])
    closure = np.array([item.kind is ItemKind.CLOSURE for item in items], dtype=np.bool_)

    known = figures.good_ms + figures.bad_ms + figures.silent_ms
    applicable = full * _share(known, known + figures.unverified_ms)
    lost_bad = applicable * np.minimum(bad_factor * _share(figures.bad_ms, known), 1.0)
    lost_bad = np.where(closure, np.minimum(CLOSURE_POINTS_EACH * figures.events, applicable), lost_bad)
    silent = applicable * np.minimum(silence_factor * _share(figures.silent_ms, known), 1.0)
    lost_silent = np.minimum(silent, applicable - lost_bad)
    possible = applicable.sum(axis=1)
    kept = possible - lost_bad.sum(axis=1) - lost_silent.sum(axis=1)
    score = np.full(possible.shape, np.nan)
    np.divide(100.0 * np.maximum(kept, 0.0), possible, out=score, where=possible > 0)
    return Points(applicable=applicable, lost_bad=lost_bad, lost_silent=lost_silent, score=score)


_BAD_FACTOR = {
    ItemKind.WATER: OUT_FACTOR,
    ItemKind.MONITORING: 0.0,
    ItemKind.DUTY: OVERDUE_FACTOR,
    ItemKind.CLOSURE: 0.0,
}


def _share(part: Durations, whole: Durations) -> Floats:
    """Part of a whole; 0 of nothing."""
    share = np.zeros(part.shape, dtype=np.float64)
    np.divide(part, whole, out=share, where=whole > 0)
    return share


@dataclass(frozen=True, slots=True)
class Deduction:
    """Points lost for one reason.

    Attributes
    ----------
    item : str
        The item's name in the formula, as ``water.ph``.
    loss : Loss
        Why.
    clause : str
        The text that asks for it, and whether it is borrowed.
    points_lost, points_of : float
        Of how many applicable points; not rounded, so that the score can be computed again from the rows.
    finding : Finding
        What was found, the figures, and how the points come from them, in Chinese and English.
    """

    item: str
    loss: Loss
    clause: str
    points_lost: float
    points_of: float
    finding: Finding


@dataclass(frozen=True, slots=True)
class LeftOut:
    """An item, or a part of it, that is not applicable: `points` do not count for or against the pool."""

    item: str
    points: float
    finding: Finding


@dataclass(frozen=True, slots=True)
class Indicator:
    """The indicator of one pool over one period.

    Attributes
    ----------
    score : float or None
        0 to 100, not rounded; None where nothing is applicable: `left_out` says why.
    points_obtained, points_applicable : float
        ``score = 100 * points_obtained / points_applicable``; obtained is applicable minus all deductions.
    deductions : tuple of Deduction
        In the order of the items; every one that is above zero.
    left_out : tuple of LeftOut
        What is not applicable, and why.
    """

    score: float | None
    points_obtained: float
    points_applicable: float
    deductions: tuple[Deduction, ...]
    left_out: tuple[LeftOut, ...]


def indicators(items: Sequence[Item], figures: Figures) -> list[Indicator]:
    """The indicator of each row of `figures`, told in full; for the scores alone, `points` is enough."""
    computed = points(items, figures)
    return [_told(items, figures, computed, row) for row in range(len(computed.score))]


def _told(items: Sequence[Item], figures: Figures, computed: Points, row: int) -> Indicator:
    deductions: list[Deduction] = []
    left_out: list[LeftOut] = []
    for column, item in enumerate(items):
        cell = (row, column)
        bad_ms, silent_ms = int(figures.bad_ms[cell]), int(figures.silent_ms[cell])
        unverified_ms, events = int(figures.unverified_ms[cell]), int(figures.events[cell])
        known_ms = int(figures.good_ms[cell]) + bad_ms + silent_ms
        applicable = float(computed.applicable[cell])
        for loss, lost, part_ms in (
            (item.loss, float(computed.lost_bad[cell]), bad_ms),
            (Loss.SILENT, float(computed.lost_silent[cell]), silent_ms),
        ):
            if lost > 0:
                told = found(
                    item, loss, part_ms=part_ms, known_ms=known_ms, events=events, of=applicable, lost=lost
                )
                deductions.append(Deduction(item.name, loss, item.clause_of(loss), lost, applicable, told))
        if applicable < item.points:
            because = left_out_because(item, unverified_ms=unverified_ms, known_ms=known_ms)
            left_out.append(LeftOut(item.name, item.points - applicable, because))
    possible = float(computed.applicable[row].sum())
    lost = sum(deduction.points_lost for deduction in deductions)
    return Indicator(
        score=float(computed.score[row]) if possible > 0 else None,
        points_obtained=max(possible - lost, 0.0),
        points_applicable=possible,
        deductions=tuple(deductions),
        left_out=tuple(left_out),
    )
