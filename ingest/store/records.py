"""What goes into a store and what comes out of it: rows in, columns out. No formula and no clock.

Instants are whole milliseconds since the epoch (`*_ms`). A `body` is UTF-8 JSON that the store keeps as it is;
the package that owns it (analytics for verdicts and states) encodes and decodes it.
"""

from dataclasses import dataclass, field
from enum import IntEnum, StrEnum
from typing import NamedTuple

import numpy as np
from numpy.typing import NDArray

from gateway.contract.readings import ReadingStatus


class StatusCode(IntEnum):
    """`ReadingStatus` as a small number, for columns; the order is fixed."""

    NORMAL = 0
    MANUAL = 1
    LABORATORY = 2
    MAINTENANCE = 3
    CALIBRATION = 4
    FAULT = 5
    OVER_RANGE = 6
    NO_COMMUNICATION = 7
    STOPPED = 8


STATUS_CODES: dict[str, int] = {status.value: StatusCode[status.name].value for status in ReadingStatus}
STATUS_NAMES: tuple[str, ...] = tuple(ReadingStatus[code.name].value for code in StatusCode)


class ReadingRow(NamedTuple):
    """One reading on its way into the store; (gateway, boot, seq, position) says which message it came in."""

    pool_id: str
    sensor_id: str
    quantity: str
    measured_at_ms: int
    value: float | None
    status: str
    received_at_ms: int
    gateway_id: str
    boot_id: str
    seq: int
    position: int
    by: str | None = None
    method: str | None = None


class LogbookRow(NamedTuple):
    """One logbook entry; `body` is the entry as it came."""

    pool_id: str
    kind: str
    at_ms: int
    received_at_ms: int
    gateway_id: str
    boot_id: str
    seq: int
    position: int
    body: bytes


class GatewayStatusRow(NamedTuple):
    """One status message of a gateway; `body` is the payload as it came."""

    gateway_id: str
    received_at_ms: int
    state: str
    boot_id: str
    body: bytes


class RegistryVersionRow(NamedTuple):
    """An accepted version of the registry file."""

    sha256: str
    accepted_at_ms: int
    text: str


class ArrivalKind(StrEnum):
    """What became new in the store."""

    READINGS = "readings"
    LOGBOOK = "logbook"
    PUBLICATION = "publication"
    REGISTRY = "registry"


class Arrival(NamedTuple):
    """Something new: `rows` facts of a pool within the hour from `hour_ms`.

    The hour is that of `measured_at` for readings, `at` for logbook entries, `published_at` for publications;
    a registry version has pool_id "" and hour 0.
    """

    kind: ArrivalKind
    pool_id: str
    hour_ms: int
    rows: int
    stored_at_ms: int


class SeriesKey(NamedTuple):
    """One sensor's measuring of one quantity, within a pool."""

    sensor_id: str
    quantity: str


@dataclass(frozen=True, slots=True)
class ReadingColumns:
    """Readings of one series, sorted by `measured_at_ms`; all arrays of shape (n,), value NaN where null."""

    measured_at_ms: NDArray[np.int64]
    value: NDArray[np.float64]
    status: NDArray[np.uint8]
    received_at_ms: NDArray[np.int64]
    stored_at_ms: NDArray[np.int64]


class PublishedValue(NamedTuple):
    """One value of a publication; null: the page said that there is no valid value."""

    quantity: str
    sensor_id: str
    measured_at_ms: int
    value: float | None
    status: str


class PublicationRow(NamedTuple):
    """What a replica of the public service began to serve at `published_at_ms`; key (pool, hash, replica, published_at)."""

    pool_id: str
    published_at_ms: int
    content_hash: str
    replica: str
    state: str
    values: tuple[PublishedValue, ...]


@dataclass(frozen=True, slots=True)
class PublicationColumns:
    """Published values of one series, sorted by `published_at_ms`; arrays of shape (n,), value NaN where null."""

    published_at_ms: NDArray[np.int64]
    measured_at_ms: NDArray[np.int64]
    value: NDArray[np.float64]
    status: NDArray[np.uint8]
    stored_at_ms: NDArray[np.int64]


class VerdictRow(NamedTuple):
    """One revision of a verdict; the newest revision of an id is the current one."""

    verdict_id: str
    revision: int
    kind: str
    pool_id: str
    state: str
    start_ms: int
    end_ms: int | None
    judged_at_ms: int
    body: bytes


class PoolStateRow(NamedTuple):
    """State of a pool as judged at an instant."""

    pool_id: str
    at_ms: int
    state: str
    body: bytes


@dataclass(frozen=True, slots=True)
class StoreCounts:
    """What the store holds, for the account. `verdicts`: by kind, without the withdrawn ones."""

    readings_by_pool: dict[str, int] = field(default_factory=dict)
    logbook_by_pool: dict[str, int] = field(default_factory=dict)
    publications: int = 0
    published_readings: int = 0
    verdicts: dict[str, int] = field(default_factory=dict)

    @property
    def readings(self) -> int:
        """All readings."""
        return sum(self.readings_by_pool.values())
