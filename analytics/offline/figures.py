"""Compliance, punctuality and the indicator of all pools, from the spans that their blocks showed. Pure."""

from collections.abc import Iterator, Sequence
from dataclasses import dataclass, field

import numpy as np
from numpy.typing import NDArray

from analytics.compliance.account import ComplianceColumns, compliance, occurrences, standard_spans
from analytics.compliance.local_days import Period, Sessions, local_day_of, local_days, sessions
from analytics.compliance.punctuality import PunctualityColumns, punctuality
from analytics.compliance.rows import Columns, by_period, chosen_rows
from analytics.indicator.figures import figures_of
from analytics.indicator.items import ORDER_QUANTITIES, items_of
from analytics.indicator.points import Indicator, indicators
from analytics.offline.block import JudgedBlock
from analytics.offline.plan import Plan
from analytics.offline.registered import QUANTITIES
from analytics.offline.sparse import SparseFindings
from analytics.ragged import RaggedSpans
from analytics.ragged_lengths import REACH_MS, merged_by_owner, without
from analytics.results import VerdictState
from analytics.spans import FAR_MS, Spans
from analytics.standards.profile import DutyKind, Tier

DUTIES = tuple(DutyKind)
_PERIODS = (Period.DAY, Period.MONTH, Period.SEASON)
#: A score of one day says little: the indicator is of longer periods.
_INDICATOR_PERIODS = (Period.MONTH, Period.SEASON)

Positions = NDArray[np.intp]


@dataclass(slots=True)
class _Found:
    """Owner, interval and from when nobody vouches for it; parts of many blocks."""

    owner: list[Positions] = field(default_factory=list)
    spans: list[Spans] = field(default_factory=list)
    unverified_ms: list[NDArray[np.int64]] = field(default_factory=list)

    def add(self, owner: Positions, spans: Spans, unverified_ms: NDArray[np.int64] | None = None) -> None:
        self.owner.append(np.asarray(owner, dtype=np.intp))
        self.spans.append(np.asarray(spans, dtype=np.int64).reshape(-1, 2))
        since = np.full(len(owner), FAR_MS, dtype=np.int64) if unverified_ms is None else unverified_ms
        self.unverified_ms.append(since)

    def joined(self) -> tuple[Positions, Spans, NDArray[np.int64]]:
        return (
            np.concatenate([np.empty(0, dtype=np.intp), *self.owner]),
            np.concatenate([np.empty((0, 2), dtype=np.int64), *self.spans]),
            np.concatenate([np.empty(0, dtype=np.int64), *self.unverified_ms]),
        )


@dataclass(frozen=True, slots=True)
class IndicatorRow:
    """The indicator of a pool in a period."""

    period: Period
    start: np.datetime64
    pool: int
    indicator: Indicator


