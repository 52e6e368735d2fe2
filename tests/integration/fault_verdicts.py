"""Whether a fault changed a verdict (DESIGN 12.1): the store's facts judged beside those that the gateways sent.

Exceedances, quality flags and measured time depend on what was measured alone, so they are those of a run without faults.
Lapses depend on when the store had it, which a fault may really have delayed: they are those that a plain loop finds in
the stored facts.
"""

from collections.abc import Iterable, Mapping, Sequence
from pathlib import Path
from typing import NamedTuple

import msgspec
import numpy as np

from analytics.entries import read_entries
from analytics.judge import judge
from analytics.probe_quality import probe_flags
from analytics.quality import Flag
from analytics.results import VerdictKind
from analytics.spans import merged
from analytics.standards.profile import DutyKind, Profile, read_profile, rules_for
from analytics.verdicts import without_identity
from analytics.window import Window
from gateway.contract.registry import Registry
from ingest.store.records import ReadingColumns, SeriesKey, StatusCode

PROFILE = read_profile(Path(__file__).with_name("fault_profile.toml"))
_BEFORE_MS = 10 * 60_000
Facts = Mapping[SeriesKey, ReadingColumns]


class Sent(NamedTuple):
    """A reading that a gateway sent."""

    pool_id: str
    sensor_id: str
    quantity: str
    measured_at_ms: int
    value: float


class Lapse(NamedTuple):
    """A lapse of online monitoring; `end_ms` None: still open. `not_received_ms`: measured by then, and not yet stored."""

    start_ms: int
    end_ms: int | None
    not_received_ms: int


class Judged(NamedTuple):
    """What facts of one pool say. `flags`: instant, flag and reason of each reading; `measured`: spans of measured time."""

    exceedances: list[bytes]
    flags: dict[SeriesKey, list[tuple[int, int, int]]]
    measured: list[tuple[int, int]]
    lapses: list[Lapse]


def undisturbed(sent: Iterable[Sent]) -> dict[str, dict[SeriesKey, ReadingColumns]]:
    """Facts by pool, as a store would hold them that had each reading the moment it was measured."""
    by_series: dict[tuple[str, SeriesKey], list[Sent]] = {}
    for one in sent:
        by_series.setdefault((one.pool_id, SeriesKey(one.sensor_id, one.quantity)), []).append(one)
    found: dict[str, dict[SeriesKey, ReadingColumns]] = {}
    for (pool_id, key), unsorted in by_series.items():
        rows = sorted(unsorted, key=lambda one: one.measured_at_ms)
        at = np.array([one.measured_at_ms for one in rows], dtype=np.int64)
        found.setdefault(pool_id, {})[key] = ReadingColumns(
            measured_at_ms=at,
            value=np.array([one.value for one in rows], dtype=np.float64),
            status=np.full(len(rows), StatusCode.NORMAL, dtype=np.uint8),
            received_at_ms=at,
            stored_at_ms=at,
        )
    return found


def judged(
    registry: Registry, pool_id: str, facts: Facts, *, now_ms: int, profile: Profile = PROFILE
) -> Judged:
    """Judge all facts of a pool at once, by `analytics.judge`."""
    pool = registry.pools[pool_id]
    first_ms = min(int(columns.measured_at_ms[0]) for columns in facts.values())
    look_from_ms = first_ms - _BEFORE_MS
    window = Window(
        pool=pool,
        venue=registry.venue_of(pool),
        profile=profile,
        opening=merged([(look_from_ms, now_ms + _BEFORE_MS)]),
        online=facts,
        samples={},
        publications={},
        entries=read_entries([]),
        opening_to_ms=now_ms + _BEFORE_MS,
        judged_from_ms=look_from_ms,
        look_from_ms=look_from_ms,
        known_from_ms=look_from_ms,
        complete=True,
        first_reading_ms=first_ms,
    )
    findings = judge(window, now_ms).findings
    flagged = probe_flags(window, facts)
    age_ms = _age_ms(registry, pool_id, profile)
    return Judged(
        exceedances=sorted(
            msgspec.json.encode(without_identity(one))
            for one in findings
            if one.kind is VerdictKind.EXCEEDANCE
        ),
        flags={
            key: list(
                zip(
                    facts[key].measured_at_ms.tolist(),
                    found.flag.tolist(),
                    found.reason.tolist(),
                    strict=True,
                )
            )
            for key, found in flagged.items()
        },
        measured=_united(
            (at, at + age_ms)
            for key, found in flagged.items()
            for at in facts[key].measured_at_ms[found.flag == Flag.GOOD].tolist()
        ),
        lapses=sorted(
            Lapse(
                one.start_ms,
                one.end_ms,
                0
                if one.end_ms is None
                else round((one.seconds_by_cause or {}).get("not_received", 0.0) * 1000),
            )
            for one in findings
            if one.kind is VerdictKind.LAPSE
        ),
    )


