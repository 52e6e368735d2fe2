"""What inspectors have: files of spreadsheets and laboratories, folders with older tables, a disk that is full."""

import csv
import os
from datetime import UTC, datetime
from pathlib import Path
from typing import Any

import numpy as np
import pytest

from analytics.offline.arrow import pa, parquet
from analytics.offline.errors import OfflineError
from analytics.offline.out_folder import UNFINISHED
from analytics.offline.readings_file import open_readings
from analytics.offline.spill import ROW, Spill
from analytics.standards.profile import load_profile, rules_for
from analytics.standards.samples import compare_samples
from gateway.contract.registry import PoolKind
from gateway.contract.times import format_timestamp
from tests.analytics.offline_case import (
    DAY,
    FC,
    HEADER,
    HOUR,
    PH,
    Row,
    judge_rows,
    refused,
    registry_text,
    series_rows,
    steady,
    table,
    write_csv,
)

STATION_B, ESTONIA = "station_b.csv", "estonia_pools_2021_2024.csv"


def shared_rows(name: str, variable: str) -> list[dict[str, str]]:
    default = Path(__file__).parents[3] / "shared" / "data" / name
    path = Path(os.environ.get(variable, default))
    if not path.exists():
        pytest.skip(f"{name} is not here; {variable} may name it")
    with path.open(encoding="utf-8", newline="") as file:
        return list(csv.DictReader(file))


@pytest.mark.parametrize("delimiter", [",", ";", "\t"])
def test_a_file_as_spreadsheets_write_it(tmp_path: Path, delimiter: str) -> None:
    lines = [
        list(HEADER[:5]),
        ["p1", "fc-1", FC, "2026-07-01T08:00:00+08:00", "0.5"],
        [],
        ['"p1"', '"fc-1"', f'"{FC}"', '"2026-07-01T08:01:00.5+08:00"', '"0.6"'],
    ]
    path = tmp_path / "r.csv"
    text = "\r\n".join(delimiter.join(line) for line in lines) + "\r\n"
    path.write_bytes(b"\xef\xbb\xbf" + text.encode())
    summary = judge_rows(tmp_path, path, registry_text("p1"))
    assert (summary.rows, summary.readings, summary.refused.total()) == (2, 2, 0)


def test_files_that_are_something_else_say_what_to_do(tmp_path: Path) -> None:
    header = ",".join(HEADER[:5])
    for name, content, reason in (
        ("a.csv", b"PK\x03\x04 and more", "spreadsheet or another ZIP file: save it as CSV"),
        ("b.csv", header.upper().encode() + b"\n", "names are in lower case"),
        ("c.csv", header.encode(), None),
    ):
        path = tmp_path / name
        path.write_bytes(content)
        if reason is None:
            assert list(open_readings(path).batches()) == []
        else:
            with pytest.raises(OfflineError, match=reason):
                open_readings(path)
    path = tmp_path / "d.csv"
    path.write_bytes(f"{header}\np1,fc-1,{FC},2026-07-01T08:00:00Z,0.5\n\xfc,a,b,c,d\n".encode("latin-1"))
    with pytest.raises(OfflineError, match="save it as UTF-8"):
        list(open_readings(path).batches())


def test_names_that_a_parquet_file_has_as_bytes(tmp_path: Path) -> None:
    columns = {
        "pool_id": pa.array([b"p1", b"p9"], type=pa.binary()),
        "sensor_id": ["fc-1", "fc-1"],
        "quantity": [FC, FC],
        "measured_at": pa.array([DAY, DAY], type=pa.timestamp("ms", tz="Asia/Shanghai")),
        "value": [1, 2],
    }
    path = tmp_path / "r.parquet"
    parquet.write_table(pa.table(columns), path)
    summary = judge_rows(tmp_path, path, registry_text("p1"))
    assert summary.readings == 1
    (row,) = refused(tmp_path)
    assert (row["row"], row["reason"], row["value"]) == ("2", "pool 'p9' is not in the registry", "2")
    assert row["measured_at"] == format_timestamp(DAY)


def files_of(folder: Path) -> dict[str, bytes]:
    return {path.name: path.read_bytes() for path in (folder / "out").iterdir()}


def test_tables_of_an_earlier_judging_do_not_stay_beside_new_ones(tmp_path: Path) -> None:
    path = write_csv(tmp_path / "r.csv", series_rows("p1", "fc-1", FC, steady(DAY, DAY + HOUR, 0.5)))
    judge_rows(tmp_path, path, registry_text("p1"), with_flags=True)
    (tmp_path / "out" / "notes.txt").write_text("mine")
    # What a judging that was killed has left.
    (tmp_path / "out" / UNFINISHED).mkdir()
    (tmp_path / "out" / UNFINISHED / "lapses.csv").touch()
    judge_rows(tmp_path, path, registry_text("p1"))
    left = files_of(tmp_path)
    assert "flags.parquet" not in left
    assert UNFINISHED not in left
    assert left["notes.txt"] == b"mine"


