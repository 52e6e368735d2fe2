"""One connection to the broker, from the attempt to its end: paho's client on a socket of ours."""

import selectors
import threading
import time
from collections.abc import Callable
from dataclasses import dataclass
from typing import TYPE_CHECKING, Any

import structlog
from paho.mqtt.client import Client, ConnectFlags, DisconnectFlags
from paho.mqtt.enums import CallbackAPIVersion, MQTTProtocolVersion
from paho.mqtt.packettypes import PacketTypes
from paho.mqtt.properties import Properties
from paho.mqtt.reasoncodes import ReasonCode

from gateway.contract.credentials import Credential
from gateway.contract.times import Clock
from gateway.contract.tls import shake_hands, tls_context
from ingest.subscriber_peeler import Peeler
from ingest.subscriber_socket import PeelingSocket

if TYPE_CHECKING:
    from paho.mqtt.client import SocketLike

MQTT_5, MQTT_3 = MQTTProtocolVersion.MQTTv5, MQTTProtocolVersion.MQTTv311
#: Messages on their way to us without our acknowledgement; in MQTT 5 Mosquitto goes by this, not by its own setting. Three
#: rounds of ingest, so that the network is never idle while one is committed.
RECEIVE_MAXIMUM = 10_000
#: What MQTT 5 means where the broker does not say how many publications it takes unconfirmed; MQTT 3.1.1 never says.
_UNSAID_MAXIMUM = 65_535
_QOS = 1
_KEEPALIVE_S = 30
#: Within which a broker with TLS must have shown its certificate; the client would wait for as long as a keepalive. [s]
_HANDSHAKE_WITHIN_S = 5
#: MQTT 5's reason code of a broker that does not know this version, which paho also gives to 3.1.1's own.
_UNKNOWN_VERSION = 0x84
#: MQTT 5's reason code of a connection that another one of the same client id replaces.
_TAKEN_OVER = 0x8E

_log = structlog.get_logger()


@dataclass(frozen=True, slots=True)
class Session:
    """What the broker keeps for ingest: under which client id, of which topics, and for how long after it has gone."""

    client_id: str
    filters: tuple[str, ...]
    expiry_s: int


class _Client(Client):
    """Paho's client, behind a `PeelingSocket`."""

    peeling: PeelingSocket

    def __init__(self, session: Session, protocol: MQTTProtocolVersion, *, clock: Clock, number: int) -> None:
        super().__init__(
            CallbackAPIVersion.VERSION2,
            client_id=session.client_id,
            clean_session=False if protocol == MQTT_3 else None,
            protocol=protocol,
            manual_ack=True,
            reconnect_on_failure=False,
        )
        self._clock = clock
        self._number = number

    def _create_socket(self) -> "SocketLike":
        connected: Any = super()._create_socket()
        peeler = Peeler(with_properties=self._protocol == MQTT_5, connection=self._number)
        self.peeling = PeelingSocket(connected, peeler, self._clock)
        return self.peeling

    def _ssl_wrap_socket(self, tcp_sock: Any) -> Any:
        # paho's own leaves the socket open, for the garbage collection to find, when the handshake fails.
        context = self._ssl_context
        if context is None:
            raise RuntimeError("TLS is asked for without settings: give them by `tls_set_context`")
        return shake_hands(context, tcp_sock, host=self._host, within_s=_HANDSHAKE_WITHIN_S)

    def note_received(self) -> None:
        """The broker is alive: paho, who does not see the messages, needs no answer to its ping."""
        with self._msgtime_mutex:
            self._last_bytes_received = time.monotonic()
        self._ping_t = 0.0


def _secure(client: Client, credential: Credential) -> None:
    """Have the connection encrypted if the credential says so."""
    context = tls_context(credential)
    if context is not None:
        client.tls_set_context(context)


