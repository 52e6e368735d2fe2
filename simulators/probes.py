"""Simulated probes of a pool, behind the gateway's sensor port: lag, noise, drift, resolution, and what fails in them."""

import math
import random
from dataclasses import dataclass

from gateway.contract.quantities import Quantity
from gateway.contract.readings import Reading
from gateway.contract.times import format_timestamp
from simulators.faults import FaultKind
from simulators.pools import SimulatedPool
from simulators.water import WaterState

#: Dissociation of hypochlorous acid at 25 degC (Morris 1966); the instrument's own constant.
_PKA_HOCL = 7.54
_LN_10 = math.log(10.0)


@dataclass(frozen=True, slots=True)
class ProbeModel:
    """How an instrument answers: 90 % of a step after `t90_s`, noise of one sigma, and the step of its display."""

    sensor_id: str
    quantity: Quantity
    t90_s: float
    noise: float
    digits: int
    slope: float = 1.0


def standard_probes(*, chlorine_slope: float = 1.0) -> tuple[ProbeModel, ...]:
    """Return the three that every simulated pool has; an amperometric chlorine probe needs 3 min for 90 % of a step."""
    return (
        ProbeModel(
            "fc-1", Quantity.FREE_CHLORINE_MG_L, t90_s=180.0, noise=0.005, digits=2, slope=chlorine_slope
        ),
        ProbeModel("ph-1", Quantity.PH, t90_s=30.0, noise=0.006, digits=2),
        ProbeModel("t-1", Quantity.WATER_TEMP_C, t90_s=60.0, noise=0.03, digits=1),
    )


class PoolProbes:
    """The probes of one pool, read together: a `gateway.sensors.ports.SensorPort`.

    The chlorine probe sees only hypochlorous acid and is corrected by the pH probe's reading, so a wrong pH makes a
    wrong chlorine too.
    """

    def __init__(
        self,
        *,
        pool: SimulatedPool,
        models: tuple[ProbeModel, ...],
        interval_s: float,
        rng: random.Random,
    ) -> None:
        self.interval_s = interval_s
        self.pool_id = pool.pool_id
        self._pool = pool
        self._models = models
        self._rng = rng
        self._lagged: dict[str, float] = {}
        self._shown: dict[str, float] = {}
        self._read_at_ms: int | None = None
        self._ph_sensor_id = next(model.sensor_id for model in models if model.quantity is Quantity.PH)

    def read(self, now_ms: int) -> list[Reading]:
        """Readings of the probes that answer at `now_ms`."""
        water = self._pool.look(now_ms)
        silent, stuck = self._failing(now_ms)
        own_s = (
            0.0 if self._read_at_ms is None else (now_ms - self._read_at_ms) / 1000.0 * self._pool.time_factor
        )
        self._read_at_ms = now_ms
        for model in self._models:
            signal = _signal(model.quantity, water)
            before = self._lagged.get(model.sensor_id, signal)
            passed = 1.0 - math.exp(-_LN_10 * max(0.0, own_s) / model.t90_s)
            self._lagged[model.sensor_id] = before + (signal - before) * passed
        readings = []
        for model in self._models:
            value = self._display(model)
            if model.sensor_id in stuck:
                value = self._shown.get(model.sensor_id, value)
            self._shown[model.sensor_id] = value
            if model.sensor_id not in silent:
                readings.append(
                    Reading(
                        sensor_id=model.sensor_id,
                        quantity=model.quantity,
                        measured_at=format_timestamp(now_ms),
                        value=value,
                    )
                )
        return readings

    def _failing(self, now_ms: int) -> tuple[set[str | None], set[str | None]]:
        faults = self._pool.faults(now_ms)
        silent = {fault.sensor_id for fault in faults if fault.kind is FaultKind.SILENT_SENSOR}
        stuck = {fault.sensor_id for fault in faults if fault.kind is FaultKind.STUCK_PROBE}
        return silent, stuck

    def _display(self, model: ProbeModel) -> float:
        value = self._lagged[model.sensor_id] * model.slope
        if model.quantity is Quantity.FREE_CHLORINE_MG_L:
            value /= _hypochlorous_share(self._lagged[self._ph_sensor_id])
        return max(0.0, round(value + self._rng.gauss(0.0, model.noise), model.digits))


def _signal(quantity: Quantity, water: WaterState) -> float:
    """What reaches the instrument's membrane, glass or resistor."""
    if quantity is Quantity.FREE_CHLORINE_MG_L:
        return water.free_chlorine_mg_l * _hypochlorous_share(water.ph)
    return water.ph if quantity is Quantity.PH else water.water_temp_c


def _hypochlorous_share(ph: float) -> float:
    return 1.0 / (1.0 + math.exp(_LN_10 * (ph - _PKA_HOCL)))
