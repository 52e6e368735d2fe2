"""Flags of a window's probes, each with what else its pool measures. Pure."""

from collections.abc import Mapping, Sequence
from datetime import datetime, time

import numpy as np

from analytics.quality import (
    Check,
    Checked,
    Flagged,
    Surroundings,
    Track,
    look_back_ms,
    move_times,
    series_flags,
)
from analytics.quality.vocabulary import thresholds
from analytics.spans import Instants
from analytics.standards.profile import Profile
from analytics.window import Window
from gateway.contract.local_time import first_ms, time_zone
from gateway.contract.quantities import Quantity
from gateway.contract.registry import Pool, Sensor
from ingest.store.records import ReadingColumns, SeriesKey, StatusCode

_FLOAT64 = np.dtype(np.float64)


def checked_probe(pool: Pool, profile: Profile, entries: Sequence[Sensor], quantity: Quantity) -> Checked:
    """A probe as the quality checks need it.

    `entries` are its entries in the registry whose calibrations count, the newest last; none if it is not registered.
    """
    zone = time_zone(pool.time_zone)
    days = {entry.calibrated_on for entry in entries if entry.calibrated_on is not None}
    return Checked(
        quantity,
        profile.quality_rules(quantity),
        interval_s=entries[-1].interval_s if entries else None,
        begin_ms=pool.from_ms,
        calibrated_at_ms=tuple(first_ms(datetime.combine(day, time()), zone) for day in sorted(days)),
    )


def quality_back_ms(pool: Pool, profile: Profile) -> int:
    """How far before a reading lie others of its pool on which its flag depends, `Before` given. [ms]"""
    return max(
        (look_back_ms(checked_probe(pool, profile, [sensor], sensor.quantity)) for sensor in pool.sensors),
        default=0,
    )


def probe_flags(window: Window, readings: Mapping[SeriesKey, ReadingColumns]) -> dict[SeriesKey, Flagged]:
    """Flags of every probe of a window.

    Parameters
    ----------
    readings : mapping
        Of every probe, up to now and within its registered time, from `quality_back_ms` before the first reading whose
        flag has to be right.

    Returns
    -------
    flags : dict
        Flags and reasons, shape (n,) of each series.
    """
    pool = _Channels(window, readings)
    return {key: _flags_of(window, key, columns, pool) for key, columns in readings.items()}


def _flags_of(window: Window, key: SeriesKey, columns: ReadingColumns, pool: "_Channels") -> Flagged:
    checked = pool.checked(key)
    rules = checked.rules
    seed = window.seed(key)

    def flagged(around: Surroundings) -> Flagged:
        return series_flags(
            checked,
            measured_at_ms=columns.measured_at_ms,
            value=columns.value,
            status=columns.status,
            before=None if seed is None else seed.before,
            around=around,
        )

    near = Surroundings(
        flow=pool.tracks(key, Quantity.FLOW_M3_H),
        free_chlorine=pool.tracks(key, Quantity.FREE_CHLORINE_MG_L) if rules.orp_low_mv is not None else (),
        neighbours=pool.tracks(key, key.quantity) if rules.neighbour_suspect is not None else (),
    )
    pinned = rules.zero_pinned_s is not None and bool((np.abs(columns.value) <= rules.zero_floor).any())
    if not pinned:
        found = flagged(near)
        if not (found.reason & Check.FLAT_LINE).any():
            return found
    # Only what looks flat has to ask whether the pool lives: whether any other channel moved.
    return flagged(Surroundings(near.flow, pool.moves(key), near.free_chlorine, near.neighbours))


class _Channels:
    """The channels of a pool, looked up for each other."""

    def __init__(self, window: Window, readings: Mapping[SeriesKey, ReadingColumns]) -> None:
        self._window = window
        self._readings = readings
        self._tracks: dict[SeriesKey, Track] = {}

    def checked(self, key: SeriesKey) -> Checked:
        window = self._window
        sensor = window.sensor(key)
        entries = () if sensor is None else (sensor,)
        return checked_probe(window.pool, window.profile, entries, Quantity(key.quantity))

    def tracks(self, key: SeriesKey, quantity: str) -> tuple[Track, ...]:
        """Other probes of a quantity."""
        return tuple(
            self._track(other) for other in self._readings if other != key and other.quantity == quantity
        )

    def moves(self, key: SeriesKey) -> Instants | None:
        """When any other channel moved, sorted; None if there is none."""
        moved = [self._moves(other) for other in self._readings if other != key]
        return np.unique(np.concatenate(moved)) if moved else None

    def _moves(self, key: SeriesKey) -> Instants:
        checked = self.checked(key)
        limit = thresholds(checked.quantity, checked.rules, interval_s=checked.interval_s, dtype=_FLOAT64)
        return move_times(self._track(key), tolerance=limit.tolerance, reach_ms=limit.reach_ms)

    def _track(self, key: SeriesKey) -> Track:
        if key not in self._tracks:
            columns = self._readings[key]
            chosen = (columns.status == StatusCode.NORMAL) & ~np.isnan(columns.value)
            self._tracks[key] = Track(columns.measured_at_ms[chosen], columns.value[chosen])
        return self._tracks[key]
