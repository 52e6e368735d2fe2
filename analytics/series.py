"""Every series of a window, flagged and run through its limits' machines. Pure."""

from collections.abc import Sequence
from dataclasses import dataclass

import numpy as np
from numpy.typing import NDArray

from analytics.course import Course, course, in_force, outside, sample_spans, well_inside, worst_between
from analytics.doubt import NO_CHANNEL, Channel, doubtful_chlorine
from analytics.probe_quality import probe_flags
from analytics.quality import Before, Check, Flag, Flagged, flags
from analytics.results import Doubt, VerdictKind, VerdictState
from analytics.spans import FAR_MS, Instants, Spans, cut
from analytics.standards.profile import LimitEnd
from analytics.verdicts import Finding
from analytics.window import NO_READINGS, SeriesSeed, Window, between, gap_ms, select
from gateway.contract.quantities import Quantity
from gateway.contract.registry import Sensor
from ingest.store.records import ReadingColumns, SeriesKey, StatusCode

_SAMPLE_KINDS = {StatusCode.MANUAL: "manual", StatusCode.LABORATORY: "laboratory"}


@dataclass(frozen=True, slots=True)
class Newest:
    """The newest reading of a probe whatever its quality; `reason`: the checks that it failed, `quality.Check`."""

    measured_at_ms: int
    reason: int
    status: int
    value: float


@dataclass(frozen=True, slots=True)
class OnlineSeries:
    """A probe's series up to now: its good readings, and what each limit's machine made of them."""

    key: SeriesKey
    sensor: Sensor | None
    good: ReadingColumns
    newest: Newest | None
    suspect_since_ms: int | None
    bad_times: frozenset[int]
    dropout_times: frozenset[int]
    last_good_ms: int | None
    gap_ms: int
    courses: tuple[tuple[LimitEnd, Course], ...]
    known_from_ms: int
    future_ms: int | None


@dataclass(frozen=True, slots=True)
class SampleSeries:
    """Results by people, of one kind, of one sensor (usually the implicit `manual`) and quantity."""

    key: SeriesKey
    kind: str
    good: ReadingColumns
    age_ms: int
    spans: tuple[tuple[LimitEnd, Spans], ...]
    future_ms: int | None


def all_online_series(window: Window, *, now_ms: int) -> list[OnlineSeries]:
    """Every probe's series, flagged and run through its machines; silent ones of which something is known too."""
    readings = {key: _in_force(window, key, columns, now_ms=now_ms) for key, columns in window.online.items()}
    flagged = probe_flags(window, readings)
    found = [_online_series(window, key, flagged[key], readings[key], now_ms=now_ms) for key in readings]
    # A series that is silent in the whole window still has its state.
    nothing = Flagged(np.empty(0, dtype=np.uint8), np.empty(0, dtype=np.uint16))
    return found + [
        _online_series(window, key, nothing, NO_READINGS, now_ms=now_ms)
        for key in (window.seeds or {})
        if key not in window.online
    ]


def _in_force(window: Window, key: SeriesKey, columns: ReadingColumns, *, now_ms: int) -> ReadingColumns:
    """Readings up to now and within the sensor's own from and until."""
    sensor = window.sensor(key)
    from_ms = -FAR_MS if sensor is None or sensor.from_ms is None else sensor.from_ms
    until_ms = FAR_MS if sensor is None or sensor.until_ms is None else sensor.until_ms
    return between(columns, from_ms=from_ms, to_ms=min(now_ms + 1, until_ms))


def _online_series(
    window: Window, key: SeriesKey, flagged: Flagged, known: ReadingColumns, *, now_ms: int
) -> OnlineSeries:
    sensor = window.sensor(key)
    at = window.online[key].measured_at_ms if key in window.online else NO_READINGS.measured_at_ms
    future = int(np.searchsorted(at, now_ms, side="right"))
    interval_s = None if sensor is None else sensor.interval_s
    seed = None if window.seeds is None else window.seeds.get(key)
    dropout = (flagged.reason & Check.ZERO_DROPOUT) != 0
    dropout_times = frozenset(known.measured_at_ms[dropout].tolist()) if dropout.any() else frozenset()
    all_known = known
    # Those before were read for the flags of these.
    first = int(np.searchsorted(known.measured_at_ms, window.known_from_ms, side="left"))
    if first:
        known = select(known, slice(first, None))
        flagged = Flagged(flagged.flag[first:], flagged.reason[first:])
    flag = flagged.flag
    is_good = flag == Flag.GOOD
    all_good = bool(is_good.all())
    good = known if all_good else select(known, is_good)
    gap = gap_ms(window.rules, quantity=key.quantity, interval_s=interval_s)
    confirmation = window.profile.confirmation(key.quantity)
    courses = [
        (
            end,
            course(
                good.measured_at_ms,
                outside=_while_in_force(good, end, outside(good.value, end)),
                well_inside=_while_in_force(
                    good, end, well_inside(good.value, end, hysteresis=confirmation.hysteresis)
                ),
                confirmation=confirmation,
                gap_ms=gap,
                opening=window.open_time,
                now_ms=now_ms,
                seed=None if seed is None else seed.machine(end.rule),
                complete=window.complete,
            ),
        )
        for end in window.rules.ends(key.quantity)
    ]
    last_good = int(good.measured_at_ms[-1]) if len(good.measured_at_ms) else None
    if last_good is None and seed is not None:
        last_good = seed.last_good_ms
    return OnlineSeries(
        key=key,
        sensor=sensor,
        good=good,
        newest=_newest(known, flagged),
        suspect_since_ms=None if all_good else _suspect_since(known, flag),
        bad_times=frozenset() if all_good else frozenset(known.measured_at_ms[~is_good].tolist()),
        dropout_times=dropout_times,
        last_good_ms=last_good,
        gap_ms=gap,
        courses=tuple(courses),
        known_from_ms=_known_from(window, key, all_known, courses),
        future_ms=int(at[future]) if future < len(at) else None,
    )


