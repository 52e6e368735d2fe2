"""Publication in closed form for many pools is that of the duties of single pools, whatever was published."""

from pathlib import Path
from typing import Any

import numpy as np
import pytest

from analytics.standards.profile import DutyKind
from gateway.contract.times import format_timestamp
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
    registry_text,
    series_rows,
    steady,
    table,
    write_csv,
)

PUBLISHED = (*HEADER, "published_at")


def random_rows(rng: np.random.Generator, pool: str) -> tuple[list[Row], list[Row]]:
    """Readings of two days, some far out or of a faulty probe, with silences; and what of them a page showed, and when."""
    rows: list[Row] = []
    shown: list[Row] = []
    for sensor, quantity, level in (("fc-1", FC, 0.6), ("ph-1", PH, 7.4)):
        at = DAY + np.arange(2 * 1440) * MINUTE + int(rng.integers(1000, 50_000))
        kept = rng.random(len(at)) > 0.02
        for first in rng.integers(0, len(at), 8):
            kept[first : first + rng.integers(5, 200)] = False
        status = np.where(rng.random(len(at)) > 0.1, "normal", "maintenance")
        value = level + 0.02 * rng.standard_normal(len(at))
        value[rng.random(len(at)) < 0.05] = 99.0
        chosen = np.flatnonzero(kept)
        rows += [
            (pool, sensor, quantity, format_timestamp(int(at[row])), round(float(value[row]), 2), status[row])
            for row in chosen.tolist()
        ]
        for row in rng.choice(chosen, 250, replace=False).tolist():
            number = "" if rng.random() < 0.05 else 0.5
            delay_ms = int(rng.choice([3000, 400_000, -60_000, 20 * HOUR]))
            times = format_timestamp(int(at[row])), format_timestamp(int(at[row]) + delay_ms)
            shown.append(
                (pool, sensor, quantity, times[0], number, "normal" if number else "fault", times[1])
            )
    for hour in rng.integers(0, 48, 6).tolist():
        at_ms = DAY + hour * HOUR
        rows.append((pool, "manual", FC, format_timestamp(at_ms), 0.5, "manual"))
        times = format_timestamp(at_ms), format_timestamp(at_ms + 5 * MINUTE)
        shown.append((pool, "manual", FC, times[0], 0.5, "manual", times[1]))
    return rows, [shown[row] for row in rng.permutation(len(shown))]


def tables_of(folder: Path) -> dict[str, list[str]]:
    return {
        path.name: sorted(path.read_text(encoding="utf-8").splitlines())
        for path in sorted((folder / "out").glob("*.csv"))
    }


@pytest.mark.parametrize("seed", [1, 2])
@pytest.mark.parametrize("more", [{}, {"first": DAY + 9 * HOUR, "last": DAY + DAY_MS + 13 * HOUR}])
def test_many_pools_at_once_as_pool_by_pool(tmp_path: Path, seed: int, more: dict[str, Any]) -> None:
    rng = np.random.default_rng(seed)
    found = [random_rows(rng, pool) for pool in ("p1", "p2", "p3")]
    readings = write_csv(tmp_path / "r.csv", [row for rows, _ in found for row in rows])
    pubs = write_csv(tmp_path / "p.csv", [row for _, shown in found for row in shown], PUBLISHED)
    registry = (
        registry_text("p1", "p2", opening="06:00-11:00,14:00-02:00")
        + registry_text("p3", opening=None).partition('district = "wujin"\n')[2]
    )
    given: dict[str, Any] = {"publications": pubs, **more}
    together, apart = tmp_path / "together", tmp_path / "apart"
    with pytest.MonkeyPatch.context() as patch:
        # Chunks of a few publications, and of a few cells: their edges lie everywhere.
        patch.setattr("analytics.offline.published._ROWS_AT_ONCE", 64)
        patch.setattr("analytics.offline.published._CELLS_AT_ONCE", 500)
        judge_rows(together, readings, registry, **given)
    with pytest.MonkeyPatch.context() as patch:
        for module in ("outcome", "published"):
            patch.setattr(f"analytics.offline.{module}.publication_duties", lambda _rules: None)
        judge_rows(apart, readings, registry, **given)
    lapses = [row for row in table(together, "lapses") if row["rule"] == DutyKind.ONLINE_PUBLICATION]
    assert len(lapses) > 30
    assert {row["cause"] for row in lapses} == {"not_measured", "not_published"}
    assert tables_of(together) == tables_of(apart)


def test_what_was_measured_within_a_lapse_by_hand(tmp_path: Path) -> None:
    # Nothing is published after 06:00. Probes measure until 10:00, so good results are there until 10:00 less a minute
    # plus the allowed age; until closing at 22:00 nothing is. Published late in the evening, at 21:00, is a number of then.
    opens = DAY + 6 * HOUR
    rows = series_rows("p1", "fc-1", FC, steady(opens, opens + 4 * HOUR, 0.5))
    rows += series_rows("p1", "fc-1", FC, [(DAY + 21 * HOUR, 0.5)])
    shown = [
        ("p1", "fc-1", FC, format_timestamp(at), 0.5, "", format_timestamp(at))
        for at in (opens, DAY + 21 * HOUR)
    ]
    pubs = write_csv(tmp_path / "p.csv", shown, PUBLISHED)
    summary = judge_rows(
        tmp_path, write_csv(tmp_path / "r.csv", rows), registry_text("p1"), publications=pubs
    )
    age_ms = next(duty.age_ms for duty in plain_profile().duties if duty.duty is DutyKind.ONLINE_PUBLICATION)
    found = [
        row
        for row in table(tmp_path, "lapses")
        if row["rule"] == DutyKind.ONLINE_PUBLICATION and row["quantity"] == FC
    ]
    unpublished_s = (4 * HOUR - MINUTE) / 1000
    unmeasured_s = (11 * HOUR + MINUTE - age_ms) / 1000
    assert [(row["not_published_s"], row["not_measured_s"], row["cause"]) for row in found] == [
        (unpublished_s, unmeasured_s, "not_measured"),
        (0.0, (HOUR - age_ms) / 1000, "not_measured"),
    ]
    assert summary.publications == 2


def test_publications_of_a_pool_come_back_by_series(tmp_path: Path) -> None:
    # Of several pools in one part of what was put aside, each gets its own; published in any order.
    readings = write_csv(tmp_path / "r.csv", series_rows("p2", "fc-1", FC, steady(DAY, DAY + HOUR, 0.5)))
    shown = [
        (pool, "fc-1", FC, format_timestamp(DAY), 0.5, "", format_timestamp(DAY + late * MINUTE))
        for pool in ("p1", "p2")
        for late in (9, 2)
    ]
    pubs = write_csv(tmp_path / "p.csv", shown, PUBLISHED)
    summary = judge_rows(tmp_path, readings, registry_text("p1", "p2"), publications=pubs)
    assert summary.lapses[DutyKind.ONLINE_PUBLICATION] == len(
        [row for row in table(tmp_path, "lapses") if row["rule"] == DutyKind.ONLINE_PUBLICATION]
    )
    assert summary.pools_without_rows == 1
