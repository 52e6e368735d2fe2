"""The published formula: the page's own example, what may never happen, and where the figures come from."""

import re
from dataclasses import fields, replace
from datetime import UTC, datetime
from pathlib import Path

import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from analytics.compliance.account import ComplianceColumns, OccurrenceColumns
from analytics.compliance.local_days import Period
from analytics.compliance.punctuality import PunctualityColumns
from analytics.compliance.rows import WHOLE_POOL
from analytics.indicator.figures import figures_of
from analytics.indicator.items import FORMULA, Item, ItemKind, Loss, items_of
from analytics.indicator.points import Figures, Indicator, indicators, points
from analytics.standards.profile import load_profile, rules_for
from gateway.contract.registry import PoolKind

MINUTE_MS = 60_000
NOW_MS = round(datetime(2026, 7, 1, tzinfo=UTC).timestamp() * 1000)
ITEMS = items_of(rules_for(load_profile("changzhou-2022"), PoolKind.INDOOR), at_ms=NOW_MS)
NAMES = [item.name for item in ITEMS]
QUANTITIES = ("free_chlorine_mg_l", "ph", "water_temp_c", "turbidity_ntu")
DUTIES = ("daily_test", "posting", "online_publication")


@pytest.fixture(scope="module")
def page(pytestconfig: pytest.Config) -> str:
    return (Path(pytestconfig.rootpath) / "docs" / "indicator.md").read_text(encoding="utf-8")


def table_of(page: str, first_columns: str) -> list[list[str]]:
    """Rows of the table of the page whose heading begins like this."""
    after = page.split(f"| {first_columns} |", maxsplit=1)[1].splitlines()[2:]
    rows = []
    for line in after:
        if not line.startswith("|"):
            break
        rows.append([cell.strip().strip("`") for cell in line.strip("|").split("|")])
    return rows


def figures(**minutes: tuple[int, int, int, int, int]) -> Figures:
    """Figures by item of one pool: minutes good, bad, silent, unverified, and events."""
    made = Figures.none(1, ITEMS)
    for name, cells in minutes.items():
        column = NAMES.index(name.replace("__", "."))
        for field, cell in zip(fields(made), cells, strict=True):
            getattr(made, field.name)[:, column] = cell * (1 if field.name == "events" else MINUTE_MS)
    return made


def only(made: Figures) -> Indicator:
    (one,) = indicators(ITEMS, made)
    return one


def test_the_page_lists_the_items_and_the_formula_of_the_code(page: str) -> None:
    assert f"`{FORMULA}`" in page
    listed = [(row[0], float(row[1])) for row in table_of(page, "item | points | applies where")]
    assert listed == [(item.name, item.points) for item in ITEMS]
    assert sum(points for _, points in listed) == 100


def test_the_worked_example_of_the_page(page: str) -> None:
    rows = table_of(page, "item | good | bad | silent | unverified | exceedances")
    cells = {row[0].replace(".", "__"): tuple(int(cell) for cell in row[1:]) for row in rows}
    one = only(figures(**{name: (c[0], c[1], c[2], c[3], c[4]) for name, c in cells.items()}))
    told = table_of(page, "item | applicable | loss | lost | how")
    assert [(found.item, found.loss.value) for found in one.deductions] == [(row[0], row[2]) for row in told]
    assert [found.points_of for found in one.deductions] == pytest.approx(
        [float(row[1]) for row in told], abs=5e-5
    )
    assert [found.points_lost for found in one.deductions] == pytest.approx(
        [float(row[3]) for row in told], abs=5e-5
    )
    # The page's own sums: "how" worked out, and the score.
    for row in told:
        how = re.sub(r"min\(([^,]+), [^)]+\)", r"\1", row[4])
        value = 1.0
        for sign, number in re.findall(r"([×/]?) ?([0-9.]+)", how):
            value = value / float(number) if sign == "/" else value * float(number)
        assert value == pytest.approx(float(row[3]), abs=5e-4), row
    stated = re.search(r"100 × ([0-9.]+) / ([0-9.]+) = \*\*([0-9.]+)\*\*", page)
    assert stated is not None
    obtained, applicable, score = (float(number) for number in stated.groups())
    assert [one.points_obtained, one.points_applicable] == pytest.approx([obtained, applicable], abs=5e-5)
    assert one.score is not None
    assert round(one.score, 1) == score
    assert {left.item for left in one.left_out} == {
        "water.free_chlorine_mg_l",
        "water.combined_chlorine_mg_l",
        "water.turbidity_ntu",
        "monitoring",
        "duty.posting",
    }


