"""Online publication of all quantities of a block of pools at once: when it was overdue, and by which cause. Pure.

The overdue time of one pool is found by `analytics.duties` as well, with the facts that prove each lapse; a file of
verdicts names none, and without them all pools of a block can be done together. What a publication covers and what
causes a lapse has are those of DESIGN 12.6 and 12.7.
"""

from collections.abc import Iterator, Mapping
from dataclasses import dataclass
from functools import lru_cache

import numpy as np
from numpy.typing import NDArray

from analytics.offline.block import JudgedBlock
from analytics.offline.groups import bound_of
from analytics.offline.plan import Plan
from analytics.offline.registered import QUANTITIES
from analytics.offline.spill import Records
from analytics.quality import Flag
from analytics.ragged import RaggedSpans, keys
from analytics.ragged_lengths import complement, length_before, merged_by_owner
from analytics.spans import EMPTY, FAR_MS, Instants, Spans
from analytics.standards.profile import Duty, DutyKind, KindRules, ServedBy

Positions = NDArray[np.intp]

#: A day before what is judged is looked at too, as for every duty.
_DAY_MS = 86_400_000
#: So many publications are joined at once: what is needed for them stays small, and near the core.
_ROWS_AT_ONCE = 131_072
#: So many cells of the grid are looked at together for what was measured within lapses.
_CELLS_AT_ONCE = 1_000_000


@dataclass(frozen=True, slots=True)
class PublishedBlock:
    """How online publication was kept.

    Attributes
    ----------
    duties : list of (int, Duty)
        One for each quantity of a pool that has the duty: the group within the block, and the duty.
    bound : RaggedSpans
        By duty, when it binds.
    overdue : RaggedSpans
        By duty, in open time; what is still overdue where judging ends reaches beyond.
    lapse_of, start_ms, end_ms : ndarray, shape (k,)
        Overdue pieces that begin before the end of judging and end after its begin: their duty, and when. An `end_ms` of
        FAR_MS: still open.
    unpublished_ms : ndarray of int64, shape (k,)
        So long of each, from its start on, a good result was there that was young enough; for the rest none was. [ms]
    """

    duties: list[tuple[int, Duty]]
    bound: RaggedSpans
    overdue: RaggedSpans
    lapse_of: Positions
    start_ms: Instants
    end_ms: Instants
    unpublished_ms: NDArray[np.int64]


@lru_cache(maxsize=256)
def publication_duties(rules: KindRules) -> Mapping[str, Duty] | None:
    """The duty of online publication by quantity; None if it is not that simple.

    Simple is what is served by publications alone, whatever sessions there are, and has one edition.
    """
    found: dict[str, Duty] = {}
    for duty in rules.duties:
        if duty.duty is not DutyKind.ONLINE_PUBLICATION:
            continue
        known = any(quantity in found for quantity in duty.quantities)
        if known or duty.served_by != {ServedBy.PUBLICATION} or duty.before_session_s is not None:
            return None
        found.update(dict.fromkeys(duty.quantities, duty))
    return found


