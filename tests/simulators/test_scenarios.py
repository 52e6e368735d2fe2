"""Scenarios: registries that a deployment would accept, faults in their places, and values that show them."""

from collections import defaultdict

import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from gateway.contract.opening import open_intervals
from gateway.contract.registry_file import parse_registry
from simulators.faults import FaultKind, FindingKind
from simulators.registry_text import DESK_GATEWAY, GUEST_GATEWAY, GUEST_POOL
from simulators.scenarios import SCENARIO_NAMES, Scenario, ScenarioError, build_scenario
from simulators.service import build_sensors

T0 = 1_800_000_000_000
HOUR_MS = 3_600_000
LIMITS = {"fc-1": (0.3, 1.0), "ph-1": (7.0, 7.8), "t-1": (23.0, 30.0)}
Samples = dict[tuple[str, str], list[tuple[float, float]]]


def measure(scenario: Scenario, *, until_s: int) -> Samples:
    """(seconds since start, value) of every probe of a scenario."""
    samples: Samples = defaultdict(list)
    step_s = int(scenario.interval_s)
    for pool in scenario.pools:
        probes = build_sensors(scenario, pool)[0]
        for at_s in range(0, until_s, step_s):
            for reading in probes.read(scenario.start_ms + at_s * 1000):
                assert reading.value is not None
                samples[pool.pool_id, reading.sensor_id].append((at_s, reading.value))
    return samples


@pytest.mark.parametrize("name", SCENARIO_NAMES)
@pytest.mark.parametrize("pools", [1, 2, 3, 4, 12, 100])
def test_the_registry_is_one_that_a_deployment_accepts(name: str, pools: int) -> None:
    scenario = build_scenario(name, pools=pools, seed=3, start_ms=T0)
    registry = parse_registry(scenario.registry_text)
    assert len(scenario.pools) == pools
    assert registry.pools.keys() == {pool.pool_id for pool in scenario.pools} | {GUEST_POOL}
    assert registry.gateways[GUEST_GATEWAY].pools == {GUEST_POOL}
    assert registry.gateways[DESK_GATEWAY].pools == registry.pools.keys()
    for gateway_id in scenario.gateway_ids:
        spoken_for = {pool.pool_id for pool in scenario.pools_of(gateway_id)}
        assert registry.gateways[gateway_id].pools == spoken_for
        assert len({registry.pools[pool_id].venue_id for pool_id in spoken_for}) == 1
    for pool in registry.pools.values():
        assert [sensor.sensor_id for sensor in pool.sensors] == ["fc-1", "ph-1", "t-1"]
        assert {sensor.interval_s for sensor in pool.sensors} == {scenario.interval_s}
        assert pool.profile == "demo"


def test_twelve_pools_lie_in_six_districts_and_a_third_of_the_venues_has_two() -> None:
    scenario = build_scenario("demo", pools=12, seed=1, start_ms=T0)
    registry = parse_registry(scenario.registry_text)
    districts = {registry.venue_of(registry.pools[pool.pool_id]).district for pool in scenario.pools}
    assert len(districts) == 6
    sizes = [len(scenario.pools_of(gateway_id)) for gateway_id in scenario.gateway_ids]
    assert (sizes.count(2), sizes.count(1)) == (3, 6)


@pytest.mark.parametrize("hour", range(24))
def test_exactly_one_pool_is_closed_for_ten_hours_whenever_the_demo_starts(hour: int) -> None:
    start_ms = T0 + hour * HOUR_MS + 1_234_567
    scenario = build_scenario("demo", pools=12, seed=1, start_ms=start_ms)
    pools = parse_registry(scenario.registry_text).pools.values()
    opening = {
        pool.pool_id: open_intervals(pool, from_ms=start_ms, to_ms=start_ms + 10 * HOUR_MS) for pool in pools
    }
    closed = [pool_id for pool_id, intervals in opening.items() if not intervals]
    assert len(closed) == 1
    assert all(
        intervals == [(start_ms, start_ms + 10 * HOUR_MS)]
        for pool_id, intervals in opening.items()
        if pool_id not in closed
    )
    assert not any(closed[0] in fault.pool_ids for fault in scenario.timetable.until(3600))
    later = next(pool for pool in pools if pool.pool_id == closed[0])
    assert open_intervals(later, from_ms=start_ms, to_ms=start_ms + 24 * HOUR_MS)


