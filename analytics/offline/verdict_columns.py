"""Columns of the tables from what was judged."""

from collections.abc import Iterable, Sequence
from dataclasses import dataclass
from typing import Any

import numpy as np
from numpy.typing import NDArray

from analytics.offline.block import JudgedBlock
from analytics.offline.plan import Plan
from analytics.offline.published import PublishedBlock
from analytics.offline.registered import QUANTITIES
from analytics.offline.tables import chosen
from analytics.quality import Check, Flag
from analytics.results import Cause, Doubt, VerdictState
from analytics.spans import FAR_MS, Spans
from analytics.standards.limits import LimitEnd
from analytics.standards.profile import Duty
from analytics.verdicts import Finding
from gateway.contract.quantities import SPECS

Columns = dict[str, Any]
_QUANTITY_NAMES = [quantity.value for quantity in QUANTITIES]
_CHECKS = {int(check): str(check.name).lower() for check in Check}
_FLAG_NAMES: list[str | None] = [None] * 10
for _flag in Flag:
    _FLAG_NAMES[_flag] = _flag.name.lower()


class _Names:
    """Texts of the pools and series of a block."""

    def __init__(self, judged: JudgedBlock, plan: Plan) -> None:
        book, block = plan.book, judged.block
        self.series = book.series[int(book.first[block.pool_from]) : int(book.first[block.pool_to])]
        self._pool_ids = [book.pools[one.pool].pool_id for one in self.series]
        self._sensor_ids = [one.sensor.sensor_id for one in self.series]
        self._quantities = [_QUANTITY_NAMES[one.quantity] for one in self.series]

    def of(self, series: NDArray[np.integer]) -> Columns:
        return {
            "pool_id": chosen(self._pool_ids, series),
            "sensor_id": chosen(self._sensor_ids, series),
            "quantity": chosen(self._quantities, series),
        }


def quality_columns(judged: JudgedBlock, plan: Plan) -> Columns:
    """Rows of `quality`: what each check found, and when."""
    found = judged.intervals
    words = list(_CHECKS.values())
    place = np.zeros(max(_CHECKS) + 1, dtype=np.int64)
    place[list(_CHECKS)] = np.arange(len(words))
    return {
        **_Names(judged, plan).of(found.series),
        "check": chosen(words, place[found.check]),
        "flag": chosen(_FLAG_NAMES, found.flag),
        "start": found.start_ms,
        "end": found.end_ms,
        "readings": found.count,
    }


def count_columns(judged: JudgedBlock, plan: Plan) -> Columns:
    """Rows of `quality_counts`: one for each series."""
    counts = judged.flag_counts
    series = np.arange(len(counts))
    return {
        **_Names(judged, plan).of(series),
        "step_s": np.full(len(counts), judged.block.grid.step_ms / 1000),
        "readings": counts.sum(axis=1) - counts[:, Flag.MISSING],
        "good": counts[:, Flag.GOOD],
        "suspect": counts[:, Flag.SUSPECT],
        "fail": counts[:, Flag.FAIL],
        "missing": counts[:, Flag.MISSING],
    }


def flag_columns(
    judged: JudgedBlock, plan: Plan, values: NDArray[np.floating], row: int, *, cells: slice
) -> Columns:
    """Rows of `flags`: every reading of one series of the block within `cells`.

    `values`: its row of the grid before any reading was left out.
    """
    grid, flagged = judged.block.grid, judged.flagged
    step = np.flatnonzero(~np.isnan(values[cells])) + cells.start
    reasons, index = np.unique(flagged.reason[row, step], return_inverse=True)
    words = [
        " ".join(name for bit, name in _CHECKS.items() if reason & bit) or None for reason in reasons.tolist()
    ]
    return {
        **_Names(judged, plan).of(np.full(len(step), row)),
        "measured_at": grid.measured_at_ms(np.array([row]), step),
        "value": values[step],
        "flag": chosen(_FLAG_NAMES, flagged.flag[row, step]),
        "checks": chosen(words, index),
    }


