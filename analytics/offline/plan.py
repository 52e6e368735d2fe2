"""By which rules each pool of a registry is judged from a file, on which grid, and when it was open. Pure."""

from collections.abc import Mapping, Sequence
from dataclasses import dataclass, replace
from itertools import groupby

import numpy as np

from analytics.offline.registered import QUANTITIES, RegisteredSeries, SeriesBook
from analytics.ragged import RaggedSpans
from analytics.spans import Spans, merged
from analytics.standards.profile import Duty, DutyKind, KindRules, Profile, rules_for
from analytics.window import gap_ms
from gateway.contract.opening import open_intervals
from gateway.contract.registry import Pool

#: Without knowing better a grid has a cell a minute.
_LONGEST_STEP_MS = 60_000
SHORTEST_STEP_MS = 1000
_DAY_MS = 86_400_000
#: Sessions that begin before, or end after, what is judged are known at their full length.
_MARGIN_MS = 3 * _DAY_MS
#: Which duties a file of readings can show, and which a file of publications besides. DESIGN 12.15
FROM_READINGS = (DutyKind.DAILY_TEST, DutyKind.ONLINE_MONITORING)
FROM_PUBLICATIONS = (DutyKind.ONLINE_PUBLICATION,)


@dataclass(frozen=True, slots=True)
class Run:
    """Pools [from, to) that share a profile and a step of the grid."""

    pool_from: int
    pool_to: int
    step_ms: int


@dataclass(frozen=True, slots=True)
class Plan:
    """The pools of a book with their profiles, cut down to the duties that are judged, and rules.

    `whole_rules` are those of the whole profiles: how old a value may be does not depend on what is judged, and what is not
    judged is left out of the indicator, which says so.
    `left_out`: duties of these profiles that files cannot show.
    """

    book: SeriesBook
    profiles: tuple[Profile, ...]
    rules: tuple[KindRules, ...]
    whole_rules: tuple[KindRules, ...]
    judged: tuple[DutyKind, ...]
    left_out: tuple[DutyKind, ...]

    def runs(self) -> list[Run]:
        """The pools cut where the profile or the step changes."""
        number = range(len(self.book.pools))
        return [
            Run(pools[0], pools[-1] + 1, step_ms)
            for (step_ms, _), group in groupby(
                number, key=lambda pool: (self.step_ms(pool), id(self.profiles[pool]))
            )
            for pools in (list(group),)
        ]

    def step_ms(self, pool: int) -> int:
        """The step of a pool's grid: not longer than its sensors' intervals, and half of what would be a gap."""
        steps = [_LONGEST_STEP_MS, round(self.profiles[pool].grid_step_s * 1000)]
        for one in self.series_of(pool):
            steps += [round(entry.interval_s * 1000) for entry in one.entries]
            steps.append(self.gap_ms(one) // 2)
        return max(min(steps) // SHORTEST_STEP_MS * SHORTEST_STEP_MS, SHORTEST_STEP_MS)

    def series_of(self, pool: int) -> Sequence[RegisteredSeries]:
        """The registered series of a pool."""
        return self.book.series[int(self.book.first[pool]) : int(self.book.first[pool + 1])]

    def gap_ms(self, one: RegisteredSeries) -> int:
        """Longest distance of two readings of a series that is no gap. [ms]"""
        return gap_ms(
            self.whole_rules[one.pool], quantity=QUANTITIES[one.quantity], interval_s=one.sensor.interval_s
        )

    def monitoring(self, pool: int, quantity: int) -> Duty | None:
        """The duty of monitoring a quantity of a pool online; of several editions the newest."""
        found = [
            duty
            for duty in self.rules[pool].duties
            if duty.duty is DutyKind.ONLINE_MONITORING and QUANTITIES[quantity] in duty.quantities
        ]
        return max(found, key=lambda duty: duty.from_ms or 0, default=None)


def plan_of(book: SeriesBook, profiles: Mapping[str, Profile], *, with_publications: bool) -> Plan:
    """Plan for a registry; `profiles` by the name that a pool has for its profile."""
    judged = FROM_READINGS + (FROM_PUBLICATIONS if with_publications else ())
    cut = {
        name: replace(profile, duties=tuple(duty for duty in profile.duties if duty.duty in judged))
        for name, profile in profiles.items()
    }
    every = {duty.duty for profile in profiles.values() for duty in profile.duties}
    return Plan(
        book=book,
        profiles=tuple(cut[pool.profile] for pool in book.pools),
        rules=tuple(rules_for(cut[pool.profile], pool.kind) for pool in book.pools),
        whole_rules=tuple(rules_for(profiles[pool.profile], pool.kind) for pool in book.pools),
        judged=judged,
        left_out=tuple(duty for duty in DutyKind if duty in every and duty not in judged),
    )


def opening_of(pools: Sequence[Pool], *, from_ms: int, to_ms: int) -> RaggedSpans:
    """Opening hours by pool, some days more than [from, to). Pools of the same hours are computed once."""
    found: dict[object, Spans] = {}
    parts = []
    for pool in pools:
        key = (pool.opening, pool.time_zone)
        if key not in found:
            intervals = open_intervals(pool, from_ms=from_ms - _MARGIN_MS, to_ms=to_ms + _MARGIN_MS)
            found[key] = merged(np.array(intervals, dtype=np.int64).reshape(-1, 2))
        parts.append(found[key])
    return RaggedSpans.of(parts)