def test_unknown_scenarios_and_no_pools_are_refused() -> None:
    with pytest.raises(ScenarioError, match="demo, steady, load"):
        build_scenario("calm", pools=1, seed=1, start_ms=T0)
    with pytest.raises(ScenarioError, match="at least 1"):
        build_scenario("demo", pools=0, seed=1, start_ms=T0)


def test_the_same_seed_gives_the_same_scenario_and_values() -> None:
    one, two, other = (build_scenario("demo", pools=3, seed=seed, start_ms=T0) for seed in (1, 1, 2))
    assert one.registry_text == two.registry_text
    assert one == two
    assert measure(one, until_s=60) == measure(two, until_s=60)
    assert measure(one, until_s=60) != measure(other, until_s=60)


@pytest.mark.parametrize("seed", range(4))
def test_healthy_pools_stay_well_inside_every_limit_and_differ(seed: int) -> None:
    samples = measure(build_scenario("steady", pools=12, seed=seed, start_ms=T0), until_s=300)
    margins = {"fc-1": 0.06, "ph-1": 0.08, "t-1": 1.0}
    for (pool_id, sensor_id), series in samples.items():
        low, high = LIMITS[sensor_id]
        margin = margins[sensor_id]
        assert all(low + margin <= value <= high - margin for _, value in series), (pool_id, sensor_id)
    means = {
        round(sum(v for _, v in samples[key]) / len(samples[key]), 2) for key in samples if key[1] == "fc-1"
    }
    assert len(means) >= 8


def test_hand_tests_of_healthy_pools_stay_inside_too() -> None:
    scenario = build_scenario("steady", pools=12, seed=1, start_ms=T0)
    limits = dict(zip(["free_chlorine_mg_l", "ph", "water_temp_c"], LIMITS.values(), strict=True))
    for pool in scenario.pools:
        staff = build_sensors(scenario, pool)[1]
        assert 40 <= staff.interval_s <= 54
        for number in range(20):
            for reading in staff.read(T0 + int(number * staff.interval_s * 1000)):
                low, high = limits[reading.quantity]
                assert reading.value is not None
                assert low < reading.value < high


def test_demo_faults_show_soon_and_pass_soon_and_no_other_pool_leaves_its_limits() -> None:
    scenario = build_scenario("demo", pools=12, seed=1, start_ms=T0)
    samples = measure(scenario, until_s=300)
    faults = scenario.timetable.until(300)
    expected: dict[tuple[str, str], list[tuple[float, float]]] = defaultdict(list)
    sensors = {FaultKind.LOW_CHLORINE: "fc-1", FaultKind.PH_DRIFT: "ph-1"}
    for fault in faults:
        if fault.kind in sensors:
            expected[fault.pool_ids[0], sensors[fault.kind]].append((fault.start_s, fault.end_s))
    assert len(expected) >= 4
    for key, series in samples.items():
        low, high = LIMITS[key[1]]
        outside = [at_s for at_s, value in series if not low <= value <= high]
        if not expected[key]:
            assert outside == [], key
        for start_s, end_s in expected[key]:
            of_this = [at_s for at_s in outside if start_s <= at_s <= end_s + 30]
            assert start_s < of_this[0] <= start_s + 12
            assert of_this[-1] <= end_s + 20
            assert of_this == [
                at_s for at_s, _ in series if of_this[0] <= at_s <= of_this[-1]
            ]  # without a break
            assert all(value > 0 for _, value in series)  # an exact zero would be a dropout
        assert all(any(start <= at <= end + 20 for start, end in expected[key]) for at in outside)


