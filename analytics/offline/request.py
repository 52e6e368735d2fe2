"""What somebody wants judged, and what came of it in short."""

from collections import Counter
from collections.abc import Mapping
from dataclasses import dataclass, field
from datetime import date
from pathlib import Path

from analytics.standards.profile import DutyKind, Profile
from gateway.contract.registry import Registry

#: What grids may need together, so that the whole command stays below two gigabytes.
GRID_BYTES = 1_100_000_000


@dataclass(frozen=True, slots=True)
class Request:
    """What is to be judged.

    `profiles`: by the name that a pool of the registry has for its profile. `first`, `last`: a local day, which counts
    whole, or an instant [ms]; None: of the first and last row. `grid_bytes`: above this rows are put aside on disk.
    """

    readings: Path
    registry: Registry
    profiles: Mapping[str, Profile]
    folder: Path
    publications: Path | None = None
    first: date | int | None = None
    last: date | int | None = None
    with_flags: bool = False
    grid_bytes: int = GRID_BYTES


@dataclass(slots=True)
class Summary:
    """What was read, refused, judged and found.

    `steps_s`: how many series had a grid of which step. `left_out`: duties that such files cannot show. `lapses`: by
    duty.
    """

    rows: int = 0
    outside: int = 0
    without_value: int = 0
    refused: Counter[str] = field(default_factory=Counter)
    publications: int = 0
    refused_publications: Counter[str] = field(default_factory=Counter)
    from_ms: int = 0
    to_ms: int = 0
    pools: int = 0
    pools_without_rows: int = 0
    series: int = 0
    samples: int = 0
    readings: int = 0
    flags: Counter[str] = field(default_factory=Counter)
    steps_s: Counter[float] = field(default_factory=Counter)
    exceedances: int = 0
    lapses: Counter[str] = field(default_factory=Counter)
    judged: tuple[DutyKind, ...] = ()
    left_out: tuple[DutyKind, ...] = ()
    tables: dict[str, int] = field(default_factory=dict)
