"""What ingest writes in one step, and how it ended. Readings are columns: thousands cost no object for each. Pure."""

from collections.abc import Iterable, Sequence
from dataclasses import dataclass, field
from typing import Any, NamedTuple

import numpy as np
from numpy.typing import NDArray

from ingest.store.records import (
    STATUS_CODES,
    STATUS_NAMES,
    GatewayStatusRow,
    LogbookRow,
    ReadingRow,
    RegistryVersionRow,
)


class Series(NamedTuple):
    """One sensor's measuring of one quantity in one pool."""

    pool_id: str
    sensor_id: str
    quantity: str


class Origin(NamedTuple):
    """The message that readings came in. The smallest (received_at_ms, gateway_id, boot_id, seq) stands in a conflict."""

    received_at_ms: int
    gateway_id: str
    boot_id: str
    seq: int


class Signature(NamedTuple):
    """Who tested by hand, and how."""

    by: str | None
    method: str | None


@dataclass(frozen=True, slots=True)
class ReadingBatch:
    """`n` readings in the journal's order.

    Parameters
    ----------
    series, origins : tuples
        What the columns below refer to by number; each entry is there once.
    series_number, origin_number : ndarray of int64, shape (n,)
        Which series, which message. Readings of one message lie together, in its order.
    position : ndarray of int64, shape (n,)
        Place within the message, from 0.
    measured_at_ms : ndarray of int64, shape (n,)
        [ms since the epoch]
    value : ndarray of float64, shape (n,)
        In the quantity's unit; NaN where null, and finite elsewhere.
    status : ndarray of uint8, shape (n,)
        `StatusCode`.
    signatures : dict of int to Signature
        By row, where there is one.
    """

    series: tuple[Series, ...]
    origins: tuple[Origin, ...]
    series_number: NDArray[np.int64]
    origin_number: NDArray[np.int64]
    position: NDArray[np.int64]
    measured_at_ms: NDArray[np.int64]
    value: NDArray[np.float64]
    status: NDArray[np.uint8]
    signatures: dict[int, Signature] = field(default_factory=dict)

    def __len__(self) -> int:
        return len(self.measured_at_ms)

    def row(self, index: int) -> ReadingRow:
        """Return one reading by itself."""
        value = float(self.value[index])
        by, method = self.signatures.get(index, (None, None))
        origin = self.origins[self.origin_number[index]]
        series = self.series[self.series_number[index]]
        return ReadingRow(
            pool_id=series.pool_id,
            sensor_id=series.sensor_id,
            quantity=series.quantity,
            measured_at_ms=int(self.measured_at_ms[index]),
            value=None if np.isnan(value) else value,
            status=STATUS_NAMES[self.status[index]],
            received_at_ms=origin.received_at_ms,
            gateway_id=origin.gateway_id,
            boot_id=origin.boot_id,
            seq=origin.seq,
            position=int(self.position[index]),
            by=by,
            method=method,
        )

    def rows(self) -> list[ReadingRow]:
        """Return all readings by themselves."""
        return [self.row(index) for index in range(len(self))]

    def take(self, rows: NDArray[np.int64]) -> "ReadingBatch":
        """Return the batch of some rows, in the given order; series and origins stay numbered as they are."""
        signatures = {
            new: self.signatures[old]
            for new, old in enumerate(rows.tolist())
            if self.signatures and old in self.signatures
        }
        return ReadingBatch(
            self.series,
            self.origins,
            self.series_number[rows],
            self.origin_number[rows],
            self.position[rows],
            self.measured_at_ms[rows],
            self.value[rows],
            self.status[rows],
            signatures,
        )


def empty_batch() -> ReadingBatch:
    """Return a batch of no reading."""
    return batch_of_rows([])


def batch_of_rows(rows: Iterable[ReadingRow]) -> ReadingBatch:
    """Columns of readings.

    Raises
    ------
    KeyError
        If a status is none of a reading's.
    """
    listed = list(rows)
    series: dict[Series, int] = {}
    origins: dict[Origin, int] = {}
    return ReadingBatch(
        series_number=np.array(
            [
                series.setdefault(Series(row.pool_id, row.sensor_id, row.quantity), len(series))
                for row in listed
            ],
            dtype=np.int64,
        ),
        origin_number=np.array(
            [
                origins.setdefault(
                    Origin(row.received_at_ms, row.gateway_id, row.boot_id, row.seq), len(origins)
                )
                for row in listed
            ],
            dtype=np.int64,
        ),
        series=tuple(series),
        origins=tuple(origins),
        position=np.array([row.position for row in listed], dtype=np.int64),
        measured_at_ms=np.array([row.measured_at_ms for row in listed], dtype=np.int64),
        value=np.array([row.value for row in listed], dtype=np.float64),  # None becomes NaN
        status=np.array([STATUS_CODES[row.status] for row in listed], dtype=np.uint8),
        signatures={
            index: Signature(row.by, row.method)
            for index, row in enumerate(listed)
            if row.by is not None or row.method is not None
        },
    )


def join_batches(batches: Sequence[ReadingBatch]) -> ReadingBatch:
    """One batch of several with no message in common, in their order; what they refer to is numbered anew."""
    if not batches:
        return empty_batch()
    if len(batches) == 1:
        return batches[0]
    series, series_numbers = _join_series(batches)
    begins = np.cumsum([0, *[len(batch.origins) for batch in batches[:-1]]])
    signatures = {}
    row = 0
    for batch in batches:
        signatures.update({row + place: signature for place, signature in batch.signatures.items()})
        row += len(batch)

    def joined(name: str) -> NDArray[Any]:
        return np.concatenate([getattr(batch, name) for batch in batches])

    return ReadingBatch(
        series,
        tuple(origin for batch in batches for origin in batch.origins),
        series_numbers,
        np.concatenate(
            [batch.origin_number + begin for batch, begin in zip(batches, begins.tolist(), strict=True)]
        ),
        joined("position"),
        joined("measured_at_ms"),
        joined("value"),
        joined("status"),
        signatures,
    )


def _join_series(batches: Sequence[ReadingBatch]) -> tuple[tuple[Series, ...], NDArray[np.int64]]:
    """Series of all batches, each once, and the numbers of all readings'."""
    first = batches[0].series
    # Batches of one registry share one tuple, which may have many times more series than a batch has readings.
    if all(batch.series is first for batch in batches):
        return first, np.concatenate([batch.series_number for batch in batches])
    numbers: dict[Series, int] = {}
    renumbered: dict[int, NDArray[np.int64]] = {}
    columns = []
    for batch in batches:
        renumbering = renumbered.get(id(batch.series))
        if renumbering is None:
            renumbering = renumbered[id(batch.series)] = np.array(
                [numbers.setdefault(one, len(numbers)) for one in batch.series], dtype=np.int64
            )
        columns.append(renumbering[batch.series_number] if len(batch) else batch.series_number)
    return tuple(numbers), np.concatenate(columns)


@dataclass(frozen=True, slots=True)
class IngestBatch:
    """What ingest writes in one step."""

    readings: ReadingBatch = field(default_factory=empty_batch)
    logbook: Sequence[LogbookRow] = ()
    statuses: Sequence[GatewayStatusRow] = ()
    registry_versions: Sequence[RegistryVersionRow] = ()


@dataclass(frozen=True, slots=True)
class WriteOutcome:
    """How the readings of a batch ended: newly stored, there already from another message, or in conflict.

    A row that the store already has from the same message (a repeated write) is in none of the three.
    """

    stored: int
    duplicates: tuple[ReadingRow, ...] = ()
    conflicts: tuple[ReadingRow, ...] = ()
