"""Columns of the tables of figures: compliance, punctuality, indicator."""

from collections.abc import Iterable
from typing import Any

import numpy as np

from analytics.compliance.account import ComplianceColumns
from analytics.compliance.punctuality import PunctualityColumns
from analytics.compliance.rows import table
from analytics.indicator.items import FORMULA
from analytics.offline.figures import DUTIES, IndicatorRow
from analytics.offline.plan import Plan
from analytics.offline.registered import QUANTITIES
from analytics.offline.tables import chosen

Columns = dict[str, Any]
_QUANTITY_NAMES = [quantity.value for quantity in QUANTITIES]


def compliance_columns(columns: ComplianceColumns, plan: Plan) -> Columns:
    """Rows of `compliance`; the quantity of a whole pool is empty."""
    named = table(columns)
    return {
        **named,
        "pool_id": chosen([pool.pool_id for pool in plan.book.pools], columns.pool),
        "quantity": chosen(_QUANTITY_NAMES, columns.quantity),
    }


def punctuality_columns(columns: PunctualityColumns, plan: Plan) -> Columns:
    """Rows of `punctuality`."""
    return {
        **table(columns),
        "pool_id": chosen([pool.pool_id for pool in plan.book.pools], columns.pool),
        "duty": chosen([duty.value for duty in DUTIES], columns.duty),
        "quantity": chosen(_QUANTITY_NAMES, columns.quantity),
        "punctuality": columns.punctuality,
    }


def indicator_columns(rows: Iterable[IndicatorRow], plan: Plan) -> Columns:
    """Rows of `indicator`: one `score`, then its deductions and what is left out."""
    found: list[tuple[Any, ...]] = []
    for row in rows:
        told = row.indicator
        key = (row.period.value, row.start, plan.book.pools[row.pool].pool_id, FORMULA)
        score = np.nan if told.score is None else told.score
        found.append((*key, "score", None, None, None, score, 100.0, None, None))
        found += [
            (
                *key,
                "deduction",
                one.item,
                one.loss.value,
                one.clause,
                one.points_lost,
                one.points_of,
                one.finding.en,
                one.finding.zh,
            )
            for one in told.deductions
        ]
        found += [
            (*key, "left_out", one.item, None, None, one.points, one.points, one.finding.en, one.finding.zh)
            for one in told.left_out
        ]
    names = (
        *("period", "start", "pool_id", "formula", "row", "item", "loss", "clause", "points", "points_of"),
        *("text_en", "text_zh"),
    )
    return {name: [row[place] for row in found] for place, name in enumerate(names)}
