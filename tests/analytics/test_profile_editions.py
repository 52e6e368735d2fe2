"""Editions by date, and comparison by rounding: each reading by what was in force then."""

from decimal import ROUND_HALF_EVEN, Decimal
from pathlib import Path

import pytest
from hypothesis import given
from hypothesis import strategies as st

from analytics.spans import FAR_MS
from analytics.standards.limits import ClauseStatus, Consequence, Limit, Side, Tier, overlap
from analytics.standards.profile import DutyKind, Profile, load_profile, read_profile, rules_for
from analytics.standards.samples import SampleState, judge_samples
from gateway.contract.quantities import Quantity
from gateway.contract.registry import PoolKind
from tests.analytics.profile_files import Write, duty_table, limit_table, mistakes_of, ms, writer


@pytest.fixture
def write(tmp_path: Path) -> Write:
    return writer(tmp_path)


def test_two_operating_limits_at_one_time_are_refused_and_both_are_named(write: Write) -> None:
    text = mistakes_of(
        write(limit_table("old", to="2020-01-02"), limit_table("new", **{"from": "2020-01-01"}))
    )
    assert "'new' and 'old' are both operating limits of ph" in text
    assert len(text.splitlines()) == 1


def test_successive_limits_are_allowed_and_judge_each_reading_by_its_edition(write: Write) -> None:
    rules = rules_for(
        read_profile(
            write(
                limit_table("old", high="8.5", to="2020-01-01"),
                limit_table("new", **{"from": "2020-01-01"}),
                more='time_zone = "Asia/Shanghai"',
            )
        ),
        PoolKind.INDOOR,
    )
    change_ms = ms("2020-01-01T00:00:00+08:00")
    before, after = rules.operating("ph", change_ms - 1), rules.operating("ph", change_ms)
    assert (before and before.limit_id, after and after.limit_id) == ("old", "new")
    ends = rules.ends_table()["ph"]
    assert [(end.rule, end.from_ms, end.to_ms) for end in ends] == [
        ("old.low", -FAR_MS, change_ms),
        ("old.high", -FAR_MS, change_ms),
        ("new.low", change_ms, FAR_MS),
        ("new.high", change_ms, FAR_MS),
    ]
    assert rules.ends("ph") == ends


@pytest.mark.parametrize(
    "other",
    [{"tier": '"closure"'}, {"quantity": '"water_temp_c"', "unit": '"°C"'}, {"applies_to": '["spa"]'}],
    ids=["another tier", "another quantity", "another kind of pool"],
)
def test_limits_that_never_meet_may_be_in_force_together(write: Write, other: dict[str, str]) -> None:
    path = write(limit_table("one", applies_to='["indoor"]'), limit_table("two", **other))
    assert len(read_profile(path).limits) == 2


@given(st.lists(st.one_of(st.none(), st.integers(0, 6)), min_size=4, max_size=4))
def test_overlap_is_an_instant_in_common(ends: list[int | None]) -> None:
    one, other = (ends[0], ends[1]), (ends[2], ends[3])

    def inside(at: int, span: tuple[int | None, int | None]) -> bool:
        return (span[0] is None or span[0] <= at) and (span[1] is None or at < span[1])

    common = any(inside(at, one) and inside(at, other) for at in range(-2, 9))
    assert overlap(one, other) == common


def test_an_id_may_come_only_once(write: Write) -> None:
    text = mistakes_of(write(limit_table("ph", to="2020-01-01"), limit_table("ph", **{"from": "2020-01-01"})))
    assert "two limits have the id 'ph'" in text


def test_a_date_begins_in_the_time_zone_of_the_file(write: Write) -> None:
    at = {
        zone: read_profile(write(limit_table("a", **{"from": "2022-08-15"}), more=zone)).limits[0].from_ms
        for zone in ("", 'time_zone = "Asia/Shanghai"')
    }
    assert list(at.values()) == [ms("2022-08-15T00:00:00+00:00"), ms("2022-08-15T00:00:00+08:00")]
    assert load_profile("changzhou-2022").limits[0].from_ms == ms("2022-08-15T00:00:00+08:00")


# --- rounding before comparison -------------------------------------------------------------------------------------


def make_limit(*, low: float | None, high: float | None, closed: bool, decimals: int | None) -> Limit:
    return Limit(
        limit_id="x",
        quantity=Quantity.PH,
        low=low,
        high=high,
        low_closed=closed,
        high_closed=closed,
        unit="",
        standard="S",
        edition="E",
        clause="C",
        clause_status=ClauseStatus.OURS,
        source="us",
        binding=True,
        tier=Tier.OPERATING,
        applies_to=frozenset(PoolKind),
        from_ms=None,
        to_ms=None,
        consequence=Consequence.NONE,
        comparison_decimals=decimals,
    )


