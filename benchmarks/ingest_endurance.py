"""Ten thousand readings a second while servers are stopped, killed and started again; then everything is counted.

The gateways listen to receipts. InfluxDB is stopped for the second third of the time; ingest is killed at a fifth and at
a half of it; the broker is restarted at four fifths.
"""

import csv
import threading
import time
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from dataclasses import dataclass
from pathlib import Path

import numpy as np

from benchmarks.ingest_consumers import Consumer, Ingest
from benchmarks.ingest_drain import Place, make_session
from benchmarks.ingest_gateways import Gateways
from benchmarks.ingest_load import PROBES, pool_id
from benchmarks.ingest_plot import draw, read_samples
from benchmarks.ingest_servers import Program, start_broker
from ingest.store.opening import open_store
from poolwatch.clock import system_clock_ms

_WARM_UP_S = 5.0
_POOLS_LOOKED_AT = 20
_KILL_AT = (0.2, 0.5)
_BROKER_AT = 0.8
_STORE_AWAY = (1 / 3, 2 / 3)
_RESTART_AFTER_S = 2.0
_SAMPLE_EVERY_S = 1.0
_DRAIN_WITHIN_S = 1800.0
_COUNT_EVERY_S = 5.0
_IDLE_COUNTS = 12


@dataclass(slots=True)
class _Run:
    """What runs, as its programs come and go."""

    place: Place
    consumer: Consumer
    program: Program
    log: Path

    def kill_ingest(self) -> None:
        self.program.kill()

    def start_ingest(self) -> None:
        self.program = self.consumer.start(self.log)

    def restart_broker(self) -> None:
        self.place.broker.stop()
        self.place.broker = start_broker(self.place.broker.arguments[0], self.place.files)

    def stop_store(self) -> None:
        assert self.place.influx is not None
        self.place.influx.stop()

    def start_store(self) -> None:
        assert self.place.influx is not None
        self.place.influx.start_again()


@contextmanager
def _speaking(gateways: Gateways, *, seconds: float) -> Iterator[threading.Thread]:
    """Let the gateways measure for so long in a thread of their own, and speak until the block ends."""
    stop = threading.Event()

    def speak() -> None:
        began = time.monotonic()
        while not stop.is_set():
            elapsed_s = time.monotonic() - began
            gateways.step(elapsed_s=min(elapsed_s, seconds), is_measuring=True)
        gateways.close()

    thread = threading.Thread(target=speak, name="gateways")
    thread.start()
    try:
        yield thread
    finally:
        stop.set()
        thread.join()


def measure_latency(
    place: Place, consumer: Ingest, *, gateways: int, messages_per_s: float, seconds: float
) -> dict[str, float | str | None]:
    """Delays in ms, p50 and p99, while gateways publish at a steady rate: to PUBACK, to the receipt, to the store."""
    make_session(place, consumer)
    program = consumer.start(place.folder.root / "consumer.log")
    listening = Gateways(
        place,
        gateways=gateways,
        messages_per_s=messages_per_s,
        measured_from_ms=system_clock_ms(),
        keeps_delays=True,
    )
    try:
        with _speaking(listening, seconds=_WARM_UP_S + seconds):
            time.sleep(_WARM_UP_S)
            listening.seen.puback_s.clear()
            listening.seen.receipt_s.clear()
            deadline = time.monotonic() + seconds + 60
            while time.monotonic() < deadline and (
                listening.seen.made < int((_WARM_UP_S + seconds) * messages_per_s) or listening.waiting
            ):
                program.check()
                time.sleep(0.1)
    finally:
        program.stop()
    figures: dict[str, float | str | None] = {"latency_messages": listening.seen.made}
    figures["latency_unreceipted"] = listening.waiting
    stored_s = _stored_delays_s(place, consumer)
    for name, delays_s in (
        ("puback", listening.seen.puback_s),
        ("receipt", listening.seen.receipt_s),
        ("stored", stored_s),
    ):
        p50, p99 = np.percentile(np.asarray(delays_s or [np.nan]), (50, 99)) * 1000
        print(f"{name:10} p50 {p50:8.2f} ms   p99 {p99:8.2f} ms   of {len(delays_s):,}")
        figures |= {f"{name}_p50_ms": round(float(p50), 2), f"{name}_p99_ms": round(float(p99), 2)}
    return figures


def _stored_delays_s(place: Place, consumer: Ingest) -> list[float]:
    """From when readings were due to when the store took them, for some pools, without each one's first seconds."""
    store = open_store(place.folder.store_url(consumer.store_url))
    delays_s: list[float] = []
    try:
        for number in range(_POOLS_LOOKED_AT):
            for columns in store.readings(pool_id(number), from_ms=0, to_ms=system_clock_ms()).values():
                measured_ms = columns.measured_at_ms
                kept = measured_ms > measured_ms.min() + _WARM_UP_S * 1000
                delays_s += ((columns.stored_at_ms - measured_ms)[kept] / 1000).tolist()
    finally:
        store.close()
    return delays_s


