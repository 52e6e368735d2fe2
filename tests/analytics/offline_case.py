"""A registry and readings files for the tests of judging from files."""

import csv
from collections.abc import Iterable, Sequence
from dataclasses import replace
from pathlib import Path
from typing import Any

import pytest

pytest.importorskip("pyarrow", reason="judging from files needs the extra `offline`")

from analytics.offline.arrow import parquet
from analytics.offline.request import Request, Summary
from analytics.offline.run import judge_files
from analytics.standards.profile import Profile, load_profile
from gateway.contract.registry_file import parse_registry
from gateway.contract.times import format_timestamp

MINUTE, HOUR, DAY_MS = 60_000, 3_600_000, 86_400_000
# 2026-07-01 00:00 in China.
DAY = 1_782_835_200_000
FC, PH = "free_chlorine_mg_l", "ph"
HEADER = ("pool_id", "sensor_id", "quantity", "measured_at", "value", "status")

Row = Sequence[object]


def registry_text(*pools: str, opening: str | None = "06:00-22:00", interval_s: float = 60) -> str:
    text = 'schema = 1\n[venues.v1]\nname_zh = "馆"\nname_en = "Venue"\ndistrict = "wujin"\n'
    for pool in pools:
        text += f'[pools.{pool}]\nvenue = "v1"\nname_zh = "池"\nname_en = "Pool"\nkind = "indoor"\n'
        text += "" if opening is None else f'opening_hours = "{opening}"\n'
        text += f'sensors = [{{ id = "fc-1", quantity = "{FC}", interval_s = {interval_s} }},'
        text += f' {{ id = "ph-1", quantity = "{PH}", interval_s = {interval_s} }}]\n'
    return text


def plain_profile() -> Profile:
    """The rules of Changzhou without checks of quality beyond the plausible range."""
    return replace(load_profile("changzhou-2022"), quality={})


def write_csv(path: Path, rows: Iterable[Row], header: Sequence[str] = HEADER) -> Path:
    with path.open("w", encoding="utf-8", newline="") as file:
        writer = csv.writer(file)
        writer.writerow(header)
        writer.writerows(rows)
    return path


def series_rows(
    pool: str, sensor: str, quantity: str, readings: Iterable[tuple[int, float]], status: str = ""
) -> list[Row]:
    return [(pool, sensor, quantity, format_timestamp(at), value, status) for at, value in readings]


def steady(from_ms: int, to_ms: int, value: float, step_ms: int = MINUTE) -> list[tuple[int, float]]:
    return [(at, value) for at in range(from_ms, to_ms, step_ms)]


def judge_rows(
    folder: Path, readings: Path, registry: str, *, profile: Profile | None = None, **more: Any
) -> Summary:
    profiles = {"changzhou-2022": profile or plain_profile()}
    return judge_files(Request(readings, parse_registry(registry), profiles, folder / "out", **more))


def table(folder: Path, name: str) -> list[dict[str, Any]]:
    rows: list[dict[str, Any]] = parquet.read_table(folder / "out" / f"{name}.parquet").to_pylist()
    return rows


def refused(folder: Path, name: str = "refused") -> list[dict[str, str]]:
    with (folder / "out" / f"{name}.csv").open(encoding="utf-8", newline="") as file:
        return list(csv.DictReader(file))
