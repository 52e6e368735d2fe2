"""The registered series, numbered by pool: which one a row belongs to, or why none. Pure."""

from collections.abc import Sequence
from dataclasses import dataclass

import numpy as np
from numpy.typing import NDArray

from analytics.offline.rows import Codes, Problem, Rows, Words
from analytics.spans import FAR_MS, Spans, merged
from gateway.contract.quantities import Quantity
from gateway.contract.readings import MANUAL_SENSOR
from gateway.contract.registry import Pool, Registry, Sensor
from ingest.store.records import STATUS_CODES, StatusCode

QUANTITIES = tuple(Quantity)
_QUANTITY_CODES = {quantity.value: code for code, quantity in enumerate(QUANTITIES)}
#: In place of a series: the implicit sensor of tests by hand, or none.
MANUAL = -2
NONE = -1
#: Combinations of texts that are looked up before the rows; more than this (and than rows) are not.
_MOST_CELLS = 100_000
_ROWS_AT_ONCE = 65_536


@dataclass(frozen=True, slots=True)
class RegisteredSeries:
    """One sensor's measuring of one quantity of a pool: the newest entry of the registry, and all of them."""

    pool: int
    quantity: int
    sensor: Sensor
    entries: tuple[Sensor, ...]

    @property
    def spans(self) -> Spans:
        """When a sensor of this name was registered, merged. [ms]"""
        return merged(
            [
                (
                    -FAR_MS if one.from_ms is None else one.from_ms,
                    FAR_MS if one.until_ms is None else one.until_ms,
                )
                for one in self.entries
            ]
        )


@dataclass(frozen=True, slots=True)
class Known:
    """Rows as numbers of what is registered; shape (n,) each.

    `series`: number of the series, `MANUAL` or `NONE`. `status`: `StatusCode`, None if all are normal. `problem`:
    `Problem`, None if no row has one.
    """

    series: Codes
    status: NDArray[np.uint8] | None
    problem: NDArray[np.uint8] | None
    _pool: tuple[Codes, Codes]
    _quantity: tuple[Codes, Codes]

    def pool(self, rows: NDArray[np.intp]) -> Codes:
        """Number of the pool of some rows; `NONE` for an unknown one."""
        code, table = self._pool
        return table[code[rows]]

    def quantity(self, rows: NDArray[np.intp]) -> Codes:
        """Number of the quantity of some rows; `NONE` for an unknown one."""
        code, table = self._quantity
        return table[code[rows]]


