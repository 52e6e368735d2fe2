"""From the outbox to the broker: live messages at once, the backlog in its window, again what no receipt named in time."""

from collections.abc import Iterable, Sequence
from dataclasses import dataclass

import structlog

from gateway.contract.receipts import INTERVAL_S, Receipt
from gateway.counters import GatewayCounters
from gateway.errors import InputError
from gateway.outbox import Outbox, OutboxMessage
from gateway.publisher import Acknowledged, Connected, Disconnected, Publisher

_log = structlog.get_logger()

#: A broker that takes neither message nor connection away is given this many resend times before it is sent again.
_UNACKNOWLEDGED_FACTOR = 6
#: So many resend times after ingest is back a message is not given up: what went unheard before is not its fault.
_GRACE_FACTOR = 5
#: With nothing else to send, after so many resend times it is asked again whether ingest is back.
_ASK_FACTOR = 6
#: How often to look for messages whose time is up, at most. [ms]
_LOOK_EVERY_MS = 1000
#: The window of unconfirmed messages begins with this, and never closes further. It doubles when receipts are younger
#: than so much (ingest gives one a second, so that half a second is spent on the way), and halves when they take this
#: share of the resend time. So a live message finds no long queue before it either.
_FIRST_WINDOW = 2000
_SOON_MS = 1500
_LATE_SHARE = 0.3
#: The backlog is read in pieces of at most this many messages, and of not much less while more room is about to come.
_PIECE = 1000
_FEWEST = 250


@dataclass(frozen=True, slots=True)
class Pace:
    """How a gateway sends.

    Live messages are always sent at once. Of the backlog at most `backlog_window` wait for the broker and at most
    `unconfirmed_window` for receipts, so that neither broker nor ingest is flooded after an outage. The second one opens
    by and by while receipts come soon, and closes while they come late: a city's gateways share what ingest can take.

    Raises
    ------
    InputError
        If `resend_after_s` is shorter than the time between two receipts: everything would be sent again and again, and
        given up in the end.
    """

    #: How long after the broker's acknowledgement a receipt may take. [s]
    resend_after_s: float = 10.0
    status_every_s: float = 60.0
    backlog_window: int = 2000
    unconfirmed_window: int = 10_000
    #: The longest a step waits for a message or a receipt before it looks again. [s]
    longest_wait_s: float = 1.0

    def __post_init__(self) -> None:
        if not self.resend_after_s >= INTERVAL_S:
            raise InputError(
                f"resend_after_s is {self.resend_after_s}: ingest gives a gateway a receipt each {INTERVAL_S} s, so wait at "
                "least as long before a message is sent again"
            )


@dataclass(slots=True)
class _UnderWay:
    """A message that was sent and that no receipt has named yet."""

    message_id: int
    boot_id: str
    seq: int
    packet_id: int
    sent_at_ms: int
    acknowledged_at_ms: int | None = None


