"""A gateway: read what is due, keep it, send it, forget what a receipt names."""

import secrets
import threading
import time
from collections import deque
from collections.abc import Sequence
from dataclasses import dataclass, field, replace
from importlib.metadata import PackageNotFoundError, version
from typing import Any

import structlog

from gateway.contract.codec import encode_status
from gateway.contract.logbook import LogbookEntry
from gateway.contract.readings import Reading
from gateway.contract.status import DroppedSpan, GatewayState, GatewayStatus
from gateway.contract.times import Clock, format_timestamp
from gateway.counters import GatewayCounters
from gateway.delivery import Delivery, Pace
from gateway.drafts import drafts
from gateway.errors import OutboxError
from gateway.figures import FIGURES_EVERY_S, GatewayFigures, outbox_figures
from gateway.instruments import Instruments
from gateway.outbox import Outbox, OutboxMessage
from gateway.publisher import Publisher
from gateway.sensors.ports import SensorPort

__all__ = ["GatewayCounters", "GatewayService", "Pace", "make_boot_id"]

_log = structlog.get_logger()

_HOUR_MS = 3_600_000
#: A status lists at most this many spans of dropped readings and boots with kept messages: it must fit a message.
_MOST_SPANS = 20
_MOST_BOOTS = 500
#: Readings held in memory while the disk takes none; beyond them the oldest are given up, and recorded as dropped.
_MOST_UNKEPT = 10_000
#: A clock that goes back further than this was put back, …
_CLOCK_SLACK_MS = 1000
#: … and one that goes ahead further between two rounds was put ahead, or the machine slept: no message is late for that.
_CLOCK_LEAP_MS = 60_000


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
    #: What operators watch, written by this thread each `FIGURES_EVERY_S`; read by any. None: nobody watches.
    figures: GatewayFigures | None = None
    _delivery: Delivery = field(init=False)
    _instruments: Instruments = field(init=False)
    _woken: bool = False
    _last_ms: int = 0
    _since_ms: int = 0
    _status_due_ms: int = 0
    _outbox_fails: bool = False
    _figures_due_s: float = 0.0
    #: Readings that the outbox could not take yet: when they were read, of which pool, and they themselves.
    _unkept: deque[tuple[int, str, list[Reading]]] = field(default_factory=deque)
    #: Readings given up meanwhile: from, to, how many.
    _given_up: tuple[int, int, int] | None = None
    #: When how many bytes were kept within the last hour, for `hours_left`.
    _kept: deque[tuple[int, int]] = field(default_factory=deque)

    def __post_init__(self) -> None:
        self._delivery = Delivery(
            gateway_id=self.gateway_id,
            outbox=self.outbox,
            publisher=self.publisher,
            pace=self.pace,
            counters=self.counters,
        )
        self._instruments = self._make_instruments(self.clock())

    def _make_instruments(self, now_ms: int) -> Instruments:
        return Instruments(
            gateway_id=self.gateway_id, sensors=self.sensors, now_ms=now_ms, counters=self.counters
        )

    def start_boot(self, boot_id: str | None = None) -> None:
        """Begin a boot and connect in the background."""
        now_ms = self.clock()
        self.outbox.begin_boot(boot_id or make_boot_id(), now_ms)
        self._since_ms = self._last_ms = now_ms
        self._instruments = self._make_instruments(now_ms)
        will = encode_status(self._status(GatewayState.OFFLINE, now_ms))
        self.publisher.start(last_will=will, wake=self._wake_up)

    def _wake_up(self) -> None:
        self._woken = True
        self.wake.set()  # whichever event it is by now: `run_gateways` shares one

    def take_wake(self) -> bool:
        """Whether something happened since the last call that a step should act on."""
        woken, self._woken = self._woken, False
        return woken

    def step(self, now_ms: int) -> float:
        """One round; returns after how many seconds the next one is useful, unless `wake` is set before."""
        if now_ms < self._last_ms - _CLOCK_SLACK_MS:
            self._shift(now_ms - self._last_ms)
        elif now_ms > self._last_ms + _CLOCK_LEAP_MS:
            self._delivery.shift(now_ms - self._last_ms)
            self._kept.clear()
        self._last_ms = now_ms
        if self.measuring:
            for pool_id, readings in self._instruments.read_due(now_ms).items():
                self._unkept.append((now_ms, pool_id, readings))
        # Each by itself: a full disk that takes no reading is freed by the receipts for what the backlog sends.
        for act in (
            self._delivery.take_events,
            self._keep_measured,
            self._delivery.send_backlog,
            self._say_status,
        ):
            try:
                act(now_ms)
            except OutboxError as error:
                self._tell_outbox(error)
        if self.figures is not None and time.monotonic() >= self._figures_due_s:
            self._take_figures(now_ms)
        return self._wait_s(now_ms)

    def _take_figures(self, now_ms: int) -> None:
        """Write down what operators watch; what the outbox does not tell stays as it was."""
        self._figures_due_s = time.monotonic() + FIGURES_EVERY_S
        now: dict[str, Any] = {
            "connected": int(self.publisher.connected),
            "under_way_messages": self._delivery.under_way,
            "unkept_waiting_readings": sum(len(readings) for _, _, readings in self._unkept),
            "last_receipt_at_ms": self._delivery.heard_at_ms,
            "figures_at_ms": now_ms,
        }
        try:
            rate = self._bytes_per_hour(now_ms)
            kept = outbox_figures(self.outbox, bytes_per_hour=rate, works=not self._outbox_fails)
        except (OutboxError, OSError):
            kept = {"outbox_works": 0}
        self.figures = replace(self.figures or GatewayFigures(), **now, **kept)

    def _shift(self, by_ms: int) -> None:
        _log.warning("the clock was put back", gateway_id=self.gateway_id, seconds=-by_ms / 1000)
        self._instruments.shift(by_ms)
        self._delivery.shift(by_ms)
        self._status_due_ms += by_ms
        self._kept.clear()

    def _tell_outbox(self, error: OutboxError) -> None:
        self.counters.kept_errors += 1
        if not self._outbox_fails:
            self._outbox_fails = True
            _log.error(
                "the outbox takes nothing; readings wait in memory",
                gateway_id=self.gateway_id,
                error=str(error),
            )

    def _wait_s(self, now_ms: int) -> float:
        due_ms = self._instruments.next_due_ms() if self.measuring else None
        if due_ms is None:
            return self.pace.longest_wait_s
        return min(max(0.0, (due_ms - now_ms) / 1000), self.pace.longest_wait_s)

    def _keep_measured(self, now_ms: int) -> None:
        """Keep what was read, all in one commit, and send it; what the disk does not take waits in memory."""
        if not self._unkept:
            return
        try:
            messages = self.keep([(pool_id, readings) for _, pool_id, readings in self._unkept], now_ms)
        except OutboxError:
            self._give_up_oldest()
            raise
        self._unkept.clear()
        self._kept.append((now_ms, sum(len(message.payload) for message in messages)))
        while self._kept[0][0] < now_ms - _HOUR_MS:
            self._kept.popleft()
        self._delivery.send(messages, now_ms)
        if self._given_up is not None:
            from_ms, to_ms, count = self._given_up
            self.outbox.record_unkept(from_ms=from_ms, to_ms=to_ms, readings=count)
            self._given_up = None
            self._delivery.news = True
        if self._outbox_fails:
            self._outbox_fails = False
            _log.info("the outbox works again", gateway_id=self.gateway_id)

    def _give_up_oldest(self) -> None:
        held = sum(len(readings) for _, _, readings in self._unkept)
        while held > _MOST_UNKEPT:
            read_at_ms, _, readings = self._unkept.popleft()
            held -= len(readings)
            self.counters.unkept_readings += len(readings)
            from_ms, _, count = self._given_up or (read_at_ms, read_at_ms, 0)
            self._given_up = (from_ms, read_at_ms, count + len(readings))

    def keep(
        self, batches: Sequence[tuple[str, Sequence[Reading] | Sequence[LogbookEntry]]], now_ms: int
    ) -> list[OutboxMessage]:
        """Keep (pool_id, items) as messages, in one commit; they leave as backlog, unless they are sent."""
        made = [
            draft
            for pool_id, items in batches
            for draft in drafts(pool_id, items, gateway_id=self.gateway_id, boot_id=self.outbox.boot_id)
        ]
        return self.outbox.append(made, now_ms)

    def keep_as_backlog(self, batches: Sequence[tuple[str, Sequence[Reading]]], now_ms: int) -> None:
        """Keep (pool_id, readings) in one commit and let them leave in the backlog's window."""
        messages = self.keep(batches, now_ms)
        if messages:
            self._delivery.expect_backlog(messages[0].message_id - 1)

    def record(
        self, pool_id: str, items: Sequence[Reading] | Sequence[LogbookEntry], now_ms: int
    ) -> list[OutboxMessage]:
        """Keep readings or logbook entries of a pool, and send them if there is a connection.

        Raises
        ------
        OutboxError
            If they could not be kept.
        """
        messages = self.keep([(pool_id, items)], now_ms)
        self._delivery.send(messages, now_ms)
        return messages

    def _status(self, state: GatewayState, now_ms: int) -> GatewayStatus:
        hours_left = self.outbox.hours_left(bytes_per_hour=self._bytes_per_hour(now_ms))
        return GatewayStatus(
            state=state,
            boot_id=self.outbox.boot_id,
            since=format_timestamp(self._since_ms),
            version=_version(),
            next_seq=self.outbox.next_seq(),
            outbox=self.outbox.ranges()[:_MOST_BOOTS],
            dropped=[
                DroppedSpan(format_timestamp(span.from_ms), format_timestamp(span.to_ms), span.readings)
                for span in self.outbox.dropped()[-_MOST_SPANS:]
            ],
            hours_left=None if hours_left is None else round(hours_left, 1),
        )

    def _bytes_per_hour(self, now_ms: int) -> float:
        """Payload that is kept in an hour, by what was kept since the first round that is remembered; 0: not known."""
        if len(self._kept) <= 1:
            return 0.0
        sizes = [size for _, size in self._kept]
        return (sum(sizes) - sizes[0]) * _HOUR_MS / max(1, now_ms - self._kept[0][0])

    def _say_status(self, now_ms: int) -> None:
        if (now_ms >= self._status_due_ms or self._delivery.news) and self.publisher.connected:
            self._publish_status(now_ms)

    def _publish_status(self, now_ms: int) -> None:
        self.publisher.publish_status(encode_status(self._status(GatewayState.ONLINE, now_ms)))
        self._delivery.news = False
        self._status_due_ms = now_ms + int(self.pace.status_every_s * 1000)

    def disconnect_abruptly(self) -> None:
        """Lose the connection as in a power cut of the network: measuring goes on into the outbox."""
        self.publisher.disconnect_abruptly()
        self._delivery.forget_connection()

    def reconnect(self) -> None:
        """Come back after `disconnect_abruptly`."""
        self.publisher.reconnect()

    @property
    def settled(self) -> bool:
        """Whether nothing waits in the outbox, nor to get into it."""
        return not self._unkept and not self.outbox.pending(limit=1)

    def close(self) -> None:
        """Say that the gateway is offline and let go; the outbox keeps what it has."""
        last_status: bytes | None = None
        try:
            last_status = encode_status(self._status(GatewayState.OFFLINE, self.clock()))
        except OutboxError as error:
            _log.warning("no last status", gateway_id=self.gateway_id, error=str(error))
        try:
            self.publisher.close(last_status=last_status)
        finally:
            self.outbox.close()


def _version() -> str:
    try:
        return version("poolwatch")
    except PackageNotFoundError:
        return ""
