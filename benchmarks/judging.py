"""How fast whole histories are judged, beside pandas, polars and DuckDB doing the same job in the same run, on one core.

Usage: python benchmarks/judging.py [--series N] [--minutes T] [--peers-readings M] [--out TABLE.md] [--curve TICK.svg]

Before anything is timed the verdicts on a part of the history are compared with the plain loops of
`tests/analytics/brute_force.py`, and each peer's counts and lengths with ours. A peer that is not installed is left out
(`pip install pandas polars duckdb pyarrow`). Prints a table, and as its last line one JSON object.

pandas and polars are written twice: as a user would, with groups (`x_pandas`, `x_polars`), and as an expert might who
knows the rows to be sorted and keeps only the edges of runs (`x_pandas_expert`, `x_polars_expert`). All times are
processor time of one core, the least of several runs. We find each exceedance's worst value, and whether it is
unverified, besides; the peers only what `benchmarks/peers/long_rows.py` says.

This file is not called `analytics.py`: beside a script of that name Python would not find the package.
"""

import argparse
import importlib
import json
import os
import platform
import time
from collections.abc import Callable, Mapping
from dataclasses import dataclass
from functools import partial
from pathlib import Path
from types import ModuleType

import numpy as np

from analytics.exceedance import LimitTable, Rules
from analytics.grid_judge import GridRules, GridVerdicts, judge_grid
from analytics.ragged import RaggedSpans
from analytics.spans import FAR_MS
from benchmarks.curve import measure_curves, write_svg
from benchmarks.history import DAY_MINUTES, History, make_history
from benchmarks.peers.long_rows import AGE_MS, CLEAR_MS, CONFIRM_MS, GAP_MS, Counts, ends_of, long_rows
from poolwatch.clock import system_clock_ms
from tests.analytics import brute_force

_PEERS = ("pandas", "polars", "duckdb")
#: What other benchmarks of this folder add, each through its own `run()`; absent: null in the JSON.
_OTHERS = {
    "quality": ("quality_readings_per_s", "x_ioos_qc"),
    "scatter": ("scatter_rows_per_s",),
    "tick": ("tick_ms",),
}
_CHECKED_SERIES = 32
_REPEATS = 5
_PEER_REPEATS = 3


@dataclass(frozen=True, slots=True)
class Job:
    """A history and its rules: all that our core needs."""

    history: History
    rules: GridRules

    def judge(self) -> GridVerdicts:
        """Exceedances of every limit end and lapses of every series, up to the end of the history."""
        return judge_grid(self.history.grid, self.rules, now_ms=self.history.now_ms)


def job_of(history: History) -> Job:
    """The made-up quantities' limits, five minutes to confirm and to clear, fifteen for a gap and a lapse."""
    rows = []
    for series, quantity in enumerate(history.quantity_of.tolist()):
        low, high, low_well, high_well = ends_of(quantity)
        rows += [
            (series, is_high, value, well)
            for is_high, value, well in ((False, low, low_well), (True, high, high_well))
            if not np.isnan(value)
        ]
    n = len(rows)
    limits = LimitTable(
        series=np.array([row[0] for row in rows], dtype=np.intp),
        high=np.array([row[1] for row in rows], dtype=np.bool_),
        value=np.array([row[2] for row in rows], dtype=np.float64),
        closed=np.ones(n, dtype=np.bool_),
        well=np.array([row[3] for row in rows], dtype=np.float64),
        from_ms=np.full(n, -FAR_MS, dtype=np.int64),
        to_ms=np.full(n, FAR_MS, dtype=np.int64),
    )
    n_series = history.grid.n_series
    gap_ms, age_ms = (np.full(n_series, length, dtype=np.int64) for length in (GAP_MS, AGE_MS))
    span = np.array([[history.grid.start_ms, FAR_MS]], dtype=np.int64)
    rules = GridRules(
        limits=limits,
        confirmation=Rules(CONFIRM_MS, CLEAR_MS, gap_ms, history.opening, history.pool_of),
        group=np.arange(n_series),
        age_ms=age_ms,
        bound=RaggedSpans.of([span] * n_series),
        pool_of_group=history.pool_of,
    )
    return Job(history, rules)