class SeriesBook:
    """The series of a registry: in the order of its pools, within a pool by quantity, then by sensor.

    Attributes
    ----------
    pools : tuple of Pool
    series : tuple of RegisteredSeries
        Ascending by pool, then quantity: a run of pools is a run of series.
    first : ndarray of intp, shape (pools + 1,)
        The series of pool i are ``first[i]`` to ``first[i + 1]``.
    """

    def __init__(self, registry: Registry) -> None:
        self.pools: tuple[Pool, ...] = tuple(registry.pools.values())
        found: list[RegisteredSeries] = []
        for number, pool in enumerate(self.pools):
            entries: dict[tuple[int, str], list[Sensor]] = {}
            for sensor in pool.sensors:
                key = (_QUANTITY_CODES[sensor.quantity.value], sensor.sensor_id)
                entries.setdefault(key, []).append(sensor)
            found += [
                RegisteredSeries(number, key[0], entries[key][-1], tuple(entries[key]))
                for key in sorted(entries)
            ]
        self.series = tuple(found)
        self.pool_of = np.array([one.pool for one in found], dtype=np.intp)
        self.quantity_of = np.array([one.quantity for one in found], dtype=np.intp)
        self.first = np.searchsorted(self.pool_of, np.arange(len(self.pools) + 1)).astype(np.intp)
        self._pool_code = {pool.pool_id: number for number, pool in enumerate(self.pools)}
        self._slots(found)

    def _slots(self, found: Sequence[RegisteredSeries]) -> None:
        """Tables from (pool, sensor) to a slot, and from (slot, quantity) to the series.

        A sensor's name that one pool alone has leads to its slot by itself; names that several pools have are columns
        of a table by pool. So no table has a cell for each pool and each name.
        """
        slots: dict[tuple[int, str], int] = {}
        owners: dict[str, list[int]] = {}
        for one in found:
            key = (one.pool, one.sensor.sensor_id)
            if key not in slots:
                slots[key] = len(slots)
                owners.setdefault(one.sensor.sensor_id, []).append(one.pool)
        self._only: dict[str, int] = {}
        self._shared: dict[str, int] = {}
        for name, pools in owners.items():
            if len(pools) == 1:
                self._only[name] = slots[pools[0], name]
            else:
                self._shared[name] = len(self._shared)
        self._slot_table = np.full((len(self.pools) + 1, len(self._shared) + 1), NONE, dtype=np.int32)
        self._slot_pool = np.full(len(slots) + 1, NONE, dtype=np.int32)
        self._series_table = np.full((len(slots) + 1, len(QUANTITIES) + 1), NONE, dtype=np.int32)
        for (pool, name), slot in slots.items():
            self._slot_pool[slot] = pool
            if name in self._shared:
                self._slot_table[pool, self._shared[name]] = slot
        for number, one in enumerate(found):
            self._series_table[slots[one.pool, one.sensor.sensor_id], one.quantity] = number

    def known(self, rows: Rows) -> Known:
        """Look the rows up; a faulty one's first fault is its problem."""
        pool = _table([self._pool_code.get(word, NONE) for word in rows.pool.words])
        quantity = _table([_QUANTITY_CODES.get(word, NONE) for word in rows.quantity.words])
        series = self._series(rows, pool, quantity)
        by_hand = series == MANUAL if MANUAL_SENSOR in rows.sensor.words else None
        status, bad_status = _statuses(rows, by_hand)
        no_value = None
        if rows.value_problem is not None:
            no_value = rows.value_problem == Problem.NO_VALUE
            if status is not None:
                no_value &= status <= StatusCode.LABORATORY
        problem = None
        if (
            bool((series == NONE).any())
            or bad_status is not None
            or rows.at_problem is not None
            or rows.value_problem is not None
        ):
            problem = _problems(
                rows, pool[rows.pool.code], quantity[rows.quantity.code], series, bad_status, no_value
            )
            problem = problem if problem.any() else None
        return Known(series, status, problem, (rows.pool.code, pool), (rows.quantity.code, quantity))

    def _series(self, rows: Rows, pool: Codes, quantity: Codes) -> Codes:
        """Series of the rows; `pool` and `quantity` by word."""
        shape = (len(pool), len(rows.sensor.words) + 1, len(quantity))
        n_cells = shape[0] * shape[1] * shape[2]
        if n_cells > max(_MOST_CELLS, len(rows)):
            return self._series_of(
                pool[rows.pool.code], rows.sensor, rows.sensor.code, quantity[rows.quantity.code]
            )
        # The texts of a batch are few: each combination is looked up once.
        cell = np.arange(n_cells)
        cell, of_quantity = np.divmod(cell, shape[2])
        of_pool, of_sensor = np.divmod(cell, shape[1])
        of_sensor[of_sensor == shape[1] - 1] = NONE
        table = self._series_of(pool[of_pool], rows.sensor, of_sensor.astype(np.int32), quantity[of_quantity])
        found = np.empty(len(rows), dtype=np.int32)
        for first in range(0, len(rows), _ROWS_AT_ONCE):
            part = slice(first, first + _ROWS_AT_ONCE)
            place = rows.pool.code[part] % shape[0] if rows.pool.absent else rows.pool.code[part].copy()
            place *= shape[1]
            place += rows.sensor.code[part] % shape[1] if rows.sensor.absent else rows.sensor.code[part]
            place *= shape[2]
            place += rows.quantity.code[part] % shape[2] if rows.quantity.absent else rows.quantity.code[part]
            np.take(table, place.astype(np.intp), out=found[part], mode="clip")
        return found

    def _series_of(self, pool: Codes, sensor: Words, sensor_code: Codes, quantity: Codes) -> Codes:
        slot = _table([self._only.get(word, NONE) for word in sensor.words])[sensor_code]
        if self._shared:
            column = _table([self._shared.get(word, NONE) for word in sensor.words])[sensor_code]
            # A column of -1 is the last one, which has no slot; so is a pool of -1 the last row.
            shared = self._slot_table[pool, column]
            slot = np.maximum(slot, shared) if self._only else shared
        if self._only:
            slot = np.where(self._slot_pool[slot] == pool, slot, NONE)
        series = self._series_table[slot, quantity]
        if MANUAL_SENSOR in sensor.words:
            by_hand = (
                _table([int(word == MANUAL_SENSOR) for word in sensor.words], absent=0)[sensor_code] == 1
            )
            series = np.where(by_hand & (pool != NONE) & (quantity != NONE), MANUAL, series)
        return series.astype(np.int32, copy=False)


def _table(numbers: Sequence[int], *, absent: int = NONE) -> Codes:
    """Numbers by word; a code of -1 takes the last."""
    return np.array([*numbers, absent], dtype=np.int32)


def _statuses(
    rows: Rows, by_hand: NDArray[np.bool_] | None
) -> tuple[NDArray[np.uint8] | None, NDArray[np.bool_] | None]:
    """Status codes, and which are unknown. A test by hand without another status is one: nothing else is."""
    bad, status = None, None
    if rows.status is not None:
        known = [STATUS_CODES.get(word, NONE) for word in rows.status.words]
        if any(code != StatusCode.NORMAL for code in known):
            code = _table(known, absent=StatusCode.NORMAL)[rows.status.code]
            bad = code == NONE
            bad = bad if bad.any() else None
            status = code.astype(np.uint8)
    if by_hand is not None and by_hand.any():
        status = np.zeros(len(rows), dtype=np.uint8) if status is None else status
        status[by_hand & (status == StatusCode.NORMAL)] = StatusCode.MANUAL
    return status, bad


def _problems(
    rows: Rows,
    pool: Codes,
    quantity: Codes,
    series: Codes,
    bad_status: NDArray[np.bool_] | None,
    no_value: NDArray[np.bool_] | None,
) -> NDArray[np.uint8]:
    problem = np.zeros(len(rows), dtype=np.uint8)

    def note(found: NDArray[np.bool_], what: NDArray[np.uint8] | Problem) -> None:
        where = found & (problem == 0)
        problem[where] = what[where] if isinstance(what, np.ndarray) else what

    note(rows.pool.code == -1, Problem.NO_POOL)
    note(pool == NONE, Problem.UNKNOWN_POOL)
    note(rows.quantity.code == -1, Problem.NO_QUANTITY)
    note(quantity == NONE, Problem.UNKNOWN_QUANTITY)
    note(rows.sensor.code == -1, Problem.NO_SENSOR)
    note(series == NONE, Problem.UNKNOWN_SENSOR)
    if bad_status is not None:
        note(bad_status, Problem.UNKNOWN_STATUS)
    if rows.at_problem is not None:
        note(rows.at_problem > 0, rows.at_problem)
    if rows.value_problem is not None:
        note((rows.value_problem > 0) & (rows.value_problem != Problem.NO_VALUE), rows.value_problem)
    if no_value is not None:
        note(no_value, Problem.NO_VALUE)
    return problem
