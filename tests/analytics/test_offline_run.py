"""Judging from files: by hand, against the live judge, and the same whether on disk or in memory, coarse or fine."""

from dataclasses import replace
from datetime import date, datetime
from pathlib import Path
from typing import Any

import numpy as np
import pytest

from analytics.entries import Entries
from analytics.judge import judge
from analytics.offline.errors import OfflineError
from analytics.offline.grids import CELL_BYTES
from analytics.offline.plan import opening_of
from analytics.offline.request import GRID_BYTES
from analytics.results import Doubt
from analytics.spans import FAR_MS
from analytics.standards.limits import Tier
from analytics.standards.profile import DutyKind
from analytics.window import Window
from gateway.contract.registry_file import parse_registry
from gateway.contract.times import format_timestamp
from ingest.store.records import ReadingColumns, SeriesKey
from tests.analytics.offline_case import (
    DAY,
    DAY_MS,
    FC,
    HEADER,
    HOUR,
    MINUTE,
    PH,
    Row,
    judge_rows,
    plain_profile,
    refused,
    registry_text,
    series_rows,
    steady,
    table,
    write_csv,
)

OPENS, CLOSES = DAY + 6 * HOUR, DAY + 22 * HOUR


def ms(instant: datetime) -> int:
    return round(instant.timestamp() * 1000)


def spans_of(rows: list[dict[str, Any]]) -> list[tuple[int, int]]:
    return [(ms(row["start"]), ms(row["end"])) for row in rows]


def test_one_exceedance_and_one_lapse_by_hand(tmp_path: Path) -> None:
    # Chlorine 0.25 from 10:00 for 20 min, so 0.05 below 0.3; at 12:00 the probes fall silent for an hour.
    readings = [
        (at, 0.25 if DAY + 10 * HOUR <= at < DAY + 10 * HOUR + 20 * MINUTE else 0.5)
        for at, _ in steady(DAY, DAY + DAY_MS, 0.5)
        if not DAY + 12 * HOUR <= at < DAY + 13 * HOUR
    ]
    rows = series_rows("p1", "fc-1", FC, readings)
    rows += series_rows("p1", "ph-1", PH, steady(DAY, DAY + DAY_MS, 7.4))
    summary = judge_rows(tmp_path, write_csv(tmp_path / "r.csv", rows), registry_text("p1"))

    (found,) = table(tmp_path, "exceedances")
    assert (found["pool_id"], found["sensor_id"], found["quantity"]) == ("p1", "fc-1", FC)
    assert spans_of([found]) == [(DAY + 10 * HOUR, DAY + 10 * HOUR + 20 * MINUTE)]
    assert (found["rule"], found["limit"], found["worst_value"], found["margin"]) == (
        "free_chlorine.low",
        0.3,
        0.25,
        0.05,
    )
    assert (found["state"], found["tier"], found["binding"], found["unit"]) == (
        "closed",
        "operating",
        True,
        "mg/L",
    )
    assert all(found[name] for name in ("standard", "edition", "clause", "clause_status", "consequence"))

    lapses = {row["rule"]: row for row in table(tmp_path, "lapses") if row["quantity"] == FC}
    monitoring = lapses["online_monitoring"]
    duty = next(duty for duty in plain_profile().duties if duty.duty is DutyKind.ONLINE_MONITORING)
    # The reading of 11:59 serves until its allowed age is over.
    start = DAY + 12 * HOUR - MINUTE + duty.age_ms
    assert spans_of([monitoring]) == [(start, DAY + 13 * HOUR)]
    assert monitoring["not_measured_s"] == (DAY + 13 * HOUR - start) / 1000
    assert (monitoring["clause"], monitoring["cause"]) == (duty.clause, "not_measured")
    # Nobody tested by hand: overdue all day long.
    assert spans_of([lapses["daily_test"]]) == [(OPENS, CLOSES)]

    (day,) = [
        row for row in table(tmp_path, "compliance") if row["period"] == "day" and row["quantity"] == FC
    ]
    silent_s = (DAY + 13 * HOUR - start) / 1000
    assert (day["open_s"], day["out_s"], day["silent_s"]) == (57_600, 1200, silent_s)
    assert day["in_standard_s"] == 57_600 - 1200 - silent_s
    assert summary.judged == (DutyKind.DAILY_TEST, DutyKind.ONLINE_MONITORING)
    assert DutyKind.POSTING in summary.left_out
    assert DutyKind.ONLINE_PUBLICATION in summary.left_out
    scores = [row for row in table(tmp_path, "indicator") if row["row"] == "score"]
    assert {row["period"] for row in scores} == {"month", "season"}


