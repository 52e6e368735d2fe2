"""Quantities of pools that have sensors, and when a duty can be asked for of them. Pure."""

from collections.abc import Callable, Sequence
from dataclasses import dataclass

import numpy as np
from numpy.typing import NDArray

from analytics.offline.registered import RegisteredSeries
from analytics.ragged import RaggedSpans
from analytics.spans import FAR_MS, merged
from analytics.standards.profile import Duty

Positions = NDArray[np.intp]


@dataclass(frozen=True, slots=True)
class Groups:
    """Quantities of pools that have sensors, one a row: pool, quantity; and the group of each series.

    Pools and series count within a block.
    """

    pool: Positions
    quantity: Positions
    of_series: Positions

    def __len__(self) -> int:
        return len(self.pool)


def groups_of(pool_of: Positions, quantity_of: Positions) -> Groups:
    """Series are ascending by pool and quantity, so that those of a group stand together."""
    new = np.ones(len(pool_of), dtype=np.bool_)
    new[1:] = (np.diff(pool_of) != 0) | (np.diff(quantity_of) != 0)
    return Groups(pool_of[new], quantity_of[new], (np.cumsum(new) - 1).astype(np.intp))


def bound_of(
    groups: Groups,
    series: Sequence[RegisteredSeries],
    *,
    begin_ms: NDArray[np.int64],
    duty_of: Callable[[int, int], Duty | None],
) -> RaggedSpans:
    """By group, when a sensor is registered and the pool has begun; for a duty, while that is in force.

    Parameters
    ----------
    groups : Groups
    series : sequence of RegisteredSeries
        Of the block.
    begin_ms : ndarray of int64, shape (pools of the block,)
        FAR_MS: the pool has not begun. [ms]
    duty_of : callable
        The duty of a pool of the registry and a quantity; None for no duty.
    """
    spans: list[list[tuple[int, int]]] = [[] for _ in range(len(groups))]
    for row, one in enumerate(series):
        group = int(groups.of_series[row])
        low, high = int(begin_ms[groups.pool[group]]), FAR_MS
        duty = duty_of(one.pool, one.quantity)
        if duty is not None:
            low = max(low, -FAR_MS if duty.from_ms is None else duty.from_ms)
            high = min(high, FAR_MS if duty.to_ms is None else duty.to_ms)
        spans[group] += [(max(start, low), min(end, high)) for start, end in one.spans.tolist()]
    return RaggedSpans.of([merged(np.array(of_group, dtype=np.int64).reshape(-1, 2)) for of_group in spans])