def judge_published(
    judged: JudgedBlock,
    *,
    plan: Plan,
    opening: RaggedSpans,
    publications: Records,
    sampled: Mapping[int, Instants],
    from_ms: int,
    to_ms: int,
) -> PublishedBlock:
    """Judge online publication of the pools of a block whose duty of it is simple.

    Parameters
    ----------
    judged : JudgedBlock
    plan : Plan
    opening : RaggedSpans
        By pool of the block.
    publications : Records
        Of results, as `PublicationsAside` has them, in any order; those of other pools are left out.
    sampled : mapping
        When people measured good results, by group of the block. [ms]
    from_ms, to_ms : int
        It is judged as known at `to_ms`. [ms]
    """
    groups, block = judged.groups, judged.block
    first = int(plan.book.first[block.pool_from])
    series = plan.book.series[first : int(plan.book.first[block.pool_to])]

    def duty_of(pool: int, quantity: int) -> Duty | None:
        return (publication_duties(plan.rules[pool]) or {}).get(QUANTITIES[quantity])

    duties: list[tuple[int, Duty]] = []
    row_of = np.full(len(groups), -1, dtype=np.intp)
    pools, quantities = (groups.pool + block.pool_from).tolist(), groups.quantity.tolist()
    for group, (pool, quantity) in enumerate(zip(pools, quantities, strict=True)):
        duty = duty_of(pool, quantity)
        begin_ms = int(judged.begin_ms[groups.pool[group]])
        if duty is None or begin_ms == FAR_MS or (duty.from_ms or -FAR_MS) > to_ms:
            continue
        if (duty.to_ms or FAR_MS) >= min(begin_ms, from_ms) - _DAY_MS:
            row_of[group] = len(duties)
            duties.append((group, duty))
    chosen = np.array([group for group, _ in duties], dtype=np.intp)
    bound = bound_of(groups, series, begin_ms=judged.begin_ms, duty_of=duty_of).take(chosen)
    age_ms = np.array([duty.age_ms for _, duty in duties], dtype=np.int64)

    owner, cover = _served(judged, plan, publications, row_of, age_ms)
    # A beginning counts as a fact of its time.
    begun = np.repeat(np.arange(len(duties)), np.diff(bound.first))
    begins_ms = bound.spans[:, 0]
    served = merged_by_owner(
        np.concatenate((owner, begun)),
        np.concatenate((cover, np.column_stack((begins_ms, begins_ms + age_ms[begun])))),
        n_owners=len(duties),
    )
    unserved = complement(served)
    of, pieces = bound.cut(np.repeat(np.arange(len(duties)), np.diff(unserved.first)), unserved.spans)
    owner = np.repeat(np.arange(len(duties)), np.diff(unserved.first))[of]
    of, pieces = opening.cut(groups.pool[chosen][owner], pieces)
    owner = owner[of]
    begins = pieces[:, 0] <= to_ms
    overdue = merged_by_owner(owner[begins], pieces[begins], n_owners=len(duties))

    owner, pieces = np.repeat(np.arange(len(duties)), np.diff(overdue.first)), overdue.spans
    told = (pieces[:, 1] > from_ms) & (pieces[:, 0] < to_ms)
    owner, pieces = owner[told], pieces[told]
    until_now = np.column_stack((pieces[:, 0], np.minimum(pieces[:, 1], to_ms)))
    unpublished = _measured_within(judged, chosen[owner], until_now, age_ms[owner], sampled)
    end_ms = np.where(pieces[:, 1] > to_ms, FAR_MS, pieces[:, 1])
    return PublishedBlock(duties, bound, overdue, owner, pieces[:, 0], end_ms, unpublished)


def _served(
    judged: JudgedBlock,
    plan: Plan,
    publications: Records,
    row_of: Positions,
    age_ms: NDArray[np.int64],
) -> tuple[Positions, Spans]:
    """Duty and span of what publications of readings that are not known to be bad serve."""
    groups, block, book = judged.groups, judged.block, plan.book
    n_series, n_quantities = len(book.series), len(QUANTITIES)
    low, high = int(book.first[block.pool_from]), int(book.first[block.pool_to])
    # The duty of a series, and of the tests by hand of a pool and quantity.
    duty_of = np.full(n_series + len(book.pools) * n_quantities, -1, dtype=np.intp)
    duty_of[low:high] = row_of[groups.of_series]
    duty_of[n_series + (groups.pool + block.pool_from) * n_quantities + groups.quantity] = row_of
    owners, spans = [np.empty(0, dtype=np.intp)], [EMPTY]
    for first in range(0, len(publications), _ROWS_AT_ONCE):
        rows = publications[first : first + _ROWS_AT_ONCE]
        key = rows["series"].astype(np.intp)
        owner = duty_of[key]
        published_ms, measured_ms = rows["at_ms"].copy(), rows["measured_ms"].copy()
        wanted = owner >= 0
        probe = np.flatnonzero(wanted & (key < n_series))
        wanted[probe[_bad(judged, key[probe] - low, measured_ms[probe])]] = False
        if not wanted.all():
            owner, published_ms, measured_ms = owner[wanted], published_ms[wanted], measured_ms[wanted]
        until_ms = np.minimum(measured_ms, published_ms) + age_ms[owner]
        # A publication usually follows while the last one is in force: few spans are left of many.
        joined = _joined(owner, published_ms, until_ms)
        owners.append(joined[0])
        spans.append(joined[1])
    return np.concatenate(owners), np.concatenate(spans)


def _joined(owner: Positions, from_ms: Instants, until_ms: Instants) -> tuple[Positions, Spans]:
    """Spans of which none begins within those before it, by owner and begin; the same union, some may be empty."""
    start = keys(owner, from_ms)
    if (start[1:] < start[:-1]).any():
        order = np.argsort(start, kind="stable")
        start, owner, from_ms, until_ms = start[order], owner[order], from_ms[order], until_ms[order]
    reach = np.maximum.accumulate(keys(owner, np.maximum(until_ms, from_ms)))
    first = np.flatnonzero(np.append(True, start[1:] > reach[:-1])[: len(start)])
    latest = np.maximum.reduceat(until_ms, first) if len(first) else until_ms
    return owner[first], np.column_stack((from_ms[first], latest))