def random_rows(seed: int, *, n_days: int, late: bool) -> dict[tuple[str, str, str], list[tuple[int, float]]]:
    """Two pools with gaps, silences and episodes outside, at odd times, values of two decimals."""
    rng = np.random.default_rng(seed)
    found = {}
    for pool in ("p1", "p2"):
        for sensor, quantity, level in (("fc-1", FC, 0.6), ("ph-1", PH, 7.4)):
            n = n_days * 1440
            at = DAY + np.arange(n) * MINUTE + int(rng.integers(1000, 50_000)) + rng.integers(0, 900, n)
            value = level + 0.02 * rng.standard_normal(n)
            for first in rng.integers(0, n, 12):
                value[first : first + rng.integers(1, 90)] += rng.choice([-1, 1]) * 0.5
            kept = rng.random(n) > 0.05
            for first in rng.integers(0, n, 6):
                kept[first : first + rng.integers(5, 400)] = False
            rows = list(zip(at[kept].tolist(), np.abs(value[kept]).round(2).tolist(), strict=True))
            if late:
                rows = [rows[index] for index in rng.permutation(len(rows))]
            found[pool, sensor, quantity] = rows
    return found


def live_findings(
    rows: dict[tuple[str, str, str], list[tuple[int, float]]], registry: str, *, to_ms: int
) -> tuple[set[tuple[Any, ...]], set[tuple[Any, ...]]]:
    """Exceedances and lapses of the duties that files show, by the judge of single pools on true times."""
    parsed = parse_registry(registry)
    exceedances, lapses = set(), set()
    profile = plain_profile()
    duties = tuple(
        duty for duty in profile.duties if duty.duty in (DutyKind.DAILY_TEST, DutyKind.ONLINE_MONITORING)
    )
    profile = replace(profile, duties=duties)
    for pool in parsed.pools.values():
        online = {}
        for (pool_id, sensor, quantity), readings in rows.items():
            if pool_id == pool.pool_id:
                at = np.array([one[0] for one in sorted(readings)], dtype=np.int64)
                value = np.array([one[1] for one in sorted(readings)], dtype=np.float64)
                online[SeriesKey(sensor, quantity)] = ReadingColumns(
                    at, value, np.zeros(len(at), np.uint8), at, at
                )
        window = Window(
            pool=pool,
            venue=parsed.venue_of(pool),
            profile=profile,
            opening=opening_of([pool], from_ms=DAY, to_ms=to_ms)[0],
            online=online,
            samples={},
            publications={},
            entries=Entries(),
            opening_to_ms=to_ms + DAY_MS,
            judged_from_ms=DAY,
            look_from_ms=DAY - DAY_MS,
            known_from_ms=DAY - DAY_MS,
            complete=True,
            first_reading_ms=min(int(columns.measured_at_ms[0]) for columns in online.values()),
        )
        for finding in judge(window, to_ms).findings:
            end = to_ms if finding.end_ms is None else finding.end_ms
            key = (
                finding.pool_id,
                finding.sensor_id,
                finding.quantity,
                str(finding.rule),
                finding.start_ms,
                end,
            )
            if finding.kind == "exceedance":
                worst = finding.worst_value
                exceedances.add((*key, worst, str(finding.state), str(finding.clause), finding.doubt))
            elif finding.start_ms < to_ms:
                lapses.add((*key, str(finding.state), str(finding.clause)))
    return exceedances, lapses


def file_findings(folder: Path) -> tuple[set[tuple[Any, ...]], set[tuple[Any, ...]]]:
    exceedances = {
        (
            *(row[name] for name in ("pool_id", "sensor_id", "quantity", "rule")),
            ms(row["start"]),
            ms(row["end"]),
            *(row[name] for name in ("worst_value", "state", "clause", "doubt")),
        )
        for row in table(folder, "exceedances")
    }
    lapses = {
        (
            row["pool_id"],
            None,
            row["quantity"],
            row["rule"],
            ms(row["start"]),
            ms(row["end"]),
            row["state"],
            row["clause"],
        )
        for row in table(folder, "lapses")
    }
    return exceedances, lapses


