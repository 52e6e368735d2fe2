"""Readings files: every way to write a row, every fault with its number and reason, numbers against plain look-ups."""

import threading
from collections.abc import Iterator
from datetime import UTC, datetime, timedelta, timezone
from pathlib import Path

import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from analytics.offline import registered
from analytics.offline.ahead import read_ahead
from analytics.offline.arrow import pa, parquet
from analytics.offline.errors import OfflineError
from analytics.offline.readings_file import BadLine, open_readings
from analytics.offline.registered import MANUAL, NONE, QUANTITIES, SeriesBook
from analytics.offline.rows import Problem, times_of
from analytics.offline.spill import ROW, Spill, bounds_of
from analytics.offline.tables import rfc_3339
from gateway.contract.registry_file import parse_registry
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

AT = format_timestamp(DAY + 8 * HOUR)


def test_every_fault_is_named_with_its_row(tmp_path: Path) -> None:
    good = ("p1", "fc-1", FC, AT, "0.5", "")
    faulty: list[tuple[Row, str]] = [
        (("p9", "fc-1", FC, AT, "0.5", ""), "pool 'p9' is not in the registry"),
        (("", "fc-1", FC, AT, "0.5", ""), "no pool_id"),
        (("p1", "fc-1", "chlorine", AT, "0.5", ""), "quantity 'chlorine' is not known"),
        (
            ("p1", "fc-1", PH, AT, "7.2", ""),
            "sensor 'fc-1' of ph is not registered for pool 'p1'",
        ),
        (("p1", "fc-1", FC, AT, "0.5", "broken"), "status 'broken' is not known"),
        (("p1", "fc-1", FC, "", "0.5", ""), "no measured_at"),
        (
            ("p1", "fc-1", FC, "2026-07-01T08:00:00", "0.5", ""),
            "measured_at '2026-07-01T08:00:00' has no time zone: write Z, or an offset like +08:00",
        ),
        (
            ("p1", "fc-1", FC, "2026-02-30T08:00:00Z", "0.5", ""),
            "measured_at '2026-02-30T08:00:00Z' is no time like 2026-07-01T08:00:00Z",
        ),
        (("p1", "fc-1", FC, "soon", "0.5", ""), "measured_at 'soon' is no time like 2026-07-01T08:00:00Z"),
        (("p1", "fc-1", FC, AT, "0,5", ""), "value '0,5' is not a number"),
        (("p1", "fc-1", FC, AT, "nan", ""), "value 'nan' is not a number"),
        (("p1", "fc-1", FC, AT, "-inf", ""), "value '-inf' is infinite"),
        (("p1", "fc-1", FC, AT, "", "normal"), "no value, and the status does not say why"),
    ]
    rows = [good, *(row for row, _ in faulty), ("p1", "fc-1", FC, AT, "", "fault")]
    path = write_csv(tmp_path / "r.csv", rows)
    summary = judge_rows(tmp_path, path, registry_text("p1"))
    found = refused(tmp_path)
    assert [(int(row["row"]), row["reason"]) for row in found] == [
        (number, reason) for number, (_, reason) in enumerate(faulty, start=2)
    ]
    assert [tuple(row[name] for name in HEADER) for row in found] == [row for row, _ in faulty]
    assert (summary.rows, summary.refused.total(), summary.without_value) == (15, 13, 1)
    assert summary.readings == 1


def test_lines_of_other_widths_keep_the_numbers_of_the_rest(tmp_path: Path) -> None:
    path = tmp_path / "r.csv"
    lines = [
        f"p1,fc-1,{FC},{AT},0.5",
        "p1,fc-1",
        f"p9,fc-1,{FC},{AT},0.5",
        "a,b,c,d,e,f",
        f"p8,fc-1,{FC},{AT},1",
    ]
    path.write_text(",".join(HEADER[:5]) + "\n" + "\n".join(lines) + "\n")
    summary = judge_rows(tmp_path, path, registry_text("p1"))
    found = {int(row["row"]): (row["reason"], row["line"]) for row in refused(tmp_path)}
    assert found == {
        2: ("2 columns, the header has 5", "p1,fc-1"),
        3: ("pool 'p9' is not in the registry", ""),
        4: ("6 columns, the header has 5", "a,b,c,d,e,f"),
        5: ("pool 'p8' is not in the registry", ""),
    }
    assert summary.rows == 5


