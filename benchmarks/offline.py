"""How fast and in how much memory `poolwatch judge` judges a file: a month of a city's probes, as Parquet.

Usage: python -m benchmarks.offline [--pools N] [--days N] [--publish-min N] [--orders series,time] [--folder DIR]

The rows come series by series, or minute by minute as a stream would bring them. Each command is a process of its own on
two cores; its wall time is from its start to its end, and its memory is the most that it was seen to have.
"""

import argparse
import json
import os
import sys
import tempfile
import time
from collections.abc import Iterator
from contextlib import suppress
from dataclasses import dataclass
from pathlib import Path

import numpy as np
import psutil
import pyarrow as pa
from numpy.typing import NDArray
from pyarrow import parquet

from benchmarks.history import DAY_MINUTES, PROBED, START_MS, History, make_history

_QUANTITIES = PROBED[:3]
_SENSORS = ("fc-1", "ph-1", "cc-1")
_ROWS_OF_GROUP = 1_048_576
_CORES = 2
_SAMPLE_S = 0.02
_TIME = pa.timestamp("ms", tz="UTC")
_SCHEMA = pa.schema(
    [
        ("pool_id", pa.dictionary(pa.int32(), pa.string())),
        ("sensor_id", pa.dictionary(pa.int32(), pa.string())),
        ("quantity", pa.dictionary(pa.int32(), pa.string())),
        ("measured_at", _TIME),
        ("value", pa.float32()),
    ]
)


@dataclass(frozen=True, slots=True)
class Judged:
    """One run of the command."""

    order: str
    rows: int
    file_mib: float
    wall_s: float
    cpu_s: float
    peak_mib: float

    @property
    def rows_per_s(self) -> float:
        """Rows a second, from the start of the process to its end."""
        return self.rows / self.wall_s


def city(*, n_pools: int, n_days: int) -> History:
    """Readings of `n_pools` pools; the quantities beyond the first three are not written."""
    return make_history(n_series=n_pools * len(PROBED), n_minutes=n_days * DAY_MINUTES)


def write_registry(path: Path, *, n_pools: int) -> None:
    """A registry of pools of the same hours."""
    sensors = ", ".join(
        f'{{ id = "{sensor}", quantity = "{probed.name}", interval_s = 60 }}'
        for sensor, probed in zip(_SENSORS, _QUANTITIES, strict=True)
    )
    parts = ['schema = 1\n[venues.v1]\nname_zh = "馆"\nname_en = "Venue"\ndistrict = "wujin"\n']
    parts += [
        f'[pools.{_pool_id(pool)}]\nvenue = "v1"\nname_zh = "池"\nname_en = "Pool"\nkind = "indoor"\n'
        f'opening_hours = "06:00-22:00"\nsensors = [{sensors}]\n'
        for pool in range(n_pools)
    ]
    path.write_text("".join(parts), encoding="utf-8")


def _pool_id(pool: int) -> str:
    return f"p{pool:04}"


def write_readings(path: Path, history: History, *, order: str) -> int:
    """Rows in an order of `series` or `time`; how many there are."""
    n_series, n_minutes = history.grid.value.shape
    written = np.flatnonzero(np.arange(n_series) % len(PROBED) < len(_QUANTITIES))
    n_rows = 0
    with parquet.ParquetWriter(path, _SCHEMA) as writer:
        for series, minutes in _pieces(written, n_minutes, order):
            grid = history.grid
            value = grid.value[series[:, None], minutes]
            at_ms = START_MS + minutes * grid.step_ms + grid.offset_ms[series[:, None], minutes]
            row = np.broadcast_to(series[:, None], value.shape)
            if order == "time":
                value, at_ms, row = value.T, at_ms.T, row.T
            there = ~np.isnan(value)
            writer.write_batch(_batch(row[there], at_ms[there], value[there], n_series))
            n_rows += int(there.sum())
    return n_rows


