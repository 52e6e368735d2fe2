"""A recorded CSV file, published through a gateway's own outbox as if its sensors were measuring."""

import csv
import threading
import tomllib
from collections.abc import Callable, Iterator
from dataclasses import dataclass, field
from datetime import UTC, datetime
from enum import StrEnum
from pathlib import Path
from typing import Annotated
from zoneinfo import ZoneInfo, ZoneInfoNotFoundError

import msgspec
from msgspec import Meta

from gateway.contract.credentials import Credential
from gateway.contract.quantities import Quantity
from gateway.contract.readings import Id, Reading, ReadingStatus
from gateway.contract.times import Clock, format_timestamp
from gateway.desk import drain
from gateway.errors import InputError
from gateway.outbox import Outbox
from gateway.publisher import Publisher
from gateway.service import GatewayService

#: A chlorine probe that read more than this and then exactly zero lost its signal; water does not do that. [mg/L]
DROPOUT_ABOVE_MG_L = 0.2
#: Most problems that are kept with their row; all are counted.
_MOST_PROBLEMS = 1000
#: Rows between two looks at the broker while going as fast as possible.
_STEP_EVERY_ROWS = 50


class SourceUnit(StrEnum):
    """Unit of a recorded column; what is not the contract's unit is converted."""

    AS_QUANTITY = "as quantity"
    FAHRENHEIT = "F"
    MICROGRAM_L = "ug/L"


class ColumnMap(msgspec.Struct, frozen=True, forbid_unknown_fields=True):
    """One column: whose reading it is, and its unit."""

    column: str
    sensor_id: Id
    quantity: Quantity
    unit: SourceUnit = SourceUnit.AS_QUANTITY


class ReplayMap(msgspec.Struct, frozen=True, forbid_unknown_fields=True):
    """The map of a recording. `interval_s`: the sensor's interval, which decides when a zero is a dropout."""

    pool_id: Id
    gateway_id: Id
    time_column: str
    time_format: str
    time_zone: str
    columns: Annotated[list[ColumnMap], Meta(min_length=1)]
    interval_s: Annotated[float, Meta(gt=0)] = 60.0


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


def read_replay_map(path: Path) -> ReplayMap:
    """Map of a TOML file; InputError says what is wrong with it."""
    try:
        mapping = msgspec.convert(tomllib.loads(path.read_text(encoding="utf-8")), ReplayMap)
        ZoneInfo(mapping.time_zone)
    except (OSError, tomllib.TOMLDecodeError, msgspec.ValidationError, UnicodeDecodeError) as error:
        raise InputError(f"{path}: {error}") from error
    except (ZoneInfoNotFoundError, ValueError) as error:
        raise InputError(f"{path}: `time_zone` is no time zone; write one like 'Asia/Shanghai'") from error
    return mapping


@dataclass(slots=True)
class _ZeroWatch:
    """Tells a probe's dropout from a decline to zero, for one chlorine column."""

    interval_ms: float
    last_value: float | None = None
    last_ms: int = 0
    dropped: bool = False

    def is_dropout(self, value: float, at_ms: int) -> bool:
        if value != 0.0:
            self.dropped = False
        elif not self.dropped and self.last_value is not None:
            self.dropped = self.last_value > DROPOUT_ABOVE_MG_L and at_ms - self.last_ms <= self.interval_ms
        self.last_value, self.last_ms = value, at_ms
        return self.dropped


def _converted(value: float, unit: SourceUnit) -> float:
    match unit:
        case SourceUnit.FAHRENHEIT:
            return round((value - 32.0) / 1.8, 3)
        case SourceUnit.MICROGRAM_L:
            return value / 1000.0
        case SourceUnit.AS_QUANTITY:
            return value


def read_recording(
    path: Path, mapping: ReplayMap, result: ReplayResult
) -> Iterator[tuple[int, list[Reading]]]:
    """(measured_at_ms, readings) of each row of a recording, in file order; problems go to `result`.

    Raises
    ------
    InputError
        If the file cannot be opened, or lacks a column that the map names.
    """
    try:
        with path.open(encoding="utf-8-sig", newline="") as file:
            rows = csv.DictReader(file)
            present = rows.fieldnames or []
            missing = [
                name
                for name in (mapping.time_column, *(one.column for one in mapping.columns))
                if name not in present
            ]
            if missing:
                raise InputError(f"{path} has no column {missing[0]!r}; it has: {', '.join(present)}")
            zeros = {
                one.column: _ZeroWatch(mapping.interval_s * 1000)
                for one in mapping.columns
                if one.quantity is Quantity.FREE_CHLORINE_MG_L
            }
            for row in rows:
                result.rows += 1
                at_ms = _row_time(row.get(mapping.time_column), mapping, f"row {rows.line_num}", result)
                if at_ms is None:
                    continue
                readings = [
                    reading
                    for one in mapping.columns
                    if (
                        reading := _cell(
                            row.get(one.column),
                            one,
                            at_ms,
                            zeros.get(one.column),
                            f"row {rows.line_num}",
                            result,
                        )
                    )
                ]
                yield at_ms, readings
    except (OSError, UnicodeDecodeError, csv.Error) as error:
        raise InputError(f"{path}: {error}") from error


