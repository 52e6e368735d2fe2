"""Where in a grid an exceedance may begin and end, and the readings there, reduced to those that decide. Pure."""

from dataclasses import dataclass

import numpy as np
from numpy.typing import NDArray

from analytics.grid import Grid
from analytics.machine import Mask
from analytics.screening import Unusual
from analytics.spans import Instants

Positions = NDArray[np.intp]
#: One reading raises nothing and ends nothing. DESIGN 12.8
LEAST_READINGS = 2


@dataclass(frozen=True, slots=True)
class Zones:
    """Stretches of a series in which an exceedance may begin and, if it ends, certainly ends: steps [from, to)."""

    series: NDArray[np.int64]
    from_step: NDArray[np.int64]
    to_step: NDArray[np.int64]


def zones_of(grid: Grid, unusual: Unusual, *, confirm_ms: int, clear_ms: int) -> Zones:
    """From a stretch of unusual cells long enough to be confirmed, until usual ones certainly ended what it began."""
    long = (unusual.last - unusual.first + 1) * grid.step_ms > confirm_ms
    block = np.flatnonzero(long)
    # A long stretch of nothing but gaps raises nothing.
    gaps = np.searchsorted(unusual.gap, unusual.last[block], side="right") - np.searchsorted(
        unusual.gap, unusual.first[block], side="left"
    )
    block = block[unusual.last[block] - unusual.first[block] + 1 - gaps >= LEAST_READINGS]
    if not len(block):
        none = np.empty(0, dtype=np.int64)
        return Zones(none, none, none)
    # So many usual cells in a row end every exceedance, wherever in their steps the readings lie.
    clearing = max(-(-clear_ms // grid.step_ms) + 2, 2)
    from_cell, last_cell = unusual.cell[unusual.first], unusual.cell[unusual.last]
    # The last block before each such stretch ends a zone, or the series does.
    ends = np.flatnonzero(from_cell[1:] - last_cell[:-1] > clearing)
    zone = np.searchsorted(ends, block, side="left")
    series, step = unusual.place(unusual.first[block])
    fresh = np.ones(len(zone), dtype=np.bool_)
    fresh[1:] = (zone[1:] != zone[:-1]) | (series[1:] != series[:-1])
    series, step, block, zone = series[fresh], step[fresh], block[fresh], zone[fresh]
    last_block = np.append(ends, len(from_cell) - 1)[zone]
    to_step = step + last_cell[last_block] - from_cell[block] + 1 + clearing
    return Zones(series, step, np.minimum(to_step, grid.n_steps))


@dataclass(frozen=True, slots=True)
class Cells:
    """Readings of zones, gaps left out; zone after zone, each by time.

    Attributes
    ----------
    cell : ndarray of intp, shape (n,)
        Flat index into the grid.
    value : ndarray of the grid's dtype, shape (n,)
    begins : ndarray of intp, shape (zones,)
        Position of each zone's first reading.
    """

    cell: Positions
    value: NDArray[np.floating]
    begins: Positions

    @property
    def counts(self) -> Positions:
        """Readings of each zone."""
        return np.diff(self.begins, append=len(self.value))

    def of(self, zone: Positions) -> "Cells":
        """Those of some of the zones, ascending."""
        if len(zone) == len(self.begins):
            return self
        counts = self.counts
        chosen = np.zeros(len(counts), dtype=np.bool_)
        chosen[zone] = True
        place = np.flatnonzero(np.repeat(chosen, counts))
        kept = counts[zone]
        return Cells(self.cell[place], self.value[place], np.cumsum(kept) - kept)

    def edges(self, outside: Mask, well_inside: Mask) -> "Edges":
        """The readings at which something may change: first and last of each stretch of one kind without a gap in it."""
        n = len(self.cell)
        new = np.empty(n, dtype=np.bool_)
        np.not_equal(self.cell[1:] - self.cell[:-1], 1, out=new[1:])
        new[self.begins] = True
        whole = ~new
        for mask in (outside, well_inside):
            new[1:] |= mask[1:] != mask[:-1]
        first = np.flatnonzero(new)
        position = np.empty((len(first), 2), dtype=np.intp)
        position[:, 0] = first
        position[:-1, 1] = first[1:] - 1
        position[-1:, 1] = n - 1
        single = position[:, 0] == position[:, 1]
        # What is the last of a stretch follows its first without a gap, and so does a first that no gap or zone divides.
        follows = np.ones(position.shape, dtype=np.bool_)
        follows[:, 0] = whole[first]
        kept = np.ones(position.shape, dtype=np.bool_)
        kept[:, 1] = ~single
        place = position[kept]
        return Edges(place, follows[kept], np.searchsorted(place, self.begins, side="left"))

    def from_on(self, grid: Grid, *, series: Positions, zone: Positions, at_ms: Instants) -> Positions:
        """Position of the first reading of a zone at or after an instant; the zone's end if there is none."""
        within = np.clip(at_ms, grid.start_ms, grid.end_ms) - grid.start_ms
        step = within // grid.step_ms
        cell = series * grid.n_steps + np.minimum(step, grid.n_steps - 1)
        earlier = grid.offset_ms.reshape(-1)[cell] < within - step * grid.step_ms
        cell = series * grid.n_steps + step + (earlier & (step < grid.n_steps))
        end = np.append(self.begins[1:], len(self.cell))
        found = np.searchsorted(self.cell, cell, side="left")
        position: Positions = np.clip(found, self.begins[zone], end[zone])
        return position


@dataclass(frozen=True, slots=True)
class Edges:
    """Some readings of `Cells`: `place` where they are, `follows` whether no gap lies before each; `begins` by zone."""

    place: Positions
    follows: Mask
    begins: Positions


def cells_of(grid: Grid, zones: Zones) -> Cells:
    """The readings of zones; each has some, for it was chosen for them."""
    length = zones.to_step - zones.from_step
    before = np.cumsum(length) - length
    cell = np.repeat(zones.series * grid.n_steps + zones.from_step - before, length)
    cell += np.arange(len(cell))
    value = grid.value.reshape(-1)[cell]
    present = ~np.isnan(value)
    counts = np.add.reduceat(present, before, dtype=np.intp)
    return Cells(cell[present], value[present], np.cumsum(counts) - counts)


def times_of(grid: Grid, cell: Positions) -> Instants:
    """Times of the readings in cells given by flat index. [ms]"""
    at_ms: Instants = cell % grid.n_steps
    at_ms *= grid.step_ms
    at_ms += grid.offset_ms.reshape(-1)[cell]
    at_ms += grid.start_ms
    return at_ms