def _bad(judged: JudgedBlock, series: Positions, measured_ms: Instants) -> NDArray[np.bool_]:
    """Whether these are times of readings that are suspect or failed."""
    grid = judged.block.grid
    bad = np.zeros(len(series), dtype=np.bool_)
    there = np.flatnonzero((measured_ms >= grid.start_ms) & (measured_ms < grid.end_ms))
    since_ms = measured_ms[there] - grid.start_ms
    step = since_ms // grid.step_ms
    cell = series[there] * grid.n_steps + step
    flag = judged.flagged.flag.reshape(-1)[cell]
    # Few are: only of those it matters whether it is this reading that is in the cell.
    doubted = np.flatnonzero((flag != Flag.GOOD) & (flag != Flag.MISSING))
    offset_ms = since_ms[doubted] - step[doubted] * grid.step_ms
    bad[there[doubted]] = grid.offset_ms.reshape(-1)[cell[doubted]] == offset_ms
    return bad


def _measured_within(
    judged: JudgedBlock,
    group: Positions,
    pieces: Spans,
    age_ms: NDArray[np.int64],
    sampled: Mapping[int, Instants],
) -> NDArray[np.int64]:
    """How long in each piece a good result of its group was young enough; only the readings near it are looked at. [ms]"""
    owners, covers = [np.empty(0, dtype=np.intp)], [np.empty((0, 2), dtype=np.int64)]
    total = np.zeros(len(pieces), dtype=np.int64)
    tested = np.array(sorted(sampled), dtype=np.intp)
    for piece in np.flatnonzero(np.isin(group, tested)).tolist():
        at_ms = sampled[int(group[piece])]
        owners.append(np.full(len(at_ms), piece))
        covers.append(np.column_stack((at_ms, at_ms + age_ms[piece])))
    by_hand, tests = np.concatenate(owners), np.concatenate(covers)
    for first, after in _parts(judged, group, pieces, age_ms):
        part = slice(first, after)
        owner, at_ms = _readings_near(judged, group[part], pieces[part], age_ms[part])
        spans = np.column_stack((at_ms, at_ms + age_ms[part][owner]))
        own = (by_hand >= first) & (by_hand < after)
        cover = merged_by_owner(
            np.concatenate((owner, by_hand[own] - first)),
            np.concatenate((spans, tests[own])),
            n_owners=after - first,
        )
        every = np.arange(after - first)
        total[part] = length_before(cover, every, pieces[part, 1])
        total[part] -= length_before(cover, every, pieces[part, 0])
    return total


def _parts(
    judged: JudgedBlock, group: Positions, pieces: Spans, age_ms: NDArray[np.int64]
) -> Iterator[tuple[int, int]]:
    """Runs of pieces for which not too many cells are looked at together."""
    members = np.bincount(judged.groups.of_series, minlength=len(judged.groups))
    cells = ((pieces[:, 1] - pieces[:, 0] + age_ms) // judged.block.grid.step_ms + 2) * members[group]
    before = np.concatenate(([0], np.cumsum(cells)))
    first = 0
    while first < len(pieces):
        after = int(np.searchsorted(before, before[first] + _CELLS_AT_ONCE, side="right")) - 1
        after = min(max(after, first + 1), len(pieces))
        yield first, after
        first = after


def _readings_near(
    judged: JudgedBlock, group: Positions, pieces: Spans, age_ms: NDArray[np.int64]
) -> tuple[Positions, Instants]:
    """Of each piece the good readings of its group that may cover a part of it: the piece's number, and the time."""
    grid = judged.block.grid
    first_series = np.searchsorted(judged.groups.of_series, group, side="left")
    members = np.searchsorted(judged.groups.of_series, group, side="right") - first_series
    piece = np.repeat(np.arange(len(pieces)), members)
    series = np.arange(len(piece)) - np.repeat(np.cumsum(members) - members - first_series, members)
    from_step = np.clip((pieces[:, 0] - age_ms - grid.start_ms) // grid.step_ms, 0, grid.n_steps)[piece]
    to_step = np.clip((pieces[:, 1] - grid.start_ms) // grid.step_ms + 1, 0, grid.n_steps)[piece]
    length = np.maximum(to_step - from_step, 0)
    before = np.cumsum(length) - length
    cell = np.arange(int(length.sum())) + np.repeat(series * grid.n_steps + from_step - before, length)
    there = ~np.isnan(grid.value.reshape(-1)[cell])
    row, step = np.divmod(cell[there], max(grid.n_steps, 1))
    return np.repeat(piece, length)[there], grid.measured_at_ms(row, step)