class Figures:
    """Gathers what blocks of pools showed, and makes the figures of it."""

    def __init__(self, plan: Plan) -> None:
        self._plan = plan
        self.begin_ms = np.full(len(plan.book.pools), FAR_MS, dtype=np.int64)
        self._group_pool: list[int] = []
        self._group_quantity: list[int] = []
        self._group: dict[tuple[int, int], int] = {}
        self._out, self._closure, self._lapses, self._suspect = _Found(), _Found(), _Found(), _Found()
        self._duties: list[tuple[int, int, int]] = []
        self._duty_due: list[Spans] = []
        self._duty_overdue, self._duty_unverified = _Found(), _Found()

    def add_block(self, judged: JudgedBlock) -> None:
        """Take what a block's probes showed."""
        block, groups, found = judged.block, judged.groups, judged.found
        base = len(self._group_pool)
        pools = (groups.pool + block.pool_from).tolist()
        self._group.update(
            {key: base + row for row, key in enumerate(zip(pools, groups.quantity.tolist(), strict=True))}
        )
        self._group_pool += pools
        self._group_quantity += groups.quantity.tolist()
        self.begin_ms[block.pool_from : block.pool_to] = judged.begin_ms
        binding = np.array(
            [end.limit.binding and end.limit.tier is Tier.OPERATING for end in judged.limit_ends],
            dtype=np.bool_,
        )
        closing = np.array([end.limit.tier is Tier.CLOSURE for end in judged.limit_ends], dtype=np.bool_)
        group = groups.of_series[found.series] + base
        spans = np.column_stack((found.start_ms, found.end_ms))
        for into, kind in ((self._out, binding), (self._closure, closing)):
            rows = kind[found.limit_row] if len(kind) else np.zeros(0, dtype=np.bool_)
            into.add(group[rows], spans[rows], found.unverified_since_ms[rows])
        lapses = np.column_stack((judged.lapses.start_ms, judged.lapses.end_ms))
        self._lapses.add(judged.lapses.group + base, lapses)
        self._suspect.add(judged.suspect_group + base, judged.suspect)
        for row, (pool, quantity) in enumerate(zip(pools, groups.quantity.tolist(), strict=True)):
            if self._plan.monitoring(pool, quantity) is not None:
                of_row = judged.lapses.group == row
                self.add_duty(
                    pool, DutyKind.ONLINE_MONITORING, quantity, judged.bound[row], lapses[of_row], None
                )

    def add_sparse(self, pool: int, found: SparseFindings) -> None:
        """Take what samples and publications of a pool showed."""
        for finding in found.exceedances:
            group = self._group.get((pool, _code(finding.quantity)))
            if group is None:
                continue
            into = self._closure if finding.tier == Tier.CLOSURE else self._out
            end_ms = FAR_MS if finding.end_ms is None else finding.end_ms
            doubted = finding.state is VerdictState.RETEST_DUE
            into.add(
                np.array([group]),
                np.array([(finding.start_ms, end_ms)]),
                np.array([finding.start_ms if doubted else FAR_MS]),
            )
        for duty, quantity, outcome in found.duties:
            self.add_duty(
                pool, duty.duty, _code(quantity), outcome.bound, outcome.overdue, outcome.unverified
            )

    def add_duty(
        self,
        pool: int,
        duty: DutyKind,
        quantity: int,
        due: Spans,
        overdue: Spans,
        unverified: Spans | None,
    ) -> None:
        """Take when a duty of a pool was due, overdue, and when nobody can tell (None: never). [ms]"""
        row = len(self._duties)
        self._duties.append((pool, DUTIES.index(duty), quantity))
        self._duty_due.append(due)
        self._duty_overdue.add(np.full(len(overdue), row), overdue)
        if unverified is not None:
            self._duty_unverified.add(np.full(len(unverified), row), unverified)

    def open_time(self, opening: RaggedSpans, *, from_ms: int, to_ms: int) -> Sessions:
        """Sessions of all pools in [from, to), from each pool's begin on."""
        pools = self._plan.book.pools
        first = min(local_day_of(from_ms, zone_name=pool.time_zone) for pool in pools)
        last = max(local_day_of(to_ms - 1, zone_name=pool.time_zone) for pool in pools)
        days = local_days([pool.time_zone for pool in pools], first=first, last=last)
        begin = np.clip(np.maximum(self.begin_ms, from_ms), None, REACH_MS)
        before = np.column_stack((np.full(len(pools), -REACH_MS, dtype=np.int64), begin))
        early = merged_by_owner(np.arange(len(pools)), before, n_owners=len(pools))
        return sessions(without(opening, early), days, until_ms=to_ms)

    def compliance(self, open_time: Sessions) -> ComplianceColumns:
        """Compliance of each quantity and pool by day."""
        out, lapses, suspect = self._out.joined(), self._lapses.joined(), self._suspect.joined()
        spans = standard_spans(
            n_groups=len(self._group_pool),
            exceedance_group=out[0],
            exceedances=out[1],
            unverified_since_ms=out[2],
            lapse_group=lapses[0],
            lapses=lapses[1],
            suspect_group=suspect[0],
            suspect=suspect[1],
        )
        return compliance(
            open_time,
            pool=np.array(self._group_pool, dtype=np.int64),
            quantity=np.array(self._group_quantity, dtype=np.int64),
            spans=spans,
            deciding=[QUANTITIES.index(quantity) for quantity in ORDER_QUANTITIES],
        )

    def punctuality(self, open_time: Sessions) -> PunctualityColumns:
        """How each duty was kept by day."""
        n_duties = len(self._duties)
        codes = np.array(self._duties, dtype=np.int64).reshape(-1, 3)
        overdue, unverified = self._duty_overdue.joined(), self._duty_unverified.joined()
        return punctuality(
            open_time,
            pool=codes[:, 0],
            duty=codes[:, 1],
            quantity=codes[:, 2],
            overdue=merged_by_owner(overdue[0], overdue[1], n_owners=n_duties),
            unverified=merged_by_owner(unverified[0], unverified[1], n_owners=n_duties),
            due=RaggedSpans.of(self._duty_due),
        )

    def indicators(
        self, open_time: Sessions, kept: ComplianceColumns, duties: PunctualityColumns, *, to_ms: int
    ) -> Iterator[IndicatorRow]:
        """The indicator of each pool by month and season; pools are computed by the rules that they share."""
        owner, spans, _ = self._closure.joined()
        closures = occurrences(
            open_time,
            pool=np.array(self._group_pool, dtype=np.int64),
            quantity=np.array(self._group_quantity, dtype=np.int64),
            spans=merged_by_owner(owner, spans, n_owners=len(self._group_pool)),
        )
        by_rules: dict[int, list[int]] = {}
        for pool, rules in enumerate(self._plan.rules):
            by_rules.setdefault(id(rules), []).append(pool)
        names = [quantity.value for quantity in QUANTITIES]
        for pools in by_rules.values():
            items = items_of(self._plan.whole_rules[pools[0]], at_ms=to_ms - 1)
            for period in _INDICATOR_PERIODS:
                figures = figures_of(
                    items,
                    compliance=by_period(_of_pools(kept, pools), period),
                    punctuality=by_period(_of_pools(duties, pools), period),
                    closures=by_period(_of_pools(closures, pools), period),
                    quantities=names,
                    duties=[duty.value for duty in DUTIES],
                )
                told = indicators(items, figures.figures)
                for row, indicator in enumerate(told):
                    yield IndicatorRow(period, figures.start[row], int(figures.pool[row]), indicator)


def _of_pools(columns: Columns, pools: Sequence[int]) -> Columns:
    return chosen_rows(columns, np.flatnonzero(np.isin(columns.pool, pools)))


def periods(columns: Columns) -> Iterator[Columns]:
    """The same by day, month and season."""
    return (by_period(columns, period) for period in _PERIODS)


def _code(quantity: str) -> int:
    return [one.value for one in QUANTITIES].index(str(quantity))