def test_good_all_the_time_is_a_hundred_and_silent_all_the_time_nothing() -> None:
    water = ("water__free_chlorine_mg_l", "water__ph", "monitoring")
    assert only(figures(**dict.fromkeys(water, (600, 0, 0, 0, 0)))).score == 100
    silent = only(figures(**dict.fromkeys(water, (0, 0, 600, 0, 0))))
    assert silent.score == 0
    assert {found.loss for found in silent.deductions} == {Loss.SILENT}
    assert all("Art. 15(3)" in found.clause for found in silent.deductions)


def test_unverified_is_neither_a_pass_nor_a_loss() -> None:
    none = only(figures(water__ph=(0, 0, 0, 600, 0), duty__posting=(0, 0, 0, 600, 0)))
    assert none.score is None
    assert none.deductions == ()
    assert len(none.left_out) == len(ITEMS)
    assert "600 of 600 minutes cannot be verified" in none.left_out[NAMES.index("duty.posting")].finding.en
    assert "600 分钟中有 600 分钟无法核实" in none.left_out[NAMES.index("duty.posting")].finding.zh
    half = only(figures(water__ph=(300, 0, 0, 300, 0)))
    assert (half.score, half.points_applicable) == (100, 7.5)


def test_a_period_without_anything_has_no_indicator_and_says_why() -> None:
    none = only(figures())
    assert (none.score, none.points_applicable) == (None, 0)
    assert all("nothing to judge it by" in left.finding.en for left in none.left_out)
    assert np.isnan(points(ITEMS, figures()).score).all()


def test_a_deduction_says_what_was_found_and_how_it_is_computed() -> None:
    one = only(figures(water__ph=(540, 60, 0, 0, 0), closure=(600, 0, 0, 0, 3)))
    out, closed = one.deductions
    # 60 of 600 minutes: 15 × 4 × 60 / 600 = 6 points. Three closures: no more than 10 points are there.
    assert (out.item, out.loss, out.points_of) == ("water.ph", Loss.OUT, 15)
    assert out.points_lost == pytest.approx(6)
    assert (
        out.finding.en == "pH: 60 of 600 known minutes out of standard; 15 × min(4 × 60 / 600, 1) = 6 points"
    )
    assert out.finding.zh == "pH：可判定的 600 分钟中有 60 分钟不合格；15 × min(4 × 60 / 600, 1) = 6 分"
    assert "GB 37488-2019" in out.clause
    assert (closed.points_lost, closed.points_of) == (10, 10)
    assert "borrowed, not in force in Changzhou" in closed.clause
    assert one.score == pytest.approx(100 * 9 / 25)


def test_out_and_silent_take_no_more_than_the_item_has() -> None:
    one = only(figures(water__ph=(0, 120, 480, 0, 0)))
    # Out for a fifth: 15 × 4 / 5 = 12; silent for four fifths would be 12 again: 3 are left.
    assert [found.points_lost for found in one.deductions] == pytest.approx([12, 3])
    assert "at most what is left" in one.deductions[1].finding.en
    assert one.score == pytest.approx(0)


def test_a_recommended_limit_costs_nothing() -> None:
    assert "water.water_temp_c" not in NAMES
    assert not any(item.kind is ItemKind.WATER and "recommended" in item.clause for item in ITEMS)


def test_the_indicator_is_never_called_a_grade() -> None:
    one = only(
        figures(water__ph=(500, 60, 40, 10, 0), duty__daily_test=(60, 30, 0, 0, 0), closure=(9, 0, 0, 0, 1))
    )
    said = [row.finding for row in one.deductions] + [row.finding for row in one.left_out]
    words = [text for finding in said for text in (finding.zh, finding.en)]
    assert len(words) > 8
    assert not any(word in text.lower() for text in words for word in ("grade", "等级", "rating", "offence"))


def test_a_profile_without_a_limit_in_force_has_no_water() -> None:
    long_ago_ms = round(datetime(2010, 1, 1, tzinfo=UTC).timestamp() * 1000)
    old = items_of(rules_for(load_profile("changzhou-2022"), PoolKind.INDOOR), at_ms=long_ago_ms)
    assert {item.kind for item in old} == {ItemKind.MONITORING, ItemKind.DUTY}


@pytest.mark.parametrize("wrong", [Figures.none(1, ITEMS[1:]), figures(water__ph=(-1, 0, 0, 0, 0))])
def test_figures_of_other_items_or_below_zero_are_refused(wrong: Figures) -> None:
    with pytest.raises(ValueError, match="figures must"):
        points(ITEMS, wrong)


CELL = st.tuples(*(st.integers(0, 1000) for _ in range(4)), st.integers(0, 3))
ROW = st.lists(CELL, min_size=len(ITEMS), max_size=len(ITEMS))