def _shortest(value: NDArray[np.floating], dtype: np.dtype[np.floating]) -> NDArray[np.float64]:
    """Numbers of a narrower type as the shortest decimals that mean them: 0.29, not 0.28999999165534973."""
    if dtype == np.float64:
        return value.astype(np.float64)
    return value.astype(dtype).astype(str).astype(np.float64)


def exceedance_columns(judged: JudgedBlock, plan: Plan, *, to_ms: int) -> Columns:
    """Rows of `exceedances` that probes showed."""
    found, ends, names = judged.found, judged.limit_ends, _Names(judged, plan)
    limit = np.array([end.value for end in ends], dtype=np.float64)[found.limit_row] if ends else np.empty(0)
    worst = _shortest(found.worst_value, judged.block.grid.value.dtype)
    # On an open end, or among readings that lie inside, the distance is none.
    high = np.array([end.side == "high" for end in ends], dtype=np.bool_)
    high = high[found.limit_row] if ends else high
    margin = np.round(np.maximum(np.where(high, worst - limit, limit - worst), 0.0), 6)
    unverified = found.unverified_since_ms < FAR_MS
    state = np.where(found.end_ms < FAR_MS, 0, np.where(unverified, 2, 1))
    profile = [plan.profiles[one.pool].name for one in names.series]
    return {
        **names.of(found.series),
        "sample_kind": [None] * len(found.series),
        **_limit_columns(ends, found.limit_row),
        "limit": limit,
        "worst_value": worst,
        "margin": margin,
        "unit": chosen([SPECS[QUANTITIES[one.quantity]].unit for one in names.series], found.series),
        "profile": chosen(profile, found.series),
        "state": chosen([VerdictState.CLOSED, VerdictState.OPEN, VerdictState.UNVERIFIED], state),
        **_times(found.start_ms, found.end_ms, to_ms=to_ms),
        "unverified_since": found.unverified_since_ms,
        "doubt": chosen([None, Doubt.PH_OUT_OF_LINE], judged.in_doubt.astype(np.intp)),
    }


def _limit_columns(ends: Sequence[LimitEnd], row: NDArray[np.integer]) -> Columns:
    binding = np.array([end.limit.binding for end in ends], dtype=np.bool_)
    return {
        "tier": chosen([end.limit.tier.value for end in ends], row),
        "binding": binding[row] if ends else binding,
        "rule": chosen([end.rule for end in ends], row),
        "standard": chosen([end.limit.standard for end in ends], row),
        "edition": chosen([end.limit.edition for end in ends], row),
        "clause": chosen([end.limit.clause for end in ends], row),
        "clause_status": chosen([end.limit.clause_status.value for end in ends], row),
        "consequence": chosen([end.limit.consequence.value for end in ends], row),
    }


def _times(start_ms: NDArray[np.int64], end_ms: NDArray[np.int64], *, to_ms: int) -> Columns:
    """What is still open ends where judging ends."""
    end = np.minimum(end_ms, to_ms)
    return {"start": start_ms, "end": end, "duration_s": (end - start_ms) / 1000}


def lapse_columns(judged: JudgedBlock, plan: Plan, *, to_ms: int) -> Columns:
    """Rows of `lapses`: online monitoring, where it is a duty."""
    groups, lapses = judged.groups, judged.lapses
    pools = (groups.pool + judged.block.pool_from).tolist()
    duties = [
        plan.monitoring(pool, quantity)
        for pool, quantity in zip(pools, groups.quantity.tolist(), strict=True)
    ]
    is_duty = np.array([duty is not None for duty in duties], dtype=np.bool_)
    rows = np.flatnonzero(is_duty[lapses.group]) if duties else np.empty(0, dtype=np.intp)
    group, start_ms, end_ms = lapses.group[rows], lapses.start_ms[rows], lapses.end_ms[rows]
    return {
        "pool_id": chosen([plan.book.pools[pool].pool_id for pool in pools], group),
        "quantity": chosen([_QUANTITY_NAMES[quantity] for quantity in groups.quantity.tolist()], group),
        "profile": chosen([plan.profiles[pool].name for pool in pools], group),
        **_duty_columns(duties, group),
        **_not_measured(start_ms, end_ms, to_ms=to_ms),
    }


