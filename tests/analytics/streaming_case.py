"""Drawn histories of one pool: what its probes, people and pages did for hours, and when the store heard of it.

Every fact has the time at which it was stored. Readings come minutes or a day late, twice, or as backlogs; the probes
spike, stand still, fall silent, fall to zero and creep there.
"""

import itertools
import random
from collections.abc import Iterator, Sequence
from dataclasses import dataclass, field, replace
from datetime import date

import msgspec

from gateway.contract.logbook import LogbookEntry
from gateway.contract.quantities import SPECS, Quantity
from gateway.contract.registry import OpeningHours, Pool, PoolKind, Registry, Sensor, Venue
from gateway.contract.times import format_timestamp
from ingest.store.batches import IngestBatch, batch_of_rows
from ingest.store.records import LogbookRow, PublicationRow, PublishedValue, ReadingRow
from ingest.store.sqlite import SqliteStore

# 2026-07-01 08:00 in China: 00:00 UTC.
T0 = 1_782_864_000_000
SECOND, MINUTE, HOUR = 1000, 60_000, 3_600_000
POOL = "pool-a"

#: Values that begin, end, or leave undecided an exceedance, and ordinary ones.
LEVELS = {
    Quantity.FREE_CHLORINE_MG_L: (0.5, 0.6, 0.9, 0.3, 0.31, 0.29, 0.25, 1.0, 0.99, 1.01, 1.3, 3.2, 0.0, 0.1),
    Quantity.PH: (7.4, 7.5, 7.0, 7.03, 6.9, 7.8, 7.77, 7.9, 8.1, 6.4),
    Quantity.WATER_TEMP_C: (27.0, 26.0, 30.0, 31.0, 22.0),
    Quantity.COMBINED_CHLORINE_MG_L: (0.2, 0.4, 0.5),
    Quantity.ORP_MV: (700.0, 640.0, 380.0),
    Quantity.FLOW_M3_H: (80.0, 0.0),
}
#: How a probe moves about its level.
_NOISE = {
    Quantity.FREE_CHLORINE_MG_L: 0.01,
    Quantity.PH: 0.01,
    Quantity.WATER_TEMP_C: 0.1,
    Quantity.COMBINED_CHLORINE_MG_L: 0.01,
    Quantity.ORP_MV: 2.0,
    Quantity.FLOW_M3_H: 0.5,
}
_SILENT_STATUSES = ("fault", "no_communication", "stopped", "maintenance", "calibration", "over_range")

Fact = IngestBatch | PublicationRow


@dataclass(frozen=True, slots=True)
class Stored:
    """A fact, when the store took it, and the instant that it speaks of. [ms]"""

    stored_ms: int
    at_ms: int
    fact: Fact


@dataclass(frozen=True, slots=True)
class History:
    """A pool and its facts in the order in which they were stored; nothing is stored after `end_ms`."""

    pool: Pool
    registry: Registry
    facts: tuple[Stored, ...]
    end_ms: int


@dataclass(slots=True)
class _Probe:
    """What a probe does at present, and for how many more readings."""

    sensor: Sensor
    level: float
    mode: str = "noise"
    left: int = 0
    status: str = "normal"

    def next(self, random_: random.Random) -> float | None:
        """The next value."""
        quantity = self.sensor.quantity
        if self.left <= 0:
            self.mode = random_.choice(
                ["noise", "noise", "noise", "flat", "flat", "decline", "spike", "zero", "status"]
            )
            self.left = random_.choice([1, 2, 3, 6, 12, 40])
            if self.mode == "spike":
                self.left = 1
            elif self.mode not in {"decline", "status"}:
                self.level = random_.choice(LEVELS[quantity])
            self.status = random_.choice(_SILENT_STATUSES) if self.mode == "status" else "normal"
        self.left -= 1
        spec = SPECS[quantity]
        digits = 1 if quantity in (Quantity.ORP_MV, Quantity.WATER_TEMP_C, Quantity.FLOW_M3_H) else 2
        value = self.level
        if self.mode == "noise":
            value += _NOISE[quantity] * random_.choice([-1, 0, 1])
        elif self.mode == "decline":
            self.level = value = max(self.level - 6 * _NOISE[quantity], spec.low)
        elif self.mode == "spike":
            value += random_.choice([-1, 1]) * random_.choice([30, 120, 400]) * _NOISE[quantity]
        elif self.mode == "zero":
            value = 0.0 if quantity == Quantity.FREE_CHLORINE_MG_L else self.level
        elif self.mode == "status" and random_.random() < 0.6:
            return None
        return round(max(value, spec.low - 0.5), digits)


