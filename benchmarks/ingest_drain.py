"""A drain, measured: the load waits at the broker, a consumer is started, and the clock runs until its store holds all."""

import shutil
import time
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from dataclasses import dataclass
from pathlib import Path

import psutil

from benchmarks.ingest_consumers import Consumer
from benchmarks.ingest_load import LOAD_USERS, Load, prepare_deployment
from benchmarks.ingest_mqtt import MqttConnection
from benchmarks.ingest_servers import InfluxServer, Program, broker_dropped, free_port, start_broker
from ingest.broker import BrokerFiles
from poolwatch.folder import DataFolder

#: Messages of the load on their way without the broker's acknowledgement.
WINDOW = 1000
_LOOK_EVERY_S = 0.1
#: A store that took nothing for so long is asked what it holds.
_QUIET_S = 1.0
#: One that never rests is asked all the same, seldom: the question costs it something.
_NEVER_QUIET_S = 20.0
_GIVE_UP_AFTER_S = 30.0


@dataclass(frozen=True, slots=True)
class Programs:
    """Where the programs are; None where one is absent."""

    mosquitto: str
    influxd: str | None
    telegraf: str | None


@dataclass(slots=True)
class Place:
    """A deployment that runs: its folder and its broker, and InfluxDB if it has one."""

    folder: DataFolder
    files: BrokerFiles
    broker: Program
    port: int
    influx: InfluxServer | None


@dataclass(frozen=True, slots=True)
class Drain:
    """Figures of one drain. Times from the consumer's start to the last thing that its store took [s]."""

    name: str
    sent_values: int
    stored_values: int
    queued_per_s: float
    wall_s: float
    first_s: float
    cpu_s: float
    peak_mib: float
    influx_cpu_s: float
    broker_cpu_s: float
    elsewhere_cores: float
    broker_dropped: bool

    @property
    def values_per_s(self) -> float:
        """From the start of the consumer's process."""
        return self.stored_values / self.wall_s

    @property
    def values_per_s_from_first(self) -> float:
        """From when the store had taken the first of them."""
        return self.stored_values / max(self.wall_s - self.first_s, 1e-9)

    @property
    def cpu_s_per_million(self) -> float:
        """CPU seconds of the consumer for a million values."""
        return self.cpu_s / self.stored_values * 1e6 if self.stored_values else float("nan")

    @property
    def lost(self) -> int:
        """Values that were sent and that the store does not hold."""
        return max(self.sent_values - self.stored_values, 0)

    @property
    def duplicated(self) -> int:
        """Values that the store holds beyond those sent."""
        return max(self.stored_values - self.sent_values, 0)


@contextmanager
def running_place(
    programs: Programs, root: Path, *, gateways: int, with_influx: bool, max_inflight: int | None = None
) -> Iterator[Place]:
    """A fresh deployment with its servers; they end with the block, and its files go."""
    shutil.rmtree(root, ignore_errors=True)
    port = free_port()
    folder, files = prepare_deployment(root, gateways=gateways, port=port, max_inflight=max_inflight)
    broker = start_broker(programs.mosquitto, files)
    place = Place(folder, files, broker, port, None)
    try:
        if with_influx:
            assert programs.influxd is not None
            place.influx = InfluxServer(programs.influxd, root / "influxdb")
        yield place
    finally:
        if place.influx is not None:
            place.influx.stop()
        place.broker.stop()


def connect(place: Place, username: str, *, clean: bool = True) -> MqttConnection:
    """Connection of a user that the credentials name."""
    credentials = place.folder.read_credentials()
    password = next(
        one.password
        for one in (*credentials.services.values(), *credentials.gateways.values())
        if one.username == username
    )
    return MqttConnection(port=place.port, username=username, password=password, clean=clean)


def make_session(place: Place, consumer: Consumer) -> None:
    """Make the consumer's persistent session at the broker, as if it had been here before."""
    session = connect(place, consumer.username, clean=False)
    session.subscribe(consumer.filters)
    session.close()


def queue_load(place: Place, consumer: Consumer, load: Load) -> float:
    """Let the broker queue the load for the consumer; messages/s."""
    make_session(place, consumer)
    publisher = connect(place, LOAD_USERS[0])
    packed = list(load.packed())
    began = time.monotonic()
    sent = publisher.flood(packed, window=WINDOW)
    took_s = time.monotonic() - began
    publisher.close()
    return sent / took_s


def measure_drain(place: Place, consumer: Consumer, load: Load) -> Drain:
    """Queue the load, start the consumer, and wait until its store holds all of it or takes nothing any more."""
    queued_per_s = queue_load(place, consumer, load)
    broker_cpu_s = place.broker.cpu_s()
    influx_cpu_s = place.influx.program.cpu_s() if place.influx else 0.0
    others_s = _busy_s() - broker_cpu_s - influx_cpu_s - time.process_time()
    before = consumer.progress()
    program = consumer.start(place.folder.root / "consumer.log")
    try:
        first_s, wall_s, stored = _watch(program, consumer, load, before)
        ended_s = time.monotonic() - program.started_s
        cpu_s, broker_s = program.cpu_s(), place.broker.cpu_s()
        influx_s = place.influx.program.cpu_s() if place.influx else 0.0
        others_s = _busy_s() - broker_s - influx_s - cpu_s - time.process_time() - others_s
        return Drain(
            name=consumer.name,
            sent_values=load.values,
            stored_values=stored,
            queued_per_s=queued_per_s,
            wall_s=wall_s,
            first_s=first_s,
            cpu_s=cpu_s,
            peak_mib=program.peak_mib(),
            influx_cpu_s=influx_s - influx_cpu_s,
            broker_cpu_s=broker_s - broker_cpu_s,
            elsewhere_cores=max(others_s / ended_s, 0.0),
            broker_dropped=broker_dropped_in(place),
        )
    finally:
        program.stop()


def _busy_s() -> float:
    """CPU seconds that this machine has spent on anything since it began."""
    times = psutil.cpu_times()
    return float(times.user + times.nice + times.system)


def broker_dropped_in(place: Place) -> bool:
    """Whether the place's broker dropped messages."""
    return broker_dropped(place.folder.broker / "mosquitto.log")


def _watch(program: Program, consumer: Consumer, load: Load, before: float) -> tuple[float, float, int]:
    """Seconds to the first and to the last growth, and what the store then holds."""
    seen, first_s, last_s = before, 0.0, 0.0
    began = counted_at_s = program.started_s
    stored = -1
    while True:
        program.check()
        time.sleep(_LOOK_EVERY_S)
        asked_s = time.monotonic()
        now = consumer.progress()
        if now != seen:
            seen, last_s = now, asked_s - began
            first_s = first_s or last_s
        quiet_s = asked_s - began - last_s
        uncounted_s = asked_s - counted_at_s
        if last_s and uncounted_s > (_QUIET_S if quiet_s > _QUIET_S else _NEVER_QUIET_S):
            stored, counted_at_s = consumer.count(), time.monotonic()
            if stored >= load.values:
                return first_s, last_s, stored
        if quiet_s > _GIVE_UP_AFTER_S:
            return first_s, last_s or quiet_s, max(stored, 0)


def best_of(repeat: int, once: Callable[[], Drain]) -> Drain:
    """The fastest of several drains, of those that lost nothing if there are any."""
    drains = [once() for _ in range(repeat)]
    return min(drains, key=lambda drain: (drain.lost, drain.wall_s))
