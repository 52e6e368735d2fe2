"""A simulated pool: its water carried forward to the instant at which somebody looks at it."""

import math
import random
from collections.abc import Callable, Sequence
from dataclasses import replace

from simulators.faults import Fault, FaultKind
from simulators.water import Load, PoolWater, WaterState

#: Step of the water's own time; short against the dosing, so that the dead band shows.
_STEP_S = 10.0
#: After a longer pause the water is taken from its set points this long before: by then it has forgotten them.
_MEMORY_S = 900.0
#: Organic load and acid failure of the faults, in the water's own time.
_ORGANIC_LOAD_PER_H = 18.0
_PH_RISE_PER_H = 6.0
_BATHING_PERIOD_S = 5400.0


class SimulatedPool:
    """Water, bathers and faults of one pool. `time_factor` seconds of its own pass in one second outside.

    Parameters
    ----------
    pool_id : str
        The pool.
    water : PoolWater
        Its size and plant.
    start_ms : int
        Instant of the scenario's start.
    faults_at : callable
        Faults of the scenario under way at a number of seconds since the start.
    rng : random.Random
        Source of chance, of this pool alone.
    bathers : float
        How many there are on average.
    time_factor : float
        How much faster than outside the water lives.
    """

    def __init__(
        self,
        *,
        pool_id: str,
        water: PoolWater,
        start_ms: int,
        faults_at: Callable[[float], Sequence[Fault]],
        rng: random.Random,
        bathers: float = 0.0,
        time_factor: float = 1.0,
    ) -> None:
        self.pool_id = pool_id
        self.time_factor = time_factor
        self._water = water
        self._start_ms = start_ms
        self._faults_at = faults_at
        self._rng = rng
        self._bathers = bathers
        self._state = water.at_rest()
        self._at_ms = start_ms

    def faults(self, at_ms: int) -> list[Fault]:
        """Faults of this pool under way at an instant."""
        faults = self._faults_at((at_ms - self._start_ms) / 1000.0)
        return [fault for fault in faults if self.pool_id in fault.pool_ids]

    def look(self, now_ms: int) -> WaterState:
        """Water at `now_ms`; an instant before the last look shows the water of that one."""
        if now_ms - self._at_ms > _MEMORY_S * 1000:
            self._state = self._water.at_rest()
            self._at_ms = now_ms - int(_MEMORY_S * 1000)
        span_ms = now_ms - self._at_ms
        if span_ms <= 0:
            return self._state
        steps = math.ceil(span_ms / 1000.0 * self.time_factor / _STEP_S)
        for number in range(steps):
            at_ms = self._at_ms + span_ms * number // steps
            self._state = self._water.step(
                self._state,
                dt_s=span_ms / 1000.0 * self.time_factor / steps,
                load=self._load(at_ms),
                rng=self._rng,
            )
        self._at_ms = now_ms
        return self._state

    def _load(self, at_ms: int) -> Load:
        own_s = (at_ms - self._start_ms) / 1000.0 * self.time_factor
        crowd = 1.0 + 0.5 * math.sin(2.0 * math.pi * own_s / _BATHING_PERIOD_S)
        load = Load(bathers=self._bathers * crowd)
        kinds = {fault.kind for fault in self.faults(at_ms)}
        if FaultKind.LOW_CHLORINE in kinds:
            load = replace(
                load, chlorine_pump_works=False, organic_load_per_h=_ORGANIC_LOAD_PER_H, bathers=0.0
            )
        if FaultKind.PH_DRIFT in kinds:
            load = replace(load, acid_pump_works=False, ph_rise_per_h=_PH_RISE_PER_H)
        return load
