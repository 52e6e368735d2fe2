"""Columns of figures by pool and period: open time taken apart by owner and day, days summed, tables for files. Pure."""

from collections.abc import Sequence
from dataclasses import Field, dataclass, fields, replace
from typing import Any, ClassVar, Protocol, TypeVar

import numpy as np
from numpy.typing import NDArray

from analytics.compliance.local_days import SEASON_MONTHS, Dates, Period, Sessions, period_start
from analytics.ragged import RaggedSpans
from analytics.ragged_lengths import count_ended, count_started, length_before
from analytics.spans import Spans

Codes = NDArray[np.int64]
Durations = NDArray[np.int64]

#: Code, in place of a quantity or a duty, of what is said of the pool as a whole.
WHOLE_POOL = -1


class PeriodColumns(Protocol):
    """A dataclass of columns of one length: codes of what a row speaks of, its first day, and figures that add up."""

    __dataclass_fields__: ClassVar[dict[str, Field[Any]]]

    @property
    def period(self) -> Period:
        """What the rows are."""

    @property
    def start(self) -> Dates:
        """First local day of each row's period."""

    @property
    def pool(self) -> Codes:
        """Which pool each row speaks of."""


Columns = TypeVar("Columns", bound=PeriodColumns)


@dataclass(frozen=True, slots=True)
class Pieces:
    """The sessions of each owner's pool, and where the run of each (owner, day) begins."""

    owner: NDArray[np.intp]
    spans: Spans
    day: Dates
    begins: NDArray[np.bool_]
    runs: NDArray[np.intp]

    @classmethod
    def of(cls, open_time: Sessions, pool: Codes) -> "Pieces":
        """The sessions of owner i are those of ``pool[i]``."""
        counts = np.diff(open_time.first)[pool]
        owner = np.repeat(np.arange(len(pool)), counts)
        skipped = open_time.first[pool] - (np.cumsum(counts) - counts)
        index = np.arange(len(owner)) + np.repeat(skipped, counts)
        day = open_time.day[index]
        return cls(owner, open_time.spans[index], day, open_time.begins[index], runs_of(owner, day))

    def length(self, spans: RaggedSpans) -> Durations:
        """Length of the owners' spans in each (owner, day). [ms]"""
        before_end = length_before(spans, self.owner, self.spans[:, 1])
        return sums_of(before_end - length_before(spans, self.owner, self.spans[:, 0]), self.runs)

    def begun(self, spans: RaggedSpans) -> NDArray[np.int64]:
        """How many pieces of the owners' spans, cut by session, begin in each (owner, day).

        What goes on past the midnight at which a long session is cut is not counted again on the next day.
        """
        started = count_started(spans, self.owner, self.spans[:, 0])
        going_on = started - count_ended(spans, self.owner, self.spans[:, 0])
        within = count_started(spans, self.owner, self.spans[:, 1]) - started
        return sums_of(within + going_on * self.begins, self.runs)

    def open_ms(self) -> Durations:
        """Open time of each (owner, day). [ms]"""
        return sums_of(self.spans[:, 1] - self.spans[:, 0], self.runs)


def runs_of(*columns: NDArray[Any]) -> NDArray[np.intp]:
    """First rows of the runs in which all columns stay the same."""
    if not len(columns[0]):
        return np.empty(0, dtype=np.intp)
    changes = np.zeros(len(columns[0]) - 1, dtype=np.bool_)
    for column in columns:
        changes |= column[1:] != column[:-1]
    return np.concatenate(([0], np.flatnonzero(changes) + 1)).astype(np.intp)


def sums_of(values: NDArray[np.int64], runs: NDArray[np.intp]) -> NDArray[np.int64]:
    """Sum of each run, shape of `runs`."""
    return np.asarray(np.add.reduceat(values, runs), dtype=np.int64) if len(runs) else values[:0]


def check_groups(open_time: Sessions, pool: Codes, *others: Codes) -> None:
    """ValueError if a pool is not in `open_time`, or a group, told by all its codes, is given twice."""
    if len(pool) and (int(pool.min()) < 0 or int(pool.max()) >= open_time.n_pools):
        raise ValueError(f"pools must be within 0 to {open_time.n_pools - 1}")
    if len(np.unique(np.column_stack((pool, *others)), axis=0)) != len(pool):
        raise ValueError("a group is given twice: join what is known of it first")


_KEYS = ("pool", "duty", "quantity", "start")


def by_period(days: Columns, period: Period, *, season_months: Sequence[int] = SEASON_MONTHS) -> Columns:
    """Sum days into months or seasons (`period_start`); what a day holds is never divided."""
    start = period_start(days.start, period, season_months=season_months)
    return summed(_with(days, period=period, start=start))


def summed(columns: Columns) -> Columns:
    """One row for each key: sums of all the rest."""
    names = [field.name for field in fields(columns) if field.name != "period"]
    by = [getattr(columns, name) for name in _KEYS if name in names]
    order = np.lexsort(by[::-1])
    ordered = chosen_rows(columns, order)
    runs = runs_of(*(column[order] for column in by))
    kept = chosen_rows(ordered, runs)
    sums: dict[str, Any] = {
        name: sums_of(getattr(ordered, name), runs) for name in names if name not in _KEYS
    }
    return _with(kept, **sums)


def chosen_rows(columns: Columns, rows: NDArray[np.intp]) -> Columns:
    """Some of the rows, in the order of `rows`."""
    chosen: dict[str, Any] = {
        field.name: getattr(columns, field.name)[rows] for field in fields(columns) if field.name != "period"
    }
    return _with(columns, **chosen)


def joined(upper: Columns, lower: Columns) -> Columns:
    """The rows of one, then those of the other, of the same period."""
    both: dict[str, Any] = {
        field.name: np.concatenate((getattr(upper, field.name), getattr(lower, field.name)))
        for field in fields(upper)
        if field.name != "period"
    }
    return _with(upper, **both)


def table(columns: Columns) -> dict[str, NDArray[Any]]:
    """Columns by name for a file, durations in seconds (float64, exact to the millisecond), with the kind of period."""
    named: dict[str, NDArray[Any]] = {"period": np.full(len(columns.pool), columns.period.value)}
    for field in fields(columns):
        column = getattr(columns, field.name)
        if field.name.endswith("_ms"):
            named[field.name.removesuffix("_ms") + "_s"] = column / 1000
        elif field.name != "period":
            named[field.name] = column
    return named


def _with(columns: Columns, **changed: Any) -> Columns:
    """The same with other columns; `replace` alone forgets the type of what only a Protocol describes."""
    replaced: Columns = replace(columns, **changed)
    return replaced