def counts_of(verdicts: GridVerdicts, *, now_ms: int) -> Counts:
    """What the peers give."""
    found, lapses = verdicts.exceedances, verdicts.lapses
    return Counts(
        exceedances=len(found.start_ms),
        exceeded_ms=int((np.minimum(found.end_ms, now_ms) - found.start_ms).sum()),
        lapses=len(lapses.start_ms),
        lapsed_ms=int((np.minimum(lapses.end_ms, now_ms) - lapses.start_ms).sum()),
    )


def check_against_loops(history: History) -> int:
    """Assert that a part of a history is judged as by plain loops; number of verdicts compared."""
    job = job_of(history)
    limits, judged = job.rules.limits, job.judge()
    found, lapses = judged.exceedances, judged.lapses
    verdicts = 0
    for series in range(history.grid.n_series):
        step = np.flatnonzero(~np.isnan(history.grid.value[series]))
        at = history.grid.measured_at_ms(np.full(len(step), series), step).tolist()
        readings = list(zip(at, history.grid.value[series, step].tolist(), strict=True))
        opening = [(int(a), int(b)) for a, b in history.opening[int(history.pool_of[series])]]
        for row in np.flatnonzero(limits.series == series).tolist():
            expected = brute_force.exceedances(
                readings,
                brute_force.End(
                    high=bool(limits.high[row]),
                    value=float(np.float32(limits.value[row])),
                    closed=True,
                    well=float(np.float32(limits.well[row])),
                    from_ms=-FAR_MS,
                    to_ms=FAR_MS,
                ),
                confirm_ms=CONFIRM_MS,
                clear_ms=CLEAR_MS,
                gap_ms=GAP_MS,
                opening=opening,
                now_ms=history.now_ms,
            )
            ours = np.flatnonzero(found.limit_row == row)
            columns = (found.start_ms, found.end_ms, found.worst_value, found.unverified_since_ms)
            assert [
                brute_force.Piece(start, _known(end), None if np.isnan(worst) else worst, _known(since))
                for start, end, worst, since in zip(*(c[ours].tolist() for c in columns), strict=True)
            ] == expected, f"series {series}, limit {row}: exceedances differ from the loops"
            verdicts += len(expected)
        late = brute_force.lapses(
            at,
            age_ms=AGE_MS,
            bound=[(history.grid.start_ms, FAR_MS)],
            opening=opening,
            now_ms=history.now_ms,
        )
        ours = np.flatnonzero(lapses.group == series)
        assert [
            brute_force.Lapse(start, _known(end))
            for start, end in zip(lapses.start_ms[ours].tolist(), lapses.end_ms[ours].tolist(), strict=True)
        ] == late, f"series {series}: lapses differ from the loops"
        verdicts += len(late)
    return verdicts


def _known(at_ms: int) -> int | None:
    return None if at_ms == FAR_MS else at_ms


def best_s(call: Callable[[], object], *, repeats: int) -> float:
    """Least processor time of several runs, so that what else the machine does counts little. [s]"""
    took = []
    for _ in range(repeats):
        started = time.process_time()
        call()
        took.append(time.process_time() - started)
    return min(took)


@dataclass(frozen=True, slots=True)
class Peer:
    """How long a script of a peer took. `usual`: it is what a user of the peer would write, not what an expert might."""

    name: str
    title: str
    seconds: float
    usual: bool


def time_peers(history: History) -> tuple[float, list[Peer]]:
    """Our seconds, and those of each script of each peer that is installed, its result being ours.

    We are timed again beside each script, the best counts: what else the machine does then strikes both alike.
    """
    job = job_of(history)
    ours = counts_of(job.judge(), now_ms=history.now_ms)
    ours_s = best_s(job.judge, repeats=_REPEATS)
    rows = long_rows(history)
    took = []
    for name in _PEERS:
        try:
            peer: ModuleType = importlib.import_module(f"benchmarks.peers.{name}_judge")
        except ImportError as error:
            print(f"{name} is left out: {error}")
            continue
        tables = peer.prepare(rows)
        for number, (kind, judged_by) in enumerate(peer.VARIANTS.items()):
            theirs = judged_by(tables)
            assert theirs == ours, f"{name} finds {theirs}, we find {ours}"
            seconds = best_s(partial(judged_by, tables), repeats=_PEER_REPEATS)
            took.append(Peer(name, f"{name} {peer.VERSION}, {kind}", seconds, usual=number == 0))
            ours_s = min(ours_s, best_s(job.judge, repeats=_REPEATS))
    return ours_s, took