@dataclass(frozen=True, slots=True)
class Untested:
    """When a duty of testing a quantity of a pool was overdue; its spans may reach beyond what is judged."""

    pool: int
    duty: Duty
    quantity: str
    overdue: Spans


def untested_columns(parts: Sequence[Untested], plan: Plan, *, from_ms: int, to_ms: int) -> Columns:
    """Rows of `lapses`: tests that were not made."""
    part = np.repeat(np.arange(len(parts)), [len(one.overdue) for one in parts])
    spans = np.concatenate([np.empty((0, 2), dtype=np.int64), *(one.overdue for one in parts)])
    some = (spans[:, 1] > from_ms) & (spans[:, 0] < to_ms)
    part, start_ms, end_ms = part[some], np.maximum(spans[some, 0], from_ms), spans[some, 1]
    end_ms = np.where(end_ms > to_ms, FAR_MS, end_ms)
    return {
        "pool_id": chosen([plan.book.pools[one.pool].pool_id for one in parts], part),
        "quantity": chosen([one.quantity for one in parts], part),
        "profile": chosen([plan.profiles[one.pool].name for one in parts], part),
        **_duty_columns([one.duty for one in parts], part),
        **_not_measured(start_ms, end_ms, to_ms=to_ms),
    }


def _duty_columns(duties: Sequence[Duty | None], row: NDArray[np.integer]) -> Columns:
    def told(attribute: str) -> Any:
        return chosen([None if duty is None else str(getattr(duty, attribute)) for duty in duties], row)

    names = ("standard", "edition", "clause", "clause_status", "consequence")
    return {"rule": told("duty"), **{name: told(name) for name in names}}


def _not_measured(start_ms: NDArray[np.int64], end_ms: NDArray[np.int64], *, to_ms: int) -> Columns:
    """State, times and cause of lapses that can have one cause only."""
    times = _times(start_ms, end_ms, to_ms=to_ms)
    return {
        "state": chosen([VerdictState.CLOSED, VerdictState.OPEN], (end_ms == FAR_MS).astype(np.int64)),
        **times,
        "cause": chosen([Cause.NOT_MEASURED], np.zeros(len(start_ms), dtype=np.int64)),
        "not_measured_s": times["duration_s"],
        "not_received_s": np.zeros(len(start_ms)),
        "not_published_s": np.zeros(len(start_ms)),
    }


def published_columns(
    judged: JudgedBlock, found: PublishedBlock, plan: Plan, *, from_ms: int, to_ms: int
) -> Columns:
    """Rows of `lapses`: results that were not published in time."""
    groups, duty_of = judged.groups, found.lapse_of
    group = np.array([one for one, _ in found.duties], dtype=np.intp)
    pools = (groups.pool[group] + judged.block.pool_from).tolist()
    times = _times(np.maximum(found.start_ms, from_ms), found.end_ms, to_ms=to_ms)
    is_open = found.end_ms == FAR_MS
    unpublished = found.unpublished_ms / 1000
    unmeasured = (np.minimum(found.end_ms, to_ms) - found.start_ms - found.unpublished_ms) / 1000
    # On a tie the cause nearer to the sensor.
    published_not = unpublished > unmeasured
    # What is still open, or was cut, is given whole to its largest cause.
    whole = is_open | (found.start_ms < from_ms)
    length_s = times["duration_s"]
    return {
        "pool_id": chosen([plan.book.pools[pool].pool_id for pool in pools], duty_of),
        "quantity": chosen([_QUANTITY_NAMES[code] for code in groups.quantity[group].tolist()], duty_of),
        "profile": chosen([plan.profiles[pool].name for pool in pools], duty_of),
        **_duty_columns([duty for _, duty in found.duties], duty_of),
        "state": chosen([VerdictState.CLOSED, VerdictState.OPEN], is_open.astype(np.int64)),
        **times,
        "cause": chosen([Cause.NOT_MEASURED, Cause.NOT_PUBLISHED], published_not.astype(np.int64)),
        "not_measured_s": np.where(whole, np.where(published_not, 0.0, length_s), unmeasured),
        "not_received_s": np.zeros(len(duty_of)),
        "not_published_s": np.where(whole, np.where(published_not, length_s, 0.0), unpublished),
    }