@dataclass(slots=True)
class _Writer:
    """Gathers facts with the message numbers that conflicts and duplicates are told by."""

    random_: random.Random
    plain: bool
    facts: list[Stored] = field(default_factory=list)
    numbers: Iterator[int] = field(default_factory=itertools.count)

    def readings(
        self, at_ms: int, stored_ms: int, rows: Sequence[tuple[str, str, float | None, str]]
    ) -> None:
        """One message."""
        if not rows:
            return
        seq = next(self.numbers)
        batch = IngestBatch(
            readings=batch_of_rows(
                [
                    ReadingRow(
                        POOL, sensor, quantity, at_ms, value, status, stored_ms, "gw", "boot", seq, position
                    )
                    for position, (sensor, quantity, value, status) in enumerate(rows)
                ]
            )
        )
        self.facts.append(Stored(stored_ms, at_ms, batch))
        if not self.plain and self.random_.random() < 0.03:
            # Written twice, as after a crash: the same facts.
            self.facts.append(Stored(stored_ms, at_ms, batch))
        if not self.plain and self.random_.random() < 0.03:
            # A conflict, which the earlier message wins in whatever order they come.
            other = [
                row._replace(value=0.77, received_at_ms=stored_ms + 5, seq=next(self.numbers))
                for row in batch.readings.rows()
            ]
            self.facts.append(Stored(stored_ms + 5, at_ms, IngestBatch(readings=batch_of_rows(other))))

    def entry(self, stored_ms: int, **fields: object) -> None:
        """One logbook entry."""
        at_ms = fields.pop("at_ms")
        assert isinstance(at_ms, int)
        body = {"at": format_timestamp(at_ms), "by": "Li", **fields}
        msgspec.convert(body, LogbookEntry)
        row = LogbookRow(
            POOL,
            str(fields["kind"]),
            at_ms,
            stored_ms,
            "desk",
            "b",
            next(self.numbers),
            0,
            msgspec.json.encode(body),
        )
        self.facts.append(Stored(stored_ms, at_ms, IngestBatch(logbook=[row])))

    def publication(self, at_ms: int, values: tuple[PublishedValue, ...]) -> str:
        """One publication, stored at once; returns its hash."""
        content_hash = f"hash-{next(self.numbers)}"
        row = PublicationRow(POOL, at_ms, content_hash, "public-1", "in_standard", values)
        self.facts.append(Stored(at_ms + 50, at_ms, row))
        return content_hash