def _pieces(
    series: NDArray[np.intp], n_minutes: int, order: str
) -> Iterator[tuple[NDArray[np.intp], NDArray[np.intp]]]:
    minutes = np.arange(n_minutes)
    if order == "series":
        step = max(_ROWS_OF_GROUP // n_minutes, 1)
        return ((series[first : first + step], minutes) for first in range(0, len(series), step))
    step = max(_ROWS_OF_GROUP // len(series), 1)
    return ((series, minutes[first : first + step]) for first in range(0, n_minutes, step))


def _batch(
    row: NDArray[np.intp], at_ms: NDArray[np.int64], value: NDArray[np.floating], n_series: int
) -> pa.RecordBatch:
    quantity = (row % len(PROBED)).astype(np.int32)
    pools = [_pool_id(pool) for pool in range(n_series // len(PROBED))]
    columns = [
        pa.DictionaryArray.from_arrays((row // len(PROBED)).astype(np.int32), pools),
        pa.DictionaryArray.from_arrays(quantity, list(_SENSORS)),
        pa.DictionaryArray.from_arrays(quantity, [probed.name for probed in _QUANTITIES]),
        pa.array(at_ms.astype(np.int64)).cast(_TIME),
        pa.array(value),
    ]
    return pa.record_batch(columns, schema=_SCHEMA)


def write_publications(path: Path, history: History, *, every_min: int) -> int:
    """What a page showed of each series that renews its numbers every so many minutes, but for some of them."""
    n_series, n_minutes = history.grid.value.shape
    rng = np.random.default_rng(7)
    schema = _SCHEMA.append(pa.field("published_at", _TIME))
    n_rows = 0
    with parquet.ParquetWriter(path, schema) as writer:
        for series in range(n_series):
            if series % len(PROBED) >= len(_QUANTITIES):
                continue
            minutes = np.arange(int(rng.integers(every_min)), n_minutes, every_min)
            value = history.grid.value[series, minutes]
            there = ~np.isnan(value) & (rng.random(len(minutes)) > 0.02)
            minutes, value = minutes[there], value[there]
            at_ms = START_MS + minutes * history.grid.step_ms + history.grid.offset_ms[series, minutes]
            batch = _batch(np.full(len(minutes), series), at_ms, value, n_series)
            writer.write_batch(
                pa.record_batch([*batch.columns, pa.array(at_ms + 3000).cast(_TIME)], schema=schema)
            )
            n_rows += len(minutes)
    return n_rows


def run_command(arguments: list[str]) -> tuple[float, float, float]:
    """Wall time [s], time of all cores [s] and peak memory [MiB] of `poolwatch judge` with some arguments, on two cores."""
    cores = sorted(os.sched_getaffinity(0))[:_CORES] if hasattr(os, "sched_getaffinity") else []
    code = "import os, sys; os.sched_setaffinity(0, CORES) if CORES else None; from poolwatch.main import main; main()"
    begin = time.perf_counter()
    with tempfile.TemporaryFile("w+") as said:
        child = psutil.Popen(
            [sys.executable, "-c", code.replace("CORES", str(cores)), "judge", *arguments], stdout=said
        )
        peak_bytes, cpu_s = 0, 0.0
        # What the system itself calls a child's maximum counts the parent's memory, from before the child's program began.
        while child.poll() is None:
            with suppress(psutil.Error):
                peak_bytes = max(peak_bytes, child.memory_info().rss)
                times = child.cpu_times()
                cpu_s = times.user + times.system
            time.sleep(_SAMPLE_S)
        wall_s = time.perf_counter() - begin
        if child.returncode:
            said.seek(0)
            raise SystemExit(f"poolwatch judge ended with {child.returncode}:\n{said.read()}")
    return wall_s, cpu_s, peak_bytes / 2**20


def run(
    folder: Path, *, n_pools: int, n_days: int, orders: tuple[str, ...], publish_min: int
) -> list[Judged]:
    """Write the files into a folder and judge each."""
    history = city(n_pools=n_pools, n_days=n_days)
    registry = folder / "pools.toml"
    write_registry(registry, n_pools=n_pools)
    more: list[str] = []
    if publish_min:
        publications = folder / "publications.parquet"
        shown = write_publications(publications, history, every_min=publish_min)
        print(f"{shown:,} publications")
        more = ["--publications", str(publications)]
    files = [
        (order, path, write_readings(path, history, order=order))
        for order in orders
        for path in (folder / f"{order}.parquet",)
    ]
    del history
    print(f"{'rows come':12}{'rows':>14}{'file':>10}{'time':>9}{'cores':>9}{'memory':>11}{'rows/s':>11}")
    found = []
    for order, path, n_rows in files:
        wall_s, cpu_s, peak_mib = run_command(
            [str(path), "--registry", str(registry), "--out", str(folder / order), *more]
        )
        one = Judged(order, n_rows, path.stat().st_size / 2**20, wall_s, cpu_s, peak_mib)
        found.append(one)
        print(
            f"by {order:9}{one.rows:14,}{one.file_mib:6.0f} MiB{one.wall_s:7.1f} s{one.cpu_s:7.1f} s{one.peak_mib:7.0f} MiB"
            f"{one.rows_per_s / 1e6:9.1f} M"
        )
    return found


def main() -> None:
    """Print the table, and as the last line the figures as JSON."""
    parser = argparse.ArgumentParser(description=(__doc__ or "").splitlines()[0])
    parser.add_argument("--pools", type=int, default=1000)
    parser.add_argument("--days", type=int, default=30)
    parser.add_argument(
        "--publish-min", type=int, default=0, help="publish every so many minutes; 0: no publications"
    )
    parser.add_argument("--orders", default="series,time")
    parser.add_argument("--folder", type=Path, help="keep the files here")
    given = parser.parse_args()
    orders = tuple(given.orders.split(","))
    with tempfile.TemporaryDirectory(prefix="poolwatch-bench-") as temporary:
        folder = given.folder or Path(temporary)
        folder.mkdir(parents=True, exist_ok=True)
        found = run(
            folder, n_pools=given.pools, n_days=given.days, orders=orders, publish_min=given.publish_min
        )
    figures: dict[str, float] = {}
    for one in found:
        figures[f"offline_{one.order}_s"] = one.wall_s
        figures[f"offline_{one.order}_cpu_s"] = one.cpu_s
        figures[f"offline_{one.order}_peak_mib"] = one.peak_mib
        figures[f"offline_{one.order}_rows_per_s"] = one.rows_per_s
    print(json.dumps({"offline_rows": max(one.rows for one in found), **figures}))


if __name__ == "__main__":
    main()
