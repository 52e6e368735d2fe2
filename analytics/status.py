"""State of each shown value and of the pool (DESIGN 12.2 to 12.5, 12.9). Pure."""

from collections.abc import Sequence
from dataclasses import dataclass, replace

import numpy as np

from analytics.duties.daily_test import sessions
from analytics.entries import period_at
from analytics.publication import aged_facts
from analytics.quality import Check
from analytics.results import PoolCondition, Reason, ReasonCode, ShownValue, ValueState
from analytics.series import OnlineSeries, SampleSeries
from analytics.spans import FAR_MS, holds
from analytics.standards.profile import Limit
from analytics.window import Window
from gateway.contract.quantities import ORDER_17_QUANTITIES, SPECS, Quantity
from gateway.contract.registry import Sensor
from ingest.store.records import SeriesKey, StatusCode

_OUT = (ValueState.OUT_OF_STANDARD, ValueState.UNVERIFIED, ValueState.RETEST_DUE)
#: The worst first, among values that have a number in force.
_RANK = {ValueState.OUT_OF_STANDARD: 0, ValueState.ADVICE: 1, ValueState.IN_STANDARD: 2}


@dataclass(frozen=True, slots=True)
class _Standing:
    """What one series says of its quantity now. `vouched`: its number is in force."""

    key: SeriesKey
    place: str
    kind: str
    order: int
    state: ValueState
    vouched: bool
    value: float | None
    outside_by: float
    measured_at_ms: int | None
    valid_until_ms: int | None
    reason: Reason | None


def shown_values(
    window: Window, online: Sequence[OnlineSeries], samples: Sequence[SampleSeries], *, now_ms: int
) -> list[ShownValue]:
    """The value of each quantity that decides its state, in order of display; only quantities that have a limit."""
    named = (
        {sensor.quantity for sensor in _registered(window, now_ms=now_ms)}
        | window.measured
        | {found.key.quantity for found in samples}
    )
    values = []
    for quantity in SPECS:
        limit = window.rules.operating(quantity, now_ms)
        if quantity not in named or limit is None:
            continue
        probes, people = _standings(window, online, samples, quantity, limit, now_ms=now_ms)
        values.append(_shown(_decide(quantity, probes, people, begin_ms=window.begin_ms), quantity, limit))
    return values


def other_values(
    window: Window,
    online: Sequence[OnlineSeries],
    samples: Sequence[SampleSeries],
    shown: Sequence[ShownValue],
    *,
    now_ms: int,
) -> list[ShownValue]:
    """Results in force beside those that are shown: of a probe while a test by hand decides, and the other way round.

    They are published too, so that a result does not count as unpublished because a worse one stands before it.
    """
    others = []
    for value in shown:
        quantity = Quantity(value.quantity)
        limit = window.rules.operating(quantity, now_ms)
        if limit is None:
            continue
        probes, people = _standings(window, online, samples, quantity, limit, now_ms=now_ms)
        others += [
            _shown(standing, quantity, limit)
            for standing in [*probes, *people]
            if standing.vouched and standing.key.sensor_id != value.sensor_id
        ]
    return others


def _registered(window: Window, *, now_ms: int) -> list[Sensor]:
    """Sensors in service, in registry order."""
    return [
        sensor
        for sensor in window.pool.sensors
        if (sensor.from_ms is None or sensor.from_ms <= now_ms)
        and (sensor.until_ms is None or now_ms < sensor.until_ms)
    ]


def _standings(
    window: Window,
    online: Sequence[OnlineSeries],
    samples: Sequence[SampleSeries],
    quantity: Quantity,
    limit: Limit,
    *,
    now_ms: int,
) -> tuple[list[_Standing], list[_Standing]]:
    """What the probes and the people say of one quantity."""
    by_key = {series.key: series for series in online}
    probes = [
        _probe(window, sensor, order, by_key.get(SeriesKey(sensor.sensor_id, quantity)), limit, now_ms=now_ms)
        for order, sensor in enumerate(_registered(window, now_ms=now_ms))
        if sensor.quantity == quantity
    ]
    people = [
        standing
        for found in samples
        if found.key.quantity == quantity
        and (standing := _result_by_people(window, found, limit, now_ms=now_ms)) is not None
    ]
    return probes, people