def draw_pool(random_: random.Random, *, profile: str) -> Pool:
    """A pool of few or many sensors, open always or in sessions."""
    short = profile == "demo"
    interval_s = random_.choice([2.0, 5.0, 20.0]) if short else random_.choice([60.0, 60.0, 180.0, 600.0])
    span_ms = 8 * MINUTE if short else 14 * HOUR
    named = [("fc-1", Quantity.FREE_CHLORINE_MG_L), ("ph-1", Quantity.PH)]
    named += [
        other
        for other in (
            ("t-1", Quantity.WATER_TEMP_C),
            ("fc-2", Quantity.FREE_CHLORINE_MG_L),
            ("ph-2", Quantity.PH),
            ("orp-1", Quantity.ORP_MV),
            ("flow-1", Quantity.FLOW_M3_H),
            ("cc-1", Quantity.COMBINED_CHLORINE_MG_L),
        )
        if random_.random() < 0.4
    ]
    sensors = []
    for sensor_id, quantity in named:
        from_ms = T0 + random_.randrange(span_ms) if random_.random() < 0.08 else None
        until_ms = T0 + random_.randrange(span_ms) if random_.random() < 0.12 else None
        if from_ms is not None and until_ms is not None and until_ms <= from_ms:
            until_ms = None
        # 365 days before the first or the second of July: overdue from the start, or from the next midnight on.
        calibrated = random_.choice([None] * 6 + [date(2025, 6, 1), date(2025, 7, 1), date(2025, 7, 2)])
        sensors.append(
            Sensor(
                sensor_id,
                quantity,
                "return",
                interval_s,
                calibrated_on=calibrated,
                from_ms=from_ms,
                until_ms=until_ms,
            )
        )
    hours = "24/7"
    if random_.random() < 0.6:
        hours = random_.choice(
            ["Mo-Su 08:01-08:03, 08:04-08:07"]
            if short
            else [
                "Mo-Su 06:00-22:00",
                "Mo-Su 08:00-11:30, 13:00-16:00, 16:05-21:00",
                "Mo-Su 20:00-02:00",
                "Mo-Su 09:00-10:00",
            ]
        )
    return Pool(
        pool_id=POOL,
        venue_id="venue",
        name_zh="池",
        name_en="Pool",
        kind=random_.choice([PoolKind.INDOOR, PoolKind.INDOOR, PoolKind.OUTDOOR]),
        volume_m3=400.0,
        opening=(OpeningHours(hours),),
        time_zone="Asia/Shanghai",
        profile=profile,
        sensors=tuple(sensors),
        from_ms=T0 + random_.choice([-48 * HOUR, span_ms // 9]) if random_.random() < 0.2 else None,
    )


def registry_of(pool: Pool) -> Registry:
    """A registry with nothing else."""
    return Registry({"venue": Venue("venue", "馆", "Venue", "wujin")}, {pool.pool_id: pool}, {})


def draw_history(random_: random.Random, *, profile: str, hours: float, plain: bool = False) -> History:
    """Everything that happened to a pool.

    Parameters
    ----------
    profile : str
        With `demo` an hour here is a minute there: its times are that much shorter.
    plain : bool
        Only what a file of readings can tell: nothing late, nothing twice, no logbook and no publications.
    """
    pool = draw_pool(random_, profile=profile)
    unit = HOUR // 60 if profile == "demo" else HOUR
    probes = [
        _Probe(sensor, LEVELS[sensor.quantity][0], left=random_.choice([0, 5, 30])) for sensor in pool.sensors
    ]
    writer = _Writer(random_, plain)
    interval_ms = round((pool.sensors[0].interval_s or 60) * 1000)
    at_ms, end_ms = T0, T0 + round(hours * unit)
    late_ms, late_left = 200, 0
    outage_ms = 0
    while (at_ms := at_ms + interval_ms + random_.choice([0, 0, 0, -interval_ms // 3, interval_ms])) < end_ms:
        late_left -= 1
        if late_left < 0:
            late_left = random_.choice([5, 20, 60])
            late_ms = random_.choice(
                [200, 200, 200, unit // 30, unit // 3, 2 * unit, 24 * HOUR if unit == HOUR else 5 * unit]
            )
            outage_ms = random_.choice([0] * 6 + [unit // 4, unit, 3 * unit])
            at_ms += outage_ms
        at_ms += random_.choice([0, 1, 999]) if not plain else 0
        rows = [
            (probe.sensor.sensor_id, probe.sensor.quantity.value, value, probe.status)
            for probe in probes
            if random_.random() < 0.97
            for value in (probe.next(random_),)
        ]
        # Gateways' clocks may be a little ahead of the store's.
        stored_ms = at_ms if plain else at_ms + late_ms - random_.choice([0] * 9 + [interval_ms])
        if plain:
            # Single precision of grids must not decide: no two differ by exactly a threshold.
            rows = [
                (sensor_id, quantity, None if value is None else value + random_.random() / 500, status)
                for sensor_id, quantity, value, status in rows
            ]
        writer.readings(at_ms, stored_ms, rows)
        if plain:
            continue
        if random_.random() < 0.7:
            values = tuple(
                PublishedValue(quantity, sensor_id, at_ms, value, status)
                for sensor_id, quantity, value, status in rows
                if random_.random() < 0.95
            )
            if values:
                published_ms = max(stored_ms, at_ms) + random_.choice([100, 2000, unit // 3])
                content_hash = writer.publication(published_ms, values)
                if random_.random() < 0.01:
                    _correct(writer, published_ms + unit // 10, content_hash)
        if rows and random_.random() < 0.01:
            sensor_id, quantity, _, _ = random_.choice(rows)
            _correct(writer, at_ms + unit // 20, f"{sensor_id}/{quantity}/{format_timestamp(at_ms)}")
        _people(writer, random_, at_ms=at_ms, unit=unit, often=interval_ms / unit)
    last_ms = max([end_ms, *(one.stored_ms for one in writer.facts)])
    if plain:
        # A file of readings says nothing of when a pool began, and knows no null as a first reading.
        pool = replace(
            pool,
            from_ms=T0,
            sensors=tuple(replace(sensor, from_ms=None, until_ms=None) for sensor in pool.sensors),
        )
        _tests(writer, random_, from_ms=T0, to_ms=end_ms)
    facts = sorted(writer.facts, key=lambda one: one.stored_ms)
    return History(pool, registry_of(pool), tuple(facts), last_ms + random_.choice([1, unit // 7, 3 * unit]))


def _correct(writer: _Writer, at_ms: int, refers_to: str) -> None:
    writer.entry(at_ms + 100, at_ms=at_ms, kind="correction", refers_to=refers_to, text="typo")


def _tests(writer: _Writer, random_: random.Random, *, from_ms: int, to_ms: int) -> None:
    """Tests by hand some times a day."""
    for _ in range(random_.randrange(6)):
        at_ms = from_ms + random_.randrange(to_ms - from_ms)
        writer.readings(at_ms, at_ms, _tested(random_))


def _tested(random_: random.Random) -> list[tuple[str, str, float | None, str]]:
    status = random_.choice(["manual", "manual", "laboratory"])
    return [
        ("manual", quantity.value, random_.choice(LEVELS[quantity]), status)
        for quantity in (Quantity.FREE_CHLORINE_MG_L, Quantity.PH, Quantity.WATER_TEMP_C)
        if random_.random() < 0.8
    ]


def _people(writer: _Writer, random_: random.Random, *, at_ms: int, unit: int, often: float) -> None:
    """What people do meanwhile, each of it about once in some units of time, some of it told late."""

    def happens(times: float) -> bool:
        return random_.random() < times * often

    stored_ms = at_ms + random_.choice([100, 100, unit // 10, 2 * unit])
    if happens(0.5):
        writer.readings(at_ms + 1500, stored_ms + 1500, _tested(random_))
    if happens(0.1):
        closed_ms = random_.choice([unit // 20, unit // 2, 3 * unit])
        writer.entry(stored_ms, at_ms=at_ms, kind="closure", text="pump")
        if random_.random() < 0.9:
            reopened_ms = at_ms + closed_ms
            writer.entry(max(stored_ms, reopened_ms) + 100, at_ms=reopened_ms, kind="reopening")
    if happens(0.05):
        until = format_timestamp(at_ms + unit)
        writer.entry(
            stored_ms, at_ms=at_ms, kind="maintenance", **{"from": format_timestamp(at_ms)}, until=until
        )
    if happens(0.05):
        passed = random_.random() < 0.7
        writer.entry(stored_ms, at_ms=at_ms, kind="laboratory_report", passed=passed)
    if happens(0.4):
        writer.entry(
            stored_ms,
            at_ms=at_ms,
            kind="notice_board",
            measured_at=format_timestamp(at_ms - random_.choice([1000, unit // 10, unit])),
            quantities=random_.choice(
                [["free_chlorine_mg_l", "ph"], ["free_chlorine_mg_l"], ["ph", "water_temp_c"]]
            ),
        )


def write(store: SqliteStore, stored: Stored) -> None:
    """Put one fact into a store, at its time."""
    if isinstance(stored.fact, IngestBatch):
        store.write(stored.fact, stored_at_ms=stored.stored_ms)
    else:
        store.write_publications([stored.fact], stored_at_ms=stored.stored_ms)
