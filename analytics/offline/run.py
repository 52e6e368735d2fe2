"""Judging from files, from the first row to the last table."""

from collections.abc import Callable, Iterator, Mapping, Sequence
from datetime import date, datetime, timedelta
from zoneinfo import ZoneInfo

import numpy as np
from numpy.typing import NDArray

from analytics.offline.ahead import read_ahead
from analytics.offline.block import Block, JudgedBlock, judge_block, judged_cells
from analytics.offline.errors import OfflineError
from analytics.offline.figure_columns import compliance_columns, indicator_columns, punctuality_columns
from analytics.offline.figures import Figures, periods
from analytics.offline.grids import (
    CELL_BYTES,
    GridSink,
    Span,
    Statuses,
    cells_of,
    spilled_blocks,
)
from analytics.offline.intake import Intake, Sample, take_in
from analytics.offline.plan import FROM_PUBLICATIONS, Plan, opening_of, plan_of
from analytics.offline.publications_file import PUBLICATION_COLUMNS, read_publications
from analytics.offline.readings_file import STATUS, ReadingsFile, open_readings
from analytics.offline.refusals import Refusals
from analytics.offline.registered import SeriesBook
from analytics.offline.request import Request, Summary
from analytics.offline.sparse import asks_probes, good_readings, key_of, sparse_findings
from analytics.offline.spill import ROW, Spill, bounds_of
from analytics.offline.tables import Tables
from analytics.offline.verdict_columns import (
    Untested,
    count_columns,
    exceedance_columns,
    finding_exceedance_columns,
    finding_lapse_columns,
    flag_columns,
    lapse_columns,
    quality_columns,
    untested_columns,
)
from analytics.quality import Flag
from analytics.ragged import RaggedSpans
from analytics.spans import FAR_MS
from analytics.standards.profile import DutyKind
from analytics.verdicts import Finding
from gateway.contract.local_time import first_ms, time_zone, wall_time
from ingest.store.records import PublicationColumns, ReadingColumns, SeriesKey

_DAY = timedelta(days=1)
_DAY_MS = 86_400_000
#: Readings so far apart are a mistake of a clock rather than a history.
_LONGEST_YEARS = 30
_TABLES = ("quality", "quality_counts", "exceedances", "lapses", "compliance", "punctuality", "indicator")

Progress = Callable[[int, int | None], None]
Publications = Mapping[int, Mapping[SeriesKey, PublicationColumns]]


