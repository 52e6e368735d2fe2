"""The recent facts of one pool in memory, as blocks of an hour that are read again when something arrives in them."""

from collections import defaultdict
from collections.abc import Iterable, Mapping, Sequence
from dataclasses import dataclass, fields
from typing import TypeVar

import numpy as np

from analytics.spans import Instants
from analytics.window import between, split_samples
from ingest.store.ports import FactReader
from ingest.store.records import Arrival, ArrivalKind, PublicationColumns, ReadingColumns, SeriesKey

HOUR_MS = 3_600_000
#: New rows are looked for this far before the newest known: sensors of a pool do not speak at the same instant.
_TAIL_MS = 60_000

Readings = dict[SeriesKey, ReadingColumns]
Publications = dict[SeriesKey, PublicationColumns]
_Columns = TypeVar("_Columns", ReadingColumns, PublicationColumns)


def hour_of(at_ms: int) -> int:
    """Start of the hour of an instant."""
    return at_ms - at_ms % HOUR_MS


@dataclass(slots=True)
class _ReadingHour:
    """`online` is None when it was put away; `samples`, which are few, are kept."""

    online: Readings | None
    samples: Readings
    newest_ms: int
    ahead: int = 0

    def rows(self) -> int:
        """Readings held."""
        held = [*(self.online or {}).values(), *self.samples.values()]
        return sum(len(columns.measured_at_ms) for columns in held)


@dataclass(slots=True)
class _PublicationHour:
    columns: Publications
    newest_ms: int
    ahead: int = 0