@given(
    value=st.decimals("0", "9", places=3),
    end=st.decimals("1", "8", places=1),
    side=st.sampled_from(Side),
    closed=st.booleans(),
    decimals=st.sampled_from([1, 2]),
)
def test_the_threshold_stands_for_rounding_half_to_even(
    value: Decimal,
    end: Decimal,
    side: Side,
    closed: bool,  # noqa: FBT001 - made by Hypothesis
    decimals: int,
) -> None:
    rounded = value.quantize(Decimal(1).scaleb(-decimals), ROUND_HALF_EVEN)
    beyond = rounded > end if side is Side.HIGH else rounded < end
    expected = beyond or (rounded == end and not closed)
    bounds = (float(end), None) if side is Side.LOW else (None, float(end))
    limit = make_limit(low=bounds[0], high=bounds[1], closed=closed, decimals=decimals)
    (found,) = limit.ends()
    assert found.is_outside(float(value)) == expected
    assert (limit.outside_by(float(value)) is not None) == expected
    assert found.value == float(end)


def test_without_rounding_the_full_value_is_compared() -> None:
    (end,) = make_limit(low=None, high=1.0, closed=True, decimals=None).ends()
    assert (end.threshold, end.threshold_closed) == (1.0, True)
    assert [end.is_outside(value) for value in (1.0, 1.0000001, float("nan"))] == [False, True, False]


def test_rounding_is_a_key_of_the_file(write: Write) -> None:
    (limit,) = read_profile(write(limit_table("ph", comparison="1"))).limits
    # 7.84 and 7.85 round to 7.8 (half to even), 7.86 to 7.9.
    assert [limit.outside_by(value) is None for value in (7.84, 7.85, 7.86)] == [True, True, False]
    (full,) = read_profile(write(limit_table("ph", comparison='"full_value"'))).limits
    assert full.outside_by(7.84) == pytest.approx(0.04)


# --- duties ---------------------------------------------------------------------------------------------------------


def test_duties_have_editions_too(write: Write) -> None:
    profile = read_profile(
        write(
            duty_table(interval_s="7200", **{"from": "2020-01-01"}),
            duty_table(to="2020-01-01"),
            duty_table("full_test", quantities="[]", served_by='["laboratory_report"]'),
        )
    )
    rules = rules_for(profile, PoolKind.INDOOR)
    change_ms = ms("2020-01-01T00:00:00+00:00")
    assert rules.test_age_ms("ph", change_ms - 1) == 3_600_000
    assert rules.test_age_ms("ph", change_ms) == rules.test_age_ms("ph") == 7_200_000
    assert [duty.duty for duty in rules.duties_in_force(change_ms)] == [
        DutyKind.DAILY_TEST,
        DutyKind.FULL_TEST,
    ]


@pytest.mark.parametrize("quantities", ['["ph", "water_temp_c"]', "[]"])
def test_two_duties_at_one_time_are_refused(write: Write, quantities: str) -> None:
    text = mistakes_of(write(duty_table(quantities=quantities), duty_table(quantities=quantities)))
    assert "duties[1]: a second daily_test" in text


# --- the example of the documentation -------------------------------------------------------------------------------


@pytest.fixture
def history(pytestconfig: pytest.Config, tmp_path: Path) -> Profile:
    text = (Path(pytestconfig.rootpath) / "docs" / "standards.md").read_text(encoding="utf-8")
    example = text.split("<!-- example: history.toml -->\n```toml\n")[1].split("```")[0]
    path = tmp_path / "history.toml"
    path.write_text(example, encoding="utf-8")
    return read_profile(path)


def test_history_is_judged_by_the_edition_of_its_day(history: Profile) -> None:
    # 0.8 mg/L: above the 0.5 of 1996, within the 1.0 of 2019. pH 8.2: within 6.5 to 8.5, then above 7.8.
    days = ["2019-10-31T23:59:59+08:00", "2019-11-01T00:00:00+08:00", "2022-08-15T00:00:00+08:00"]
    verdicts = judge_samples(
        {"free_chlorine_mg_l": [0.8] * 3, "ph": [8.2] * 3},
        measured_at_ms=[ms(day) for day in days],
        rules=rules_for(history, PoolKind.INDOOR),
    )
    assert [[end.rule for end in verdicts.broken(sample)] for sample in range(3)] == [
        ["free_chlorine_1996.high"],
        ["ph_2019.high"],
        ["ph.high", "ph_closure.high"],
    ]
    assert verdicts.state.tolist() == [SampleState.OUT_OF_STANDARD] * 3
    assert verdicts.closure.tolist() == [False, False, True]
    (broken,) = verdicts.broken(1)
    assert (broken.limit.edition, broken.limit.consequence) == ("2019", Consequence.NONE)
    assert verdicts.broken(2)[0].limit.consequence is Consequence.ORDER_AND_WARNING_FINE_AT_DISCRETION


def test_no_day_of_history_has_two_editions_or_none(history: Profile) -> None:
    rules = rules_for(history, PoolKind.OUTDOOR)
    changes = {end.from_ms for end in rules.ends("ph")} | {end.to_ms for end in rules.ends("ph")}
    for at_ms in sorted(change for change in changes if abs(change) < FAR_MS):
        in_force = [
            limit.limit_id
            for limit in rules.limits
            if limit.quantity == "ph" and limit.tier is Tier.OPERATING and limit.in_force(at_ms)
        ]
        assert len(in_force) == 1, at_ms
