"""The machine of DESIGN 12.8 over many sequences of readings at once, on their true times. Pure."""

from dataclasses import dataclass

import numpy as np
from numpy.typing import NDArray

from analytics.ragged import RaggedSpans
from analytics.spans import FAR_MS, Instants, Spans

Mask = NDArray[np.bool_]
Positions = NDArray[np.intp]


@dataclass(frozen=True, slots=True)
class Sequences:
    """Good readings of many sequences, one after the other, each by time.

    Attributes
    ----------
    at_ms : ndarray of int64, shape (n,)
    first : ndarray of intp, shape (sequences,)
        Position of each sequence's first reading, ascending from 0; none is empty.
    gap_ms : ndarray of int64, shape (sequences,)
        Longest distance of two readings that is no gap.
    pool : ndarray of integer, shape (sequences,)
        Whose opening hours count.
    follows : ndarray of bool, shape (n,), or None
        Where no gap lies before a reading however far the one before, since readings of its kind in between were left
        out. None: nowhere.
    """

    at_ms: Instants
    first: Positions
    gap_ms: NDArray[np.int64]
    pool: NDArray[np.integer]
    follows: Mask | None = None

    @property
    def last(self) -> Positions:
        """Position of each sequence's last reading."""
        return np.append(self.first[1:] - 1, len(self.at_ms) - 1)

    def of(self, position: Positions) -> Positions:
        """The sequence of the reading at each position."""
        sequence: Positions = np.searchsorted(self.first, position, side="right") - 1
        return sequence


@dataclass(frozen=True, slots=True)
class Decisions:
    """Where the machine is told what its state is, by sequence and time; shape (k,) each.

    Attributes
    ----------
    position : ndarray of intp
        First reading of the run that decides, or the reading after the gap that does.
    since_ms : ndarray of int64
        From when the state holds: the run's first reading, or the first closed instant in the gap. [ms]
    raises : ndarray of bool
        Exceeds from then on; else not.
    by_gap : ndarray of bool
    changes : ndarray of bool
        The state was another before. Those that change it alternate within a sequence.
    sequence : ndarray of intp
    """

    position: Positions
    since_ms: Instants
    raises: Mask
    by_gap: Mask
    changes: Mask
    sequence: Positions


def decisions(
    found: Sequences,
    *,
    outside: Mask,
    well_inside: Mask,
    confirm_ms: int,
    clear_ms: int,
    opening: RaggedSpans,
    exceeds_at_first: Mask | None = None,
) -> Decisions:
    """Run the machine over every sequence.

    Outside for `confirm_ms` and at least two readings raises, from the first of them; well inside for `clear_ms` and at
    least two readings ends, at the first of them. A gap forgets a run not yet complete; if it contains closed time, the
    exceedance ends at the first closed instant.

    Parameters
    ----------
    outside, well_inside : ndarray of bool, shape (n,), n > 0
        Never both true; a reading that is neither breaks both kinds of run.
    opening : RaggedSpans
        Merged opening intervals by pool.
    exceeds_at_first : ndarray of bool, shape (sequences,), or None
        The state before the first reading; None: inside.
    """
    at = found.at_ms
    n = len(at)
    after_gap = _after_gaps(found)
    resets = _resets(found, after_gap, opening)
    gap = np.zeros(n + 1, dtype=np.bool_)
    gap[n] = True
    gap[after_gap] = True
    gap[found.first] = True
    raised = _confirmed(outside, gap, at, confirm_ms)
    ended = _confirmed(well_inside, gap, at, clear_ms)
    # Runs of one sequence are disjoint, and a gap lies after the run before it and before the run after it, so the
    # order of what happens is the order of where runs start and gaps lie.
    order_key = np.concatenate((raised * 2 + 1, ended * 2 + 1, resets.position * 2))
    since = np.concatenate((at[raised], at[ended], resets.at_ms))
    raises = np.zeros(len(order_key), dtype=np.bool_)
    raises[: len(raised)] = True
    order = np.argsort(order_key, kind="stable")
    order_key, since, raises = order_key[order], since[order], raises[order]
    position = order_key // 2
    sequence = found.of(position)
    before = np.empty(len(raises), dtype=np.bool_)
    before[:1] = False
    before[1:] = raises[:-1]
    fresh = np.ones(len(raises), dtype=np.bool_)
    np.not_equal(sequence[1:], sequence[:-1], out=fresh[1:])
    before[fresh] = False if exceeds_at_first is None else exceeds_at_first[sequence[fresh]]
    return Decisions(position, since, raises, order_key % 2 == 0, raises != before, sequence)


