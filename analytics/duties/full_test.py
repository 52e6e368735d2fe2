"""The full test of a pool, yearly and before each season (DESIGN 12.4). Pure."""

from functools import lru_cache

import numpy as np

from analytics.duties.facts import FactPart
from analytics.entries import Report
from analytics.spans import FAR_MS, Instants, Spans, without
from analytics.standards.profile import ServedBy
from gateway.contract.opening import open_intervals
from gateway.contract.registry import OpeningHours, Pool, PoolKind

DAY_MS = 86_400_000
#: A pool whose hours have it closed for so long is a seasonal one. Ours.
SEASON_GAP_MS = 30 * DAY_MS
#: Seasons are laid out in such steps, so that they are found once for many judgings and pools.
_STEP_MS = 64 * DAY_MS


def seasons(opening: Spans) -> Spans:
    """Runs of merged opening intervals between which the pool is closed for less than 30 days."""
    if not len(opening):
        return opening
    gaps = opening[1:, 0] - opening[:-1, 1] >= SEASON_GAP_MS
    starts = opening[np.concatenate(([True], gaps)), 0]
    return np.column_stack((starts, opening[np.concatenate((gaps, [True])), 1]))


def seasons_of(pool: Pool, *, from_ms: int, to_ms: int) -> Spans:
    """Seasons by the hours of a pool, from before `from_ms` to some way after `to_ms`; cut at both ends, read-only."""
    first = (from_ms - SEASON_GAP_MS) // _STEP_MS * _STEP_MS
    after = -(-(to_ms + SEASON_GAP_MS) // _STEP_MS) * _STEP_MS
    return _laid_out(pool.opening, pool.time_zone, first, after)


@lru_cache(maxsize=4096)
def _laid_out(opening: tuple[OpeningHours, ...], zone_name: str, from_ms: int, to_ms: int) -> Spans:
    hours_alone = Pool("", "", "", "", PoolKind.INDOOR, None, opening, zone_name, "")
    intervals = open_intervals(hours_alone, from_ms=from_ms, to_ms=to_ms)
    found = seasons(np.array(intervals, dtype=np.int64).reshape(-1, 2))
    found.setflags(write=False)
    return found


def season_end_ms(done_ms: Instants, found: Spans) -> Instants:
    """Until when a test serves by the seasons alone: the first opening of the next one. Shape of `done_ms`.

    A test in the break before a season, or in it, serves that season: it was not made before the last closing.
    """
    ended = np.searchsorted(found[:, 1], done_ms, side="right")
    return np.concatenate((found[1:, 0], [FAR_MS, FAR_MS]))[np.minimum(ended, len(found))]


def bound_seasons(found: Spans, closed: Spans, *, now_ms: int) -> Spans:
    """When the yearly test is due at all: in seasons, and not in a long closure by entry.

    A test of the year is no matter of opening hours: a lapse lasts through the nights. A closure ends it when it has
    lasted 30 days by now; a shorter one does not interrupt it.
    """
    lasted = np.minimum(closed[:, 1], now_ms) - closed[:, 0]
    long = closed[lasted >= SEASON_GAP_MS]
    return without(found, long)


def report_parts(reports: tuple[Report, ...], found: Spans) -> list[FactPart]:
    """Passing reports, by who entered them; each serves to the next season at the latest."""
    passed = [report for report in reports if report.passed]
    parts = []
    for by in sorted({report.by for report in passed}):
        at_ms = np.array([report.at_ms for report in passed if report.by == by], dtype=np.int64)
        ends_ms = season_end_ms(at_ms, found)
        parts.append(FactPart(ServedBy.LABORATORY_REPORT, by, at_ms, at_ms, at_most_ms=ends_ms))
    return parts