class TooMuchError(Exception):
    """Stands for whatever ends a judging in its middle."""


@pytest.mark.parametrize("error", [TooMuchError, KeyboardInterrupt, OSError])
def test_a_judging_that_ends_in_its_middle_leaves_the_tables_of_before(
    tmp_path: Path, error: type[BaseException], monkeypatch: pytest.MonkeyPatch
) -> None:
    path = write_csv(tmp_path / "r.csv", series_rows("p1", "fc-1", FC, steady(DAY, DAY + HOUR, 0.5)))
    judge_rows(tmp_path, path, registry_text("p1"))
    before = files_of(tmp_path)

    def end(*_: object, **__: object) -> None:
        raise error

    # The tables of the block are written by then, those of the figures are not.
    monkeypatch.setattr("analytics.offline.outcome.punctuality_columns", end)
    with pytest.raises(error):
        judge_rows(tmp_path, path, registry_text("p1"))
    assert files_of(tmp_path) == before


def test_without_a_usable_row_only_the_refused_ones_are_new(tmp_path: Path) -> None:
    good = write_csv(tmp_path / "r.csv", series_rows("p1", "fc-1", FC, steady(DAY, DAY + HOUR, 0.5)))
    judge_rows(tmp_path, good, registry_text("p1"))
    before = files_of(tmp_path)
    bad = write_csv(tmp_path / "b.csv", series_rows("p9", "fc-1", FC, [(DAY, 0.5)]))
    with pytest.raises(OfflineError, match=r"of 1, 1 refused; see .*; the tables in .* earlier judging"):
        judge_rows(tmp_path, bad, registry_text("p1"))
    after = files_of(tmp_path)
    assert b"'p9' is not in the registry" in after.pop("refused.csv")
    before.pop("refused.csv")
    assert after == before


def test_a_folder_that_cannot_be_written(tmp_path: Path) -> None:
    path = write_csv(tmp_path / "r.csv", series_rows("p1", "fc-1", FC, [(DAY, 0.5)]))
    with pytest.raises(OfflineError, match="cannot be written to: Not a directory"):
        judge_rows(path, path, registry_text("p1"))


