"""Open time in and out of standard, unverified and silent, and punctuality, by day, month and season. Pure.

At each open instant a quantity of a pool is exactly one of, the first that holds:

1. *silent*: no reading that counts is young enough. Silence is never compliance, and hides what was before it;
2. *out*: in an exceedance of a binding operating limit that a good reading vouches for;
3. *unverified*: in an exceedance that nobody vouches for any more, or judged by suspect readings: neither a pass nor a
   violation;
4. *in standard*.

So open = in standard + out + unverified + silent, to the millisecond. A pool is the worst of the quantities that
decide: out if one is out, else silent if one is silent (a suspect reading of one quantity must not excuse the silence
of another), else unverified if one is, else in standard. A deciding quantity that is not monitored at all is silent.
"""

from collections.abc import Sequence
from dataclasses import dataclass

import numpy as np
from numpy.typing import NDArray

from analytics.compliance.local_days import Dates, Period, Sessions
from analytics.compliance.rows import WHOLE_POOL, Codes, Durations, Pieces, check_groups, joined
from analytics.ragged import Owners, RaggedSpans
from analytics.ragged_lengths import REACH_MS, by_new_owner, merged_by_owner, union, without
from analytics.spans import Instants, Spans


@dataclass(frozen=True, slots=True)
class StandardSpans:
    """What is known of each group, one quantity of one pool; each of shape (groups,), closed time may be in them.

    They may overlap: the order in the module's first lines decides. `unmeasured` is where no good reading is young
    enough; silence and the time judged by suspect readings lie in it.
    """

    out: RaggedSpans
    unverified: RaggedSpans
    silent: RaggedSpans
    unmeasured: RaggedSpans


def standard_spans(
    *,
    n_groups: int,
    exceedance_group: Owners,
    exceedances: Spans,
    unverified_since_ms: Instants,
    lapse_group: Owners,
    lapses: Spans,
    suspect_group: Owners,
    suspect: Spans,
) -> StandardSpans:
    """Sort exceedances, lapses and suspect readings of many groups into what each instant may be called.

    Parameters
    ----------
    n_groups : int
        Number of groups (pool, quantity); several sensors of one quantity are one group, and the worst counts.
    exceedance_group, exceedances, unverified_since_ms : ndarray, shapes (n,), (n, 2), (n,)
        Of binding operating limits only: group, interval (FAR_MS: not ended), and from when nobody vouches for it
        (FAR_MS: verified to its end). [ms]
    lapse_group, lapses : ndarray, shapes (m,), (m, 2)
        Where no good reading is young enough: lapses of online monitoring. [ms]
    suspect_group, suspect : ndarray, shapes (k,), (k, 2)
        What suspect or failed readings cover, from their time on. A lapse in it is not silent, it is unverified. [ms]
    """
    unmeasured = merged_by_owner(lapse_group, lapses, n_owners=n_groups)
    doubted = merged_by_owner(suspect_group, suspect, n_owners=n_groups)
    vouched = np.minimum(exceedances[:, 1], np.maximum(unverified_since_ms, exceedances[:, 0]))
    out = merged_by_owner(exceedance_group, np.column_stack((exceedances[:, 0], vouched)), n_owners=n_groups)
    unvouched = merged_by_owner(
        exceedance_group, np.column_stack((vouched, exceedances[:, 1])), n_owners=n_groups
    )
    return StandardSpans(
        out=out,
        unverified=union([unvouched, doubted]),
        silent=without(unmeasured, doubted),
        unmeasured=unmeasured,
    )


def covered(
    *, series: Owners, measured_at_ms: Instants, chosen: NDArray[np.bool_], age_ms: Durations
) -> tuple[NDArray[np.int64], Spans]:
    """What chosen readings cover: each until the next reading of its series, at most for its allowed age.

    For what suspect, failed or doubtful readings make unverified.

    Parameters
    ----------
    series, measured_at_ms, chosen : ndarray, shape (n,)
        Every reading that has a time, ascending by series and time; which of them are meant. [ms]
    age_ms : ndarray of int64, shape (series,)
        Allowed age of a reading of each series. [ms]

    Returns
    -------
    series : ndarray of int64, shape (k,)
    spans : ndarray of int64, shape (k, 2)
        One for each chosen reading, not merged; empty where the next reading has the same time. [ms]
    """
    until = measured_at_ms + age_ms[series]
    follows = np.flatnonzero(series[1:] == series[:-1])
    until[follows] = np.minimum(until[follows], measured_at_ms[follows + 1])
    rows = np.flatnonzero(chosen)
    return series[rows].astype(np.int64), np.column_stack((measured_at_ms[rows], until[rows]))


@dataclass(frozen=True, slots=True)
class ComplianceColumns:
    """Open time of (pool, quantity) in periods, one row each; only periods with open time. Columns of shape (rows,).

    Attributes
    ----------
    period : Period
        What the rows are.
    start : ndarray of datetime64[D]
        First local day of the period.
    pool, quantity : ndarray of int64
        The codes given; quantity is `WHOLE_POOL` for the pool by its deciding quantities.
    open_ms, measured_ms : ndarray of int64
        Open time, and what of it a good reading is young enough for (for a pool: of each deciding quantity). [ms]
    in_standard_ms, out_ms, unverified_ms, silent_ms : ndarray of int64
        The parts of `open_ms`; their sum is exactly that. [ms]
    """

    period: Period
    start: Dates
    pool: Codes
    quantity: Codes
    open_ms: Durations
    measured_ms: Durations
    in_standard_ms: Durations
    out_ms: Durations
    unverified_ms: Durations
    silent_ms: Durations


