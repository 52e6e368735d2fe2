"""From compliance and punctuality to the figures of the indicator's items. Pure."""

from collections.abc import Collection, Sequence
from dataclasses import dataclass

import numpy as np
from numpy.typing import NDArray

from analytics.compliance.account import ComplianceColumns, OccurrenceColumns
from analytics.compliance.local_days import Dates, Period
from analytics.compliance.punctuality import PunctualityColumns
from analytics.compliance.rows import WHOLE_POOL, Codes
from analytics.indicator.items import ORDER_QUANTITIES, Item, ItemKind
from analytics.indicator.points import Figures

Mask = NDArray[np.bool_]


@dataclass(frozen=True, slots=True)
class PoolFigures:
    """Figures of pools in periods; row i is pool ``pool[i]`` in the period from ``start[i]``."""

    period: Period
    pool: Codes
    start: Dates
    figures: Figures


def figures_of(
    items: Sequence[Item],
    *,
    compliance: ComplianceColumns,
    punctuality: PunctualityColumns,
    closures: OccurrenceColumns,
    quantities: Sequence[str],
    duties: Sequence[str],
    absent_is_silent: Collection[str] = ORDER_QUANTITIES,
) -> PoolFigures:
    """Figures of every pool and period that has open time.

    Parameters
    ----------
    items : sequence of Item
        Of the profile and kind of these pools; pools of another kind are to be asked for apart.
    compliance, punctuality, closures
        Of one kind of period; `compliance` with its rows of whole pools, which say when each was open; `closures` counts
        verified exceedances of closure limits.
    quantities, duties : sequence of str
        Name of each code.
    absent_is_silent : collection of str
        Quantities that count as silent where a pool has no rows of them: not measuring is no way to a good indicator.
        Other absent ones are not applicable.

    Raises
    ------
    ValueError
        If the columns are of different kinds of periods, or one speaks of a pool and period without open time.
    """
    if not compliance.period is punctuality.period is closures.period:
        raise ValueError(
            f"periods differ: {compliance.period}, {punctuality.period}, {closures.period}; sum them alike first"
        )
    whole = np.flatnonzero(compliance.quantity == WHOLE_POOL)
    whole = whole[np.lexsort((compliance.start[whole], compliance.pool[whole]))]
    pool, start, open_ms = compliance.pool[whole], compliance.start[whole], compliance.open_ms[whole]
    row_keys = _keys(pool, start)
    in_compliance = _rows(row_keys, compliance.pool, compliance.start)
    in_punctuality = _rows(row_keys, punctuality.pool, punctuality.start)
    in_closures = _rows(row_keys, closures.pool, closures.start)

    def summed(values: NDArray[np.int64], rows: NDArray[np.intp], chosen: Mask) -> NDArray[np.int64]:
        total = np.zeros(len(pool), dtype=np.int64)
        np.add.at(total, rows[chosen], values[chosen])
        return total

    figures = Figures.none(len(pool), items)
    for column, item in enumerate(items):
        if item.kind is ItemKind.DUTY:
            chosen = _named(punctuality.duty, duties, (str(item.duty),))
            figures.good_ms[:, column] = summed(punctuality.kept_ms, in_punctuality, chosen)
            figures.bad_ms[:, column] = summed(punctuality.overdue_ms, in_punctuality, chosen)
            figures.unverified_ms[:, column] = summed(punctuality.unverified_ms, in_punctuality, chosen)
            continue
        chosen = _named(compliance.quantity, quantities, item.quantities)
        in_standard_ms = summed(compliance.in_standard_ms, in_compliance, chosen)
        out_ms = summed(compliance.out_ms, in_compliance, chosen)
        if item.kind is ItemKind.CLOSURE:
            figures.good_ms[:, column] = in_standard_ms + out_ms
            chosen = _named(closures.quantity, quantities, item.quantities)
            figures.events[:, column] = summed(closures.occurrences, in_closures, chosen)
            continue
        if item.kind is ItemKind.WATER:
            figures.good_ms[:, column], figures.bad_ms[:, column] = in_standard_ms, out_ms
        else:
            figures.good_ms[:, column] = in_standard_ms + out_ms
        silent_ms = summed(compliance.silent_ms, in_compliance, chosen)
        for quantity in item.quantities:
            if quantity in absent_is_silent:
                of_it = _named(compliance.quantity, quantities, (quantity,))
                known = summed(np.ones_like(compliance.open_ms), in_compliance, of_it)
                silent_ms += np.where(known == 0, open_ms, 0)
        figures.silent_ms[:, column] = silent_ms
        figures.unverified_ms[:, column] = summed(compliance.unverified_ms, in_compliance, chosen)
    return PoolFigures(period=compliance.period, pool=pool, start=start, figures=figures)


def _named(codes: Codes, names: Sequence[str], wanted: Sequence[str]) -> Mask:
    """Where a code is of one of the names; `WHOLE_POOL` is of none."""
    return np.isin(codes, [code for code, name in enumerate(names) if name in wanted])


#: More than the days of any calendar, to put pool and day into one integer.
_DAYS = 2**32


def _keys(pool: Codes, start: Dates) -> NDArray[np.int64]:
    return pool * _DAYS + start.astype("datetime64[D]").astype(np.int64)


def _rows(row_keys: NDArray[np.int64], pool: Codes, start: Dates) -> NDArray[np.intp]:
    """Row of each (pool, start), which must be among the rows."""
    wanted = _keys(pool, start)
    found = np.searchsorted(row_keys, wanted)
    if len(wanted) and (
        not len(row_keys) or bool((row_keys[np.minimum(found, len(row_keys) - 1)] != wanted).any())
    ):
        raise ValueError("a pool and period have figures, but no open time among the rows of whole pools")
    return found