@pytest.mark.parametrize("opening", ["06:00-22:00", None, "06:00-11:00,14:00-02:00"])
@pytest.mark.parametrize("late", [False, True])
def test_files_give_the_verdicts_of_the_live_judge(tmp_path: Path, opening: str | None, late: bool) -> None:  # noqa: FBT001 - a parameter of pytest
    rows = random_rows(6, n_days=3, late=late)
    registry = registry_text("p1", "p2", opening=opening)
    text = [row for key, readings in rows.items() for row in series_rows(*key, readings)]
    judge_rows(tmp_path, write_csv(tmp_path / "r.csv", text), registry)
    exceedances, lapses = live_findings(rows, registry, to_ms=DAY + 3 * DAY_MS)
    assert len(exceedances) > 10
    assert {doubt for *_, doubt in exceedances} == {None, Doubt.PH_OUT_OF_LINE}
    assert len(lapses) > 10
    found = file_findings(tmp_path)
    assert found[0] == exceedances
    assert found[1] == lapses


def test_chlorine_that_the_ph_makes_doubtful_is_no_time_in_standard(tmp_path: Path) -> None:
    # At pH 8.2 a probe that shows 0.9 stands in 2.96 mg/L (see test_doubt): nobody can say that this is in standard.
    rows = series_rows("p1", "fc-1", FC, steady(DAY, DAY + DAY_MS, 0.9))
    ph = [
        (at, 8.2 if DAY + 10 * HOUR <= at < DAY + 11 * HOUR else 7.4)
        for at, _ in steady(DAY, DAY + DAY_MS, 0)
    ]
    rows += series_rows("p1", "ph-1", PH, ph)
    judge_rows(tmp_path, write_csv(tmp_path / "r.csv", rows), registry_text("p1"))
    (day,) = [row for row in table(tmp_path, "compliance") if (row["period"], row["quantity"]) == ("day", FC)]
    assert (day["open_s"], day["unverified_s"], day["in_standard_s"]) == (57_600, 3_600, 54_000)
    assert {row["rule"] for row in table(tmp_path, "exceedances")} == {"ph.high", "ph_closure.high"}


def outputs(folder: Path) -> dict[str, list[str]]:
    return {
        path.name: sorted(path.read_text(encoding="utf-8").splitlines())
        for path in sorted((folder / "out").glob("*.csv"))
    }


def test_on_disk_as_in_memory(tmp_path: Path) -> None:
    rows = random_rows(6, n_days=2, late=False)
    text = [row for key, readings in rows.items() for row in series_rows(*key, readings)]
    path = write_csv(tmp_path / "r.csv", text)
    registry = registry_text("p1", "p2")
    given: dict[str, Any] = {"first": date(2026, 7, 1), "last": date(2026, 7, 2)}
    memory, disk, unknown = tmp_path / "memory", tmp_path / "disk", tmp_path / "unknown"
    judge_rows(memory, path, registry, **given)
    # Too little for the four series and three days at once, enough for one pool.
    judge_rows(disk, path, registry, grid_bytes=3 * 1440 * 4 * CELL_BYTES + 1, **given)
    judge_rows(unknown, path, registry)
    assert outputs(disk) == outputs(memory)
    assert outputs(unknown) == outputs(memory)
    with pytest.raises(OfflineError, match="judge a shorter time"):
        judge_rows(tmp_path / "small", path, registry, grid_bytes=10_000, **given)


@pytest.mark.parametrize("in_memory", [True, False])
def test_sensors_that_measure_more_often_than_registered(tmp_path: Path, in_memory: bool) -> None:  # noqa: FBT001 - a parameter of pytest
    # p1 measures every 10 s although a minute is registered; of its readings one comes twice, and one in the same second.
    quick = steady(OPENS, OPENS + HOUR, 0.5, 10_000)
    low = [(at, 0.2 if OPENS + 10 * MINUTE <= at < OPENS + 20 * MINUTE else value) for at, value in quick]
    rows = series_rows("p1", "fc-1", FC, low)
    rows += series_rows("p1", "ph-1", PH, steady(OPENS, OPENS + HOUR, 7.4))
    rows += series_rows("p2", "fc-1", FC, steady(OPENS, OPENS + HOUR, 0.5))
    rows += series_rows("p1", "fc-1", FC, [(OPENS, 0.55), (OPENS + 10_400, 0.56)])
    more: dict[str, Any] = {} if not in_memory else {"first": date(2026, 7, 1), "last": date(2026, 7, 1)}
    summary = judge_rows(tmp_path, write_csv(tmp_path / "r.csv", rows), registry_text("p1", "p2"), **more)
    counts = {(row["pool_id"], row["sensor_id"]): row for row in table(tmp_path, "quality_counts")}
    assert counts["p1", "fc-1"]["readings"] == 360
    assert counts["p1", "fc-1"]["step_s"] == 1
    assert (counts["p1", "ph-1"]["readings"], counts["p2", "fc-1"]["step_s"]) == (60, 60)
    assert [(int(row["row"]), row["reason"], row["value"]) for row in refused(tmp_path)] == [
        (1, "another row has this sensor's reading of this time; the last one counts", "0.5"),
        (2, "another row has this sensor's reading of this second; the newest one counts", "0.5"),
    ]
    assert summary.steps_s == {1.0: 2, 60.0: 2}
    (found,) = table(tmp_path, "exceedances")
    assert spans_of([found]) == [(OPENS + 10 * MINUTE, OPENS + 20 * MINUTE)]


