"""Readings and publications out of InfluxDB: long rows folded to columns by series."""

from typing import Any, NamedTuple

import numpy as np
from numpy.typing import NDArray

from ingest.store.influx_answers import answer_columns, to_ms
from ingest.store.influx_connection import InfluxConnection
from ingest.store.influx_lines import NS_PER_MS
from ingest.store.influx_questions import first_instant, newest_by_field, pool_numbers, pool_values
from ingest.store.records import ReadingColumns, SeriesKey


class Facts(NamedTuple):
    """One series: its instants, sorted; value NaN where null; the rest by name, all of shape (n,)."""

    at_ns: NDArray[np.int64]
    value: NDArray[np.float64]
    numbers: dict[str, NDArray[np.int64]]


class _Column(NamedTuple):
    at_ns: NDArray[np.int64]
    value: NDArray[Any]

    def at(self, wanted_ns: NDArray[np.int64], missing: NDArray[Any]) -> NDArray[Any]:
        """Values at some instants; of `missing` where there is none."""
        if not len(self.at_ns):
            return missing
        place = np.minimum(np.searchsorted(self.at_ns, wanted_ns), len(self.at_ns) - 1)
        return np.where(self.at_ns[place] == wanted_ns, self.value[place], missing)


def fold_series(values: bytes, numbers: bytes, *names: str) -> dict[SeriesKey, Facts]:
    """Series of two answers, of floats and of integers.

    Parameters
    ----------
    values, numbers : bytes
        Answers to `pool_values` and `pool_numbers`, whose instants each occur once in a field.
    names : str
        Numbers to give beside ``status``: a series' own where it has one, else the line's.
    """
    floats, integers = _by_field(values, "float"), _by_field(numbers, "int")
    nothing = _Column(np.zeros(0, dtype=np.int64), np.zeros(0, dtype=np.int64))
    keys = set(floats) | {name.rpartition("/")[0] for name in integers if name.endswith("/null")}
    found = {}
    for name in sorted(keys):
        null = integers.get(f"{name}/null", nothing)
        own = floats.get(name, _Column(nothing.at_ns, np.zeros(0)))
        at_ns = np.union1d(own.at_ns, null.at_ns) if len(null.at_ns) else own.at_ns
        zeros = np.zeros(len(at_ns), dtype=np.int64)
        value = own.at(at_ns, np.full(len(at_ns), np.nan))
        value = np.where(null.at(at_ns, zeros) > 0, np.nan, value)
        columns = {"status": integers.get(f"{name}/status", nothing).at(at_ns, zeros)}
        for number in names:
            of_line = integers.get(number, nothing).at(at_ns, zeros)
            columns[number] = integers.get(f"{name}/{number}", nothing).at(at_ns, of_line)
        sensor_id, quantity = name.split("/")
        found[SeriesKey(sensor_id, quantity)] = Facts(at_ns, value, columns)
    return found


def _by_field(answer: bytes, kind: str) -> dict[str, _Column]:
    at_ns, (codes, fields), value = answer_columns(answer, _time="time", _field="name", _value=kind)
    # A stable sort by field and time: InfluxDB gives each field in the order of time already.
    order = np.lexsort((at_ns, codes))
    codes, at_ns, value = codes[order], at_ns[order], value[order]
    bounds = np.searchsorted(codes, np.arange(len(fields) + 1))
    return {
        name: _Column(at_ns[bounds[code] : bounds[code + 1]], value[bounds[code] : bounds[code + 1]])
        for code, name in enumerate(fields)
    }


def read_readings(
    connection: InfluxConnection, bucket: str, pool_id: str, *, from_ms: int, to_ms: int
) -> dict[SeriesKey, ReadingColumns]:
    """Readings of a pool within [from, to), by series; series without one are left out."""
    if from_ms >= to_ms:
        return {}
    span = (bucket, "reading", pool_id, from_ms * NS_PER_MS, to_ms * NS_PER_MS)
    values, numbers = connection.ask(pool_values(*span)), connection.ask(pool_numbers(*span))
    return {
        key: ReadingColumns(
            measured_at_ms=to_ms_of(facts),
            value=facts.value,
            status=facts.numbers["status"].astype(np.uint8),
            received_at_ms=facts.numbers["received_at"],
            stored_at_ms=facts.numbers["stored_at"],
        )
        for key, facts in fold_series(values, numbers, "received_at", "stored_at").items()
    }


def to_ms_of(facts: Facts) -> NDArray[np.int64]:
    """Instants of a series. [ms since the epoch]"""
    return to_ms(facts.at_ns)


def read_latest(connection: InfluxConnection, bucket: str, pool_id: str) -> dict[SeriesKey, ReadingColumns]:
    """The newest reading of each series of a pool: arrays of shape (1,)."""
    instants, fields = answer_columns(
        connection.ask(newest_by_field(bucket, pool_id)), _time="time", _field="text"
    )
    newest: dict[SeriesKey, int] = {}
    for at_ms, name in zip(to_ms(instants).tolist(), fields, strict=True):
        sensor_id, quantity = name.removesuffix("/null").split("/")
        key = SeriesKey(sensor_id, quantity)
        newest[key] = max(newest.get(key, at_ms), at_ms)
    found: dict[SeriesKey, ReadingColumns] = {}
    for at_ms in sorted(set(newest.values())):  # nearly always one: a pool's sensors are read together
        there = read_readings(connection, bucket, pool_id, from_ms=at_ms, to_ms=at_ms + 1)
        found |= {key: columns for key, columns in there.items() if newest.get(key) == at_ms}
    return dict(sorted(found.items()))


def read_first_ms(connection: InfluxConnection, bucket: str, pool_id: str) -> int | None:
    """`measured_at` of the oldest reading of a pool; None if it has none."""
    (instants,) = answer_columns(connection.ask(first_instant(bucket, pool_id)), _time="time")
    return int(to_ms(instants).min()) if len(instants) else None
