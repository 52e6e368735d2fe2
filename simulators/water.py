"""Water of one pool, well mixed: free chlorine, pH and temperature over time. Pure; chance comes in as an argument."""

import math
import random
from dataclasses import dataclass, replace

_HOUR_S = 3600.0
#: Free chlorine that a bather takes in an hour [g]; 4 to 5.5 in the literature on pool loads.
_CHLORINE_PER_BATHER_G = 4.8
#: Loss of free chlorine in the dark at 25 degC, indoors [1/h], doubling with every 10 K.
_DARK_LOSS_PER_H = 0.02
#: Loss of unstabilised free chlorine in full sun, 0.02 a minute [1/h].
_SUN_LOSS_PER_H = 1.2
#: Free chlorine of the tap water that replaces what is lost [mg/L].
_TAP_CHLORINE_MG_L = 0.15
#: Where carbon dioxide is in balance with the air and pH rises no more.
_PH_AT_REST = 8.3
#: Residue that an organic load leaves of free chlorine [mg/L]: chloramines read as a little, never as exactly zero.
_RESIDUE_MG_L = 0.12
_TEMPERATURE_RESPONSE_H = 1.5


@dataclass(frozen=True, slots=True)
class WaterState:
    """Water at one instant, and what its two dosing pumps do."""

    free_chlorine_mg_l: float
    ph: float
    water_temp_c: float
    doses_chlorine: bool = False
    doses_acid: bool = False


@dataclass(frozen=True, slots=True)
class Load:
    """What acts on the water from outside.

    `sun` is 0 to 1. A pump out of order doses nothing. `organic_load_per_h` eats free chlorine down to a residue, and
    `ph_rise_per_h` comes on top of the outgassing of carbon dioxide.
    """

    bathers: float = 0.0
    sun: float = 0.0
    makeup_m3_h: float = 0.0
    chlorine_pump_works: bool = True
    acid_pump_works: bool = True
    organic_load_per_h: float = 0.0
    ph_rise_per_h: float = 0.0


@dataclass(frozen=True, slots=True)
class PoolWater:
    """Size and plant of a pool. The controllers dose below (chlorine) or above (acid) their set point ± dead band."""

    volume_m3: float
    chlorine_set_mg_l: float
    ph_set: float
    temp_set_c: float
    chlorine_dead_band_mg_l: float = 0.03
    ph_dead_band: float = 0.04
    chlorine_dose_g_m3_h: float = 4.0
    acid_dose_ph_per_h: float = 4.0
    outgassing_ph_per_h: float = 0.12

    def at_rest(self) -> WaterState:
        """Return the water at its set points."""
        return WaterState(self.chlorine_set_mg_l, self.ph_set, self.temp_set_c)

    def step(self, state: WaterState, *, dt_s: float, load: Load, rng: random.Random) -> WaterState:
        """Water `dt_s` seconds later under a constant load; the number of bathers in it varies by chance.

        The chlorine balance is linear between two decisions of the controller, and is solved exactly:
        dC/dt = dose/V - n D/V + Q/V (C_tap - C) - (k_sun I + k_dark) C - k_load (C - residue).

        Parameters
        ----------
        state : WaterState
            Water now.
        dt_s : float
            Step, above 0. [s]
        load : Load
            What acts on the water within the step.
        rng : random.Random
            Source of chance; one draw a step.
        """
        decided = self._decide(state, load)
        dt_h = dt_s / _HOUR_S
        bathers = load.bathers * rng.uniform(0.7, 1.3)
        exchange_per_h = load.makeup_m3_h / self.volume_m3
        gain_mg_l_h = (
            (self.chlorine_dose_g_m3_h if decided.doses_chlorine else 0.0)
            - bathers * _CHLORINE_PER_BATHER_G / self.volume_m3
            + exchange_per_h * _TAP_CHLORINE_MG_L
            + load.organic_load_per_h * _RESIDUE_MG_L
        )
        loss_per_h = (
            _DARK_LOSS_PER_H * 2 ** ((state.water_temp_c - 25.0) / 10.0)
            + _SUN_LOSS_PER_H * load.sun
            + exchange_per_h
            + load.organic_load_per_h
        )
        balance_mg_l = gain_mg_l_h / loss_per_h
        chlorine_mg_l = balance_mg_l + (state.free_chlorine_mg_l - balance_mg_l) * math.exp(
            -loss_per_h * dt_h
        )
        ph_slope_per_h = self.outgassing_ph_per_h + load.ph_rise_per_h
        ph_slope_per_h *= max(0.0, _PH_AT_REST - state.ph)
        if decided.doses_acid:
            ph_slope_per_h -= self.acid_dose_ph_per_h
        cooling = 1.0 - math.exp(-dt_h / _TEMPERATURE_RESPONSE_H)
        return replace(
            decided,
            free_chlorine_mg_l=max(0.0, chlorine_mg_l),
            ph=min(_PH_AT_REST, state.ph + ph_slope_per_h * dt_h),
            water_temp_c=state.water_temp_c + (self.temp_set_c - state.water_temp_c) * cooling,
        )

    def _decide(self, state: WaterState, load: Load) -> WaterState:
        """Switch the pumps: within the dead band they go on with what they do."""
        chlorine_off_mg_l = state.free_chlorine_mg_l - self.chlorine_set_mg_l
        doses_chlorine = (
            chlorine_off_mg_l < 0
            if abs(chlorine_off_mg_l) > self.chlorine_dead_band_mg_l
            else state.doses_chlorine
        )
        ph_off = state.ph - self.ph_set
        doses_acid = ph_off > 0 if abs(ph_off) > self.ph_dead_band else state.doses_acid
        return replace(
            state,
            doses_chlorine=doses_chlorine and load.chlorine_pump_works,
            doses_acid=doses_acid and load.acid_pump_works,
        )