def test_a_registered_interval_of_ten_seconds_is_a_step_of_ten(tmp_path: Path) -> None:
    rows = series_rows("p1", "fc-1", FC, steady(OPENS, OPENS + HOUR, 0.5, 10_000))
    summary = judge_rows(
        tmp_path,
        write_csv(tmp_path / "r.csv", rows),
        registry_text("p1", interval_s=10),
        first=date(2026, 7, 1),
    )
    assert summary.steps_s == {10.0: 2}
    assert summary.readings == 360
    assert summary.refused.total() == 0


def test_what_is_open_at_the_end_is_marked(tmp_path: Path) -> None:
    # Out of standard from 20:00 on, judged until 21:00.
    rows = series_rows("p1", "fc-1", FC, steady(OPENS, DAY + 20 * HOUR, 0.5))
    rows += series_rows("p1", "fc-1", FC, steady(DAY + 20 * HOUR, CLOSES, 2.0))
    path = write_csv(tmp_path / "r.csv", rows)
    summary = judge_rows(tmp_path, path, registry_text("p1"), last=DAY + 21 * HOUR)
    found = [row for row in table(tmp_path, "exceedances") if row["tier"] == Tier.OPERATING]
    assert [(row["state"], *spans_of([row])[0]) for row in found] == [
        ("open", DAY + 20 * HOUR, DAY + 21 * HOUR)
    ]
    assert summary.outside == 60
    assert {row["state"] for row in table(tmp_path, "lapses")} == {"open"}


def test_from_an_instant_on_what_was_before_is_known_but_not_told(tmp_path: Path) -> None:
    # Out of standard from 08:00 to 10:00, judged from 09:00.
    readings = [
        (at, 2.0 if DAY + 8 * HOUR <= at < DAY + 10 * HOUR else 0.5) for at, _ in steady(OPENS, CLOSES, 0.5)
    ]
    path = write_csv(tmp_path / "r.csv", series_rows("p1", "fc-1", FC, readings))
    judge_rows(tmp_path, path, registry_text("p1"), first=DAY + 9 * HOUR)
    found = [row for row in table(tmp_path, "exceedances") if row["tier"] == Tier.OPERATING]
    assert spans_of(found) == [(DAY + 9 * HOUR, DAY + 10 * HOUR)]
    (day,) = [
        row for row in table(tmp_path, "compliance") if row["period"] == "day" and row["quantity"] == FC
    ]
    assert (day["open_s"], day["out_s"]) == (13 * 3600, 3600)