def drawn_figures(rows: list[list[tuple[int, ...]]]) -> Figures:
    cube = np.array(rows, dtype=np.int64).reshape(len(rows), len(ITEMS), 5)
    cube[:, :, :4] *= MINUTE_MS
    return Figures(*(cube[:, :, column].copy() for column in range(5)))


def by_hand(item: Item, cell: tuple[int, ...]) -> tuple[float, float]:
    """Applicable and lost points of an item, as the page says."""
    good, bad, silent, unverified, events = cell
    known = good + bad + silent
    if known == 0:
        return 0.0, 0.0
    applicable = item.points * known / (known + unverified)
    if item.kind is ItemKind.WATER:
        lost = applicable * min(4 * bad / known, 1)
        return applicable, lost + min(applicable * silent / known, applicable - lost)
    if item.kind is ItemKind.MONITORING:
        return applicable, applicable * min(2 * silent / known, 1)
    if item.kind is ItemKind.DUTY:
        return applicable, applicable * min(2 * bad / known, 1)
    return applicable, min(5 * events, applicable)


def plain(item: Item, cell: tuple[int, ...]) -> tuple[int, ...]:
    """Only the figures that an item of this kind has."""
    good, bad, silent, unverified, events = cell
    if item.kind is ItemKind.WATER:
        return good, bad, silent, unverified, 0
    if item.kind is ItemKind.MONITORING:
        return good, 0, silent, unverified, 0
    return (good, bad, 0, unverified, 0) if item.kind is ItemKind.DUTY else (good, 0, 0, 0, events)


@settings(max_examples=200, deadline=None)
@given(st.lists(ROW, max_size=4))
def test_many_pools_at_once_equal_the_page_item_by_item(rows: list[list[tuple[int, ...]]]) -> None:
    cells = [[plain(item, cell) for item, cell in zip(ITEMS, row, strict=True)] for row in rows]
    made = drawn_figures([[tuple(cell) for cell in row] for row in cells])
    told = indicators(ITEMS, made)
    scores = points(ITEMS, made).score
    for row, one, score in zip(cells, told, scores, strict=True):
        pairs = [by_hand(item, cell) for item, cell in zip(ITEMS, row, strict=True)]
        applicable, lost = sum(pair[0] for pair in pairs), sum(pair[1] for pair in pairs)
        assert one.points_applicable == pytest.approx(applicable)
        assert sum(found.points_lost for found in one.deductions) == pytest.approx(lost, abs=1e-9)
        assert all(0 < found.points_lost <= found.points_of for found in one.deductions)
        if applicable == 0:
            assert one.score is None
            assert np.isnan(score)
        else:
            assert one.score == score == pytest.approx(100 * (applicable - lost) / applicable, abs=1e-6)
            assert 0 <= score <= 100
        # Anybody can compute the score again from the rows.
        assert one.points_obtained == pytest.approx(applicable - lost, abs=1e-9)


@settings(max_examples=100, deadline=None)
@given(ROW, st.integers(0, len(ITEMS) - 1), st.integers(1, 500))
def test_more_time_out_overdue_or_silent_never_helps(
    row: list[tuple[int, ...]], column: int, more: int
) -> None:
    cells = [plain(item, cell) for item, cell in zip(ITEMS, row, strict=True)]
    good, bad, silent, unverified, events = cells[column]
    moved = min(more, good)
    for worse in ((good - moved, bad + moved, silent), (good - moved, bad, silent + moved)):
        changed = list(cells)
        changed[column] = plain(ITEMS[column], (*worse, unverified, events))
        if sum(changed[column][:3]) != good + bad + silent:
            continue  # this kind of item has no such figure
        before, after = points(ITEMS, drawn_figures([cells, changed])).score
        assert np.isnan(before) or after <= before + 1e-9


START = np.array(["2026-07-01"], dtype="datetime64[D]")


def compliance_rows(*rows: tuple[int, int, int, int, int, int]) -> ComplianceColumns:
    """Rows of pool, quantity, in standard, out, unverified, silent, of July."""
    pool, quantity, within, out, unverified, silent = np.array(rows, dtype=np.int64).reshape(-1, 6).T
    total = within + out + unverified + silent
    start = np.repeat(START, len(rows))
    return ComplianceColumns(
        Period.MONTH, start, pool, quantity, total, total - silent, within, out, unverified, silent
    )


