"""A window of the world: everything that `judge` may know about one pool, and nothing else. Pure."""

from collections.abc import Mapping
from dataclasses import dataclass, field

import numpy as np
from numpy.typing import NDArray

from analytics.course import Seed
from analytics.duties.posting import NO_DISPLAYS, Displays
from analytics.entries import Entries
from analytics.quality import Before, is_sample
from analytics.spans import Spans, without
from analytics.standards.profile import KindRules, Profile, rules_for
from gateway.contract.registry import Pool, Sensor, Venue
from ingest.store.records import PublicationColumns, ReadingColumns, SeriesKey

#: A margin on every look back: what an instant depends on is never cut off by a rounding.
_MARGIN_MS = 60_000
#: How many of a sensor's intervals may be missed before a gap forgets. DESIGN 12.8
_GAP_INTERVALS = 3


@dataclass(frozen=True, slots=True)
class SeriesSeed:
    """What is known of one probe's series before a window.

    `before` is the last reading of before those read for flags; the rest is of the instant from which on machines run.
    """

    before: Before | None
    last_good_ms: int | None
    active_since_ms: dict[str, int]
    suspect_since_ms: int | None = None

    def machine(self, rule: str) -> Seed | None:
        """Seed of one limit's machine; None if the series had no good reading."""
        if self.last_good_ms is None:
            return None
        return Seed(last_good_ms=self.last_good_ms, active_since_ms=self.active_since_ms.get(rule))


Seeds = dict[SeriesKey, SeriesSeed]


@dataclass(frozen=True, slots=True)
class Window:
    """One pool as known at a time of judging; all instants in milliseconds.

    Attributes
    ----------
    opening : Spans
        Opening hours as registered, merged, from at least two days before `look_from_ms` to some days ahead.
    online, samples : mapping
        Readings of probes since `quality_back_ms` before `known_from_ms`, and those taken by people (manual,
        laboratory) since one longest allowed age before `look_from_ms`; `split_samples` makes both.
    publications : mapping
        Published values since one online age before `look_from_ms`.
    opening_to_ms : int
        The hours of `opening` are known up to here.
    judged_from_ms : int
        Findings are wanted that end at this or later.
    look_from_ms : int
        From here on lapses are looked for: before the start of each one that reaches into the judged span.
    known_from_ms : int
        From here on all readings of probes are in the window.
    seeds : Seeds or None
        The state at `known_from_ms`. None: nothing is known of before, or, with `complete`, there is nothing before.
    first_reading_ms : int or None
        Of the pool's oldest reading.
    measured : frozenset of str
        Quantities of which there ever was a reading.
    seed_at_ms : int or None
        An instant for which new seeds are wanted.
    displays : Displays
        Receipts of screens since two days before `look_from_ms`, and the publications that they or a correction name.
    quality_back_ms : int
        How far before a reading lie others on which its flag depends.
    dormant : Seeds
        Without `seeds`: of probes that said nothing for so long that the window does not hold it.
    """

    pool: Pool
    venue: Venue
    profile: Profile
    opening: Spans
    online: Mapping[SeriesKey, ReadingColumns]
    samples: Mapping[SeriesKey, ReadingColumns]
    publications: Mapping[SeriesKey, PublicationColumns]
    entries: Entries
    opening_to_ms: int
    judged_from_ms: int
    look_from_ms: int
    known_from_ms: int
    complete: bool
    first_reading_ms: int | None
    measured: frozenset[str] = frozenset()
    seeds: Seeds | None = None
    seed_at_ms: int | None = None
    displays: Displays = NO_DISPLAYS
    quality_back_ms: int = 0
    dormant: Seeds = field(default_factory=dict)
    rules: KindRules = field(init=False)
    open_time: Spans = field(init=False)

    def __post_init__(self) -> None:
        object.__setattr__(self, "rules", rules_for(self.profile, self.pool.kind))
        object.__setattr__(self, "open_time", without(self.opening, self.entries.closed))

    @property
    def begin_ms(self) -> int | None:
        """When the pool's duties begin; None if it is not connected."""
        return self.pool.from_ms if self.pool.from_ms is not None else self.first_reading_ms

    def seed(self, key: SeriesKey) -> SeriesSeed | None:
        """What is known of a series before the window."""
        return (self.dormant if self.seeds is None else self.seeds).get(key)

    def sensor(self, key: SeriesKey) -> Sensor | None:
        """The registered sensor of a series, the last one if it was registered several times."""
        found = [s for s in self.pool.sensors if s.sensor_id == key.sensor_id and s.quantity == key.quantity]
        return found[-1] if found else None


def gap_ms(rules: KindRules, *, quantity: str, interval_s: float | None) -> int:
    """Longest distance of two readings of a probe that is no gap. [ms]"""
    return max(rules.online_age_ms(quantity), round((interval_s or 0.0) * 1000 * _GAP_INTERVALS))


def context_ms(pool: Pool, profile: Profile) -> int:
    """How far before an instant the probes' readings reach on which its verdicts depend, seeds given. [ms]"""
    rules = rules_for(profile, pool.kind)
    gaps = [gap_ms(rules, quantity=s.quantity, interval_s=s.interval_s) for s in pool.sensors]
    gaps.append(max((rules.online_age_ms(limit.quantity) for limit in rules.limits), default=0))
    # Whether a reading is a spike shows with the next one.
    spiky = [
        found
        for found in profile.quality.values()
        if found.spike_suspect is not None or found.spike_fail is not None
    ]
    gaps += [round(found.reach_s * 1000) for found in spiky]
    return round(max(profile.confirm_s, profile.clear_s) * 1000) + max(gaps) + _MARGIN_MS


NO_READINGS = ReadingColumns(
    measured_at_ms=np.empty(0, dtype=np.int64),
    value=np.empty(0, dtype=np.float64),
    status=np.empty(0, dtype=np.uint8),
    received_at_ms=np.empty(0, dtype=np.int64),
    stored_at_ms=np.empty(0, dtype=np.int64),
)


def split_samples(
    readings: Mapping[SeriesKey, ReadingColumns],
) -> tuple[dict[SeriesKey, ReadingColumns], dict[SeriesKey, ReadingColumns]]:
    """Readings of probes, and readings taken by people."""
    online: dict[SeriesKey, ReadingColumns] = {}
    samples: dict[SeriesKey, ReadingColumns] = {}
    for key, columns in readings.items():
        taken = is_sample(columns.status)
        if not taken.any():
            online[key] = columns
        elif taken.all():
            samples[key] = columns
        else:
            online[key], samples[key] = select(columns, ~taken), select(columns, taken)
    return online, samples


def select(columns: ReadingColumns, chosen: NDArray[np.bool_] | slice) -> ReadingColumns:
    """The chosen readings."""
    return ReadingColumns(
        measured_at_ms=columns.measured_at_ms[chosen],
        value=columns.value[chosen],
        status=columns.status[chosen],
        received_at_ms=columns.received_at_ms[chosen],
        stored_at_ms=columns.stored_at_ms[chosen],
    )


def between(columns: ReadingColumns, *, from_ms: int, to_ms: int) -> ReadingColumns:
    """Readings with from_ms <= measured_at < to_ms, as views."""
    at = columns.measured_at_ms
    if not len(at) or (at[0] >= from_ms and at[-1] < to_ms):
        return columns
    first, after = np.searchsorted(at, (from_ms, to_ms), side="left")
    return select(columns, slice(int(first), int(after)))