def test_silence_of_the_demo_is_where_the_timetable_says() -> None:
    scenario = build_scenario("demo", pools=12, seed=1, start_ms=T0)
    samples = measure(scenario, until_s=120)
    (silent,) = [fault for fault in scenario.timetable.until(120) if fault.kind is FaultKind.SILENT_SENSOR]
    assert (silent.start_s, silent.end_s) == (25.0, 70.0)
    spoke = {at_s for at_s, _ in samples[silent.pool_ids[0], "fc-1"]}
    assert spoke == {at_s for at_s in range(0, 120, 2) if not silent.start_s <= at_s < silent.end_s}


@settings(deadline=None)
@given(pools=st.integers(1, 40), name=st.sampled_from(SCENARIO_NAMES), at_s=st.floats(-5, 2000))
def test_active_faults_are_those_of_the_timetable(pools: int, name: str, at_s: float) -> None:
    scenario = build_scenario(name, pools=pools, seed=1, start_ms=T0)
    every = scenario.timetable.until(2001)
    assert scenario.active_faults(at_s) == [fault for fault in every if fault.start_s <= at_s < fault.end_s]


@pytest.mark.parametrize("pools", [4, 6, 9, 12, 13, 30])
def test_faults_do_not_hide_each_other_and_move_on_to_other_pools(pools: int) -> None:
    scenario = build_scenario("demo", pools=pools, seed=1, start_ms=T0)
    gateway_of = {pool.pool_id: pool.gateway_id for pool in scenario.pools}
    first_pools = set()
    for period in range(8):
        faults = scenario.timetable.faults_of(period)
        assert {fault.kind for fault in faults} == set(FaultKind)
        by_kind = {fault.kind: {gateway_of[pool_id] for pool_id in fault.pool_ids} for fault in faults}
        cut = by_kind[FaultKind.DEAD_GATEWAY]
        assert all(
            not cut & gateways for kind, gateways in by_kind.items() if kind is not FaultKind.DEAD_GATEWAY
        )
        assert not by_kind[FaultKind.LOW_CHLORINE] & by_kind[FaultKind.SILENT_SENSOR]
        first_pools.add(faults[0].pool_ids)
    assert len(first_pools) >= min(8, len(scenario.gateway_ids))


def test_truth_labels_say_what_is_to_be_found() -> None:
    scenario = build_scenario("demo", pools=12, seed=1, start_ms=T0)
    labels = {
        fault.kind: {(finding.kind, finding.quantity.value, finding.detail) for finding in fault.findings}
        for fault in scenario.timetable.faults_of(0)
    }
    assert labels == {
        FaultKind.LOW_CHLORINE: {(FindingKind.EXCEEDANCE, "free_chlorine_mg_l", "low")},
        FaultKind.PH_DRIFT: {(FindingKind.EXCEEDANCE, "ph", "high")},
        FaultKind.STUCK_PROBE: {(FindingKind.QUALITY, "water_temp_c", "flat_line")},
        FaultKind.SILENT_SENSOR: {(FindingKind.LAPSE, "free_chlorine_mg_l", "not_measured")},
        FaultKind.DEAD_GATEWAY: {
            (FindingKind.LAPSE, quantity, "not_received")
            for quantity in ("free_chlorine_mg_l", "ph", "water_temp_c")
        },
    }
    assert all(fault.describe() for fault in scenario.timetable.faults_of(0))


def test_a_simulation_that_goes_on_after_hours_is_healthy_at_once() -> None:
    scenario = build_scenario("steady", pools=2, seed=1, start_ms=T0)
    for pool in scenario.pools:
        for reading in build_sensors(scenario, pool)[0].read(T0 + 30 * HOUR_MS):
            low, high = LIMITS[reading.sensor_id]
            assert reading.value is not None
            assert low < reading.value < high