def lapses_by_loop(facts: Facts, found: Judged, *, now_ms: int, age_ms: int) -> list[Lapse]:
    """Overdue time of online monitoring by DESIGN 12.6 and 12.7, reading by reading."""
    good = {(key, at) for key, flags in found.flags.items() for at, flag, _ in flags if flag == Flag.GOOD}
    counts = sorted(
        (max(stored, at), at + age_ms)
        for key, columns in facts.items()
        for at, stored in zip(columns.measured_at_ms.tolist(), columns.stored_at_ms.tolist(), strict=True)
        if (key, at) in good and max(stored, at) < at + age_ms  # what came later than that served never
    )
    # The duty begins with the first reading, good or not, and a result may be one age old.
    served_to_ms = min(int(columns.measured_at_ms[0]) for columns in facts.values()) + age_ms
    lapses = []
    for counted_ms, until_ms in [*counts, (now_ms + 1, now_ms + 1)]:
        is_end = counted_ms > now_ms
        if min(counted_ms, now_ms + 1) > served_to_ms:
            end_ms = None if is_end else counted_ms
            late_ms = 0 if is_end else _within(found.measured, served_to_ms, counted_ms)
            lapses.append(Lapse(served_to_ms, end_ms, late_ms))
        if is_end:
            break
        served_to_ms = max(served_to_ms, until_ms)
    return lapses


def assert_same_verdicts(
    registry: Registry, stored: Mapping[str, Facts], sent: Iterable[Sent]
) -> dict[str, Judged]:
    """Compare what the store's facts say with what the sent ones do; returns, by pool, what the stored ones say."""
    expected = undisturbed(sent)
    stored = {pool_id: facts for pool_id, facts in stored.items() if facts}
    assert stored.keys() == expected.keys()
    found = {}
    for pool_id, facts in stored.items():
        now_ms = 1 + max(
            int(max(columns.stored_at_ms.max(), columns.measured_at_ms.max())) for columns in facts.values()
        )
        of_stored = judged(registry, pool_id, facts, now_ms=now_ms)
        of_sent = judged(registry, pool_id, expected[pool_id], now_ms=now_ms)
        assert of_stored.exceedances == of_sent.exceedances
        assert of_stored.flags == of_sent.flags
        assert of_stored.measured == of_sent.measured
        age_ms = _age_ms(registry, pool_id, PROFILE)
        assert of_stored.lapses == lapses_by_loop(facts, of_stored, now_ms=now_ms, age_ms=age_ms)
        found[pool_id] = of_stored
    return found


def _age_ms(registry: Registry, pool_id: str, profile: Profile) -> int:
    rules = rules_for(profile, registry.pools[pool_id].kind)
    (duty,) = [one for one in rules.duties if one.duty is DutyKind.ONLINE_MONITORING]
    return duty.age_ms


def _united(spans: Iterable[tuple[int, int]]) -> list[tuple[int, int]]:
    united: list[tuple[int, int]] = []
    for start, end in sorted(spans):
        if united and start <= united[-1][1]:
            united[-1] = (united[-1][0], max(end, united[-1][1]))
        else:
            united.append((start, end))
    return united


def _within(spans: Sequence[tuple[int, int]], from_ms: int, to_ms: int) -> int:
    return sum(max(0, min(end, to_ms) - max(start, from_ms)) for start, end in spans)
