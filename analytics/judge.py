"""One pure function: a window of the world → what was found in it, and the state of the pool."""

from collections.abc import Iterator, Sequence
from dataclasses import dataclass

from analytics.duties.judging import DutyOutcome, judge_duties
from analytics.findings import online_findings, sample_findings
from analytics.results import PoolCondition, PoolState
from analytics.series import (
    OnlineSeries,
    SampleSeries,
    all_online_series,
    sample_series,
    seed_of,
)
from analytics.spans import FAR_MS, next_edge, span_at
from analytics.status import other_values, pool_condition, shown_values
from analytics.verdicts import Finding
from analytics.window import Seeds, Window

_SILENT = (PoolCondition.CLOSED, PoolCondition.MAINTENANCE, PoolCondition.NOT_CONNECTED)


@dataclass(frozen=True, slots=True)
class Judgement:
    """What `judge` says.

    `findings` are all exceedances and lapses of the window that end after its `judged_from_ms`. They do not depend on
    what came before the window if `known_from_ms` is not after `judged_from_ms`. `seeds` are those of the window's
    `seed_at_ms`, None if the window cannot tell them.
    """

    findings: list[Finding]
    pool_state: PoolState
    known_from_ms: int
    seeds: Seeds | None


def judge(window: Window, now_ms: int) -> Judgement:
    """Judge one pool by DESIGN section 12, as known at `now_ms`; readings measured later are left for later."""
    online = all_online_series(window, now_ms=now_ms)
    samples = [
        found
        for key, columns in window.samples.items()
        for found in sample_series(window, key, columns, now_ms=now_ms)
    ]
    duties = judge_duties(window, online, samples, now_ms=now_ms, displays=window.displays)
    findings = [
        finding for series in online for finding in online_findings(window, series, online, now_ms=now_ms)
    ]
    findings += [finding for found in samples for finding in sample_findings(window, found, now_ms=now_ms)]
    findings += [finding for outcome in duties for finding in outcome.findings]
    known_from = max((series.known_from_ms for series in online), default=window.known_from_ms)
    return Judgement(
        findings=findings,
        pool_state=_pool_state(window, online, samples, duties, now_ms=now_ms),
        known_from_ms=known_from,
        seeds=_seeds(window, online, known_from_ms=known_from),
    )


def _seeds(window: Window, online: Sequence[OnlineSeries], *, known_from_ms: int) -> Seeds | None:
    at_ms = window.seed_at_ms
    if at_ms is None or at_ms < known_from_ms:
        return None
    return {
        series.key: seed_of(window, series, at_ms=at_ms, back_ms=window.quality_back_ms) for series in online
    }


def _pool_state(
    window: Window,
    online: Sequence[OnlineSeries],
    samples: Sequence[SampleSeries],
    duties: Sequence[DutyOutcome],
    *,
    now_ms: int,
) -> PoolState:
    values = shown_values(window, online, samples, now_ms=now_ms)
    condition, reason = pool_condition(window, values, now_ms=now_ms)
    session = span_at(window.open_time, now_ms)
    later = window.open_time[window.open_time[:, 0] > now_ms]
    closes_at_ms = None if session is None or session[1] >= window.opening_to_ms else session[1]
    edges = [value.valid_until_ms for value in values if value.valid_until_ms is not None]
    edges += [edge for outcome in duties for edge in outcome.edges_ms]
    edges += _edges(window, online, samples, now_ms=now_ms)
    return PoolState(
        pool_id=window.pool.pool_id,
        venue_id=window.venue.venue_id,
        district=window.venue.district,
        at_ms=now_ms,
        state=condition,
        reason=reason,
        expected=condition not in _SILENT,
        open=session is not None,
        opens_at_ms=int(later[0, 0]) if session is None and len(later) else None,
        closes_at_ms=closes_at_ms,
        values=values,
        duties=[outcome.standing for outcome in duties],
        open_verdicts=[],
        profile=window.profile.name,
        profile_notice=window.profile.notice,
        others=other_values(window, online, samples, values, now_ms=now_ms),
        next_change_ms=min((edge for edge in edges if now_ms < edge < FAR_MS), default=None),
    )


def _edges(
    window: Window, online: Sequence[OnlineSeries], samples: Sequence[SampleSeries], *, now_ms: int
) -> Iterator[int]:
    """Instants at which time alone changes something, some of them past."""
    dates = [window.begin_ms, next_edge(window.opening, now_ms), next_edge(window.open_time, now_ms)]
    dates += [date for period in window.entries.maintenance for date in (period.from_ms, period.until_ms)]
    dates += [date for limit in window.rules.limits for date in (limit.from_ms, limit.to_ms)]
    dates += [date for sensor in window.pool.sensors for date in (sensor.from_ms, sensor.until_ms)]
    dates += [series.future_ms for series in online]
    dates += [found.future_ms for found in samples]
    dates += [
        at_ms + found.gap_ms + 1
        for found in online
        for at_ms in (found.last_good_ms, None if found.newest is None else found.newest.measured_at_ms)
        if at_ms is not None
    ]
    dates += [found.good.measured_at_ms[-1:].max(initial=0).item() + found.age_ms for found in samples]
    return (date for date in dates if date is not None)
