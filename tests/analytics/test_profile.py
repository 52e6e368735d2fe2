"""Profiles: the figures of FACTS.md, and every mistake of a file named at once."""

from pathlib import Path

import pytest

from analytics.errors import ProfileError
from analytics.standards.profile import (
    ClauseStatus,
    Consequence,
    DutyKind,
    Tier,
    known_profiles,
    load_profile,
    rules_for,
)
from analytics.standards.quality_rules import QualityRules
from gateway.contract.registry import PoolKind


@pytest.mark.parametrize(
    ("limit_id", "low", "high", "binding", "status"),
    [
        ("free_chlorine", 0.3, 1.0, True, ClauseStatus.SECOND_HAND),
        ("combined_chlorine", None, 0.4, True, ClauseStatus.SECOND_HAND),
        ("ph", 7.0, 7.8, True, ClauseStatus.SECOND_HAND),
        ("turbidity", None, 1.0, True, ClauseStatus.SECOND_HAND),
        ("water_temperature", 23.0, 30.0, False, ClauseStatus.SECOND_HAND),
        ("orp", 650.0, None, False, ClauseStatus.UNCONFIRMED),
        ("urea", None, 3.5, True, ClauseStatus.UNCONFIRMED),
        ("free_chlorine_closure", None, 3.0, False, ClauseStatus.BORROWED),
        ("ph_closure", 6.5, 8.0, False, ClauseStatus.BORROWED),
    ],
)
def test_limits_are_those_of_the_facts(
    limit_id: str,
    low: float | None,
    high: float | None,
    binding: bool,  # noqa: FBT001 - a column of the table
    status: ClauseStatus,
) -> None:
    limit = next(limit for limit in load_profile("changzhou-2022").limits if limit.limit_id == limit_id)
    assert (limit.low, limit.high, limit.binding, limit.clause_status) == (low, high, binding, status)
    assert limit.edition
    assert limit.source


@pytest.mark.parametrize("name", ["changzhou-2022", "demo"])
def test_no_profile_says_more_than_the_order(name: str) -> None:
    profile = load_profile(name)
    for duty in profile.duties:
        # Art. 15(3) has no consequence, Art. 23(2) has one for tests and posting only.
        punished = duty.duty in (DutyKind.DAILY_TEST, DutyKind.POSTING)
        assert duty.consequence is (Consequence.ORDER_TO_CORRECT_THEN_FINE if punished else Consequence.NONE)
    for limit in profile.limits:
        if not limit.binding:
            assert limit.consequence is Consequence.NONE
        if limit.tier is Tier.CLOSURE:
            assert limit.clause_status is ClauseStatus.BORROWED


def test_only_indoor_free_chlorine_is_tested_every_two_hours() -> None:
    profile = load_profile("changzhou-2022")
    two_hours_and_grace_ms = 150 * 60_000
    assert rules_for(profile, PoolKind.INDOOR).test_age_ms("free_chlorine_mg_l") == two_hours_and_grace_ms
    assert rules_for(profile, PoolKind.INDOOR).test_age_ms("ph") > two_hours_and_grace_ms
    assert rules_for(profile, PoolKind.OUTDOOR).test_age_ms("free_chlorine_mg_l") > two_hours_and_grace_ms
    assert rules_for(profile, PoolKind.OUTDOOR).online_age_ms("ph") == 15 * 60_000


def test_the_demo_has_short_times_and_a_notice() -> None:
    profile = load_profile("demo")
    assert profile.notice
    assert not load_profile("changzhou-2022").notice
    assert profile.limits == load_profile("changzhou-2022").limits
    rules = rules_for(profile, PoolKind.INDOOR)
    assert (rules.online_age_ms("ph"), rules.test_age_ms("ph")) == (20_000, 70_000)
    assert (profile.confirmation("ph").confirm_ms, profile.confirmation("ph").clear_ms) == (10_000, 10_000)


def test_an_unknown_name_lists_the_known_ones() -> None:
    with pytest.raises(ProfileError, match=r"'shanghai'.*changzhou-2022, demo, estonia"):
        load_profile("shanghai")
    assert known_profiles() == ["changzhou-2022", "demo", "estonia", "gb37488-2019", "gb9667-1996"]


def test_loaded_once() -> None:
    assert load_profile("demo") is load_profile("demo")


