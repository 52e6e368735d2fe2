"""Chlorine readings of a block that the pH of their pool makes doubtful. Pure."""

from collections.abc import Sequence

import numpy as np
from numpy.typing import NDArray

from analytics.doubt import NO_CHANNEL, Channel, doubtful_chlorine
from analytics.exceedance import ExceedanceColumns
from analytics.grid import Grid
from analytics.offline.registered import QUANTITIES, RegisteredSeries
from analytics.screening import stretches
from analytics.standards.limits import Tier
from analytics.standards.profile import KindRules
from gateway.contract.quantities import Quantity

Positions = NDArray[np.intp]
#: Finer than any probe, coarser than what a float32 of two digits before the point cannot hold.
_DECIMALS = 5


def doubtful_cells(grid: Grid, series: Sequence[RegisteredSeries], rules: Sequence[KindRules]) -> Positions:
    """Cells of a grid of good readings, ascending, as flat indices; `rules` by series.

    Only what follows a pH outside its limit is looked at, as long as that pH may be in force.
    """
    rows: dict[int, dict[Quantity, list[int]]] = {}
    for row, one in enumerate(series):
        rows.setdefault(one.pool, {}).setdefault(QUANTITIES[one.quantity], []).append(row)
    found = [np.empty(0, dtype=np.intp)]
    for of_quantity in rows.values():
        probes = of_quantity.get(Quantity.FREE_CHLORINE_MG_L, [])
        if not probes or Quantity.PH not in of_quantity:
            continue
        # Of several probes the first counts, as it does live.
        ph_row = of_quantity[Quantity.PH][0]
        temp_row = of_quantity.get(Quantity.WATER_TEMP_C, [None])[0]
        near, before = _near(grid, ph_row, rules[ph_row])
        if not len(near):
            continue
        ph = _channel(grid, ph_row, near)
        temp = NO_CHANNEL if temp_row is None else _channel(grid, temp_row, before)
        for row in probes:
            step = near[~np.isnan(grid.value[row, near])]
            doubtful = doubtful_chlorine(rules[row], _channel(grid, row, step), ph=ph, water_temp=temp)
            found.append(row * grid.n_steps + step[doubtful])
    return np.sort(np.concatenate(found))


def _near(grid: Grid, row: int, rules: KindRules) -> tuple[Positions, Positions]:
    """Steps in which a pH outside a limit may be in force; and these with those before in which a value may be."""
    value = grid.value[row]
    out = np.zeros(grid.n_steps, dtype=np.bool_)
    for limit in rules.limits:
        if limit.quantity == Quantity.PH and limit.tier is Tier.OPERATING:
            out |= value < (-np.inf if limit.low is None else limit.low)
            out |= value > (np.inf if limit.high is None else limit.high)
    first, last = stretches(np.flatnonzero(out))
    if not len(first):
        return first, first
    out_steps = np.flatnonzero(out)
    reach = rules.online_age_ms(Quantity.PH) // grid.step_ms + 1
    before = rules.online_age_ms(Quantity.WATER_TEMP_C) // grid.step_ms + 1
    near, earlier = np.zeros(grid.n_steps, dtype=np.bool_), np.zeros(grid.n_steps, dtype=np.bool_)
    for start, end in zip(out_steps[first].tolist(), out_steps[last].tolist(), strict=True):
        near[start : end + reach + 1] = True
        earlier[max(start - before, 0) : end + reach + 1] = True
    return np.flatnonzero(near), np.flatnonzero(earlier)


def _channel(grid: Grid, row: int, step: Positions) -> Channel:
    step = step[~np.isnan(grid.value[row, step])]
    # A float32 of 7.8 is 7.8000002: rounded, so that a value on a limit stays on it.
    value = np.round(grid.value[row, step].astype(np.float64), _DECIMALS)
    return Channel(grid.measured_at_ms(np.array([row]), step), value)


def in_doubt(grid: Grid, cells: Positions, found: ExceedanceColumns) -> NDArray[np.bool_]:
    """Which exceedances have a doubtful reading of their series within them; shape (k,)."""
    row, step = np.divmod(cells, max(grid.n_steps, 1))
    at_ms = grid.measured_at_ms(row, step)
    # Cells ascend by series and time, so both ends are found in one sorted list of both.
    key = (row * (grid.n_steps + 2) + 1) * grid.step_ms + (at_ms - grid.start_ms)

    def place(at: NDArray[np.int64]) -> Positions:
        within = np.clip(at - grid.start_ms, -grid.step_ms, (grid.n_steps + 1) * grid.step_ms - 1)
        position: Positions = np.searchsorted(
            key, (found.series * (grid.n_steps + 2) + 1) * grid.step_ms + within
        )
        return position

    return place(found.end_ms) > place(found.start_ms)
