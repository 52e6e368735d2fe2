"""What tests by people and publications say of one pool: few facts, judged as the live service judges them. Pure."""

from collections.abc import Mapping, Sequence
from dataclasses import dataclass, replace
from functools import lru_cache

import numpy as np

from analytics.duties.judging import DutyOutcome, judge_duties
from analytics.entries import Entries
from analytics.findings import sample_findings
from analytics.grid import Grid
from analytics.offline.intake import Sample
from analytics.offline.registered import QUANTITIES, RegisteredSeries
from analytics.series import OnlineSeries, SampleSeries, sample_series
from analytics.spans import FAR_MS, Instants, Spans
from analytics.standards.profile import Duty, DutyKind, Profile, ServedBy, rules_for
from analytics.verdicts import Finding
from analytics.window import Window
from gateway.contract.registry import Pool, PoolKind, Venue
from ingest.store.records import PublicationColumns, ReadingColumns, SeriesKey, StatusCode

_DAY_MS = 86_400_000


#: These lapses can have one cause only, so that where they are is all there is to know.
_NOT_MEASURED_ONLY = (DutyKind.DAILY_TEST,)


@dataclass(frozen=True, slots=True)
class SparseFindings:
    """What samples and publications of a pool show.

    `exceedances`: by samples. `lapses`: of the duties of publishing, with their causes. `duties`: how every duty that was
    judged here was kept; what is overdue of a duty without lapses of its own was not measured. `sampled`: quantities and
    times of good samples.
    """

    exceedances: list[Finding]
    lapses: list[Finding]
    duties: list[tuple[Duty, str, DutyOutcome]]
    sampled: list[tuple[str, Instants]]


def sparse_findings(
    *,
    pool: Pool,
    venue: Venue,
    profile: Profile,
    opening: Spans,
    begin_ms: int,
    samples: Sequence[Sample],
    online: Mapping[SeriesKey, tuple[ReadingColumns, frozenset[int]]],
    publications: Mapping[SeriesKey, PublicationColumns] | None,
    from_ms: int,
    to_ms: int,
) -> SparseFindings:
    """Judge what people measured and what was published of one pool within [from, to).

    Parameters
    ----------
    pool, venue, profile : Pool, Venue, Profile
        The profile holds the duties that are to be judged; `online_monitoring` is judged on the grid and left out here.
    opening : Spans
        Opening hours, also some days before `from_ms` and after `to_ms`. [ms]
    begin_ms : int
        When the pool's duties begin. [ms]
    samples : sequence of Sample
        Of this pool, in any order; of two of one kind, sensor, quantity and time the last one given counts.
    online : mapping of SeriesKey to (ReadingColumns, frozenset of int)
        Good readings of probes, and the times of those that are not, where a duty asks for them.
    publications : mapping of SeriesKey to PublicationColumns, or None
        Each sorted by `published_at_ms`. None: the duties of publishing are not judged here.
    from_ms, to_ms : int
        It is judged as known at `to_ms`. [ms]
    """
    tested, published = _parts(profile)
    window = Window(
        pool=pool,
        venue=venue,
        profile=tested,
        opening=opening,
        online={},
        samples=_columns(samples),
        publications=publications or {},
        entries=Entries(),
        opening_to_ms=int(opening[-1, 1]) if len(opening) else to_ms,
        judged_from_ms=from_ms,
        look_from_ms=min(begin_ms, from_ms) - _DAY_MS,
        known_from_ms=-FAR_MS,
        complete=True,
        first_reading_ms=begin_ms,
    )
    found: list[SampleSeries] = [
        series
        for key, columns in window.samples.items()
        for series in sample_series(window, key, columns, now_ms=to_ms)
    ]
    probes = [
        OnlineSeries(
            key=key,
            sensor=window.sensor(key),
            good=good,
            newest=None,
            suspect_since_ms=None,
            bad_times=bad_times,
            dropout_times=frozenset(),
            last_good_ms=None,
            gap_ms=0,
            courses=(),
            known_from_ms=-FAR_MS,
            future_ms=None,
        )
        for key, (good, bad_times) in online.items()
    ]
    # No lapse is wanted here as a verdict: the overdue time says it all, and there are many.
    outcomes = judge_duties(replace(window, judged_from_ms=FAR_MS), probes, found, now_ms=to_ms)
    of_publishing: list[DutyOutcome] = []
    if publications is not None:
        of_publishing = judge_duties(replace(window, profile=published), probes, found, now_ms=to_ms)
    return SparseFindings(
        exceedances=[
            finding for series in found for finding in sample_findings(window, series, now_ms=to_ms)
        ],
        lapses=[finding for outcome in of_publishing for finding in outcome.findings],
        duties=[
            (_duty_of(part, pool.kind, outcome), outcome.standing.quantity, outcome)
            for part, several in ((tested, outcomes), (published, of_publishing))
            for outcome in several
        ],
        sampled=[(series.key.quantity, series.good.measured_at_ms) for series in found],
    )


