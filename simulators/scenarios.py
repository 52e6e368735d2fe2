"""Named scenarios: which pools there are, how their water is, and what goes wrong when. Same seed, same scenario."""

import random
from collections.abc import Callable
from dataclasses import dataclass

from gateway.contract.quantities import Quantity
from simulators.faults import Fault, FaultKind, Slot, Timetable
from simulators.registry_text import PoolEntry, render_registry
from simulators.venues import InventedVenue, invent_venues
from simulators.water import PoolWater

_HOUR_MS = 3_600_000
_CHINA_OFFSET_H = 8  # Asia/Shanghai, no summer time
_DAY_H = 24
#: One pool opens this long after the start, for two hours: closed for the whole run.
_CLOSED_FOR_H = 11
_POOLS_FOR_A_CLOSED_ONE = 4
_TESTERS = ("李静", "王海", "张敏", "陈刚", "周倩", "吴涛")

_FC = Quantity.FREE_CHLORINE_MG_L
_DEMO_SLOTS = (
    Slot(FaultKind.LOW_CHLORINE, start_s=20.0, duration_s=50.0),
    Slot(FaultKind.SILENT_SENSOR, start_s=25.0, duration_s=45.0, sensor_id="fc-1", quantity=_FC),
    Slot(FaultKind.DEAD_GATEWAY, start_s=35.0, duration_s=90.0),
    Slot(FaultKind.PH_DRIFT, start_s=60.0, duration_s=40.0),
    Slot(
        FaultKind.STUCK_PROBE,
        start_s=70.0,
        duration_s=50.0,
        sensor_id="t-1",
        quantity=Quantity.WATER_TEMP_C,
    ),
)
#: One sensor after another is silent for longer than the demo profile's allowed age: deadlines spread in time.
_LOAD_SLOTS = tuple(
    Slot(FaultKind.SILENT_SENSOR, start_s=start_s, duration_s=40.0, sensor_id="fc-1", quantity=_FC)
    for start_s in (10.0, 13.7, 17.1, 21.3, 26.9, 31.3, 37.7, 43.1, 49.9, 55.3)
)


class ScenarioError(Exception):
    """A scenario that cannot be built; says why and what there is."""


@dataclass(frozen=True, slots=True)
class ScenarioPool:
    """A simulated pool: its plant, its bathers, and who tests it by hand how often."""

    pool_id: str
    gateway_id: str
    water: PoolWater
    bathers: float
    chlorine_slope: float
    tester: str
    test_interval_s: float


@dataclass(frozen=True, slots=True)
class Scenario:
    """Everything that a simulation needs. `registry_text` is the deployment's `pools.toml`.

    Its registry has more than `pools`: a guest pool and a desk gateway, which nothing simulates.
    `time_factor`: how much faster than outside the water lives.
    """

    name: str
    seed: int
    start_ms: int
    interval_s: float
    time_factor: float
    registry_text: str
    pools: tuple[ScenarioPool, ...]
    timetable: Timetable

    @property
    def gateway_ids(self) -> tuple[str, ...]:
        """Simulated gateways, in the order of the registry."""
        return tuple(dict.fromkeys(pool.gateway_id for pool in self.pools))

    def pools_of(self, gateway_id: str) -> tuple[ScenarioPool, ...]:
        """Pools that a gateway speaks for."""
        return tuple(pool for pool in self.pools if pool.gateway_id == gateway_id)

    def active_faults(self, elapsed_s: float) -> list[Fault]:
        """Faults under way so many seconds after the start."""
        return self.timetable.active(elapsed_s)


@dataclass(frozen=True, slots=True)
class _Plan:
    """What distinguishes a named scenario."""

    interval_s: float
    slots: tuple[Slot, ...]
    period_s: float
    time_factor: float = 60.0
    profile: str = "demo"
    has_closed_pool: bool = False


