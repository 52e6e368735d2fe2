"""Simulated staff: tests by hand of a pool's water at an interval, behind the gateway's sensor port."""

import random

from gateway.contract.quantities import Quantity
from gateway.contract.readings import MANUAL_SENSOR, Reading, ReadingStatus
from gateway.contract.times import format_timestamp
from simulators.pools import SimulatedPool

_METHODS = {
    Quantity.FREE_CHLORINE_MG_L: "DPD-1 photometer",
    Quantity.PH: "phenol red photometer",
    Quantity.WATER_TEMP_C: "thermometer",
}
_NOISE = {Quantity.FREE_CHLORINE_MG_L: 0.015, Quantity.PH: 0.03, Quantity.WATER_TEMP_C: 0.1}
_DIGITS = {Quantity.FREE_CHLORINE_MG_L: 2, Quantity.PH: 2, Quantity.WATER_TEMP_C: 1}


class StaffTests:
    """Somebody who takes a sample at the pool's edge: a `gateway.sensors.ports.SensorPort`.

    The sample is the water itself: no lag, no drift, but a hand's noise.
    """

    def __init__(self, *, pool: SimulatedPool, by: str, interval_s: float, rng: random.Random) -> None:
        self.interval_s = interval_s
        self.pool_id = pool.pool_id
        self._pool = pool
        self._by = by
        self._rng = rng

    def read(self, now_ms: int) -> list[Reading]:
        """Return the three results of a test taken at `now_ms`."""
        water = self._pool.look(now_ms)
        sampled = {
            Quantity.FREE_CHLORINE_MG_L: water.free_chlorine_mg_l,
            Quantity.PH: water.ph,
            Quantity.WATER_TEMP_C: water.water_temp_c,
        }
        return [
            Reading(
                sensor_id=MANUAL_SENSOR,
                quantity=quantity,
                measured_at=format_timestamp(now_ms),
                value=max(0.0, round(self._rng.gauss(value, _NOISE[quantity]), _DIGITS[quantity])),
                status=ReadingStatus.MANUAL,
                by=self._by,
                method=_METHODS[quantity],
            )
            for quantity, value in sampled.items()
        ]
