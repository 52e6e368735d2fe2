"""Dense passes over a block of rows at a time, and the sparse places that they leave. Pure."""

from dataclasses import dataclass

import numpy as np
from numpy.typing import NDArray

from analytics.quality.board import Board, Cells
from analytics.quality.formulae import Found, Numbers
from analytics.spans import Instants

#: Cells of a block. Measured: the cost of a call on each block outweighs what a block of the second cache's size would
#: save; from here on larger ones bring nothing. A longer row is a block of its own.
BLOCK_CELLS = 262_144
_WORD = 8


@dataclass(frozen=True, slots=True)
class Gaps:
    """Runs of missing cells of a block, none of which spans two rows; bounds are places in the block.

    `start` and `end` (half-open), shape (n,), sorted. `inside`: a present cell of the same row on both sides.
    """

    start: Cells
    end: Cells
    inside: Found


def gaps_of(missing: Cells, *, n_steps: int, n: int) -> Gaps:
    """Gaps from the sorted places of missing cells."""
    if not len(missing):
        none = np.empty(0, dtype=np.int64)
        return Gaps(none, none, np.empty(0, dtype=np.bool_))
    begins = np.empty(len(missing), dtype=np.bool_)
    begins[0] = True
    begins[1:] = missing[1:] - missing[:-1] != 1
    begins |= missing % n_steps == 0
    first = np.flatnonzero(begins)
    start = missing[first]
    end = missing[np.append(first[1:], len(missing)) - 1] + 1
    return Gaps(start, end, (start % n_steps != 0) & (end % n_steps != 0) & (end < n))