@dataclass(frozen=True, slots=True)
class Exceeded:
    """Intervals in which the machine exceeds, by sequence and start; shape (k,) each.

    An `end_ms` of FAR_MS: not ended by any reading, or gap, of its sequence.
    """

    sequence: Positions
    start_ms: Instants
    end_ms: Instants


def exceeded(told: Decisions) -> Exceeded:
    """Intervals between the changes of sequences that begin inside."""
    changes = np.flatnonzero(told.changes)
    raises, sequence = told.raises[changes], told.sequence[changes]
    since_ms = told.since_ms[changes]
    # Changes alternate within a sequence, so the end of an exceedance is the next change, if there is one.
    starts = np.flatnonzero(raises)
    following = np.minimum(starts + 1, max(len(raises) - 1, 0))
    has_end = (starts + 1 < len(raises)) & (sequence[following] == sequence[starts])
    return Exceeded(
        sequence=sequence[starts],
        start_ms=since_ms[starts],
        end_ms=np.where(has_end, since_ms[following], FAR_MS),
    )


@dataclass(frozen=True, slots=True)
class _Resets:
    """Gaps with closed time in them: the reading after each, and the first closed instant."""

    position: Positions
    at_ms: Instants


def _after_gaps(found: Sequences) -> Positions:
    """Readings of a sequence before which there is a gap."""
    if not len(found.first):
        return found.first
    distance = found.at_ms[1:] - found.at_ms[:-1]
    after = np.flatnonzero(distance > found.gap_ms.min()) + 1
    if found.follows is not None:
        after = after[~found.follows[after]]
    sequence = found.of(after)
    gaps: Positions = after[(distance[after - 1] > found.gap_ms[sequence]) & (after != found.first[sequence])]
    return gaps


def _resets(found: Sequences, after: Positions, opening: RaggedSpans) -> _Resets:
    closed = opening.first_outside(found.pool[found.of(after)], found.at_ms[after - 1])
    within = closed < found.at_ms[after]
    return _Resets(after[within], closed[within])


def _confirmed(mask: Mask, gap: Mask, at: Instants, need_ms: int) -> Positions:
    """First positions of runs of `mask` unbroken by gaps that have two readings and last `need_ms`.

    `gap[i]` is true when nothing connects reading i to the one before; it has one entry more than there are readings.
    """
    n = len(at)
    edge = np.empty(n, dtype=np.bool_)
    edge[0] = True
    np.logical_not(mask[:-1], out=edge[1:])
    edge |= gap[:n]
    starts = np.flatnonzero(mask & edge)
    edge[n - 1] = True
    np.logical_not(mask[1:], out=edge[:-1])
    edge |= gap[1:]
    lasts = np.flatnonzero(mask & edge)
    return starts[(at[lasts] - at[starts] >= need_ms) & (lasts > starts)]


def unverified_since(
    found: Sequences, exceedances: Exceeded, *, opening: RaggedSpans, now_ms: int
) -> tuple[Instants, Instants]:
    """What silence after the last reading makes of exceedances that no reading ended.

    Returns
    -------
    end_ms : ndarray of int64, shape (k,)
        As given, or the first closed instant after the last reading, if the silence until now is a gap that holds one.
    since_ms : ndarray of int64, shape (k,)
        The last reading, for one that stays open through a gap; FAR_MS for others. [ms]
    """
    sequence = exceedances.sequence
    last = found.last[sequence]
    silent = (exceedances.end_ms == FAR_MS) & (now_ms - found.at_ms[last] > found.gap_ms[sequence])
    closed = opening.first_outside(found.pool[sequence], found.at_ms[last])
    resets = silent & (closed < now_ms)
    end_ms = np.where(resets, closed, exceedances.end_ms)
    return end_ms, np.where(silent & ~resets, found.at_ms[last], FAR_MS)


def pieces_of(spans: Spans, *, from_ms: Instants, to_ms: Instants) -> tuple[Mask, Spans]:
    """Each span within its own [from, to): which are left, and what of them. Shapes (n, 2), (n,), (n,)."""
    within = np.column_stack((np.maximum(spans[:, 0], from_ms), np.minimum(spans[:, 1], to_ms)))
    some = within[:, 1] > within[:, 0]
    return some, within[some]
