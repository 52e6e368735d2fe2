"""Which pools exist: the deployment's `pools.toml` as frozen values. Parsing and checking: `registry_file`."""

from dataclasses import dataclass, field
from datetime import date
from enum import StrEnum

from gateway.contract.quantities import Quantity


class PoolKind(StrEnum):
    """Which limits and duties apply."""

    INDOOR = "indoor"
    OUTDOOR = "outdoor"
    CHILDREN = "children"
    SPA = "spa"


@dataclass(frozen=True, slots=True)
class Grade:
    """The authority's hygiene credit grade: its letter, who gave it and when. Never computed here."""

    grade: str
    issuer: str
    issued_on: date


@dataclass(frozen=True, slots=True)
class Venue:
    """A swimming place, with one pool or several."""

    venue_id: str
    name_zh: str
    name_en: str
    district: str
    latitude: float | None = None
    longitude: float | None = None
    grade: Grade | None = None


@dataclass(frozen=True, slots=True)
class Sensor:
    """One instrument that measures one quantity of one pool, within its `from` and `until`."""

    sensor_id: str
    quantity: Quantity
    place: str
    interval_s: float
    calibrated_on: date | None = None
    from_ms: int | None = None
    until_ms: int | None = None


@dataclass(frozen=True, slots=True)
class OpeningHours:
    """Opening hours in OpenStreetMap syntax, in force from an instant (None: always)."""

    expression: str
    from_ms: int | None = None


@dataclass(frozen=True, slots=True)
class Pool:
    """One pool. `opening` is sorted by `from_ms`, at least one; `from_ms`: when its duties begin."""

    pool_id: str
    venue_id: str
    name_zh: str
    name_en: str
    kind: PoolKind
    volume_m3: float | None
    opening: tuple[OpeningHours, ...]
    time_zone: str
    profile: str
    sensors: tuple[Sensor, ...] = ()
    from_ms: int | None = None


@dataclass(frozen=True, slots=True)
class GatewayEntry:
    """A gateway and the pools that it may speak for."""

    gateway_id: str
    pools: frozenset[str]


@dataclass(frozen=True, slots=True)
class DisplayEntry:
    """A screen at a pool's entrance."""

    display_id: str
    pool_id: str


@dataclass(frozen=True, slots=True)
class Registry:
    """All of a deployment, keyed by id in file order; `sha256` names the version of the file."""

    venues: dict[str, Venue]
    pools: dict[str, Pool]
    gateways: dict[str, GatewayEntry]
    displays: dict[str, DisplayEntry] = field(default_factory=dict)
    sha256: str = ""

    def venue_of(self, pool: Pool) -> Venue:
        """Venue of a pool of this registry."""
        return self.venues[pool.venue_id]