def judge_files(request: Request, *, progress: Progress = lambda _done, _total: None) -> Summary:
    """Judge a file of readings and write the tables into a folder.

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
    try:
        request.folder.mkdir(parents=True, exist_ok=True)
    except OSError as error:
        raise OfflineError(f"{request.folder} cannot be made: {error.strerror}") from error
    summary = Summary(
        pools=len(book.pools), series=len(book.series), judged=plan.judged, left_out=plan.left_out
    )
    names = (*_TABLES, "flags") if request.with_flags else _TABLES
    with Refusals(request.folder / "refused.csv") as refusals, Tables(request.folder, names) as tables:
        publications = _publications(request, book, summary)
        _Judging(request, file, plan, publications, refusals, tables, summary, progress).run()
        summary.refused = refusals.counts
    summary.tables = tables.rows
    return summary


def _publications(request: Request, book: SeriesBook, summary: Summary) -> Publications:
    if request.publications is None:
        return {}
    path = request.folder / "refused_publications.csv"
    with Refusals(path, columns=(*PUBLICATION_COLUMNS, STATUS)) as refusals:
        found = read_publications(request.publications, book=book, refusals=refusals)
        summary.refused_publications = refusals.counts
    return found


class _Judging:
    """One judging."""

    def __init__(
        self,
        request: Request,
        file: ReadingsFile,
        plan: Plan,
        publications: Publications,
        refusals: Refusals,
        tables: Tables,
        summary: Summary,
        progress: Progress,
    ) -> None:
        self._request, self._file, self._plan = request, file, plan
        self._publications, self._refusals = publications, refusals
        self._tables, self._summary = tables, summary
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

    def run(self) -> None:
        span = self._known_span()
        runs = self._plan.runs()
        if span is not None and cells_of(self._plan, runs, span) * CELL_BYTES <= self._request.grid_bytes:
            self._judge_in_memory(GridSink(self._plan, runs, span), span)
        else:
            self._judge_from_disk()

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

    def _judge_in_memory(self, sink: GridSink, span: Span) -> None:
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

        self._judge(blocks(), intake)

    def _judge_from_disk(self) -> None:
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
            self._judge(blocks, intake)

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
            raise OfflineError(
                f"no row of {self._file.path} can be judged: {self._refusals.total} were refused, see refused.csv, "
                f"and {intake.outside} lie outside of --from and --to"
            )
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

    def _judge(self, blocks: Iterator[Block], intake: Intake) -> None:
        plan = self._plan
        from_ms, to_ms = self._summary.from_ms, self._summary.to_ms
        opening = opening_of(plan.book.pools, from_ms=min(from_ms, intake.first_ms), to_ms=to_ms)
        samples: dict[int, list[Sample]] = {}
        for sample in intake.samples:
            samples.setdefault(sample.pool, []).append(sample)
        first_sample = np.array(
            [
                min((sample.at_ms for sample in samples.get(pool, ())), default=FAR_MS)
                for pool in range(len(plan.book.pools))
            ],
            dtype=np.int64,
        )
        figures = Figures(plan)

        def judged_blocks() -> Iterator[tuple[JudgedBlock, NDArray[np.floating] | None]]:
            for block in blocks:
                values = block.grid.value.copy() if self._request.with_flags else None
                pools = range(block.pool_from, block.pool_to)
                yield (
                    judge_block(
                        block,
                        plan=plan,
                        opening=RaggedSpans.of([opening[pool] for pool in pools]),
                        first_ms_of_pool=first_sample[block.pool_from : block.pool_to],
                        from_ms=from_ms,
                        to_ms=to_ms,
                    ),
                    values,
                )

        # The next block is judged while the tables of this one are written.
        for judged, values in read_ahead(judged_blocks(), depth=1):
            self._write_block(judged, values)
            figures.add_block(judged)
            self._judge_sparse(judged, opening, samples, figures)
        self._write_figures(figures, opening)

    def _write_block(self, judged: JudgedBlock, values: NDArray[np.floating] | None) -> None:
        plan, tables, to_ms = self._plan, self._tables, self._summary.to_ms
        tables.add("quality", quality_columns(judged, plan))
        tables.add("quality_counts", count_columns(judged, plan))
        tables.add("exceedances", exceedance_columns(judged, plan, to_ms=to_ms))
        lapses = lapse_columns(judged, plan, to_ms=to_ms)
        tables.add("lapses", lapses)
        if values is not None:
            cells = judged_cells(judged.block.grid, from_ms=self._summary.from_ms, to_ms=to_ms)
            for row in range(len(values)):
                tables.add("flags", flag_columns(judged, plan, values[row], row, cells=cells))
        summary = self._summary
        summary.exceedances += len(judged.found.series)
        summary.lapses[DutyKind.ONLINE_MONITORING] += len(lapses["start"])
        summary.pools_without_rows += int(np.count_nonzero(judged.begin_ms == FAR_MS))
        summary.steps_s[judged.block.grid.step_ms / 1000] += judged.block.grid.n_series
        for flag in Flag:
            summary.flags[flag.name.lower()] += int(judged.flag_counts[:, flag].sum())

    def _judge_sparse(
        self,
        judged: JudgedBlock,
        opening: RaggedSpans,
        samples: Mapping[int, Sequence[Sample]],
        figures: Figures,
    ) -> None:
        """Samples, and duties other than online monitoring, pool by pool."""
        plan, block, summary = self._plan, judged.block, self._summary
        raised: list[Finding] = []
        lapsed: list[Finding] = []
        untested: list[Untested] = []
        for pool in range(block.pool_from, block.pool_to):
            begin_ms = int(judged.begin_ms[pool - block.pool_from])
            if begin_ms == FAR_MS:
                continue
            found = sparse_findings(
                pool=plan.book.pools[pool],
                venue=self._request.registry.venue_of(plan.book.pools[pool]),
                profile=plan.profiles[pool],
                opening=opening[pool],
                begin_ms=begin_ms,
                samples=samples.get(pool, ()),
                online=self._probes(judged, pool) if asks_probes(plan.profiles[pool]) else {},
                publications=self._publications.get(pool, {}),
                from_ms=summary.from_ms,
                to_ms=summary.to_ms,
            )
            figures.add_sparse(pool, found)
            raised += [finding for finding in found.exceedances if finding.start_ms < summary.to_ms]
            lapsed += [finding for finding in found.lapses if finding.start_ms < summary.to_ms]
            untested += [
                Untested(pool, duty, quantity, outcome.overdue)
                for duty, quantity, outcome in found.duties
                if duty.duty not in FROM_PUBLICATIONS
            ]
        times = {"from_ms": summary.from_ms, "to_ms": summary.to_ms}
        if raised:
            self._tables.add("exceedances", finding_exceedance_columns(raised, plan, **times))
            summary.exceedances += len(raised)
        if lapsed:
            self._tables.add("lapses", finding_lapse_columns(lapsed, **times))
            summary.lapses.update(str(finding.rule) for finding in lapsed)
        tests = untested_columns(untested, plan, **times)
        self._tables.add("lapses", tests)
        summary.lapses[DutyKind.DAILY_TEST] += len(tests["start"])

    def _probes(
        self, judged: JudgedBlock, pool: int
    ) -> dict[SeriesKey, tuple[ReadingColumns, frozenset[int]]]:
        book, block = self._plan.book, judged.block
        first = int(book.first[block.pool_from])
        found = {}
        for number in range(int(book.first[pool]), int(book.first[pool + 1])):
            row = number - first
            flag = judged.flagged.flag[row]
            doubtful = np.flatnonzero((flag != Flag.GOOD) & (flag != Flag.MISSING))
            bad = block.grid.measured_at_ms(np.array([row]), doubtful)
            found[key_of(book.series[number])] = (good_readings(block.grid, row), frozenset(bad.tolist()))
        return found

    def _write_figures(self, figures: Figures, opening: RaggedSpans) -> None:
        plan, tables, summary = self._plan, self._tables, self._summary
        open_time = figures.open_time(opening, from_ms=summary.from_ms, to_ms=summary.to_ms)
        kept, duties = figures.compliance(open_time), figures.punctuality(open_time)
        for of_period in periods(kept):
            tables.add("compliance", compliance_columns(of_period, plan))
        for of_duty in periods(duties):
            tables.add("punctuality", punctuality_columns(of_duty, plan))
        rows = figures.indicators(open_time, kept, duties, to_ms=summary.to_ms)
        tables.add("indicator", indicator_columns(rows, plan))


def _midnight(at_ms: int, zone: ZoneInfo, *, days: int = 0) -> int:
    """Begin of the local day of an instant, or of so many days later."""
    day = wall_time(at_ms, zone).replace(hour=0, minute=0, second=0, microsecond=0)
    return first_ms(day + timedelta(days=days), zone)
