"""What the machines and the samples of a window's series found, as exceedances cut by opening (DESIGN 12.8). Pure."""

from collections.abc import Sequence

import numpy as np

from analytics.course import outside, worst_between
from analytics.doubt import NO_CHANNEL, Channel, doubtful_chlorine
from analytics.results import Doubt, VerdictKind, VerdictState
from analytics.series import OnlineSeries, SampleSeries
from analytics.spans import FAR_MS, Instants, Spans, cut
from analytics.standards.profile import LimitEnd
from analytics.verdicts import Finding
from analytics.window import Window
from gateway.contract.quantities import Quantity
from ingest.store.records import ReadingColumns, SeriesKey


def online_findings(
    window: Window, found: OnlineSeries, online: Sequence[OnlineSeries], *, now_ms: int
) -> list[Finding]:
    """Exceedances of a probe's series in open time that end after `judged_from_ms`; `online`: all of the pool."""
    findings = []
    doubtful_ms: Instants | None = None
    until_ms = FAR_MS if found.sensor is None or found.sensor.until_ms is None else found.sensor.until_ms
    for end, machine in found.courses:
        for start_ms, end_ms in _open_pieces(window, end, machine.spans, until_ms=until_ms, now_ms=now_ms):
            is_open = end_ms > now_ms
            unverified = machine.unverified_since_ms if is_open else None
            if doubtful_ms is None:
                doubtful_ms = _doubtful_ms(window, found, online)
            in_doubt = bool(((doubtful_ms >= start_ms) & (doubtful_ms < end_ms)).any())
            findings.append(
                _exceedance(
                    window,
                    end,
                    found.key,
                    found.good,
                    start_ms=start_ms,
                    end_ms=None if is_open else end_ms,
                    state=_state(is_open=is_open, doubt=VerdictState.UNVERIFIED if unverified else None),
                    sample_kind=None,
                    unverified_since_ms=unverified,
                    doubt=Doubt.PH_OUT_OF_LINE if in_doubt else None,
                )
            )
    return findings


def _doubtful_ms(window: Window, found: OnlineSeries, online: Sequence[OnlineSeries]) -> Instants:
    """Times of the chlorine readings of a probe that the pool's pH makes doubtful; none for other quantities. [ms]"""
    if found.key.quantity != Quantity.FREE_CHLORINE_MG_L:
        return NO_CHANNEL.at_ms

    by_key = {series.key: series.good for series in online}

    def channel(quantity: Quantity) -> Channel:
        # Of several probes the first of the registry counts, whichever speak at present.
        named = [sensor.sensor_id for sensor in window.pool.sensors if sensor.quantity == quantity]
        good = by_key.get(SeriesKey(named[0], quantity)) if named else None
        return NO_CHANNEL if good is None else Channel(good.measured_at_ms, good.value)

    doubtful = doubtful_chlorine(
        window.rules,
        Channel(found.good.measured_at_ms, found.good.value),
        ph=channel(Quantity.PH),
        water_temp=channel(Quantity.WATER_TEMP_C),
    )
    times: Instants = found.good.measured_at_ms[doubtful]
    return times


def sample_findings(window: Window, found: SampleSeries, *, now_ms: int) -> list[Finding]:
    """Exceedances that results by people show, in open time, that end after `judged_from_ms`."""
    findings = []
    for end, spans in found.spans:
        for start_ms, end_ms in _open_pieces(window, end, spans, until_ms=FAR_MS, now_ms=now_ms):
            is_open = end_ms > now_ms
            retest_due = now_ms >= int(found.good.measured_at_ms[-1]) + found.age_ms
            findings.append(
                _exceedance(
                    window,
                    end,
                    found.key,
                    found.good,
                    # A result before opening began it: its value counts though its time is outside the piece.
                    worst_from_ms=int(spans[np.searchsorted(spans[:, 0], start_ms, side="right") - 1, 0]),
                    start_ms=start_ms,
                    end_ms=None if is_open else end_ms,
                    state=_state(is_open=is_open, doubt=VerdictState.RETEST_DUE if retest_due else None),
                    sample_kind=found.kind,
                )
            )
    return findings


def _state(*, is_open: bool, doubt: VerdictState | None) -> VerdictState:
    if not is_open:
        return VerdictState.CLOSED
    return VerdictState.OPEN if doubt is None else doubt


def _open_pieces(
    window: Window, end: LimitEnd, spans: Spans, *, until_ms: int, now_ms: int
) -> list[tuple[int, int]]:
    """Intervals of a machine, cut by opening, by when the limit is in force, and by the sensor's end."""
    if not len(spans):
        return []
    limit = end.limit
    begin_ms = window.begin_ms
    low = max(limit.from_ms or -FAR_MS, -FAR_MS if begin_ms is None else begin_ms)
    high = min(FAR_MS if limit.to_ms is None else limit.to_ms, until_ms)
    # The opening hours given end some days ahead, so that no end here is FAR_MS while the pool has hours at all.
    pieces = cut(cut(spans, window.open_time), np.array([(low, max(low, high))], dtype=np.int64))
    return [
        (int(start), int(stop))
        for start, stop in pieces
        if start <= now_ms and stop > start and stop >= window.judged_from_ms
    ]


def _exceedance(
    window: Window,
    end: LimitEnd,
    key: SeriesKey,
    good: ReadingColumns,
    *,
    start_ms: int,
    end_ms: int | None,
    state: VerdictState,
    sample_kind: str | None,
    unverified_since_ms: int | None = None,
    worst_from_ms: int | None = None,
    doubt: Doubt | None = None,
) -> Finding:
    limit = end.limit
    worst = worst_between(
        good.measured_at_ms,
        good.value,
        side=end.side,
        from_ms=start_ms if worst_from_ms is None else worst_from_ms,
        to_ms=FAR_MS if end_ms is None else end_ms,
    )
    outside_by = None if worst is None else abs(worst - end.value)
    if worst is not None and not bool(outside(np.array([worst]), end)[0]):
        outside_by = 0.0
    return Finding(
        verdict_id="",
        revision=0,
        kind=VerdictKind.EXCEEDANCE,
        pool_id=window.pool.pool_id,
        quantity=key.quantity,
        rule=end.rule,
        profile=window.profile.name,
        standard=limit.standard,
        edition=limit.edition,
        clause=limit.clause,
        clause_status=limit.clause_status,
        consequence=limit.consequence,
        state=state,
        start_ms=start_ms,
        end_ms=end_ms,
        judged_at_ms=0,
        sensor_id=key.sensor_id,
        sample_kind=sample_kind,
        tier=limit.tier,
        limit=end.value,
        worst_value=worst,
        margin=outside_by,
        unverified_since_ms=unverified_since_ms,
        doubt=doubt,
    )
