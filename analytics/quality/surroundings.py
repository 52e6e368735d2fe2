"""What else a pool measures, looked up at the times of one series' readings. Pure."""

from collections.abc import Sequence
from dataclasses import dataclass

import numpy as np

from analytics.quality.formulae import Found, Numbers, distances, moved
from analytics.spans import Instants


@dataclass(frozen=True, slots=True)
class Track:
    """Present readings of another channel, sorted by time.

    Attributes
    ----------
    at_ms : ndarray of int64, shape (n,)
        Milliseconds since the epoch.
    value : ndarray of float, shape (n,)
        No NaN.
    """

    at_ms: Instants
    value: Numbers

    def newest(self, at_ms: Instants, *, reach_ms: int) -> Numbers:
        """Newest value at or before each instant, shape (n,); NaN where there is none within reach."""
        found = np.full(len(at_ms), np.nan, dtype=self.value.dtype)
        if len(self.at_ms):
            index = np.searchsorted(self.at_ms, at_ms, side="right") - 1
            near = index >= 0
            near &= at_ms - self.at_ms[index] <= reach_ms
            found[near] = self.value[index[near]]
        return found


@dataclass(frozen=True, slots=True)
class Surroundings:
    """What else the pool measures, as far as a series' checks ask for it; the series itself is not in it.

    Attributes
    ----------
    flow : sequence of Track
        Circulation flow.
    moved_at_ms : ndarray of int64, shape (n,), or None
        When any other channel moved, sorted: the union of their `move_times`. None: there is no other channel. [ms]
    free_chlorine : sequence of Track
        For ORP.
    neighbours : sequence of Track
        Other sensors of the same quantity.
    """

    flow: Sequence[Track] = ()
    moved_at_ms: Instants | None = None
    free_chlorine: Sequence[Track] = ()
    neighbours: Sequence[Track] = ()


def move_times(track: Track, *, tolerance: float = 0.0, reach_ms: int) -> Instants:
    """When a channel differed from its reading before by more than its tolerance, both within reach, sorted. [ms]"""
    if not len(track.at_ms):
        return track.at_ms
    move = moved(track.value, tolerance=tolerance)
    move &= distances(track.at_ms) <= reach_ms
    return track.at_ms[move]


def flows(around: Surroundings, at_ms: Instants, *, reach_ms: int) -> tuple[Found, Found]:
    """Where the flow is known to run, and where it is known to stand."""
    runs = np.zeros(len(at_ms), dtype=np.bool_)
    known = np.zeros(len(at_ms), dtype=np.bool_)
    for track in around.flow:
        flow = track.newest(at_ms, reach_ms=reach_ms)
        runs |= flow > 0.0
        known |= ~np.isnan(flow)
    return runs, known & ~runs


def alive(around: Surroundings, at_ms: Instants, *, span_ms: int, reach_ms: int) -> Found:
    """Whether water flows at each instant, or another channel moved in the time before it."""
    lives, _ = flows(around, at_ms, reach_ms=reach_ms)
    if around.moved_at_ms is not None and not lives.all():
        moves = around.moved_at_ms
        lives |= np.searchsorted(moves, at_ms, side="right") > np.searchsorted(
            moves, at_ms - span_ms, side="right"
        )
    return lives
