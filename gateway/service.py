"""The loop at the pool: read what is due, keep it, send it, forget what a receipt names."""

import secrets
import threading
from collections import OrderedDict
from collections.abc import Sequence
from dataclasses import dataclass, field
from importlib.metadata import PackageNotFoundError, version

import structlog

from gateway.contract.codec import encode_logbook, encode_readings, encode_status
from gateway.contract.logbook import LogbookEntry, LogbookMessage
from gateway.contract.readings import Reading, ReadingsMessage
from gateway.contract.receipts import Receipt
from gateway.contract.status import DroppedSpan, GatewayState, GatewayStatus
from gateway.contract.times import Clock, format_timestamp
from gateway.contract.topics import logbook_topic, readings_topic
from gateway.errors import OutboxError, SensorError
from gateway.outbox import Draft, Outbox, OutboxMessage
from gateway.publisher import Acknowledged, Connected, Disconnected, Publisher
from gateway.sensors.ports import SensorPort

_log = structlog.get_logger()

_HOUR_MS = 3_600_000
#: A status lists at most this many spans of dropped readings: the newest.
_MOST_SPANS = 20


@dataclass(frozen=True, slots=True)
class Pace:
    """How a gateway sends. `backlog_window` messages of the backlog are under way at once; live ones always may be."""

    resend_after_s: float = 10.0
    status_every_s: float = 60.0
    backlog_window: int = 200
    #: The longest a step waits for a message or a receipt before it looks again. [s]
    longest_wait_s: float = 1.0


@dataclass(slots=True)
class _UnderWay:
    """A message that was sent and that no receipt has named yet."""

    message_id: int
    boot_id: str
    seq: int
    sent_at_ms: int
    acknowledged: bool = False


@dataclass(slots=True)
class GatewayCounters:
    """What went wrong here, for the logs and for tests."""

    sensor_errors: int = 0
    kept_errors: int = 0
    sent: int = 0
    dead_letters: int = 0


def make_boot_id() -> str:
    """An id that no other start has."""
    return secrets.token_hex(6)