@pytest.mark.skipif(not Path("/dev/full").exists(), reason="needs a device that is always full")
def test_rows_that_the_disk_does_not_take(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(
        "analytics.offline.spill.SpooledTemporaryFile",
        lambda **_: Path("/dev/full").open("wb", buffering=0),  # noqa: SIM115 - the spill closes it
    )
    one = np.zeros(1, dtype=np.int64)
    with (
        Spill(bounds=[0, 1], pool_of=np.zeros(1, dtype=np.intp), row=ROW) as spill,
        pytest.raises(OfflineError, match="No space left on device; name a folder with more room"),
    ):
        spill.add(series=one, at_ms=one, number=one, value=one.astype(np.float32))


def test_many_refused_rows_of_one_file_are_all_named(tmp_path: Path) -> None:
    # Rows of several faults by turns, in their order, with text that has quotes and commas.
    rows: list[Row] = []
    for number in range(3000):
        kind = number % 3
        pool = 'p"9,' if kind == 0 else "p1"
        value = f"{number}x" if kind == 1 else "0.5"
        rows.append((pool, "fc-1", FC, format_timestamp(DAY + number * 60_000), value, ""))
    summary = judge_rows(tmp_path, write_csv(tmp_path / "r.csv", rows), registry_text("p1"))
    found = refused(tmp_path)
    assert [int(row["row"]) for row in found] == [n + 1 for n in range(3000) if n % 3 < 2]
    assert found[0]["reason"] == "pool 'p\"9,' is not in the registry"
    assert found[1]["reason"] == "value '1x' is not a number"
    assert found[-1]["reason"] == "value '2998x' is not a number"
    assert summary.refused == {"unknown_pool": 1000, "not_a_number": 1000}


@pytest.mark.parametrize(
    ("day", "open_s"), [("2026-03-29", 23 * 3600), ("2026-10-25", 25 * 3600), ("2026-07-01", 24 * 3600)]
)
def test_days_on_which_the_clocks_change(tmp_path: Path, day: str, open_s: int) -> None:
    registry = registry_text("p1", opening=None).replace(
        'kind = "indoor"\n', 'kind = "indoor"\ntime_zone = "Europe/Tallinn"\n'
    )
    rows: list[Row] = [("p1", "manual", FC, f"{day}T12:00:00+02:00", 0.5, "manual")]
    begin = datetime.fromisoformat(
        f"{day}T00:00:00+0{2 if day < '2026-03-30' or day > '2026-10-26' else 3}:00"
    )
    start_ms = round(begin.timestamp() * 1000)
    rows += series_rows("p1", "fc-1", FC, [(start_ms, 0.5)])
    given = datetime.fromisoformat(day).date()
    judge_rows(tmp_path, write_csv(tmp_path / "r.csv", rows), registry, first=given, last=given)
    (found,) = [
        row for row in table(tmp_path, "compliance") if (row["period"], row["quantity"]) == ("day", FC)
    ]
    assert (str(found["start"]), found["open_s"]) == (day, open_s)


def test_the_dropout_of_a_real_station_is_no_exceedance_of_chlorine(tmp_path: Path) -> None:
    columns = {"cl2": FC, "ph": PH, "turb": "turbidity_ntu"}
    rows: list[Row] = []
    for row in shared_rows(STATION_B, "POOLWATCH_STATION_B"):
        at = datetime.strptime(row["TimeStep"], "%m/%d/%Y %H:%M:%S").replace(tzinfo=UTC)
        rows += [
            ("b", name, quantity, at.isoformat(), row[f"B_{name.upper()}_VAL"], "")
            for name, quantity in columns.items()
            if row[f"B_{name.upper()}_VAL"]
        ]
    sensors = ", ".join(
        f'{{ id = "{name}", quantity = "{quantity}", interval_s = 1200 }}'
        for name, quantity in columns.items()
    )
    registry = registry_text("b", opening=None).split("sensors")[0] + f"sensors = [{sensors}]\n"
    profile = load_profile("changzhou-2022")
    judge_rows(tmp_path, write_csv(tmp_path / "r.csv", rows), registry, profile=profile)
    zeros = [at for _, name, _, at, value, _ in rows if name == "cl2" and float(str(value)) == 0]
    assert len(zeros) > 100
    dropouts = [
        row
        for row in table(tmp_path, "quality")
        if (row["sensor_id"], row["check"], row["flag"]) == ("cl2", "zero_dropout", "fail")
    ]
    for text in zeros:
        at = datetime.fromisoformat(str(text))
        assert any(row["start"] <= at <= row["end"] for row in dropouts), text
    # It is drinking water, always above what a pool may have; below it never is.
    assert {row["rule"] for row in table(tmp_path, "exceedances") if row["quantity"] == FC} <= {
        "free_chlorine.high",
        "free_chlorine_closure.high",
    }


def test_laboratory_samples_of_estonia_as_judged_one_by_one(tmp_path: Path) -> None:
    columns = {
        FC: "free_chlorine",
        "combined_chlorine_mg_l": "combined_chlorine",
        PH: "ph",
        "turbidity_ntu": "turbidity",
    }
    rows: list[Row] = []
    # Of two samples of one pool and time the last one counts.
    samples: dict[tuple[str, str], dict[int, float]] = {}
    for row in shared_rows(ESTONIA, "POOLWATCH_ESTONIA"):
        at = datetime.fromisoformat(row["sampled_at"]).replace(tzinfo=UTC)
        for quantity, column in columns.items():
            if row[column]:
                pool = f"p{row['pool_id']}"
                rows.append((pool, "manual", quantity, at.isoformat(), row[column], "laboratory"))
                at_ms = round(at.timestamp() * 1000)
                samples.setdefault((pool, quantity), {})[at_ms] = float(row[column])
    pools = sorted({pool for pool, _ in samples})
    text = 'schema = 1\n[venues.v1]\nname_zh = "馆"\nname_en = "V"\ndistrict = "harju"\n'
    text += "".join(
        f'[pools.{pool}]\nvenue = "v1"\nname_zh = "池"\nname_en = "P"\nkind = "spa"\nprofile = "estonia"\n'
        'time_zone = "Europe/Tallinn"\n'
        for pool in pools
    )
    from analytics.offline.request import Request
    from analytics.offline.run import judge_files
    from gateway.contract.registry_file import parse_registry

    profile = load_profile("estonia")
    path = write_csv(tmp_path / "r.csv", rows)
    summary = judge_files(Request(path, parse_registry(text), {"estonia": profile}, tmp_path / "out"))
    assert (summary.samples, summary.refused.total()) == (len(rows), 0)
    found: dict[tuple[str, str], list[dict[str, Any]]] = {}
    for row in table(tmp_path, "exceedances"):
        found.setdefault((row["pool_id"], row["rule"]), []).append(row)
    rules = rules_for(profile, PoolKind.SPA)
    n_outside = 0
    for (pool, quantity), values in samples.items():
        ends = rules.ends(quantity)
        outside = compare_samples(list(values.values()), measured_at_ms=list(values), ends=ends).outside
        for end, of_end in zip(ends, outside, strict=True):
            spans = [
                (row["start"].timestamp() * 1000, row["end"].timestamp() * 1000)
                for row in found.get((pool, end.rule), [])
            ]
            for at_ms, is_outside in zip(values, of_end.tolist(), strict=True):
                assert any(start <= at_ms < stop for start, stop in spans) == is_outside, (pool, end.rule)
            n_outside += int(of_end.sum())
    assert n_outside > 200
    assert len(table(tmp_path, "exceedances")) <= n_outside
