"""Usual messages of readings as columns, without an object for each reading that lasts. Pure.

What is not certainly good is left out, and the precise way (`ingest.validation`) judges it: this code refuses nothing.
"""

from collections.abc import Sequence
from dataclasses import dataclass
from typing import Protocol

import numpy as np
from msgspec import UNSET
from numpy.typing import NDArray

from gateway.contract.codec import MAX_READINGS
from gateway.contract.readings import RESULT_STATUSES
from gateway.contract.wire import (
    ENVELOPE_MARKS,
    READING_MARKS,
    STATUS_MARKS,
    UsualMessage,
    UsualReading,
    decode_usual,
    is_boot_id,
)
from ingest.series_tables import SeriesTable, TopicSeries
from ingest.store.batches import Origin, ReadingBatch
from ingest.store.records import STATUS_CODES, StatusCode
from ingest.time_columns import read_timestamps

_UNKNOWN_STATUS = 255
_CODES: dict[object, int] = {UNSET: StatusCode.NORMAL.value}
_CODES.update(STATUS_CODES)
_RESULT_CODES = [STATUS_CODES[status.value] for status in RESULT_STATUSES]
#: Whether a status of that code allows that there is no value.
_MAY_BE_NULL = np.array([code not in _RESULT_CODES for code in range(256)])


class Received(Protocol):
    """A message as it came, from the broker or out of the journal."""

    @property
    def topic(self) -> str:
        """Where it was published."""
        ...

    @property
    def payload(self) -> bytes:
        """Its bytes."""
        ...

    @property
    def received_at_ms(self) -> int:
        """When it was read off the network. [ms since the epoch]"""
        ...


@dataclass(frozen=True, slots=True)
class UsualColumns:
    """The usual messages among some others.

    Parameters
    ----------
    indexes : list of int
        Which messages they are, ascending.
    origins : list of Origin
        Of each of them.
    counts : list of int
        How many readings each of them has.
    readings : ReadingBatch
        All of those; origin k is the k-th of `origins`.
    message : ndarray of int64, shape (n,)
        Index of each reading's message among all messages.
    """

    indexes: list[int]
    origins: list[Origin]
    counts: list[int]
    readings: ReadingBatch
    message: NDArray[np.int64]


@dataclass(slots=True)
class _Collected:
    """What could be decoded, message by message; `readings` and `numbers` of all in one row."""

    indexes: list[int]
    origins: list[Origin]
    counts: list[int]
    marks: list[int]
    numbers: list[int]
    readings: list[UsualReading]


def read_usual(
    messages: Sequence[Received], candidates: Sequence[int], table: SeriesTable, *, max_ahead_ms: int | None
) -> UsualColumns:
    """Columns of those messages that are good without any doubt.

    Parameters
    ----------
    messages : sequence of Received
        All messages.
    candidates : sequence of int
        Indexes of those to look at, ascending.
    table : SeriesTable
        Which series are allowed on which topic.
    max_ahead_ms : int or None
        How far a time may be ahead of its message's arrival; None for any. [ms]
    """
    found = _collect(messages, candidates, table)
    counts = np.array(found.counts, dtype=np.int64)
    owner = np.repeat(np.arange(len(counts)), counts)
    numbers = np.array(found.numbers, dtype=np.int64)
    measured_at_ms, good = read_timestamps([reading.measured_at for reading in found.readings])
    value = np.array([reading.value for reading in found.readings], dtype=np.float64)  # None becomes NaN
    status, said = _read_statuses(found.readings)
    good &= (status != _UNKNOWN_STATUS) & ~np.isinf(value) & (~np.isnan(value) | _MAY_BE_NULL[status])
    good &= table.in_force(numbers, measured_at_ms)
    if max_ahead_ms is not None:
        received_at_ms = np.array([origin.received_at_ms for origin in found.origins], dtype=np.int64)
        good &= measured_at_ms - received_at_ms[owner] <= max_ahead_ms
    statuses = np.bincount(owner[said], minlength=len(counts)) if said.any() else np.zeros_like(counts)
    expected_marks = ENVELOPE_MARKS + READING_MARKS * counts + STATUS_MARKS * statuses
    whole = np.equal(np.array(found.marks, dtype=np.int64), expected_marks)
    whole[owner[~good]] = False
    columns = UsualColumns(
        found.indexes,
        found.origins,
        found.counts,
        ReadingBatch(
            series=table.series(),
            origins=tuple(found.origins),
            series_number=numbers,
            origin_number=owner,
            position=np.arange(len(owner)) - np.repeat(np.cumsum(counts) - counts, counts),
            measured_at_ms=measured_at_ms,
            value=value,
            status=status,
        ),
        np.array(found.indexes, dtype=np.int64)[owner],
    )
    return columns if whole.all() else _keep(columns, whole, owner)


def _collect(messages: Sequence[Received], candidates: Sequence[int], table: SeriesTable) -> _Collected:
    """Decode, and look up each reading's series; the one loop over single messages."""
    found = _Collected([], [], [], [], [], [])
    topics = table.topics
    for index in candidates:
        message = messages[index]
        try:
            topic = topics[message.topic]
            usual = decode_usual(message.payload)
            if usual is None or not _is_from(usual, topic):
                continue
            sensors = topic.sensors
            found.numbers += [sensors[reading.sensor_id][reading.quantity] for reading in usual.readings]
        except KeyError:
            continue  # not in the table: who may say what is told precisely elsewhere
        found.readings += usual.readings
        found.indexes.append(index)
        found.counts.append(len(usual.readings))
        found.marks.append(message.payload.count(b'"'))
        found.origins.append(Origin(message.received_at_ms, usual.gateway_id, usual.boot_id, usual.seq))
    return found


def _is_from(usual: UsualMessage, topic: TopicSeries) -> bool:
    return (
        usual.gateway_id == topic.gateway_id
        and 1 <= len(usual.readings) <= MAX_READINGS
        and is_boot_id(usual.boot_id)
    )


def _read_statuses(readings: list[UsualReading]) -> tuple[NDArray[np.uint8], NDArray[np.bool_]]:
    """Code of each status, and whether it was said."""
    statuses = [reading.status for reading in readings]
    if statuses.count(UNSET) == len(statuses):
        return np.zeros(len(statuses), dtype=np.uint8), np.zeros(len(statuses), dtype=np.bool_)
    codes = [_CODES.get(status, _UNKNOWN_STATUS) for status in statuses]
    return np.array(codes, dtype=np.uint8), np.array([status is not UNSET for status in statuses])


def _keep(columns: UsualColumns, whole: NDArray[np.bool_], owner: NDArray[np.int64]) -> UsualColumns:
    """Only the whole messages, numbered anew."""
    kept = np.flatnonzero(whole).tolist()
    rows = np.flatnonzero(whole[owner])
    taken = columns.readings.take(rows)
    origins = [columns.origins[number] for number in kept]
    return UsualColumns(
        [columns.indexes[number] for number in kept],
        origins,
        [columns.counts[number] for number in kept],
        ReadingBatch(
            series=taken.series,
            origins=tuple(origins),
            series_number=taken.series_number,
            origin_number=(np.cumsum(whole) - 1)[taken.origin_number],
            position=taken.position,
            measured_at_ms=taken.measured_at_ms,
            value=taken.value,
            status=taken.status,
        ),
        columns.message[rows],
    )