@dataclass(slots=True)
class GatewayService:
    """One gateway. All methods belong to one thread; the publisher's thread only sets `wake`.

    Parameters
    ----------
    gateway_id : str
        Its id, as in the registry.
    sensors : sequence of SensorPort
        Its instruments, of one pool or several.
    outbox, publisher
        Where messages are kept, and how they leave.
    """

    gateway_id: str
    sensors: Sequence[SensorPort]
    outbox: Outbox
    publisher: Publisher
    clock: Clock
    pace: Pace = field(default_factory=Pace)
    wake: threading.Event = field(default_factory=threading.Event)
    counters: GatewayCounters = field(default_factory=GatewayCounters)
    measuring: bool = True
    _due_ms: list[int] = field(default_factory=list)
    _under_way: "OrderedDict[int, _UnderWay]" = field(default_factory=OrderedDict)
    _packets: dict[int, int] = field(default_factory=dict)
    _next_id: int = 0
    _since_ms: int = 0
    _status_due_ms: int = 0
    _appended: list[tuple[int, int]] = field(default_factory=list)

    def start_boot(self, boot_id: str | None = None) -> None:
        """Begin a boot and connect in the background."""
        now_ms = self.clock()
        self.outbox.begin_boot(boot_id or make_boot_id(), now_ms)
        self._since_ms = now_ms
        self._due_ms = [now_ms for _ in self.sensors]
        will = encode_status(self._status(GatewayState.OFFLINE, now_ms))
        self.publisher.start(last_will=will, wake=self._wake_up)

    def _wake_up(self) -> None:
        self.wake.set()  # whichever event it is by now: `run_gateways` shares one

    def step(self, now_ms: int) -> float:
        """One round; returns after how many seconds the next one is useful, unless `wake` is set before."""
        self._take_events(now_ms)
        try:
            for message in self._measure(now_ms) if self.measuring else ():
                self._send(message, now_ms)
            self._send_backlog(now_ms)
        except OutboxError as error:
            # A full disk: the instruments are read again at their next turn, and what is kept stays kept.
            self.counters.kept_errors += 1
            _log.error("outbox", gateway_id=self.gateway_id, error=str(error))
        if now_ms >= self._status_due_ms and self.publisher.connected:
            self._publish_status(now_ms)
        return self._wait_s(now_ms)

    def _wait_s(self, now_ms: int) -> float:
        due = [*self._due_ms] if self.measuring else []
        first = min(due, default=now_ms + int(self.pace.longest_wait_s * 1000))
        return min(max(0.0, (first - now_ms) / 1000), self.pace.longest_wait_s)

    def record(
        self, pool_id: str, items: Sequence[Reading] | Sequence[LogbookEntry], now_ms: int
    ) -> list[OutboxMessage]:
        """Keep readings or logbook entries of a pool as one message, and send it if there is a connection."""
        messages = self.outbox.append([self._draft(pool_id, items)], now_ms)
        for message in messages:
            self._send(message, now_ms)
        return messages

    def _draft(self, pool_id: str, items: Sequence[Reading] | Sequence[LogbookEntry]) -> Draft:
        boot_id = self.outbox.boot_id
        readings = [item for item in items if isinstance(item, Reading)]
        entries = [item for item in items if isinstance(item, LogbookEntry)]
        if readings:
            return Draft(
                readings_topic(pool_id=pool_id, gateway_id=self.gateway_id),
                lambda seq: encode_readings(ReadingsMessage(1, self.gateway_id, boot_id, seq, readings)),
                len(readings),
            )
        return Draft(
            logbook_topic(pool_id=pool_id, gateway_id=self.gateway_id),
            lambda seq: encode_logbook(LogbookMessage(1, self.gateway_id, boot_id, seq, entries)),
            0,
        )

    def _measure(self, now_ms: int) -> list[OutboxMessage]:
        """Read what is due; one message a pool, all in one commit."""
        by_pool: dict[str, list[Reading]] = {}
        for index, sensor in enumerate(self.sensors):
            if now_ms < self._due_ms[index]:
                continue
            interval_ms = max(1, int(sensor.interval_s * 1000))
            self._due_ms[index] += interval_ms * ((now_ms - self._due_ms[index]) // interval_ms + 1)
            try:
                readings = sensor.read(now_ms)
            except SensorError as error:
                self.counters.sensor_errors += 1
                _log.warning("sensor", gateway_id=self.gateway_id, pool_id=sensor.pool_id, error=str(error))
                continue
            except Exception:  # noqa: BLE001 - see below
                # One driver's fault must not stop the other instruments.
                self.counters.sensor_errors += 1
                _log.exception("sensor failed", gateway_id=self.gateway_id, pool_id=sensor.pool_id)
                continue
            if readings:
                by_pool.setdefault(sensor.pool_id, []).extend(readings)
        if not by_pool:
            return []
        messages = self.outbox.append(
            [self._draft(pool_id, items) for pool_id, items in by_pool.items()], now_ms
        )
        self._appended.append((now_ms, sum(len(message.payload) for message in messages)))
        while self._appended and self._appended[0][0] < now_ms - _HOUR_MS:
            self._appended.pop(0)
        return messages

    def _send(self, message: OutboxMessage, now_ms: int) -> bool:
        packet_id = self.publisher.publish(message.topic, message.payload)
        if packet_id is None:
            return False
        self._packets[packet_id] = message.message_id
        self._under_way[message.message_id] = _UnderWay(
            message.message_id, message.boot_id, message.seq, now_ms
        )
        self.counters.sent += 1
        return True

    def _send_backlog(self, now_ms: int) -> None:
        """Older messages, oldest first, in their share of the window; and again what no receipt named in time."""
        if not self.publisher.connected:
            return
        overdue_ms = now_ms - int(self.pace.resend_after_s * 1000)
        for message_id, under_way in list(self._under_way.items()):
            if under_way.sent_at_ms > overdue_ms:
                break
            if under_way.acknowledged:
                del self._under_way[message_id]
                self._next_id = min(self._next_id, message_id - 1)
        room = self.pace.backlog_window - len(self._packets)
        while room > 0:
            batch = self.outbox.pending(after_id=self._next_id, limit=room)
            if not batch:
                return
            for message in batch:
                if message.message_id not in self._under_way:
                    if not self._send(message, now_ms):
                        return
                    room -= 1
                self._next_id = message.message_id

    def _take_events(self, now_ms: int) -> None:
        receipts: list[Receipt] = []
        for event in self.publisher.events():
            match event:
                case Connected():
                    # Whatever is not under way is sent again from the oldest on, beside the live readings.
                    self._next_id = 0
                    self._status_due_ms = now_ms
                case Disconnected():
                    # paho sends its unacknowledged packets again by itself; the rest waits for receipts or time.
                    self._status_due_ms = now_ms
                case Acknowledged(packet_id):
                    self._acknowledged(packet_id)
                case Receipt():
                    receipts.append(event)
        for receipt in receipts:
            self.outbox.apply_receipt(receipt)
            self._forget(receipt)

    def _acknowledged(self, packet_id: int) -> None:
        message_id = self._packets.pop(packet_id, None)
        if message_id is None:
            return
        under_way = self._under_way.get(message_id)
        if under_way is not None:
            under_way.acknowledged = True
        if self.outbox.count_puback(message_id):
            self._under_way.pop(message_id, None)
            self.counters.dead_letters += 1
            _log.error(
                "dead letter: the broker took it five times and no receipt came; see that ingest runs",
                gateway_id=self.gateway_id,
                message_id=message_id,
            )

    def _forget(self, receipt: Receipt) -> None:
        named = [
            under_way.message_id
            for under_way in self._under_way.values()
            if under_way.boot_id == receipt.boot_id
            and any(first <= under_way.seq <= last for first, last in receipt.stored)
        ]
        for message_id in named:
            del self._under_way[message_id]

    def _status(self, state: GatewayState, now_ms: int) -> GatewayStatus:
        span_ms = max(1, now_ms - self._appended[0][0]) if self._appended else 1
        rate = (
            sum(size for _, size in self._appended) * _HOUR_MS / span_ms if len(self._appended) > 1 else 0.0
        )
        hours_left = self.outbox.hours_left(bytes_per_hour=rate)
        return GatewayStatus(
            state=state,
            boot_id=self.outbox.boot_id,
            since=format_timestamp(self._since_ms),
            version=_version(),
            next_seq=self.outbox.next_seq(),
            outbox=self.outbox.ranges(),
            dropped=[
                DroppedSpan(format_timestamp(span.from_ms), format_timestamp(span.to_ms), span.readings)
                for span in self.outbox.dropped()[-_MOST_SPANS:]
            ],
            hours_left=None if hours_left is None else round(hours_left, 1),
        )

    def _publish_status(self, now_ms: int) -> None:
        self.publisher.publish_status(encode_status(self._status(GatewayState.ONLINE, now_ms)))
        self._status_due_ms = now_ms + int(self.pace.status_every_s * 1000)

    def disconnect_abruptly(self) -> None:
        """Lose the connection as in a power cut of the network: measuring goes on into the outbox."""
        self.publisher.disconnect_abruptly()
        self._packets.clear()
        self._under_way.clear()

    def reconnect(self) -> None:
        """Come back after `disconnect_abruptly`."""
        self.publisher.reconnect()

    @property
    def settled(self) -> bool:
        """Whether nothing waits in the outbox."""
        return not self.outbox.pending(limit=1)

    def close(self) -> None:
        """Say that the gateway is offline and let go; the outbox keeps what it has."""
        self.publisher.close(last_status=encode_status(self._status(GatewayState.OFFLINE, self.clock())))
        self.outbox.close()


def _version() -> str:
    try:
        return version("poolwatch")
    except PackageNotFoundError:
        return ""


def run_gateways(services: Sequence[GatewayService], *, stop: threading.Event, drain_s: float = 10.0) -> None:
    """Run gateways, already started, on this thread until `stop`; then send what is kept for up to `drain_s`, and close.

    They share one `wake` event, so that a receipt for any of them is acted on at once.
    """
    wake = threading.Event()
    for service in services:
        service.wake = wake
    clock = services[0].clock
    while not stop.is_set():
        waits = [service.step(clock()) for service in services]
        wake.wait(min(waits))
        wake.clear()
    for service in services:
        service.measuring = False
    deadline_ms = clock() + int(drain_s * 1000)
    while clock() < deadline_ms and not all(service.settled for service in services):
        for service in services:
            service.step(clock())
        wake.wait(0.1)
        wake.clear()
    for service in services:
        service.close()