def measure_endurance(
    place: Place, consumer: Consumer, *, minutes: float, gateways: int, readings_per_s: float, csv_path: Path
) -> dict[str, float | str | None]:
    """Run the timetable of faults, drain, and count; memory each second goes to a CSV, with an SVG beside it."""
    seconds = minutes * 60
    make_session(place, consumer)
    run = _Run(
        place,
        consumer,
        consumer.start(place.folder.root / "consumer.log"),
        place.folder.root / "consumer.log",
    )
    listening = Gateways(
        place,
        gateways=gateways,
        messages_per_s=readings_per_s / len(PROBES),
        measured_from_ms=system_clock_ms(),
        keeps_delays=False,
    )
    try:
        with _speaking(listening, seconds=seconds), csv_path.open("w", encoding="utf-8", newline="") as file:
            rows = csv.writer(file)
            rows.writerow(
                ["at_s", "ingest_rss_mib", "broker_rss_mib", "made_messages", "waiting_messages", "event"]
            )
            stored = _follow(run, listening, seconds=seconds, write_row=rows.writerow)
    finally:
        run.program.stop()
    samples = read_samples(csv_path)
    csv_path.with_suffix(".svg").write_text(draw(samples), encoding="utf-8")
    made = listening.seen.made * len(PROBES)
    steady = [one.rss_mib for one in samples if one.rss_mib > 0]
    figures: dict[str, float | str | None] = {
        "endurance_minutes": minutes,
        "endurance_readings": made,
        "endurance_stored": stored,
        "endurance_lost": max(made - stored, 0),
        "endurance_duplicated": max(stored - made, 0),
        "endurance_unreceipted_messages": listening.waiting,
        "endurance_messages_sent_again": listening.seen.sent_again,
        "endurance_rss_median_mib": round(float(np.median(steady)), 1),
        "endurance_rss_max_mib": round(max(steady), 1),
        "endurance_store": consumer.name,
    }
    for name, value in figures.items():
        print(f"{name:36}{value}")
    print(f"memory: {csv_path} and {csv_path.with_suffix('.svg')}")
    return figures


def _timetable(run: _Run, seconds: float) -> list[tuple[float, str]]:
    """Seconds from the start and what happens then."""
    events = []
    for share in _KILL_AT:
        events += [(share * seconds, "ingest killed"), (share * seconds + _RESTART_AFTER_S, "ingest started")]
    events.append((_BROKER_AT * seconds, "broker restarted"))
    if run.place.influx is not None:
        events += [(_STORE_AWAY[0] * seconds, "store stopped"), (_STORE_AWAY[1] * seconds, "store started")]
    else:
        print("the store is a file: there is no server to stop, that phase is left out", flush=True)
    return sorted(events)


def _follow(
    run: _Run, listening: Gateways, *, seconds: float, write_row: Callable[[list[object]], object]
) -> int:
    """Do what the timetable says, sample, and return what the store holds once it takes nothing any more."""
    actions = {
        "ingest killed": run.kill_ingest,
        "ingest started": run.start_ingest,
        "broker restarted": run.restart_broker,
        "store stopped": run.stop_store,
        "store started": run.start_store,
    }
    ahead = _timetable(run, seconds)
    began = time.monotonic()
    counted_at_s, stored, idle = seconds, -1, 0
    wanted = int(seconds * listening.messages_per_s) * len(PROBES)
    while True:
        at_s = time.monotonic() - began
        event = ""
        if ahead and ahead[0][0] <= at_s:
            event = ahead.pop(0)[1]
            print(f"{at_s:8.1f} s  {event}; {listening.waiting:,} messages wait for a receipt", flush=True)
            actions[event]()
        write_row(
            [
                *(f"{at_s:.1f}", f"{run.program.rss_mib():.1f}", f"{run.place.broker.rss_mib():.1f}"),
                *(listening.seen.made, listening.waiting, event),
            ]
        )
        if not ahead and at_s > counted_at_s + _COUNT_EVERY_S:
            run.program.check()
            before, stored = stored, run.consumer.count()
            counted_at_s = time.monotonic() - began
            idle = idle + 1 if stored == before else 0
            is_whole = stored >= wanted and not listening.waiting
            if is_whole or idle >= _IDLE_COUNTS or at_s > seconds + _DRAIN_WITHIN_S:
                print(f"{at_s:8.1f} s  the store takes nothing any more", flush=True)
                return stored
        time.sleep(max(_SAMPLE_EVERY_S - (time.monotonic() - began - at_s), 0.0))