_PLANS: dict[str, _Plan] = {
    # Something of every kind within two minutes.
    "demo": _Plan(interval_s=2.0, slots=_DEMO_SLOTS, period_s=150.0, has_closed_pool=True),
    # Nothing goes wrong: whatever is found then is the system's.
    "steady": _Plan(interval_s=2.0, slots=(), period_s=150.0),
    # Many pools; sensors fall silent one after another.
    "load": _Plan(interval_s=5.0, slots=_LOAD_SLOTS, period_s=60.0),
}
SCENARIO_NAMES: tuple[str, ...] = tuple(_PLANS)


def build_scenario(name: str, *, pools: int, seed: int, start_ms: int) -> Scenario:
    """Build a named scenario.

    Parameters
    ----------
    name : str
        One of `SCENARIO_NAMES`.
    pools : int
        How many pools are simulated, at least 1. Below 3 gateways some faults find no place and are left out.
    seed : int
        Same seed, same scenario and, at the same instants, same readings.
    start_ms : int
        Instant of the start, from which faults are counted and the closed pool's hours are computed.

    Raises
    ------
    ScenarioError
        If the name is not known or there is no pool.
    """
    plan = _PLANS.get(name)
    if plan is None:
        raise ScenarioError(f"no scenario {name!r}; there are: {', '.join(_PLANS)}")
    if pools < 1:
        raise ScenarioError(f"a scenario needs at least 1 pool, not {pools}")
    rng = random.Random(f"{seed}/{name}/venues")
    venues = invent_venues(pools, rng)
    built = [_pool(venue.gateway_id, pool.pool_id, seed=seed) for venue in venues for pool in venue.pools]
    closed = {built[1].pool_id} if plan.has_closed_pool and pools >= _POOLS_FOR_A_CLOSED_ONE else set()
    entries = {
        pool.pool_id: PoolEntry(
            pool.water.volume_m3, _closed_hours(start_ms) if pool.pool_id in closed else "24/7"
        )
        for pool in built
    }
    return Scenario(
        name=name,
        seed=seed,
        start_ms=start_ms,
        interval_s=plan.interval_s,
        time_factor=plan.time_factor,
        registry_text=render_registry(
            venues, entries, profile=plan.profile, interval_s=plan.interval_s, rng=rng
        ),
        pools=tuple(built),
        timetable=Timetable(
            plan.slots, plan.period_s, _may_fail(venues, lambda pool_id: pool_id not in closed)
        ),
    )


def _may_fail(
    venues: list[InventedVenue], is_open: Callable[[str], bool]
) -> tuple[tuple[str, tuple[str, ...]], ...]:
    return tuple(
        (venue.gateway_id, tuple(pool.pool_id for pool in venue.pools if is_open(pool.pool_id)))
        for venue in venues
    )


def _pool(gateway_id: str, pool_id: str, *, seed: int) -> ScenarioPool:
    """Draw a pool whose water, left alone, stays well inside every limit, and that differs from its neighbours."""
    rng = random.Random(f"{seed}/{pool_id}/plant")
    volume_m3 = float(rng.randrange(250, 1300, 50))
    return ScenarioPool(
        pool_id=pool_id,
        gateway_id=gateway_id,
        water=PoolWater(
            volume_m3=volume_m3,
            chlorine_set_mg_l=round(rng.uniform(0.46, 0.78), 2),
            ph_set=round(rng.uniform(7.2, 7.5), 2),
            temp_set_c=round(rng.uniform(25.5, 28.5), 1),
        ),
        bathers=round(volume_m3 / rng.uniform(12.0, 25.0)),
        chlorine_slope=round(rng.uniform(0.97, 1.0), 3),
        tester=rng.choice(_TESTERS),
        test_interval_s=float(rng.randrange(40, 55, 2)),
    )


def _closed_hours(start_ms: int) -> str:
    """Opening hours, two a day, that begin 11 hours after the start's hour and so lie outside any run of less."""
    local_h = (start_ms // _HOUR_MS + _CHINA_OFFSET_H) % _DAY_H
    opens_h = (local_h + _CLOSED_FOR_H) % _DAY_H
    closes_h = (opens_h + 1) % _DAY_H + 1  # 24:00, never 00:00; across midnight the next day's hour
    return f"Mo-Su {opens_h:02d}:00-{closes_h:02d}:00"