def test_the_numbers_hold_through_all_batches(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    # Blocks of a few lines, among them lines of a wrong width: every row still knows its number.
    monkeypatch.setattr("analytics.offline.readings_file._CSV_BLOCK_BYTES", 300)
    path = tmp_path / "r.csv"
    lines = [
        "bad,line" if number % 7 == 3 else f"p1,s{number},{FC},{AT},{number}" for number in range(1, 200)
    ]
    path.write_text(",".join(HEADER[:5]) + "\n" + "\n".join(lines) + "\n")
    bad: list[BadLine] = []
    seen = []
    batches = 0
    for rows in open_readings(path).batches(bad.extend):
        batches += 1
        numbers = rows.numbers(np.arange(len(rows)))
        assert numbers.tolist() == rows.value.astype(int).tolist()
        seen += numbers.tolist()
    assert batches > 5
    assert [line.number for line in bad] == [number for number in range(1, 200) if number % 7 == 3]
    assert seen == [number for number in range(1, 200) if number % 7 != 3]


@pytest.mark.parametrize("unit", ["s", "ms", "us", "ns"])
@pytest.mark.parametrize("text", ["string", "large_string", "dictionary"])
def test_parquet_of_any_unit_and_kind_of_text(tmp_path: Path, unit: str, text: str) -> None:
    kinds = {"string": pa.string(), "large_string": pa.large_string()}
    kind = kinds.get(text, pa.dictionary(pa.int32(), pa.string()))
    per_s = {"s": 1, "ms": 1000, "us": 10**6, "ns": 10**9}[unit]
    columns = {
        "pool_id": pa.array(["p1", "p2"]).cast(kind),
        "sensor_id": pa.array(["fc-1", "ph-1"]).cast(kind),
        "quantity": pa.array([FC, PH]).cast(kind),
        "measured_at": pa.array([DAY // 1000 * per_s, None], type=pa.timestamp(unit, tz="Asia/Shanghai")),
        "value": pa.array([0.5, 7.4], type=pa.float32()),
    }
    path = tmp_path / "r.parquet"
    parquet.write_table(pa.table(columns), path)
    (rows,) = open_readings(path).batches()
    assert rows.at_ms[0] == DAY
    assert rows.at_problem is not None
    assert rows.at_problem.tolist() == [0, Problem.NO_TIME]
    assert rows.value.dtype == np.float32
    known = SeriesBook(parse_registry(registry_text("p1", "p2"))).known(rows)
    assert known.series.tolist() == [0, 3]


def parquet_of(path: Path, **changed: object) -> Path:
    columns = {
        "pool_id": ["p1"],
        "sensor_id": ["fc-1"],
        "quantity": [FC],
        "measured_at": pa.array([DAY], type=pa.timestamp("ms", tz="UTC")),
        "value": [0.5],
        **changed,
    }
    parquet.write_table(
        pa.table({name: column for name, column in columns.items() if column is not None}), path
    )
    return path


def test_files_that_cannot_be_used_say_why(tmp_path: Path) -> None:
    empty, words, broken = tmp_path / "empty.csv", tmp_path / "words.csv", tmp_path / "x.parquet"
    empty.touch()
    words.write_text("a,b\n1,2\n")
    broken.write_bytes(b"PAR1 and then nothing")
    naive = parquet_of(tmp_path / "n.parquet", measured_at=pa.array([DAY], type=pa.timestamp("ms")))
    counted = parquet_of(tmp_path / "i.parquet", measured_at=pa.array([DAY], type=pa.int64()))
    lists = parquet_of(tmp_path / "l.parquet", value=pa.array([[0.5]]))
    lacking = parquet_of(tmp_path / "v.parquet", value=None)
    for path, reason in (
        (empty, "is empty"),
        (words, "lacks the columns pool_id, sensor_id, quantity, measured_at, value; it has a, b"),
        (broken, "is not a Parquet file"),
        (naive, "have no time zone"),
        (counted, "measured_at is int64"),
        (lists, "value is list"),
        (lacking, "lacks the column value; it has"),
        (tmp_path / "absent.csv", "No such file"),
    ):
        with pytest.raises(OfflineError, match=reason):
            open_readings(path)


def test_a_file_that_breaks_off(tmp_path: Path) -> None:
    path = tmp_path / "r.csv"
    path.write_bytes(",".join(HEADER[:5]).encode() + b"\np1,fc-1,ph,\xff\xfe,7.2\n")
    with pytest.raises(OfflineError, match="cannot be read to its end"):
        list(open_readings(path).batches())


def test_a_header_alone_has_nothing_to_judge(tmp_path: Path) -> None:
    with pytest.raises(OfflineError, match="has a header and no row"):
        judge_rows(tmp_path, write_csv(tmp_path / "r.csv", []), registry_text("p1"))


EPOCH = datetime(1970, 1, 1, tzinfo=UTC)
offsets = st.integers(-23 * 60, 23 * 60).map(lambda minutes: timezone(timedelta(minutes=minutes)))


@settings(max_examples=100, deadline=None)
@given(
    st.lists(
        st.tuples(
            st.integers(0, 4_000_000_000_000_000).map(lambda us: EPOCH + timedelta(microseconds=us)),
            offsets,
            st.booleans(),
        ),
        max_size=10,
    )
)
def test_times_as_text_are_those_of_the_standard_library(
    instants: list[tuple[datetime, timezone, bool]],
) -> None:
    texts, expected = [], []
    for instant, zone, as_z in instants:
        text = instant.astimezone(UTC if as_z else zone).isoformat()
        texts.append(text.replace("+00:00", "Z") if as_z else text)
        expected.append((instant - EPOCH) // timedelta(milliseconds=1))
    at_ms, problem = times_of(pa.array(texts, type=pa.string()))
    assert at_ms.tolist() == expected
    assert problem is None or not problem.any()


@settings(max_examples=100, deadline=None)
@given(st.lists(st.one_of(st.none(), st.integers(0, 4_000_000_000_000)), max_size=20))
def test_times_are_written_as_on_the_wire(instants: list[int | None]) -> None:
    column = pa.array(instants, type=pa.timestamp("ms", tz="UTC"))
    written = rfc_3339(column)
    written.validate(full=True)
    assert written.to_pylist() == [None if at is None else format_timestamp(at) for at in instants]


@settings(max_examples=60, deadline=None)
@given(data=st.data(), most_cells=st.sampled_from((0, 10**6)))
def test_series_are_found_as_by_a_plain_look_up(*, data: st.DataObject, most_cells: int) -> None:
    names = ("a", "b", "c-1", "c-2")
    pools = data.draw(
        st.lists(st.sampled_from(("p1", "p2", "p3", "p4")), min_size=1, max_size=4, unique=True)
    )
    text = 'schema = 1\n[venues.v1]\nname_zh = "馆"\nname_en = "V"\ndistrict = "d"\n'
    sensors: set[tuple[str, str, str]] = set()
    for pool in pools:
        chosen = data.draw(
            st.lists(st.tuples(st.sampled_from(names), st.sampled_from((FC, PH))), max_size=5, unique=True)
        )
        sensors |= {(pool, name, quantity) for name, quantity in chosen}
        listed = ", ".join(f'{{ id = "{name}", quantity = "{quantity}" }}' for name, quantity in chosen)
        text += f'[pools.{pool}]\nvenue = "v1"\nname_zh = "池"\nname_en = "P"\nkind = "spa"\nsensors = [{listed}]\n'
    book = SeriesBook(parse_registry(text))
    word = st.one_of(st.none(), st.sampled_from((*pools, *names, "manual", FC, PH, "turbidity_ntu", "x", "")))
    rows = data.draw(
        st.lists(
            st.tuples(
                st.one_of(st.sampled_from(pools), word),
                st.one_of(st.sampled_from(names), word),
                st.one_of(st.sampled_from((FC, PH)), word),
            ),
            min_size=1,
            max_size=30,
        )
    )
    columns = [pa.array([row[place] for row in rows], type=pa.string()) for place in range(3)]
    batch = pa.record_batch(
        [*columns, pa.array([AT] * len(rows)), pa.array([1.0] * len(rows))], names=list(HEADER[:5])
    )
    from analytics.offline.readings_file import rows_of

    with pytest.MonkeyPatch.context() as patch:
        patch.setattr(registered, "_MOST_CELLS", most_cells)
        known = book.known(rows_of(batch, first=1, skipped=np.empty(0, dtype=np.int64)))
    quantities = [quantity.value for quantity in QUANTITIES]
    for row, series in zip(rows, known.series.tolist(), strict=True):
        if row in sensors:
            one = book.series[series]
            assert (book.pools[one.pool].pool_id, one.sensor.sensor_id, one.sensor.quantity) == row
        elif row[0] in pools and row[1] == "manual" and row[2] in quantities:
            assert series == MANUAL
        else:
            assert series == NONE


def test_reading_ahead_keeps_order_and_raises_where_it_is_used() -> None:
    def items() -> Iterator[int]:
        yield from range(5)
        raise OfflineError("gone")

    seen = []
    with pytest.raises(OfflineError, match="gone"):
        for item in read_ahead(items()):
            seen.append(item)  # noqa: PERF402 - what came before the error is looked at
    assert seen == list(range(5))


def test_reading_ahead_ends_its_thread_when_nobody_wants_more() -> None:
    ahead = read_ahead(iter(range(1000)))
    assert next(ahead) == 0
    ahead.close()  # type: ignore[attr-defined] # a generator
    assert not [thread for thread in threading.enumerate() if thread.name == "read-ahead"]


@settings(max_examples=40, deadline=None)
@given(
    sizes=st.lists(st.integers(0, 4), min_size=1, max_size=80),
    batches=st.lists(st.lists(st.integers(0, 10**6), max_size=30), max_size=4),
)
def test_rows_put_aside_come_back_in_their_order(sizes: list[int], batches: list[list[int]]) -> None:
    first = np.concatenate(([0], np.cumsum(sizes))).astype(np.intp)
    pool_of = np.repeat(np.arange(len(sizes)), sizes).astype(np.intp)
    bounds = bounds_of(first)
    assert bounds[0] == 0
    assert bounds[-1] == len(sizes)
    expected: list[list[tuple[int, int]]] = [[] for _ in bounds[1:]]
    number = 0
    with Spill(bounds=bounds, pool_of=pool_of, row=ROW) as spill:
        for batch in batches:
            series = np.array([one % max(int(first[-1]), 1) for one in batch if first[-1]], dtype=np.int32)
            numbers = np.arange(number, number + len(series), dtype=np.int64)
            number += len(series)
            spill.add(series=series, at_ms=numbers * 7, number=numbers, value=series.astype(np.float32))
            for one, count in zip(series.tolist(), numbers.tolist(), strict=True):
                pool = int(pool_of[one])
                part = next(p for p in range(len(bounds) - 1) if bounds[p] <= pool < bounds[p + 1])
                expected[part].append((one, count))
        for part, rows in enumerate(expected):
            found = spill.rows(part)
            assert list(zip(found["series"].tolist(), found["number"].tolist(), strict=True)) == rows


def test_a_csv_with_other_columns_between_and_a_byte_order_mark(tmp_path: Path) -> None:
    rows = [
        (value, "x", *row[:3], row[3], "y")
        for *row, value, _ in series_rows("p1", "fc-1", FC, steady(DAY, DAY + HOUR, 0.5))
    ]
    path = write_csv(tmp_path / "r.csv", rows, ("value", "note", *HEADER[:4], "more"))
    path.write_bytes(b"\xef\xbb\xbf" + path.read_bytes())
    summary = judge_rows(tmp_path, path, registry_text("p1"))
    assert (summary.readings, summary.refused.total()) == (60, 0)
    (counts, _) = table(tmp_path, "quality_counts")
    assert (counts["sensor_id"], counts["good"]) == ("fc-1", 60)
