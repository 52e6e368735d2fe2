"""MQTT in: a message is acknowledged when ingest says so, not when it came.

Who takes messages reads the network: no other thread stands between them, and while nobody takes, the broker waits. A
second thread connects, and keeps the connection alive while nobody takes. Only `ingest/subscriber_*.py` import paho.
"""

import threading
import time
from collections.abc import Sequence

import structlog
from paho.mqtt.client import Client

from gateway.contract.credentials import Credential
from gateway.contract.errors import ContractError
from gateway.contract.times import Clock
from gateway.contract.topics import stored_topic
from ingest.backoff import Backoff
from ingest.incoming import Incoming
from ingest.subscriber_figures import SubscriberFigures
from ingest.subscriber_handover import Handover
from ingest.subscriber_link import MQTT_3, MQTT_5, Link, subscribe, unsubscribe
from ingest.subscriber_receipts import ReceiptWindow, acknowledgements
from ingest.subscriber_share import ONLY_INGEST, ShareMember

_FIRST_RETRY_S, _LAST_RETRY_S = 0.5, 30.0
_ANSWER_WITHIN_S = 3.0
#: A connection that lasts no longer is no success: the next one waits, lest two of one name take turns at full speed.
_STEADY_S = 10.0
#: Bytes read and not taken, beyond which the network is not read.
_HELD_BYTES = 8 * 1024 * 1024
#: How often the second thread looks, and for how long nobody may have taken before it keeps the connection alive.
_LOOK_EVERY_S = 0.2
_IDLE_S = 1.0
_LEAVE_WITHIN_S = 2.0
#: Above it a reason code is a refusal.
_REFUSED = 0x80

_log = structlog.get_logger()