def _row_time(text: str | None, mapping: ReplayMap, where: str, result: ReplayResult) -> int | None:
    try:
        local = datetime.strptime((text or "").strip(), mapping.time_format)  # noqa: DTZ007 - the map has its zone
    except ValueError:
        result.report(f"{where}: {text!r} is no time of the form {mapping.time_format!r}")
        return None
    moment = local if local.tzinfo else local.replace(tzinfo=ZoneInfo(mapping.time_zone))
    instant = moment.astimezone(UTC)
    if not local.tzinfo:
        if instant.astimezone(moment.tzinfo).replace(tzinfo=None) != local:
            result.report(
                f"{where}: {text!r} does not exist in {mapping.time_zone}: the clock was put forward"
            )
            return None
        if moment.replace(fold=1).utcoffset() != moment.utcoffset():
            result.report(
                f"{where}: {text!r} is there twice in {mapping.time_zone}, when the clock is put back; the first is taken"
            )
    return int(instant.timestamp() * 1000)


def _cell(
    text: str | None,
    column: ColumnMap,
    at_ms: int,
    zeros: _ZeroWatch | None,
    where: str,
    result: ReplayResult,
) -> Reading | None:
    if text is None or not text.strip():
        result.empty_cells += 1
        return None
    try:
        value = _converted(float(text), column.unit)
    except ValueError:
        result.report(f"{where}, column {column.column!r}: {text!r} is not a number")
        return None
    if not abs(value) < float("inf"):
        result.report(f"{where}, column {column.column!r}: {text!r} is not a finite number")
        return None
    result.readings += 1
    measured_at = format_timestamp(at_ms)
    if zeros is not None and zeros.is_dropout(value, at_ms):
        result.dropouts += 1
        return Reading(column.sensor_id, column.quantity, measured_at, None, ReadingStatus.FAULT)
    return Reading(column.sensor_id, column.quantity, measured_at, value)


def replay_file(
    path: Path,
    *,
    mapping: ReplayMap,
    credential: Credential,
    outbox_path: Path,
    speed: float,
    shift_to_now: bool,
    clock: Clock,
    stop: threading.Event,
    on_progress: Callable[[int, int | None], None] = lambda _done, _total: None,
    drain_s: float = 60.0,
) -> ReplayResult:
    """Publish a recording.

    Parameters
    ----------
    speed : float
        Recorded seconds per second; 0 goes as fast as possible.
    shift_to_now : bool
        Whether recorded times are moved so that the first row is measured now.

    Raises
    ------
    InputError
        If file and map do not fit.
    OutboxError
        If the gateway's outbox cannot be used.
    """
    result = ReplayResult()
    service = GatewayService(
        gateway_id=mapping.gateway_id,
        sensors=[],
        outbox=Outbox(outbox_path),
        publisher=Publisher(gateway_id=mapping.gateway_id, credential=credential),
        clock=clock,
    )
    try:
        with path.open("rb") as file:
            total = sum(1 for _ in file) - 1
    except OSError as error:
        service.outbox.close()
        raise InputError(f"{path}: {error.strerror}") from error
    service.start_boot()
    try:
        begun_ms = clock()
        first_ms: int | None = None
        for at_ms, readings in read_recording(path, mapping, result):
            if stop.is_set():
                break
            first_ms = at_ms if first_ms is None else first_ms
            if speed > 0:
                _pace(service, begun_ms + int((at_ms - first_ms) / speed), stop)
            if readings:
                shift_ms = begun_ms - first_ms if shift_to_now else 0
                service.record(
                    mapping.pool_id, [_shifted(reading, shift_ms) for reading in readings], clock()
                )
            if result.rows % _STEP_EVERY_ROWS == 0:
                service.step(clock())
                on_progress(result.rows, total)
        drain(service, wait_s=drain_s, stop=stop)
        on_progress(result.rows, total)
        result.pending = service.outbox.account().messages_pending
    finally:
        service.close()
    return result


def _shifted(reading: Reading, shift_ms: int) -> Reading:
    if shift_ms == 0:
        return reading
    return msgspec.structs.replace(reading, measured_at=format_timestamp(reading.measured_at_ms + shift_ms))


def _pace(service: GatewayService, until_ms: int, stop: threading.Event) -> None:
    """Step the gateway until an instant of the wall clock."""
    while not stop.is_set() and (remaining_ms := until_ms - service.clock()) > 0:
        service.step(service.clock())
        service.wake.wait(min(remaining_ms / 1000, 0.5))
        service.wake.clear()
