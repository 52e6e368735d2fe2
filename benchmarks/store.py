"""How fast the embedded store takes batches and gives back a day of one series, on this machine.

Usage: python benchmarks/store.py [--batches N]
"""

import argparse
import json
import statistics
import tempfile
import time
from pathlib import Path

import numpy as np

from ingest.store.batches import IngestBatch, batch_of_rows
from ingest.store.opening import open_store
from ingest.store.ports import Store
from ingest.store.records import ReadingRow

_DAY_MS = 86_400_000
_T0 = 20_000 * _DAY_MS
_SENSORS = (("fc-1", "free_chlorine_mg_l"), ("ph-1", "ph"), ("t-1", "water_temp_c"))
_BATCH = 10_000


def _rows(*, pools: int, interval_s: int, number: int) -> list[ReadingRow]:
    """Batch `number` of a city that measures three quantities in every pool at the same instants."""
    rng = np.random.default_rng(number)
    values = rng.normal(0.6, 0.05, _BATCH).round(2).tolist()
    rows = []
    for place in range(_BATCH):
        flat = number * _BATCH + place
        step, within = divmod(flat, pools * len(_SENSORS))
        pool, sensor = divmod(within, len(_SENSORS))
        at_ms = _T0 + step * interval_s * 1000
        rows.append(
            ReadingRow(
                *(f"pool-{pool}", *_SENSORS[sensor], at_ms, values[place], "normal", at_ms + 80),
                *(f"gw-{pool}", "b1", step, sensor),
            )
        )
    return rows


def _written_per_s(store: Store, batches: list[list[ReadingRow]], stored: list[int]) -> float:
    """Rows a second over batches; `stored` takes what each batch stored."""
    began = time.perf_counter()
    stored.extend(
        store.write(IngestBatch(readings=batch_of_rows(rows)), stored_at_ms=_T0).stored for rows in batches
    )
    return sum(map(len, batches)) / (time.perf_counter() - began)


def _read_ms(store: Store, *, at_least: int) -> float:
    """Median of reading one pool's day, divided by its three series."""
    times = []
    for number in range(21):
        began = time.perf_counter()
        found = store.readings(f"pool-{number % 20}", from_ms=_T0, to_ms=_T0 + _DAY_MS)
        times.append((time.perf_counter() - began) * 1000 / len(_SENSORS))
        assert all(columns.value.size >= at_least for columns in found.values())
    return statistics.median(times)


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__)
    parser.add_argument(
        "--batches", type=int, default=26, help="batches of 10,000 readings (26: a day, 60 pools)"
    )
    count = parser.parse_args().batches
    pools, interval_s = 60, 60
    batches = [_rows(pools=pools, interval_s=interval_s, number=number) for number in range(count)]
    with tempfile.TemporaryDirectory() as folder:
        path = Path(folder) / "store.sqlite"
        store = open_store(f"sqlite:{path}")
        stored: list[int] = []
        new_per_s = _written_per_s(store, batches, stored)
        assert sum(stored) == count * _BATCH
        again_per_s = _written_per_s(store, batches[:3], stored)
        assert sum(stored) == count * _BATCH
        small: list[float] = []
        for number in range(100):
            late = batches[-1][0]._replace(
                measured_at_ms=_T0 + 3 * _DAY_MS + number, seq=number, boot_id="b2"
            )
            began = time.perf_counter()
            store.write(IngestBatch(readings=batch_of_rows([late])), stored_at_ms=_T0)
            small.append((time.perf_counter() - began) * 1000)
        series_day_ms = _read_ms(store, at_least=min(1440, count * _BATCH // (pools * len(_SENSORS)) - 1))
        bytes_per_row = sum(file.stat().st_size for file in Path(folder).iterdir()) / (count * _BATCH)
        store.close()
    figures = {
        "write_10k_rows_per_s": round(new_per_s),
        "rewrite_10k_rows_per_s": round(again_per_s),
        "write_one_reading_ms": round(statistics.median(small), 2),
        "read_series_day_ms": round(series_day_ms, 2),
        "bytes_per_reading": round(bytes_per_row),
    }
    print(f"SQLite store, {pools} pools, one reading a minute and quantity, {count * _BATCH:,} readings")
    for name, figure in figures.items():
        print(f"  {name:<26}{figure:>12,}")
    print(json.dumps(figures))


if __name__ == "__main__":
    main()