#: What is said of a reading that failed several checks: the first of these.
_DOUBTS = (
    (Check.ZERO_DROPOUT, ReasonCode.EXACT_ZERO),
    (Check.GROSS_RANGE, ReasonCode.OUTSIDE_PLAUSIBLE_RANGE),
    (Check.FLAT_LINE, ReasonCode.FLAT_LINE),
    (Check.NEIGHBOUR, ReasonCode.SENSORS_DISAGREE),
    (Check.ORP_CHLORINE, ReasonCode.SENSORS_DISAGREE),
    (Check.SPIKE, ReasonCode.SUDDEN_CHANGE),
    (Check.RATE_OF_CHANGE, ReasonCode.SUDDEN_CHANGE),
    (Check.RECONNECT, ReasonCode.FIRST_AFTER_SILENCE),
    (Check.CALIBRATION, ReasonCode.CALIBRATION_OVERDUE),
)


def _doubt(reason: int) -> ReasonCode:
    return next((code for check, code in _DOUBTS if reason & check), ReasonCode.NOT_BELIEVED)


def _probe(
    window: Window, sensor: Sensor, order: int, series: OnlineSeries | None, limit: Limit, *, now_ms: int
) -> _Standing:
    key = SeriesKey(sensor.sensor_id, sensor.quantity)
    last_ms = None if series is None else series.last_good_ms
    active = (
        []
        if series is None
        else [since for _, machine in series.courses if (since := machine.active_since_ms) is not None]
    )
    valid_until_ms = None if last_ms is None else last_ms + window.rules.online_age_ms(sensor.quantity)
    suspect_since_ms = None if series is None else series.suspect_since_ms

    def standing(
        state: ValueState,
        code: ReasonCode | None,
        *,
        since_ms: int | None = None,
        value: float | None = None,
        outside_by: float = 0.0,
    ) -> _Standing:
        reason = None
        if code is not None:
            reason = Reason(code, quantity=sensor.quantity, sensor_id=sensor.sensor_id, since_ms=since_ms)
        return _Standing(
            key=key,
            place=sensor.place,
            kind="online",
            order=order,
            state=state,
            vouched=value is not None,
            value=value,
            outside_by=outside_by,
            measured_at_ms=last_ms,
            valid_until_ms=valid_until_ms,
            reason=reason,
        )

    if series is not None and suspect_since_ms is not None and series.newest is not None:
        code = _doubt(series.newest.reason)
        # An exceedance that is not ended stays one; the number that is not to be believed is withheld either way.
        state = ValueState.UNVERIFIED if active else ValueState.SUSPECT
        return standing(state, code, since_ms=suspect_since_ms)
    if (
        series is not None
        and len(series.good.value)
        and valid_until_ms is not None
        and now_ms < valid_until_ms
    ):
        value = float(series.good.value[-1])
        outside_by = limit.outside_by(value)
        pending = [since for _, machine in series.courses if (since := machine.pending_since_ms) is not None]
        verdict: tuple[ValueState, ReasonCode | None] = (ValueState.IN_STANDARD, None)
        since_ms = None
        if active:
            verdict, since_ms = (ValueState.OUT_OF_STANDARD, ReasonCode.OUTSIDE_LIMIT), min(active)
        elif outside_by is not None and not limit.binding:
            verdict = (ValueState.ADVICE, ReasonCode.OUTSIDE_LIMIT)
        elif outside_by is not None:
            verdict = (ValueState.OUT_OF_STANDARD, ReasonCode.NOT_YET_CONFIRMED)
            since_ms = min(pending, default=last_ms)
        return standing(*verdict, since_ms=since_ms, value=value, outside_by=outside_by or 0.0)
    if active:
        return standing(ValueState.UNVERIFIED, ReasonCode.UNVERIFIED_SINCE, since_ms=last_ms)
    said_so = (
        series is not None and series.newest is not None and series.newest.status > StatusCode.LABORATORY
    )
    code = ReasonCode.SENSOR_STATUS if said_so else ReasonCode.PROBE_SILENT
    return standing(ValueState.OVERDUE, code, since_ms=window.begin_ms if last_ms is None else last_ms)