def other_figures() -> dict[str, float | None]:
    """Figures of the other benchmarks of this folder; None where one is missing."""
    figures: dict[str, float | None] = {}
    for name, keys in _OTHERS.items():
        try:
            measured: Mapping[str, float | None] = importlib.import_module(f"benchmarks.{name}").run()
        except ImportError as error:
            print(f"{name} is left out: {error}")
            measured = {}
        figures.update({key: measured.get(key) for key in keys})
    return figures


def machine() -> str:
    """Processor, cores and versions."""
    model = platform.processor() or platform.machine()
    cpuinfo = Path("/proc/cpuinfo")
    if cpuinfo.exists():
        names = [line for line in cpuinfo.read_text(encoding="utf-8").splitlines() if "model name" in line]
        model = names[0].split(":", 1)[1].strip() if names else model
    return f"{model}, {os.cpu_count()} cores, Python {platform.python_version()}, NumPy {np.__version__}"


def on_one_core() -> None:
    """Keep this process, and the libraries it loads from now on, on one core."""
    for name in ("POLARS_MAX_THREADS", "OMP_NUM_THREADS", "OPENBLAS_NUM_THREADS"):
        os.environ[name] = "1"
    if hasattr(os, "sched_setaffinity"):
        os.sched_setaffinity(0, {max(os.sched_getaffinity(0))})


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawTextHelpFormatter)
    parser.add_argument("--series", type=int, default=1000)
    parser.add_argument("--minutes", type=int, default=30 * DAY_MINUTES)
    parser.add_argument("--peers-readings", type=int, default=8_000_000)
    parser.add_argument("--out", type=Path, help="write the table there too, as Markdown")
    parser.add_argument("--curve", type=Path, help="draw the curves of one tick there, as SVG")
    given = parser.parse_args()
    on_one_core()
    history = make_history(n_series=given.series, n_minutes=given.minutes)
    readings = int(np.count_nonzero(~np.isnan(history.grid.value)))
    n_checked = check_against_loops(history.part(_CHECKED_SERIES))
    job = job_of(history)
    counts = counts_of(job.judge(), now_ms=history.now_ms)
    per_s = readings / best_s(job.judge, repeats=_REPEATS)

    part = history.part(given.peers_readings // given.minutes)
    part_readings = int(np.count_nonzero(~np.isnan(part.grid.value)))
    part_s, peers = time_peers(part)

    lines = [
        (
            f"{machine()}; {_date()}. One core. {history.grid.n_series:,} series × {given.minutes:,} min,"
            f" {readings:,} readings: {counts.exceedances:,} exceedances, {counts.lapses:,} lapses;"
            f" {n_checked:,} verdicts compared with plain loops, all equal."
        ),
        "",
        "| limits, opening hours, exceedances, lapses | readings | million readings/s | slower than poolwatch |",
        "|---|---|---|---|",
        f"| poolwatch | {readings:,} | {per_s / 1e6:.1f} | |",
        f"| poolwatch, the peers' part | {part_readings:,} | {part_readings / part_s / 1e6:.1f} | |",
    ]
    for peer in peers:
        rate = part_readings / peer.seconds / 1e6
        lines.append(f"| {peer.title} | {part_readings:,} | {rate:.2f} | {peer.seconds / part_s:.1f} × |")
    print("\n".join(lines))
    if given.out is not None:
        given.out.write_text("\n".join(lines) + "\n", encoding="utf-8")
    figures: dict[str, float | str | None] = {"judge_readings_per_s": round(per_s)}
    for name in _PEERS:
        figures[f"x_{name}"] = None
    for peer in peers:
        figures[f"x_{peer.name}{'' if peer.usual else '_expert'}"] = round(peer.seconds / part_s, 1)
    figures.update(other_figures())
    if given.curve is not None:
        tick = importlib.import_module("benchmarks.tick")
        write_svg(measure_curves(tick.measure_ms), given.curve)
    print(json.dumps({**figures, "machine": machine(), "date": _date()}))


def _date() -> str:
    return time.strftime("%Y-%m-%d", time.gmtime(system_clock_ms() / 1000))


if __name__ == "__main__":
    main()
