"""The messages of the outbox's benchmark, and the previous way to keep them."""

import random
import sqlite3
from collections.abc import Callable, Iterator
from pathlib import Path

from benchmarks.outbox_consumer import START_MS
from gateway.contract.codec import encode_readings
from gateway.contract.quantities import Quantity
from gateway.contract.readings import Reading, ReadingsMessage
from gateway.contract.times import format_timestamp
from gateway.contract.topics import readings_topic

GATEWAY = "gw-qingfeng-1"
BOOT = "7f3a2c90ab12"
TOPIC = readings_topic(pool_id="qingfeng-main", gateway_id=GATEWAY)
READINGS = 3


def payloads(count: int) -> Iterator[Callable[[int], bytes]]:
    """Messages of a pool whose values wander, as bytes once their seq is known."""
    rng = random.Random(7)
    chlorine, ph, water = 0.5, 7.3, 27.0
    for number in range(count):
        at_ms = START_MS + number * 10_000 + rng.randrange(40)
        chlorine += rng.gauss(0, 0.01)
        ph += rng.gauss(0, 0.005)
        water += rng.gauss(0, 0.02)
        readings = three(at_ms, (round(chlorine, 3), round(ph, 2), round(water, 2)))
        yield lambda seq, readings=readings: encode_readings(  # type: ignore[misc] # bound now
            ReadingsMessage(1, GATEWAY, BOOT, seq, readings)
        )


def three(at_ms: int, values: tuple[float, float, float]) -> list[Reading]:
    sensors = (
        ("fc-1", Quantity.FREE_CHLORINE_MG_L),
        ("ph-1", Quantity.PH),
        ("t-1", Quantity.WATER_TEMP_C),
    )
    return [
        Reading(name, quantity, format_timestamp(at_ms + 7 * place), value)
        for place, ((name, quantity), value) in enumerate(zip(sensors, values, strict=True))
    ]


class PlainRows:
    """The previous way: a row a message for ever, found again by boot and seq."""

    def __init__(self, path: Path) -> None:
        self.connection = sqlite3.connect(path, isolation_level=None)
        self.connection.execute("PRAGMA journal_mode=WAL")
        self.connection.execute("PRAGMA synchronous=FULL")
        self.connection.execute(
            "CREATE TABLE IF NOT EXISTS message (id INTEGER PRIMARY KEY AUTOINCREMENT, boot_id TEXT, seq INTEGER, "
            "topic TEXT, payload BLOB, readings INTEGER, created_at_ms INTEGER, UNIQUE (boot_id, seq))"
        )

    def append(self, first_seq: int, encodes: list[Callable[[int], bytes]]) -> None:
        """Keep messages in one commit."""
        self.connection.execute("BEGIN IMMEDIATE")
        for seq, encode in enumerate(encodes, first_seq):
            self.connection.execute(
                "INSERT INTO message (boot_id, seq, topic, payload, readings, created_at_ms) VALUES (?, ?, ?, ?, ?, ?)",
                (BOOT, seq, TOPIC, encode(seq), READINGS, START_MS),
            )
        self.connection.execute("COMMIT")