class HotFacts:
    """Readings and publications of a pool; what is not in memory is read from the store when it is asked for."""

    def __init__(self, facts: FactReader, pool_id: str) -> None:
        self._facts = facts
        self._pool_id = pool_id
        self._readings: dict[int, _ReadingHour] = {}
        self._publications: dict[int, _PublicationHour] = {}

    def refresh(self, arrivals: Iterable[Arrival]) -> int | None:
        """Take in what arrived; returns the earliest instant at which something changed, None if nothing did.

        Usually the new rows are the newest, and only the tail of the hour is read. Whether that were all shows by
        counting; if it does not add up, the whole hour is read again. `ahead` counts rows that were read before their
        arrival was. An arrival of no row tells that one was replaced, anywhere in its hour.
        """
        rows: dict[tuple[ArrivalKind, int], int] = defaultdict(int)
        stored: dict[tuple[ArrivalKind, int], set[int]] = defaultdict(set)
        for arrival in arrivals:
            rows[arrival.kind, arrival.hour_ms] += arrival.rows
            stored[arrival.kind, arrival.hour_ms].add(arrival.stored_at_ms)
            if (
                arrival.kind is ArrivalKind.READINGS
                and not arrival.rows
                and arrival.hour_ms in self._readings
            ):
                self._load_readings(arrival.hour_ms, arrival.hour_ms + HOUR_MS)
        changed: list[int] = []
        for (kind, hour_ms), announced in rows.items():
            stamps = np.array(sorted(stored[kind, hour_ms]), dtype=np.int64)
            if kind is ArrivalKind.READINGS:
                changed.append(self._refresh_readings(hour_ms, announced, stamps))
            elif kind is ArrivalKind.PUBLICATION:
                changed.append(self._refresh_publications(hour_ms, announced, stamps))
        return min(changed, default=None)

    def _refresh_readings(self, hour_ms: int, announced: int, stamps: Instants) -> int:
        hour = self._readings.get(hour_ms)
        if hour is None:
            return hour_ms
        if hour.online is not None and hour.newest_ms > 0:
            held = hour.rows()
            from_ms = max(hour_ms, hour.newest_ms - _TAIL_MS)
            tail = self._facts.readings(self._pool_id, from_ms=from_ms, to_ms=hour_ms + HOUR_MS)
            online, samples = split_samples(tail)
            hour.online = _joined([_part(hour.online, to_ms=from_ms), online])
            hour.samples = _joined([_part(hour.samples, to_ms=from_ms), samples])
            hour.newest_ms = max(hour.newest_ms, _newest(tail))
            hour.ahead += hour.rows() - held - announced
            if hour.ahead >= 0:
                times = [
                    (c.measured_at_ms, c.stored_at_ms)
                    for c in (*hour.online.values(), *hour.samples.values())
                ]
                return _earliest(times, stamps, default=hour_ms)
        self._load_readings(hour_ms, hour_ms + HOUR_MS)
        return hour_ms

    def _refresh_publications(self, hour_ms: int, announced: int, stamps: Instants) -> int:
        hour = self._publications.get(hour_ms)
        if hour is None:
            return hour_ms
        if hour.newest_ms > 0:
            from_ms = max(hour_ms, hour.newest_ms - _TAIL_MS)
            held = _count(_publications_between(hour.columns, from_ms, hour_ms + HOUR_MS))
            tail = self._facts.publications(self._pool_id, from_ms=from_ms, to_ms=hour_ms + HOUR_MS)
            hour.columns = _joined([_publications_between(hour.columns, -HOUR_MS, from_ms), tail])
            hour.newest_ms = max([hour.newest_ms, *(int(c.published_at_ms[-1]) for c in tail.values())])
            hour.ahead += _count(tail) - held - announced
            if hour.ahead >= 0:
                times = [(c.published_at_ms, c.stored_at_ms) for c in hour.columns.values()]
                return _earliest(times, stamps, default=hour_ms)
        self._load_publications(hour_ms, hour_ms + HOUR_MS)
        return hour_ms

    def online(self, *, from_ms: int, to_ms: int) -> Readings:
        """Readings of probes with from_ms <= measured_at < to_ms."""
        self._ensure_readings(from_ms, to_ms)
        hours = range(hour_of(from_ms), to_ms, HOUR_MS)
        found = _joined([self._readings[hour].online or {} for hour in hours])
        return {
            key: part
            for key, columns in found.items()
            if len((part := between(columns, from_ms=from_ms, to_ms=to_ms)).measured_at_ms)
        }

    def samples(self, *, from_ms: int, to_ms: int) -> Readings:
        """Results by people with from_ms <= measured_at < to_ms."""
        first = hour_of(from_ms)
        missing = [hour for hour in range(first, to_ms, HOUR_MS) if hour not in self._readings]
        if missing:
            self._ensure_readings(missing[0], missing[-1] + HOUR_MS)
        hours = sorted(
            hour for hour, held in self._readings.items() if first <= hour < to_ms and held.samples
        )
        found = _joined([self._readings[hour].samples for hour in hours])
        return {key: between(columns, from_ms=from_ms, to_ms=to_ms) for key, columns in found.items()}

    def publications(self, *, from_ms: int, to_ms: int) -> Publications:
        """Published values with from_ms <= published_at < to_ms."""
        hours = range(hour_of(from_ms), to_ms, HOUR_MS)
        missing = [hour for hour in hours if hour not in self._publications]
        if missing:
            self._load_publications(missing[0], missing[-1] + HOUR_MS)
        found = _joined([self._publications[hour].columns for hour in hours])
        return _publications_between(found, from_ms, to_ms)

    def put_away(self, *, before_ms: int, samples_before_ms: int) -> None:
        """Forget what was before an instant; samples are kept longer."""
        for hour_ms in [hour for hour in self._publications if hour + HOUR_MS <= before_ms]:
            del self._publications[hour_ms]
        for hour_ms in [hour for hour in self._readings if hour + HOUR_MS <= before_ms]:
            if hour_ms + HOUR_MS <= samples_before_ms:
                del self._readings[hour_ms]
            else:
                self._readings[hour_ms].online = None

    def _ensure_readings(self, from_ms: int, to_ms: int) -> None:
        hours = range(hour_of(from_ms), to_ms, HOUR_MS)
        missing = [
            hour for hour in hours if hour not in self._readings or self._readings[hour].online is None
        ]
        if missing:
            self._load_readings(missing[0], missing[-1] + HOUR_MS)

    def _load_readings(self, from_ms: int, to_ms: int) -> None:
        """Read whole hours, [from, to), in one go."""
        found = self._facts.readings(self._pool_id, from_ms=from_ms, to_ms=to_ms)
        online, samples = split_samples(found)
        for hour_ms in range(from_ms, to_ms, HOUR_MS):
            part = _part(online, from_ms=hour_ms, to_ms=hour_ms + HOUR_MS)
            taken = _part(samples, from_ms=hour_ms, to_ms=hour_ms + HOUR_MS)
            self._readings[hour_ms] = _ReadingHour(part, taken, max(_newest(part), _newest(taken)))

    def _load_publications(self, from_ms: int, to_ms: int) -> None:
        found = self._facts.publications(self._pool_id, from_ms=from_ms, to_ms=to_ms)
        for hour_ms in range(from_ms, to_ms, HOUR_MS):
            part = _publications_between(found, hour_ms, hour_ms + HOUR_MS)
            newest_ms = max((int(columns.published_at_ms[-1]) for columns in part.values()), default=0)
            self._publications[hour_ms] = _PublicationHour(part, newest_ms)


