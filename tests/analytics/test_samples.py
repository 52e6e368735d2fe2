"""Samples judged by themselves: hand-made cases, and the arrays against plain loops."""

import math

import numpy as np
import pytest
from hypothesis import given
from hypothesis import strategies as st

from analytics.standards.limits import LimitEnd
from analytics.standards.profile import load_profile, rules_for
from analytics.standards.samples import SampleState, compare_samples, judge_samples
from gateway.contract.registry import PoolKind

RULES = rules_for(load_profile("changzhou-2022"), PoolKind.INDOOR)
#: 2026-07-01T08:00:00Z, when the profile is in force.
NOW_MS = 1_782_892_800_000
NAN = math.nan
FC, PH, TEMP = "free_chlorine_mg_l", "ph", "water_temp_c"


def rules_broken(values: dict[str, float]) -> tuple[SampleState, list[str]]:
    verdicts = judge_samples(
        {quantity: [value] for quantity, value in values.items()}, measured_at_ms=[NOW_MS], rules=RULES
    )
    return SampleState(int(verdicts.state[0])), [end.rule for end in verdicts.broken(0)]


@pytest.mark.parametrize(
    ("values", "state", "rules"),
    [
        ({FC: 0.3, PH: 7.0}, SampleState.IN_STANDARD, []),
        ({FC: 1.0, PH: 7.8}, SampleState.IN_STANDARD, []),
        ({FC: 0.29, PH: 7.2}, SampleState.OUT_OF_STANDARD, ["free_chlorine.low"]),
        ({FC: 0.0, PH: 7.9}, SampleState.OUT_OF_STANDARD, ["free_chlorine.low", "ph.high"]),
        ({FC: 3.1}, SampleState.OUT_OF_STANDARD, ["free_chlorine.high", "free_chlorine_closure.high"]),
        ({FC: NAN, PH: 7.2}, SampleState.IN_STANDARD, []),
        ({FC: NAN, PH: 6.9}, SampleState.OUT_OF_STANDARD, ["ph.low"]),
        ({FC: NAN, PH: NAN}, SampleState.NOT_ANALYSED, []),
        ({TEMP: 35.0}, SampleState.NOT_ANALYSED, []),
        ({"bathers": 500.0}, SampleState.NOT_ANALYSED, []),
        ({}, SampleState.NOT_ANALYSED, []),
        ({FC: math.inf}, SampleState.OUT_OF_STANDARD, ["free_chlorine.high", "free_chlorine_closure.high"]),
    ],
)
def test_one_sample(values: dict[str, float], state: SampleState, rules: list[str]) -> None:
    assert rules_broken(values) == (state, rules)


def test_a_sample_from_before_the_edition_is_not_judged_by_it() -> None:
    ends = RULES.ends(FC)
    from_ms = ends[0].from_ms
    verdicts = judge_samples({FC: [0.1, 0.1]}, measured_at_ms=[from_ms - 1, from_ms], rules=RULES)
    assert verdicts.state.tolist() == [SampleState.NOT_ANALYSED, SampleState.OUT_OF_STANDARD]


def test_margins_are_distances_from_the_figure_of_the_standard() -> None:
    columns = compare_samples([0.1, 0.5, 1.25, NAN], measured_at_ms=[NOW_MS] * 4, ends=RULES.ends(FC)[:2])
    np.testing.assert_allclose(columns.margin, [[0.2, NAN, NAN, NAN], [NAN, NAN, 0.25, NAN]])
    assert columns.judged.tolist() == [[True, True, True, False]] * 2


def test_no_samples() -> None:
    verdicts = judge_samples({FC: []}, measured_at_ms=[], rules=RULES)
    assert verdicts.state.shape == verdicts.closure.shape == (0,)
    assert verdicts.columns.outside.shape == (len(RULES.ends(FC)), 0)


def test_columns_of_different_lengths_are_refused() -> None:
    with pytest.raises(ValueError, match=r"not of shapes \(2,\) and \(1,\)"):
        judge_samples({FC: [0.5, 0.5]}, measured_at_ms=[NOW_MS], rules=RULES)
    with pytest.raises(ValueError, match="one length"):
        compare_samples([[0.5]], measured_at_ms=[[NOW_MS]], ends=())


def test_nothing_that_is_given_is_changed() -> None:
    values = np.array([0.1, NAN])
    values.setflags(write=False)
    judge_samples({FC: values}, measured_at_ms=np.array([NOW_MS, NOW_MS]), rules=RULES)


VALUES = st.one_of(st.just(NAN), st.integers(0, 1000).map(lambda hundredths: hundredths / 100))


@given(
    rows=st.lists(
        st.tuples(VALUES, VALUES, VALUES, st.sampled_from([NOW_MS, 1_500_000_000_000, 0])), max_size=12
    )
)
def test_arrays_equal_plain_loops(rows: list[tuple[float, float, float, int]]) -> None:
    quantities = (FC, PH, "turbidity_ntu")
    verdicts = judge_samples(
        {quantity: [row[column] for row in rows] for column, quantity in enumerate(quantities)},
        measured_at_ms=[row[3] for row in rows],
        rules=RULES,
    )
    for sample, row in enumerate(rows):
        judged = False
        broken: list[LimitEnd] = []
        for limit in RULES.limits:
            if limit.quantity not in quantities or not limit.in_force(row[3]):
                continue
            value = row[quantities.index(limit.quantity)]
            if math.isnan(value) or not (limit.binding or limit.tier == "closure"):
                continue
            judged = judged or limit.tier == "operating"
            if limit.low is not None and value < limit.low:
                broken.append(limit.ends()[0])
            if limit.high is not None and value > limit.high:
                broken.append(limit.ends()[-1])
        out = any(end.limit.tier == "operating" for end in broken)
        expected = (
            SampleState.OUT_OF_STANDARD
            if out
            else SampleState.IN_STANDARD
            if judged
            else SampleState.NOT_ANALYSED
        )
        assert verdicts.state[sample] == expected
        assert {end.rule for end in verdicts.broken(sample)} == {end.rule for end in broken}
        assert verdicts.closure[sample] == any(end.limit.tier == "closure" for end in broken)
