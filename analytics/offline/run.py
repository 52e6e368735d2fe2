"""Judging from files, from the first row to the last table."""

from collections.abc import Callable, Iterator
from datetime import date, datetime, timedelta
from pathlib import Path
from zoneinfo import ZoneInfo

import numpy as np
from numpy.typing import NDArray

from analytics.offline.block import Block
from analytics.offline.errors import NoRowError, OfflineError
from analytics.offline.grids import CELL_BYTES, GridSink, Span, Statuses, cells_of, spilled_blocks
from analytics.offline.intake import Intake, take_in
from analytics.offline.out_folder import REFUSED, REFUSED_PUBLICATIONS, OutFolder
from analytics.offline.outcome import Outcome
from analytics.offline.plan import Plan, plan_of
from analytics.offline.publications_file import PUBLICATION_COLUMNS, PublicationsAside, read_publications
from analytics.offline.readings_file import STATUS, ReadingsFile, open_readings
from analytics.offline.refusals import Refusals
from analytics.offline.registered import SeriesBook
from analytics.offline.request import Request, Summary
from analytics.offline.spill import ROW, Spill, bounds_of
from analytics.offline.tables import Tables
from analytics.spans import FAR_MS
from gateway.contract.local_time import first_ms, time_zone, wall_time

_DAY = timedelta(days=1)
_DAY_MS = 86_400_000
#: Readings so far apart are a mistake of a clock rather than a history.
_LONGEST_YEARS = 30
_TABLES = ("quality", "quality_counts", "exceedances", "lapses", "compliance", "punctuality", "indicator")

Progress = Callable[[int, int | None], None]


def judge_files(request: Request, *, progress: Progress = lambda _done, _total: None) -> Summary:
    """Judge a file of readings and write the tables into a folder: all of them, in place of earlier ones, or none.

    Parameters
    ----------
    request : Request
    progress : callable
        Is told the rows read so far, and how many there are, if that is known.

    Raises
    ------
    OfflineError
        If a file cannot be read or written, no row can be used, or a grid would be too large.
    """
    if not request.registry.pools:
        raise OfflineError("the registry has no pool")
    file = open_readings(request.readings)
    book = SeriesBook(request.registry)
    plan = plan_of(book, request.profiles, with_publications=request.publications is not None)
    summary = Summary(
        pools=len(book.pools), series=len(book.series), judged=plan.judged, left_out=plan.left_out
    )
    names = (*_TABLES, "flags") if request.with_flags else _TABLES
    with OutFolder(request.folder) as out:
        try:
            with (
                Refusals(out.path / REFUSED) as refusals,
                PublicationsAside(book) as aside,
                Tables(out.path, names) as tables,
            ):
                summary.refused = refusals.counts
                if request.publications is not None:
                    _take_publications(request.publications, aside, book, out, summary)
                outcome = Outcome(request, plan, tables, aside, summary)
                _Judging(request, file, plan, refusals, summary, progress).run(outcome)
        except NoRowError as error:
            told = f"{error}; see {request.folder / REFUSED}" if summary.refused else str(error)
            if out.publish_refusals():
                told += f"; the tables in {request.folder} are of an earlier judging"
            raise OfflineError(told) from error
        out.publish()
    summary.tables = tables.rows
    return summary


def _take_publications(
    path: Path, aside: PublicationsAside, book: SeriesBook, out: OutFolder, summary: Summary
) -> None:
    with Refusals(out.path / REFUSED_PUBLICATIONS, columns=(*PUBLICATION_COLUMNS, STATUS)) as refusals:
        summary.publications = read_publications(path, aside=aside, book=book, refusals=refusals)
        summary.refused_publications = refusals.counts