def _duty_of(profile: Profile, kind: PoolKind, outcome: DutyOutcome) -> Duty:
    standing = outcome.standing
    return next(
        duty
        for duty in rules_for(profile, kind).duties
        if duty.duty == standing.duty
        and standing.quantity in duty.quantities
        and duty.clause == standing.clause
    )


@lru_cache(maxsize=64)
def _parts(profile: Profile) -> tuple[Profile, Profile]:
    """The profile with its duties of testing alone, and with those of publishing alone."""
    others = [duty for duty in profile.duties if duty.duty is not DutyKind.ONLINE_MONITORING]
    tested = tuple(duty for duty in others if duty.duty in _NOT_MEASURED_ONLY)
    published = tuple(duty for duty in others if duty.duty not in _NOT_MEASURED_ONLY)
    return replace(profile, duties=tested), replace(profile, duties=published)


def asks_probes(profile: Profile, *, publications: bool) -> bool:
    """Whether a duty that is judged here looks at the readings of probes; `publications`: those of publishing are."""
    tested, published = _parts(profile)
    if publications and published.duties:
        return True
    return any(ServedBy.ONLINE in duty.served_by for duty in tested.duties)


def good_readings(grid: Grid, row: int) -> ReadingColumns:
    """The readings of one row of a grid of good ones; taken as stored when they were measured."""
    step = np.flatnonzero(~np.isnan(grid.value[row]))
    at_ms = grid.measured_at_ms(np.array([row]), step)
    return ReadingColumns(
        measured_at_ms=at_ms,
        value=grid.value[row, step].astype(np.float64),
        status=np.zeros(len(step), dtype=np.uint8),
        received_at_ms=at_ms,
        stored_at_ms=at_ms,
    )


def key_of(one: RegisteredSeries) -> SeriesKey:
    """Key of a registered series within its pool."""
    return SeriesKey(one.sensor.sensor_id, QUANTITIES[one.quantity])


def _columns(samples: Sequence[Sample]) -> dict[SeriesKey, ReadingColumns]:
    last: dict[tuple[SeriesKey, int, int], Sample] = {}
    for sample in samples:
        key = SeriesKey(sample.sensor_id, QUANTITIES[sample.quantity])
        last[key, sample.at_ms, sample.status] = sample
    by_key: dict[SeriesKey, list[Sample]] = {}
    for (key, _, _), sample in last.items():
        by_key.setdefault(key, []).append(sample)
    found = {}
    for key, of_key in by_key.items():
        of_key.sort(key=lambda sample: sample.at_ms)
        at_ms = np.array([sample.at_ms for sample in of_key], dtype=np.int64)
        found[key] = ReadingColumns(
            measured_at_ms=at_ms,
            value=np.array([sample.value for sample in of_key], dtype=np.float64),
            status=np.array([StatusCode(sample.status) for sample in of_key], dtype=np.uint8),
            received_at_ms=at_ms,
            stored_at_ms=at_ms,
        )
    return found
