"""Gateways that listen: each keeps a message until a receipt names it, and sends it again after a time-out.

One connection speaks for all of them, so that the simulation costs little beside what it measures. Outboxes are in
memory; their rules are the contract's.
"""

import heapq
import time
from collections import OrderedDict
from contextlib import suppress
from dataclasses import dataclass, field

from benchmarks.ingest_drain import Place, connect
from benchmarks.ingest_load import LOAD_USERS, MessageTexts, gateway_id, topic_of
from benchmarks.ingest_mqtt import MqttConnection, publish_packet
from gateway.contract.codec import decode_receipt
from gateway.contract.topics import stored_topic

_MID_SPAN = 65535
#: A message without a receipt for so long is sent again; each further time it is given twice as long, so that a
#: consumer that is behind is not buried in repetitions.
_RESEND_AFTER_S = 10.0
_RECONNECT_AFTER_S = 0.5
_MOST_AT_ONCE = 200
_MOST_UNACKNOWLEDGED = 5000


@dataclass(slots=True)
class _Waiting:
    """A message in an outbox."""

    payload: bytes
    made_s: float
    times_sent: int = 0


@dataclass(slots=True)
class Seen:
    """What the gateways counted. Delays in seconds: to the broker's acknowledgement, and to the receipt."""

    made: int = 0
    sent: int = 0
    sent_again: int = 0
    receipted: int = 0
    connections: int = 0
    puback_s: list[float] = field(default_factory=list)
    receipt_s: list[float] = field(default_factory=list)


class Gateways:
    """A number of gateways that measure `messages_per_s` together.

    Parameters
    ----------
    measured_from_ms : int
        Instant of the first reading; each message is measured when it is due.
    keeps_delays : bool
        Whether each message's delays are kept: a long run would fill the memory with them.
    """

    def __init__(
        self,
        place: Place,
        *,
        gateways: int,
        messages_per_s: float,
        measured_from_ms: int,
        boot_id: str = "bench-1",
        keeps_delays: bool,
    ) -> None:
        self._place = place
        self._gateways = gateways
        self.messages_per_s = messages_per_s
        self._from_ms = measured_from_ms
        self._boot_id = boot_id
        self._keeps_delays = keeps_delays
        self._texts = MessageTexts(1, boot_id)
        self._topics = [topic_of(number) for number in range(gateways)]
        self._numbers = {stored_topic(gateway_id(number)).encode(): number for number in range(gateways)}
        self._outboxes: list[OrderedDict[int, _Waiting]] = [OrderedDict() for _ in range(gateways)]
        #: Gateway and seq of messages to be sent, and, as a heap, of those sent, with when each would be sent again.
        self._to_send: OrderedDict[tuple[int, int], None] = OrderedDict()
        self._sent: list[tuple[float, int, int]] = []
        self._unacknowledged: dict[int, float] = {}
        self._mid = 0
        self._connection: MqttConnection | None = None
        self._try_again_s = 0.0
        self.seen = Seen()

    @property
    def waiting(self) -> int:
        """Messages that no receipt has named yet."""
        return self.seen.made - self.seen.receipted

    def step(self, *, elapsed_s: float, is_measuring: bool) -> None:
        """Measure what is due, send, and take in acknowledgements and receipts; about 5 ms."""
        if is_measuring:
            self._measure(int(elapsed_s * self.messages_per_s))
        try:
            connection = self._connected()
            if connection is None:
                time.sleep(0.005)
                return
            self._send(connection)
            self._receive(connection)
        except OSError:
            self._lose_connection()

    def close(self) -> None:
        """Leave the broker."""
        if self._connection is not None:
            self._connection.close()
            self._connection = None

    def _measure(self, due: int) -> None:
        now_s = time.monotonic()
        while self.seen.made < due:
            seq, number = divmod(self.seen.made, self._gateways)
            # When it is due: what is stored or shown later than this took that long.
            at_ms = self._from_ms + int(self.seen.made * 1000 / self.messages_per_s)
            payload = self._texts.payload(number, seq, range(at_ms, at_ms + 1))
            self._outboxes[number][seq] = _Waiting(payload, now_s)
            self._to_send[number, seq] = None
            self.seen.made += 1

    def _connected(self) -> MqttConnection | None:
        now_s = time.monotonic()
        if self._connection is None and now_s >= self._try_again_s:
            self._try_again_s = now_s + _RECONNECT_AFTER_S
            self._connection = connect(self._place, LOAD_USERS[1])
            self._connection.subscribe([stored_topic("+")])
            self.seen.connections += 1
        return self._connection

    def _lose_connection(self) -> None:
        """All that has no receipt is sent again on the next connection, as a gateway does: oldest first."""
        if self._connection is not None:
            with suppress(OSError):
                self._connection.close()
        self._connection = None
        self._unacknowledged.clear()
        again = [(number, seq) for _, number, seq in sorted(self._sent, key=lambda sent: sent[2])]
        self._sent.clear()
        self._to_send = OrderedDict.fromkeys([*again, *self._to_send])

    def _send(self, connection: MqttConnection) -> None:
        now_s = time.monotonic()
        while self._sent and self._sent[0][0] <= now_s:
            _, number, seq = heapq.heappop(self._sent)
            if seq in self._outboxes[number]:
                self._to_send[number, seq] = None
        packets: list[bytes] = []
        while (
            self._to_send
            and len(packets) < _MOST_AT_ONCE
            and len(self._unacknowledged) < _MOST_UNACKNOWLEDGED
        ):
            (number, seq), _ = self._to_send.popitem(last=False)
            waiting = self._outboxes[number].get(seq)
            if waiting is None:
                continue  # receipted meanwhile
            self._mid = self._mid % _MID_SPAN + 1
            packets.append(publish_packet(self._topics[number], waiting.payload, self._mid))
            self.seen.sent += 1
            self.seen.sent_again += waiting.times_sent > 0
            again_s = now_s + _RESEND_AFTER_S * 2**waiting.times_sent
            heapq.heappush(self._sent, (again_s, number, seq))
            waiting.times_sent += 1
            self._unacknowledged[self._mid] = now_s
        if packets:
            connection.send(b"".join(packets))

    def _receive(self, connection: MqttConnection) -> None:
        acknowledged, came = connection.receive(wait_s=0.0 if self._to_send else 0.002)
        now_s = time.monotonic()
        for mid in acknowledged:
            sent_s = self._unacknowledged.pop(mid, None)
            if sent_s is not None and self._keeps_delays:
                self.seen.puback_s.append(now_s - sent_s)
        for message in came:
            number = self._numbers.get(message.topic)
            if number is None:
                continue
            receipt = decode_receipt(message.payload)
            if receipt.boot_id != self._boot_id:
                continue
            outbox = self._outboxes[number]
            for first, last in receipt.stored:
                for seq in range(first, last + 1):
                    waiting = outbox.pop(seq, None)
                    if waiting is not None:
                        self.seen.receipted += 1
                        if self._keeps_delays:
                            self.seen.receipt_s.append(now_s - waiting.made_s)