class Block:
    """Rows of one kind, copied into one buffer, gaps filled with the value before them (infinity before the first).

    Attributes
    ----------
    value : ndarray of float, shape (n,)
        Rows one after another, filled.
    step : ndarray of float, shape (n,)
        |value - value before|; infinite where a row starts and at its first reading. 0 in a gap.
    absent : ndarray of bool, shape (n,)
        Cells without a probe's normal reading.
    gaps : Gaps
        Of those.
    """

    def __init__(self, board: Board, rows: NDArray[np.int64], buffers: "Buffers") -> None:
        self.board = board
        self.rows = rows
        self.n_steps = board.grid.n_steps
        self.n = n = len(rows) * self.n_steps
        self.consecutive = int(rows[-1] - rows[0]) == len(rows) - 1
        self._buffers = buffers
        self._shifted = buffers.value[: n + 1]
        self.value = self._shifted[1:]
        self.step = buffers.step[:n]
        self.absent = buffers.absent[:n]
        matrix = self.value.reshape(len(rows), self.n_steps)
        if self.consecutive:
            matrix[...] = board.grid.value[rows[0] : rows[-1] + 1]
        else:
            np.take(board.grid.value, rows, axis=0, out=matrix, mode="clip")
        np.isnan(self.value, out=self.absent)
        self.gaps = gaps_of(np.flatnonzero(self.absent), n_steps=self.n_steps, n=n)

    def mask(self) -> Found:
        """A scratch mask, shape (n,)."""
        return self._buffers.mask[: self.n]

    def second_mask(self) -> Found:
        """Another one."""
        return self._buffers.second[: self.n]

    def rows_of(self, flat: NDArray[np.uint8]) -> NDArray[np.uint8]:
        """The block's part of an array of the grid's cells."""
        if self.consecutive:
            first = int(self.rows[0]) * self.n_steps
            return flat[first : first + self.n]
        part: NDArray[np.uint8] = flat.reshape(-1, self.n_steps)[self.rows].reshape(-1)
        return part

    def leave_out(self, places: Cells) -> None:
        """Treat more cells as absent."""
        self.absent[places] = True
        self.gaps = gaps_of(np.flatnonzero(self.absent), n_steps=self.n_steps, n=self.n)

    def fill(self) -> None:
        """Fill the gaps and take the steps."""
        gaps = self.gaps
        if len(gaps.start):
            source = self._shifted[gaps.start]
            source[gaps.start % self.n_steps == 0] = np.inf
            self.value[self.absent] = np.repeat(source, gaps.end - gaps.start)
        np.subtract(self.value, self._shifted[:-1], out=self.step)
        np.abs(self.step, out=self.step)
        self.step[:: self.n_steps] = np.inf

    def cells(self, places: Cells) -> Cells:
        """Flat indices into the grid."""
        if self.consecutive:
            return places + int(self.rows[0]) * self.n_steps
        row = places // self.n_steps
        result: Cells = places + (self.rows[row] - row) * self.n_steps
        return result

    def key_ms(self, places: Cells) -> Instants:
        """Times of the readings but for a constant in each row. [ms]"""
        return self.board.key_ms(self.cells(places))

    def before_value(self, places: Cells) -> Numbers:
        """Value of the reading before each."""
        return self._shifted[places]

    def before(self, places: Cells) -> tuple[Cells, Found]:
        """Place of the reading before each, and whether there is one in its row."""
        before = places - 1
        hit = np.flatnonzero(self.absent[before])
        if len(hit):
            gap = np.searchsorted(self.gaps.end, places[hit])
            gap = np.minimum(gap, len(self.gaps.end) - 1)
            before[hit] = self.gaps.start[gap] - 1
        known = (before >= 0) & (before < places)
        return before, known & self._one_row(before, places)

    def after(self, places: Cells) -> tuple[Cells, Found]:
        """Place of the reading after each, and whether there is one in its row."""
        after = np.minimum(places + 1, self.n - 1)
        hit = np.flatnonzero(self.absent[after])
        if len(hit):
            gap = np.searchsorted(self.gaps.start, after[hit])
            gap = np.minimum(gap, len(self.gaps.start) - 1)
            after[hit] = np.minimum(self.gaps.end[gap], self.n - 1)
        there = (after > places) & self._one_row(after, places)
        return after, there & ~self.absent[after]

    def _one_row(self, places: Cells, others: Cells) -> Found:
        if len(self.rows) == 1:
            return np.ones(len(places), dtype=np.bool_)
        same: Found = places // self.n_steps == others // self.n_steps
        return same

    def far_apart(self, distance_ms: int) -> Cells:
        """Places of readings that come more than `distance_ms` after the reading before."""
        gaps, grid = self.gaps, self.board.grid
        after = gaps.end[gaps.inside]
        far = self.key_ms(after) - self.key_ms(gaps.start[gaps.inside] - 1) > distance_ms
        found = after[far]
        if distance_ms >= 2 * grid.step_ms:  # two readings in adjacent cells are always nearer than that
            return found
        place = np.flatnonzero(~self.absent[1:] & ~self.absent[:-1]) + 1
        place = place[place % self.n_steps != 0]
        near = place[self.key_ms(place) - self.key_ms(place - 1) > distance_ms]
        return np.sort(np.concatenate((found, near)))

    def still_runs(self, *, tolerance: float, breaks: Cells, min_cells: int) -> tuple[Cells, Cells]:
        """Runs of at least `min_cells` cells without a step above the tolerance and without a break, half-open."""
        mask = self._buffers.mask
        padded = -(-self.n // _WORD) * _WORD
        np.greater(self.step, self.step.dtype.type(tolerance), out=mask[: self.n])
        mask[self.n : padded] = True
        mask[breaks] = True
        if min_cells < 3 * _WORD:
            start = np.flatnonzero(mask[: self.n])
            end = np.append(start[1:], self.n)
        else:
            start, end = _long_runs(mask[:padded], (min_cells - _WORD) // _WORD)
            end = np.minimum(end, self.n)
        long = end - start >= min_cells
        return start[long], end[long]


def _long_runs(breaks: Found, min_words: int) -> tuple[Cells, Cells]:
    """Runs that begin with a True and go on without one over at least so many aligned words of eight cells."""
    words = breaks.view(np.uint64)
    quiet = np.flatnonzero(words == 0)
    if not len(quiet):
        return quiet, quiet
    cut = np.flatnonzero(np.diff(quiet) != 1)
    first = quiet[np.concatenate(([0], cut + 1))]
    last = quiet[np.append(cut, len(quiet) - 1)]
    long = last - first + 1 >= min_words
    first, last = first[long], last[long]
    by_word = breaks.reshape(-1, _WORD)
    # The first cell of a block is a break, so that there is a word before; the last word may be followed by none.
    start = first * _WORD - 1 - np.argmax(by_word[first - 1, ::-1], axis=1)
    follows = np.minimum(last + 1, len(words) - 1)
    end = np.where(last + 1 < len(words), follows * _WORD + np.argmax(by_word[follows], axis=1), len(breaks))
    return start, end


@dataclass(frozen=True, slots=True)
class Buffers:
    """What all blocks of a grid share."""

    value: Numbers
    step: Numbers
    absent: Found
    mask: Found
    second: Found


def buffers_for(n_cells: int, dtype: np.dtype[np.floating]) -> Buffers:
    """Room for the largest block."""
    value = np.empty(n_cells + 1, dtype=dtype)
    value[0] = np.nan
    padded = -(-n_cells // _WORD) * _WORD
    masks = [np.empty(padded, dtype=np.bool_) for _ in range(3)]
    return Buffers(value, np.empty(n_cells, dtype=dtype), *masks)
