"""A gateway as a process of its own: it reads a counter, keeps, sends, and writes down each payload before it leaves.

Its only argument is a JSON object; see `Bench.start_gateway`. In its `place` lie the files that steer it: the clock is the
machine's, plus what `offset` says in milliseconds; once `hush` is there, it measures no more and only sends what it has.
Its notes lie there too: `measured`, each reading of its probe, and `sent`, each payload.
"""

import json
import os
import signal
import sys
import threading
import time
from pathlib import Path

import msgspec

from gateway.contract.credentials import Credential
from gateway.contract.quantities import Quantity
from gateway.contract.readings import Reading
from gateway.contract.times import format_timestamp
from gateway.outbox import Outbox
from gateway.publisher import Backoff, Publisher
from gateway.running import run_gateways
from gateway.service import GatewayService, Pace


class CountingSensor:
    """Reads 0.001, 0.002, … at the gateway's clock, rounded down to `grid_ms`."""

    def __init__(self, pool_id: str, *, interval_s: float, grid_ms: int, place: Path) -> None:
        self.pool_id = pool_id
        self.interval_s = interval_s
        self._grid_ms = grid_ms
        self._hush = place / "hush"
        self._measured = os.open(place / "measured", os.O_WRONLY | os.O_APPEND | os.O_CREAT)
        self._count = 0

    def read(self, now_ms: int) -> list[Reading]:
        if self._hush.exists():
            return []
        self._count += 1
        at = format_timestamp(now_ms - now_ms % self._grid_ms)
        reading = Reading("fc-1", Quantity.FREE_CHLORINE_MG_L, at, self._count / 1000)
        os.write(self._measured, msgspec.json.encode(reading) + b"\n")
        return [reading]


class NotingPublisher(Publisher):
    """Notes in a file what it is about to send: the test's own account of what was sent."""

    noted: int

    def publish(self, topic: str, payload: bytes) -> int | None:
        if self.connected:
            os.write(self.noted, payload + b"\n")
        return super().publish(topic, payload)


def main() -> None:
    given = json.loads(sys.argv[1])
    place = Path(given["place"])
    gateway_id = given["gateway_id"]
    publisher = NotingPublisher(
        gateway_id=gateway_id,
        credential=Credential(gateway_id, given["password"], "127.0.0.1", given["port"]),
        backoff=Backoff(0.05, 0.3),
    )
    publisher.noted = os.open(place / "sent", os.O_WRONLY | os.O_APPEND | os.O_CREAT)
    sensor = CountingSensor(
        given["pool_id"], interval_s=given["interval_s"], grid_ms=given["grid_ms"], place=place
    )

    def clock() -> int:
        return time.time_ns() // 1_000_000 + int((place / "offset").read_text())

    service = GatewayService(
        gateway_id,
        [sensor],
        Outbox(Path(given["outbox"])),
        publisher,
        clock,
        Pace(resend_after_s=given["resend_after_s"], status_every_s=1.0),
    )
    service.start_boot()
    stop = threading.Event()
    signal.signal(signal.SIGTERM, lambda *_: stop.set())
    run_gateways([service], stop=stop)


if __name__ == "__main__":
    main()