def test_every_mistake_is_listed(tmp_path: Path) -> None:
    path = tmp_path / "wrong.toml"
    path.write_text(
        """
schema = 1
name = "wrong"
title_zh = "错"
title_en = "wrong"
notice = "yes"
grid_step_s = 60
colour = "blue"
[confirmation]
confirm_s = -1
clear_s = 300
[confirmation.hysteresis]
pH = 0.05
[[limits]]
id = "ph"
quantity = "acidity"
low = 7.8
high = 7.0
low_closed = true
unit = ""
standard = "GB 37488-2019"
edition = "2019"
clause = "x"
clause_status = "heard"
source = "x"
binding = true
tier = "operating"
from = 2022-08-15T00:00:00
consequence = "prison"
[[duties]]
duty = "online_publication"
quantities = ["ph", "smell"]
interval_s = "often"
grace_s = 300
served_by = ["publication"]
standard = "s"
edition = "e"
clause = "c"
clause_status = "ours"
source = "s"
consequence = "order_to_correct_then_fine"
""",
        encoding="utf-8",
    )
    with pytest.raises(ProfileError) as caught:
        load_profile(str(path))
    lines = str(caught.value).splitlines()
    # Every line of the file above that is wrong, its table and key, and what is allowed.
    for wanted in (
        "line 6: notice: is a text, it must be true or false",
        "line 8: colour: is not a known key",
        "line 10: confirmation.confirm_s: is -1, it must be 0 or more",
        "line 13: confirmation.hysteresis.pH: is not a known key",
        "line 14: limits[0]: `high_closed` is missing",
        "line 16: limits[0].quantity: 'acidity' is not known",
        "line 17: limits[0].low: is 7.8, it must be below `high`, 7",
        "line 24: limits[0].clause_status: 'heard' is not known",
        "line 28: limits[0].from: has no offset",
        "line 29: limits[0].consequence: 'prison' is not known",
        "line 32: duties[0].quantities: 'smell' is not known",
        "line 33: duties[0].interval_s: is a text, it must be a number",
        "line 41: duties[0].consequence: online publication is only encouraged",
    ):
        assert any(line.startswith(f"{path}: {wanted}") for line in lines), f"{wanted!r} is not in:\n{lines}"
    assert len(lines) == 13


@pytest.mark.parametrize("name", known_profiles())
def test_every_shipped_figure_says_where_it_is_from(name: str) -> None:
    profile = load_profile(name)
    assert profile.limits
    for limit in profile.limits:
        assert limit.standard and limit.edition and limit.clause and limit.source  # noqa: PT018 - one claim
        # Nobody here has read the text of a limit in its official print: none may claim so.
        assert limit.clause_status is not ClauseStatus.READ
        assert limit.from_ms is not None
        assert limit.comparison_decimals is None


def test_the_1996_edition_is_that_of_its_copies() -> None:
    limits = {limit.quantity: (limit.low, limit.high) for limit in load_profile("gb9667-1996").limits}
    assert limits == {
        "free_chlorine_mg_l": (0.3, 0.5),
        "ph": (6.5, 8.5),
        "turbidity_ntu": (None, 5.0),
        "urea_mg_l": (None, 3.5),
        "water_temp_c": (22.0, 26.0),
    }


def test_the_standard_alone_has_the_figures_of_the_order() -> None:
    order = {
        limit.quantity: (limit.low, limit.high, limit.binding, limit.clause_status)
        for limit in load_profile("changzhou-2022").limits
        if limit.tier is Tier.OPERATING
    }
    alone = {
        limit.quantity: (limit.low, limit.high, limit.binding, limit.clause_status)
        for limit in load_profile("gb37488-2019").limits
    }
    assert alone == order


def test_quality_checks_of_changzhou() -> None:
    profile = load_profile("changzhou-2022")
    chlorine = profile.quality_rules("free_chlorine_mg_l")
    assert (chlorine.flat_line_s, chlorine.flat_line_tolerance, chlorine.flat_line_needs_flow) == (
        14_400.0,
        0.0,
        True,
    )
    assert chlorine.zero_dropout_above == 0.2
    assert profile.quality_rules("turbidity_ntu") == QualityRules()


def test_the_demo_bounds_no_rate_of_its_fast_water() -> None:
    rules = load_profile("demo").quality_rules("free_chlorine_mg_l")
    assert (rules.spike_suspect, rules.rate_suspect_per_min, rules.reconnect_gap_s) == (None, None, None)
    assert rules.zero_dropout_above == 0.2
