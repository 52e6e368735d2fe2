"""Which series a reading on a topic may belong to, by number: looked up once per reading, compiled once per registry.

Pure.
"""

from collections.abc import Sequence
from dataclasses import dataclass, field
from typing import NamedTuple, Protocol

import numpy as np
from numpy.typing import NDArray

from gateway.contract.errors import MessageError
from gateway.contract.quantities import Quantity
from gateway.contract.readings import is_id
from gateway.contract.registry import Pool, Registry
from gateway.contract.topics import TopicKind, parse_topic, readings_topic
from ingest.store.batches import Series

_ALWAYS_MS = np.iinfo(np.int64).min
_FOR_EVER_MS = np.iinfo(np.int64).max
_QUANTITIES = frozenset(quantity.value for quantity in Quantity)
#: A table that learns is begun anew above this many series, lest it grow with every name that ever came.
_MOST_LEARNT = 200_000


class TopicSeries(NamedTuple):
    """What a topic of readings may carry: whose it is, and `base` + `sensors[sensor_id][quantity]`, a series' number.

    Pools that are fitted alike share one mapping: that of a whole city stays in the processor's cache.
    """

    gateway_id: str
    base: int
    sensors: dict[str, dict[str, int]]


class SeriesTable(Protocol):
    """Numbers of series by topic, sensor and quantity; KeyError for what the precise way has to judge."""

    @property
    def topics(self) -> dict[str, TopicSeries]:
        """What each topic may carry."""
        ...

    def series(self) -> tuple[Series, ...]:
        """Return the series in the order of their numbers, so far."""
        ...

    def in_force(self, numbers: NDArray[np.int64], measured_at_ms: NDArray[np.int64]) -> NDArray[np.bool_]:
        """Whether each reading is within a `from` and `until` of its sensor; arrays of shape (n,)."""
        ...


@dataclass(frozen=True, slots=True)
class RegisteredSeries:
    """The table of a registry: who may say what, and since when. By hand nothing is registered."""

    topics: dict[str, TopicSeries]
    _series: tuple[Series, ...]
    _from_ms: NDArray[np.int64]
    _until_ms: NDArray[np.int64]
    #: Series that have several spans, such as of an instrument that was away: they are asked one by one.
    _spans: dict[int, list[tuple[int, int]]]

    def series(self) -> tuple[Series, ...]:
        """Return the series in the order of their numbers."""
        return self._series

    def in_force(self, numbers: NDArray[np.int64], measured_at_ms: NDArray[np.int64]) -> NDArray[np.bool_]:
        """Whether each reading is within a `from` and `until` of its sensor; arrays of shape (n,)."""
        inside = (measured_at_ms >= self._from_ms[numbers]) & (measured_at_ms < self._until_ms[numbers])
        if self._spans and not inside.all():
            for row in np.flatnonzero(~inside).tolist():
                instant_ms = int(measured_at_ms[row])
                spans = self._spans.get(int(numbers[row]), ())
                inside[row] = any(begin <= instant_ms < end for begin, end in spans)
        return inside


def compile_series(registry: Registry) -> RegisteredSeries:
    """Table of a registry."""
    series: list[Series] = []
    spans: list[list[tuple[int, int]]] = []
    alike: dict[tuple[tuple[str, str], ...], dict[str, dict[str, int]]] = {}
    of_pool: dict[str, tuple[int, dict[str, dict[str, int]]]] = {}
    for pool in registry.pools.values():
        base = len(series)
        of_series = _spans(pool)
        series += of_series
        spans += of_series.values()
        fitting = tuple((one.sensor_id, one.quantity) for one in of_series)
        if fitting not in alike:
            alike[fitting] = _numbered(fitting)
        of_pool[pool.pool_id] = base, alike[fitting]
    topics = {
        readings_topic(pool_id=pool_id, gateway_id=gateway.gateway_id): TopicSeries(
            gateway.gateway_id, *of_pool[pool_id]
        )
        for gateway in registry.gateways.values()
        for pool_id in sorted(gateway.pools & of_pool.keys())
    }
    # Of several spans the first serves as the quick answer; the others are asked where it says no.
    return RegisteredSeries(
        topics,
        tuple(series),
        np.array([of_series[0][0] for of_series in spans], dtype=np.int64),
        np.array([of_series[0][1] for of_series in spans], dtype=np.int64),
        {number: of_series for number, of_series in enumerate(spans) if len(of_series) > 1},
    )


