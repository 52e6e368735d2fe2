"""Probes and staff: lag, resolution, faults, and readings that the contract takes."""

import random

import pytest

from gateway.contract.codec import decode_message, encode_readings
from gateway.contract.quantities import Quantity
from gateway.contract.readings import Reading, ReadingsMessage, ReadingStatus
from gateway.contract.topics import parse_topic
from simulators.faults import Fault, FaultKind
from simulators.pools import SimulatedPool
from simulators.probes import PoolProbes, ProbeModel, standard_probes
from simulators.staff import StaffTests
from simulators.water import PoolWater, WaterState

T0 = 1_800_000_000_000


class GivenPool(SimulatedPool):
    """A pool whose water the test gives."""

    def __init__(
        self, water: WaterState, faults: tuple[Fault, ...] = (), *, time_factor: float = 1.0
    ) -> None:
        super().__init__(
            pool_id="p1",
            water=PoolWater(volume_m3=1.0, chlorine_set_mg_l=0.5, ph_set=7.2, temp_set_c=27.0),
            start_ms=T0,
            faults_at=lambda at_s: [fault for fault in faults if fault.start_s <= at_s < fault.end_s],
            rng=random.Random(0),
            time_factor=time_factor,
        )
        self.water = water

    def look(self, now_ms: int) -> WaterState:
        assert now_ms >= T0
        return self.water


def exact_probes() -> tuple[ProbeModel, ...]:
    return tuple(
        ProbeModel(model.sensor_id, model.quantity, model.t90_s, noise=0.0, digits=6)
        for model in standard_probes()
    )


def probes_of(pool: SimulatedPool, models: tuple[ProbeModel, ...]) -> PoolProbes:
    return PoolProbes(pool=pool, models=models, interval_s=2.0, rng=random.Random(1))


def values(readings: list[Reading]) -> dict[str, float | None]:
    return {reading.sensor_id: reading.value for reading in readings}


@pytest.mark.parametrize("time_factor", [1.0, 60.0])
def test_after_t90_a_chlorine_probe_shows_nine_tenths_of_a_step(time_factor: float) -> None:
    pool = GivenPool(WaterState(1.0, 7.2, 27.0), time_factor=time_factor)
    probes = probes_of(pool, exact_probes())
    assert values(probes.read(T0))["fc-1"] == pytest.approx(1.0, abs=1e-6)
    pool.water = WaterState(0.0, 7.2, 27.0)
    at_ms = T0
    for part in range(1, 10):  # the answer does not depend on how often it is asked
        at_ms = T0 + int(180_000 / time_factor * part / 9)
        shown = values(probes.read(at_ms))["fc-1"]
    assert at_ms == T0 + int(180_000 / time_factor)
    assert shown == pytest.approx(0.1, abs=1e-3)


@pytest.mark.parametrize("ph", [7.0, 7.4, 7.8])
def test_a_settled_chlorine_probe_is_right_at_every_ph(ph: float) -> None:
    shown = values(probes_of(GivenPool(WaterState(0.62, ph, 27.0)), exact_probes()).read(T0))
    assert shown == pytest.approx({"fc-1": 0.62, "ph-1": ph, "t-1": 27.0}, abs=1e-6)


def test_a_worn_slope_reads_low() -> None:
    models = tuple(
        ProbeModel(model.sensor_id, model.quantity, model.t90_s, noise=0.0, digits=6, slope=model.slope)
        for model in standard_probes(chlorine_slope=0.9)
    )
    assert values(probes_of(GivenPool(WaterState(0.6, 7.3, 27.0)), models).read(T0))["fc-1"] == pytest.approx(
        0.54
    )


def test_values_have_the_resolution_of_the_display() -> None:
    probes = probes_of(GivenPool(WaterState(0.612345, 7.312345, 27.12345)), standard_probes())
    for step in range(50):
        for reading in probes.read(T0 + 2000 * step):
            assert reading.value is not None
            digits = 1 if reading.quantity is Quantity.WATER_TEMP_C else 2
            assert reading.value == round(reading.value, digits)
            assert reading.status is ReadingStatus.NORMAL


def test_a_silent_sensor_says_nothing_and_the_others_go_on() -> None:
    fault = Fault(
        FaultKind.SILENT_SENSOR, ("p1",), 10.0, 20.0, sensor_id="fc-1", quantity=Quantity.FREE_CHLORINE_MG_L
    )
    probes = probes_of(GivenPool(WaterState(0.6, 7.3, 27.0), (fault,)), standard_probes())
    spoke = {step: set(values(probes.read(T0 + step * 1000))) for step in range(0, 30, 2)}
    assert all(sensors == {"ph-1", "t-1"} for step, sensors in spoke.items() if 10 <= step < 20)
    assert all(sensors == {"fc-1", "ph-1", "t-1"} for step, sensors in spoke.items() if not 10 <= step < 20)


def test_a_stuck_probe_repeats_what_it_showed() -> None:
    fault = Fault(
        FaultKind.STUCK_PROBE, ("p1",), 10.0, 20.0, sensor_id="fc-1", quantity=Quantity.FREE_CHLORINE_MG_L
    )
    pool = GivenPool(WaterState(0.6, 7.3, 27.0), (fault,), time_factor=600.0)
    probes = probes_of(pool, exact_probes())
    shown = {}
    for step in range(0, 30, 2):
        pool.water = WaterState(0.6 + step / 100, 7.3, 27.0)
        shown[step] = values(probes.read(T0 + step * 1000))["fc-1"]
    assert {shown[step] for step in range(8, 20, 2)} == {shown[8]}
    assert len({shown[step] for step in (*range(0, 10, 2), *range(20, 30, 2))}) == 10


def test_a_fault_of_another_pool_changes_nothing() -> None:
    fault = Fault(
        FaultKind.SILENT_SENSOR, ("p2",), 0.0, 20.0, sensor_id="fc-1", quantity=Quantity.FREE_CHLORINE_MG_L
    )
    probes = probes_of(GivenPool(WaterState(0.6, 7.3, 27.0), (fault,)), standard_probes())
    assert "fc-1" in values(probes.read(T0))


def test_readings_of_probes_and_staff_pass_the_contract() -> None:
    pool = GivenPool(WaterState(0.6, 7.3, 27.0))
    staff = StaffTests(pool=pool, by="李静", interval_s=60.0, rng=random.Random(2))
    readings = probes_of(pool, standard_probes()).read(T0) + staff.read(T0)
    payload = encode_readings(ReadingsMessage(1, "gw-a", "b1", 0, readings))
    envelope = decode_message(parse_topic("pools/p1/gateways/gw-a/readings"), payload)
    assert envelope.refused == []
    assert list(envelope.items) == readings


def test_staff_test_the_water_itself_by_hand() -> None:
    staff = StaffTests(
        pool=GivenPool(WaterState(0.6, 7.3, 27.0)), by="李静", interval_s=60.0, rng=random.Random(2)
    )
    tests = [staff.read(T0 + 60_000 * number) for number in range(200)]
    for quantity, truth, tolerance in (
        (Quantity.FREE_CHLORINE_MG_L, 0.6, 0.01),
        (Quantity.PH, 7.3, 0.01),
        (Quantity.WATER_TEMP_C, 27.0, 0.05),
    ):
        found = [reading for test in tests for reading in test if reading.quantity is quantity]
        assert len(found) == 200
        assert {(reading.sensor_id, reading.status, reading.by) for reading in found} == {
            ("manual", ReadingStatus.MANUAL, "李静")
        }
        mean = sum(reading.value for reading in found if reading.value is not None) / 200
        assert mean == pytest.approx(truth, abs=tolerance)
