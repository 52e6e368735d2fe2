"""A recorded CSV file and its map → readings. Rows are streamed; what cannot be read is reported, and the rest goes on."""

import csv
import tomllib
from collections.abc import Iterator
from dataclasses import dataclass, field
from enum import StrEnum
from pathlib import Path
from statistics import median
from typing import Annotated
from zoneinfo import ZoneInfo, ZoneInfoNotFoundError

import msgspec
from msgspec import Meta

from gateway.contract.quantities import Quantity
from gateway.contract.readings import Id, Reading, ReadingStatus
from gateway.contract.times import format_timestamp
from gateway.errors import InputError
from gateway.recorded_times import RecordedTimes
from gateway.units import conversion
from gateway.zeros import ZeroWatch

#: Most problems that are kept with their row; all are counted.
_MOST_PROBLEMS = 1000
#: A step of an interval not given in the map: the usual one of this many rows, half as long again for its jitter.
_ROWS_FOR_INTERVAL = 1000
_JITTER = 1.5
_UNKNOWN_INTERVAL_S = 60.0


class ZeroMeaning(StrEnum):
    """What an exact zero of a column is: the probe lost its signal, or the water has none."""

    DROPOUT = "dropout"
    VALUE = "value"


class ColumnMap(msgspec.Struct, frozen=True, forbid_unknown_fields=True):
    """One column: whose reading it is, and its unit (default: the quantity's own).

    `zero` says what every exact zero of the column is. Without it a zero of free chlorine is a dropout when the reading
    before was above 0.2 mg/L within one interval, and then the whole run of zeros is; else it is a value.
    """

    column: str
    sensor_id: Id
    quantity: Quantity
    unit: str | None = None
    zero: ZeroMeaning | None = None


class ReplayMap(msgspec.Struct, frozen=True, forbid_unknown_fields=True):
    """The map of a recording. `interval_s`: how often the sensors were read; default: as the rows mostly follow."""

    pool_id: Id
    gateway_id: Id
    time_column: str
    time_format: str
    time_zone: str
    columns: Annotated[list[ColumnMap], Meta(min_length=1)]
    interval_s: Annotated[float, Meta(gt=0)] | None = None


@dataclass(slots=True)
class ReplayResult:
    """What a replay did. `problems` names rows and columns that could not be read; `pending` waits for receipts."""

    rows: int = 0
    readings: int = 0
    dropouts: int = 0
    empty_cells: int = 0
    pending: int = 0
    problem_count: int = 0
    problems: list[str] = field(default_factory=list)

    def report(self, text: str) -> None:
        """Count a problem and keep its text."""
        self.problem_count += 1
        if len(self.problems) < _MOST_PROBLEMS:
            self.problems.append(text)


@dataclass(frozen=True, slots=True)
class Survey:
    """What a first look at a recording found: its rows, and the interval of its sensors. [s]"""

    rows: int
    interval_s: float


def read_replay_map(path: Path) -> ReplayMap:
    """Map of a TOML file; InputError says what is wrong with it."""
    try:
        mapping = msgspec.convert(tomllib.loads(path.read_text(encoding="utf-8")), ReplayMap)
        ZoneInfo(mapping.time_zone)
    except (OSError, tomllib.TOMLDecodeError, msgspec.ValidationError, UnicodeDecodeError) as error:
        raise InputError(f"{path}: {error}") from error
    except (ZoneInfoNotFoundError, ValueError) as error:
        raise InputError(f"{path}: `time_zone` is no time zone; write one like 'Asia/Shanghai'") from error
    series: set[tuple[str, Quantity]] = set()
    for one in mapping.columns:
        if (one.sensor_id, one.quantity) in series:
            raise InputError(
                f"{path}: two columns are {one.quantity} of sensor {one.sensor_id!r}; give each its sensor"
            )
        series.add((one.sensor_id, one.quantity))
        try:
            conversion(one.unit, one.quantity)
        except InputError as error:
            raise InputError(f"{path}, column {one.column!r}: {error}") from error
    return mapping


def survey_recording(path: Path, mapping: ReplayMap) -> Survey:
    """Look through a recording before any of it is published.

    Raises
    ------
    InputError
        If the file cannot be read, lacks a column of the map, or has zeros of which the map must say what they are:
        exact ones after a fall from above 0.2 mg/L to almost zero.
    """
    interval_s = mapping.interval_s or _usual_interval_s(path, mapping)
    seen, unsettled = ReplayResult(), _Unsettled()
    for _ in _readings(path, mapping, seen, interval_s, unsettled):
        pass
    if unsettled.first is not None:
        raise InputError(
            f"{path}: {unsettled.first}: an exact zero of free chlorine after a fall from above 0.2 mg/L to almost "
            f"zero, {unsettled.count} of them in all. Did the water lose its chlorine, or the probe its signal? Say so "
            'in the map, in the table of this column: zero = "value" or zero = "dropout"'
        )
    return Survey(seen.rows, interval_s)