def _spans(pool: Pool) -> dict[Series, list[tuple[int, int]]]:
    """Series of a pool, in the registry's order, and from when until when each has a sensor. [ms since the epoch]"""
    spans: dict[Series, list[tuple[int, int]]] = {}
    for sensor in pool.sensors:
        spans.setdefault(Series(pool.pool_id, sensor.sensor_id, sensor.quantity.value), []).append(
            (
                _ALWAYS_MS if sensor.from_ms is None else sensor.from_ms,
                _FOR_EVER_MS if sensor.until_ms is None else sensor.until_ms,
            )
        )
    return spans


def _numbered(fitting: Sequence[tuple[str, str]]) -> dict[str, dict[str, int]]:
    """Place of each (sensor, quantity) among a pool's."""
    sensors: dict[str, dict[str, int]] = {}
    for place, (sensor_id, quantity) in enumerate(fitting):
        sensors.setdefault(sensor_id, {})[quantity] = place
    return sensors


@dataclass(slots=True)
class LearntSeries:
    """The table for messages that were accepted before: every series that the contract allows, numbered as it comes."""

    topics: dict[str, TopicSeries] = field(init=False)
    _numbers: dict[Series, int] = field(init=False)
    _listed: tuple[Series, ...] = field(init=False)

    def __post_init__(self) -> None:
        self._begin_anew()

    def _begin_anew(self) -> None:
        self._numbers = {}
        self._listed = ()
        self.topics = _LearntTopics(self._numbers)

    def series(self) -> tuple[Series, ...]:
        """Return the series in the order of their numbers, so far; the same tuple while none was added."""
        if len(self._listed) != len(self._numbers):
            self._listed = tuple(self._numbers)
        return self._listed

    def in_force(self, numbers: NDArray[np.int64], measured_at_ms: NDArray[np.int64]) -> NDArray[np.bool_]:
        """Return True for each reading: that was judged when it came."""
        del measured_at_ms
        return np.ones(len(numbers), dtype=np.bool_)

    def forget_if_large(self) -> None:
        """Begin anew when too many names have come; between two batches only."""
        if len(self._numbers) > _MOST_LEARNT:
            self._begin_anew()


class _LearntTopics(dict[str, TopicSeries]):
    def __init__(self, numbers: dict[Series, int]) -> None:
        super().__init__()
        self._numbers = numbers

    def __missing__(self, topic: str) -> TopicSeries:
        try:
            parsed = parse_topic(topic)
        except MessageError as error:
            raise KeyError(topic) from error
        if parsed.kind is not TopicKind.READINGS or parsed.pool_id is None:
            raise KeyError(topic)
        learnt = self[topic] = TopicSeries(
            parsed.gateway_id, 0, _LearntSensors(parsed.pool_id, self._numbers)
        )
        return learnt


class _LearntSensors(dict[str, dict[str, int]]):
    def __init__(self, pool_id: str, numbers: dict[Series, int]) -> None:
        super().__init__()
        self._pool_id = pool_id
        self._numbers = numbers

    def __missing__(self, sensor_id: str) -> dict[str, int]:
        if not is_id(sensor_id):
            raise KeyError(sensor_id)
        learnt = self[sensor_id] = _LearntQuantities(self._pool_id, sensor_id, self._numbers)
        return learnt


class _LearntQuantities(dict[str, int]):
    def __init__(self, pool_id: str, sensor_id: str, numbers: dict[Series, int]) -> None:
        super().__init__()
        self._place = (pool_id, sensor_id)
        self._numbers = numbers

    def __missing__(self, quantity: str) -> int:
        if quantity not in _QUANTITIES:
            raise KeyError(quantity)
        series = Series(*self._place, quantity)
        learnt = self[quantity] = self._numbers.setdefault(series, len(self._numbers))
        return learnt
