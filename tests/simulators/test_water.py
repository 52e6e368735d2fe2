"""The water's balance against a fine Euler integration, a hand calculation, and what can never be."""

import math
import random
from dataclasses import replace

import pytest
from hypothesis import given
from hypothesis import strategies as st

from simulators.water import Load, PoolWater, WaterState

WATER = PoolWater(volume_m3=500.0, chlorine_set_mg_l=0.6, ph_set=7.3, temp_set_c=27.0)


class NoChance(random.Random):
    """Draws the middle of every range."""

    def uniform(self, a: float, b: float) -> float:
        return (a + b) / 2.0


def test_in_the_dark_two_per_cent_an_hour_are_lost() -> None:
    state = WaterState(free_chlorine_mg_l=0.6, ph=7.3, water_temp_c=25.0)
    after = WATER.step(state, dt_s=3600, load=Load(chlorine_pump_works=False), rng=NoChance())
    assert after.free_chlorine_mg_l == pytest.approx(0.6 * math.exp(-0.02))


def test_loss_in_the_dark_doubles_with_ten_kelvin() -> None:
    state = WaterState(free_chlorine_mg_l=0.6, ph=7.3, water_temp_c=35.0)
    after = WATER.step(state, dt_s=3600, load=Load(chlorine_pump_works=False), rng=NoChance())
    assert after.free_chlorine_mg_l == pytest.approx(0.6 * math.exp(-0.04))


def test_twenty_five_bathers_take_what_they_are_known_to_take() -> None:
    # 25 x 4.8 g/h in 500 m3 are 0.24 g/m3 in an hour; in 36 s, 0.0024 mg/L, beside 0.02 %/h x 36 s of the dark loss.
    state = WaterState(free_chlorine_mg_l=0.6, ph=7.3, water_temp_c=25.0)
    after = WATER.step(state, dt_s=36, load=Load(bathers=25, chlorine_pump_works=False), rng=NoChance())
    assert after.free_chlorine_mg_l == pytest.approx(0.6 - 0.0024 - 0.6 * 0.0002, abs=1e-6)


@given(
    chlorine_mg_l=st.floats(0.0, 3.0),
    bathers=st.floats(0.0, 100.0),
    sun=st.floats(0.0, 1.0),
    makeup_m3_h=st.floats(0.0, 50.0),
    organic_load_per_h=st.floats(0.0, 20.0),
    dt_s=st.floats(1.0, 600.0),
    dosing=st.booleans(),
)
def test_chlorine_agrees_with_many_small_euler_steps(
    chlorine_mg_l: float,
    bathers: float,
    sun: float,
    makeup_m3_h: float,
    organic_load_per_h: float,
    dt_s: float,
    dosing: bool,  # noqa: FBT001 - Hypothesis gives it
) -> None:
    load = Load(
        bathers=bathers,
        sun=sun,
        makeup_m3_h=makeup_m3_h,
        organic_load_per_h=organic_load_per_h,
        chlorine_pump_works=dosing,
    )
    state = WaterState(free_chlorine_mg_l=chlorine_mg_l, ph=7.3, water_temp_c=25.0, doses_chlorine=True)
    after = WATER.step(state, dt_s=dt_s, load=load, rng=NoChance())
    steps, c = 2000, chlorine_mg_l
    for _ in range(steps):
        rate = 4.0 * after.doses_chlorine - bathers * 4.8 / 500 + makeup_m3_h / 500 * (0.15 - c)
        rate += -0.02 * c - 1.2 * sun * c - organic_load_per_h * (c - 0.12)
        c += rate * dt_s / 3600 / steps
    assert after.free_chlorine_mg_l == pytest.approx(max(0.0, c), abs=2e-3)


@pytest.mark.parametrize(
    ("chlorine_mg_l", "dosed_before", "doses"),
    [(0.56, False, True), (0.58, False, False), (0.58, True, True), (0.62, True, True), (0.64, True, False)],
)
def test_the_chlorine_pump_has_a_dead_band(chlorine_mg_l: float, dosed_before: bool, doses: bool) -> None:  # noqa: FBT001
    state = replace(WATER.at_rest(), free_chlorine_mg_l=chlorine_mg_l, doses_chlorine=dosed_before)
    assert WATER.step(state, dt_s=1, load=Load(), rng=NoChance()).doses_chlorine is doses


@pytest.mark.parametrize(
    ("ph", "dosed_before", "doses"),
    [(7.35, False, True), (7.33, False, False), (7.33, True, True), (7.27, True, True), (7.25, True, False)],
)
def test_the_acid_pump_has_a_dead_band(ph: float, dosed_before: bool, doses: bool) -> None:  # noqa: FBT001
    state = replace(WATER.at_rest(), ph=ph, doses_acid=dosed_before)
    assert WATER.step(state, dt_s=1, load=Load(), rng=NoChance()).doses_acid is doses


def test_a_pump_out_of_order_doses_nothing() -> None:
    state = WaterState(free_chlorine_mg_l=0.1, ph=8.0, water_temp_c=27.0)
    load = Load(chlorine_pump_works=False, acid_pump_works=False)
    after = WATER.step(state, dt_s=60, load=load, rng=NoChance())
    assert (after.doses_chlorine, after.doses_acid) == (False, False)
    assert after.free_chlorine_mg_l < 0.1
    assert after.ph > 8.0


@given(
    state=st.builds(
        WaterState, st.floats(0, 5), st.floats(6.5, 8.3), st.floats(5, 35), st.booleans(), st.booleans()
    ),
    load=st.builds(
        Load,
        st.floats(0, 500),
        st.floats(0, 1),
        st.floats(0, 100),
        st.booleans(),
        st.booleans(),
        st.floats(0, 20),
    ),
    seed=st.integers(0, 9),
)
def test_water_stays_water(state: WaterState, load: Load, seed: int) -> None:
    rng = random.Random(seed)
    for _ in range(50):
        state = WATER.step(state, dt_s=10, load=load, rng=rng)
        assert 0.0 <= state.free_chlorine_mg_l < 10.0
        assert 6.0 < state.ph <= 8.3
        assert 5.0 <= state.water_temp_c <= 35.0
