"""Usual messages of readings as columns, without an object for each reading that lasts. Pure.

What is not certainly good is left out, and the precise way (`ingest.validation`) judges it: this code refuses nothing.
"""

from collections.abc import Iterator, Sequence
from dataclasses import dataclass, field
from typing import NamedTuple, Protocol

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
    decode_usual_together,
    is_boot_id,
)
from ingest.series_tables import SeriesTable
from ingest.store.batches import Origin, ReadingBatch, empty_batch
from ingest.store.records import STATUS_CODES, StatusCode
from ingest.time_columns import read_timestamps

#: Payload that is decoded and taken apart together.
_PART_BYTES = 131_072
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


class _Part(NamedTuple):
    """The good messages of some neighbours, as `UsualColumns`; columns of their readings."""

    indexes: list[int]
    origins: list[Origin]
    counts: NDArray[np.int64]
    numbers: NDArray[np.int64]
    measured_at_ms: NDArray[np.int64]
    value: NDArray[np.float64]
    status: NDArray[np.uint8]


@dataclass(slots=True)
class _Collected:
    """What could be decoded, message by message; `readings` and `numbers` of all in one row.

    `marks` are the quotation marks of all payloads together, also of those that are not among the messages. `bases` are to
    be added to the numbers of each message.
    """

    marks: int
    indexes: list[int] = field(default_factory=list)
    origins: list[Origin] = field(default_factory=list)
    counts: list[int] = field(default_factory=list)
    bases: list[int] = field(default_factory=list)
    numbers: list[int] = field(default_factory=list)
    readings: list[UsualReading] = field(default_factory=list)


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
    # A part's objects are gone before the next part's are made, and its columns find them in the processor's cache.
    parts = [
        _read_part(messages, neighbours, table, max_ahead_ms=max_ahead_ms)
        for neighbours in _neighbours(messages, candidates)
    ]
    if not parts:
        return UsualColumns([], [], [], empty_batch(), np.zeros(0, dtype=np.int64))
    indexes = [index for part in parts for index in part.indexes]
    origins = [origin for part in parts for origin in part.origins]
    counts, numbers, measured_at_ms, value, status = (
        np.concatenate(columns) for columns in list(zip(*parts, strict=True))[2:]
    )
    owner = np.repeat(np.arange(len(counts)), counts)
    return UsualColumns(
        indexes,
        origins,
        counts.tolist(),
        ReadingBatch(
            series=table.series(),
            origins=tuple(origins),
            series_number=numbers,
            origin_number=owner,
            position=np.arange(len(owner)) - np.repeat(np.cumsum(counts) - counts, counts),
            measured_at_ms=measured_at_ms,
            value=value,
            status=status,
        ),
        np.array(indexes, dtype=np.int64)[owner],
    )


def _neighbours(messages: Sequence[Received], candidates: Sequence[int]) -> Iterator[Sequence[int]]:
    """Candidates in parts of about `_PART_BYTES` of payload each."""
    begin = payload_bytes = 0
    for place, index in enumerate(candidates):
        payload_bytes += len(messages[index].payload)
        if payload_bytes >= _PART_BYTES:
            yield candidates[begin : place + 1]
            begin, payload_bytes = place + 1, 0
    if begin < len(candidates):
        yield candidates[begin:]


def _read_part(
    messages: Sequence[Received], candidates: Sequence[int], table: SeriesTable, *, max_ahead_ms: int | None
) -> _Part:
    found = _collect(messages, candidates, table)
    counts = np.array(found.counts, dtype=np.int64)
    owner = np.repeat(np.arange(len(counts)), counts)
    numbers = np.array(found.numbers, dtype=np.int64) + np.array(found.bases, dtype=np.int64)[owner]
    measured_at_ms, good = read_timestamps([reading.measured_at for reading in found.readings])
    value = np.array([reading.value for reading in found.readings], dtype=np.float64)  # None becomes NaN
    status, said = _read_statuses(found.readings)
    good &= (status != _UNKNOWN_STATUS) & ~np.isinf(value) & (~np.isnan(value) | _MAY_BE_NULL[status])
    good &= table.in_force(numbers, measured_at_ms)
    if max_ahead_ms is not None:
        received_at_ms = np.array([origin.received_at_ms for origin in found.origins], dtype=np.int64)
        good &= measured_at_ms - received_at_ms[owner] <= max_ahead_ms
    expected = ENVELOPE_MARKS * len(counts) + READING_MARKS * len(good) + STATUS_MARKS * int(said.sum())
    part = _Part(found.indexes, found.origins, counts, numbers, measured_at_ms, value, status)
    # Each payload has as many marks as its parts need, or more: if all together have as many, so has each.
    if good.all() and found.marks == expected:
        return part
    marks = np.array([messages[index].payload.count(b'"') for index in found.indexes], dtype=np.int64)
    statuses = np.bincount(owner[said], minlength=len(counts))
    whole = np.equal(marks, ENVELOPE_MARKS + READING_MARKS * counts + STATUS_MARKS * statuses)
    whole[owner[~good]] = False
    return _whole_messages(part, whole, whole[owner])


def _whole_messages(part: _Part, whole: NDArray[np.bool_], rows: NDArray[np.bool_]) -> _Part:
    """Only the messages that are `whole`, and their `rows`."""
    kept = np.flatnonzero(whole).tolist()
    return _Part(
        [part.indexes[number] for number in kept],
        [part.origins[number] for number in kept],
        part.counts[whole],
        part.numbers[rows],
        part.measured_at_ms[rows],
        part.value[rows],
        part.status[rows],
    )


def _collect(messages: Sequence[Received], candidates: Sequence[int], table: SeriesTable) -> _Collected:
    """Decode, and look up each reading's series; the one loop over single messages."""
    usuals, marks = _decode([messages[index].payload for index in candidates])
    found = _Collected(marks)
    topics = table.topics
    for index, usual in zip(candidates, usuals, strict=True):
        if usual is None:
            continue
        message, readings = messages[index], usual.readings
        try:
            topic = topics[message.topic]
            if usual.gateway_id != topic.gateway_id or not 1 <= len(readings) <= MAX_READINGS:
                continue
            if not is_boot_id(usual.boot_id):
                continue
            sensors = topic.sensors
            found.numbers += [sensors[reading.sensor_id][reading.quantity] for reading in readings]
        except KeyError:
            continue  # not in the table: who may say what is told precisely elsewhere
        found.readings += readings
        found.indexes.append(index)
        found.counts.append(len(readings))
        found.bases.append(topic.base)
        found.origins.append(Origin(message.received_at_ms, usual.gateway_id, usual.boot_id, usual.seq))
    return found


def _decode(payloads: Sequence[bytes]) -> tuple[Sequence[UsualMessage | None], int]:
    """Message of each payload, None where it is not usual; and their quotation marks."""
    together = decode_usual_together(payloads)
    if together is not None:
        return together.messages, together.marks
    return [decode_usual(payload) for payload in payloads], sum(payload.count(b'"') for payload in payloads)


def _read_statuses(readings: list[UsualReading]) -> tuple[NDArray[np.uint8], NDArray[np.bool_]]:
    """Code of each status, and whether it was said."""
    statuses = [reading.status for reading in readings]
    if statuses.count(UNSET) == len(statuses):
        return np.zeros(len(statuses), dtype=np.uint8), np.zeros(len(statuses), dtype=np.bool_)
    codes = [_CODES.get(status, _UNKNOWN_STATUS) for status in statuses]
    return np.array(codes, dtype=np.uint8), np.array([status is not UNSET for status in statuses])