def _while_in_force(readings: ReadingColumns, end: LimitEnd, mask: NDArray[np.bool_]) -> NDArray[np.bool_]:
    """A limit judges the readings that were measured while it was in force."""
    force = in_force(readings.measured_at_ms, end)
    return mask if force is None else mask & force


def _newest(known: ReadingColumns, flagged: Flagged) -> Newest | None:
    if not len(flagged.flag):
        return None
    return Newest(
        measured_at_ms=int(known.measured_at_ms[-1]),
        reason=int(flagged.reason[-1]),
        status=int(known.status[-1]),
        value=float(known.value[-1]),
    )


def _is_suspect(known: ReadingColumns, flag: NDArray[np.uint8]) -> NDArray[np.bool_]:
    """Which readings are numbers that the probe itself calls normal, and that are not to be believed."""
    suspect: NDArray[np.bool_] = (
        (flag != Flag.GOOD) & (flag != Flag.MISSING) & (known.status == StatusCode.NORMAL)
    )
    return suspect


def _suspect_since(known: ReadingColumns, flag: NDArray[np.uint8]) -> int | None:
    """Start of the run of suspect readings that lasts to the newest; None if the newest is not suspect."""
    suspect = _is_suspect(known, flag)
    if not len(suspect) or not suspect[-1]:
        return None
    believed = np.flatnonzero(~suspect)
    return int(known.measured_at_ms[int(believed[-1]) + 1 if len(believed) else 0])


def _known_from(
    window: Window, key: SeriesKey, known: ReadingColumns, courses: list[tuple[LimitEnd, Course]]
) -> int:
    """From when nothing before the window could change what was found."""
    if window.complete or window.seeds is not None:
        return window.known_from_ms
    known_from = max((found.known_from_ms for _, found in courses), default=window.known_from_ms)
    if key.quantity == Quantity.FREE_CHLORINE_MG_L:
        floor = window.profile.quality_rules(Quantity.FREE_CHLORINE_MG_L).zero_floor
        nonzero = known.measured_at_ms[(known.status == StatusCode.NORMAL) & (known.value > floor)]
        known_from = max(known_from, int(nonzero[0]) if len(nonzero) else FAR_MS)
    return known_from


def seed_of(
    found: OnlineSeries, columns: ReadingColumns, *, at_ms: int, back_ms: int, old: SeriesSeed | None
) -> SeriesSeed:
    """What is known of a series just before an instant; flags begin with readings of `back_ms` before it."""
    probe = between(columns, from_ms=-FAR_MS, to_ms=at_ms - back_ms)
    numbered = np.flatnonzero((probe.status == StatusCode.NORMAL) & ~np.isnan(probe.value))
    before = None if old is None else old.before
    if len(numbered):
        last = int(numbered[-1])
        measured_at_ms, value = int(probe.measured_at_ms[last]), float(probe.value[last])
        before = Before(measured_at_ms, value, dropout=measured_at_ms in found.dropout_times)
    earlier = int(np.searchsorted(found.good.measured_at_ms, at_ms, side="left"))
    last_good = (
        int(found.good.measured_at_ms[earlier - 1]) if earlier else (old.last_good_ms if old else None)
    )
    active = {end.rule: machine.active_since_at(at_ms) for end, machine in found.courses}
    return SeriesSeed(before, last_good, {rule: since for rule, since in active.items() if since is not None})


def sample_series(
    window: Window, key: SeriesKey, columns: ReadingColumns, *, now_ms: int
) -> list[SampleSeries]:
    """Results by people of one series, by kind, up to now."""
    found = []
    age = window.rules.test_age_ms(key.quantity)
    for status, kind in _SAMPLE_KINDS.items():
        of_kind = select(columns, columns.status == status)
        at = of_kind.measured_at_ms
        if not len(at):
            continue
        future = int(np.searchsorted(at, now_ms, side="right"))
        known = select(of_kind, slice(0, future))
        flag = flags(
            key.quantity,
            measured_at_ms=known.measured_at_ms,
            value=known.value,
            status=known.status,
            interval_s=None,
        )
        good = select(known, flag == Flag.GOOD)
        spans = tuple(
            (
                end,
                sample_spans(
                    good.measured_at_ms,
                    outside=_while_in_force(good, end, outside(good.value, end)),
                    age_ms=age,
                    opening=window.open_time,
                ),
            )
            for end in window.rules.ends(key.quantity)
        )
        found.append(SampleSeries(key, kind, good, age, spans, int(at[future]) if future < len(at) else None))
    return found


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

    def channel(quantity: Quantity) -> Channel:
        of_quantity = [series.good for series in online if series.key.quantity == quantity]
        # Of several probes the first counts, as it does on the page.
        return Channel(of_quantity[0].measured_at_ms, of_quantity[0].value) if of_quantity else NO_CHANNEL

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