def finding_exceedance_columns(
    findings: Sequence[Finding], plan: Plan, *, from_ms: int, to_ms: int
) -> Columns:
    """Rows of `exceedances` that samples showed."""
    binding = {
        end.rule: end.limit.binding
        for rules in {id(rules): rules for rules in plan.rules}.values()
        for ends in rules.ends_table().values()
        for end in ends
    }
    return {
        **_texts(findings, ("pool_id", "sensor_id", "quantity", "sample_kind", "tier")),
        "binding": [binding[finding.rule] for finding in findings],
        "limit": _numbers(finding.limit for finding in findings),
        "worst_value": _numbers(finding.worst_value for finding in findings),
        "margin": np.round(_numbers(finding.margin for finding in findings), 6),
        "unit": [SPECS[QUANTITIES[_QUANTITY_NAMES.index(str(one.quantity))]].unit for one in findings],
        **_verdict(findings, from_ms=from_ms, to_ms=to_ms),
        "unverified_since": np.full(len(findings), FAR_MS, dtype=np.int64),
        "doubt": [None] * len(findings),
    }


def finding_lapse_columns(findings: Sequence[Finding], *, from_ms: int, to_ms: int) -> Columns:
    """Rows of `lapses` of the other duties."""
    verdict = _verdict(findings, from_ms=from_ms, to_ms=to_ms)
    seconds: dict[Cause, list[float]] = {
        cause: [(one.seconds_by_cause or {}).get(cause.value, 0.0) for one in findings]
        for cause in (Cause.NOT_MEASURED, Cause.NOT_RECEIVED, Cause.NOT_PUBLISHED)
    }
    untold = [one.seconds_by_cause is None for one in findings]
    for cause, column in seconds.items():
        # What is still open, or was cut, is given whole to its largest cause.
        for row, one in enumerate(findings):
            if untold[row] or one.start_ms < from_ms:
                column[row] = float(verdict["duration_s"][row]) if one.cause is cause else 0.0
    return {
        **_texts(findings, ("pool_id", "quantity")),
        **verdict,
        "cause": [None if one.cause is None else str(one.cause) for one in findings],
        "not_measured_s": np.array(seconds[Cause.NOT_MEASURED], dtype=np.float64),
        "not_received_s": np.array(seconds[Cause.NOT_RECEIVED], dtype=np.float64),
        "not_published_s": np.array(seconds[Cause.NOT_PUBLISHED], dtype=np.float64),
    }


def _verdict(findings: Sequence[Finding], *, from_ms: int, to_ms: int) -> Columns:
    start_ms = np.array([max(finding.start_ms, from_ms) for finding in findings], dtype=np.int64)
    end_ms = np.array(
        [FAR_MS if finding.end_ms is None else finding.end_ms for finding in findings], dtype=np.int64
    )
    names = ("rule", "profile", "standard", "edition", "clause", "clause_status", "consequence", "state")
    return {**_texts(findings, names), **_times(start_ms, end_ms, to_ms=to_ms)}


def _texts(findings: Sequence[Finding], names: Iterable[str]) -> Columns:
    return {
        name: [None if value is None else str(value) for value in (getattr(one, name) for one in findings)]
        for name in names
    }


def _numbers(values: Iterable[float | None]) -> NDArray[np.float64]:
    return np.array([np.nan if value is None else value for value in values], dtype=np.float64)