class Delivery:
    """Sends what an outbox keeps, and lets it forget what receipts name. One thread, as the outbox."""

    def __init__(
        self, *, gateway_id: str, outbox: Outbox, publisher: Publisher, pace: Pace, counters: GatewayCounters
    ) -> None:
        self._gateway_id = gateway_id
        self._outbox = outbox
        self._publisher = publisher
        self._pace = pace
        self._counters = counters
        self._under_way: dict[int, _UnderWay] = {}
        self._packets: dict[int, int] = {}
        #: Receipts that could not be applied yet, because the disk was full.
        self._receipts: list[Receipt] = []
        self._heard_at_ms = -1
        #: Whether ingest, or what the broker held for it, may have been away; and when a receipt last ended that.
        self._silent = True
        self._resumed_at_ms = 0
        #: When the youngest confirmed message was sent: what was sent before it has been overtaken.
        self._confirmed_sent_ms = -1
        self._look_at_ms = 0
        self._ask_at_ms = 0
        self._window = min(_FIRST_WINDOW, pace.unconfirmed_window)
        #: The backlog was looked through up to this id; False: there is nothing behind it.
        self._next_id = 0
        self._backlog = False
        self._newest_first = False
        #: Whether the gateway has news about itself; whoever says them sets it back.
        self.news = False

    @property
    def under_way(self) -> int:
        """Messages that were sent and that no receipt has named yet."""
        return len(self._under_way)

    @property
    def heard_at_ms(self) -> int:
        """When the last receipt came; 0 before the first. [ms since 1970]"""
        return max(0, self._heard_at_ms)

    def send(self, messages: Iterable[OutboxMessage], now_ms: int) -> None:
        """Send live messages now, if there is a connection; else they join the backlog."""
        with self._publisher.batch():
            for message in messages:
                if not self._send(message, now_ms):
                    self.expect_backlog(message.message_id - 1)

    def expect_backlog(self, after_id: int = 0) -> None:
        """Look through the outbox again, from after an id on."""
        self._next_id = min(self._next_id, after_id) if self._backlog else after_id
        self._backlog = True

    def _send(self, message: OutboxMessage, now_ms: int) -> bool:
        packet_id = self._publisher.publish(message.topic, message.payload)
        if packet_id is None:
            return False
        self._packets[packet_id] = message.message_id
        self._under_way[message.message_id] = _UnderWay(
            message.message_id, message.boot_id, message.seq, packet_id, now_ms
        )
        self._counters.sent += 1
        return True

    def take_events(self, now_ms: int) -> None:
        """Act on what the publisher's thread has seen. OutboxError: the receipts are applied the next time."""
        for event in self._publisher.events():
            match event:
                case Connected():
                    self._counters.connections += 1
                    self._newest_first = True
                    self._silent = True  # the broker may have forgotten what it took
                    self.expect_backlog()
                    self.news = True
                case Disconnected():
                    # What the broker has taken waits for receipts, or time; the rest never arrived.
                    self._forget_unacknowledged()
                case Acknowledged(packet_id):
                    message_id = self._packets.pop(packet_id, None)
                    under_way = None if message_id is None else self._under_way.get(message_id)
                    if under_way is not None:
                        under_way.acknowledged_at_ms = now_ms
                case Receipt():
                    self._counters.receipts += 1
                    self._receipts.append(event)
        if self._receipts:
            self._take_receipts(now_ms)

    def _take_receipts(self, now_ms: int) -> None:
        """Let the outbox forget what is named; ingest is heard, so what died while it was not is sent again."""
        self._outbox.apply_receipts(self._receipts)
        self._forget_confirmed(now_ms)
        self._receipts.clear()
        self._heard_at_ms = now_ms
        if self._silent:
            self._silent = False
            self._resumed_at_ms = now_ms
        if self._outbox.oldest_in_silence() is not None:
            self.expect_backlog()  # first: of what a full disk takes back only in part, that part is sent
        if revived := self._outbox.revive():
            self._counters.revived += revived
            _log.warning(
                "dead letters are sent again: ingest is back",
                gateway_id=self._gateway_id,
                messages=revived,
            )
            self.news = True

    def _forget_confirmed(self, now_ms: int) -> None:
        """Forget what the receipts name, and set the window by how long they took."""
        oldest_ms: int | None = None
        for receipt in self._receipts:
            for first_id, last_id in self._outbox.ids_of(receipt):
                for message_id in self._under_way_within(first_id, last_id):
                    sent_at_ms = self._under_way.pop(message_id).sent_at_ms
                    oldest_ms = sent_at_ms if oldest_ms is None else min(oldest_ms, sent_at_ms)
                    self._confirmed_sent_ms = max(self._confirmed_sent_ms, sent_at_ms)
        if oldest_ms is None:
            return
        if now_ms - oldest_ms <= _SOON_MS:
            self._window = min(2 * self._window, self._pace.unconfirmed_window)
        elif now_ms - oldest_ms >= _LATE_SHARE * self._pace.resend_after_s * 1000:
            self._window = min(max(self._window // 2, _FIRST_WINDOW), self._pace.unconfirmed_window)

    def _under_way_within(self, first_id: int, last_id: int) -> list[int]:
        if last_id - first_id < len(self._under_way):
            return [one for one in range(first_id, last_id + 1) if one in self._under_way]
        return [one for one in self._under_way if first_id <= one <= last_id]

    def _forget_unacknowledged(self) -> None:
        self._counters.resent += len(self._packets)
        for message_id in self._packets.values():
            self._under_way.pop(message_id, None)
        self._packets.clear()
        self.expect_backlog()

    def send_backlog(self, now_ms: int) -> None:
        """Send older messages, oldest first, as far as their windows allow."""
        self._give_up_waiting(now_ms)
        if not self._publisher.connected:
            return
        if self._backlog:
            self._send_backlog(now_ms)
        elif not self._under_way and now_ms >= self._ask_at_ms:
            self._ask_again(now_ms)

    def _ask_again(self, now_ms: int) -> None:
        """Send a message again that died while ingest was away: its receipt, the first one, takes the others back.

        Only while nothing else is sent that would bring one: a probe that is read rarely, or a disk that is full.
        """
        self._ask_at_ms = now_ms + int(self._pace.resend_after_s * 1000) * _ASK_FACTOR
        message = self._outbox.oldest_in_silence()
        if message is not None:
            self._publisher.publish(message.topic, message.payload)

    def _send_backlog(self, now_ms: int) -> None:
        if self._newest_first:
            # What is measured rarely has its newest value in the backlog: the public waits for that one.
            self._send_all(self._outbox.newest(), now_ms)
            self._newest_first = False
        while (room := self._room()) > 0:
            if room < _FEWEST < len(self._packets):
                return  # PUBACKs are about to come; larger pieces are less work
            batch = self._outbox.pending(after_id=self._next_id, limit=min(room, _PIECE))
            if not batch:
                self._backlog = False
                return
            if not self._send_all(batch, now_ms):
                return
            self._next_id = max(self._next_id, batch[-1].message_id)

    def _room(self) -> int:
        return min(self._pace.backlog_window - len(self._packets), self._window - len(self._under_way))

    def _send_all(self, messages: Sequence[OutboxMessage], now_ms: int) -> bool:
        with self._publisher.batch():
            return all(
                message.message_id in self._under_way or self._send(message, now_ms) for message in messages
            )

    def _give_up_waiting(self, now_ms: int) -> None:
        """Count messages that the broker took and no receipt named in time, and let them be sent again.

        While receipts come, and none for anything sent later, ingest is behind: sending again would only add to that.
        """
        if now_ms < self._look_at_ms:
            return
        resend_ms = int(self._pace.resend_after_s * 1000)
        self._look_at_ms = now_ms + min(_LOOK_EVERY_MS, max(1, resend_ms // 10))
        unconfirmed: dict[int, bool] = {}
        over: list[_UnderWay] = []
        for under_way in self._under_way.values():
            if under_way.acknowledged_at_ms is not None:
                waited_ms = now_ms - under_way.acknowledged_at_ms
                overtaken = self._confirmed_sent_ms > under_way.sent_at_ms
                patience = (
                    1 if overtaken or now_ms - self._heard_at_ms >= resend_ms else _UNACKNOWLEDGED_FACTOR
                )
                if waited_ms >= resend_ms * patience:
                    unheard = self._heard_at_ms < under_way.sent_at_ms
                    self._silent |= unheard
                    # Just after a silence nothing is counted: a fifth time would kill what was lost four times by others.
                    if unheard or under_way.sent_at_ms - self._resumed_at_ms >= resend_ms * _GRACE_FACTOR:
                        unconfirmed[under_way.message_id] = unheard
                    over.append(under_way)
            elif now_ms - under_way.sent_at_ms >= resend_ms * _UNACKNOWLEDGED_FACTOR:
                over.append(under_way)
        if not over:
            return
        dead: Sequence[int] = ()
        try:
            dead = self._outbox.count_pubacks(unconfirmed)
        finally:
            # A full disk counts none, and is freed by receipts: they are sent again all the same.
            self._counters.resent += len(over) - len(dead)
            for under_way in over:
                del self._under_way[under_way.message_id]
                self._packets.pop(under_way.packet_id, None)
            self.expect_backlog(min(under_way.message_id for under_way in over) - 1)
        if dead:
            self._ask_at_ms = now_ms + resend_ms * _ASK_FACTOR
            self._counters.dead_letters += len(dead)
            self.news = True
            _log.error(
                "dead letters: the broker took them five times and no receipt came; see that ingest runs",
                gateway_id=self._gateway_id,
                messages=len(dead),
            )

    def forget_connection(self) -> None:
        """Know of nothing that is under way: the connection is gone with all that it carried."""
        self._counters.resent += len(self._packets)
        self._packets.clear()
        self._under_way.clear()

    def shift(self, by_ms: int) -> None:
        """Follow a clock that was put back, or ahead."""
        self._heard_at_ms += by_ms
        self._resumed_at_ms += by_ms
        self._confirmed_sent_ms += by_ms
        self._look_at_ms += by_ms
        self._ask_at_ms += by_ms
        for under_way in self._under_way.values():
            under_way.sent_at_ms += by_ms
            if under_way.acknowledged_at_ms is not None:
                under_way.acknowledged_at_ms += by_ms