def test_tests_by_hand_are_judged_by_themselves(tmp_path: Path) -> None:
    # A low test at 08:00, a good one at 09:00: out of standard for that hour; no test again until closing.
    rows: list[Row] = [
        ("p1", "manual", FC, "2026-07-01T08:00:00+08:00", "0.1", "manual"),
        ("p1", "manual", FC, "2026-07-01T09:00:00+08:00", "0.5", ""),
        ("p1", "manual", PH, "2026-07-01T09:00:00+08:00", "7.4", "laboratory"),
    ]
    rows += series_rows("p1", "fc-1", FC, steady(OPENS, CLOSES, 0.5))
    summary = judge_rows(tmp_path, write_csv(tmp_path / "r.csv", rows), registry_text("p1"))
    (found,) = table(tmp_path, "exceedances")
    assert (found["sensor_id"], found["sample_kind"], found["worst_value"]) == ("manual", "manual", 0.1)
    assert spans_of([found]) == [(DAY + 8 * HOUR, DAY + 9 * HOUR)]
    assert (summary.samples, summary.refused.total()) == (3, 0)
    duty = next(
        duty
        for duty in plain_profile().duties
        if duty.duty is DutyKind.DAILY_TEST and FC in duty.quantities and "indoor" in duty.kinds
    )
    overdue = [
        row for row in table(tmp_path, "lapses") if row["rule"] == "daily_test" and row["quantity"] == FC
    ]
    # The pool begins with its first reading at 06:00; a test is due within the allowed age from then, and each time.
    ends = [OPENS + duty.age_ms, DAY + 9 * HOUR + duty.age_ms]
    assert spans_of(overdue) == [
        span for span in ((ends[0], DAY + 8 * HOUR), (ends[1], CLOSES)) if span[0] < span[1]
    ]


def test_what_the_instrument_calls_faulty_is_not_good(tmp_path: Path) -> None:
    # Ten minutes of maintenance with readings far outside, then five of fault without any.
    rows = series_rows("p1", "fc-1", FC, steady(OPENS, OPENS + HOUR, 0.5))
    rows += series_rows(
        "p1", "fc-1", FC, steady(OPENS + HOUR, OPENS + HOUR + 10 * MINUTE, 3.0), "maintenance"
    )
    rows += [
        ("p1", "fc-1", FC, format_timestamp(at), "", "fault")
        for at in range(OPENS + HOUR + 10 * MINUTE, OPENS + HOUR + 15 * MINUTE, MINUTE)
    ]
    rows += series_rows("p1", "fc-1", FC, steady(OPENS + HOUR + 15 * MINUTE, OPENS + 2 * HOUR, 0.5))
    summary = judge_rows(tmp_path, write_csv(tmp_path / "r.csv", rows), registry_text("p1"), with_flags=True)
    assert table(tmp_path, "exceedances") == []
    assert summary.without_value == 5
    found = [row for row in table(tmp_path, "quality") if row["check"] == "sensor_status"]
    assert [(ms(row["start"]), ms(row["end"]), row["readings"]) for row in found] == [
        (OPENS + HOUR, OPENS + HOUR + 9 * MINUTE, 10)
    ]
    flags = table(tmp_path, "flags")
    assert len(flags) == 60 + 10 + 45
    doubtful = [row for row in flags if row["flag"] != "good"]
    assert [ms(row["measured_at"]) for row in doubtful] == [
        OPENS + HOUR + minute * MINUTE for minute in range(10)
    ]
    assert {(row["value"], row["checks"]) for row in doubtful} == {(3.0, "sensor_status")}
    assert not (tmp_path / "out" / "flags.csv").exists()


def test_publications_that_come_late(tmp_path: Path) -> None:
    # Measured every minute, published every ten minutes, but between 10:00 and 12:00 not at all.
    rows = series_rows("p1", "fc-1", FC, steady(OPENS, CLOSES, 0.5))
    published: list[Row] = [
        ("p1", "fc-1", FC, format_timestamp(at), "0.5", "normal", format_timestamp(at + 5000))
        for at in range(OPENS, CLOSES, 10 * MINUTE)
        if not DAY + 10 * HOUR <= at < DAY + 12 * HOUR
    ]
    published.append(("p1", "fc-1", FC, format_timestamp(OPENS), "0.5", "normal", "yesterday"))
    pubs = write_csv(tmp_path / "pubs.csv", published, (*HEADER, "published_at"))
    summary = judge_rows(
        tmp_path, write_csv(tmp_path / "r.csv", rows), registry_text("p1"), publications=pubs
    )
    assert DutyKind.ONLINE_PUBLICATION in summary.judged
    duty = next(
        duty
        for duty in plain_profile().duties
        if duty.duty is DutyKind.ONLINE_PUBLICATION and FC in duty.quantities
    )
    (lapse,) = [
        row
        for row in table(tmp_path, "lapses")
        if row["rule"] == "online_publication" and row["quantity"] == FC
    ]
    start = DAY + 10 * HOUR - 10 * MINUTE + duty.age_ms
    end = DAY + 12 * HOUR + 5000
    assert spans_of([lapse]) == [(start, end)]
    assert (lapse["cause"], lapse["not_published_s"]) == ("not_published", (end - start) / 1000)
    (bad,) = refused(tmp_path, "refused_publications")
    assert bad["reason"] == "published_at 'yesterday' is no time like 2026-07-01T08:00:00Z"
    assert int(bad["row"]) == len(published)