class MqttSubscriber:
    """Ingest's connection to the broker: persistent session, QoS 1, acknowledgement by hand. Thread-safe.

    MQTT 5; for the only ingest also 3.1.1, if the broker does not answer otherwise.

    Parameters
    ----------
    credential : Credential
        Where the broker is and what to show it.
    clock : Clock
        For messages' `received_at_ms`.
    member : ShareMember, optional
        One of several ingests; unset: the only one.
    is_retiring : bool
        Take what the broker holds for this session, have nothing new added to it, and end it with `close`.
    """

    def __init__(
        self,
        credential: Credential,
        *,
        clock: Clock,
        member: ShareMember | None = None,
        is_retiring: bool = False,
    ) -> None:
        self._credential = credential
        self._clock = clock
        self._session = ONLY_INGEST if member is None else member.session
        # A member needs an expiry of its session, which 3.1.1 does not know.
        self._protocols = (MQTT_5, MQTT_3) if member is None else (MQTT_5,)
        self._unanswered = 0
        self._is_retiring = is_retiring
        self._handover = Handover(0.0)
        self._closing = threading.Event()
        self._linked = threading.Event()
        # Who holds it may read, wait for, make and end the connection.
        self._driving = threading.Lock()
        # For the connection's bytes and all below; never held while waiting.
        self._lock = threading.Lock()
        self._link: Link | None = None
        self._connection = -1
        self._accepted = 0
        self._messages: list[Incoming] = []
        self._held_bytes = 0
        self._receipts = ReceiptWindow()
        self._taken_at_s = 0.0
        self._keeper = threading.Thread(target=self._keep, name="mqtt-keeper", daemon=True)

    @property
    def is_connected(self) -> bool:
        """Whether the broker has accepted the present connection."""
        return self._linked.is_set()

    def figures(self) -> SubscriberFigures:
        """What operators watch; waits for nobody."""
        return SubscriberFigures(
            held_messages=len(self._messages),
            unconfirmed_receipts=len(self._receipts),
            attempts=self._connection + 1,
            connections=self._accepted,
        )

    def start(self) -> None:
        """Connect in the background, and again whenever the connection is lost."""
        self._keeper.start()

    def take(self, max_messages: int, *, wait_s: float) -> list[Incoming]:
        """Messages that are there, at most `max_messages`; waits up to `wait_s` for the first."""
        deadline_s = time.monotonic() + wait_s
        while True:
            left_s = max(0.0, deadline_s - time.monotonic())
            if self._driving.acquire(timeout=left_s):
                try:
                    messages = self._take_as_driver(max_messages, deadline_s)
                finally:
                    self._taken_at_s = time.monotonic()
                    self._driving.release()
                if messages:
                    return messages
            left_s = deadline_s - time.monotonic()
            if left_s <= 0:
                return []
            self._linked.wait(left_s)

    def _take_as_driver(self, max_messages: int, deadline_s: float) -> list[Incoming]:
        """As `take`; comes back early without a connection, so that the other thread can make one."""
        while True:
            with self._lock:
                self._advance(max_messages)
                link = self._link
                messages = self._messages[:max_messages]
                held = len(self._messages)
                # With nothing held, what was read was no message.
                self._held_bytes = self._held_bytes * (held - len(messages)) // max(1, held)
                if messages:
                    del self._messages[:max_messages]
                    return messages
            left_s = deadline_s - time.monotonic()
            if link is None or left_s <= 0:
                return []
            link.wait(min(left_s, _LOOK_EVERY_S))

    def _advance(self, wanted: int) -> None:
        """Read until `wanted` messages are there or the network has no more; send; notice the connection's end."""
        link = self._link
        if link is None:
            return
        socket = link.socket
        while len(self._messages) < wanted and self._held_bytes < _HELD_BYTES:
            read_bytes = link.fill()
            self._held_bytes += read_bytes
            # Even if nothing was read: some may have come with the broker's answer.
            messages = socket.take_messages()
            if messages:
                self._messages += messages
                self._handover.receive(len(messages), time.monotonic())
            if not read_bytes:
                break
        else:
            link.pause()
        for packet_id, reason in socket.take_confirmed():
            topic = self._receipts.confirm(packet_id)
            if topic is not None and reason >= _REFUSED:
                _log.error("the broker refuses a receipt: see its access list", topic=topic, reason=reason)
        link.advance()
        if link.has_ended:
            self._link = None
            self._linked.clear()
            link.abandon()

    def acknowledge(self, messages: Sequence[Incoming]) -> int:
        """Acknowledge messages to the broker; returns how many could still be.

        Those of an earlier connection are left out: their number may by now belong to another message. The broker
        sends them again.
        """
        with self._lock:
            link = self._link
            if link is None:
                return 0
            number = link.number
            packet_ids = [one.packet_id for one in messages if one.qos and one.connection == number]
            if packet_ids:
                link.socket.add(acknowledgements(packet_ids))
                link.socket.flush()
            if self._is_retiring:
                self._handover.settle(sum(one.connection == number for one in messages))
            return len(packet_ids)

    def publish_receipt(self, gateway_id: str, payload: bytes) -> bool:
        """Publish a receipt with the next `take`; False, and nothing is kept for later, if that is not possible now.

        It is sent again on the next connection until the broker has confirmed it.
        """
        with self._lock:
            link = self._link
            if link is None:
                return False
            packet = self._receipts.add(
                stored_topic(gateway_id),
                payload,
                with_properties=link.with_properties,
                at_most=link.broker_maximum,
            )
            if packet is None:
                return False
            link.socket.add(packet)
            return True

    def close(self) -> None:
        """Send what is on its way out and leave; the broker keeps the session, unless it is retired and drained."""
        self._closing.set()
        if self._keeper.is_alive():
            self._keeper.join()
        drained = self.is_drained
        with self._driving, self._lock:
            link, self._link = self._link, None
            self._linked.clear()
            if link is not None:
                link.leave(within_s=_LEAVE_WITHIN_S, end_session=self._is_retiring and drained)

    @property
    def is_drained(self) -> bool:
        """Whether a session that is retiring gets nothing new, and the broker has handed over all that it held."""
        with self._lock:
            link = self._link
            return (
                self._is_retiring
                and link is not None
                and not link.has_ended
                and self._handover.is_complete(answers=link.unsubscribed)
            )

    def _subscribe(self, client: Client) -> None:
        subscribe(client, self._session)

    def _unsubscribe(self, client: Client) -> None:
        unsubscribe(client, self._session)

    def _ask_whether_drained(self) -> None:
        with self._lock:
            link = self._link
            if link is not None and self._handover.ask(answers=link.unsubscribed, now_s=time.monotonic()):
                link.unsubscribe()

    def _keep(self) -> None:
        backoff = Backoff(_FIRST_RETRY_S, _LAST_RETRY_S)
        while not self._closing.is_set():
            since_s = time.monotonic()
            if self._connect(is_first_attempt=backoff.attempts == 0):
                self._serve_link()
                if time.monotonic() - since_s > _STEADY_S:
                    backoff.reset()
                    continue
            self._closing.wait(backoff.next_s())

    def _serve_link(self) -> None:
        """Return when the connection is lost, or not wanted any more."""
        while self._link is not None and not self._closing.is_set():
            self._keep_alive()
            if self._is_retiring:
                self._ask_whether_drained()
            self._closing.wait(_LOOK_EVERY_S)

    def _keep_alive(self) -> None:
        """Drive the connection if nobody else does."""
        if time.monotonic() - self._taken_at_s < _IDLE_S or not self._driving.acquire(blocking=False):
            return
        try:
            with self._lock:
                # As many as fit: what paho waits for stands behind them.
                self._advance(_HELD_BYTES)
        finally:
            self._driving.release()

    def _connect(self, *, is_first_attempt: bool) -> bool:
        """Make a connection; whether the broker has accepted it."""
        with self._driving:
            protocol = self._protocols[self._unanswered % len(self._protocols)]
            self._connection += 1
            accepted, link = False, None
            try:
                link = Link(
                    self._credential,
                    self._session,
                    protocol,
                    clock=self._clock,
                    number=self._connection,
                    on_accept=self._unsubscribe if self._is_retiring else self._subscribe,
                )
                link.open()
                accepted = link.wait_for_answer(self._closing, within_s=_ANSWER_WITHIN_S)
            except (OSError, ContractError, UnicodeError) as error:  # the last: of a host that is no name
                if is_first_attempt:
                    _log.warning("the broker cannot be reached; trying again", error=str(error))
            if link is None:
                return False
            if not accepted:
                # A broker without MQTT 5 lets its introduction stand, or closes without a word.
                self._unanswered += not link.has_answer and link.has_been_open
                link.abandon()
                return False
            with self._lock:
                link.socket.add(
                    self._receipts.again(with_properties=link.with_properties, at_most=link.broker_maximum)
                )
                self._handover = Handover(time.monotonic())
                self._link = link
                self._accepted += 1
                self._linked.set()
            return True