def test_valid_until_ms(window: Window, *, quantity: str, measured_at_ms: int) -> int:
    """Until when a result by people is in force: its allowed age, or a session for which it came too early."""
    duty = window.rules.test_duty(quantity)
    if duty is None:
        return measured_at_ms + window.rules.test_age_ms(quantity)
    measured = np.array([measured_at_ms], dtype=np.int64)
    before_session_ms = None if duty.before_session_s is None else round(duty.before_session_s * 1000)
    facts = aged_facts(
        from_ms=measured,
        measured_at_ms=measured,
        age_ms=duty.age_ms,
        sessions=window.opening
        if before_session_ms is None
        else sessions(window.opening, window.entries.closed, before_session_ms=before_session_ms),
        before_session_ms=before_session_ms,
    )
    return int(facts.until_ms[0])


def _result_by_people(window: Window, found: SampleSeries, limit: Limit, *, now_ms: int) -> _Standing | None:
    if not len(found.good.value):
        return None
    quantity, sensor_id = found.key.quantity, found.key.sensor_id
    measured_at_ms = int(found.good.measured_at_ms[-1])
    value = float(found.good.value[-1])
    valid_until_ms = test_valid_until_ms(window, quantity=quantity, measured_at_ms=measured_at_ms)
    active = [int(spans[-1, 0]) for _, spans in found.spans if len(spans) and spans[-1, 1] > now_ms]
    outside_by = limit.outside_by(value)
    vouched = now_ms < valid_until_ms
    reason = None
    state = ValueState.IN_STANDARD
    if not vouched:
        if not active:
            return None
        state = ValueState.RETEST_DUE
        reason = Reason(
            ReasonCode.OUTSIDE_LIMIT, quantity=quantity, sensor_id=sensor_id, since_ms=min(active)
        )
    elif active or outside_by is not None:
        binding = bool(active) or limit.binding
        state = ValueState.OUT_OF_STANDARD if binding else ValueState.ADVICE
        since_ms = min(active, default=measured_at_ms)
        reason = Reason(ReasonCode.OUTSIDE_LIMIT, quantity=quantity, sensor_id=sensor_id, since_ms=since_ms)
    return _Standing(
        key=found.key,
        place="",
        kind="manual",
        order=len(window.pool.sensors),
        state=state,
        vouched=vouched,
        value=value if vouched else None,
        outside_by=outside_by or 0.0,
        measured_at_ms=measured_at_ms,
        valid_until_ms=valid_until_ms,
        reason=reason,
    )


def _decide(
    quantity: str, probes: list[_Standing], people: list[_Standing], *, begin_ms: int | None
) -> _Standing:
    """The series that decides: the worst good one; on a tie the newest, then registry order (DESIGN 12.2).

    A probe that nobody can vouch for does not decide when a younger result by people is in force; one that is merely
    silent never does while anything else is.
    """
    vouched = [standing for standing in [*probes, *people] if standing.vouched]
    best = min(
        vouched,
        key=lambda standing: (
            _RANK[standing.state],
            -standing.outside_by,
            -(standing.measured_at_ms or 0),
            standing.order,
        ),
        default=None,
    )
    if best is not None and best.state is ValueState.OUT_OF_STANDARD:
        return best
    newest_by_people = max((s.measured_at_ms or 0 for s in people if s.vouched), default=-FAR_MS)
    doubtful = [standing for standing in people if standing.state is ValueState.RETEST_DUE]
    for probe in probes:
        since_ms = probe.measured_at_ms or 0
        if probe.state is ValueState.SUSPECT and probe.reason is not None:
            since_ms = probe.reason.since_ms or 0
        other_probe = any(s.vouched for s in probes) and probe.state is ValueState.SUSPECT
        if (
            probe.state in (ValueState.UNVERIFIED, ValueState.SUSPECT)
            and newest_by_people < since_ms
            and not other_probe
        ):
            doubtful.append(probe)
    if doubtful:
        return min(doubtful, key=lambda standing: (standing.state is ValueState.SUSPECT, standing.order))
    troubled = [probe for probe in probes if not probe.vouched]
    if best is None:
        return troubled[0] if troubled else _nothing(quantity, people, begin_ms=begin_ms)
    if best.reason is None and best.kind != "online" and troubled:
        return replace(best, reason=troubled[0].reason)
    return best


