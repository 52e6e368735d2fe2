"""A scenario's registry as the text of `pools.toml`, as a deployment would write it by hand."""

import json
import random
from collections.abc import Iterable, Sequence
from dataclasses import dataclass

from simulators.probes import standard_probes
from simulators.venues import InventedVenue

GUEST_POOL = "guest-pool"
GUEST_GATEWAY = "gw-guest"
DESK_GATEWAY = "gw-desk"

_PLACES = {"fc-1": "return line", "ph-1": "return line", "t-1": "basin"}
_GRADES = ("A", "B", "C")
_ISSUER = "常州市卫生健康委员会（演示数据 demo data）"
_GUEST_VENUE = "guest"


@dataclass(frozen=True, slots=True)
class PoolEntry:
    """What the registry says of a simulated pool beside its names."""

    volume_m3: float
    opening_hours: str


def render_registry(
    venues: Sequence[InventedVenue],
    entries: dict[str, PoolEntry],
    *,
    profile: str,
    interval_s: float,
    rng: random.Random,
) -> str:
    """Text of a `pools.toml` with the venues, a guest pool that nothing simulates, and a desk for all pools."""
    pool_ids = [pool.pool_id for venue in venues for pool in venue.pools]
    lines = ["# Invented venues of a simulated scenario: no real place is meant.", "schema = 1", ""]
    for venue in venues:
        lines += _venue(venue, rng)
        for pool in venue.pools:
            entry = entries[pool.pool_id]
            lines += _pool(
                pool.pool_id,
                venue=venue.venue_id,
                names=(pool.name_zh, pool.name_en),
                entry=entry,
                profile=profile,
                interval_s=interval_s,
            )
    lines += [
        f"[venues.{_GUEST_VENUE}]",
        'name_zh = "来宾泳池"',
        'name_en = "Your own pool"',
        'district = "天宁 Tianning"',
        "position = [31.78, 119.97]",
        "",
        "# Fed by no simulator: publish for it with your own hardware or script.",
    ]
    lines += _pool(
        GUEST_POOL,
        venue=_GUEST_VENUE,
        names=("来宾泳池", "Guest pool"),
        entry=PoolEntry(250.0, "24/7"),
        profile=profile,
        interval_s=interval_s,
    )
    for venue in venues:
        lines += _gateway(venue.gateway_id, [pool.pool_id for pool in venue.pools])
    lines += _gateway(GUEST_GATEWAY, [GUEST_POOL])
    lines += ["# Tests by hand, closing and reopening are entered here."]
    lines += _gateway(DESK_GATEWAY, [*pool_ids, GUEST_POOL])
    for pool_id in [*pool_ids, GUEST_POOL]:
        lines += [f"[displays.screen-{pool_id}]", f"pool = {_quoted(pool_id)}", ""]
    return "\n".join(lines)


def _venue(venue: InventedVenue, rng: random.Random) -> list[str]:
    lines = [
        f"[venues.{venue.venue_id}]",
        f"name_zh = {_quoted(venue.name_zh)}",
        f"name_en = {_quoted(venue.name_en)}",
        f"district = {_quoted(venue.district)}",
        f"position = [{venue.latitude}, {venue.longitude}]",
    ]
    grade = rng.choice((*_GRADES, None))
    if grade is not None:
        lines.append(
            f"grade = {{ grade = {_quoted(grade)}, issuer = {_quoted(_ISSUER)}, issued_on = 2026-03-01 }}"
        )
    return [*lines, ""]


def _pool(
    pool_id: str, *, venue: str, names: tuple[str, str], entry: PoolEntry, profile: str, interval_s: float
) -> list[str]:
    lines = [
        f"[pools.{pool_id}]",
        f"venue = {_quoted(venue)}",
        f"name_zh = {_quoted(names[0])}",
        f"name_en = {_quoted(names[1])}",
        'kind = "indoor"',
        f"volume_m3 = {entry.volume_m3}",
        f"opening_hours = {_quoted(entry.opening_hours)}",
        'time_zone = "Asia/Shanghai"',
        f"profile = {_quoted(profile)}",
        "",
    ]
    for probe in standard_probes():
        lines += [
            f"[[pools.{pool_id}.sensors]]",
            f"id = {_quoted(probe.sensor_id)}",
            f"quantity = {_quoted(probe.quantity)}",
            f"place = {_quoted(_PLACES[probe.sensor_id])}",
            f"interval_s = {interval_s}",
            "calibrated_on = 2026-06-01",
            "",
        ]
    return lines


def _gateway(gateway_id: str, pool_ids: Iterable[str]) -> list[str]:
    listed = ", ".join(_quoted(pool_id) for pool_id in pool_ids)
    return [f"[gateways.{gateway_id}]", f"pools = [{listed}]", ""]


def _quoted(text: str) -> str:
    # A JSON string is a TOML basic string.
    return json.dumps(text, ensure_ascii=False)
