"""Every series of a window, flagged and run through its limits' machines. Pure."""

from dataclasses import dataclass

import numpy as np
from numpy.typing import NDArray

from analytics.course import Course, course, in_force, outside, sample_spans, well_inside
from analytics.probe_quality import probe_flags
from analytics.quality import Before, Check, Flag, Flagged, flags
from analytics.spans import FAR_MS, Instants, Spans
from analytics.standards.profile import LimitEnd
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
class Suspicion:
    """Which readings of a probe are not to be believed, of all of a window; `suspect` has shape (n,), None: none is.

    `before_ms`: start of the run of them that lasts to the last reading of before.
    """

    at_ms: Instants
    suspect: NDArray[np.bool_] | None
    before_ms: int | None

    def since_ms(self, at_ms: int) -> int | None:
        """Start of the run that lasts to the last reading before an instant; None: that one is believed."""
        n = int(np.searchsorted(self.at_ms, at_ms, side="left"))
        if not n:
            return self.before_ms
        if self.suspect is None or not self.suspect[n - 1]:
            return None
        believed = np.flatnonzero(~self.suspect[:n])
        if len(believed):
            return int(self.at_ms[int(believed[-1]) + 1])
        return int(self.at_ms[0]) if self.before_ms is None else self.before_ms


_NOTHING_SUSPECT = Suspicion(NO_READINGS.measured_at_ms, None, None)


@dataclass(frozen=True, slots=True)
class OnlineSeries:
    """A probe's series up to now: its good readings, and what each limit's machine made of them.

    `newest` is None once it is older than what is a gap: then the probe is silent, whatever it said last.
    """

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
    suspicion: Suspicion = _NOTHING_SUSPECT


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
        for key in (window.dormant if window.seeds is None else window.seeds)
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
    seed = window.seed(key)
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
                complete=window.complete or seed is not None,
            ),
        )
        for end in window.rules.ends(key.quantity)
    ]
    last_good = int(good.measured_at_ms[-1]) if len(good.measured_at_ms) else None
    if last_good is None and seed is not None:
        last_good = seed.last_good_ms
    suspicion = Suspicion(
        known.measured_at_ms,
        None if all_good else _is_suspect(known, flag),
        None if seed is None else seed.suspect_since_ms,
    )
    newest = _newest(known, flagged, from_ms=now_ms - gap)
    return OnlineSeries(
        key=key,
        sensor=sensor,
        good=good,
        newest=newest,
        suspect_since_ms=None if newest is None else suspicion.since_ms(now_ms + 1),
        bad_times=frozenset() if all_good else frozenset(known.measured_at_ms[~is_good].tolist()),
        dropout_times=dropout_times,
        last_good_ms=last_good,
        gap_ms=gap,
        courses=tuple(courses),
        known_from_ms=_known_from(window, key, all_known, courses, suspicion, last_good),
        future_ms=int(at[future]) if future < len(at) else None,
        suspicion=suspicion,
    )


def _while_in_force(readings: ReadingColumns, end: LimitEnd, mask: NDArray[np.bool_]) -> NDArray[np.bool_]:
    """A limit judges the readings that were measured while it was in force."""
    force = in_force(readings.measured_at_ms, end)
    return mask if force is None else mask & force


def _newest(known: ReadingColumns, flagged: Flagged, *, from_ms: int) -> Newest | None:
    if not len(flagged.flag) or known.measured_at_ms[-1] < from_ms:
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


def _known_from(
    window: Window,
    key: SeriesKey,
    known: ReadingColumns,
    courses: list[tuple[LimitEnd, Course]],
    suspicion: Suspicion,
    last_good_ms: int | None,
) -> int:
    """From when nothing before the window could change what was found."""
    if window.complete or window.seeds is not None or key in window.dormant:
        return window.known_from_ms
    if last_good_ms is None or (suspicion.suspect is not None and suspicion.suspect.all()):
        return FAR_MS  # since when it is silent, or not to be believed, is not known
    known_from = max((found.known_from_ms for _, found in courses), default=window.known_from_ms)
    if key.quantity == Quantity.FREE_CHLORINE_MG_L:
        floor = window.profile.quality_rules(Quantity.FREE_CHLORINE_MG_L).zero_floor
        nonzero = known.measured_at_ms[(known.status == StatusCode.NORMAL) & (known.value > floor)]
        known_from = max(known_from, int(nonzero[0]) if len(nonzero) else FAR_MS)
    return known_from


def seed_of(window: Window, found: OnlineSeries, *, at_ms: int, back_ms: int) -> SeriesSeed:
    """What is known of a series just before an instant; flags begin with readings of `back_ms` before it."""
    old = window.seed(found.key)
    columns = window.online.get(found.key, NO_READINGS)
    probe = _in_force(window, found.key, columns, now_ms=at_ms - back_ms - 1)
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
    return SeriesSeed(
        before,
        last_good,
        {rule: since for rule, since in active.items() if since is not None},
        found.suspicion.since_ms(at_ms),
    )


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