def test_a_pool_without_rows_is_not_judged(tmp_path: Path) -> None:
    rows = series_rows("p1", "fc-1", FC, steady(OPENS, CLOSES, 0.5))
    summary = judge_rows(tmp_path, write_csv(tmp_path / "r.csv", rows), registry_text("p1", "p2"))
    assert (summary.pools, summary.pools_without_rows) == (2, 1)
    assert {row["pool_id"] for row in table(tmp_path, "lapses")} == {"p1"}
    assert {row["pool_id"] for row in table(tmp_path, "compliance")} == {"p1"}


def test_a_pool_without_sensors_is_judged_by_its_tests(tmp_path: Path) -> None:
    registry = registry_text("p1", "p2").split("[pools.p2]")
    bare = registry[0] + "[pools.p2]" + registry[1].split("sensors")[0]
    rows: list[Row] = [
        ("p2", "manual", FC, format_timestamp(DAY + 8 * HOUR), "0.1", ""),
        ("p2", "manual", FC, format_timestamp(DAY + 9 * HOUR), "0.5", ""),
        ("p2", "fc-1", FC, format_timestamp(DAY + 9 * HOUR), "0.5", ""),
    ]
    summary = judge_rows(tmp_path, write_csv(tmp_path / "r.csv", rows), bare)
    assert (summary.samples, summary.refused["unknown_sensor"]) == (2, 1)
    (found,) = table(tmp_path, "exceedances")
    assert (found["pool_id"], *spans_of([found])) == ("p2", (DAY + 8 * HOUR, DAY + 9 * HOUR))


def test_a_sensor_that_was_exchanged_under_its_name(tmp_path: Path) -> None:
    # The old one until 10:00, the new one from 12:00 on; what was sent between is of no registered sensor.
    old, new = "2026-07-01T10:00:00+08:00", "2026-07-01T12:00:00+08:00"
    registry = registry_text("p1").split("sensors")[0] + (
        f'sensors = [{{ id = "fc-1", quantity = "{FC}", until = {old} }},'
        f' {{ id = "fc-1", quantity = "{FC}", from = {new} }}]\n'
    )
    outside = (DAY + 9 * HOUR, DAY + 9 * HOUR + 30 * MINUTE), (DAY + 11 * HOUR, DAY + 11 * HOUR + 30 * MINUTE)
    readings = [
        (at, 2.0 if any(low <= at < high for low, high in outside) else 0.5)
        for at, _ in steady(OPENS, CLOSES, 0.5)
    ]
    path = write_csv(tmp_path / "r.csv", series_rows("p1", "fc-1", FC, readings))
    judge_rows(tmp_path, path, registry)
    found = [row for row in table(tmp_path, "exceedances") if row["tier"] == Tier.OPERATING]
    assert spans_of(found) == [outside[0]]
    # Nobody could measure between the two: no lapse of monitoring.
    assert [row for row in table(tmp_path, "lapses") if row["rule"] == "online_monitoring"] == []


def test_a_file_without_a_row_that_can_be_used(tmp_path: Path) -> None:
    path = write_csv(tmp_path / "r.csv", series_rows("p9", "fc-1", FC, [(DAY, 0.5)]))
    with pytest.raises(OfflineError, match=r"of 1, 1 refused; see .*refused\.csv$"):
        judge_rows(tmp_path, path, registry_text("p1"))
    (row,) = refused(tmp_path)
    assert row["reason"] == "pool 'p9' is not in the registry"


def test_readings_that_are_ages_apart_need_a_time(tmp_path: Path) -> None:
    rows = series_rows("p1", "fc-1", FC, [(0, 0.5), (DAY, 0.5)])
    path = write_csv(tmp_path / "r.csv", rows)
    with pytest.raises(OfflineError, match="the rows reach from 1970-01-01 to 2026-07-01"):
        judge_rows(tmp_path, path, registry_text("p1"))
    summary = judge_rows(tmp_path, path, registry_text("p1"), first=date(2026, 7, 1))
    assert (summary.readings, summary.outside) == (1, 1)


def test_grids_leave_room_for_the_rest_of_two_gigabytes() -> None:
    assert GRID_BYTES < 1.5 * 2**30
    assert FAR_MS > DAY