class _Judging:
    """One judging: what time it covers, and how the rows come to blocks of pools, in memory or by way of the disk."""

    def __init__(
        self,
        request: Request,
        file: ReadingsFile,
        plan: Plan,
        refusals: Refusals,
        summary: Summary,
        progress: Progress,
    ) -> None:
        self._request, self._file, self._plan = request, file, plan
        self._refusals, self._summary = refusals, summary
        self._progress = progress
        zones = {pool.time_zone for pool in plan.book.pools}
        self._zones = [time_zone(name) for name in sorted(zones)]
        self._from_ms = self._bound(request.first, later=False)
        self._to_ms = self._bound(request.last, later=True)
        if self._from_ms is not None and self._to_ms is not None and self._from_ms >= self._to_ms:
            raise OfflineError("--from is not before --to")

    def _bound(self, given: date | int | None, *, later: bool) -> int | None:
        """An instant of a day's begin, or of the begin of the day after; of several time zones the widest."""
        if not isinstance(given, date):
            return given
        midnight = datetime(given.year, given.month, given.day) + (_DAY if later else timedelta())  # noqa: DTZ001 - on the wall
        instants = [first_ms(midnight, zone) for zone in self._zones]
        return max(instants) if later else min(instants)

    def run(self, outcome: Outcome) -> None:
        """Read the file and hand blocks of its pools over.

        Raises
        ------
        OfflineError
            See `judge_files`.
        """
        span = self._known_span()
        runs = self._plan.runs()
        if span is not None and cells_of(self._plan, runs, span) * CELL_BYTES <= self._request.grid_bytes:
            self._judge_in_memory(outcome, GridSink(self._plan, runs, span), span)
        else:
            self._judge_from_disk(outcome)

    def _known_span(self) -> Span | None:
        """What the grids have to cover, if that is known before the rows are read."""
        if self._file.span_ms is not None:
            return self._span(*self._file.span_ms)
        if self._from_ms is None or self._to_ms is None:
            return None
        return Span(self._from_ms - _DAY_MS, self._to_ms)

    def _span(self, first_ms: int, last_ms: int) -> Span:
        """What is judged of rows from one time to another, and the day before, if they reach so far back."""
        start, end = (
            min(_midnight(first_ms, zone) for zone in self._zones),
            max(_midnight(last_ms, zone, days=1) for zone in self._zones),
        )
        if self._from_ms is not None:
            start = min(self._from_ms, max(self._from_ms - _DAY_MS, start))
        if self._to_ms is not None:
            end = self._to_ms
        return Span(start, max(start, end))

    def _take_in(self, sink: GridSink | Spill, *, again: NDArray[np.bool_] | None = None) -> Intake:
        return take_in(
            self._file,
            book=self._plan.book,
            sink=sink,
            refusals=self._refusals if again is None else None,
            from_ms=-FAR_MS if self._from_ms is None else self._from_ms,
            to_ms=FAR_MS if self._to_ms is None else self._to_ms,
            lead_ms=_DAY_MS,
            progress=lambda done: self._progress(done, self._file.n_rows),
            only=again,
        )

    def _judge_in_memory(self, outcome: Outcome, sink: GridSink, span: Span) -> None:
        intake = self._take_in(sink)
        statuses = self._note(intake)
        crowded: list[int] = []

        def blocks() -> Iterator[Block]:
            yield from sink.blocks(self._plan, statuses, crowded)
            if not crowded:
                return
            # Pools with more than one reading in a step: their rows are read again, for grids of finer steps.
            wanted = np.zeros(len(self._plan.book.pools), dtype=np.bool_)
            wanted[crowded] = True
            with self._spill() as spill:
                self._take_in(spill, again=wanted[self._plan.book.pool_of])
                yield from spilled_blocks(
                    spill,
                    plan=self._plan,
                    span=span,
                    statuses=statuses,
                    refusals=self._refusals,
                    budget_bytes=self._request.grid_bytes,
                    pools=wanted,
                )

        outcome.judge(blocks(), intake)

    def _judge_from_disk(self, outcome: Outcome) -> None:
        with self._spill() as spill:
            intake = self._take_in(spill)
            statuses = self._note(intake)
            span = self._span(intake.first_ms, intake.last_ms)
            blocks = spilled_blocks(
                spill,
                plan=self._plan,
                span=span,
                statuses=statuses,
                refusals=self._refusals,
                budget_bytes=self._request.grid_bytes // 2,
            )
            outcome.judge(blocks, intake)

    def _spill(self) -> Spill:
        book = self._plan.book
        return Spill(bounds=bounds_of(book.first), pool_of=book.pool_of, row=ROW)

    def _note(self, intake: Intake) -> Statuses:
        """Set what is judged, and sort the statuses."""
        summary = self._summary
        summary.rows = intake.n_rows + self._refusals.counts["columns"]
        summary.outside, summary.without_value = intake.outside, intake.without_value
        summary.samples, summary.readings = len(intake.samples), intake.readings
        if intake.first_ms > intake.last_ms:
            raise NoRowError(self._why_none(intake))
        if self._from_ms is None:
            self._from_ms = min(_midnight(intake.first_ms, zone) for zone in self._zones)
        if self._to_ms is None:
            self._to_ms = max(_midnight(intake.last_ms, zone, days=1) for zone in self._zones)
        if self._to_ms - self._from_ms > _LONGEST_YEARS * 366 * _DAY_MS:
            first, last = (wall_time(at, self._zones[0]).date() for at in (intake.first_ms, intake.last_ms))
            raise OfflineError(
                f"the rows reach from {first} to {last}: say what is meant with --from and --to"
            )
        summary.from_ms, summary.to_ms = self._from_ms, self._to_ms
        if not intake.statuses:
            none = np.empty(0, dtype=np.int64)
            return none, none, none.astype(np.uint8)
        series, at_ms, code = (
            np.concatenate([part[column] for part in intake.statuses]) for column in range(3)
        )
        order = np.argsort(series, kind="stable")
        return series[order].astype(np.intp), at_ms[order], code[order]

    def _why_none(self, intake: Intake) -> str:
        counts = {
            "refused": self._refusals.total,
            "outside of --from and --to": intake.outside,
            "without a value": intake.without_value,
        }
        if not self._summary.rows:
            return f"{self._file.path} has a header and no row"
        told = ", ".join(f"{number:,} {what}" for what, number in counts.items() if number)
        return f"no row of {self._file.path} can be judged: of {self._summary.rows:,}, {told}"


def _midnight(at_ms: int, zone: ZoneInfo, *, days: int = 0) -> int:
    """Begin of the local day of an instant, or of so many days later."""
    day = wall_time(at_ms, zone).replace(hour=0, minute=0, second=0, microsecond=0)
    return first_ms(day + timedelta(days=days), zone)