def read_recording(
    path: Path, mapping: ReplayMap, result: ReplayResult, *, interval_s: float
) -> Iterator[tuple[int, list[Reading]]]:
    """(measured_at_ms, readings) of each row of a recording, in file order; problems go to `result`.

    Raises
    ------
    InputError
        If the file cannot be read, or lacks a column that the map names.
    """
    return _readings(path, mapping, result, interval_s, _Unsettled())


@dataclass(slots=True)
class _Unsettled:
    """Zeros that the rule does not settle: where the first is, and how many."""

    first: str | None = None
    count: int = 0

    def add(self, where: str) -> None:
        self.first = self.first or where
        self.count += 1


def _usual_interval_s(path: Path, mapping: ReplayMap) -> float:
    steps_ms: list[int] = []
    before_ms: int | None = None
    times = RecordedTimes(mapping.time_format, mapping.time_zone)
    for row, _ in _rows(path, mapping, ReplayResult()):
        at_ms = times.read(row.get(mapping.time_column)).at_ms
        if at_ms is not None:
            if before_ms is not None and at_ms > before_ms:
                steps_ms.append(at_ms - before_ms)
            before_ms = at_ms
        if len(steps_ms) == _ROWS_FOR_INTERVAL:
            break
    return median(steps_ms) / 1000 * _JITTER if steps_ms else _UNKNOWN_INTERVAL_S


def _rows(
    path: Path, mapping: ReplayMap, result: ReplayResult
) -> Iterator[tuple[dict[str, str | None], str]]:
    """Rows as dictionaries, each with its place in words."""
    try:
        # A byte that is no UTF-8 spoils its cell, not the recording.
        with path.open(encoding="utf-8-sig", errors="replace", newline="") as file:
            rows = csv.DictReader(file)
            present = rows.fieldnames or []
            for name in (mapping.time_column, *(one.column for one in mapping.columns)):
                if name not in present:
                    raise InputError(f"{path} has no column {name!r}; it has: {', '.join(present)}")
            while True:
                try:
                    row = next(rows)
                except StopIteration:
                    return
                except csv.Error as error:
                    result.rows += 1
                    result.report(f"row {rows.line_num}: {error}")
                    continue
                result.rows += 1
                yield row, f"row {rows.line_num}"
    except (OSError, csv.Error) as error:
        raise InputError(f"{path}: {error}") from error


def _readings(
    path: Path, mapping: ReplayMap, result: ReplayResult, interval_s: float, unsettled: _Unsettled
) -> Iterator[tuple[int, list[Reading]]]:
    times = RecordedTimes(mapping.time_format, mapping.time_zone)
    columns = [_Column(one, interval_s) for one in mapping.columns]
    for row, where in _rows(path, mapping, result):
        moment = times.read(row.get(mapping.time_column))
        if moment.problem is not None:
            result.report(f"{where}, column {mapping.time_column!r}: {moment.problem}")
        if moment.at_ms is None:
            continue
        readings = []
        for column in columns:
            place = f"{where}, column {column.map.column!r}"
            reading = column.reading(row.get(column.map.column), moment.at_ms, place, result, unsettled)
            if reading is not None:
                readings.append(reading)
        yield moment.at_ms, readings


class _Column:
    """One mapped column while its rows go by."""

    def __init__(self, mapped: ColumnMap, interval_s: float) -> None:
        self.map = mapped
        self._convert = conversion(mapped.unit, mapped.quantity)
        by_rule = mapped.zero is None and mapped.quantity is Quantity.FREE_CHLORINE_MG_L
        self._zeros = ZeroWatch(interval_s * 1000) if by_rule else None

    def reading(
        self, text: str | None, at_ms: int, place: str, result: ReplayResult, unsettled: _Unsettled
    ) -> Reading | None:
        if text is None or not text.strip():
            result.empty_cells += 1
            return None
        try:
            value = self._convert(float(text))
        except ValueError:
            result.report(f"{place}: {text!r} is not a number")
            return None
        if not abs(value) < float("inf"):
            result.report(f"{place}: {text!r} is not a finite number")
            return None
        result.readings += 1
        dropout = self.map.zero is ZeroMeaning.DROPOUT and float(text) == 0.0
        if self._zeros is not None:
            dropout = self._zeros.is_dropout(value, at_ms)
            if self._zeros.unsettled:
                unsettled.add(place)
        if dropout:
            result.dropouts += 1
            return Reading(
                self.map.sensor_id, self.map.quantity, format_timestamp(at_ms), None, ReadingStatus.FAULT
            )
        return Reading(self.map.sensor_id, self.map.quantity, format_timestamp(at_ms), value)