def _part(readings: Mapping[SeriesKey, ReadingColumns], *, to_ms: int, from_ms: int = -HOUR_MS) -> Readings:
    """The part in [from, to) of each series, series without one left out."""
    parts = {key: between(columns, from_ms=from_ms, to_ms=to_ms) for key, columns in readings.items()}
    return {key: part for key, part in parts.items() if len(part.measured_at_ms)}


def _newest(readings: Mapping[SeriesKey, ReadingColumns]) -> int:
    return max((int(columns.measured_at_ms[-1]) for columns in readings.values()), default=0)


def _count(publications: Publications) -> int:
    """Publications: one has a value of each quantity, so instants are counted."""
    return len({at for columns in publications.values() for at in columns.published_at_ms.tolist()})


def _earliest(times: list[tuple[Instants, Instants]], stamps: Instants, *, default: int) -> int:
    """The earliest of the instants whose rows were stored at one of `stamps`."""
    found = []
    for at_ms, stored_at_ms in times:
        is_new = stored_at_ms == stamps[0] if len(stamps) == 1 else np.isin(stored_at_ms, stamps)
        new = np.flatnonzero(is_new)
        if len(new):
            found.append(int(at_ms[new[0]]))
    return min(found, default=default)


def _joined(parts: Sequence[Mapping[SeriesKey, _Columns]]) -> dict[SeriesKey, _Columns]:
    """Series put together from parts in order of time."""
    by_key: dict[SeriesKey, list[_Columns]] = defaultdict(list)
    for part in parts:
        for key, columns in part.items():
            by_key[key].append(columns)
    return {
        key: columns[0] if len(columns) == 1 else _concatenated(columns) for key, columns in by_key.items()
    }


def _concatenated(parts: Sequence[_Columns]) -> _Columns:
    kind = type(parts[0])
    return kind(
        **{one.name: np.concatenate([getattr(part, one.name) for part in parts]) for one in fields(kind)}
    )


def _publications_between(publications: Publications, from_ms: int, to_ms: int) -> Publications:
    parts: Publications = {}
    for key, columns in publications.items():
        first, after = np.searchsorted(columns.published_at_ms, (from_ms, to_ms), side="left")
        if first == after:
            continue
        part = slice(int(first), int(after))
        parts[key] = PublicationColumns(
            published_at_ms=columns.published_at_ms[part],
            measured_at_ms=columns.measured_at_ms[part],
            value=columns.value[part],
            status=columns.status[part],
            stored_at_ms=columns.stored_at_ms[part],
        )
    return parts