class Link:
    """One connection. Not thread-safe.

    Parameters
    ----------
    credential : Credential
        Where the broker is and what to show it.
    session : Session
        The session to go on with.
    protocol : MQTTProtocolVersion
        `MQTT_5`, or `MQTT_3` for a broker that knows no other.
    clock : Clock
        For messages' `received_at_ms`.
    number : int
        Their `connection`.
    on_accept : callable
        What to ask of the broker, through paho's client, as soon as it has accepted the connection.
    """

    def __init__(
        self,
        credential: Credential,
        session: Session,
        protocol: MQTTProtocolVersion,
        *,
        clock: Clock,
        number: int,
        on_accept: Callable[[Client], object],
    ) -> None:
        self.number = number
        self.with_properties = protocol == MQTT_5
        self.has_answer = False
        self.is_accepted = False
        self.session_present = False
        self.unsubscribed = 0
        self.has_been_open = False
        #: Publications that the broker takes unconfirmed.
        self.broker_maximum = _UNSAID_MAXIMUM
        self._credential = credential
        self._session = session
        self._on_accept = on_accept
        self._is_leaving = False
        self._is_broken = False
        self._selector = selectors.DefaultSelector()
        self._events = selectors.EVENT_READ
        self._client = _Client(session, protocol, clock=clock, number=number)
        self._client.username_pw_set(credential.username, credential.password)
        self._client.on_connect = self._on_connect
        self._client.on_disconnect = self._on_disconnect
        self._client.on_subscribe = self._on_subscribe
        self._client.on_unsubscribe = self._on_unsubscribe
        _secure(self._client, credential)

    @property
    def socket(self) -> PeelingSocket:
        """The socket; there is none before `open`."""
        return self._client.peeling

    @property
    def has_ended(self) -> bool:
        """Whether the connection is over, or was never made."""
        return self._is_broken or self._client.socket() is None

    def open(self) -> None:
        """Connect and introduce ourselves; waits for the network, some seconds at most.

        Raises
        ------
        OSError
            If the broker is not there, or cannot show the right certificate.
        """
        if self.with_properties:
            properties = Properties(PacketTypes.CONNECT)  # type: ignore[no-untyped-call]  # paho's own
            properties.SessionExpiryInterval = self._session.expiry_s
            properties.ReceiveMaximum = RECEIVE_MAXIMUM
            self._client.connect(
                self._credential.host,
                self._credential.port,
                keepalive=_KEEPALIVE_S,
                clean_start=False,
                properties=properties,
            )
        else:
            self._client.connect(self._credential.host, self._credential.port, keepalive=_KEEPALIVE_S)
        self._selector.register(self.socket.fileno(), self._events)
        self.has_been_open = True

    def wait_for_answer(self, closing: threading.Event, *, within_s: float) -> bool:
        """Wait for the broker's answer to the introduction; whether it has accepted."""
        deadline_s = time.monotonic() + within_s
        while not self.has_answer and not self.has_ended and not closing.is_set():
            left_s = deadline_s - time.monotonic()
            if left_s <= 0:
                break
            self.wait(min(left_s, 0.2))
            self.fill()
            self.advance()
        return self.is_accepted and not self.has_ended

    def fill(self) -> int:
        """Read one chunk; its bytes, 0 if there is nothing now."""
        read_bytes = self.socket.fill()
        if read_bytes:
            self._client.note_received()
        return read_bytes

    def advance(self) -> None:
        """Let paho read what is its own, keep the connection alive, and send what is to be sent."""
        client = self._client
        while self.socket.has_control and client.socket() is not None:
            try:
                client.loop_read()
            except Exception as error:  # noqa: BLE001 - paho lets out many kinds at a malformed packet
                # Paho would read the same packet again.
                self._is_broken = True
                _log.warning("the broker sent a packet that cannot be read", error=repr(error))
                return
        if client.want_write():
            client.loop_write()
        client.loop_misc()
        self.socket.flush()

    def wait(self, timeout_s: float) -> None:
        """Wait until there is something to read, or to write where something waits for that."""
        events = selectors.EVENT_READ | (selectors.EVENT_WRITE if self.socket.must_write else 0)
        if events != self._events:
            self._selector.modify(self.socket.fileno(), events)
            self._events = events
        self._selector.select(timeout_s)

    def pause(self) -> None:
        """Nothing is read on purpose: the answer to a ping may stand behind what is not read."""
        self._client.note_received()

    def unsubscribe(self) -> None:
        """Ask once more that nothing new be added to the session; `unsubscribed` counts the answers."""
        unsubscribe(self._client, self._session)

    def leave(self, *, within_s: float, end_session: bool = False) -> None:
        """Send the rest and take leave; the broker keeps the session unless `end_session`."""
        self._is_leaving = True
        if not self.has_ended:
            self.socket.leave(within_s=within_s)
            properties = None
            if end_session:
                properties = Properties(PacketTypes.DISCONNECT)  # type: ignore[no-untyped-call]  # paho's own
                properties.SessionExpiryInterval = 0
            self._client.disconnect(properties=properties)
            self._client.loop_write()
        self.abandon()

    def abandon(self) -> None:
        """Free what the connection holds, without a farewell if there was none."""
        self._is_leaving = True
        self._selector.close()
        if self._client.socket() is not None:
            self.socket.close()

    def _on_connect(
        self,
        client: Client,
        _userdata: Any,
        flags: ConnectFlags,
        reason: ReasonCode,
        properties: Properties | None,
    ) -> None:
        self.has_answer = reason.value != _UNKNOWN_VERSION
        if reason.is_failure:
            _log.error("the broker refuses ingest: see its credentials", reason=str(reason))
            return
        self.is_accepted = True
        self.session_present = flags.session_present
        self.broker_maximum = getattr(properties, "ReceiveMaximum", _UNSAID_MAXIMUM)
        self._on_accept(client)
        _log.info("connected to the broker", session_present=flags.session_present)

    def _on_disconnect(
        self,
        _client: Client,
        _userdata: Any,
        _flags: DisconnectFlags,
        reason: ReasonCode,
        _properties: Properties | None,
    ) -> None:
        if reason.value == _TAKEN_OVER:
            _log.error(
                "another program goes on with this ingest's session: each ingest may run once",
                client_id=self._session.client_id,
            )
        elif self.is_accepted and not self._is_leaving:
            cause = self.socket.failure or reason
            _log.warning("connection to the broker lost; connecting again", reason=str(cause))

    def _on_subscribe(
        self,
        _client: Client,
        _userdata: Any,
        _mid: int,
        reasons: list[ReasonCode],
        _properties: Properties | None,
    ) -> None:
        if any(reason.is_failure for reason in reasons):
            _log.error(
                "the broker refuses a subscription: see its access list", reasons=[str(r) for r in reasons]
            )

    def _on_unsubscribe(
        self,
        _client: Client,
        _userdata: Any,
        _mid: int,
        _reasons: list[ReasonCode],
        _properties: Properties | None,
    ) -> None:
        self.unsubscribed += 1


def subscribe(client: Client, session: Session) -> None:
    """Ask for the session's topics."""
    client.subscribe([(name, _QOS) for name in session.filters])


def unsubscribe(client: Client, session: Session) -> None:
    """Ask that nothing new be added to the session."""
    client.unsubscribe(list(session.filters))
