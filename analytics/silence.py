"""Lapses of online monitoring over whole histories: where no series of a group has a reading young enough. Pure.

A group is one quantity of one pool. A good reading measured at t serves the duty over [t, t + allowed age); what no
reading of any of the group's series covers, in open time while the duty binds, is overdue (DESIGN 12.6).
"""

from collections.abc import Iterable
from dataclasses import dataclass, fields

import numpy as np
from numpy.typing import NDArray

from analytics.grid import Grid
from analytics.ragged import RaggedSpans
from analytics.screening import Positions, Unusual, stretches
from analytics.spans import FAR_MS, Instants, Spans


@dataclass(frozen=True, slots=True)
class LapseColumns:
    """Overdue pieces by group and start, in open time; shape (k,) each. An `end_ms` of FAR_MS: still open."""

    group: Positions
    start_ms: Instants
    end_ms: Instants


@dataclass(frozen=True, slots=True)
class SilentSpans:
    """Where a series has no reading young enough, by series and start; before its first reading from -FAR_MS on."""

    series: Positions
    spans: Spans

    @classmethod
    def joined(cls, parts: Iterable["SilentSpans"]) -> "SilentSpans":
        """Parts of disjoint runs of series, in their order."""
        several = [cls(np.empty(0, dtype=np.intp), np.empty((0, 2), dtype=np.int64)), *parts]
        series, spans = ([getattr(part, field.name) for part in several] for field in fields(cls))
        return cls(np.concatenate(series), np.concatenate(spans))


def silent_among(grid: Grid, unusual: Unusual, *, age_ms: NDArray[np.int64]) -> SilentSpans:
    """Silent spans of all series of one screen, to both sides of their readings too; `age_ms` by series. [ms]

    Raises
    ------
    ValueError
        If an `age_ms` is below two steps: then cells side by side might be farther apart; choose a finer grid.
    """
    if len(age_ms) and int(age_ms.min()) < 2 * grid.step_ms:
        raise ValueError(f"an allowed age of {int(age_ms.min())} ms needs a grid of half of it or finer")
    gap = unusual.gap
    first, last = stretches(unusual.cell[gap])
    series, from_step = unusual.place(gap[first])
    to_step = from_step + (last - first)
    at_start, at_end = from_step == 0, to_step == grid.n_steps - 1

    every = np.arange(unusual.from_series, unusual.to_series)
    first_step = np.zeros(len(every), dtype=np.int64)
    last_step = np.full(len(every), grid.n_steps - 1, dtype=np.int64)
    first_step[series[at_start] - unusual.from_series] = to_step[at_start] + 1
    last_step[series[at_end] - unusual.from_series] = from_step[at_end] - 1
    some = last_step >= 0
    head = np.full((len(every), 2), (-FAR_MS, FAR_MS), dtype=np.int64)
    head[some, 1] = grid.measured_at_ms(every[some], first_step[some])
    tail = np.full((int(some.sum()), 2), FAR_MS, dtype=np.int64)
    tail[:, 0] = grid.measured_at_ms(every[some], last_step[some]) + age_ms[every[some]]

    # The readings around m empty cells are less than m + 2 steps apart.
    long = ~at_start & ~at_end & ((to_step - from_step + 3) * grid.step_ms > age_ms[series])
    series, from_step, to_step = series[long], from_step[long], to_step[long]
    start_ms = grid.measured_at_ms(series, from_step - 1) + age_ms[series]
    end_ms = grid.measured_at_ms(series, to_step + 1)
    late = end_ms > start_ms
    owner = np.concatenate((every, series[late], every[some]))
    spans = np.concatenate((head, np.column_stack((start_ms[late], end_ms[late])), tail))
    order = np.lexsort((spans[:, 0], owner))
    return SilentSpans(owner[order], spans[order])


def lapses_of(
    silent: SilentSpans,
    *,
    group: Positions,
    age_ms: NDArray[np.int64],
    bound: RaggedSpans,
    opening: RaggedSpans,
    pool_of_group: Positions,
    now_ms: int,
) -> LapseColumns:
    """Where all series of a group are silent while the duty binds and the pool is open.

    Parameters
    ----------
    silent : SilentSpans
        Of every series, from a grid of good readings up to now.
    group : ndarray of intp, shape (series,)
        Ascending.
    age_ms : ndarray of int64, shape (groups,)
        Allowed age of a reading. [ms]
    bound : RaggedSpans
        By group, when the duty binds. It cannot be overdue the instant it begins: each beginning counts as a fact.
    opening : RaggedSpans
        Merged opening intervals by pool.
    pool_of_group : ndarray of intp, shape (groups,)
    now_ms : int
        Pieces that begin later are left out, and one that lasts until now is open.
    """
    owner, spans = _all_silent(silent, group)
    late_bound = bound.later(age_ms)
    of, spans = late_bound.cut(owner, spans)
    owner = owner[of]
    of, spans = opening.cut(pool_of_group[owner], spans)
    begun = spans[:, 0] <= now_ms
    owner, spans = owner[of[begun]], spans[begun]
    return LapseColumns(owner, spans[:, 0], np.where(spans[:, 1] > now_ms, FAR_MS, spans[:, 1]))


def _all_silent(silent: SilentSpans, group: Positions) -> tuple[Positions, Spans]:
    """Where every series of a group is silent, merged, by group and start."""
    members = np.bincount(group) if len(group) else np.zeros(0, dtype=np.intp)
    owner = group[silent.series]
    if not (members > 1).any():
        return owner, silent.spans
    at_ms = silent.spans.T.reshape(-1)
    change = np.repeat((1, -1), len(owner))
    of = np.concatenate((owner, owner))
    # Where one span ends and another begins, the one that ends goes first.
    order = np.lexsort((change, at_ms, of))
    at_ms, of = at_ms[order], of[order]
    together = np.flatnonzero(np.cumsum(change[order]) == members[of])
    together = together[at_ms[together + 1] > at_ms[together]]
    owner, spans = of[together], np.column_stack((at_ms[together], at_ms[together + 1]))
    apart = np.ones(len(owner), dtype=np.bool_)
    apart[1:] = (owner[1:] != owner[:-1]) | (spans[1:, 0] > spans[:-1, 1])
    first = np.flatnonzero(apart)
    last = np.append(first[1:] - 1, len(owner) - 1)[: len(first)]
    return owner[first], np.column_stack((spans[first, 0], spans[last, 1]))