def compliance(
    open_time: Sessions, *, pool: Codes, quantity: Codes, spans: StandardSpans, deciding: Sequence[int]
) -> ComplianceColumns:
    """Compliance of each group, and of each pool, on each local day with open time.

    Parameters
    ----------
    open_time : Sessions
        Of all pools; a pool's code is its place in it.
    pool, quantity : ndarray of int64, shape (groups,)
        Which pool and which quantity each group is; no pair twice.
    spans : StandardSpans, of the groups
        What is known of each.
    deciding : sequence of int
        Codes of the quantities that decide what the pool is; of order no. 17 those are free chlorine, pH and water
        temperature, the last of which has no binding limit and can only be silent, unverified or in standard.

    Returns
    -------
    columns : ComplianceColumns
        By group and day; then, with `WHOLE_POOL` as quantity, by pool and day.

    Raises
    ------
    ValueError
        If a (pool, quantity) is given twice, or a pool is not in `open_time`.
    """
    check_groups(open_time, pool, quantity)
    heard_out = without(spans.out, spans.silent)
    not_shown = union([spans.silent, spans.out])
    not_in = union([not_shown, spans.unverified])
    groups = _compliance_rows(
        Pieces.of(open_time, pool),
        pool=pool,
        quantity=quantity,
        bad=(spans.silent, not_shown, not_in),
        first_is_silent=True,
        unmeasured=spans.unmeasured,
    )
    every = np.arange(open_time.n_pools, dtype=np.int64)
    decides = np.where(np.isin(quantity, np.asarray(deciding, dtype=np.int64)), pool, -1)
    absent = _never_measured(pool[decides >= 0], n_deciding=len(set(deciding)), n_pools=len(every))

    def of_pools(of_groups: RaggedSpans) -> RaggedSpans:
        return by_new_owner(of_groups, decides, n_owners=len(every))

    pools = _compliance_rows(
        Pieces.of(open_time, every),
        pool=every,
        quantity=np.full(len(every), WHOLE_POOL, dtype=np.int64),
        bad=(
            of_pools(heard_out),
            union([of_pools(not_shown), absent]),
            union([of_pools(not_in), absent]),
        ),
        first_is_silent=False,
        unmeasured=union([of_pools(spans.unmeasured), absent]),
    )
    return joined(groups, pools)


def _never_measured(pool: Codes, *, n_deciding: int, n_pools: int) -> RaggedSpans:
    """All time of the pools that lack a deciding quantity."""
    lacking = np.flatnonzero(np.bincount(pool, minlength=n_pools) < n_deciding)
    always = np.tile(np.array([[-REACH_MS, REACH_MS]], dtype=np.int64), (len(lacking), 1))
    return merged_by_owner(lacking, always, n_owners=n_pools)


def _compliance_rows(
    pieces: Pieces,
    *,
    pool: Codes,
    quantity: Codes,
    bad: tuple[RaggedSpans, RaggedSpans, RaggedSpans],
    first_is_silent: bool,
    unmeasured: RaggedSpans,
) -> ComplianceColumns:
    """Rows from three nested sets of spans: what the second adds to the first is the second class, and so on."""
    owner, open_ms = pieces.owner[pieces.runs], pieces.open_ms()
    first, second, third = (pieces.length(spans) for spans in bad)
    added = second - first
    return ComplianceColumns(
        period=Period.DAY,
        start=pieces.day[pieces.runs],
        pool=pool[owner],
        quantity=quantity[owner],
        open_ms=open_ms,
        measured_ms=open_ms - pieces.length(unmeasured),
        in_standard_ms=open_ms - third,
        out_ms=added if first_is_silent else first,
        unverified_ms=third - second,
        silent_ms=first if first_is_silent else added,
    )


@dataclass(frozen=True, slots=True)
class OccurrenceColumns:
    """How often something began in open time, one row for each (pool, quantity) and period; columns of shape (rows,)."""

    period: Period
    start: Dates
    pool: Codes
    quantity: Codes
    occurrences: NDArray[np.int64]


def occurrences(
    open_time: Sessions, *, pool: Codes, quantity: Codes, spans: RaggedSpans
) -> OccurrenceColumns:
    """How many spans of each group, cut by session, begin on each local day with open time; rows with none too.

    For exceedances of closure limits: with the spans of `StandardSpans.out` of those limits, `pool` and `quantity` as
    there, several sensors that exceed at once count once.
    """
    check_groups(open_time, pool, quantity)
    pieces = Pieces.of(open_time, pool)
    owner = pieces.owner[pieces.runs]
    return OccurrenceColumns(
        period=Period.DAY,
        start=pieces.day[pieces.runs],
        pool=pool[owner],
        quantity=quantity[owner],
        occurrences=pieces.begun(spans),
    )