def punctuality_rows(*rows: tuple[int, int, int, int, int, int]) -> PunctualityColumns:
    """Rows of pool, duty, quantity, kept, overdue, unverified, of July."""
    pool, duty, quantity, done, overdue, unverified = np.array(rows, dtype=np.int64).reshape(-1, 6).T
    zero = np.zeros(len(rows), dtype=np.int64)
    start = np.repeat(START, len(rows))
    due = done + overdue + unverified
    return PunctualityColumns(
        Period.MONTH, start, pool, duty, quantity, due, done, overdue, unverified, zero, zero, zero, zero
    )


def closure_rows(*rows: tuple[int, int, int]) -> OccurrenceColumns:
    pool, quantity, count = np.array(rows, dtype=np.int64).reshape(-1, 3).T
    return OccurrenceColumns(Period.MONTH, np.repeat(START, len(rows)), pool, quantity, count)


CHLORINE, PH, TEMP, TURBIDITY = range(4)


def test_figures_come_from_the_rows_of_the_right_pool_and_item() -> None:
    made = figures_of(
        ITEMS,
        compliance=compliance_rows(
            (7, CHLORINE, 50, 20, 10, 20),
            (7, PH, 100, 0, 0, 0),
            (7, TEMP, 90, 0, 10, 0),
            (7, WHOLE_POOL, 50, 20, 10, 20),
            (3, WHOLE_POOL, 0, 0, 0, 40),
            (3, TURBIDITY, 30, 10, 0, 0),
        ),
        punctuality=punctuality_rows(
            (7, 0, CHLORINE, 60, 40, 0), (7, 0, PH, 90, 0, 10), (7, 2, PH, 0, 100, 0)
        ),
        closures=closure_rows((7, CHLORINE, 1), (7, PH, 1), (7, TURBIDITY, 5), (3, PH, 0)),
        quantities=QUANTITIES,
        duties=DUTIES,
    )
    assert [made.pool.tolist(), made.start.tolist()] == [[3, 7], np.repeat(START, 2).tolist()]
    got = {
        (int(made.pool[row]), name): [
            int(getattr(made.figures, field.name)[row, column]) for field in fields(made.figures)
        ]
        for row in range(2)
        for column, name in enumerate(NAMES)
    }
    nothing = [0, 0, 0, 0, 0]
    assert got == {
        (7, "water.free_chlorine_mg_l"): [50, 20, 20, 10, 0],
        (7, "water.ph"): [100, 0, 0, 0, 0],
        (7, "water.combined_chlorine_mg_l"): nothing,
        (7, "water.turbidity_ntu"): nothing,
        (7, "monitoring"): [50 + 20 + 100 + 90, 0, 20, 20, 0],
        (7, "duty.daily_test"): [150, 40, 0, 10, 0],
        (7, "duty.posting"): nothing,
        (7, "closure"): [50 + 20 + 100, 0, 0, 0, 2],
        # Pool 3 measures none of what the order names: silent for all of its 40 ms, three times in monitoring.
        (3, "water.free_chlorine_mg_l"): [0, 0, 40, 0, 0],
        (3, "water.ph"): [0, 0, 40, 0, 0],
        (3, "water.combined_chlorine_mg_l"): nothing,
        (3, "water.turbidity_ntu"): [30, 10, 0, 0, 0],
        (3, "monitoring"): [0, 0, 120, 0, 0],
        (3, "duty.daily_test"): nothing,
        (3, "duty.posting"): nothing,
        (3, "closure"): nothing,
    }


def test_absent_quantities_can_be_left_out_when_only_a_part_was_asked_for() -> None:
    made = figures_of(
        ITEMS,
        compliance=compliance_rows((0, PH, 40, 0, 0, 0), (0, WHOLE_POOL, 0, 0, 0, 40)),
        punctuality=punctuality_rows(),
        closures=closure_rows(),
        quantities=QUANTITIES,
        duties=DUTIES,
        absent_is_silent=(),
    )
    (one,) = indicators(ITEMS, made.figures)
    assert (one.score, one.points_applicable) == (100, 15 + 10 + 10)


def test_columns_that_do_not_belong_together_are_refused() -> None:
    rows = compliance_rows((0, PH, 40, 0, 0, 0), (0, WHOLE_POOL, 0, 0, 0, 40))

    def ask(punctuality: PunctualityColumns, closures: OccurrenceColumns) -> None:
        figures_of(
            ITEMS,
            compliance=rows,
            punctuality=punctuality,
            closures=closures,
            quantities=QUANTITIES,
            duties=DUTIES,
        )

    with pytest.raises(ValueError, match="periods differ"):
        ask(replace(punctuality_rows(), period=Period.DAY), closure_rows())
    with pytest.raises(ValueError, match="no open time"):
        ask(punctuality_rows((1, 0, PH, 1, 0, 0)), closure_rows())