def _nothing(quantity: str, people: list[_Standing], *, begin_ms: int | None) -> _Standing:
    """No probe is registered and no result by people is in force."""
    return _Standing(
        key=people[0].key if people else SeriesKey("manual", quantity),
        place="",
        kind="manual",
        order=0,
        state=ValueState.OVERDUE,
        vouched=False,
        value=None,
        outside_by=0.0,
        measured_at_ms=None,
        valid_until_ms=None,
        reason=Reason(ReasonCode.NO_RESULT_IN_TIME, quantity=quantity, since_ms=begin_ms),
    )


def _shown(standing: _Standing, quantity: Quantity, limit: Limit) -> ShownValue:
    return ShownValue(
        quantity=quantity.value,
        sensor_id=standing.key.sensor_id,
        place=standing.place,
        kind=standing.kind,
        value=standing.value,
        unit=SPECS[quantity].unit,
        limit=(limit.low, limit.high),
        binding=limit.binding,
        clause=f"{limit.standard}: {limit.clause}",
        state=standing.state,
        measured_at_ms=standing.measured_at_ms,
        valid_until_ms=standing.valid_until_ms,
        reason=standing.reason,
    )


def pool_condition(
    window: Window, values: Sequence[ShownValue], *, now_ms: int
) -> tuple[PoolCondition, Reason | None]:
    """State of the pool and why. Silence is never in standard."""
    idle = _idle(window, now_ms=now_ms)
    if idle is not None:
        return idle
    required = [value for value in values if value.quantity in ORDER_17_QUANTITIES]
    worse = (
        (PoolCondition.OUT_OF_STANDARD, values, _OUT),
        (PoolCondition.OVERDUE, required, (ValueState.OVERDUE,)),
        (PoolCondition.SUSPECT, values, (ValueState.SUSPECT,)),
    )
    for condition, among, states in worse:
        deciding = next((value for value in among if value.state in states), None)
        if deciding is not None:
            return condition, deciding.reason
    if not required:
        return PoolCondition.OVERDUE, Reason(ReasonCode.NO_RESULT_IN_TIME, since_ms=window.begin_ms)
    return PoolCondition.IN_STANDARD, None


def _idle(window: Window, *, now_ms: int) -> tuple[PoolCondition, Reason] | None:
    """Why nothing is expected of the pool now; None if something is."""
    found: tuple[PoolCondition, Reason] | None = None
    closure = period_at(window.entries.closures, now_ms)
    work = period_at(window.entries.maintenance, now_ms)
    if window.begin_ms is None or now_ms < window.begin_ms:
        found = PoolCondition.NOT_CONNECTED, Reason(ReasonCode.NEVER_CONNECTED)
    elif closure is not None:
        found = (
            PoolCondition.CLOSED,
            Reason(ReasonCode.CLOSED_BY_ENTRY, since_ms=closure.from_ms, by=closure.by, text=closure.text),
        )
    elif not holds(window.opening, now_ms):
        found = PoolCondition.CLOSED, Reason(ReasonCode.OUTSIDE_OPENING_HOURS)
    elif work is not None:
        found = (
            PoolCondition.MAINTENANCE,
            Reason(ReasonCode.MAINTENANCE_ENTRY, since_ms=work.from_ms, by=work.by, text=work.text),
        )
    return found
