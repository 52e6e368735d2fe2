"""What blocks of pools show, as rows of the tables and in short."""

from collections.abc import Iterator, Mapping, Sequence

import numpy as np
from numpy.typing import NDArray

from analytics.offline.ahead import read_ahead
from analytics.offline.block import Block, JudgedBlock, judge_block, judged_cells
from analytics.offline.figure_columns import compliance_columns, indicator_columns, punctuality_columns
from analytics.offline.figures import Figures, periods
from analytics.offline.intake import Intake, Sample
from analytics.offline.plan import FROM_PUBLICATIONS, Plan, opening_of
from analytics.offline.publications_file import PublicationsAside
from analytics.offline.published import judge_published, publication_duties
from analytics.offline.registered import QUANTITIES
from analytics.offline.request import Request, Summary
from analytics.offline.sparse import SparseFindings, asks_probes, good_readings, key_of, sparse_findings
from analytics.offline.tables import Tables
from analytics.offline.verdict_columns import (
    Untested,
    count_columns,
    exceedance_columns,
    finding_exceedance_columns,
    finding_lapse_columns,
    flag_columns,
    lapse_columns,
    published_columns,
    quality_columns,
    untested_columns,
)
from analytics.quality import Flag
from analytics.ragged import RaggedSpans
from analytics.spans import FAR_MS
from analytics.standards.profile import DutyKind
from analytics.verdicts import Finding
from ingest.store.records import ReadingColumns, SeriesKey


class Outcome:
    """Judges blocks as they come, and writes what they show; `summary` has to say already from when to when."""

    def __init__(
        self, request: Request, plan: Plan, tables: Tables, publications: PublicationsAside, summary: Summary
    ) -> None:
        self._request, self._plan, self._tables = request, plan, tables
        self._publications, self._summary = publications, summary

    def judge(self, blocks: Iterator[Block], intake: Intake) -> None:
        """Judge all blocks, and make the figures of the whole.

        Raises
        ------
        OfflineError
            If the disk takes no more, or the blocks cannot be had.
        """
        plan = self._plan
        from_ms, to_ms = self._summary.from_ms, self._summary.to_ms
        opening = opening_of(plan.book.pools, from_ms=min(from_ms, intake.first_ms), to_ms=to_ms)
        samples: dict[int, list[Sample]] = {}
        for sample in intake.samples:
            samples.setdefault(sample.pool, []).append(sample)
        first_sample = np.full(len(plan.book.pools), FAR_MS, dtype=np.int64)
        for pool, of_pool in samples.items():
            first_sample[pool] = min(sample.at_ms for sample in of_pool)
        figures = Figures(plan)

        def judged_blocks() -> Iterator[tuple[JudgedBlock, NDArray[np.floating] | None]]:
            for block in blocks:
                values = block.grid.value.copy() if self._request.with_flags else None
                yield (
                    judge_block(
                        block,
                        plan=plan,
                        opening=_of_block(opening, block),
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
            found = self._sparse(judged, opening, samples)
            self._write_sparse(found, figures)
            if DutyKind.ONLINE_PUBLICATION in plan.judged:
                self._write_published(judged, opening, found, figures)
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
        if judged.block.grid.n_series:
            summary.steps_s[judged.block.grid.step_ms / 1000] += judged.block.grid.n_series
        for flag in Flag:
            summary.flags[flag.name.lower()] += int(judged.flag_counts[:, flag].sum())

    def _sparse(
        self, judged: JudgedBlock, opening: RaggedSpans, samples: Mapping[int, Sequence[Sample]]
    ) -> dict[int, SparseFindings]:
        """Samples, and duties other than online monitoring and simple publication, pool by pool."""
        plan, block, summary = self._plan, judged.block, self._summary
        found = {}
        for pool in range(block.pool_from, block.pool_to):
            begin_ms = int(judged.begin_ms[pool - block.pool_from])
            if begin_ms == FAR_MS:
                continue
            by_itself = publication_duties(plan.rules[pool]) is None
            asked = asks_probes(plan.profiles[pool], publications=by_itself)
            found[pool] = sparse_findings(
                pool=plan.book.pools[pool],
                venue=self._request.registry.venue_of(plan.book.pools[pool]),
                profile=plan.profiles[pool],
                opening=opening[pool],
                begin_ms=begin_ms,
                samples=samples.get(pool, ()),
                online=_probes(judged, plan, pool) if asked else {},
                publications=self._publications.of_pool(pool) if by_itself else None,
                from_ms=summary.from_ms,
                to_ms=summary.to_ms,
            )
        return found

    def _write_sparse(self, sparse: Mapping[int, SparseFindings], figures: Figures) -> None:
        plan, summary = self._plan, self._summary
        raised: list[Finding] = []
        lapsed: list[Finding] = []
        untested: list[Untested] = []
        for pool, found in sparse.items():
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

    def _write_published(
        self,
        judged: JudgedBlock,
        opening: RaggedSpans,
        sparse: Mapping[int, SparseFindings],
        figures: Figures,
    ) -> None:
        groups, block, summary = judged.groups, judged.block, self._summary
        times = {"from_ms": summary.from_ms, "to_ms": summary.to_ms}
        found = judge_published(
            judged,
            plan=self._plan,
            opening=_of_block(opening, block),
            publications=self._publications.of_pools(block.pool_from, block.pool_to),
            sampled=_sampled(judged, sparse),
            **times,
        )
        for row, (group, duty) in enumerate(found.duties):
            pool, quantity = int(groups.pool[group]) + block.pool_from, int(groups.quantity[group])
            figures.add_duty(pool, duty.duty, quantity, found.bound[row], found.overdue[row], None)
        lapses = published_columns(judged, found, self._plan, **times)
        self._tables.add("lapses", lapses)
        summary.lapses[DutyKind.ONLINE_PUBLICATION] += len(lapses["start"])

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


def _of_block(opening: RaggedSpans, block: Block) -> RaggedSpans:
    return opening.take(np.arange(block.pool_from, block.pool_to))


def _probes(
    judged: JudgedBlock, plan: Plan, pool: int
) -> dict[SeriesKey, tuple[ReadingColumns, frozenset[int]]]:
    """Good readings of a pool's probes, and the times of those that are not."""
    book, block = plan.book, judged.block
    first = int(book.first[block.pool_from])
    found = {}
    for number in range(int(book.first[pool]), int(book.first[pool + 1])):
        row = number - first
        flag = judged.flagged.flag[row]
        doubtful = np.flatnonzero((flag != Flag.GOOD) & (flag != Flag.MISSING))
        bad = block.grid.measured_at_ms(np.array([row]), doubtful)
        found[key_of(book.series[number])] = (good_readings(block.grid, row), frozenset(bad.tolist()))
    return found


def _sampled(judged: JudgedBlock, sparse: Mapping[int, SparseFindings]) -> dict[int, NDArray[np.int64]]:
    """When people measured good results, by group of the block."""
    groups, names = judged.groups, [quantity.value for quantity in QUANTITIES]
    pools = (groups.pool + judged.block.pool_from).tolist()
    group_of = {key: group for group, key in enumerate(zip(pools, groups.quantity.tolist(), strict=True))}
    several: dict[int, list[NDArray[np.int64]]] = {}
    for pool, found in sparse.items():
        for quantity, at_ms in found.sampled:
            group = group_of.get((pool, names.index(str(quantity))))
            if group is not None:
                several.setdefault(group, []).append(at_ms)
    return {group: np.concatenate(parts) for group, parts in several.items()}
